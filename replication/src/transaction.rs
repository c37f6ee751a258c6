//! A transaction while it is read: its frames, gathered until there are enough to hand over.

use wire::{Frame, Lineage, Lsn};

use crate::batches::Batches;
use crate::events::Place;
use crate::limits::BATCH_BYTES_MAX;
use crate::membership::Origin;
use crate::protocol::Malformed;
use crate::time::unix_ms;

/// A transaction between its begin and its commit.
#[derive(Debug)]
pub(crate) struct Transaction {
    /// Where its commit record begins: known from the start, since only committed ones are sent.
    pub(crate) commit: Lsn,
    pub(crate) commit_ms: i64,
    pub(crate) xid: u32,
    /// How many changes were read.
    ordinal: u32,
    frames: Vec<Frame>,
    bytes: usize,
    batches: Batches,
    /// Whether a part of it was handed over.
    pub(crate) flushed: bool,
    /// Whether something else of it was handed over.
    pub(crate) has_effects: bool,
}

impl Transaction {
    /// A transaction of which nothing has been read.
    pub(crate) fn begin(commit: Lsn, commit_us: i64, xid: u32, batches: Batches) -> Self {
        Self {
            commit,
            commit_ms: unix_ms(commit_us),
            xid,
            ordinal: 0,
            frames: Vec::new(),
            bytes: 0,
            batches,
            flushed: false,
            has_effects: false,
        }
    }

    /// Counts a change, before anything is known of where it goes.
    pub(crate) fn next_ordinal(&mut self) -> Result<u32, Malformed> {
        self.ordinal = self.ordinal.checked_add(1).ok_or(Malformed::TooMany)?;
        Ok(self.ordinal)
    }

    /// Gathers the frames of one change, and returns those before it if they have to go first.
    pub(crate) fn gather(&mut self, frames: impl IntoIterator<Item = Frame>) -> Option<Vec<Frame>> {
        let before = self.frames.len();
        self.frames.extend(frames);
        let bytes: usize = self.frames[before..]
            .iter()
            .map(|frame| frame.bytes().len())
            .sum();
        if before > 0 && self.bytes + bytes > BATCH_BYTES_MAX {
            let newest = self.frames.split_off(before);
            let before = self.flush(false);
            self.frames = newest;
            self.bytes = bytes;
            return Some(before);
        }
        self.bytes += bytes;
        None
    }

    /// Whether nothing is gathered.
    pub(crate) fn is_empty(&self) -> bool {
        self.frames.is_empty()
    }

    /// Everything that is gathered, in the order of the ids. `is_end` says that nothing follows.
    pub(crate) fn flush(&mut self, is_end: bool) -> Vec<Frame> {
        let frames = std::mem::take(&mut self.frames);
        let is_whole = is_end && !self.flushed;
        self.flushed = true;
        self.bytes = 0;
        self.batches.apply(frames, is_whole, self.commit_ms)
    }

    /// Forgets what was not handed over, since it is read again from the beginning. What was handed over
    /// counts on, so that the batches of the rest are those of a transaction that never broke.
    pub(crate) fn forget(&mut self) {
        self.frames.clear();
        (self.ordinal, self.bytes) = (0, 0);
    }

    /// Whether it lies before a position that was handed over whole.
    pub(crate) fn is_before(&self, lineage: &Lineage, emitted: wire::EventId) -> bool {
        lineage.position(self.commit, u32::MAX) <= emitted
    }
}

/// Where a change comes from that has a place in a transaction.
pub(crate) fn origin(transaction: Option<&Transaction>, place: Place) -> Origin {
    Origin {
        at: place.id,
        xid: transaction.expect("a change has a place in one").xid,
        commit_ms: place.commit_ms,
    }
}
