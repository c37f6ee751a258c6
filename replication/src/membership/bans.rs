//! The users who are banned: as the snapshot had them, and as the stream has said since. Where a row may be found
//! that says otherwise, whoever found it is ahead of the stream.

use std::collections::{BTreeMap, BTreeSet};

use wire::{Key, Lsn};

use crate::limits::BANS_MAX;

/// Those who are banned, bounded in number.
#[derive(Debug, Default)]
pub(crate) struct Bans {
    users: BTreeMap<Key, Held>,
    /// Whose ban is over at which time, in milliseconds since 1970.
    ends: BTreeSet<(u64, Key)>,
    /// The time up to which everything has come, in milliseconds since 1970.
    passed_ms: u64,
    /// Whether nobody else is banned.
    is_whole: bool,
}

/// A user who is banned, as a row has it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ban {
    pub(crate) user: Key,
    /// When that is over without another word, in milliseconds since 1970.
    pub(crate) until_ms: Option<u64>,
}

/// That somebody is banned.
#[derive(Clone, Copy, Debug)]
struct Held {
    until_ms: Option<u64>,
    /// Where the stream has said it; `None` where the snapshot alone has.
    said_at: Option<Lsn>,
}

impl Bans {
    /// The stream says that a user is banned.
    pub(super) fn ban(&mut self, ban: Ban, at: Lsn) {
        self.remove(ban.user);
        if self.users.len() >= BANS_MAX {
            self.is_whole = false;
            return;
        }
        self.insert(ban, Some(at));
    }

    /// The stream says that a user is not banned, or is no more. Returns whether they were banned until then.
    pub(super) fn lift(&mut self, user: Key) -> bool {
        self.remove(user).is_some()
    }

    /// What comes now was committed at this time, in milliseconds since 1970. Returns one by one whose bans were
    /// over before.
    pub(super) fn pass(&mut self, commit_ms: u64) -> Option<Key> {
        self.passed_ms = self.passed_ms.max(commit_ms);
        let (until_ms, user) = self.ends.first().copied()?;
        (until_ms <= self.passed_ms).then(|| {
            self.remove(user);
            user
        })
    }

    /// Takes those of a snapshot; `None` where it is not known who they are. What the stream has said stays:
    /// the snapshot may not have seen a commit that waits for a standby, and the stream not what lifted a ban.
    /// Returns whose ban was over where the stream is, and was not known of.
    pub(super) fn adopt(&mut self, bans: Option<Vec<Ban>>) -> Vec<Key> {
        self.forget(|held| held.said_at.is_none());
        let was_whole = std::mem::replace(&mut self.is_whole, bans.is_some());
        let mut over = Vec::new();
        for ban in bans.into_iter().flatten() {
            let is_over = ban.until_ms.is_some_and(|ms| ms <= self.passed_ms);
            if is_over {
                over.extend((!was_whole).then_some(ban.user));
            } else if !self.users.contains_key(&ban.user) {
                self.insert(ban, None);
            }
        }
        over
    }

    /// Whether everybody is known who is banned.
    pub(super) fn is_whole(&self) -> bool {
        self.is_whole
    }

    /// There may be others.
    pub(super) fn lose_track(&mut self) {
        self.is_whole = false;
    }

    /// Changes were missed.
    pub(super) fn clear(&mut self) {
        *self = Self::default();
    }

    /// Another server goes on, which has nothing from this place on.
    pub(super) fn on_fork(&mut self, passed: Lsn) {
        self.forget(|held| held.said_at.is_some_and(|at| at >= passed));
    }

    /// Whether a user is banned at this time, in milliseconds since 1970.
    pub(super) fn holds(&self, user: Key, now_ms: u64) -> bool {
        let held = self.users.get(&user);
        held.is_some_and(|held| held.lasts(now_ms))
    }

    /// Whether the ban of a user is over at this time, and nothing has come yet that was committed later.
    pub(super) fn is_just_over(&self, user: Key, now_ms: u64) -> bool {
        let held = self.users.get(&user);
        held.is_some_and(|held| !held.lasts(now_ms))
    }

    /// How many are; `None` where that is not known.
    pub(super) fn count(&self) -> Option<usize> {
        self.is_whole.then_some(self.users.len())
    }

    fn insert(&mut self, Ban { user, until_ms }: Ban, said_at: Option<Lsn>) {
        self.users.insert(user, Held { until_ms, said_at });
        self.ends.extend(until_ms.map(|until_ms| (until_ms, user)));
    }

    fn forget(&mut self, is_it: impl Fn(&Held) -> bool) {
        let those = self.users.iter().filter(|(_, held)| is_it(held));
        let those: Vec<Key> = those.map(|(user, _)| *user).collect();
        for user in those {
            self.remove(user);
        }
    }

    fn remove(&mut self, user: Key) -> Option<Held> {
        let held = self.users.remove(&user)?;
        if let Some(until_ms) = held.until_ms {
            self.ends.remove(&(until_ms, user));
        }
        Some(held)
    }
}

impl Held {
    fn lasts(&self, now_ms: u64) -> bool {
        self.until_ms.is_none_or(|until_ms| until_ms > now_ms)
    }
}

#[cfg(test)]
mod tests {
    use wire::Keys;

    use super::*;

    fn ban(number: usize, until_ms: Option<u64>) -> Ban {
        let user = Keys::new([1; 16]).user(&number.to_string());
        Ban { user, until_ms }
    }

    #[test]
    fn who_is_banned_is_so_until_its_time_or_another_word() {
        let mut bans = Bans::default();
        let (ada, bob) = (ban(1, None), ban(2, Some(700)));
        assert_eq!(bans.adopt(Some(vec![ada])), []);
        bans.ban(ban(2, Some(900)), Lsn(10));
        bans.ban(bob, Lsn(20));
        assert!(bans.holds(ada.user, u64::MAX) && bans.holds(bob.user, 699));
        assert!(!bans.holds(bob.user, 700) && bans.is_just_over(bob.user, 700));
        assert!(bans.lift(ada.user) && !bans.lift(ada.user));
        assert_eq!(bans.pass(699), None);
        assert_eq!(
            [bans.pass(700), bans.pass(700), bans.pass(900)],
            [Some(bob.user), None, None]
        );
        assert!(!bans.is_just_over(bob.user, 700) && bans.count() == Some(0));
    }

    #[test]
    fn a_snapshot_takes_the_place_of_another_and_not_of_the_stream() {
        let mut bans = Bans::default();
        let (ada, bob, eve) = (ban(1, None), ban(2, None), ban(3, Some(700)));
        bans.adopt(Some(vec![ada]));
        bans.ban(bob, Lsn(10));
        bans.adopt(Some(vec![eve]));
        let holds = |bans: &Bans| [ada, bob, eve].map(|ban| bans.holds(ban.user, 0));
        assert_eq!(holds(&bans), [false, true, true]);
        bans.on_fork(Lsn(10));
        assert_eq!(holds(&bans), [false, false, true]);
        assert_eq!(bans.pass(700), Some(eve.user));
        bans.adopt(None);
        assert!(bans.count().is_none() && !bans.is_whole());
        // Of a ban that is over by now, and was not known of, nothing was said.
        assert_eq!(bans.adopt(Some(vec![ada, eve])), [eve.user]);
        assert_eq!(bans.adopt(Some(vec![ada, eve])), []);
        bans.clear();
        assert_eq!((holds(&bans), bans.is_whole()), ([false; 3], false));
    }

    #[test]
    fn of_too_many_nobody_can_tell() {
        let mut bans = Bans::default();
        let all = (1..BANS_MAX).map(|number| ban(number, None));
        bans.adopt(Some(all.collect()));
        bans.ban(ban(BANS_MAX, Some(100)), Lsn(10));
        // What is over makes room, and what is changed needs none.
        assert!(bans.pass(100).is_some());
        bans.ban(ban(BANS_MAX + 1, None), Lsn(20));
        bans.ban(ban(1, Some(500)), Lsn(30));
        assert!(bans.is_whole());
        bans.ban(ban(BANS_MAX + 2, None), Lsn(40));
        assert!(!bans.is_whole());
    }
}
