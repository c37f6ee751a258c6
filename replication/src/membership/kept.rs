//! The revocations that are still in force: rows of `tailrace.revocation`, each until its time.

use std::collections::{BTreeMap, BTreeSet};

use wire::{CloseReason, Key, Revocation, RevocationScope};

use crate::limits::REVOCATIONS_KEPT_MAX;

/// The rows, bounded in number.
#[derive(Debug, Default)]
pub(crate) struct Kept {
    rows: BTreeMap<Key, KeptRow>,
    by_target: BTreeSet<(Target, Key)>,
    /// Until when somebody may be revoked whose row was left out, in milliseconds since 1970.
    unknown_until_ms: u64,
}

/// Who is kept out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Target {
    Session(Key),
    User(Key),
    Organisation(Key),
    /// A user, of one organisation.
    Member(Key, Key),
}

/// A row that is in force.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct KeptRow {
    pub(crate) target: Target,
    /// Only sessions that were issued before this, in milliseconds since 1970.
    pub(crate) issued_before_ms: Option<u64>,
    pub(crate) until_ms: u64,
}

impl Kept {
    /// A row is there. `now_ms` is the server's time since 1970.
    pub(crate) fn insert(&mut self, id: Key, row: KeptRow, now_ms: u64) {
        self.remove(id);
        if self.rows.len() >= REVOCATIONS_KEPT_MAX {
            self.sweep(now_ms);
        }
        if self.rows.len() >= REVOCATIONS_KEPT_MAX {
            self.unknown_until_ms = self.unknown_until_ms.max(row.until_ms);
            return;
        }
        self.rows.insert(id, row);
        self.by_target.insert((row.target, id));
    }

    /// A row that is in force, or was until its time.
    pub(crate) fn get(&self, id: Key) -> Option<KeptRow> {
        self.rows.get(&id).copied()
    }

    /// A row is gone.
    pub(crate) fn remove(&mut self, id: Key) {
        if let Some(row) = self.rows.remove(&id) {
            self.by_target.remove(&(row.target, id));
        }
    }

    /// Whether some were left out, so that nobody can tell who is revoked.
    pub(crate) fn is_full(&self, now_ms: u64) -> bool {
        now_ms < self.unknown_until_ms
    }

    /// Whether somebody is kept out, whose session was issued then.
    pub(crate) fn keeps_out(&self, target: Target, issued_ms: Option<u64>, now_ms: u64) -> bool {
        let rows = self.by_target.range((target, Key::NOBODY)..);
        let rows = rows.take_while(|(of, _)| *of == target);
        let mut rows = rows.map(|(_, id)| &self.rows[id]);
        rows.any(|row| {
            let is_older = match (issued_ms, row.issued_before_ms) {
                (Some(issued_ms), Some(before_ms)) => issued_ms < before_ms,
                // Where nothing says when it was issued, it may have been before.
                (None, _) | (_, None) => true,
            };
            is_older && now_ms < row.until_ms
        })
    }

    /// The rows, in no order that means anything.
    pub(crate) fn rows(&self) -> impl Iterator<Item = KeptRow> {
        self.rows.values().copied()
    }

    /// The rows that it has and another has not.
    pub(crate) fn beyond<'a>(&'a self, other: &'a Self) -> impl Iterator<Item = KeptRow> {
        let rows = self.rows.iter();
        rows.filter(|(id, row)| other.rows.get(*id) != Some(*row))
            .map(|(_, row)| *row)
    }

    fn sweep(&mut self, now_ms: u64) {
        let over: Vec<Key> = self
            .rows
            .iter()
            .filter(|(_, row)| row.until_ms <= now_ms)
            .map(|(id, _)| *id)
            .collect();
        over.into_iter().for_each(|id| self.remove(id));
    }
}

impl KeptRow {
    /// What it means for the streams that are open. Which of them are older than it says, only who judges
    /// their credentials again can tell.
    pub(crate) fn revocation(&self) -> Revocation {
        let reason = match self.target {
            _ if self.issued_before_ms.is_some() => CloseReason::Reauthorize,
            Target::Organisation(_) | Target::Member(..) => CloseReason::MembershipRevoked,
            Target::Session(_) | Target::User(_) => CloseReason::SessionRevoked,
        };
        let scope = self.target.scope();
        Revocation { scope, reason }
    }
}

impl Target {
    /// Whose streams close.
    fn scope(self) -> RevocationScope {
        match self {
            Self::Session(session) => RevocationScope::Session(session),
            Self::User(user) => RevocationScope::User(user),
            Self::Organisation(organisation) => RevocationScope::Organisation(organisation),
            Self::Member(user, organisation) => RevocationScope::Member { user, organisation },
        }
    }
}

#[cfg(test)]
mod tests {
    use wire::Keys;

    use super::*;

    fn key(number: usize) -> Key {
        Keys::new([1; 16]).user(&number.to_string())
    }

    fn row(user: usize, issued_before_ms: Option<u64>, until_ms: u64) -> KeptRow {
        KeptRow {
            target: Target::User(key(user)),
            issued_before_ms,
            until_ms,
        }
    }

    #[test]
    fn a_row_keeps_out_until_its_time_whom_it_names() {
        let mut kept = Kept::default();
        kept.insert(key(1), row(7, Some(500), 1_000), 0);
        let keeps = |kept: &Kept, user, issued_ms, now_ms| {
            kept.keeps_out(Target::User(key(user)), issued_ms, now_ms)
        };
        assert!(keeps(&kept, 7, Some(499), 999));
        assert!(keeps(&kept, 7, None, 999));
        assert!(!keeps(&kept, 7, Some(500), 999));
        assert!(!keeps(&kept, 7, Some(499), 1_000));
        assert!(!keeps(&kept, 8, Some(499), 999));
        assert!(!kept.keeps_out(Target::Session(key(7)), None, 0));
        kept.insert(key(2), row(7, None, 2_000), 0);
        assert!(keeps(&kept, 7, Some(900), 1_999));
        kept.remove(key(2));
        assert!(!keeps(&kept, 7, Some(900), 999));
    }

    #[test]
    fn where_there_are_too_many_nobody_can_tell() {
        let mut kept = Kept::default();
        for id in 0..REVOCATIONS_KEPT_MAX {
            kept.insert(key(id), row(id, None, 100), 0);
        }
        kept.insert(key(usize::MAX), row(1, None, 300), 50);
        assert!(kept.is_full(50) && kept.is_full(299) && !kept.is_full(300));
        // What is over makes room.
        kept.insert(key(usize::MAX), row(1, None, 300), 100);
        assert_eq!(kept.rows.len(), 1);
    }
}
