//! What a page of history is to say, and whether it does: everything that is there, and a reset for a cause.

use wire::{CloseReason, EventId, Frame, PageSince};

use super::{Page, Said};
use crate::fuzzing::past::Past;
use crate::fuzzing::standing::HELD_MS;

impl Page {
    pub(super) fn check(&self, said: &Said<'_>, past: &Past, now_ms: u64) {
        let Said {
            shown, position, ..
        } = said;
        assert!(shown.len() <= usize::from(self.asked.limit));
        assert!(shown.is_sorted_by(|one, next| one < next), "out of order");
        let end = self.reader.revoked_at.unwrap_or(past.frames.len());
        let end = end.min(past.place_after(*position));
        let is_right = |at: &usize| {
            // What comes while it waits is shown whatever its time says: that is taken before its place.
            let comes_late = self.asked.wait_ms > 0 && *at >= self.came_at;
            let frame = &past.frames[*at];
            *at < end && (self.admits(frame) || comes_late && self.reader.is_for(frame))
        };
        assert!(shown.iter().all(is_right), "an event that is not for it");
        if let Some((reason, events)) = self.closed {
            let told = (reason, events as usize);
            assert_eq!(told, (CloseReason::Done, shown.len()), "control was told");
        }
        self.check_position(said, past);
        let is_reset = match said.verdict {
            "reset" => true,
            "complete" => false,
            verdict => panic!("{verdict} is no verdict"),
        };
        if self.is_vague {
            return;
        }
        if shown.is_empty() && !is_reset {
            let waited_ms = now_ms - self.asked.at_ms;
            let is_held = self.named.is_some() && waited_ms >= HELD_MS;
            let is_over = is_held || waited_ms >= self.asked.wait_ms;
            assert!(is_over, "it did not wait");
        }
        match self.start(past) {
            // When it began to wait is not known.
            None if self.asked.wait_ms > 0 && self.ahead.is_some() => {}
            Some(start) => self.check_forwards(said, is_reset, start..end, past),
            None => self.check_newest(said, is_reset, end, past),
        }
    }

    fn check_position(&self, said: &Said<'_>, past: &Past) {
        assert!(
            said.position <= past.applied || self.named == Some(said.position),
            "{} was not reached",
            said.position
        );
        let is_now = said.position >= self.applied;
        assert!(is_now || said.may_be_cut, "it ends at {}", said.position);
    }

    /// Where a page begins that is read forwards.
    fn start(&self, past: &Past) -> Option<usize> {
        match self.asked.since {
            PageSince::After(id) if self.is_known => Some(past.place_after(id)),
            PageSince::At(_) => Some(self.floor_place),
            // It found nothing, and waited for what comes next.
            PageSince::Newest if self.asked.wait_ms > 0 && self.ahead.is_none() => {
                let before = self.floor_place..self.came_at;
                let is_there = |at: usize| !past.is_gone(at) && self.admits(&past.frames[at]);
                (!before.into_iter().any(is_there)).then_some(self.came_at)
            }
            _ => None,
        }
    }

    fn admits(&self, frame: &Frame) -> bool {
        let is_late = self.since_ms().is_none_or(|ms| frame.timestamp_ms() >= ms);
        let since = self.asked.member_since;
        let is_late = is_late || self.is_vague;
        self.reader.is_for(frame) && is_late && since.is_none_or(|since| frame.id() >= since)
    }

    /// The time that was named, or now where that lies ahead.
    fn since_ms(&self) -> Option<i64> {
        match self.asked.since {
            PageSince::At(ms) => Some(ms.min(self.asked.wall_ms as i64)),
            _ => None,
        }
    }

    fn check_forwards(
        &self,
        said: &Said<'_>,
        is_reset: bool,
        range: std::ops::Range<usize>,
        past: &Past,
    ) {
        let start = range.start;
        // What is gone may be missing where the verdict says so.
        let is_due =
            |at: &usize| self.admits(&past.frames[*at]) && !(is_reset && past.is_gone(*at));
        let due: Vec<usize> = range.filter(is_due).collect();
        // Two of one id look the same: where the first is gone, it may be the second that is shown.
        let is_there = |at: &usize| {
            let is_it = |shown: &usize| {
                let looks_the_same = past.frames[*shown].id() == past.frames[*at].id();
                shown == at || is_reset && past.is_gone(*shown) && looks_the_same
            };
            said.shown.iter().any(is_it)
        };
        let missing = due.iter().find(|at| !is_there(at));
        // Of two of one id, the second may be for the next page.
        let is_next = |at: &usize| said.may_be_cut && past.frames[*at].id() == said.position;
        assert!(
            missing.is_none_or(is_next),
            "{missing:?} is missing: {said:?}"
        );
        let since = self.asked.member_since;
        let is_lost = match (self.asked.since, self.since_ms()) {
            (PageSince::After(id), _) => {
                since.is_some_and(|since| id < since) || self.may_lack(past, start)
            }
            (_, Some(ms)) => {
                let is_old = |frame: &Frame| since.is_some_and(|since| frame.id() < since);
                let is_cause = |at: usize| {
                    let frame = &past.frames[at];
                    let is_late = frame.timestamp_ms() >= ms || at >= self.came_at;
                    is_late && (past.is_gone(at) || is_old(frame))
                };
                ms <= self.floor_ms || (start..past.frames.len()).any(is_cause)
            }
            _ => self.may_lack(past, self.floor_place),
        };
        assert!(is_lost || !is_reset, "a reset without a cause: {said:?}");
        let is_old = |id: EventId| since.is_some_and(|since| id < since);
        let must_be = matches!(self.asked.since, PageSince::After(id) if is_old(id));
        assert!(is_reset || !must_be, "after a place before the membership");
    }

    /// Whether something may be gone from a place on: something of its topics went, and what of that is
    /// remembered may be of any topic.
    fn may_lack(&self, past: &Past, from: usize) -> bool {
        past.has_gone(&self.reader, 0) && (from..past.frames.len()).any(|at| past.is_gone(at))
    }

    fn check_newest(&self, said: &Said<'_>, is_reset: bool, end: usize, past: &Past) {
        let mut rest = said.shown.as_slice();
        let mut has_hole = false;
        for at in (self.floor_place..end).rev() {
            if rest.last() == Some(&at) {
                rest = &rest[..rest.len() - 1];
                assert!(is_reset || !has_hole, "one before {at} is missing");
            } else if rest.last().map(|last| past.frames[*last].id()) == Some(past.frames[at].id())
            {
                // Two of one id look the same: it may be this one that is shown.
            } else if self.admits(&past.frames[at]) {
                let is_full = rest.is_empty() && said.may_be_cut;
                assert!(is_full || past.is_gone(at), "the newest but one is missing");
                has_hole = true;
            }
        }
        assert!(rest.is_empty(), "what was before the gap");
        let is_foreign = self.asked.since != PageSince::Newest;
        assert!(is_reset || !is_foreign, "after a place that is nobody's");
        let first = said.shown.first().map(|first| past.frames[*first].id());
        let is_lost = first.is_some_and(|id| self.may_lack(past, past.place_after(id)));
        assert!(
            is_lost || is_foreign || !is_reset,
            "a reset without a cause"
        );
    }
}
