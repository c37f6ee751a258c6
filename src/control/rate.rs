//! How fast something may come: token buckets, one for each key, in a table of bounded size. By address
//! for requests for streams, by channel for what is published.

use std::collections::HashMap;
use std::hash::Hash;
use std::net::IpAddr;

/// The most keys that are remembered. A bucket that is full again is forgotten first; where all are in
/// use, a new key is let through uncounted: nobody is locked out by a crowd.
const KEYS_MAX: usize = 65_536;

/// How often full buckets are looked for when the table is full: the whole table is looked at.
const SWEEP_MS: u64 = 1_000;

/// How fast each address may ask for streams.
pub(super) struct RateLimit {
    buckets: Buckets<IpAddr>,
}

impl RateLimit {
    /// So many a second, and as many at once; 0 is no limit.
    pub(super) fn new(per_second: u32) -> Self {
        Self {
            buckets: Buckets::new(per_second, 1_000),
        }
    }

    /// Whether the address may ask once more at this time of a monotonic clock.
    pub(super) fn admit(&mut self, address: IpAddr, now_ms: u64) -> bool {
        let is_admitted = self.buckets.wait_ms(&address, 1, now_ms) == 0;
        if is_admitted {
            self.buckets.take(address, 1, now_ms);
        }
        is_admitted
    }
}

/// A bucket for each key: so many tokens, and filled by so many in an interval.
pub(super) struct Buckets<K> {
    tokens: u32,
    interval_ms: u64,
    buckets: HashMap<K, Bucket>,
    swept_at_ms: u64,
}

/// How much was in it when it was last looked at: tokens, each worth the interval's milliseconds, so
/// that a millisecond fills it by the number of tokens exactly.
struct Bucket {
    level: u64,
    at_ms: u64,
}

impl<K: Eq + Hash> Buckets<K> {
    /// 0 tokens are no limit.
    pub(super) fn new(tokens: u32, interval_ms: u64) -> Self {
        Self {
            tokens,
            interval_ms,
            buckets: HashMap::new(),
            swept_at_ms: 0,
        }
    }

    /// The most that can be taken at once.
    pub(super) fn tokens(&self) -> u32 {
        self.tokens
    }

    /// How long until so many can be taken; 0 is now. More than there ever are take as long as an empty
    /// bucket does to be full.
    pub(super) fn wait_ms(&self, key: &K, count: u32, now_ms: u64) -> u64 {
        if self.tokens == 0 {
            return 0;
        }
        if count > self.tokens {
            return self.interval_ms;
        }
        let level = self
            .buckets
            .get(key)
            .map_or(self.full(), |bucket| self.filled(bucket, now_ms));
        let wanted = u64::from(count) * self.interval_ms;
        wanted
            .saturating_sub(level)
            .div_ceil(u64::from(self.tokens))
    }

    /// Takes tokens, which are there: ask [`Self::wait_ms`] before.
    pub(super) fn take(&mut self, key: K, count: u32, now_ms: u64) {
        if self.tokens == 0 {
            return;
        }
        if self.buckets.len() >= KEYS_MAX && !self.buckets.contains_key(&key) {
            self.forget_full(now_ms);
            if self.buckets.len() >= KEYS_MAX {
                return;
            }
        }
        let level = self
            .buckets
            .get(&key)
            .map_or(self.full(), |bucket| self.filled(bucket, now_ms));
        let taken = u64::from(count) * self.interval_ms;
        let bucket = Bucket {
            level: level.saturating_sub(taken),
            at_ms: now_ms,
        };
        self.buckets.insert(key, bucket);
    }

    /// Gives tokens back that were taken for nothing.
    pub(super) fn give_back(&mut self, key: &K, count: u32) {
        let full = self.full();
        if let Some(bucket) = self.buckets.get_mut(key) {
            let level = bucket.level + u64::from(count) * self.interval_ms;
            bucket.level = level.min(full);
        }
    }

    fn forget_full(&mut self, now_ms: u64) {
        if now_ms >= self.swept_at_ms + SWEEP_MS {
            self.swept_at_ms = now_ms;
            let mut buckets = std::mem::take(&mut self.buckets);
            buckets.retain(|_, bucket| self.filled(bucket, now_ms) < self.full());
            self.buckets = buckets;
        }
    }

    fn filled(&self, bucket: &Bucket, now_ms: u64) -> u64 {
        let gained = now_ms
            .saturating_sub(bucket.at_ms)
            .saturating_mul(self.tokens.into());
        bucket.level.saturating_add(gained).min(self.full())
    }

    fn full(&self) -> u64 {
        u64::from(self.tokens) * self.interval_ms
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ADDRESS: IpAddr = IpAddr::V4(std::net::Ipv4Addr::LOCALHOST);

    #[test]
    fn an_address_has_a_burst_and_then_its_rate() {
        let mut limit = RateLimit::new(5);
        let admitted = |limit: &mut RateLimit, now_ms| {
            (0..20).filter(|_| limit.admit(ADDRESS, now_ms)).count()
        };
        assert_eq!(admitted(&mut limit, 0), 5);
        assert_eq!(admitted(&mut limit, 199), 0);
        assert_eq!(admitted(&mut limit, 400), 2);
        assert_eq!(admitted(&mut limit, 60_000), 5);
        assert!(limit.admit(IpAddr::from([10, 0, 0, 1]), 60_000));
    }

    #[test]
    fn the_table_is_bounded_and_locks_nobody_out() {
        let mut limit = RateLimit::new(1);
        for n in 0..2 * KEYS_MAX as u32 {
            assert!(limit.admit(IpAddr::from(n.to_be_bytes()), 0));
        }
        assert!(limit.buckets.buckets.len() <= KEYS_MAX);
        assert!(limit.admit(ADDRESS, 5_000));
        assert_eq!(
            limit.buckets.buckets.len(),
            1,
            "the full ones were forgotten"
        );
    }

    #[test]
    fn no_limit_keeps_nothing() {
        let mut limit = RateLimit::new(0);
        assert!((0..100).all(|_| limit.admit(ADDRESS, 0)));
        assert!(limit.buckets.buckets.is_empty());
    }

    #[test]
    fn a_call_takes_many_at_once_or_is_told_how_long_to_wait() {
        let mut buckets = Buckets::new(100, 60_000);
        assert_eq!(buckets.wait_ms(&"a", 100, 0), 0);
        buckets.take("a", 100, 0);
        assert_eq!(buckets.wait_ms(&"a", 1, 0), 600);
        assert_eq!(buckets.wait_ms(&"a", 1, 599), 1);
        assert_eq!(buckets.wait_ms(&"a", 10, 600), 5_400);
        assert_eq!(buckets.wait_ms(&"a", 101, 60_000), 60_000, "never so many");
        assert_eq!(buckets.wait_ms(&"b", 100, 0), 0, "another's is full");
        buckets.give_back(&"a", 7);
        assert_eq!(buckets.wait_ms(&"a", 7, 0), 0);
        assert_eq!(buckets.wait_ms(&"a", 8, 0), 600);
    }
}
