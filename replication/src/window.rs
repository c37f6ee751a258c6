//! The window: up to which position the history need not be kept any more, because it is old enough or
//! because more than enough was written since, whichever comes first.
//!
//! By the server's clock alone, so that a node whose clock is wrong forgets nothing too early; and
//! never beyond what was handed over.

use std::collections::VecDeque;

use wire::Lsn;

use crate::limits::WINDOW_MARKS_MAX;

/// Positions that were handed over, each with the time of it.
#[derive(Debug)]
pub(crate) struct Window {
    window_ms: i64,
    /// How much of the log is kept at the most; `u64::MAX` where there is no bound.
    window_bytes: u64,
    /// Marks lie apart by this time or by so many bytes at least.
    spacing_ms: i64,
    spacing_bytes: u64,
    marks: VecDeque<(i64, Lsn)>,
    /// The newest position that may be forgotten.
    horizon: Option<Lsn>,
}

impl Window {
    /// A window of this time, and of so many bytes of the log; 0 of these is no bound.
    pub(crate) fn new(window_ms: u64, window_bytes: u64) -> Self {
        let window_ms = i64::try_from(window_ms).unwrap_or(i64::MAX / 2);
        let window_bytes = match window_bytes {
            0 => u64::MAX,
            bytes => bytes,
        };
        // A third of the marks cover the time and a third the bytes, so that none of the window is lost
        // when the oldest are.
        let spacing_ms = (window_ms / WINDOW_MARKS_MAX as i64 * 3).max(100);
        let spacing_bytes = (window_bytes / WINDOW_MARKS_MAX as u64 * 3).max(1);
        Self {
            window_ms,
            window_bytes,
            spacing_ms,
            spacing_bytes,
            marks: VecDeque::new(),
            horizon: None,
        }
    }

    /// Everything up to a position was handed over, and committed at this time.
    pub(crate) fn mark(&mut self, at_ms: i64, lsn: Lsn) {
        let (last_ms, last) = self.marks.back().copied().unwrap_or((i64::MIN, Lsn(0)));
        let is_far = lsn.0.saturating_sub(last.0) >= self.spacing_bytes;
        if at_ms < last_ms.saturating_sub(self.spacing_ms) {
            // The clock was put back: what was marked in its future would wait for it to come round.
            while self
                .marks
                .pop_back_if(|(marked_ms, _)| *marked_ms > at_ms)
                .is_some()
            {}
        } else if at_ms.saturating_sub(last_ms) < self.spacing_ms && !is_far {
            return;
        }
        if self.marks.len() == WINDOW_MARKS_MAX {
            self.marks.pop_front();
        }
        self.marks.push_back((at_ms, lsn));
    }

    /// Up to where the log may be forgotten, where the server has written it up to `end`.
    pub(crate) fn horizon(&mut self, now_ms: i64, end: Lsn) -> Option<Lsn> {
        while let Some((_, lsn)) = self.marks.pop_front_if(|(at_ms, lsn)| {
            now_ms.saturating_sub(*at_ms) >= self.window_ms
                || end.0.saturating_sub(lsn.0) >= self.window_bytes
        }) {
            self.horizon = self.horizon.max(Some(lsn));
        }
        self.horizon
    }

    /// How much of the log may be kept, in bytes.
    pub(crate) fn bytes_max(&self) -> u64 {
        self.window_bytes
    }

    /// What lies before a position is of no use to anybody any more.
    pub(crate) fn cut(&mut self, lsn: Lsn) {
        self.marks.retain(|(_, marked)| *marked > lsn);
        self.horizon = self.horizon.max(Some(lsn));
    }

    /// Positions of before mean nothing any more.
    pub(crate) fn clear(&mut self) {
        self.marks.clear();
        self.horizon = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// So far, that no bound in bytes is met.
    const NO_END: Lsn = Lsn(0);

    #[test]
    fn the_horizon_is_the_newest_position_that_is_old_enough() {
        let mut window = Window::new(10_000, 0);
        for second in 0..20 {
            window.mark(second * 1_000, Lsn(100 + second as u64));
        }
        assert_eq!(window.horizon(9_999, Lsn(u64::MAX - 1)), None);
        assert_eq!(window.horizon(10_000, NO_END), Some(Lsn(100)));
        assert_eq!(window.horizon(15_500, NO_END), Some(Lsn(105)));
        assert_eq!(window.horizon(15_600, NO_END), Some(Lsn(105)));
        assert_eq!(window.horizon(1_000_000, NO_END), Some(Lsn(119)));
    }

    #[test]
    fn or_the_newest_after_which_enough_was_written() {
        let mut window = Window::new(10_000, 1 << 20);
        let marked: Vec<u64> = (1..=64).map(|at| at << 16).collect();
        for lsn in &marked {
            window.mark(0, Lsn(*lsn));
        }
        for end in [0, 1 << 20, 2 << 20, 3 << 20] {
            let expected = marked.iter().rfind(|lsn| *lsn + (1 << 20) <= end);
            assert_eq!(window.horizon(0, Lsn(end)), expected.map(|lsn| Lsn(*lsn)));
        }
        assert_eq!(window.horizon(10_000, NO_END), Some(Lsn(64 << 16)));
    }

    #[test]
    fn a_clock_that_is_put_back_does_not_keep_the_log_for_ever() {
        let mut window = Window::new(10_000, 0);
        window.mark(0, Lsn(1));
        window.mark(1_000_000_000, Lsn(2));
        window.mark(5_000, Lsn(3));
        assert_eq!(window.horizon(14_000, NO_END), Some(Lsn(1)));
        assert_eq!(window.horizon(15_000, NO_END), Some(Lsn(3)));
    }

    #[test]
    fn what_was_cut_off_may_be_forgotten_at_once() {
        let mut window = Window::new(10_000, 0);
        for second in 0..5 {
            window.mark(second * 1_000, Lsn(100 + second as u64));
        }
        window.cut(Lsn(102));
        assert_eq!(window.horizon(0, NO_END), Some(Lsn(102)));
        assert_eq!(window.horizon(13_000, NO_END), Some(Lsn(103)));
    }

    #[test]
    fn many_positions_cost_no_more_than_the_bound_and_hide_neither_age_nor_bytes() {
        for bytes_each in [1, 100_000] {
            let mut window = Window::new(300_000, 512 << 20);
            let mut horizon = None;
            for at in 0..600_000_u64 {
                let lsn = Lsn(at * bytes_each);
                window.mark(at as i64, lsn);
                horizon = window.horizon(at as i64, lsn);
                assert!(
                    window.marks.len() < WINDOW_MARKS_MAX,
                    "some are always left"
                );
            }
            let kept = 600_000 - horizon.unwrap().0 / bytes_each;
            let expected = 300_000.min((512 << 20) / bytes_each);
            assert!(
                (expected..expected * 51 / 50).contains(&kept),
                "{kept} {expected}"
            );
        }
    }
}
