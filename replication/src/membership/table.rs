//! Tables by keys: a key is a keyed hash already, and needs no other. The entries stand in one vector, so that a
//! table has no slack but in its index. The order of the entries means nothing.

use std::hash::{BuildHasherDefault, Hasher};

use indexmap::IndexMap;
use wire::Key;

/// Values by their keys.
pub(crate) type Table<T> = IndexMap<Key, T, BuildHasherDefault<Identity>>;

/// A table is made smaller where it has less than a quarter of what it has room for, and room for more than this.
const ROOM_KEPT: usize = 1024;

/// Takes the 64 bits of a key for its hash.
#[derive(Default)]
pub(crate) struct Identity(u64);

impl Hasher for Identity {
    fn write(&mut self, _: &[u8]) {
        unreachable!("a key is two words");
    }

    fn write_u64(&mut self, word: u64) {
        self.0 ^= word;
    }

    fn finish(&self) -> u64 {
        self.0
    }
}

/// Takes an entry out, and gives memory back where much has gone: each entry pays for its own part of that.
pub(crate) fn take<T>(table: &mut Table<T>, key: Key) -> Option<T> {
    let value = table.swap_remove(&key)?;
    if table.capacity() > ROOM_KEPT && table.len() < table.capacity() / 4 {
        table.shrink_to(table.len() * 2);
    }
    Some(value)
}

#[cfg(test)]
mod tests {
    use wire::Keys;

    use super::*;

    #[test]
    fn what_has_gone_keeps_no_memory() {
        let keys = Keys::new([1; 16]);
        let key = |number: usize| keys.user(&number.to_string());
        let mut table: Table<usize> = (0..100_000).map(|number| (key(number), number)).collect();
        assert!((0..100_000).all(|number| table.get(&key(number)) == Some(&number)));
        for number in 0..99_990 {
            assert_eq!(take(&mut table, key(number)), Some(number));
            assert_eq!(take(&mut table, key(number)), None);
        }
        assert!(table.len() == 10 && table.capacity() < 2 * ROOM_KEPT);
        assert!((99_990..100_000).all(|number| table.get(&key(number)) == Some(&number)));
    }
}
