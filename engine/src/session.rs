//! Sessions: how long a stream lives. The `auth` event that warns of the end, a renewal under a fresh
//! session, a session that lasts longer, and streams that are idle for too long.
//!
//! When these are looked at is in `deadlines`; that a stream is closed because a right ended is in
//! `intake`.

use wire::{CloseReason, Extension, Key, Renewal, Scope};

use crate::driver::{Notice, TicketOutcome};
use crate::record::{Bits, State};
use crate::time::Tick;
use crate::{Engine, Now};

/// When each stream was last sent a data event, by slot: a column that is there only where idle
/// streams are closed.
#[derive(Debug, Default)]
pub(crate) struct Quiet(Vec<LastEvent>);

/// The last data event of one stream, as far as its class does not know it.
#[derive(Clone, Copy, Debug, Default)]
struct LastEvent {
    /// When it was opened, or last sent an event while it was not in step.
    own: Tick,
    /// When it came into step: what its class was sent since then, it was sent too.
    joined: Tick,
}

impl Quiet {
    /// A stream is opened.
    fn open(&mut self, now: Now, slot: u32) {
        let slot = slot as usize;
        if self.0.len() <= slot {
            self.0.resize(slot + 1, LastEvent::default());
        }
        let at = Tick::at(now.monotonic_ms);
        self.0[slot] = LastEvent {
            own: at,
            joined: at,
        };
    }

    /// When it was last sent a data event, where its class was last sent one at `swept_ms`.
    fn last(&self, slot: u32, swept_ms: u64) -> Tick {
        let last = self.0[slot as usize];
        let swept = Tick::at(swept_ms);
        if swept >= last.joined {
            swept.max(last.own)
        } else {
            last.own
        }
    }
}

impl Engine {
    /// Sets the deadline of a stream: after this delay, or when its session asks for something.
    pub(crate) fn set_deadline_of(&mut self, now: Now, slot: u32, delay_ms: u64) {
        let record = &self.table[slot];
        // A page that waits has nothing to do before the end of its wait.
        let is_page = record.bits.has(Bits::PAGE) && record.state != State::Held;
        let delayed = if is_page {
            Tick::NEVER
        } else {
            Tick::after(now, delay_ms)
        };
        let deadline = delayed.min(record.session_due());
        self.table.set_deadline(slot, deadline);
    }

    /// The tick in which a session ends.
    pub(crate) fn expiry(now: Now, expires_ms: Option<u64>) -> Tick {
        expires_ms.map_or(Tick::NEVER, |expires_ms| {
            Tick::after(now, expires_ms.saturating_sub(now.wall_ms))
        })
    }

    /// Whether the session of a stream has ended.
    pub(crate) fn has_expired(&self, now: Now, slot: u32) -> bool {
        self.table[slot].expires <= Tick::at(now.monotonic_ms)
    }

    /// An `auth` event becomes due where the session is about to end, once for each end.
    pub(crate) fn warn_of_expiry(&mut self, now: Now, slot: u32) {
        let record = &mut self.table[slot];
        if record.bits.has(Bits::WARNED) || record.session_due() > Tick::at(now.monotonic_ms) {
            return;
        }
        record.bits.set(Bits::WARNED, true);
        record.bits.set(Bits::AUTH, true);
        if record.state == State::InStep {
            self.pull(slot);
        }
        self.make_ready(slot);
    }

    /// A stream goes on under a fresh session of its own user.
    pub(crate) fn renew(&mut self, now: Now, renewal: &Renewal) {
        let slot = self.table.find_id(renewal.connection);
        let slot = slot.filter(|slot| self.is_open_stream(*slot));
        let outcome = match slot {
            None => TicketOutcome::NotFound,
            Some(slot) if self.table[slot].user != renewal.user => TicketOutcome::Foreign,
            // Its session has ended, though its `bye` is not due before the next scan.
            Some(slot) if self.has_expired(now, slot) => TicketOutcome::NotFound,
            Some(slot) if !self.is_claimed(slot, renewal) => TicketOutcome::NotAMember,
            Some(slot) => {
                self.table[slot].session = renewal.session.hash64();
                self.move_expiry(now, slot, Self::expiry(now, renewal.expires_ms));
                TicketOutcome::Done
            }
        };
        self.answer_ticket(renewal.ticket, outcome);
    }

    /// Whether a fresh session vouches for what the stream is shown, where nobody else does.
    fn is_claimed(&self, slot: u32, renewal: &Renewal) -> bool {
        let key = &self.classes[self.table[slot].class as usize].key;
        match (&renewal.claims, key.scope) {
            (Some(claims), Scope::Organisation(organisation)) => claims.iter().any(|claimed| {
                claimed.organisation == organisation && key.filter.is_of_roles(&claimed.roles)
            }),
            (None, _) | (_, Scope::Nothing | Scope::Everything) => true,
        }
    }

    /// The end of a session has moved.
    pub(crate) fn extend(&mut self, now: Now, extension: &Extension) {
        let session = extension.session.hash64();
        let is_of_it = |engine: &Self, slot: u32| engine.table[slot].session == session;
        let slots = match extension.user {
            Some(user) => {
                let mut slots = self.slots_of(user);
                slots.retain(|slot| is_of_it(self, *slot));
                slots
            }
            None => self.streams(is_of_it),
        };
        let expires = Self::expiry(now, Some(extension.expires_ms));
        for slot in slots {
            if self.is_open_stream(slot) && !self.has_expired(now, slot) {
                self.move_expiry(now, slot, expires);
            }
        }
    }

    /// Tells what came of a request about a stream.
    pub(crate) fn answer_ticket(&mut self, ticket: u64, outcome: TicketOutcome) {
        self.notices.push(Notice::Answered { ticket, outcome });
    }

    /// Whether a stream is open and goes on; a page is none.
    pub(crate) fn is_open_stream(&self, slot: u32) -> bool {
        let record = &self.table[slot];
        record.is_stream() && record.bye.is_none() && !record.bits.has(Bits::PAGE)
    }

    fn move_expiry(&mut self, now: Now, slot: u32, expires: Tick) {
        let record = &mut self.table[slot];
        record.expires = expires;
        record.bits.set(Bits::WARNED, false);
        record.bits.set(Bits::AUTH, false);
        // Sooner than it was, if need be; what comes too soon is looked at and set again.
        let deadline = self.table.deadline(slot);
        let due = self.table[slot].session_due();
        self.table
            .set_deadline(slot, deadline.min(due).max(Tick::at(now.monotonic_ms)));
    }
}

/// Streams that are idle.
impl Engine {
    /// A stream is opened: from here on it may be idle.
    pub(crate) fn quiet_open(&mut self, now: Now, slot: u32) {
        if self.config.idle_close_ms > 0 {
            self.quiet.open(now, slot);
        }
    }

    /// A stream that is behind was sent a data event.
    pub(crate) fn quiet_sent(quiet: &mut Quiet, now: Now, slot: u32) {
        if let Some(last) = quiet.0.get_mut(slot as usize) {
            last.own = Tick::at(now.monotonic_ms);
        }
    }

    /// A stream comes into step.
    pub(crate) fn quiet_join(&mut self, now: Now, slot: u32) {
        if let Some(last) = self.quiet.0.get_mut(slot as usize) {
            last.joined = Tick::at(now.monotonic_ms);
        }
    }

    /// A stream leaves its class: what that was sent since it joined is its own now.
    pub(crate) fn quiet_pull(&mut self, slot: u32) {
        let record = &self.table[slot];
        if self.config.idle_close_ms > 0 && !record.bits.has(Bits::PAGE) {
            let class = &self.classes[record.class as usize];
            // What a running sweep has sent it, its class knows only when that is over.
            let is_ahead = class.events_of(record.side) != class.events;
            let sent_ms = if is_ahead {
                self.scan.turned_ms
            } else {
                class.swept_ms
            };
            self.quiet.0[slot as usize].own = self.quiet.last(slot, sent_ms);
        }
    }

    /// How long a stream in step may go on without a data event, in milliseconds; `None` where that
    /// time is over.
    pub(crate) fn quiet_left_ms(&self, now: Now, slot: u32) -> Option<u64> {
        let idle_close_ms = self.config.idle_close_ms;
        if idle_close_ms == 0 || self.table[slot].bits.has(Bits::PAGE) {
            return Some(u64::MAX);
        }
        let class = &self.classes[self.table[slot].class as usize];
        if !class.is_complete() {
            // It is being sent something, or will be at once, of which the class does not know yet.
            return Some(idle_close_ms);
        }
        let last_ms = self.quiet.last(slot, class.swept_ms).start_ms();
        let left_ms = (last_ms + idle_close_ms).saturating_sub(now.monotonic_ms);
        (left_ms > 0).then_some(left_ms)
    }

    /// Ends a stream that has been idle for too long. Returns how long it may go on else.
    pub(crate) fn close_idle(&mut self, now: Now, slot: u32) -> Option<u64> {
        let left_ms = self.quiet_left_ms(now, slot);
        if left_ms.is_none() {
            self.end_stream(now, slot, CloseReason::Idle);
        }
        left_ms
    }
}

/// The user of a stream, `None` for a service key's.
pub(crate) fn owner_of(user: Key) -> Option<Key> {
    (user != Key::NOBODY).then_some(user)
}
