//! An engine's counters as other threads read them: published now and then, without a lock. What is
//! counted is the engine's matter.

use std::sync::atomic::{AtomicU64, Ordering};

use engine::Counters;

/// The counters of one engine, as last published.
///
/// Each figure is true for itself; two of them may be of different moments, which metrics can bear.
#[derive(Debug)]
pub(crate) struct PublishedCounters {
    figures: Vec<AtomicU64>,
}

impl PublishedCounters {
    /// All zero.
    pub(crate) fn new() -> Self {
        let mut figures = Vec::new();
        for_each_figure(&mut Counters::default(), |_| {
            figures.push(AtomicU64::new(0))
        });
        Self { figures }
    }

    /// Called by the engine's own thread.
    pub(crate) fn publish(&self, counters: &Counters) {
        let mut figures = self.figures.iter();
        for_each_figure(&mut counters.clone(), |value| {
            let figure = figures.next().expect("as many as the type has");
            figure.store(*value, Ordering::Relaxed);
        });
    }

    /// What was published last.
    pub(crate) fn read(&self) -> Counters {
        let mut counters = Counters::default();
        let mut figures = self.figures.iter();
        for_each_figure(&mut counters, |value| {
            let figure = figures.next().expect("as many as the type has");
            *value = figure.load(Ordering::Relaxed);
        });
        counters
    }
}

/// Visits every figure, always in the same order. The pattern names every field, so that a new one
/// cannot be forgotten.
fn for_each_figure(counters: &mut Counters, mut visit: impl FnMut(&mut u64)) {
    let Counters {
        connections,
        streams,
        opened,
        pages,
        closed,
        refusals,
        events,
        deliveries,
        send_failures,
        short_sends,
        responses_given_up,
        resets,
        log_bytes,
        log_frames,
        evicted,
        behind,
        delays_small,
        delays_large,
        applied_lsn,
    } = counters;
    [
        connections,
        streams,
        opened,
        pages,
        events,
        deliveries,
        send_failures,
        short_sends,
        responses_given_up,
    ]
    .into_iter()
    .chain([
        log_bytes,
        log_frames,
        evicted,
        behind,
        &mut delays_small.sum_us,
        &mut delays_large.sum_us,
        applied_lsn,
    ])
    .chain(closed)
    .chain(refusals)
    .chain(resets)
    .chain(&mut delays_small.counts)
    .chain(&mut delays_large.counts)
    .for_each(&mut visit);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_published_is_read() {
        let mut counters = Counters::default();
        let mut value = 0;
        for_each_figure(&mut counters, |figure| {
            value += 1;
            *figure = value;
        });
        let published = PublishedCounters::new();
        assert_eq!(published.read(), Counters::default());
        published.publish(&counters);
        assert_eq!(published.read(), counters);
    }
}
