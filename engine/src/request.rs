//! Requests: a head, a body, and over to the control thread.
//!
//! The engine knows no paths but those of streams, and those only to refuse softly when the control
//! thread has no room.

use bytes::Bytes;
use wire::http::{Head, HeadScan, Method, Refusal, RefusalCode, Request};
use wire::{CloseReason, EventId};

use crate::driver::{Close, Outcome, Transmit, Watch};
use crate::inputs::Input;
use crate::limits::{ANSWER_MS, BODY_MS, HEAD_MS, LINGER_BYTES_MAX};
use crate::record::{Bits, NONE, State};
use crate::time::Tick;
use crate::{Driver, Engine, Now};

impl Engine {
    pub(crate) fn accept(&mut self, now: Now, descriptor: i32, driver: &mut dyn Driver) {
        let slot = self.table.insert(descriptor);
        self.table.set_deadline(slot, Tick::after(now, HEAD_MS));
        driver.watch(self.table.handle(slot), Watch::Readable);
    }

    pub(crate) fn read(&mut self, now: Now, slot: u32, bytes: &[u8], driver: &mut dyn Driver) {
        match self.table[slot].state {
            State::Reading if bytes.is_empty() => {
                self.close(now, slot, CloseReason::ClientGone, Close::Orderly, driver);
            }
            State::Reading => self.read_request(now, slot, bytes, driver),
            State::Lingering => self.discard(now, slot, bytes, driver),
            // Whatever a client says besides is not heard.
            _ => {}
        }
    }

    /// Reads and forgets what still comes after our last words.
    fn discard(&mut self, now: Now, slot: u32, bytes: &[u8], driver: &mut dyn Driver) {
        let record = &mut self.table[slot];
        record.events = record.events.saturating_add(bytes.len() as u32);
        if bytes.is_empty() || record.events as usize > LINGER_BYTES_MAX {
            self.close(now, slot, CloseReason::Done, Close::Orderly, driver);
        } else {
            driver.watch(self.table.handle(slot), Watch::Readable);
        }
    }

    fn read_request(&mut self, now: Now, slot: u32, bytes: &[u8], driver: &mut dyn Driver) {
        let side = self.table[slot].side;
        if side == NONE {
            self.begin_request(now, slot, bytes, driver);
            return;
        }
        let had_head = self.inputs.get(side).head().is_some();
        match self.inputs.extend(side, slot, bytes) {
            Ok(()) => self.await_rest(now, slot, had_head, driver),
            Err(error) => self.refuse_request(now, slot, &error.refusal()),
        }
    }

    /// The first bytes of a request. Most arrive whole, and need no buffer.
    fn begin_request(&mut self, now: Now, slot: u32, bytes: &[u8], driver: &mut dyn Driver) {
        let mut scan = HeadScan::default();
        let input = match scan.advance(bytes) {
            Ok(Some(head)) => {
                let rest = &bytes[head.len_bytes()..];
                if let Some(body) = rest.get(..head.body_bytes()) {
                    let body = Bytes::copy_from_slice(body);
                    self.forward(now, slot, Request { head, body }, driver);
                    return;
                }
                Input::of_body(head, rest)
            }
            Ok(None) => Input::of_head(bytes, scan),
            Err(error) => {
                self.refuse_request(now, slot, &error.refusal());
                return;
            }
        };
        self.table[slot].side = self.inputs.insert(slot, input);
        self.await_rest(now, slot, false, driver);
    }

    /// A request of which something has come: it is handed over where it is whole, or waits for the rest,
    /// where there is room for that.
    fn await_rest(&mut self, now: Now, slot: u32, had_head: bool, driver: &mut dyn Driver) {
        let input = self.inputs.get(self.table[slot].side);
        if input.is_whole() {
            let side = std::mem::replace(&mut self.table[slot].side, NONE);
            let request = self.inputs.take(side);
            self.forward(now, slot, request, driver);
            return;
        }
        if let Some(head) = input.head().filter(|_| !had_head) {
            let must_continue = head.expects_continue();
            self.table.set_deadline(slot, Tick::after(now, BODY_MS));
            if must_continue {
                self.let_continue(slot, driver);
            }
        }
        self.refuse_slowest(now, driver);
        if self.table[slot].state == State::Reading {
            driver.watch(self.table.handle(slot), Watch::Readable);
        }
    }

    fn let_continue(&self, slot: u32, driver: &mut dyn Driver) {
        // A few bytes into an empty socket; whoever does not take them sends the body anyway.
        driver.send(&mut [Transmit {
            connection: self.table.handle(slot),
            bytes: b"HTTP/1.1 100 Continue\r\n\r\n",
            outcome: Outcome::Pending,
        }]);
    }

    /// Where too much is arriving in pieces, those are refused that take longest.
    fn refuse_slowest(&mut self, now: Now, driver: &mut dyn Driver) {
        while let Some(slowest) = self.inputs.slowest_of_too_many() {
            let head = self.inputs.get(self.table[slowest].side).head();
            let Some(soft) = head.map(|head| self.softly_refused(head)) else {
                // It may be for a stream, and the status of a refusal would end an `EventSource` for good;
                // a connection that is lost does not.
                let refused = RefusalCode::Overloaded.index();
                self.counters.refusals[refused] += 1;
                self.close(now, slowest, CloseReason::Refused, Close::Orderly, driver);
                continue;
            };
            let message =
                "the node reads too many long requests at a time, and this one took longest";
            let refusal = Refusal::new(RefusalCode::Overloaded, message);
            self.table[slowest].bits.set(Bits::SOFT, soft.is_some());
            self.refuse_for_now(now, slowest, &refusal, soft.flatten());
        }
    }

    /// Hands a whole request to the control thread.
    fn forward(&mut self, now: Now, slot: u32, request: Request, driver: &mut dyn Driver) {
        self.table[slot].state = State::Waiting;
        self.table.set_deadline(slot, Tick::after(now, ANSWER_MS));
        let soft = self.softly_refused(&request.head);
        self.table[slot].bits.set(Bits::SOFT, soft.is_some());
        let (id, handle) = (self.table.id(slot), self.table.handle(slot));
        if driver.forward(id, handle, request).is_ok() {
            return;
        }
        let refusal = Refusal::new(
            RefusalCode::Overloaded,
            "the node has more requests than it can answer; come back in some seconds",
        );
        self.refuse_for_now(now, slot, &refusal, soft.flatten());
    }

    /// Refuses a request with its true status.
    pub(crate) fn refuse_request(&mut self, now: Now, slot: u32, refusal: &Refusal) {
        self.counters.refusals[refusal.code.index()] += 1;
        self.respond(now, slot, refusal.response(""));
    }

    /// Writes a temporary refusal, softly where the request was for such a stream; the client's own
    /// id goes with it where it is known.
    pub(crate) fn refuse_for_now(
        &mut self,
        now: Now,
        slot: u32,
        refusal: &Refusal,
        last_event_id: Option<EventId>,
    ) {
        self.counters.refusals[refusal.code.index()] += 1;
        let range = refusal.code.retry_ms();
        let response = match range.filter(|_| self.table[slot].bits.has(Bits::SOFT)) {
            Some(range) => {
                let retry_ms = self.jitter_ms(slot, range);
                refusal.soft_response("", retry_ms, last_event_id)
            }
            None => refusal.response(""),
        };
        self.respond(now, slot, response);
    }

    /// Whether a temporary refusal of this request is written as an event stream; the client's own
    /// id then goes with it.
    fn softly_refused(&self, head: &Head) -> Option<Option<EventId>> {
        let is_soft = head.method() == Method::Get
            && head.field("x-tailrace-client").is_none()
            && self
                .config
                .streams
                .iter()
                .any(|stream| stream.soft_refusal && stream.path == head.path());
        is_soft.then(|| {
            head.field("last-event-id")
                .and_then(|text| text.parse().ok())
        })
    }
}
