//! The users who are banned: as the snapshot had them, and as the stream has said since. Where a row may be found
//! that says otherwise, whoever found it is ahead of the stream.

use std::collections::BTreeMap;

use wire::{Key, Lsn};

use crate::limits::BANS_MAX;

/// Those who are banned, bounded in number.
#[derive(Debug, Default)]
pub(crate) struct Bans {
    users: BTreeMap<Key, Held>,
    /// Whether nobody else is.
    is_whole: bool,
}

/// A user who is banned, as the snapshot has it.
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
    /// The stream says that a user is banned. `now_ms` is the server's time since 1970.
    pub(super) fn ban(&mut self, ban: Ban, at: Lsn, now_ms: u64) {
        if self.users.len() >= BANS_MAX && !self.users.contains_key(&ban.user) {
            self.users.retain(|_, held| held.lasts(now_ms));
        }
        if self.users.len() >= BANS_MAX && !self.users.contains_key(&ban.user) {
            self.is_whole = false;
            return;
        }
        let held = Held {
            until_ms: ban.until_ms,
            said_at: Some(at),
        };
        self.users.insert(ban.user, held);
    }

    /// The stream says that a user is not banned. Returns whether they were until then.
    pub(super) fn lift(&mut self, user: Key, now_ms: u64) -> bool {
        let was = self.users.remove(&user);
        was.is_some_and(|held| held.lasts(now_ms))
    }

    /// Takes those of a snapshot; `None` where it is not known who they are. What the stream has said stays:
    /// the snapshot may not have seen a commit that waits for a standby, and the stream not what lifted a ban.
    pub(super) fn adopt(&mut self, bans: Option<Vec<Ban>>) {
        self.users.retain(|_, held| held.said_at.is_some());
        self.is_whole = bans.is_some();
        for Ban { user, until_ms } in bans.into_iter().flatten() {
            let said_at = None;
            let held = Held { until_ms, said_at };
            self.users.entry(user).or_insert(held);
        }
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
        let is_lost = |held: &Held| held.said_at.is_some_and(|at| at >= passed);
        self.users.retain(|_, held| !is_lost(held));
    }

    /// Whether a user is banned at this time, in milliseconds since 1970.
    pub(super) fn holds(&self, user: Key, now_ms: u64) -> bool {
        let held = self.users.get(&user);
        held.is_some_and(|held| held.lasts(now_ms))
    }

    /// How many are; `None` where that is not known.
    pub(super) fn count(&self) -> Option<usize> {
        self.is_whole.then_some(self.users.len())
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
        bans.adopt(Some(vec![ada]));
        bans.ban(bob, Lsn(10), 0);
        assert!(bans.holds(ada.user, u64::MAX) && bans.holds(bob.user, 699));
        assert!(!bans.holds(bob.user, 700));
        assert!(bans.lift(ada.user, 0) && !bans.lift(ada.user, 0));
        assert!(!bans.lift(bob.user, 700), "it was over by itself");
        assert_eq!(bans.count(), Some(0));
    }

    #[test]
    fn a_snapshot_takes_the_place_of_another_and_not_of_the_stream() {
        let mut bans = Bans::default();
        let (ada, bob, eve) = (ban(1, None), ban(2, None), ban(3, None));
        bans.adopt(Some(vec![ada]));
        bans.ban(bob, Lsn(10), 0);
        bans.adopt(Some(vec![eve]));
        let holds = |bans: &Bans| [ada, bob, eve].map(|ban| bans.holds(ban.user, 0));
        assert_eq!(holds(&bans), [false, true, true]);
        bans.on_fork(Lsn(10));
        assert_eq!(holds(&bans), [false, false, true]);
        bans.adopt(None);
        assert!(bans.count().is_none() && !bans.is_whole());
        bans.adopt(Some(vec![ada]));
        bans.clear();
        assert_eq!((holds(&bans), bans.is_whole()), ([false; 3], false));
    }

    #[test]
    fn of_too_many_nobody_can_tell() {
        let mut bans = Bans::default();
        let all = (1..BANS_MAX).map(|number| ban(number, None));
        bans.adopt(Some(all.collect()));
        bans.ban(ban(BANS_MAX, Some(100)), Lsn(10), 0);
        assert!(bans.is_whole());
        // What is over makes room.
        bans.ban(ban(BANS_MAX + 1, None), Lsn(20), 100);
        assert!(bans.is_whole());
        bans.ban(ban(1, Some(500)), Lsn(30), 100);
        assert!(bans.is_whole() && !bans.holds(ban(1, None).user, 500));
        bans.ban(ban(BANS_MAX + 2, None), Lsn(40), 100);
        assert!(!bans.is_whole());
    }
}
