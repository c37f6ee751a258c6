//! How far back the engines' log reaches in time.

use std::collections::VecDeque;

/// How far back the log reaches in time, told from counts alone: which event was the newest at which
/// time.
#[derive(Default)]
pub(crate) struct LogSpan {
    /// Times and how many events had been taken by then, oldest first.
    samples: VecDeque<(u64, u64)>,
}

/// The most samples. When they are as many, every other one is dropped: the far past is told less
/// exactly.
const SAMPLES_MAX: usize = 1024;

impl LogSpan {
    /// Notes how many events have been taken by now, and how many of them are in the log.
    pub(crate) fn observe(&mut self, now_ms: u64, events: u64, log_events: u64) {
        if self
            .samples
            .back()
            .is_none_or(|(_, newest)| *newest < events)
        {
            self.samples.push_back((now_ms, events));
        }
        let evicted = events.saturating_sub(log_events);
        while self
            .samples
            .front()
            .is_some_and(|(_, newest)| *newest <= evicted)
        {
            self.samples.pop_front();
        }
        if self.samples.len() > SAMPLES_MAX {
            let mut keep = false;
            self.samples.retain(|_| {
                keep = !keep;
                keep
            });
        }
    }

    /// How long ago the oldest event of the log was taken, to the next sample.
    pub(crate) fn span_ms(&self, now_ms: u64) -> u64 {
        self.samples
            .front()
            .map_or(0, |(at_ms, _)| now_ms.saturating_sub(*at_ms))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_log_reaches_back_to_its_oldest_event() {
        let mut span = LogSpan::default();
        span.observe(1_000, 10, 10);
        span.observe(2_000, 20, 20);
        span.observe(3_000, 20, 20);
        assert_eq!(span.span_ms(5_000), 4_000);
        span.observe(6_000, 30, 15);
        assert_eq!(span.span_ms(6_000), 4_000, "the first ten are evicted");
        span.observe(7_000, 30, 0);
        assert_eq!(span.span_ms(9_000), 0, "the log is empty");
        (0..10_000).for_each(|n| span.observe(n, 31 + n, 31 + n));
        assert!(span.samples.len() <= SAMPLES_MAX);
    }
}
