//! Where the verdicts lie: one behind the other in pages, of which the oldest goes as a whole. A verdict has no
//! allocation of its own: a storm leaves no holes in the memory of a node that rests.

use std::collections::VecDeque;

use crate::Fingerprint;

/// The most verdicts of a page.
const PAGE_RECORDS_MAX: usize = 256;

/// The most bytes of a page's identities. One that is longer has a page to itself.
const PAGE_BYTES_MAX: usize = 32 << 10;

/// Verdicts in the order in which they were given.
pub(super) struct Pages<M> {
    pages: VecDeque<Page<M>>,
    /// How many pages went before the first of them.
    gone: u64,
    /// What they take.
    bytes: usize,
    /// The verdicts in them, also those that nothing points to any more.
    records: usize,
}

/// Some verdicts that were given one after the other.
pub(super) struct Page<M> {
    pub(super) records: Vec<Record<M>>,
    /// Their identities as JSON, one behind the other.
    packed: Vec<u8>,
}

/// A verdict, but for whose it is.
#[derive(Clone, Copy)]
pub(super) struct Record<M> {
    pub(super) credential: Fingerprint,
    /// The moment before which it was judged.
    pub(super) judged: M,
    /// When it was given, and when its time is over, in milliseconds since 1970.
    pub(super) checked_ms: u64,
    pub(super) ends_ms: u64,
    /// Where its identity ends; it begins where the one before it ends.
    end: usize,
}

/// Where a verdict lies, for as long as its page is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Place {
    page: u64,
    record: usize,
}

impl<M: Copy> Record<M> {
    /// A verdict that is going to be pushed.
    pub(super) fn new(credential: Fingerprint, judged: M, checked_ms: u64, ends_ms: u64) -> Self {
        Self {
            credential,
            judged,
            checked_ms,
            ends_ms,
            end: 0,
        }
    }

    /// Whether it still holds.
    pub(super) fn is_good(&self, now_ms: u64) -> bool {
        // A clock that was set back makes verdicts from the future: their age is not known.
        (self.checked_ms..self.ends_ms).contains(&now_ms)
    }
}

impl<M: Copy> Pages<M> {
    pub(super) fn new() -> Self {
        Self {
            pages: VecDeque::new(),
            gone: 0,
            bytes: 0,
            records: 0,
        }
    }

    /// Lays a verdict and its identity behind the others.
    pub(super) fn push(&mut self, record: Record<M>, packed: &[u8]) -> Place {
        if self.pages.back().is_none_or(|page| !page.has_room(packed)) {
            let page = Page::for_one_like(packed);
            self.bytes += page.bytes();
            self.pages.push_back(page);
        }
        let number = self.gone + self.pages.len() as u64 - 1;
        let page = self.pages.back_mut().expect("there is one with room");
        page.packed.extend_from_slice(packed);
        let end = page.packed.len();
        page.records.push(Record { end, ..record });
        self.records += 1;
        Place {
            page: number,
            record: page.records.len() - 1,
        }
    }

    /// Lays a verdict in the place of another about the same identity, if that is on the last page: further
    /// ahead it would go too soon, with what is older. Returns whether it lies there.
    pub(super) fn renew(&mut self, place: Place, record: Record<M>, packed: &[u8]) -> bool {
        let is_last = place.page - self.gone + 1 == self.pages.len() as u64;
        if !is_last || self.get(place).1 != packed {
            return false;
        }
        let page = self.pages.back_mut().expect("the place is on it");
        let end = page.records[place.record].end;
        page.records[place.record] = Record { end, ..record };
        true
    }

    /// What lies there, and its identity.
    pub(super) fn get(&self, place: Place) -> (&Record<M>, &[u8]) {
        let page = usize::try_from(place.page - self.gone).expect("as many as there are pages");
        let page = &self.pages[page];
        let record = &page.records[place.record];
        let before = place.record.checked_sub(1);
        let start = before.map_or(0, |before| page.records[before].end);
        (record, &page.packed[start..record.end])
    }

    /// The oldest page.
    pub(super) fn first(&self) -> Option<&Page<M>> {
        self.pages.front()
    }

    /// Takes the oldest page away, with the places of what lay there.
    pub(super) fn pop(&mut self) -> Option<impl Iterator<Item = (Place, Record<M>)> + use<M>> {
        let page = self.pages.pop_front()?;
        self.bytes -= page.bytes();
        self.records -= page.records.len();
        let number = self.gone;
        self.gone += 1;
        if self.pages.is_empty() {
            self.pages = VecDeque::new();
        }
        let places = (0..).map(move |record| Place {
            page: number,
            record,
        });
        Some(places.zip(page.records))
    }

    /// What they take, used or not.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// How many verdicts lie in them.
    pub(super) fn records(&self) -> usize {
        self.records
    }
}

impl<M> Page<M> {
    fn for_one_like(packed: &[u8]) -> Self {
        Self {
            records: Vec::with_capacity(PAGE_RECORDS_MAX),
            packed: Vec::with_capacity(PAGE_BYTES_MAX.max(packed.len())),
        }
    }

    fn has_room(&self, packed: &[u8]) -> bool {
        self.records.len() < PAGE_RECORDS_MAX && self.packed.len() + packed.len() <= PAGE_BYTES_MAX
    }

    fn bytes(&self) -> usize {
        self.records.capacity() * size_of::<Record<M>>() + self.packed.capacity()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn push(pages: &mut Pages<usize>, n: usize, length: usize) -> Place {
        let record = Record::new(Fingerprint::of(&n.to_string()), n, 0, 1);
        pages.push(record, &vec![n as u8; length])
    }

    #[test]
    fn what_was_laid_down_is_found_until_its_page_goes() {
        let mut pages = Pages::new();
        let places: Vec<_> = (0..1_000)
            .map(|n| (n, n % 7, push(&mut pages, n, n % 7)))
            .collect();
        let mut gone = 0;
        while !places[gone..].is_empty() {
            for (n, length, place) in &places[gone..] {
                let (record, packed) = pages.get(*place);
                assert_eq!((record.judged, packed), (*n, &vec![*n as u8; *length][..]));
            }
            for (place, record) in pages.pop().expect("there are some left") {
                assert_eq!((record.judged, place), (gone, places[gone].2));
                gone += 1;
            }
        }
        assert!(pages.pop().is_none());
        assert_eq!((pages.bytes(), pages.records()), (0, 0));
    }

    #[test]
    fn a_page_is_bounded_and_the_long_have_one_to_themselves() {
        let mut pages = Pages::new();
        for n in 0..PAGE_RECORDS_MAX {
            push(&mut pages, n, 1);
        }
        assert_eq!(pages.pages.len(), 1);
        push(&mut pages, 1, 1);
        assert_eq!(pages.pages.len(), 2);
        push(&mut pages, 2, PAGE_BYTES_MAX - 1);
        assert_eq!(pages.pages.len(), 2);
        push(&mut pages, 3, 1);
        assert_eq!(pages.pages.len(), 3);
        push(&mut pages, 4, 3 * PAGE_BYTES_MAX);
        push(&mut pages, 5, 1);
        assert_eq!(pages.pages.len(), 5);
        let packed = pages.pages.iter().map(|page| page.packed.capacity());
        assert_eq!(packed.sum::<usize>(), 7 * PAGE_BYTES_MAX);
        assert_eq!(pages.records(), PAGE_RECORDS_MAX + 5);
    }
}
