//! The cache of credentials: who presented what was verified a moment ago is not verified again, so a
//! storm of reconnects costs no signature and no SQL.
//!
//! It only saves work, and it must not lengthen anything: what is remembered with an entry has to name
//! the position before which it was judged, and whoever admits by it looks for later revocations.

use std::collections::VecDeque;
use std::hash::BuildHasher;

use hashbrown::HashMap;
use siphasher::sip::SipHasher13;

use crate::Fingerprint;
use crate::limits::CACHE_MS_MAX;

/// So many places in the order may be of verdicts that are gone, beside one for each that is there.
const GONE_MAX: usize = 64;

/// Verdicts by the fingerprints of what they were given for, at most so many.
pub struct Cache<T> {
    entries: HashMap<Fingerprint, Entry<T>, Seed>,
    /// The fingerprints by the order of their verdicts: the oldest makes room. Of a verdict that was
    /// forgotten or given again the place stays until it is the first, or there are too many of them.
    order: VecDeque<(u64, Fingerprint)>,
    next: u64,
    /// What the values take, as they were said to.
    bytes: usize,
    entries_max: usize,
    bytes_max: usize,
}

/// What the hashes are keyed with: who can have many tokens made may look for fingerprints that begin alike.
struct Seed(u64);

impl BuildHasher for Seed {
    type Hasher = SipHasher13;

    fn build_hasher(&self) -> SipHasher13 {
        SipHasher13::new_with_keys(self.0, !self.0)
    }
}

struct Entry<T> {
    value: T,
    bytes: usize,
    number: u64,
    checked_ms: u64,
    ends_ms: u64,
}

impl<T> Cache<T> {
    /// An empty cache for so many entries, of so many bytes together; for none, it remembers nothing.
    /// The seed is random, and nobody's business.
    pub fn new(entries_max: usize, bytes_max: usize, seed: u64) -> Self {
        Self {
            entries: HashMap::with_hasher(Seed(seed)),
            order: VecDeque::new(),
            next: 0,
            bytes: 0,
            entries_max,
            bytes_max,
        }
    }

    /// What is remembered of this credential, if it is still good.
    pub fn get(&self, credential: &Fingerprint, now_ms: u64) -> Option<&T> {
        let entry = self.entries.get(credential)?;
        // A clock that was set back makes entries from the future: their age is not known.
        let is_good = (entry.checked_ms..entry.ends_ms).contains(&now_ms);
        is_good.then_some(&entry.value)
    }

    /// Remembers a verdict, which takes so many bytes, for at most `lasts_ms`, at most [`CACHE_MS_MAX`], and never beyond the end
    /// of the session.
    pub fn put(
        &mut self,
        credential: Fingerprint,
        value: T,
        bytes: usize,
        now_ms: u64,
        lasts_ms: u64,
        expires_ms: Option<u64>,
    ) {
        let ends_ms = now_ms.saturating_add(lasts_ms.min(CACHE_MS_MAX));
        let entry = Entry {
            value,
            bytes,
            number: self.next,
            checked_ms: now_ms,
            ends_ms: ends_ms.min(expires_ms.unwrap_or(u64::MAX)),
        };
        self.next += 1;
        self.bytes += bytes;
        self.order.push_back((entry.number, credential));
        if let Some(before) = self.entries.insert(credential, entry) {
            self.bytes -= before.bytes;
        }
        self.make_room();
        self.tidy();
    }

    /// Forgets a credential: its verdict was found to be out of date.
    pub fn forget(&mut self, credential: &Fingerprint) {
        if let Some(entry) = self.entries.remove(credential) {
            self.bytes -= entry.bytes;
            self.tidy();
        }
    }

    /// Forgets everything whose time is over; the node calls it now and then. Returns how many that were.
    pub fn sweep(&mut self, now_ms: u64) -> usize {
        let before = self.entries.len();
        self.entries
            .retain(|_, entry| (entry.checked_ms..entry.ends_ms).contains(&now_ms));
        self.bytes = self.entries.values().map(|entry| entry.bytes).sum();
        self.drop_gone();
        // A storm's table is not kept for calmer days.
        self.entries.shrink_to(self.entries.len() * 2);
        self.order.shrink_to(self.entries.len() * 2);
        before - self.entries.len()
    }

    /// How many verdicts are remembered, good or not.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether none is.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    fn make_room(&mut self) {
        while self.entries.len() > self.entries_max || self.bytes > self.bytes_max {
            let (number, oldest) = self
                .order
                .pop_front()
                .expect("every entry has its place in the order");
            if self.is_there(number, &oldest) {
                let entry = self.entries.remove(&oldest);
                self.bytes -= entry.map_or(0, |entry| entry.bytes);
            }
        }
    }

    /// Whether this place in the order is one of a verdict that is remembered.
    fn is_there(&self, number: u64, credential: &Fingerprint) -> bool {
        let entry = self.entries.get(credential);
        entry.is_some_and(|entry| entry.number == number)
    }

    /// Keeps the order bounded: what it costs is paid by those that went before.
    fn tidy(&mut self) {
        if self.order.len() > 2 * self.entries.len() + GONE_MAX {
            self.drop_gone();
        }
    }

    fn drop_gone(&mut self) {
        let mut order = std::mem::take(&mut self.order);
        order.retain(|(number, credential)| self.is_there(*number, credential));
        self.order = order;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn credential(number: usize) -> Fingerprint {
        Fingerprint::of(&number.to_string())
    }

    #[test]
    fn a_verdict_is_good_for_a_minute_and_not_beyond_the_session() {
        let mut cache = Cache::new(10, 1_000, 7);
        cache.put(credential(1), "ada", 1, 1_000, u64::MAX, None);
        cache.put(credential(2), "bob", 1, 1_000, u64::MAX, Some(5_000));
        cache.put(credential(3), "eve", 1, 1_000, 30_000, Some(u64::MAX));
        let good = |number, now_ms| cache.get(&credential(number), now_ms).copied();
        assert_eq!(good(1, 1_000 + CACHE_MS_MAX - 1), Some("ada"));
        assert_eq!(good(1, 1_000 + CACHE_MS_MAX), None);
        assert_eq!((good(2, 4_999), good(2, 5_000)), (Some("bob"), None));
        assert_eq!((good(3, 30_999), good(3, 31_000)), (Some("eve"), None));
        assert_eq!(good(4, 1_000), None);
    }

    #[test]
    fn a_clock_that_was_set_back_lengthens_nothing() {
        let mut cache = Cache::new(10, 1_000, 7);
        cache.put(credential(1), (), 1, 1_000_000, u64::MAX, None);
        assert!(cache.get(&credential(1), 999_999).is_none());
    }

    #[test]
    fn the_oldest_verdict_makes_room() {
        let mut cache = Cache::new(3, 1_000, 7);
        for number in [0, 1, 2, 0, 3] {
            cache.put(credential(number), number, 1, 0, 1, None);
        }
        let kept: Vec<_> = (0..4)
            .filter_map(|number| cache.get(&credential(number), 0).copied())
            .collect();
        assert_eq!(kept, [0, 2, 3]);
        assert_eq!(cache.len(), 3);
    }

    #[test]
    fn long_verdicts_make_room_as_well() {
        let mut cache = Cache::new(100, 1_000, 7);
        for number in 0..10 {
            cache.put(credential(number), number, 300, 0, 1, None);
        }
        let kept: Vec<_> = (0..10)
            .filter_map(|number| cache.get(&credential(number), 0).copied())
            .collect();
        assert_eq!((kept, cache.bytes), (vec![7, 8, 9], 900));
        cache.put(credential(9), 9, 100, 0, 1, None);
        assert_eq!((cache.len(), cache.bytes), (3, 700));
        // What would not fit alone is not remembered.
        cache.put(credential(11), 11, 1_001, 0, 1, None);
        assert_eq!((cache.len(), cache.bytes), (0, 0));
    }

    #[test]
    fn what_is_put_again_and_again_takes_no_more_room() {
        let mut cache = Cache::new(100, 1_000, 7);
        for now_ms in 0..10_000 {
            cache.put(credential(1), now_ms, 1, now_ms, 1_000, None);
        }
        assert!(cache.len() == 1 && cache.order.len() <= 2 + GONE_MAX);
        assert_eq!(cache.get(&credential(1), 9_999), Some(&9_999));
        // Nor does what is forgotten each time.
        for now_ms in 0..10_000 {
            cache.forget(&credential(1));
            cache.put(credential(1), now_ms, 1, now_ms, 1_000, None);
        }
        assert!(cache.len() == 1 && cache.order.len() <= 2 + GONE_MAX);
        cache.forget(&credential(1));
        assert!(cache.is_empty() && cache.order.len() <= GONE_MAX && cache.bytes == 0);
        let mut none = Cache::new(0, 1_000, 7);
        none.put(credential(1), (), 1, 0, 1_000, None);
        assert!(none.is_empty());
    }

    #[test]
    fn what_is_over_is_swept() {
        let mut cache = Cache::new(100, 1_000, 7);
        for number in 0..50 {
            cache.put(credential(number), number, 1, number as u64, 10, None);
        }
        cache.sweep(49);
        assert_eq!((cache.len(), cache.order.len()), (10, 10));
        assert!(cache.entries.capacity() < 50, "its memory is given back");
        cache.put(credential(49), 49, 1, 49, 10, None);
        assert_eq!(cache.len(), 10);
        cache.sweep(59);
        assert_eq!((cache.len(), cache.order.len(), cache.bytes), (0, 0, 0));
    }

    #[test]
    fn the_order_is_that_of_the_last_verdicts_also_after_its_gaps_went() {
        let mut cache = Cache::new(4, 1_000, 7);
        for number in [0, 1, 2, 3] {
            cache.put(credential(number), number, 1, 0, 1, None);
        }
        for _ in 0..2 * GONE_MAX {
            cache.put(credential(0), 0, 1, 0, 1, None);
        }
        cache.forget(&credential(2));
        for number in [4, 5] {
            cache.put(credential(number), number, 1, 0, 1, None);
        }
        let is_kept = |number: &usize| cache.get(&credential(*number), 0).is_some();
        let kept: Vec<_> = (0..6).filter(is_kept).collect();
        assert_eq!(kept, [0, 3, 4, 5]);
    }
}
