//! Jitter and names from one seed: SplitMix64. Nothing here has to be secret.

/// A stream of numbers that the seed decides.
#[derive(Clone, Debug)]
pub(crate) struct Random {
    state: u64,
}

impl Random {
    pub(crate) fn new(seed: u64) -> Self {
        Self { state: seed }
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.state;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number from `min` up to, but not with, `end`.
    pub(crate) fn between(&mut self, min: u64, end: u64) -> u64 {
        assert!(min < end, "an empty range has no number");
        min + self.next() % (end - min)
    }
}
