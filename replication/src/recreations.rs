//! How often a lost anchor may be made anew.

use std::collections::VecDeque;

use crate::limits::{RECREATIONS_MAX, RECREATIONS_MS};

/// The recreations of the last hour.
#[derive(Debug, Default)]
pub(crate) struct Recreations {
    at_ms: VecDeque<u64>,
}

impl Recreations {
    /// Whether there may be another one now.
    pub(crate) fn allows(&mut self, now_ms: u64) -> bool {
        let is_past = |at_ms: &mut u64| now_ms >= at_ms.saturating_add(RECREATIONS_MS);
        while self.at_ms.pop_front_if(is_past).is_some() {}
        self.at_ms.len() < RECREATIONS_MAX
    }

    /// There was one.
    pub(crate) fn note(&mut self, now_ms: u64) {
        self.at_ms.push_back(now_ms);
        if self.at_ms.len() > RECREATIONS_MAX {
            self.at_ms.pop_front();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn three_within_an_hour_and_then_one_for_each_that_is_past() {
        let mut recreations = Recreations::default();
        for now_ms in [0, 1_000, 2_000] {
            assert!(recreations.allows(now_ms));
            recreations.note(now_ms);
        }
        assert!(!recreations.allows(2_000));
        assert!(!recreations.allows(RECREATIONS_MS - 1));
        assert!(recreations.allows(RECREATIONS_MS));
        recreations.note(RECREATIONS_MS);
        assert!(!recreations.allows(RECREATIONS_MS + 999));
        assert!(recreations.allows(RECREATIONS_MS + 1_000));
    }
}
