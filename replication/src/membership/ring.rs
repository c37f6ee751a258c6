//! The ring: what was revoked lately, so that a credential that was judged before is judged again.
//!
//! Of each session and user only the last revocation counts. What has been forgotten may have concerned
//! anybody.

use std::collections::{BTreeMap, VecDeque};

use wire::{EventId, Key, Lsn, RevocationScope};

use crate::limits::{REVOCATIONS_REMEMBERED_MAX, VISIBILITY_MS};

/// The last revocations.
#[derive(Debug, Default)]
pub(crate) struct Ring {
    /// The last of each scope.
    last: BTreeMap<Scope, Last>,
    /// In the order of the log.
    order: VecDeque<(Mark, Scope)>,
    /// The newest that was forgotten.
    forgotten: Option<Mark>,
    /// Nothing is known of what was revoked before.
    begin: Option<EventId>,
}

/// Whose credential has to be judged again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Scope {
    Session(Key),
    User(Key),
    Everybody,
}

/// The last revocation of a session or a user.
#[derive(Clone, Copy, Debug)]
struct Last {
    mark: Mark,
    /// Whether its row lets nobody in any more.
    is_gone: bool,
}

/// A place in the log, and when it was read here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Mark {
    pub(crate) position: EventId,
    pub(crate) at_ms: u64,
}

impl Ring {
    /// Remembers a revocation. Those of memberships are not remembered: of them the map knows.
    pub(crate) fn push(&mut self, scope: RevocationScope, mark: Mark) {
        let Some(scope) = Scope::of(scope) else {
            return;
        };
        if self.order.len() >= REVOCATIONS_REMEMBERED_MAX
            && let Some((oldest, scope)) = self.order.pop_front()
        {
            if self
                .last
                .get(&scope)
                .is_some_and(|last| last.mark == oldest)
            {
                self.last.remove(&scope);
            }
            self.forgotten = Some(oldest);
        }
        let is_gone = self.last.get(&scope).is_some_and(|last| last.is_gone);
        self.last.insert(scope, Last { mark, is_gone });
        self.order.push_back((mark, scope));
    }

    /// The row of a session or a user that was just revoked lets nobody in any more, or does again. A commit
    /// that waits for a synchronous standby is sent to us while it waits, for as long as that takes, and
    /// others see the row as it was: whoever finds one that is gone has to look again.
    pub(crate) fn set_gone(&mut self, scope: RevocationScope, is_gone: bool) {
        let last = Scope::of(scope).and_then(|scope| self.last.get_mut(&scope));
        if let Some(last) = last {
            last.is_gone = is_gone;
        }
    }

    /// Of what lies before this position nobody can say what was revoked, nor whether a row that was gone is
    /// back. `is_foreign` says that positions of before mean nothing any more.
    pub(crate) fn begin(&mut self, position: EventId, is_foreign: bool) {
        if is_foreign {
            *self = Self::default();
        }
        self.last.values_mut().for_each(|last| last.is_gone = false);
        self.begin = Some(position);
    }

    /// Another server goes on, which has everything before `passed`, and nothing else: a row that a later
    /// transaction took away is there.
    pub(crate) fn on_fork(&mut self, passed: Lsn) {
        let lost = |last: &&mut Last| last.mark.position.lsn >= passed;
        let lost = self.last.values_mut().filter(lost);
        lost.for_each(|last| last.is_gone = false);
    }

    /// Whether a credential that was judged at this mark has to be judged again.
    pub(crate) fn is_stale(&self, judged: Mark, user: Key, session: Key) -> bool {
        let scopes = [Scope::Session(session), Scope::User(user), Scope::Everybody];
        let is_known =
            |begin: EventId| begin.epoch == judged.position.epoch && begin <= judged.position;
        if !self.begin.is_none_or(is_known) {
            return true;
        }
        let mut last = scopes.iter().filter_map(|scope| self.last.get(scope));
        last.any(|last| last.is_gone || last.mark.is_after(judged))
            || self.forgotten.is_some_and(|mark| mark.is_after(judged))
    }
}

impl Scope {
    fn of(scope: RevocationScope) -> Option<Self> {
        match scope {
            RevocationScope::Session(session) => Some(Self::Session(session)),
            RevocationScope::User(user) => Some(Self::User(user)),
            RevocationScope::Everybody => Some(Self::Everybody),
            RevocationScope::Member { .. } | RevocationScope::Organisation(_) => None,
        }
    }
}

impl Mark {
    /// Whether what was read here was not seen by whoever judged there. PostgreSQL shows a commit to
    /// others a moment after it may have sent it to us, so that who judges in that moment sees a row that
    /// is gone.
    pub(super) fn is_after(&self, judged: Self) -> bool {
        self.position > judged.position || self.at_ms + VISIBILITY_MS > judged.at_ms
    }
}

#[cfg(test)]
mod tests {
    use wire::Keys;

    use super::*;

    fn mark(lsn: u64, at_ms: u64) -> Mark {
        let position = EventId {
            epoch: 1,
            timeline: 1,
            lsn: Lsn(lsn),
            index: 1,
        };
        Mark { position, at_ms }
    }

    fn key(name: &str) -> Key {
        Keys::new([1; 16]).user(name)
    }

    const LATER_MS: u64 = 1_000_000;

    #[test]
    fn who_was_judged_before_a_revocation_is_judged_again() {
        let mut ring = Ring::default();
        ring.push(RevocationScope::User(key("ada")), mark(50, 0));
        ring.push(RevocationScope::Session(key("s")), mark(60, 0));
        let is_stale =
            |lsn, user, session| ring.is_stale(mark(lsn, LATER_MS), key(user), key(session));
        assert!(is_stale(49, "ada", "-") && !is_stale(50, "ada", "-"));
        assert!(is_stale(59, "bob", "s") && !is_stale(60, "bob", "s"));
        assert!(!is_stale(1, "bob", "-"));
        ring.push(RevocationScope::Everybody, mark(70, 0));
        let is_stale = |lsn| ring.is_stale(mark(lsn, LATER_MS), key("bob"), key("-"));
        assert!(is_stale(69) && !is_stale(70));
    }

    #[test]
    fn a_commit_that_others_may_not_see_yet_counts_as_later() {
        let mut ring = Ring::default();
        ring.push(RevocationScope::User(key("ada")), mark(50, 5_000));
        let is_stale = |at_ms| ring.is_stale(mark(99, at_ms), key("ada"), key("-"));
        assert!(is_stale(5_000) && is_stale(5_000 + VISIBILITY_MS - 1));
        assert!(!is_stale(5_000 + VISIBILITY_MS));
    }

    #[test]
    fn a_session_whose_row_is_gone_is_looked_for_however_long_others_see_it() {
        let mut ring = Ring::default();
        let session = key("s");
        ring.push(RevocationScope::Session(session), mark(50, 0));
        let is_stale = |ring: &Ring| ring.is_stale(mark(99, LATER_MS), key("ada"), session);
        assert!(!is_stale(&ring));
        ring.set_gone(RevocationScope::Session(session), true);
        // Nor does another word of it.
        ring.push(RevocationScope::Session(session), mark(51, 0));
        assert!(is_stale(&ring) && !ring.is_stale(mark(99, LATER_MS), key("ada"), key("-")));
        ring.set_gone(RevocationScope::Session(session), false);
        assert!(!is_stale(&ring));
        // What is forgotten is no longer among the last, and holds nobody up for ever.
        ring.set_gone(RevocationScope::Session(session), true);
        for lsn in 0..REVOCATIONS_REMEMBERED_MAX as u64 {
            ring.push(RevocationScope::User(key(&lsn.to_string())), mark(60, 0));
        }
        assert!(!is_stale(&ring));
    }

    #[test]
    fn who_may_have_come_back_where_changes_were_missed_is_not_out_for_ever() {
        let mut ring = Ring::default();
        let scope = RevocationScope::User(key("ada"));
        ring.push(scope, mark(50, 0));
        ring.set_gone(scope, true);
        ring.begin(mark(70, 0).position, false);
        let is_stale = |lsn| ring.is_stale(mark(lsn, LATER_MS), key("ada"), key("-"));
        assert!(is_stale(69) && !is_stale(70));
    }

    #[test]
    fn who_was_out_by_a_transaction_that_was_lost_is_not_out_for_ever() {
        let mut ring = Ring::default();
        for (user, lsn) in [("ada", 50), ("bob", 60)] {
            let scope = RevocationScope::User(key(user));
            ring.push(scope, mark(lsn, 0));
            ring.set_gone(scope, true);
        }
        ring.on_fork(Lsn(60));
        let is_stale = |user| ring.is_stale(mark(99, LATER_MS), key(user), key("-"));
        assert!(is_stale("ada") && !is_stale("bob"));
    }

    #[test]
    fn what_was_forgotten_may_have_concerned_anybody() {
        let mut ring = Ring::default();
        let max = REVOCATIONS_REMEMBERED_MAX as u64;
        for lsn in 1..=max {
            ring.push(RevocationScope::User(key(&lsn.to_string())), mark(lsn, 0));
        }
        let is_stale = |ring: &Ring, lsn| ring.is_stale(mark(lsn, LATER_MS), key("-"), key("-"));
        assert!(!is_stale(&ring, 0));
        ring.push(RevocationScope::User(key("one more")), mark(max + 1, 0));
        assert!(is_stale(&ring, 0) && !is_stale(&ring, 1));
        assert_eq!(ring.order.len(), REVOCATIONS_REMEMBERED_MAX);
        assert_eq!(ring.last.len(), REVOCATIONS_REMEMBERED_MAX);
    }

    #[test]
    fn a_position_of_another_history_says_nothing() {
        let mut ring = Ring::default();
        ring.push(RevocationScope::Everybody, mark(500, 0));
        ring.begin(mark(100, 0).position, true);
        assert!(!ring.is_stale(mark(100, LATER_MS), key("-"), key("-")));
        assert!(ring.is_stale(mark(99, LATER_MS), key("-"), key("-")));
        let mut judged = mark(999, LATER_MS);
        assert!(
            !ring.is_stale(mark(999, 0), key("-"), key("-")),
            "nothing was revoked"
        );
        judged.position.epoch = 2;
        assert!(ring.is_stale(judged, key("-"), key("-")));
    }
}
