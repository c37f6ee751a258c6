//! Ends of sessions that the stream has said: a credential that was judged before may know an older one.
//!
//! That a session is over is a revocation, and not here.

use std::collections::{BTreeMap, VecDeque};

use wire::Key;

use super::ring::Mark;
use crate::limits::SESSION_ENDS_REMEMBERED_MAX;

/// The last ends.
#[derive(Debug, Default)]
pub(crate) struct Ends {
    /// The last end of each session, in milliseconds since 1970.
    last: BTreeMap<Key, (Mark, u64)>,
    /// In the order of the log.
    order: VecDeque<(Mark, Key)>,
    /// The newest that was forgotten.
    forgotten: Option<Mark>,
}

impl Ends {
    /// The end of a session has moved.
    pub(crate) fn push(&mut self, session: Key, ends_ms: u64, mark: Mark) {
        if self.order.len() >= SESSION_ENDS_REMEMBERED_MAX
            && let Some((oldest, session)) = self.order.pop_front()
        {
            let is_last = self.last.get(&session).is_some_and(|(at, _)| *at == oldest);
            if is_last {
                self.last.remove(&session);
                self.forgotten = Some(oldest);
            }
        }
        self.last.insert(session, (mark, ends_ms));
        self.order.push_back((mark, session));
    }

    /// Changes were missed: whoever was judged before is judged again.
    pub(crate) fn clear(&mut self) {
        *self = Self::default();
    }

    /// When a session ends, where that was said since a credential was judged.
    pub(crate) fn after(&self, judged: Mark, session: Key) -> Option<u64> {
        let (mark, ends_ms) = self.last.get(&session)?;
        mark.is_after(judged).then_some(*ends_ms)
    }

    /// Whether something was forgotten that was said since a credential was judged.
    pub(crate) fn has_forgotten(&self, judged: Mark) -> bool {
        self.forgotten.is_some_and(|mark| mark.is_after(judged))
    }
}

#[cfg(test)]
mod tests {
    use wire::{EventId, Keys, Lsn};

    use super::*;

    fn mark(lsn: u64) -> Mark {
        let position = EventId {
            epoch: 1,
            timeline: 1,
            lsn: Lsn(lsn),
            index: 1,
        };
        // Long enough apart for everybody to see a commit in between.
        let at_ms = lsn * 10_000;
        Mark { position, at_ms }
    }

    fn key(number: u64) -> Key {
        Keys::new([1; 16]).session(&number.to_string())
    }

    #[test]
    fn the_last_end_counts_for_who_was_judged_before_it() {
        let mut ends = Ends::default();
        ends.push(key(1), 700, mark(5));
        ends.push(key(1), 900, mark(7));
        assert_eq!(ends.after(mark(4), key(1)), Some(900));
        assert_eq!(ends.after(mark(6), key(1)), Some(900));
        assert_eq!(ends.after(mark(8), key(1)), None);
        assert_eq!(ends.after(mark(4), key(2)), None);
        ends.clear();
        assert_eq!(ends.after(mark(4), key(1)), None);
    }

    #[test]
    fn what_was_forgotten_may_be_of_anybody_who_was_judged_before() {
        let mut ends = Ends::default();
        let max = SESSION_ENDS_REMEMBERED_MAX as u64;
        (1..=max).for_each(|number| ends.push(key(number), 700, mark(number)));
        assert!(!ends.has_forgotten(mark(0)));
        ends.push(key(0), 700, mark(max + 1));
        assert!(ends.has_forgotten(mark(0)) && !ends.has_forgotten(mark(2)));
        assert_eq!(ends.after(mark(0), key(1)), None);
        assert_eq!(
            (ends.order.len(), ends.last.len()),
            (max as usize, max as usize)
        );
        // A session that moves all the time is one.
        (0..max).for_each(|at| ends.push(key(0), 800, mark(max + 2 + at)));
        assert_eq!(ends.last.len(), 1);
        assert_eq!(ends.after(mark(max), key(0)), Some(800));
    }
}
