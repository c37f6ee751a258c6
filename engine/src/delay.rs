//! How long events take within the engine, counted in buckets. Which clock readings they are counted
//! from is in `sweep`.

/// The upper bounds of the buckets, in microseconds; one more bucket is for all that took longer. They
/// are close together around 5 ms, which is what a small organisation's event may take at most while
/// a large one is swept.
pub const DELAY_BOUNDS_US: [u64; 19] = [
    100, 250, 500, 1_000, 2_000, 3_000, 4_000, 5_000, 7_500, 10_000, 25_000, 50_000, 100_000,
    250_000, 500_000, 1_000_000, 2_500_000, 5_000_000, 10_000_000,
];

/// How long events took, from the batch taken to the last send of the sweep that carried them
/// returned. The events of a sweep are counted together, by the one that came first: none took longer
/// than it is counted with.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Delays {
    /// How many took at most as long as the bound of the same place in [`DELAY_BOUNDS_US`], and longer
    /// than the bound before.
    pub counts: [u64; DELAY_BOUNDS_US.len() + 1],
    /// The sum over them all, in microseconds.
    pub sum_us: u64,
}

impl Delays {
    pub(crate) fn observe(&mut self, us: u64, events: u64) {
        self.counts[DELAY_BOUNDS_US.partition_point(|bound| *bound < us)] += events;
        self.sum_us += us * events;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_delay_falls_into_the_bucket_of_its_upper_bound() {
        let bucket = |us| {
            let mut delays = Delays::default();
            delays.observe(us, 3);
            assert_eq!(delays.sum_us, 3 * us);
            delays.counts.iter().position(|count| *count == 3).unwrap()
        };
        assert_eq!(
            [0, 100, 101, 250, 5_000, 5_001, 10_000_000, 10_000_001].map(bucket),
            [0, 0, 1, 1, 7, 8, 18, 19]
        );
        assert!(DELAY_BOUNDS_US.is_sorted());
    }
}
