//! What a stream has a right to be told of its beginning, of its resets and of its end: every one of them
//! has a cause, and what has none does not happen.

use wire::{CloseReason, EventId, Lsn, Resume};

use super::past::{Begin, Past};
use super::reader::Reader;
use crate::driver::Verdict;
use crate::{ResetReason, limits};

/// How long a stream is held for a position that lies ahead, in milliseconds.
pub(super) const HELD_MS: u64 = 15_000;

/// What is known of a stream beside the frames.
#[derive(Debug, Default)]
pub(super) struct Standing {
    /// What its `connected` event says, once that is known.
    begins: Option<(Verdict, EventId)>,
    held: Option<Held>,
    /// Resets that are due, each with the position that was applied when it became due.
    resets: Vec<(EventId, ResetReason)>,
    /// Why it has to end, or may have to.
    ends: Vec<End>,
}

/// A cause of its end.
#[derive(Debug)]
struct End {
    reason: CloseReason,
    since_ms: u64,
    /// From when on there is no other way; `None` where there may be, in milliseconds.
    certain_ms: Option<u64>,
}

/// It waits for a position.
#[derive(Debug)]
struct Held {
    id: EventId,
    then: Then,
    since_ms: u64,
    /// When it was let go on.
    until_ms: Option<u64>,
}

/// What becomes of it when that is reached.
#[derive(Clone, Copy, Debug)]
enum Then {
    Resumed,
    Live,
    Reset(ResetReason),
}

impl Standing {
    /// Of a stream that is granted now.
    pub(super) fn new(
        past: &Past,
        reader: &Reader,
        resume: Resume,
        since: Option<EventId>,
        now_ms: u64,
    ) -> Self {
        let mut new = Self::default();
        // While the past is read, who does not go on from a place in it waits for its end.
        let (id, then) = match past.begin(reader, resume, since) {
            Begin::Ahead(id) => (id, Then::Resumed),
            Begin::Live if past.is_read_anew() => (past.caught_up, Then::Live),
            Begin::Reset(reason) if past.is_read_anew() => (past.caught_up, Then::Reset(reason)),
            Begin::Live => {
                new.begins = Some((Verdict::Live, past.applied));
                return new;
            }
            Begin::Resumed(id) => {
                new.begins = Some((Verdict::Resumed, id));
                return new;
            }
            Begin::Reset(reason) => {
                new.reset(past, reason);
                return new;
            }
        };
        new.held = Some(Held {
            id,
            then,
            since_ms: now_ms,
            until_ms: None,
        });
        new
    }

    /// Whether it waits for a position.
    pub(super) fn is_held(&self) -> bool {
        self.waits().is_some()
    }

    /// What its `connected` event says, where that is known.
    pub(super) fn begins(&self) -> Option<(Verdict, EventId)> {
        self.begins
    }

    /// Whether a reset is due.
    pub(super) fn owes_reset(&self) -> bool {
        !self.resets.is_empty()
    }

    /// The applied position has moved on.
    pub(super) fn on_applied(&mut self, past: &Past, reader: &Reader, now_ms: u64) {
        let Some(held) = self.waits().filter(|held| held.id <= past.applied) else {
            return;
        };
        let (id, then) = (held.id, held.then);
        self.let_go(now_ms);
        match then {
            Then::Live => self.begins = Some((Verdict::Live, past.applied)),
            Then::Reset(reason) => self.reset(past, reason),
            Then::Resumed => match past.begin(reader, Resume::After(id), None) {
                Begin::Resumed(id) => self.begins = self.begins.or(Some((Verdict::Resumed, id))),
                Begin::Reset(reason) => self.reset(past, reason),
                begin => panic!("{begin:?} of a position that was reached"),
            },
        }
    }

    /// The server has flushed its log up to here: what lies beyond is nobody's position.
    pub(super) fn on_flushed(&mut self, past: &Past, flushed: Lsn, now_ms: u64) {
        let is_named = |held: &&Held| matches!(held.then, Then::Resumed);
        let Some(held) = self.waits().filter(is_named) else {
            return;
        };
        if self.begins.is_some() {
            // It was judged before.
        } else if held.id.lsn > flushed {
            self.let_go(now_ms);
            self.reset(past, ResetReason::UnknownPosition);
        } else {
            self.begins = Some((Verdict::Resumed, held.id));
        }
    }

    /// Changes were missed.
    pub(super) fn on_gap(&mut self, past: &Past, reason: ResetReason, now_ms: u64) {
        self.let_go(now_ms);
        self.reset(past, reason);
    }

    /// It has to end from a time on, or may have to, where there is none.
    pub(super) fn on_end(&mut self, reason: CloseReason, since_ms: u64, certain_ms: Option<u64>) {
        self.ends.push(End {
            reason,
            since_ms,
            certain_ms,
        });
    }

    /// Whether it ends for certain.
    pub(super) fn is_over(&self, now_ms: u64) -> bool {
        let mut certain = self.ends.iter().filter_map(|end| end.certain_ms);
        certain.any(|certain_ms| certain_ms <= now_ms)
    }

    /// Whether it was told to end at once, of whatever is still sent.
    pub(super) fn is_ended(&self) -> bool {
        self.ends
            .iter()
            .any(|end| end.certain_ms == Some(end.since_ms))
    }

    /// Whether it may have ended without a word to it.
    pub(super) fn may_be_over(&self, now_ms: u64) -> bool {
        !self.ends.is_empty() || self.ends_since(CloseReason::Lagging, now_ms).is_some()
    }

    /// Since when there is a cause of its end, in milliseconds, of those that are kept here.
    pub(super) fn ends_since(&self, reason: CloseReason, now_ms: u64) -> Option<u64> {
        let said = self.ends.iter().find(|end| end.reason == reason);
        let said = said.map(|end| end.since_ms);
        let lagging = self.held.as_ref().filter(|held| {
            let until_ms = held.until_ms.unwrap_or(now_ms);
            reason == CloseReason::Lagging && until_ms >= held.since_ms + HELD_MS
        });
        said.or(lagging.map(|held| held.since_ms + HELD_MS))
    }

    /// A `reset` came: it is one that was due, and the last one of those that were due by then. Returns its
    /// reason.
    pub(super) fn take_reset(&mut self, id: EventId, reason: &str) -> &'static str {
        let due = self.resets.partition_point(|(at, _)| *at <= id);
        let last = due.checked_sub(1).map(|last| self.resets[last].1);
        let last = last.expect("a reset without a cause");
        assert_eq!(reason, last.as_str(), "the reason of the reset at {id}");
        self.resets.drain(..due);
        last.as_str()
    }

    fn waits(&self) -> Option<&Held> {
        self.held.as_ref().filter(|held| held.until_ms.is_none())
    }

    fn let_go(&mut self, now_ms: u64) {
        if let Some(held) = self.held.as_mut().filter(|held| held.until_ms.is_none()) {
            held.until_ms = Some(now_ms);
        }
    }

    fn reset(&mut self, past: &Past, reason: ResetReason) {
        self.begins = self.begins.or(Some((Verdict::Reset, past.applied)));
        self.resets.push((past.applied, reason));
    }
}

/// The tick in which a session ends, of those of a tenth of a second in which the engine counts: rounded up.
pub(super) fn expiry_tick(monotonic_ms: u64, left_ms: u64) -> u64 {
    monotonic_ms.saturating_add(left_ms).div_ceil(100)
}

/// How long the last words of a stream may take, in milliseconds.
pub(super) const LAST_WORDS_MS: u64 = limits::LAST_WORDS_MS;
