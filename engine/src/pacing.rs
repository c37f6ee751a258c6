//! Pacing: resets and closes that concern everybody are spread over some seconds, so that ten
//! thousand pages do not refetch at one instant.

use wire::CloseReason;

use crate::record::{Bits, State};
use crate::{Engine, Now};

/// A walk over all slots that takes a while on purpose.
#[derive(Debug)]
pub(crate) struct Pace {
    what: What,
    next_slot: u32,
    end_slot: u32,
    start_ms: u64,
    spread_ms: u64,
    /// Streams are parked that this walk does not end: it is followed by one that resets them, over
    /// so many milliseconds.
    resets_after: Option<u64>,
}

/// What is done to each stream on the way.
#[derive(Clone, Copy, Debug)]
enum What {
    /// Parked streams get their `reset`.
    Reset,
    /// Streams get their `bye`.
    Close(CloseReason),
}

impl Pace {
    /// When the next slot is due, in milliseconds of the monotonic clock.
    pub(crate) fn next_ms(&self, now: Now) -> u64 {
        let slots = u64::from(self.end_slot).max(1);
        let due = self.start_ms + (u64::from(self.next_slot) + 1) * self.spread_ms / slots;
        due.max(now.monotonic_ms + 1)
    }

    /// How many milliseconds are left of it.
    fn left_ms(&self, now: Now) -> u64 {
        let end_ms = self.start_ms.saturating_add(self.spread_ms);
        end_ms.saturating_sub(now.monotonic_ms)
    }
}

impl Engine {
    /// Begins to reset the streams that are parked.
    pub(crate) fn pace_resets(&mut self, now: Now, spread_ms: u64) {
        match &mut self.pace {
            // Those that are about to be closed go on parked; whoever is left comes after them.
            Some(pace) if matches!(pace.what, What::Close(_)) => {
                pace.resets_after = Some(spread_ms);
            }
            _ => self.begin_pace(now, What::Reset, spread_ms, None),
        }
    }

    /// Begins to close every stream with `bye`. Where that has begun before, nobody is given more time by it.
    pub(crate) fn close_all(&mut self, now: Now, reason: CloseReason, spread_ms: u64) {
        let (spread_ms, resets_after) = match &self.pace {
            None => (spread_ms, None),
            Some(pace) => match pace.what {
                What::Reset => (spread_ms, Some(pace.spread_ms)),
                What::Close(_) => (spread_ms.min(pace.left_ms(now)), pace.resets_after),
            },
        };
        self.begin_pace(now, What::Close(reason), spread_ms, resets_after);
    }

    /// Does what is due by now.
    pub(crate) fn advance_pace(&mut self, now: Now) {
        let Some(pace) = &mut self.pace else { return };
        let elapsed_ms = now.monotonic_ms - pace.start_ms;
        let due = match elapsed_ms.checked_mul(u64::from(pace.end_slot)) {
            Some(product) if elapsed_ms < pace.spread_ms => (product / pace.spread_ms) as u32,
            _ => pace.end_slot,
        };
        let (what, slots) = (pace.what, pace.next_slot..due);
        pace.next_slot = due.max(pace.next_slot);
        let is_over = pace.next_slot == pace.end_slot;
        let resets_after = pace.resets_after.filter(|_| is_over);
        if is_over {
            self.pace = None;
        }
        for slot in slots {
            match what {
                What::Reset => self.unpark(now, slot),
                What::Close(reason) => self.end_stream(now, slot, reason),
            }
        }
        if let Some(spread_ms) = resets_after {
            self.begin_pace(now, What::Reset, spread_ms, None);
        }
    }

    fn begin_pace(&mut self, now: Now, what: What, spread_ms: u64, resets_after: Option<u64>) {
        let end_slot = self.table.end();
        let start_ms = now.monotonic_ms;
        self.pace = Some(Pace {
            what,
            next_slot: 0,
            end_slot,
            start_ms,
            spread_ms,
            resets_after,
        });
        self.advance_pace(now);
    }

    /// A parked stream goes on from now, after its `reset`.
    fn unpark(&mut self, now: Now, slot: u32) {
        let record = &mut self.table[slot];
        if record.state != State::Behind || !record.bits.has(Bits::PARKED) {
            return;
        }
        record.bits.set(Bits::PARKED, false);
        self.expect_heartbeat(now, slot);
        self.make_ready(slot);
    }
}
