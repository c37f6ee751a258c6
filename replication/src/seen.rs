//! The ids of application messages that were seen within the window: a message that is sent again,
//! because nobody learnt what came of it, is dropped, and whoever asks is told of the first.
//!
//! What is dropped hangs on the write-ahead log alone (positions and commit times), so that every node
//! that has read the window drops the same.

use std::collections::{BTreeMap, VecDeque};

use wire::{EventId, Key};

use crate::limits::SEEN_IDS_MAX;

/// The ids of the window.
#[derive(Debug, Default)]
pub(crate) struct Seen {
    window_ms: i64,
    firsts: BTreeMap<Key, First>,
    /// In the order in which they came, so that the oldest are forgotten.
    order: VecDeque<(Key, EventId)>,
}

/// The first message with an id.
#[derive(Clone, Copy, Debug)]
struct First {
    event: EventId,
    commit_ms: i64,
}

impl Seen {
    /// Remembers ids for so long, by the server's clock.
    pub(crate) fn set_window(&mut self, window_ms: u64) {
        self.window_ms = i64::try_from(window_ms).unwrap_or(i64::MAX);
    }

    /// A message with this id stands here. Says whether it is the first within the window; the same
    /// one may be read again.
    pub(crate) fn is_first(&mut self, id: Key, event: EventId, commit_ms: i64) -> bool {
        self.forget(commit_ms);
        let is_over = |first: &First| commit_ms.saturating_sub(first.commit_ms) >= self.window_ms;
        match self.firsts.get(&id) {
            Some(first) if first.event == event => true,
            Some(first) if !is_over(first) => false,
            _ => {
                self.firsts.insert(id, First { event, commit_ms });
                self.order.push_back((id, event));
                true
            }
        }
    }

    /// The event that a message with this id became: a newer one is another event when the window is
    /// over.
    pub(crate) fn event(&self, id: Key, now_ms: i64) -> Option<EventId> {
        let first = self.firsts.get(&id)?;
        let is_over = now_ms.saturating_sub(first.commit_ms) >= self.window_ms;
        (!is_over).then_some(first.event)
    }

    /// Positions of before mean nothing any more.
    pub(crate) fn clear(&mut self) {
        self.firsts.clear();
        self.order.clear();
    }

    /// Another server goes on, which may lack what was read last and not handed over: the ids of that are none.
    pub(crate) fn keep(&mut self, is_there: impl Fn(EventId) -> bool) {
        self.firsts.retain(|_, first| is_there(first.event));
    }

    /// Forgets what is too old, and the oldest where there are too many.
    fn forget(&mut self, now_ms: i64) {
        while let Some((id, event)) = self.order.front() {
            let current = self.firsts.get(id).filter(|first| first.event == *event);
            let is_old = current
                .is_none_or(|first| now_ms.saturating_sub(first.commit_ms) >= self.window_ms);
            if !is_old && self.order.len() < SEEN_IDS_MAX {
                return;
            }
            if current.is_some() {
                self.firsts.remove(id);
            }
            self.order.pop_front();
        }
    }
}

#[cfg(test)]
mod tests {
    use wire::{Keys, Lsn};

    use super::*;

    fn event(lsn: u64) -> EventId {
        EventId {
            epoch: 1,
            timeline: 1,
            lsn: Lsn(lsn),
            index: 1,
        }
    }

    fn seen(window_ms: u64) -> Seen {
        let mut seen = Seen::default();
        seen.set_window(window_ms);
        seen
    }

    fn key(id: &str) -> Key {
        Keys::new([1; 16]).message(Some("acme"), None, id)
    }

    #[test]
    fn an_id_counts_once_within_the_window_and_again_after_it() {
        let mut seen = seen(1_000);
        assert!(seen.is_first(key("a"), event(1), 0));
        assert!(seen.is_first(key("a"), event(1), 0), "the same, read again");
        assert!(!seen.is_first(key("a"), event(2), 999));
        assert!(seen.is_first(key("b"), event(3), 999));
        assert_eq!(seen.event(key("a"), 999), Some(event(1)));
        assert_eq!(seen.event(key("a"), 1_000), None);
        assert!(seen.is_first(key("a"), event(4), 1_000));
        assert_eq!(seen.event(key("a"), 1_000), Some(event(4)));
        // A repetition does not make the window longer.
        assert!(seen.is_first(key("b"), event(5), 1_999));
        assert!(!seen.is_first(key("a"), event(6), 1_999));
    }

    #[test]
    fn what_a_server_lacks_that_has_taken_over_may_be_said_again() {
        let mut seen = seen(1_000);
        assert!(seen.is_first(key("a"), event(1), 0));
        assert!(seen.is_first(key("b"), event(5), 0));
        seen.keep(|event| event.lsn < Lsn(5));
        assert!(!seen.is_first(key("a"), event(6), 10));
        assert!(seen.is_first(key("b"), event(6), 10));
        assert!(!seen.is_first(key("b"), event(7), 10));
        assert_eq!(seen.event(key("b"), 10), Some(event(6)));
    }

    #[test]
    fn a_clock_that_is_put_back_forgets_nothing() {
        let mut seen = seen(1_000);
        assert!(seen.is_first(key("a"), event(1), 1_000_000));
        assert!(!seen.is_first(key("a"), event(2), 0));
    }

    #[test]
    fn many_ids_cost_no_more_than_the_bound_and_the_oldest_go_first() {
        let mut seen = seen(u64::MAX);
        let count = SEEN_IDS_MAX as u64 + 100;
        for at in 0..count {
            assert!(seen.is_first(key(&at.to_string()), event(at), 0));
        }
        assert_eq!(seen.firsts.len(), SEEN_IDS_MAX);
        assert_eq!(seen.order.len(), SEEN_IDS_MAX);
        assert_eq!(seen.event(key("99"), 0), None);
        assert_eq!(seen.event(key("100"), 0), Some(event(100)));
        seen.clear();
        assert_eq!(seen.event(key("100"), 0), None);
    }
}
