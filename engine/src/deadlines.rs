//! Deadlines: one walk over a column of four bytes a connection, once a second, serves heartbeats,
//! expiry, requests that take too long, and those who take nothing.
//!
//! Every connection in every state has a deadline, and none depends on its socket becoming readable
//! or writable.

use arrayvec::ArrayVec;
use bytes::Bytes;
use wire::CloseReason;
use wire::http::{Refusal, RefusalCode};

use crate::catch_up::Scratch;
use crate::driver::{Close, Outcome, Transmit};
use crate::limits::{GROUP_MAX, SCAN_MS, STANDSTILL_MS};
use crate::planted::{DEADLINE_IN_WRITE_PATH, HEARTBEAT_AHEAD};
use crate::record::{Bits, NONE, State};
use crate::time::Tick;
use crate::{Driver, Engine, Now};

impl Engine {
    /// Where there was no turn for long, deadlines are looked at anew in a while: whatever came in the
    /// meantime is told before, and whoever is only slow because we were is no slow client. Between two
    /// such times all of them are looked at: who is stopped again and again has deadlines, too.
    pub(crate) fn observe_standstill(&mut self, now: Now) {
        let stood_ms = now.monotonic_ms.saturating_sub(self.scan.turned_ms);
        self.scan.turned_ms = now.monotonic_ms;
        if stood_ms > STANDSTILL_MS && !std::mem::replace(&mut self.scan.is_put_off, true) {
            self.scan.at = None;
            self.scan.next_ms = now.monotonic_ms + SCAN_MS;
        }
    }

    /// Goes on with the walk, or begins one when it is time; at most a group of connections a turn.
    pub(crate) fn scan_deadlines(&mut self, now: Now, driver: &mut dyn Driver) {
        if self.scan.at.is_none() && now.monotonic_ms >= self.scan.next_ms {
            self.scan.at = Some(0);
            self.scan.next_ms = now.monotonic_ms + SCAN_MS;
            self.make_room_for_responses(now, driver);
        }
        let Some(mut at) = self.scan.at else { return };
        let tick = Tick::at(now.monotonic_ms);
        let mut silent = ArrayVec::<u32, GROUP_MAX>::new();
        let mut is_over = false;
        for _ in 0..GROUP_MAX {
            let Some(slot) = self.table.next_due(at, tick) else {
                is_over = true;
                break;
            };
            at = slot + 1;
            let record = &self.table[slot];
            let is_over = record.expires <= tick && record.bye.is_none();
            if is_over && record.is_stream() && record.bits.has(Bits::PAGE) {
                self.end_wait(now, slot);
            } else if self.table[slot].state == State::InStep {
                self.check_silence(now, slot, &mut silent);
            } else {
                self.overrun(now, slot, driver);
            }
        }
        self.scan.at = (!is_over).then_some(at);
        if is_over {
            self.scan.is_put_off = false;
            self.give_memory_back();
        }
        self.send_heartbeats(now, &silent, driver);
    }

    /// What a burst or a storm of requests needed is given back when it is over.
    fn give_memory_back(&mut self) {
        self.shared_answer = None;
        self.spare_sweeps = Vec::new();
        self.concerned = Vec::new();
        if self.behind.is_empty() {
            self.behind.shrink_to_fit();
            self.ready.shrink_to_fit();
            self.scratch = Scratch::default();
        }
        self.inputs.give_memory_back();
    }

    /// A stream in step has perhaps been silent for long, or its session has ended.
    fn check_silence(&mut self, now: Now, slot: u32, silent: &mut ArrayVec<u32, GROUP_MAX>) {
        if self.has_expired(now, slot) {
            self.end_stream(now, slot, CloseReason::SessionExpired);
            return;
        }
        let Some(left_ms) = self.close_idle(now, slot) else {
            return;
        };
        self.warn_of_expiry(now, slot);
        let record = &self.table[slot];
        if record.state != State::InStep {
            return;
        }
        let class = &self.classes[record.class as usize];
        let heartbeat_ms = self.config.heartbeat_ms;
        let silent_ms = now.monotonic_ms - class.swept_ms.min(now.monotonic_ms);
        let delay_ms = if !class.is_complete() && !HEARTBEAT_AHEAD {
            // What it is about to be sent is sign enough, and it is not complete up to a position.
            SCAN_MS
        } else if class.swept_ms != 0 && silent_ms < heartbeat_ms {
            heartbeat_ms - silent_ms
        } else {
            silent.push(slot);
            heartbeat_ms
        };
        self.set_deadline_of(now, slot, delay_ms.min(left_ms));
    }

    fn send_heartbeats(&mut self, now: Now, slots: &[u32], driver: &mut dyn Driver) {
        if slots.is_empty() {
            return;
        }
        let mut scratch = std::mem::take(&mut self.scratch);
        let text = &mut scratch.bytes;
        text.clear();
        self.write_heartbeat(now, text);
        let transmit = |slot: &u32| Transmit {
            connection: self.table.handle(*slot),
            bytes: text,
            outcome: Outcome::Pending,
        };
        let mut group: ArrayVec<Transmit<'_>, GROUP_MAX> = slots.iter().map(transmit).collect();
        driver.send(&mut group);
        for send in &group {
            let slot = send.connection.slot;
            match send.outcome {
                Outcome::Pending => panic!("the driver left a send without an outcome"),
                Outcome::Taken(taken) if taken == text.len() => {}
                Outcome::Taken(taken) => {
                    self.pull(slot);
                    let rest = Bytes::copy_from_slice(&text[taken..]);
                    self.behind[self.table[slot].side as usize].pending = rest;
                    self.block(now, slot, driver);
                }
                Outcome::Broken => {
                    self.counters.send_failures += 1;
                    self.close(now, slot, CloseReason::ClientGone, Close::Orderly, driver);
                }
            }
        }
        drop(group);
        self.scratch = scratch;
    }

    /// Sets the deadline of a stream that is behind and goes on from now: its next heartbeat. Where its socket is
    /// full, that has a deadline of its own, which nothing may put off.
    pub(crate) fn expect_heartbeat(&mut self, now: Now, slot: u32) {
        let is_blocked = self.behind[self.table[slot].side as usize].is_blocked;
        let delay_ms = match is_blocked {
            true => SCAN_MS,
            false => self.config.heartbeat_ms,
        };
        self.set_deadline_of(now, slot, delay_ms);
    }

    /// Whether a stream has taken nothing for too long.
    fn has_stalled(&self, slot: u32, tick: Tick) -> bool {
        let behind = &self.behind[self.table[slot].side as usize];
        behind.is_blocked && behind.stalled <= tick
    }

    /// Closes a stream that is behind and has taken nothing for too long: the bug that is planted looks at it
    /// here alone, when the socket takes bytes again. Whether it did.
    pub(crate) fn close_stalled(&mut self, now: Now, slot: u32, driver: &mut dyn Driver) -> bool {
        let is_behind = self.table[slot].state == State::Behind;
        let is_over = is_behind && self.has_stalled(slot, Tick::at(now.monotonic_ms));
        if is_over {
            self.close(now, slot, CloseReason::TooSlow, Close::Reset, driver);
        }
        is_over
    }

    /// A connection that is not in step has overrun its deadline.
    fn overrun(&mut self, now: Now, slot: u32, driver: &mut dyn Driver) {
        let record = &self.table[slot];
        let tick = Tick::at(now.monotonic_ms);
        let has_expired = record.expires <= tick;
        match record.state {
            State::Reading if record.side == NONE => {
                // It never said anything: there is nobody to answer.
                self.close(
                    now,
                    slot,
                    CloseReason::RequestTimeout,
                    Close::Orderly,
                    driver,
                );
            }
            State::Reading => {
                let message = "the request did not arrive in time";
                let refusal = Refusal::new(RefusalCode::RequestTimeout, message);
                self.refuse_request(now, slot, &refusal);
            }
            State::Waiting => {
                let message = "the node did not find an answer in time; come back in some seconds";
                let refusal = Refusal::new(RefusalCode::Unavailable, message);
                self.refuse_for_now(now, slot, &refusal, None);
            }
            State::Held if has_expired => {
                self.end_stream(now, slot, CloseReason::SessionExpired);
            }
            State::Held if self.held_for_ms(now, slot) >= self.config.resume_wait_ms => {
                self.end_stream(now, slot, CloseReason::Lagging);
            }
            State::Behind if record.bye.is_some() => {
                self.close(now, slot, CloseReason::TooSlow, Close::Reset, driver);
            }
            State::Behind if has_expired => {
                self.end_stream(now, slot, CloseReason::SessionExpired);
            }
            State::Behind if self.has_stalled(slot, tick) && !DEADLINE_IN_WRITE_PATH => {
                self.close(now, slot, CloseReason::TooSlow, Close::Reset, driver);
            }
            State::Behind | State::Held => {
                self.warn_of_expiry(now, slot);
                self.set_deadline_of(now, slot, SCAN_MS);
            }
            State::Finishing => {
                self.close(now, slot, CloseReason::TooSlow, Close::Reset, driver);
            }
            State::Lingering => {
                self.close(now, slot, CloseReason::Done, Close::Orderly, driver);
            }
            state @ (State::InStep | State::Closing | State::Free) => {
                panic!("a connection in {state:?} has no such deadline")
            }
        }
    }
}
