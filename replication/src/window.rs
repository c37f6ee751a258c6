//! The window: which position is as old as the history that is to be kept.
//!
//! By the server's clock alone, so that a node whose clock is wrong forgets nothing too early.

use std::collections::VecDeque;

use wire::Lsn;

use crate::limits::WINDOW_MARKS_MAX;

/// Positions that were handed over, each with the time of it.
#[derive(Debug)]
pub(crate) struct Window {
    window_ms: i64,
    /// How far marks lie apart at least.
    spacing_ms: i64,
    marks: VecDeque<(i64, Lsn)>,
    /// The newest position that is old enough.
    horizon: Option<Lsn>,
}

impl Window {
    pub(crate) fn new(window_ms: u64) -> Self {
        let window_ms = i64::try_from(window_ms).unwrap_or(i64::MAX / 2);
        // Half of the marks cover the window, so that none of it is lost when the oldest are.
        let spacing_ms = (2 * window_ms / WINDOW_MARKS_MAX as i64).max(100);
        Self {
            window_ms,
            spacing_ms,
            marks: VecDeque::new(),
            horizon: None,
        }
    }

    /// Everything up to a position was handed over, and committed at this time.
    pub(crate) fn mark(&mut self, at_ms: i64, lsn: Lsn) {
        let last_ms = self.marks.back().map_or(i64::MIN, |(at_ms, _)| *at_ms);
        if at_ms < last_ms.saturating_sub(self.spacing_ms) {
            // The clock was put back: what was marked in its future would wait for it to come round.
            while self
                .marks
                .pop_back_if(|(marked_ms, _)| *marked_ms > at_ms)
                .is_some()
            {}
        } else if at_ms.saturating_sub(last_ms) < self.spacing_ms {
            return;
        }
        if self.marks.len() == WINDOW_MARKS_MAX {
            self.marks.pop_front();
        }
        self.marks.push_back((at_ms, lsn));
    }

    /// Up to where the log may be forgotten.
    pub(crate) fn horizon(&mut self, now_ms: i64) -> Option<Lsn> {
        while let Some((_, lsn)) = self
            .marks
            .pop_front_if(|(at_ms, _)| now_ms.saturating_sub(*at_ms) >= self.window_ms)
        {
            self.horizon = self.horizon.max(Some(lsn));
        }
        self.horizon
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

    #[test]
    fn the_horizon_is_the_newest_position_that_is_old_enough() {
        let mut window = Window::new(10_000);
        for second in 0..20 {
            window.mark(second * 1_000, Lsn(100 + second as u64));
        }
        assert_eq!(window.horizon(9_999), None);
        assert_eq!(window.horizon(10_000), Some(Lsn(100)));
        assert_eq!(window.horizon(15_500), Some(Lsn(105)));
        assert_eq!(window.horizon(15_600), Some(Lsn(105)));
        assert_eq!(window.horizon(1_000_000), Some(Lsn(119)));
    }

    #[test]
    fn a_clock_that_is_put_back_does_not_keep_the_log_for_ever() {
        let mut window = Window::new(10_000);
        window.mark(0, Lsn(1));
        window.mark(1_000_000_000, Lsn(2));
        window.mark(5_000, Lsn(3));
        assert_eq!(window.horizon(14_000), Some(Lsn(1)));
        assert_eq!(window.horizon(15_000), Some(Lsn(3)));
    }

    #[test]
    fn many_positions_cost_no_more_than_the_bound_and_hide_no_age() {
        let mut window = Window::new(300_000);
        for at in 0..600_000 {
            window.mark(at, Lsn(at as u64));
        }
        assert!(window.marks.len() <= WINDOW_MARKS_MAX);
        let Lsn(horizon) = window.horizon(600_000).unwrap();
        assert!((297_000..=300_000).contains(&horizon), "{horizon}");
    }
}
