//! Long responses that wait for their clients to take them: how many bytes of memory these hold, and whose
//! they are. A response that several connections share is counted once, for as long as one of them has it.
//!
//! Where there is no room for another, those are closed that do not take theirs, whoever has had it for
//! longest first: who reads is done in a moment, and a crowd that does not takes nobody's place.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use wire::CloseReason;

use crate::driver::Close;
use crate::limits::{RESPONSE_BYTES_EACH, RESPONSES_BYTES_MAX};
use crate::{Driver, Engine, Now};

/// Those of an engine.
#[derive(Debug, Default)]
pub(crate) struct Responses {
    /// Only this thread looks at it; but whoever lets go of the bytes may be any.
    bytes: Arc<AtomicUsize>,
    /// The slots to which one is being written, by number: the oldest first.
    written: BTreeMap<u64, u32>,
    last: u64,
}

/// A response, counted until it is dropped.
struct Counted {
    response: Bytes,
    bytes: Arc<AtomicUsize>,
}

impl Responses {
    /// Whether there is room for another one. The last may be longer than the room it found.
    pub(crate) fn has_room(&self) -> bool {
        self.bytes.load(Ordering::Relaxed) < RESPONSES_BYTES_MAX
    }

    /// The same response, counted if it is a long one.
    pub(crate) fn count(&self, response: Bytes) -> Bytes {
        if response.len() <= RESPONSE_BYTES_EACH {
            return response;
        }
        self.bytes.fetch_add(response.len(), Ordering::Relaxed);
        Bytes::from_owner(Counted {
            response,
            bytes: Arc::clone(&self.bytes),
        })
    }

    /// This response is being written to this slot from now on: its number, if it is a long one.
    pub(crate) fn enter(&mut self, slot: u32, response: &Bytes) -> Option<u64> {
        if response.len() <= RESPONSE_BYTES_EACH {
            return None;
        }
        self.last += 1;
        self.written.insert(self.last, slot);
        Some(self.last)
    }

    /// The one with this number is written, or never will be.
    pub(crate) fn leave(&mut self, number: u64) {
        let slot = self.written.remove(&number);
        assert!(slot.is_some(), "a number is given back once");
    }
}

impl Engine {
    /// Where long responses hold as much as they may: closes those that do not take theirs, until there is
    /// room for another.
    pub(crate) fn make_room_for_response(&mut self, now: Now, driver: &mut dyn Driver) {
        while !self.responses.has_room()
            && let Some(slot) = self.slowest_taker()
        {
            self.close(now, slot, CloseReason::TooSlow, Close::Reset, driver);
        }
    }

    fn slowest_taker(&self) -> Option<u32> {
        let is_blocked = |slot: &u32| self.behind[self.table[*slot].side as usize].is_blocked;
        self.responses.written.values().copied().find(is_blocked)
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
        let short = responses.count(Bytes::from(vec![0; RESPONSE_BYTES_EACH]));
        assert_eq!((short.len(), bytes()), (RESPONSE_BYTES_EACH, 0));
        let mut long = responses.count(Bytes::from(vec![0; RESPONSES_BYTES_MAX]));
        assert!(!responses.has_room());
        let other = long.clone();
        bytes::Buf::advance(&mut long, RESPONSES_BYTES_MAX - 1);
        drop(other);
        assert_eq!(bytes(), RESPONSES_BYTES_MAX, "a part keeps all of it");
        drop(long);
        assert_eq!(bytes(), 0);
    }

    #[test]
    fn only_a_long_response_has_a_number() {
        let mut responses = Responses::default();
        let response = |bytes| Bytes::from(vec![0; bytes]);
        assert_eq!(responses.enter(7, &response(RESPONSE_BYTES_EACH)), None);
        let number = responses.enter(7, &response(RESPONSE_BYTES_EACH + 1));
        assert_eq!(responses.written.len(), 1);
        responses.leave(number.expect("it is long"));
        assert!(responses.written.is_empty());
    }
}
