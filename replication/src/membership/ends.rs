//! Ends of sessions that the stream has said: a credential that was judged before may know an older one, and one
//! that was judged later too, since a commit may wait for a standby, unseen by others, for any time.
//!
//! That a session is over is a revocation, and not here.

use std::collections::{BTreeMap, VecDeque};

use wire::{Extension, Key};

use super::ring::Mark;
use crate::limits::SESSION_ENDS_REMEMBERED_MAX;

/// The last ends.
#[derive(Debug, Default)]
pub(crate) struct Ends {
    /// The last word about the end of each session.
    last: BTreeMap<Key, (Mark, Extension)>,
    /// In the order of the log.
    order: VecDeque<(Mark, Key)>,
    /// The newest that was forgotten.
    forgotten: Option<Mark>,
}

impl Ends {
    /// The row of a session has changed: when it ends now. One that only says again what it said is left out, since
    /// many say so with every request.
    pub(crate) fn push(&mut self, extension: Extension, mark: Mark) {
        let session = extension.session;
        let last = self.last.get(&session);
        if last.is_some_and(|(_, known)| *known == extension) {
            return;
        }
        if self.order.len() >= SESSION_ENDS_REMEMBERED_MAX
            && let Some((oldest, session)) = self.order.pop_front()
        {
            let is_last = self.last.get(&session).is_some_and(|(at, _)| *at == oldest);
            if is_last {
                self.last.remove(&session);
                self.forgotten = Some(oldest);
            }
        }
        self.last.insert(session, (mark, extension));
        self.order.push_back((mark, session));
    }

    /// Changes were missed: whoever was judged before is judged again.
    pub(crate) fn clear(&mut self) {
        *self = Self::default();
    }

    /// When a session of a user ends, as was last said, where anything was. Whoever has read a later end has
    /// read what the stream is still to say.
    pub(crate) fn of(&self, session: Key, user: Key) -> Option<u64> {
        let (_, extension) = self.last.get(&session)?;
        // Another kind of session may have the same name.
        let is_theirs = extension.user.is_none_or(|of| of == user);
        is_theirs.then_some(extension.expires_ms)
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

    fn user(name: &str) -> Key {
        Keys::new([1; 16]).user(name)
    }

    fn end(number: u64, expires_ms: u64) -> Extension {
        Extension {
            session: key(number),
            user: Some(user("ada")),
            expires_ms,
        }
    }

    #[test]
    fn the_last_end_counts() {
        let mut ends = Ends::default();
        ends.push(end(1, 700), mark(5));
        ends.push(end(1, 900), mark(7));
        let of = |ends: &Ends, number| ends.of(key(number), user("ada"));
        assert_eq!((of(&ends, 1), of(&ends, 2)), (Some(900), None));
        assert_eq!(ends.of(key(1), user("bob")), None);
        // What says the same again is nothing new.
        ends.push(end(1, 900), mark(9));
        assert_eq!((of(&ends, 1), ends.order.len()), (Some(900), 2));
        assert!(ends.last[&key(1)].0 == mark(7));
        ends.clear();
        assert_eq!(of(&ends, 1), None);
    }

    #[test]
    fn what_was_forgotten_may_be_of_anybody_who_was_judged_before() {
        let mut ends = Ends::default();
        let max = SESSION_ENDS_REMEMBERED_MAX as u64;
        (1..=max).for_each(|number| ends.push(end(number, 700), mark(number)));
        assert!(!ends.has_forgotten(mark(0)));
        ends.push(end(0, 700), mark(max + 1));
        assert!(ends.has_forgotten(mark(0)) && !ends.has_forgotten(mark(2)));
        assert_eq!(ends.of(key(1), user("ada")), None);
        assert_eq!(
            (ends.order.len(), ends.last.len()),
            (max as usize, max as usize)
        );
        // A session that moves all the time is one.
        (0..max).for_each(|at| ends.push(end(0, 800 + at), mark(max + 2 + at)));
        assert_eq!(ends.last.len(), 1);
        let last = ends.of(key(0), user("ada"));
        assert_eq!(last, Some(799 + max));
    }
}
