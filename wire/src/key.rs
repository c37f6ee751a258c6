//! Keyed hashes that stand for the names of users, organisations and sessions.
//!
//! The engines hold no names: a connection, a topic and a frame meet by these keys. The secret is
//! drawn at boot, so that nobody outside can look for two names with one key.

use std::hash::Hasher as _;

use siphasher::sip128::{Hasher128 as _, SipHasher24};

/// 128 bits of keyed hash over a name. Equal keys mean equal names.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key {
    high: u64,
    low: u64,
}

impl Key {
    /// The key of nobody: a place holder where there is no user.
    pub const NOBODY: Self = Self { high: 0, low: 0 };

    /// 64 of the bits, for a hash table: they are uniformly spread and need no further hashing.
    pub fn hash64(self) -> u64 {
        self.high
    }
}

/// Makes keys: the secret of this boot.
#[derive(Clone)]
pub struct Keys {
    secret: [u8; 16],
}

impl Keys {
    /// Takes the secret, 16 random bytes. All threads of a node share one.
    pub fn new(secret: [u8; 16]) -> Self {
        Self { secret }
    }

    /// The key of an organisation.
    pub fn organisation(&self, name: &str) -> Key {
        self.key(b'o', name.as_bytes())
    }

    /// The key of a user.
    pub fn user(&self, name: &str) -> Key {
        self.key(b'u', name.as_bytes())
    }

    /// The key of a session: of its row's id, its `jti`, or the credential itself.
    pub fn session(&self, name: &str) -> Key {
        self.key(b's', name.as_bytes())
    }

    /// The key of an application message: of its id, among those for the same organisation and user.
    pub fn message(&self, organisation: Option<&str>, user: Option<&str>, id: &str) -> Key {
        let mut hasher = SipHasher24::new_with_key(&self.secret);
        hasher.write_u8(b'm');
        for name in [organisation, user] {
            // With its length, so that no two sequences of names are the same bytes.
            hasher.write_u64(name.map_or(u64::MAX, |name| name.len() as u64));
            hasher.write(name.unwrap_or_default().as_bytes());
        }
        hasher.write(id.as_bytes());
        let hash = hasher.finish128();
        Key {
            high: hash.h1,
            low: hash.h2,
        }
    }

    /// The key of a row, by the values of its replica identity.
    pub fn row(&self, identity: &[u8]) -> Key {
        self.key(b'r', identity)
    }

    /// The kind goes into the hash, so that a user called like an organisation has another key.
    fn key(&self, kind: u8, name: &[u8]) -> Key {
        let mut hasher = SipHasher24::new_with_key(&self.secret);
        hasher.write_u8(kind);
        hasher.write(name);
        let hash = hasher.finish128();
        Key {
            high: hash.h1,
            low: hash.h2,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_depend_on_the_secret_the_kind_and_the_name() {
        let keys = Keys::new([1; 16]);
        assert_eq!(keys.user("a"), keys.user("a"));
        assert_ne!(keys.user("a"), keys.user("b"));
        assert_ne!(keys.user("a"), keys.organisation("a"));
        assert_ne!(keys.user("a"), Keys::new([2; 16]).user("a"));
    }

    #[test]
    fn a_message_is_another_one_for_anybody_else() {
        let keys = Keys::new([1; 16]);
        let mut all = vec![
            keys.message(Some("a"), None, "b"),
            keys.message(None, Some("a"), "b"),
            keys.message(Some("a"), Some("b"), ""),
            keys.message(Some("ab"), None, ""),
            keys.message(Some(""), None, "ab"),
            keys.message(None, None, "ab"),
        ];
        assert_eq!(all[0], keys.message(Some("a"), None, "b"));
        all.sort_unstable();
        all.dedup();
        assert_eq!(all.len(), 6);
    }
}
