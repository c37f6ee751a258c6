//! Long responses that wait for their clients to take them: how many bytes of memory these hold, and who
//! takes nothing. A response that several connections share is counted once, for as long as one of them has
//! it.
//!
//! Where there is no room for another one, whoever asks is told to come again, and those are closed that
//! have taken nothing for a while: a client on a slow line takes something, and keeps its place.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use wire::CloseReason;

use crate::driver::Close;
use crate::limits::{GROUP_MAX, RESPONSE_BYTES_EACH, RESPONSE_STALL_MS, RESPONSES_BYTES_MAX};
use crate::{Driver, Engine, Now};

/// Those of an engine.
#[derive(Debug, Default)]
pub(crate) struct Responses {
    /// Only this thread looks at it; but whoever lets go of the bytes may be any.
    bytes: Arc<AtomicUsize>,
    /// The slots whose sockets take nothing of a long one now, by number, and since when: the oldest first.
    stalled: BTreeMap<u64, (u32, u64)>,
    last: u64,
}

/// A response, counted until it is dropped.
struct Counted {
    response: Bytes,
    bytes: Arc<AtomicUsize>,
}

impl Responses {
    /// The same response, counted if it is a long one; `None` where there is no room for that. The last
    /// may be longer than the room it found.
    pub(crate) fn admit(&self, response: Bytes) -> Option<Bytes> {
        if !is_long(&response) {
            return Some(response);
        }
        if self.bytes.load(Ordering::Relaxed) >= RESPONSES_BYTES_MAX {
            return None;
        }
        self.bytes.fetch_add(response.len(), Ordering::Relaxed);
        Some(Bytes::from_owner(Counted {
            response,
            bytes: Arc::clone(&self.bytes),
        }))
    }

    /// The socket of this slot takes nothing of a long response, from now on: the number of that.
    pub(crate) fn stall(&mut self, now: Now, slot: u32) -> u64 {
        self.last += 1;
        self.stalled.insert(self.last, (slot, now.monotonic_ms));
        self.last
    }

    /// What has this number is over: the socket takes more, or is closed.
    pub(crate) fn go_on(&mut self, number: u64) {
        let stalled = self.stalled.remove(&number);
        assert!(stalled.is_some(), "a number is given back once");
    }

    /// Holds those that are stalled against what their connections say: these numbers and slots.
    ///
    /// # Panics
    ///
    /// Where one does not agree with the other.
    pub(crate) fn check(&self, stalled: impl Iterator<Item = (u64, u32)>) {
        let count = stalled
            .inspect(|(number, slot)| assert_eq!(self.stalled[number].0, *slot))
            .count();
        assert_eq!(self.stalled.len(), count);
    }

    /// Who has taken nothing for longest, and for too long, while there are so many bytes or more.
    fn longest_stalled(&self, now: Now, bytes_max: usize) -> Option<u32> {
        let (_, (slot, since_ms)) = self.stalled.first_key_value()?;
        let is_too_long = now.monotonic_ms >= since_ms + RESPONSE_STALL_MS;
        let is_too_much = self.bytes.load(Ordering::Relaxed) >= bytes_max;
        (is_too_much && is_too_long).then_some(*slot)
    }
}

/// Whether a response is counted.
pub(crate) fn is_long(response: &Bytes) -> bool {
    response.len() > RESPONSE_BYTES_EACH
}

impl Engine {
    /// Where long responses hold as much as they may: closes those that have taken nothing of theirs for a
    /// while, until there is room for as much again; at most a group of them.
    pub(crate) fn make_room_for_responses(&mut self, now: Now, driver: &mut dyn Driver) {
        let mut bytes_max = RESPONSES_BYTES_MAX;
        for _ in 0..GROUP_MAX {
            let Some(slot) = self.responses.longest_stalled(now, bytes_max) else {
                break;
            };
            bytes_max = RESPONSES_BYTES_MAX / 2;
            self.counters.responses_given_up += 1;
            self.close(now, slot, CloseReason::TooSlow, Close::Reset, driver);
        }
    }
}

impl AsRef<[u8]> for Counted {
    fn as_ref(&self) -> &[u8] {
        &self.response
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.bytes.fetch_sub(self.response.len(), Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_response_is_counted_once_until_nobody_has_it() {
        let responses = Responses::default();
        let bytes = || responses.bytes.load(Ordering::Relaxed);
        let response = |bytes| Bytes::from(vec![0; bytes]);
        let short = responses.admit(response(RESPONSE_BYTES_EACH));
        assert_eq!((short.map(|short| short.len()), bytes()), (Some(4096), 0));
        let long = responses.admit(response(RESPONSES_BYTES_MAX));
        let mut long = long.expect("there was room before it");
        assert_eq!(responses.admit(response(RESPONSE_BYTES_EACH + 1)), None);
        assert!(responses.admit(response(RESPONSE_BYTES_EACH)).is_some());
        let other = long.clone();
        bytes::Buf::advance(&mut long, RESPONSES_BYTES_MAX - 1);
        drop(other);
        assert_eq!(bytes(), RESPONSES_BYTES_MAX, "a part keeps all of it");
        drop(long);
        assert_eq!(bytes(), 0);
    }
}
