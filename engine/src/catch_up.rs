//! Catching up: what connections that are behind are sent, from their own place in the log.
//!
//! What one of them is sent is copied once into a scratch buffer of the thread, since it is its own;
//! a group of them goes down in one call.

use std::ops::Range;

use arrayvec::ArrayVec;
use bytes::{Buf as _, Bytes};
use wire::{CloseReason, Format};

use crate::behind::Partial;
use crate::class::Class;
use crate::driver::{Close, Outcome, Transmit, Watch};
use crate::limits::{GROUP_MAX, LINGER_MS, SCRATCH_BYTES_MAX, SLICE_BYTES_MAX};
use crate::log::{Entry, Reading};
use crate::planted::EVICT_WITHOUT_VERDICT;
use crate::record::{Bits, State};
use crate::step::{is_admitted, slack_bytes};
use crate::time::Tick;
use crate::{Driver, Engine, Now};

/// Where what is sent to connections that are behind is put together. It is kept for the next group.
#[derive(Debug, Default)]
pub(crate) struct Scratch {
    pub(crate) bytes: Vec<u8>,
    parts: Vec<Part>,
}

impl Scratch {
    /// Puts a frame from a place in it on, at most as much as a slice: what a frame of any size costs is
    /// then what of it is taken. Returns whether it was cut.
    fn put(&mut self, entry: &Entry, format: Format, sent: u32) -> bool {
        let (before, sent) = (self.bytes.len(), sent as usize);
        if format == Format::Event {
            let rest = &entry.frame.bytes()[sent..];
            let rest = &rest[..rest.len().min(SLICE_BYTES_MAX + 1)];
            self.bytes.extend_from_slice(rest);
        } else {
            entry.frame.write(format, &mut self.bytes);
            self.bytes.drain(before..before + sent);
        }
        let is_cut = self.bytes.len() - before > SLICE_BYTES_MAX;
        self.bytes.truncate(before + SLICE_BYTES_MAX);
        self.parts.push(Part {
            sequence: entry.sequence,
            len: (self.bytes.len() - before) as u32,
            is_cut,
        });
        is_cut
    }

    fn clear(&mut self) {
        self.bytes.clear();
        self.parts.clear();
        self.bytes.shrink_to(SCRATCH_BYTES_MAX);
    }
}

/// What one connection is sent: a range of the scratch buffer, and what lies in it.
#[derive(Debug)]
struct Parcel {
    slot: u32,
    /// The bytes, as a range of the scratch buffer.
    bytes: Range<usize>,
    /// How many bytes of `Behind::pending` come first.
    pending: usize,
    /// The frames that follow, as a range of the parts.
    parts: Range<usize>,
    /// The place that is reached when all is taken.
    reaches: u64,
}

/// A frame in a parcel, or a piece of one.
#[derive(Clone, Copy, Debug)]
struct Part {
    sequence: u64,
    len: u32,
    /// The frame goes on after it.
    is_cut: bool,
}

/// The log has moved on past what a stream was in the middle of.
struct TooSlow;

impl Engine {
    /// Sends to the next group of connections that are behind and not blocked.
    pub(crate) fn catch_up(&mut self, now: Now, driver: &mut dyn Driver) {
        if self.ready.is_empty() {
            return;
        }
        let mut scratch = std::mem::take(&mut self.scratch);
        let mut parcels = ArrayVec::<Parcel, GROUP_MAX>::new();
        let (mut pages, mut page_bytes) = (0, 0);
        while parcels.len() < self.group
            && pages < self.group
            && scratch.bytes.len() + page_bytes + SLICE_BYTES_MAX <= SCRATCH_BYTES_MAX
        {
            let Some(slot) = self.ready.pop_front() else {
                break;
            };
            if !self.take_ready(slot) {
                continue;
            }
            if self.table[slot].state == State::Behind && self.table[slot].bits.has(Bits::PAGE) {
                pages += 1;
                page_bytes += self.serve_page(now, slot);
                continue;
            }
            if self.is_open_stream(slot) && self.has_expired(now, slot) {
                // Nothing is sent after the end of a session, whenever the socket takes it. It stands
                // in the queue again, for its last words.
                self.end_stream(now, slot, CloseReason::SessionExpired);
                continue;
            }
            self.render_due(now, slot);
            match self.fill(slot, &mut scratch) {
                // What was put together for it by then is in nobody's range.
                Err(TooSlow) => self.close(now, slot, CloseReason::TooSlow, Close::Reset, driver),
                Ok(parcel) if parcel.bytes.is_empty() => {
                    self.settle_parcel(now, &parcel, &[], Outcome::Taken(0), driver);
                }
                Ok(parcel) => parcels.push(parcel),
            }
        }
        self.send_parcels(now, &parcels, &scratch, driver);
        scratch.clear();
        self.scratch = scratch;
    }

    /// The socket takes bytes again.
    pub(crate) fn unblock(&mut self, slot: u32) {
        let record = &self.table[slot];
        if !matches!(record.state, State::Behind | State::Held | State::Finishing) {
            return;
        }
        let behind = &mut self.behind[record.side as usize];
        behind.is_blocked = false;
        if let Some(number) = behind.long_stalled.take() {
            self.responses.go_on(number);
        }
        self.make_ready(slot);
    }

    /// Whether the connection still is what it was when it was put into the queue.
    fn take_ready(&mut self, slot: u32) -> bool {
        let record = &self.table[slot];
        if !matches!(record.state, State::Behind | State::Held | State::Finishing) {
            return false;
        }
        let behind = &mut self.behind[record.side as usize];
        std::mem::take(&mut behind.is_ready) && !behind.is_blocked
    }

    /// Puts together what a connection is sent next: what is pending, what is left of a frame, and
    /// frames up to the boundary of its class.
    fn fill(&self, slot: u32, scratch: &mut Scratch) -> Result<Parcel, TooSlow> {
        let record = &self.table[slot];
        let behind = &self.behind[record.side as usize];
        let (start, first) = (scratch.bytes.len(), scratch.parts.len());
        // However large a response is, what is copied for a try is what a socket may take.
        let pending = behind.pending.len().min(SLICE_BYTES_MAX);
        scratch.bytes.extend_from_slice(&behind.pending[..pending]);
        let mut parcel = Parcel {
            slot,
            bytes: start..scratch.bytes.len(),
            pending,
            parts: first..first,
            reaches: behind.cursor,
        };
        if record.state != State::Behind || pending < behind.pending.len() {
            return Ok(parcel);
        }
        let class = &self.classes[record.class as usize];
        let reading = self.reading_of(slot);
        let mut place = behind.cursor;
        if let Some(partial) = behind.partial {
            let entry = self.log.next(reading, partial.sequence - 1);
            let entry = entry
                .filter(|entry| entry.sequence == partial.sequence)
                .ok_or(TooSlow)?;
            if scratch.put(entry, class.key.format, partial.sent) {
                parcel.bytes.end = scratch.bytes.len();
                parcel.parts.end = scratch.parts.len();
                return Ok(parcel);
            }
            place = partial.sequence;
        }
        let is_open = record.bye.is_none()
            && record.reset.is_none()
            && !record.bits.has(Bits::PARKED)
            && !record.bits.has(Bits::SUBSCRIPTION)
            && !record.bits.has(Bits::AUTH);
        if is_open {
            if self.log.has_lost(reading, place) && !EVICT_WITHOUT_VERDICT {
                return Err(TooSlow);
            }
            place = self.fill_frames(reading, class, place, start, scratch);
        }
        parcel.bytes.end = scratch.bytes.len();
        parcel.parts.end = scratch.parts.len();
        parcel.reaches = place;
        Ok(parcel)
    }

    /// Puts frames after a place into the parcel that starts at `start`, up to the boundary of the
    /// class. Returns the place that is reached with them.
    fn fill_frames(
        &self,
        reading: Reading,
        class: &Class,
        mut place: u64,
        start: usize,
        scratch: &mut Scratch,
    ) -> u64 {
        let boundary = class.boundary(self.log.head());
        let format = class.key.format;
        for entry in self.log.after(reading, place) {
            if entry.sequence > boundary {
                break;
            }
            if is_admitted(&class.key, &entry.frame) {
                let len = scratch.bytes.len() - start;
                let frame_len = entry.frame.bytes().len() + slack_bytes(format);
                if len != 0 && len + frame_len > SLICE_BYTES_MAX {
                    return place;
                }
                if scratch.put(entry, format, 0) {
                    return place;
                }
            }
            place = entry.sequence;
        }
        place.max(boundary)
    }

    fn send_parcels(
        &mut self,
        now: Now,
        parcels: &[Parcel],
        scratch: &Scratch,
        driver: &mut dyn Driver,
    ) {
        if parcels.is_empty() {
            return;
        }
        let transmit = |parcel: &Parcel| Transmit {
            connection: self.table.handle(parcel.slot),
            bytes: &scratch.bytes[parcel.bytes.clone()],
            outcome: Outcome::Pending,
        };
        let mut group: ArrayVec<Transmit<'_>, GROUP_MAX> = parcels.iter().map(transmit).collect();
        driver.send(&mut group);
        // By reference: a group is 12 KiB, which nobody needs to move.
        for (parcel, send) in parcels.iter().zip(&group) {
            let parts = &scratch.parts[parcel.parts.clone()];
            self.settle_parcel(now, parcel, parts, send.outcome, driver);
        }
    }

    /// Moves a connection on by what its socket took.
    fn settle_parcel(
        &mut self,
        now: Now,
        parcel: &Parcel,
        parts: &[Part],
        outcome: Outcome,
        driver: &mut dyn Driver,
    ) {
        let slot = parcel.slot;
        let mut taken = match outcome {
            Outcome::Pending => panic!("the driver left a send without an outcome"),
            Outcome::Broken => {
                self.counters.send_failures += 1;
                self.close(now, slot, CloseReason::ClientGone, Close::Orderly, driver);
                return;
            }
            Outcome::Taken(taken) => taken,
        };
        let record = &mut self.table[slot];
        let behind = &mut self.behind[record.side as usize];
        let of_pending = taken.min(parcel.pending);
        behind.pending.advance(of_pending);
        taken -= of_pending;
        let mut is_whole = of_pending == parcel.pending;
        for part in parts {
            if !is_whole {
                break;
            }
            if taken >= part.len as usize && !part.is_cut {
                taken -= part.len as usize;
                behind.cursor = part.sequence;
                behind.partial = None;
                record.events = record.events.wrapping_add(1);
                self.counters.deliveries += 1;
                Self::quiet_sent(&mut self.quiet, now, slot);
                continue;
            }
            // Nothing follows a piece; all of it may have been taken.
            is_whole = taken == part.len as usize;
            if taken > 0 {
                let before = behind.partial.map_or(0, |partial| partial.sent);
                let sent = before + taken as u32;
                behind.partial = Some(Partial {
                    sequence: part.sequence,
                    sent,
                });
            }
        }
        if !is_whole {
            self.block(now, slot, driver);
            return;
        }
        behind.cursor = behind.cursor.max(parcel.reaches);
        if behind.is_whole() {
            // Empty it may still hold on to what it was.
            behind.pending = Bytes::new();
        } else {
            self.make_ready(slot);
            return;
        }
        if record.state == State::Finishing {
            self.linger(now, slot, driver);
        } else {
            self.proceed(now, slot);
        }
    }

    /// All is written: ends our direction, and reads what still comes, so that closing does not eat
    /// our last words.
    fn linger(&mut self, now: Now, slot: u32, driver: &mut dyn Driver) {
        self.drop_behind(self.table[slot].side);
        let record = &mut self.table[slot];
        record.side = crate::record::NONE;
        record.state = State::Lingering;
        record.events = 0;
        self.table.set_deadline(slot, Tick::after(now, LINGER_MS));
        driver.finish(self.table.handle(slot));
        driver.watch(self.table.handle(slot), Watch::Readable);
    }
}
