//! What a client has to be told in time, and why it may end.

use wire::CloseReason;

use super::Client;
use crate::fuzzing::past::Past;
use crate::fuzzing::standing::LAST_WORDS_MS;
use crate::limits;

impl Client {
    /// Whether it has everything, and was told everything: it takes what it is sent, and nothing is pending.
    pub(in crate::fuzzing) fn check_is_complete(&mut self, past: &Past, now_ms: u64) {
        let (_, last) = self.places(past);
        let is_reset = !self.owes_reset && self.floor.is_none() && !self.standing.owes_reset();
        assert!(is_reset, "no reset came");
        let has_right = self.came.reader.revoked_at.is_none();
        assert!(
            has_right && !self.standing.is_over(now_ms),
            "it outlived its right"
        );
        let next = self.came.reader.next_for(&past.frames, last);
        assert!(
            next >= past.frames.len(),
            "{} never came",
            past.frames[next].id()
        );
        let told = &self.asked[self.told];
        assert_eq!(Some(told), self.asked.last(), "a subscription never came");
        // Whatever comes from now on comes after all that there is.
        self.places = Some((past.frames.len(), past.frames.len()));
        self.is_in_step = true;
    }

    /// Whether it was told of everything that is due in time, where time has gone on by small steps for as
    /// long as the longest of these takes: a heartbeat, the end of its session, and that it is idle.
    pub(in crate::fuzzing) fn check_is_in_time(
        &self,
        now_ms: u64,
        heartbeat_ms: u64,
        idle_close_ms: u64,
        last_commit_ms: u64,
    ) {
        let slack_ms = 4 * limits::SCAN_MS;
        let silent_ms = now_ms - self.heard_ms;
        assert!(
            silent_ms < heartbeat_ms + slack_ms,
            "silent for {silent_ms} ms"
        );
        let left_ms = self.expires_ms().map(|end_ms| end_ms + slack_ms);
        assert!(
            left_ms.is_none_or(|left| now_ms < left),
            "its session is over"
        );
        let warned_ms = left_ms.map(|left_ms| left_ms.saturating_sub(limits::AUTH_NOTICE_MS));
        let is_warned = !self.is_unwarned || warned_ms.is_none_or(|warned| now_ms < warned);
        assert!(
            is_warned,
            "the end of its session is near, and it was not told"
        );
        // Who came into step in the very tick of a sweep counts as swept.
        let idle_ms = now_ms - self.last_event_ms.max(last_commit_ms);
        let is_idle = idle_close_ms > 0 && idle_ms >= idle_close_ms + slack_ms;
        assert!(!is_idle, "idle for {idle_ms} ms");
    }

    /// Since when there is a cause for such an end, in milliseconds.
    fn ends_since(&self, reason: CloseReason, now_ms: u64, idle_close_ms: u64) -> Option<u64> {
        match reason {
            CloseReason::SessionExpired => self.expires_ms(),
            // When the last event was is known to the tick.
            CloseReason::Idle => {
                (idle_close_ms > 0).then(|| (self.last_event_ms / 100 * 100) + idle_close_ms)
            }
            _ => None,
        }
        .filter(|since_ms| *since_ms <= now_ms)
        .or(self.standing.ends_since(reason, now_ms))
    }

    /// Holds an end that control was told of against its causes. `short_ms` says since when its socket has
    /// taken nothing, and `is_broken` that it is.
    pub(in crate::fuzzing) fn check_end(
        &self,
        reason: CloseReason,
        past: &Past,
        (now_ms, idle_close_ms): (u64, u64),
        (is_broken, short_ms): (bool, Option<u64>),
    ) {
        match reason {
            CloseReason::ClientGone => assert!(is_broken, "the client is there"),
            CloseReason::TooSlow => {
                let is_stalled =
                    short_ms.is_some_and(|since_ms| now_ms >= since_ms + limits::STALL_MS);
                let begins = self.standing.begins();
                let begins = begins.map(|(_, id)| (past.place_after(id), 0));
                let (first, _) = self.places.or(begins).expect("it has begun");
                let is_evicted = past.has_gone(&self.came.reader, first);
                assert!(is_stalled || is_evicted, "it was not too slow");
                // That its end is near is told at its own place.
                let is_in_step = self.is_in_step && !self.is_near_its_end(now_ms);
                assert!(
                    is_stalled || !is_in_step,
                    "who is in time is shown everything"
                );
            }
            _ => assert!(
                self.ends_since(reason, now_ms, idle_close_ms).is_some(),
                "{reason:?} without a cause"
            ),
        }
    }

    /// Whether its last words have had their time, so that the connection may be reset.
    pub(in crate::fuzzing) fn is_overdue(
        &self,
        past: &Past,
        now_ms: u64,
        idle_close_ms: u64,
    ) -> bool {
        self.closed.is_some_and(|reason| {
            let since_ms = self.ends_since(reason, now_ms, idle_close_ms);
            // The rest of the frame before its last words may be gone.
            let is_evicted = || {
                let (first, _) = self.places.unwrap_or_default();
                self.is_half_sent() && past.has_gone(&self.came.reader, first)
            };
            reason == CloseReason::TooSlow
                || is_evicted()
                || since_ms.is_some_and(|since_ms| now_ms >= since_ms + LAST_WORDS_MS)
        })
    }

    /// Whether it may have ended by itself: what it is told then is not known beforehand.
    pub(in crate::fuzzing) fn may_be_over(&self, now_ms: u64, idle_close_ms: u64) -> bool {
        let is_idle = self.ends_since(CloseReason::Idle, now_ms, idle_close_ms);
        self.has_expired(now_ms) || is_idle.is_some() || self.standing.may_be_over(now_ms)
    }

    /// Whether its session has ended.
    pub(in crate::fuzzing) fn has_expired(&self, now_ms: u64) -> bool {
        self.expires_ms().is_some_and(|end_ms| now_ms >= end_ms)
    }

    /// The end of its session has moved.
    pub(in crate::fuzzing) fn move_expiry(&mut self, tick: u64, now_ms: u64) {
        self.stray_warnings += u32::from(self.is_unwarned && self.is_near_its_end(now_ms));
        self.came.expires = Some(tick);
        self.is_unwarned = true;
        self.is_in_step = false;
    }

    fn expires_ms(&self) -> Option<u64> {
        self.came.expires.map(|tick| 100 * tick)
    }

    pub(super) fn is_near_its_end(&self, now_ms: u64) -> bool {
        let end_ms = self.expires_ms();
        end_ms.is_some_and(|end_ms| now_ms + limits::AUTH_NOTICE_MS >= end_ms)
    }
}
