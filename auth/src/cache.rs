//! The cache of credentials: who presented what was verified a moment ago is not verified again, so a
//! storm of reconnects costs no signature and no SQL.
//!
//! It only saves work, and it must not lengthen anything: what is remembered with an identity has to name
//! the position before which it was judged, and whoever admits by it looks for later revocations.

use std::hash::BuildHasher;

use hashbrown::HashTable;
use siphasher::sip::SipHasher13;

use self::pages::{Pages, Place, Record};
use crate::limits::CACHE_MS_MAX;
use crate::{Fingerprint, Identity};

mod pages;

/// Identities by the fingerprints of the credentials that they were found for, at most so many; with each
/// the moment before which it was judged.
pub struct Cache<M> {
    places: HashTable<Place>,
    pages: Pages<M>,
    seed: Seed,
    records_max: usize,
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

impl<M: Copy> Cache<M> {
    /// An empty cache for so many verdicts, of so many bytes together; for none, it remembers nothing.
    /// The seed is random, and nobody's business.
    pub fn new(records_max: usize, bytes_max: usize, seed: u64) -> Self {
        Self {
            places: HashTable::new(),
            pages: Pages::new(),
            seed: Seed(seed),
            records_max,
            bytes_max,
        }
    }

    /// Who presented this credential, if it is still good, and before which moment that was judged.
    pub fn get(&self, credential: &Fingerprint, now_ms: u64) -> Option<(Identity, M)> {
        let (record, packed) = self.pages.get(self.find(credential)?);
        record.is_good(now_ms).then(|| {
            let identity = serde_json::from_slice(packed).expect("it was packed here");
            (identity, record.judged)
        })
    }

    /// Remembers who presented a credential, for at most `lasts_ms`, at most [`CACHE_MS_MAX`], and never
    /// beyond the end of the session.
    pub fn put(
        &mut self,
        credential: Fingerprint,
        identity: &Identity,
        judged: M,
        now_ms: u64,
        lasts_ms: u64,
    ) {
        let ends_ms = now_ms.saturating_add(lasts_ms.min(CACHE_MS_MAX));
        let ends_ms = ends_ms.min(identity.expires_ms.unwrap_or(u64::MAX));
        let packed = serde_json::to_vec(identity).expect("names and numbers are JSON");
        let record = Record::new(credential, judged, now_ms, ends_ms);
        // Whose requests came together has one verdict all the same.
        if let Some(place) = self.find(&credential)
            && self.pages.renew(place, record, &packed)
        {
            return;
        }
        self.forget(&credential);
        if !record.is_good(now_ms) {
            return;
        }
        let place = self.pages.push(record, &packed);
        let (pages, seed) = (&self.pages, &self.seed);
        self.places
            .insert_unique(seed.hash_one(credential), place, |place| {
                seed.hash_one(pages.get(*place).0.credential)
            });
        while self.pages.records() > self.records_max || self.pages.bytes() > self.bytes_max {
            self.forget_first();
        }
    }

    /// Forgets a credential: its verdict was found to be out of date. What it took goes with its page.
    pub fn forget(&mut self, credential: &Fingerprint) {
        let (hash, pages) = (self.hash(credential), &self.pages);
        let found = self
            .places
            .find_entry(hash, |place| pages.get(*place).0.credential == *credential);
        if let Ok(entry) = found {
            entry.remove();
        }
    }

    /// Forgets whose time is over; the node calls it now and then. Their memory goes page by page: returns how
    /// many verdicts lay there.
    pub fn sweep(&mut self, now_ms: u64) -> usize {
        let before = self.pages.records();
        // Verdicts from the future are among them, and would become good once more.
        let pages = &self.pages;
        self.places
            .retain(|place| pages.get(*place).0.is_good(now_ms));
        while let Some(page) = self.pages.first()
            && !page.records.iter().any(|record| record.is_good(now_ms))
        {
            self.forget_first();
        }
        // A storm's table is not kept for calmer days.
        let (pages, seed) = (&self.pages, &self.seed);
        self.places.shrink_to(self.places.len() * 2, |place| {
            seed.hash_one(pages.get(*place).0.credential)
        });
        before - self.pages.records()
    }

    /// Whether no verdict is remembered, good or not.
    pub fn is_empty(&self) -> bool {
        self.pages.records() == 0
    }

    /// The oldest verdicts make room.
    fn forget_first(&mut self) {
        let first = self
            .pages
            .pop()
            .expect("a page takes what there is too much of");
        for (place, record) in first {
            let hash = self.seed.hash_one(record.credential);
            // Of one that was forgotten or given again nothing points here any more.
            if let Ok(entry) = self.places.find_entry(hash, |there| *there == place) {
                entry.remove();
            }
        }
    }

    /// Where the verdict of this credential lies, good or not.
    fn find(&self, credential: &Fingerprint) -> Option<Place> {
        let is_there = |place: &Place| self.pages.get(*place).0.credential == *credential;
        self.places.find(self.hash(credential), is_there).copied()
    }

    fn hash(&self, credential: &Fingerprint) -> u64 {
        self.seed.hash_one(credential)
    }
}

#[cfg(test)]
mod tests;
