//! Which connections a user has: an index that stores only slots, chained both ways through the
//! records, so that leaving costs the same however many streams the user has.

use hashbrown::HashTable;
use wire::Key;

use crate::record::NONE;
use crate::table::Table;

/// The first connection of each user; the others follow by `Record::next`.
#[derive(Debug, Default)]
pub(crate) struct Users {
    first: HashTable<u32>,
}

impl Users {
    /// Puts a connection, whose record names the user, into the chain.
    pub(crate) fn insert(&mut self, table: &mut Table, slot: u32) {
        let user = table[slot].user;
        match self
            .first
            .find_mut(user.hash64(), |first| table[*first].user == user)
        {
            Some(first) => {
                table[slot].next = *first;
                table[*first].previous = slot;
                *first = slot;
            }
            None => {
                table[slot].next = NONE;
                let table = &*table;
                self.first
                    .insert_unique(user.hash64(), slot, |slot| table[*slot].user.hash64());
            }
        }
    }

    /// Takes a connection out of the chain.
    pub(crate) fn remove(&mut self, table: &mut Table, slot: u32) {
        let next = std::mem::replace(&mut table[slot].next, NONE);
        let previous = std::mem::replace(&mut table[slot].previous, NONE);
        if next != NONE {
            table[next].previous = previous;
        }
        if previous != NONE {
            table[previous].next = next;
            return;
        }
        let user = table[slot].user;
        let entry = self.first.find_entry(user.hash64(), |first| *first == slot);
        let mut entry = entry.expect("whoever has nobody before it is in the index");
        if next == NONE {
            entry.remove();
        } else {
            *entry.get_mut() = next;
        }
    }

    /// Whether nobody is there.
    pub(crate) fn is_empty(&self) -> bool {
        self.first.is_empty()
    }

    /// The first connection of a user, `NONE` where there is none.
    pub(crate) fn first(&self, table: &Table, user: Key) -> u32 {
        let found = self
            .first
            .find(user.hash64(), |first| table[*first].user == user);
        found.copied().unwrap_or(NONE)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::key;

    fn chain(users: &Users, table: &Table, user: Key) -> Vec<u32> {
        let first = Some(users.first(table, user)).filter(|slot| *slot != NONE);
        let next = |slot: &u32| Some(table[*slot].next).filter(|next| *next != NONE);
        std::iter::successors(first, next).collect()
    }

    #[test]
    fn connections_are_found_by_their_user() {
        let mut table = Table::new(0, 0);
        let mut users = Users::default();
        for name in ["a", "b", "a", "a"] {
            let slot = table.insert(0);
            table[slot].user = key(name);
            users.insert(&mut table, slot);
        }
        assert_eq!(chain(&users, &table, key("a")), [3, 2, 0]);
        assert_eq!(chain(&users, &table, key("b")), [1]);
        users.remove(&mut table, 2);
        assert_eq!(chain(&users, &table, key("a")), [3, 0]);
        assert_eq!(table[0].previous, 3);
        users.remove(&mut table, 3);
        users.remove(&mut table, 0);
        assert_eq!(chain(&users, &table, key("a")), [0; 0]);
        users.remove(&mut table, 1);
        assert!(users.first.is_empty());
    }
}
