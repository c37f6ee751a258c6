//! Newcomers at the limit of their user: they wait a moment for one of the user's streams to end. A
//! page that is loaded again opens its new stream before the old one is seen to close. Pure: time is
//! an argument.

use std::collections::{BTreeMap, HashMap, VecDeque};

use wire::Key;

/// How long a newcomer waits.
const WAIT_MS: u64 = 1_000;

/// The most that wait in all. Whoever comes then is refused at once.
const WAITING_MAX: usize = 4096;

/// The most that wait for one user: somebody who opens streams in a loop fills nobody else's room.
const WAITING_PER_USER_MAX: usize = 8;

/// Who waits, in the order in which they came; all wait equally long.
pub(super) struct Places<T> {
    last: u64,
    waiting: BTreeMap<u64, Newcomer<T>>,
    by_user: HashMap<Key, VecDeque<u64>>,
}

struct Newcomer<T> {
    user: Key,
    due_ms: u64,
    who: T,
}

impl<T> Default for Places<T> {
    fn default() -> Self {
        Self {
            last: 0,
            waiting: BTreeMap::new(),
            by_user: HashMap::new(),
        }
    }
}

impl<T> Places<T> {
    /// Waits for a stream of this user to end.
    ///
    /// # Errors
    ///
    /// Gives the newcomer back where too many wait.
    pub(super) fn wait(&mut self, user: Key, who: T, now_ms: u64) -> Result<(), T> {
        let of_user = self.by_user.get(&user).map_or(0, VecDeque::len);
        if self.waiting.len() >= WAITING_MAX || of_user >= WAITING_PER_USER_MAX {
            return Err(who);
        }
        self.last += 1;
        self.by_user.entry(user).or_default().push_back(self.last);
        let due_ms = now_ms + WAIT_MS;
        self.waiting
            .insert(self.last, Newcomer { user, due_ms, who });
        Ok(())
    }

    /// Whether nobody waits.
    pub(super) fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// A stream of this user has ended: who waited longest for it.
    pub(super) fn next_of(&mut self, user: Key) -> Option<T> {
        let number = *self.by_user.get(&user)?.front()?;
        self.remove(number)
    }

    /// Somebody who has waited in vain.
    pub(super) fn overdue(&mut self, now_ms: u64) -> Option<T> {
        let (number, oldest) = self.waiting.first_key_value()?;
        let number = (oldest.due_ms <= now_ms).then_some(*number)?;
        self.remove(number)
    }

    fn remove(&mut self, number: u64) -> Option<T> {
        let newcomer = self.waiting.remove(&number)?;
        let of_user = self
            .by_user
            .get_mut(&newcomer.user)
            .expect("who waits is in both tables");
        of_user.retain(|other| *other != number);
        if of_user.is_empty() {
            self.by_user.remove(&newcomer.user);
        }
        Some(newcomer.who)
    }
}

#[cfg(test)]
mod tests {
    use wire::Keys;

    use super::*;

    fn user(name: &str) -> Key {
        Keys::new([1; 16]).user(name)
    }

    #[test]
    fn a_place_goes_to_who_waited_longest_for_it() {
        let mut places = Places::default();
        assert!(places.wait(user("ada"), 1, 0).is_ok());
        assert!(places.wait(user("bob"), 2, 0).is_ok());
        assert!(places.wait(user("ada"), 3, 5).is_ok());
        assert_eq!(places.next_of(user("ada")), Some(1));
        assert_eq!(places.next_of(user("ada")), Some(3));
        assert_eq!(places.next_of(user("ada")), None);
        assert_eq!(places.overdue(WAIT_MS - 1), None);
        assert_eq!(places.overdue(WAIT_MS), Some(2));
        assert_eq!(places.overdue(WAIT_MS), None);
        assert!(places.by_user.is_empty());
    }

    #[test]
    fn one_user_does_not_fill_the_room_and_the_room_has_an_end() {
        let mut places = Places::default();
        for n in 0..WAITING_PER_USER_MAX {
            assert!(places.wait(user("ada"), n, 0).is_ok());
        }
        assert_eq!(places.wait(user("ada"), 99, 0), Err(99));
        for n in WAITING_PER_USER_MAX..WAITING_MAX {
            assert!(places.wait(user(&n.to_string()), n, 0).is_ok());
        }
        assert_eq!(places.wait(user("one more"), 1, 0), Err(1));
    }
}
