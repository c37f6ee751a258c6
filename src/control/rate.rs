//! How fast one address may ask for streams: a token bucket each, in a table of bounded size.

use std::collections::HashMap;
use std::net::IpAddr;

/// The most addresses that are remembered. A bucket that is full again is forgotten first; where
/// all are in use, a new address is let through uncounted: nobody is locked out by a crowd.
const ADDRESSES_MAX: usize = 65_536;

/// Buckets of `connects_per_second` tokens, filled at that rate.
pub(super) struct RateLimit {
    per_second: u32,
    buckets: HashMap<IpAddr, Bucket>,
    swept_at_ms: u64,
}

/// How often full buckets are looked for when the table is full: the whole table is looked at.
const SWEEP_MS: u64 = 1_000;

/// How much was left when it was last looked at, in thousandths of a token.
struct Bucket {
    millitokens: u64,
    at_ms: u64,
}

impl RateLimit {
    /// 0 is no limit.
    pub(super) fn new(per_second: u32) -> Self {
        Self {
            per_second,
            buckets: HashMap::new(),
            swept_at_ms: 0,
        }
    }

    /// Whether the address may ask once more at this time of a monotonic clock.
    pub(super) fn admit(&mut self, address: IpAddr, now_ms: u64) -> bool {
        if self.per_second == 0 {
            return true;
        }
        if self.buckets.len() >= ADDRESSES_MAX && !self.buckets.contains_key(&address) {
            self.forget_full(now_ms);
            if self.buckets.len() >= ADDRESSES_MAX {
                return true;
            }
        }
        let fresh = Bucket {
            millitokens: full(self.per_second),
            at_ms: now_ms,
        };
        let bucket = self.buckets.entry(address).or_insert(fresh);
        let filled = bucket.filled(self.per_second, now_ms);
        let is_admitted = filled >= 1_000;
        bucket.millitokens = if is_admitted { filled - 1_000 } else { filled };
        bucket.at_ms = now_ms;
        is_admitted
    }

    fn forget_full(&mut self, now_ms: u64) {
        if now_ms >= self.swept_at_ms + SWEEP_MS {
            self.swept_at_ms = now_ms;
            let per_second = self.per_second;
            self.buckets
                .retain(|_, bucket| bucket.filled(per_second, now_ms) < full(per_second));
        }
    }
}

impl Bucket {
    fn filled(&self, per_second: u32, now_ms: u64) -> u64 {
        // One token a second is one thousandth of it a millisecond.
        let gained = now_ms
            .saturating_sub(self.at_ms)
            .saturating_mul(per_second.into());
        self.millitokens
            .saturating_add(gained)
            .min(full(per_second))
    }
}

fn full(per_second: u32) -> u64 {
    u64::from(per_second) * 1_000
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
        for n in 0..2 * ADDRESSES_MAX as u32 {
            assert!(limit.admit(IpAddr::from(n.to_be_bytes()), 0));
        }
        assert!(limit.buckets.len() <= ADDRESSES_MAX);
        assert!(limit.admit(ADDRESS, 5_000));
        assert_eq!(limit.buckets.len(), 1, "the full ones were forgotten");
    }

    #[test]
    fn no_limit_keeps_nothing() {
        let mut limit = RateLimit::new(0);
        assert!((0..100).all(|_| limit.admit(ADDRESS, 0)));
        assert!(limit.buckets.is_empty());
    }
}
