//! What is on a page of history: where it begins in the log, which events it holds, and whether something
//! is missing before them. How the log is read backwards and beyond its evictions is in `log::recall`.

use wire::{EventId, Frame, PageSince};

use super::PageFrom;
use crate::limits::{PAGE_BYTES_MAX, PAGE_SCAN_MAX};
use crate::step::is_admitted;
use crate::{Engine, Now};

/// Where a page is read.
pub(super) enum Place {
    /// Forwards, after this sequence, what was committed at this time or later.
    After { sequence: u64, timestamp_ms: i64 },
    /// Backwards from now.
    Newest,
    /// Nowhere yet: the log has not come to this position.
    Ahead(EventId),
}

/// What is on a page.
pub(super) struct Page {
    pub(super) frames: Vec<Frame>,
    /// Something after the place it was to begin at is not shown, and was not asked to be left out.
    pub(super) is_reset: bool,
    /// The position up to which nothing is missing.
    pub(super) position: EventId,
    /// It ends before the newest event.
    pub(super) is_cut: bool,
}

impl Engine {
    pub(super) fn place_of_page(&self, now: Now, slot: u32, since: PageSince) -> Place {
        let reading = self.reading_of(slot);
        let source = self.source.as_ref();
        let source = source.expect("pages are read after the start");
        let is_past = source.applied < source.caught_up;
        match since {
            PageSince::After(id) if source.lineage.admits(id) && id > source.applied => {
                Place::Ahead(id)
            }
            PageSince::After(id) if source.lineage.admits(id) && id >= source.floor => {
                Place::After {
                    sequence: self.log.recall_after(reading, id),
                    timestamp_ms: i64::MIN,
                }
            }
            _ if is_past => Place::Ahead(source.caught_up),
            PageSince::At(timestamp_ms) => {
                let wall_ms = i64::try_from(now.wall_ms).unwrap_or(i64::MAX);
                // A time that lies ahead is taken for now: a page shows what comes next.
                let timestamp_ms = timestamp_ms.min(wall_ms);
                Place::After {
                    sequence: self.log.recall_at(reading, timestamp_ms),
                    timestamp_ms,
                }
            }
            PageSince::After(_) | PageSince::Newest | PageSince::Unknown => Place::Newest,
        }
    }

    pub(super) fn read_page(&self, now: Now, slot: u32, place: Place, from: PageFrom) -> Page {
        let mut page = match place {
            Place::After {
                sequence,
                timestamp_ms,
            } => self.collect(slot, sequence, timestamp_ms, from.member_since),
            Place::Newest | Place::Ahead(_) => self.collect_newest(slot, from.member_since),
        };
        page.is_reset |= self.has_lost_since(now, slot, from, &page);
        page
    }

    /// Whether something is missing between the place that was named and the page's position.
    fn has_lost_since(&self, now: Now, slot: u32, from: PageFrom, page: &Page) -> bool {
        let reading = self.reading_of(slot);
        let filter = &self.classes[self.table[slot].class as usize].key.filter;
        let source = self.source.as_ref();
        let source = source.expect("pages are read after the start");
        match from.since {
            PageSince::Unknown => true,
            PageSince::Newest => page.frames.first().is_some_and(|oldest| {
                let id = oldest.id();
                self.log.recall_lost(reading, filter, |lost| lost.id > id)
            }),
            PageSince::After(id) => {
                !source.lineage.admits(id)
                    || id < source.floor
                    || from.member_since.is_some_and(|since| id < since)
                    || self.log.recall_lost(reading, filter, |lost| lost.id > id)
            }
            PageSince::At(timestamp_ms) => {
                let wall_ms = i64::try_from(now.wall_ms).unwrap_or(i64::MAX);
                let timestamp_ms = timestamp_ms.min(wall_ms);
                timestamp_ms <= source.floor_ms
                    || self
                        .log
                        .recall_lost(reading, filter, |lost| lost.timestamp_ms >= timestamp_ms)
            }
        }
    }

    /// The events after a sequence that the page admits, oldest first.
    pub(super) fn collect(
        &self,
        slot: u32,
        mut sequence: u64,
        timestamp_ms: i64,
        member_since: Option<EventId>,
    ) -> Page {
        let key = &self.classes[self.table[slot].class as usize].key;
        let reading = self.reading_of(slot);
        let mut page = self.empty_page(self.applied());
        let (mut bytes, mut scanned) = (0, 0);
        let mut passed = None;
        while let Some((next, frame)) = self.log.recall_next(reading, sequence) {
            if scanned == PAGE_SCAN_MAX {
                page.is_cut = true;
                break;
            }
            scanned += 1;
            if is_admitted(key, frame) && frame.timestamp_ms() >= timestamp_ms {
                if member_since.is_some_and(|since| frame.id() < since) {
                    page.is_reset = true;
                } else if self.is_full(slot, &page, bytes + frame.json().len()) {
                    page.is_cut = true;
                    break;
                } else {
                    bytes += frame.json().len();
                    page.frames.push(frame.clone());
                }
            }
            passed = Some(frame.id());
            sequence = next;
        }
        if page.is_cut {
            page.position = passed.expect("a page is not full before its first event");
        }
        page
    }

    /// The newest events that the page admits, oldest first.
    fn collect_newest(&self, slot: u32, member_since: Option<EventId>) -> Page {
        let key = &self.classes[self.table[slot].class as usize].key;
        let reading = self.reading_of(slot);
        let mut page = self.empty_page(self.applied());
        let (mut bytes, mut scanned) = (0, 0);
        let mut sequence = u64::MAX;
        while let Some((previous, frame)) = self.log.recall_previous(reading, sequence) {
            if member_since.is_some_and(|since| frame.id() < since) {
                break;
            }
            if scanned == PAGE_SCAN_MAX {
                // There may be older ones, which nobody asked to leave out.
                page.is_reset = true;
                break;
            }
            scanned += 1;
            if is_admitted(key, frame) {
                if self.is_full(slot, &page, bytes + frame.json().len()) {
                    break;
                }
                bytes += frame.json().len();
                page.frames.push(frame.clone());
            }
            sequence = previous;
        }
        page.frames.reverse();
        page
    }

    /// Whether a page that would have so many bytes has no room for another event.
    fn is_full(&self, slot: u32, page: &Page, bytes: usize) -> bool {
        let count = page.frames.len();
        count >= usize::from(self.terms_of(slot).limit) || (count > 0 && bytes > PAGE_BYTES_MAX)
    }

    /// The position before the first event after a sequence, admitted or not.
    pub(super) fn place_before(&self, slot: u32, sequence: u64) -> EventId {
        let next = self.log.recall_next(self.reading_of(slot), sequence);
        next.map_or(self.applied(), |(_, frame)| EventId {
            index: frame.id().index.saturating_sub(1),
            ..frame.id()
        })
    }

    pub(super) fn empty_page(&self, position: EventId) -> Page {
        Page {
            frames: Vec::new(),
            is_reset: false,
            position,
            is_cut: false,
        }
    }
}
