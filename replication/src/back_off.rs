//! The pause before connecting again: it doubles with every failure, and is jittered so that the
//! nodes of a cluster do not come back at one instant.

use crate::limits::BACK_OFF_MS;
use crate::random::Random;

/// The pauses of a series of failures.
#[derive(Debug, Default)]
pub(crate) struct BackOff {
    failures: u32,
}

impl BackOff {
    /// How long to wait after another failure, in milliseconds.
    pub(crate) fn on_failure(&mut self, random: &mut Random) -> u64 {
        let (first, longest) = BACK_OFF_MS;
        let pause = (first << self.failures.min(16)).min(longest);
        self.failures = self.failures.saturating_add(1);
        // Never shorter than the first pause, so that jitter cannot make it a busy loop.
        random.between(first.max(pause / 2), pause + 1)
    }

    /// The server said goodbye, so that it will not be back in a moment.
    pub(crate) fn on_orderly_end(&mut self) {
        self.failures = self.failures.max(2);
    }

    /// It works again.
    pub(crate) fn on_success(&mut self) {
        self.failures = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_to_their_bound_and_start_anew_after_a_success() {
        let mut random = Random::new(1);
        let mut back_off = BackOff::default();
        let pauses: Vec<u64> = (0..20).map(|_| back_off.on_failure(&mut random)).collect();
        assert_eq!(pauses[0], 500);
        assert!(
            pauses.iter().all(|pause| (500..=5_000).contains(pause)),
            "{pauses:?}"
        );
        assert!(
            pauses[4..].iter().all(|pause| *pause >= 2_500),
            "{pauses:?}"
        );
        back_off.on_success();
        assert_eq!(back_off.on_failure(&mut random), 500);
    }
}
