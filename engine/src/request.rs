//! Requests: a head, a body, and over to the control thread.
//!
//! The engine knows no paths but those of streams, and those only to refuse softly when the control
//! thread has no room.

use bytes::{Bytes, BytesMut};
use wire::http::{Head, Method, Refusal, RefusalCode, Request};
use wire::{CloseReason, EventId};

use crate::driver::{Close, Outcome, Transmit, Watch};
use crate::limits::{ANSWER_MS, BODY_MS, HEAD_MS, LINGER_BYTES_MAX};
use crate::record::{Bits, NONE, State};
use crate::time::Tick;
use crate::{Driver, Engine, Now};

/// A request that arrives in pieces. Bounded by what the head parser accepts, and by the length of
/// the body it announced.
#[derive(Debug)]
pub(crate) struct Input {
    bytes: BytesMut,
    head: Option<Head>,
    /// How many bytes there were when the head was last tried.
    tried: usize,
}

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
            // Most requests arrive whole, and need no buffer.
            match Head::parse(bytes) {
                Ok(Some(head)) if bytes.len() >= head.len_bytes() + head.body_bytes() => {
                    let body = &bytes[head.len_bytes()..head.len_bytes() + head.body_bytes()];
                    let body = Bytes::copy_from_slice(body);
                    self.forward(now, slot, Request { head, body }, driver);
                }
                Ok(head) => {
                    let input = Input {
                        bytes: bytes.into(),
                        head: None,
                        tried: bytes.len(),
                    };
                    self.table[slot].side = self.inputs.insert(input) as u32;
                    self.await_rest(now, slot, head, driver);
                }
                Err(error) => self.refuse_request(now, slot, &error.refusal()),
            }
            return;
        }
        let input = &mut self.inputs[side as usize];
        input.bytes.extend_from_slice(bytes);
        if input.head.is_none() {
            // A head is tried when a line ends or the input has doubled, so that reading is linear
            // however finely it is cut.
            let is_worth_trying =
                bytes.contains(&b'\n') || input.bytes.len() >= 2 * input.tried.max(64);
            if !is_worth_trying {
                driver.watch(self.table.handle(slot), Watch::Readable);
                return;
            }
            input.tried = input.bytes.len();
            match Head::parse(&input.bytes) {
                Ok(head) => self.await_rest(now, slot, head, driver),
                Err(error) => self.refuse_request(now, slot, &error.refusal()),
            }
            return;
        }
        self.await_body(now, slot, driver);
    }

    /// The head is there, or more of it is needed.
    fn await_rest(&mut self, now: Now, slot: u32, head: Option<Head>, driver: &mut dyn Driver) {
        let Some(head) = head else {
            driver.watch(self.table.handle(slot), Watch::Readable);
            return;
        };
        let input = &mut self.inputs[self.table[slot].side as usize];
        let has_body = input.bytes.len() >= head.len_bytes() + head.body_bytes();
        let must_continue = head.expects_continue() && !has_body;
        input.head = Some(head);
        self.table.set_deadline(slot, Tick::after(now, BODY_MS));
        if must_continue {
            // A few bytes into an empty socket; whoever does not take them sends the body anyway.
            let connection = self.table.handle(slot);
            let bytes = b"HTTP/1.1 100 Continue\r\n\r\n";
            driver.send(&mut [Transmit {
                connection,
                bytes,
                outcome: Outcome::Pending,
            }]);
        }
        self.await_body(now, slot, driver);
    }

    fn await_body(&mut self, now: Now, slot: u32, driver: &mut dyn Driver) {
        let side = self.table[slot].side as usize;
        let input = &self.inputs[side];
        let head = input.head.as_ref().expect("a body comes after its head");
        let (start, end) = (head.len_bytes(), head.len_bytes() + head.body_bytes());
        if input.bytes.len() < end {
            driver.watch(self.table.handle(slot), Watch::Readable);
            return;
        }
        let input = self.inputs.remove(side);
        self.table[slot].side = NONE;
        let head = input.head.expect("it was there a moment ago");
        let body = input.bytes.freeze().slice(start..end);
        self.forward(now, slot, Request { head, body }, driver);
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
