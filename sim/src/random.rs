//! The only chance there is: a stream of numbers that the seed decides (SplitMix64, as in the reader).
//! Written here and not taken from a crate, because a seed that is kept has to mean the same world for
//! as long as it is kept.

use std::ops::RangeInclusive;

/// A stream of numbers that its seed decides.
#[derive(Clone, Debug)]
pub struct Random {
    state: u64,
}

impl Random {
    /// The stream of a seed.
    pub fn new(seed: u64) -> Self {
        Self { state: seed }
    }

    /// A stream of its own for one actor, so that what one draws does not move what another does.
    pub fn fork(&mut self) -> Self {
        Self::new(self.next_u64())
    }

    /// The next number.
    pub fn next_u64(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.state;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number below this one, which is not 0.
    pub fn below(&mut self, end: u64) -> u64 {
        assert!(end > 0, "no number is below 0");
        // The high half of the product: as good as a division, and much faster.
        ((u128::from(self.next_u64()) * u128::from(end)) >> 64) as u64
    }

    /// A number of a range.
    pub fn between(&mut self, range: RangeInclusive<u64>) -> u64 {
        range.start() + self.below(range.end() - range.start() + 1)
    }

    /// Whether something happens that happens so many times in a thousand.
    pub fn chance(&mut self, per_mille: u32) -> bool {
        per_mille > 0 && self.below(1_000) < u64::from(per_mille)
    }

    /// A number of a range that begins with 1 at the least, of which small ones are as likely as large
    /// ones: each doubling is.
    pub fn log_uniform(&mut self, range: RangeInclusive<u64>) -> u64 {
        let (least, most) = (*range.start(), *range.end());
        assert!(0 < least && least <= most, "{range:?} has no doublings");
        let doublings = u64::from((most / least).ilog2()) + 1;
        let from = least << self.below(doublings);
        self.between(from..=(2 * from - 1).min(most))
    }

    /// One of several, of which there is at least one.
    pub fn pick<'a, T>(&mut self, of: &'a [T]) -> &'a T {
        &of[self.below(of.len() as u64) as usize]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_drawn_stays_within_its_range_and_reaches_both_ends() {
        let mut random = Random::new(7);
        let (mut least, mut most) = (u64::MAX, 0);
        for _ in 0..10_000 {
            let drawn = random.log_uniform(3..=100);
            assert!((3..=100).contains(&drawn), "{drawn}");
            least = least.min(drawn);
            most = most.max(drawn);
            assert!((5..=6).contains(&random.between(5..=6)));
            assert!(random.chance(1_000) && !random.chance(0));
        }
        assert_eq!((least, most), (3, 100));
    }

    #[test]
    fn a_seed_means_the_same_for_ever() {
        let mut random = Random::new(0);
        assert_eq!(random.next_u64(), 0xe220_a839_7b1d_cdaf);
        assert_eq!(random.next_u64(), 0x6e78_9e6a_a1b9_65f4);
    }
}
