//! What control is told, held against what clients were told and against what is known of them; and what
//! becomes of whoever was closed.

use wire::{CloseReason, ConnectionId, Key, Scope};

use super::Play;
use crate::fuzzing::standing::LAST_WORDS_MS;
use crate::{Close, Notice};

/// What control was told of an end.
struct Closed {
    reason: CloseReason,
    user: Option<Key>,
    scope: Scope,
    open_ms: u64,
    events: u32,
    opened: bool,
    is_page: bool,
}

impl Play {
    /// Hears what control is told, also what the engine keeps for the end of its turn: what is known
    /// beside it is known at once.
    pub(super) fn hear_notices(&mut self) {
        let mut notices = std::mem::take(&mut self.kernel.notices);
        notices.append(&mut self.engine.notices);
        for notice in notices {
            match notice {
                Notice::Held => self.reached.mark("held"),
                Notice::Opened {
                    connection,
                    verdict,
                } => {
                    let name = connection.to_string();
                    assert!(self.opened.insert(name), "opened twice");
                    let descriptor = self.descriptor_of(connection);
                    let client = self.clients.get_mut(&descriptor);
                    let client = client.expect("who is opened is there");
                    let due = client.standing.begins().map(|(verdict, _)| verdict);
                    assert_eq!(Some(verdict), due, "how a stream begins");
                    client.opened = Some(verdict);
                    self.reached.mark(verdict.as_str());
                }
                Notice::Closed {
                    connection,
                    user,
                    scope,
                    reason,
                    open_ms,
                    events,
                    opened,
                    is_page,
                } => {
                    let closed = Closed {
                        reason,
                        user,
                        scope,
                        open_ms,
                        events,
                        opened,
                        is_page,
                    };
                    self.hear_closed(connection, &closed);
                }
                Notice::Answered { ticket, outcome } => self.hear_answer(ticket, outcome),
            }
        }
    }

    fn hear_closed(&mut self, connection: ConnectionId, closed: &Closed) {
        let name = connection.to_string();
        let grants = self.grants.get_mut(&name);
        let grants = grants.expect("what was never granted is not given back");
        grants.1 += 1;
        assert!(grants.1 <= grants.0, "given back twice");
        if let Some(at) = self.late.iter().position(|late| *late == name) {
            self.late.remove(at);
            let said = (closed.reason, closed.open_ms, closed.events, closed.opened);
            assert_eq!(said, (CloseReason::ClientGone, 0, 0, false));
            self.reached.mark("a late grant");
            return;
        }
        let was_opened = self.opened.remove(&name);
        assert_eq!(closed.opened, was_opened, "closed as it was opened");
        self.reached.mark(closed.reason.as_str());
        let descriptor = self.descriptor_of(connection);
        if closed.is_page {
            self.hear_page_closed(descriptor, closed);
        } else {
            self.hear_stream_closed(descriptor, closed);
        }
    }

    fn hear_stream_closed(&mut self, descriptor: i32, closed: &Closed) {
        let now_ms = self.now.monotonic_ms;
        let client = self.clients.get_mut(&descriptor);
        let client = client.expect("who is closed is there");
        assert!(client.closed.is_none(), "closed twice");
        client.closed = Some(closed.reason);
        let socket = &self.kernel.sockets[&descriptor];
        client.read_on(&socket.received, &self.past, now_ms);
        // When it came is known to the tick.
        let open_ms = now_ms - client.came.at_ms / 100 * 100;
        let told = (closed.user, closed.scope, closed.open_ms, closed.events);
        let reader = &client.came.reader;
        let known = (reader.user, reader.scope, open_ms, client.events);
        assert_eq!(
            told, known,
            "who is closed, after how long and how many events"
        );
        client.is_in_step &= !socket.was_short;
        let is_half_sent = client.is_half_sent();
        client.check_end(
            closed.reason,
            &self.past,
            (now_ms, self.idle_close_ms),
            (socket.is_broken, socket.short_ms),
        );
        if closed.reason == CloseReason::TooSlow {
            let is_stalled = socket.is_stalled(now_ms);
            self.reached.mark(match (is_stalled, is_half_sent) {
                (true, _) => "stalled",
                (false, true) => "evicted half-sent",
                (false, false) => "evicted",
            });
        }
    }

    fn hear_page_closed(&mut self, descriptor: i32, closed: &Closed) {
        let now_ms = self.now.monotonic_ms;
        let page = self.pages.get_mut(&descriptor);
        let page = page.expect("who is closed is there");
        assert!(page.closed.is_none(), "closed twice");
        page.closed = Some((closed.reason, closed.events));
        let open_ms = now_ms - page.asked_ms() / 100 * 100;
        let told = (closed.user, closed.scope, closed.open_ms);
        assert_eq!(told, (page.reader.user, page.reader.scope, open_ms));
        let has_cause = match closed.reason {
            CloseReason::ClientGone => self.kernel.sockets[&descriptor].is_broken,
            reason => page.has_cause(reason, now_ms),
        };
        assert!(has_cause, "{:?} without a cause", closed.reason);
    }

    fn descriptor_of(&self, connection: ConnectionId) -> i32 {
        let mut sockets = self.kernel.sockets.iter().rev();
        let found = sockets.find(|(_, socket)| socket.id == Some(connection));
        *found.expect("a connection that has asked").0
    }

    /// Whoever is closed is closed for a cause, and in the way that goes with it.
    pub(super) fn check_closed(&mut self) {
        let now_ms = self.now.monotonic_ms;
        for (descriptor, socket) in &self.kernel.sockets {
            let Some(how) = socket.closed.filter(|_| !socket.is_forgotten) else {
                continue;
            };
            let is_reset = how == Close::Reset;
            if let Some(client) = self.clients.get(descriptor) {
                assert!(client.closed.is_some(), "control is told of every end");
                let has_cause = match is_reset {
                    true => client.is_overdue(&self.past, now_ms, self.idle_close_ms),
                    false => socket.is_broken || client.has_ended(),
                };
                assert!(has_cause, "closed without a cause: {how:?}");
                continue;
            }
            let is_slow = socket.short_ms.is_some() || self.was_stopped;
            let is_late = now_ms >= socket.accepted_ms + LAST_WORDS_MS;
            assert!(!is_reset || (is_slow && is_late), "reset without a cause");
            if let Some(page) = self.pages.get(descriptor) {
                let is_answered = page.is_read || socket.is_broken || is_reset;
                assert!(is_answered, "a page was not answered");
            }
        }
    }

    /// Whoever was closed has been looked at for the last time.
    pub(super) fn forget_closed(&mut self) {
        let sockets = &self.kernel.sockets;
        let is_open = |descriptor: &i32| sockets[descriptor].is_open();
        for client in self.clients.iter().filter(|(it, _)| !is_open(it)) {
            self.delivered += u64::from(client.1.events);
            let last_id = client.1.last_id.map(|id| (client.1.came.who, id));
            self.last_ids.extend(last_id);
        }
        self.clients.retain(|descriptor, _| is_open(descriptor));
        self.pages.retain(|descriptor, _| is_open(descriptor));
        for socket in self.kernel.sockets.values_mut() {
            socket.is_forgotten = !socket.is_open();
            if socket.is_released {
                socket.received = Vec::new();
            }
        }
    }
}
