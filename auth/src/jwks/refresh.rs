//! When a set of keys is fetched: at the start, when it is old, and when a token names a key that it
//! does not have; never twice at once, and not again and again because of tokens.
//!
//! A set that cannot be fetched anew stays in force: its issuer being away signs nobody out. No
//! address is ever taken from a token.

use crate::limits::{JWKS_AGE_MS_MAX, JWKS_COOL_DOWN_MS, JWKS_RETRY_MS};

/// What is known about the fetches of one set. Times are milliseconds of any clock that does not go
/// back.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Refresh {
    is_under_way: bool,
    fetched_ms: Option<u64>,
    attempted_ms: Option<u64>,
    has_failed: bool,
}

/// What to do about a token whose key is not in the set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UnknownKey {
    /// Fetch the set now, then look again.
    Fetch,
    /// A fetch is under way: look again when it has ended.
    Wait,
    /// The set is fresh enough: the token is refused.
    Refuse,
}

impl Refresh {
    /// Whether the set should be fetched though nobody waits for it.
    pub fn is_due(&self, now_ms: u64) -> bool {
        let is_old = self
            .fetched_ms
            .is_none_or(|fetched_ms| now_ms.saturating_sub(fetched_ms) >= JWKS_AGE_MS_MAX);
        !self.is_under_way && is_old && self.is_cool(now_ms)
    }

    /// What to do about a token whose key is not in the set.
    pub fn for_unknown_key(&self, now_ms: u64) -> UnknownKey {
        match (self.is_under_way, self.is_cool(now_ms)) {
            (true, _) => UnknownKey::Wait,
            (false, true) => UnknownKey::Fetch,
            (false, false) => UnknownKey::Refuse,
        }
    }

    /// A fetch begins.
    pub fn begin(&mut self, now_ms: u64) {
        assert!(!self.is_under_way, "a set is fetched once at a time");
        self.is_under_way = true;
        self.attempted_ms = Some(now_ms);
    }

    /// The fetch has ended, with a set that can be used or without.
    pub fn end(&mut self, now_ms: u64, is_fetched: bool) {
        assert!(self.is_under_way, "only a fetch that began can end");
        self.is_under_way = false;
        self.attempted_ms = Some(now_ms);
        self.has_failed = !is_fetched;
        if is_fetched {
            self.fetched_ms = Some(now_ms);
        }
    }

    fn is_cool(&self, now_ms: u64) -> bool {
        let pause_ms = match self.has_failed {
            true => JWKS_RETRY_MS,
            false => JWKS_COOL_DOWN_MS,
        };
        self.attempted_ms
            .is_none_or(|attempted_ms| now_ms.saturating_sub(attempted_ms) >= pause_ms)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_set_is_fetched_at_the_start_and_when_it_is_old() {
        let mut refresh = Refresh::default();
        assert!(refresh.is_due(0));
        refresh.begin(0);
        assert!(!refresh.is_due(0));
        refresh.end(100, true);
        assert!(!refresh.is_due(100 + JWKS_AGE_MS_MAX - 1));
        assert!(refresh.is_due(100 + JWKS_AGE_MS_MAX));
    }

    #[test]
    fn a_fetch_that_failed_is_tried_again_soon() {
        let mut refresh = Refresh::default();
        refresh.begin(0);
        refresh.end(5_000, false);
        assert_eq!(refresh.for_unknown_key(5_001), UnknownKey::Refuse);
        assert!(!refresh.is_due(5_000 + JWKS_RETRY_MS - 1));
        assert!(refresh.is_due(5_000 + JWKS_RETRY_MS));
        // Once the set is there, unknown keys wait for the cool-down again.
        refresh.begin(20_000);
        refresh.end(20_000, true);
        let later = 20_000 + JWKS_COOL_DOWN_MS;
        assert_eq!(refresh.for_unknown_key(later - 1), UnknownKey::Refuse);
        assert_eq!(refresh.for_unknown_key(later), UnknownKey::Fetch);
    }

    #[test]
    fn unknown_keys_fetch_once_in_the_cool_down_and_share_it() {
        let mut refresh = Refresh::default();
        refresh.begin(0);
        assert_eq!(refresh.for_unknown_key(1), UnknownKey::Wait);
        refresh.end(10, true);
        assert_eq!(refresh.for_unknown_key(11), UnknownKey::Refuse);
        let later = 10 + JWKS_COOL_DOWN_MS;
        assert_eq!(refresh.for_unknown_key(later), UnknownKey::Fetch);
        refresh.begin(later);
        assert_eq!(refresh.for_unknown_key(later), UnknownKey::Wait);
    }
}
