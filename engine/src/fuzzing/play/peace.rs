//! How a play ends: everybody reads, and nobody lacks anything; then everybody is told to go, and nothing
//! is left.

use wire::Lsn;

use super::Play;
use crate::fuzzing::structure;

/// How long nothing happens in the end, in steps of so many milliseconds: longer than any heartbeat, any
/// held stream and any page that waits, with steps so small that no deadline is put off.
const PEACE: (u64, usize) = (2_000, 24);

/// How long everybody has to leave.
const DRAIN: (u64, usize) = (2_000, 30);

impl Play {
    /// From here on everybody reads, the server answers, and the past ends.
    pub(in crate::fuzzing) fn become_peaceful(&mut self) {
        (self.kernel.is_overloaded, self.is_at_rest) = (false, false);
        for descriptor in self.open_descriptors() {
            if self.kernel.sockets[&descriptor].is_broken {
                // That it was broken is found now.
                self.report_hang_up(descriptor);
                continue;
            }
            self.give_room(descriptor, None);
        }
        self.check();
        self.settle();
        self.check();
        // Beyond every place that anybody named, and every one at which the past ends.
        self.progress(32);
        self.flush(0);
        self.settle();
        self.check();
        for _ in 0..PEACE.1 {
            self.pass(PEACE.0);
            self.settle();
            self.check();
        }
    }

    /// Nothing is pending: whoever takes what it is sent has everything, but for those who wait.
    pub(super) fn check_rest(&mut self) {
        let now_ms = self.now.monotonic_ms;
        for (descriptor, client) in &mut self.clients {
            let is_well = self.kernel.sockets[descriptor].is_well();
            let waits = client.standing.is_held() || client.floor.is_some();
            if is_well && !waits && !client.has_ended() {
                client.check_is_complete(&self.past, now_ms);
            }
        }
        for (descriptor, page) in &self.pages {
            let is_well = self.kernel.sockets[descriptor].is_well();
            let is_answered = page.is_read || !is_well || !page.is_due(&self.past);
            assert!(
                is_answered,
                "an event is there, and the page that waits is not answered"
            );
        }
    }

    /// Whoever is still there has everything, and had it in time.
    pub(in crate::fuzzing) fn check_nothing_is_missing(&mut self) {
        let now_ms = self.now.monotonic_ms;
        for (descriptor, client) in &mut self.clients {
            let is_well = self.kernel.sockets[descriptor].is_well();
            if is_well && !client.has_ended() {
                client.check_is_complete(&self.past, now_ms);
                let (heartbeat_ms, idle_close_ms) = (self.heartbeat_ms, self.idle_close_ms);
                let last_ms = self.last_commit_ms;
                client.check_is_in_time(now_ms, heartbeat_ms, idle_close_ms, last_ms);
                self.reached.mark("in step in the end");
            }
        }
        let is_answered = self.pages.values().all(|page| page.is_read);
        assert!(is_answered, "a page was not answered");
    }

    /// The node stops: everybody is told so, and leaves.
    pub(in crate::fuzzing) fn leave(&mut self) {
        let open = self
            .clients
            .iter()
            .filter(|(_, client)| !client.has_ended());
        let mut open: Vec<i32> = open.map(|(descriptor, _)| *descriptor).collect();
        self.close_all(1);
        for _ in 0..DRAIN.1 {
            self.pass(DRAIN.0);
            self.settle();
            let now_ms = self.now.monotonic_ms;
            for (descriptor, client) in &mut self.clients {
                let received = &self.kernel.sockets[descriptor].received;
                client.read_on(received, &self.past, now_ms);
                open.retain(|other| other != descriptor || !client.has_ended());
            }
            self.check();
        }
        assert!(open.is_empty(), "nobody told them to go: {open:?}");
        let left = self.open_descriptors();
        assert!(left.is_empty(), "they did not leave: {left:?}");
        // What was closed last is released.
        self.turn();
        self.settle();
        self.check();
    }

    /// Every table is empty, and every debt is paid.
    pub(in crate::fuzzing) fn check_nothing_is_left(&mut self) {
        structure::check_empty(&mut self.engine);
        assert!(self.tickets.is_empty(), "a ticket was not answered");
        for (connection, (handed_over, given_back)) in &self.grants {
            assert_eq!(handed_over, given_back, "the grants of {connection}");
        }
        assert!(self.opened.is_empty(), "what was opened was closed");
        let counted = self.engine.counters().deliveries;
        assert_eq!(counted, self.delivered, "events that were counted");
        let frames = self.engine.counters().events;
        assert_eq!(frames, self.past.frames.len() as u64);
    }

    /// The server answers to what it has flushed its log.
    pub(super) fn flush(&mut self, ahead: u64) {
        let lsn = Lsn(self.lsn + 16 * ahead);
        self.flushed = self.flushed.max(lsn.0);
        let now_ms = self.now.monotonic_ms;
        for client in self.clients.values_mut() {
            let was_held = client.standing.is_held();
            client.standing.on_flushed(&self.past, lsn, now_ms);
            if was_held && !client.standing.is_held() {
                self.reached.mark("held and unknown");
            }
        }
        for page in self.pages.values_mut() {
            page.on_flushed(lsn, &self.past, now_ms);
        }
        self.command(crate::Command::Flushed(lsn));
    }
}
