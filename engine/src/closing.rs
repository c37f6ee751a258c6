//! Ending: a stream says `bye` at a frame boundary, a connection is closed once, and its slot is free
//! when nothing of it is left in the kernel.

use bytes::Bytes;
use wire::http::{Refusal, RefusalCode};
use wire::{CloseReason, ConnectionId};

use crate::behind::Behind;
use crate::driver::{Close, Notice};
use crate::limits::LAST_WORDS_MS;
use crate::record::{Bits, NONE, State};
use crate::responses::is_long;
use crate::time::Tick;
use crate::{Driver, Engine, Now};

impl Engine {
    /// Ends a stream with a `bye` event, at the next frame boundary. It receives no further frame
    /// but the one it is in the middle of.
    pub(crate) fn end_stream(&mut self, now: Now, slot: u32, reason: CloseReason) {
        if !self.table[slot].is_stream() || self.table[slot].bye.is_some() {
            return;
        }
        match self.table[slot].state {
            State::InStep => self.pull(slot),
            State::Held => drop(self.release_held(slot)),
            _ => {}
        }
        let record = &mut self.table[slot];
        record.bye = Some(reason);
        record.bits.set(Bits::PARKED, false);
        self.table
            .set_deadline(slot, Tick::after(now, LAST_WORDS_MS));
        self.make_ready(slot);
    }

    /// A stream is one no longer: it leaves its class and its user, and control is told. Its side
    /// entry stays, for its last words.
    pub(crate) fn leave_stream(&mut self, now: Now, slot: u32, reason: CloseReason) {
        match self.table[slot].state {
            State::InStep => self.pull(slot),
            State::Held => drop(self.release_held(slot)),
            State::Behind => {}
            state => panic!("a connection in {state:?} is no stream"),
        }
        let record = &self.table[slot];
        let class = &self.classes[record.class as usize];
        let user = (record.user != wire::Key::NOBODY).then_some(record.user);
        let open_ms = now.monotonic_ms.saturating_sub(record.opened.start_ms());
        let notice = Notice::Closed {
            connection: self.table.id(slot),
            user,
            scope: class.key.scope,
            reason,
            open_ms,
            events: record.events,
            opened: record.bits.has(Bits::OPENED),
            is_page: record.bits.has(Bits::PAGE),
        };
        if record.bits.has(Bits::GRANTED) {
            self.notices.push(notice);
        }
        self.counters.closed[reason.index()] += 1;
        self.counters.streams -= 1;
        if user.is_some() {
            self.users.remove(&mut self.table, slot);
        }
        self.detach(slot);
        let record = &mut self.table[slot];
        record.user = wire::Key::NOBODY;
        record.bits = Bits::default();
    }

    /// Closes a connection, in whatever state it is.
    pub(crate) fn close(
        &mut self,
        now: Now,
        slot: u32,
        reason: CloseReason,
        how: Close,
        driver: &mut dyn Driver,
    ) {
        if self.table[slot].is_stream() {
            // A stream that was told why it ends has that reason, however the end comes about.
            self.leave_stream(now, slot, self.table[slot].bye.unwrap_or(reason));
        }
        let record = &mut self.table[slot];
        let (state, side) = (record.state, std::mem::replace(&mut record.side, NONE));
        match state {
            State::Behind | State::Finishing => self.drop_behind(side),
            State::Reading if side != NONE => drop(self.inputs.remove(side)),
            State::Reading | State::Waiting | State::Lingering => {}
            State::InStep | State::Held => panic!("a stream was left behind"),
            State::Free | State::Closing => panic!("slot {slot} is closed twice"),
        }
        self.table[slot].state = State::Closing;
        self.table.set_deadline(slot, Tick::NEVER);
        driver.close(self.table.handle(slot), how);
    }

    /// Nothing more is written of what was kept here.
    pub(crate) fn drop_behind(&mut self, side: u32) {
        let behind = self.behind.remove(side as usize);
        if let Some(number) = behind.long_stalled {
            self.responses.go_on(number);
        }
    }

    /// The peer closed or broke.
    pub(crate) fn hang_up(&mut self, now: Now, slot: u32, driver: &mut dyn Driver) {
        if self.table[slot].state != State::Closing {
            self.close(now, slot, CloseReason::ClientGone, Close::Orderly, driver);
        }
    }

    /// The control thread's answer to a request; nobody's, if the client is gone.
    pub(crate) fn respond_to(&mut self, now: Now, connection: ConnectionId, response: Bytes) {
        let slot = self.table.find_id(connection);
        let Some(slot) = slot.filter(|slot| self.table[*slot].state == State::Waiting) else {
            return;
        };
        match self.responses.admit(response) {
            Some(response) => self.respond(now, slot, response),
            None => self.refuse_for_now(now, slot, &no_room_for_response(), None),
        }
    }

    /// Writes a whole response, then ends.
    pub(crate) fn respond(&mut self, now: Now, slot: u32, response: Bytes) {
        let record = &mut self.table[slot];
        match record.state {
            State::Reading if record.side != NONE => drop(self.inputs.remove(record.side)),
            State::Reading | State::Waiting => {}
            state => panic!("no response is written in {state:?}"),
        }
        record.state = State::Finishing;
        let mut behind = Behind::new(response, 0);
        behind.is_long = is_long(&behind.pending);
        record.side = self.behind.insert(behind) as u32;
        self.table
            .set_deadline(slot, Tick::after(now, LAST_WORDS_MS));
        self.make_ready(slot);
    }
}

/// What is said where too many long responses wait to be taken.
pub(crate) fn no_room_for_response() -> Refusal {
    let message = "too many answers wait for their clients to take them; come back in some seconds";
    Refusal::new(RefusalCode::Overloaded, message)
}
