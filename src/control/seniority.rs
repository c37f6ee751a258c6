//! Which of a user's streams is the oldest: kept only where newcomers may take its place
//! (`close_oldest`), since it costs memory for every stream. Pure.

use std::collections::{HashMap, VecDeque};

use wire::{ConnectionId, Key};

/// The streams of each user, oldest first.
pub(super) struct Seniority {
    is_kept: bool,
    by_user: HashMap<Key, VecDeque<ConnectionId>>,
}

impl Seniority {
    /// Keeps them, or nothing.
    pub(super) fn new(is_kept: bool) -> Self {
        Self {
            is_kept,
            by_user: HashMap::new(),
        }
    }

    /// A stream is granted.
    pub(super) fn join(&mut self, user: Option<Key>, connection: ConnectionId) {
        if let Some(user) = user.filter(|_| self.is_kept) {
            self.by_user.entry(user).or_default().push_back(connection);
        }
    }

    /// A granted stream has ended.
    pub(super) fn leave(&mut self, user: Option<Key>, connection: ConnectionId) {
        let Some(user) = user else { return };
        let Some(streams) = self.by_user.get_mut(&user) else {
            return;
        };
        streams.retain(|other| *other != connection);
        if streams.is_empty() {
            self.by_user.remove(&user);
        }
    }

    /// The oldest, to be closed: the next who asks is told another.
    pub(super) fn take_oldest(&mut self, user: Key) -> Option<ConnectionId> {
        self.by_user.get_mut(&user)?.pop_front()
    }
}

#[cfg(test)]
mod tests {
    use wire::Keys;

    use super::*;

    fn connection(slot: u32) -> ConnectionId {
        ConnectionId {
            boot: 0,
            engine: 0,
            slot,
            generation: 0,
        }
    }

    #[test]
    fn the_oldest_goes_first_and_each_only_once() {
        let ada = Keys::new([1; 16]).user("ada");
        let mut seniority = Seniority::new(true);
        (1..4).for_each(|slot| seniority.join(Some(ada), connection(slot)));
        seniority.leave(Some(ada), connection(1));
        assert_eq!(seniority.take_oldest(ada), Some(connection(2)));
        assert_eq!(seniority.take_oldest(ada), Some(connection(3)));
        assert_eq!(seniority.take_oldest(ada), None);
        // They end later, one after the other.
        seniority.leave(Some(ada), connection(2));
        seniority.leave(Some(ada), connection(3));
        assert!(seniority.by_user.is_empty());
    }

    #[test]
    fn nothing_is_kept_where_nobody_may() {
        let ada = Keys::new([1; 16]).user("ada");
        let mut seniority = Seniority::new(false);
        seniority.join(Some(ada), connection(1));
        seniority.join(None, connection(2));
        assert!(seniority.by_user.is_empty());
    }
}
