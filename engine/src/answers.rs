//! Answers that pages share: those of a class that have waited from one place on are shown the same, and
//! are answered by the same bytes, however many they are.

use bytes::Bytes;

use crate::Engine;
use crate::class::ClassKey;

/// The last answer that others may share.
#[derive(Debug)]
pub(crate) struct SharedAnswer {
    /// Scope, filter and terms: whose answer it may be at all.
    key: ClassKey,
    /// It holds what lies after this sequence …
    after: u64,
    /// … up to this one.
    to: u64,
    events: u32,
    response: Bytes,
}

impl Engine {
    /// The answer to a page that has waited from this place on, where another had the same: its events
    /// and its bytes.
    pub(crate) fn shared_answer(&self, slot: u32, after: u64) -> Option<(u32, Bytes)> {
        let answer = self.shared_answer.as_ref()?;
        let key = &self.classes[self.table[slot].class as usize].key;
        let is_same = answer.after == after && answer.to == self.log.head() && answer.key == *key;
        (is_same && self.is_of_class_alone(slot, after))
            .then(|| (answer.events, answer.response.clone()))
    }

    /// Keeps an answer for the next one that has waited like this one.
    pub(crate) fn share_answer(&mut self, slot: u32, after: u64, events: u32, response: &Bytes) {
        if self.is_of_class_alone(slot, after) {
            self.shared_answer = Some(SharedAnswer {
                key: self.classes[self.table[slot].class as usize].key.clone(),
                after,
                to: self.log.head(),
                events,
                response: response.clone(),
            });
        }
    }

    /// Whether what lies after a place is the same for all of its class: nothing is its user's own, and
    /// nothing is gone.
    fn is_of_class_alone(&self, slot: u32, after: u64) -> bool {
        let reading = self.reading_of(slot);
        let own = reading.user;
        !self.log.has_lost(reading, after)
            && !own.is_some_and(|user| self.log.has_own_frame(user, after))
    }
}
