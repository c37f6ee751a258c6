//! When memory that was freed is given back to the system: after verdicts were forgotten, and after a burst of
//! events, as soon as it is over. What the allocator keeps of either would else be a node's for good. Pure.

/// As many verdicts, of some 250 bytes each, are forgotten before their memory is given back; fewer,
/// where none is left.
const VERDICTS_MIN: usize = 1_000;

/// As many events are a burst: what they needed on their way to the engines is worth giving back.
const BURST_MIN: u64 = 1_000;

/// Where no more come between two looks than this, a burst is over: memory that was given back is not needed
/// again at once.
const CALM_MAX: u64 = 100;

/// What was freed and not given back yet.
#[derive(Debug, Default)]
pub(super) struct Freed {
    /// Verdicts that were forgotten.
    verdicts: usize,
    /// The count of events when memory was given back, and at the last look.
    given_back_at: u64,
    seen: u64,
}

impl Freed {
    /// Looks, every few seconds: verdicts were forgotten, of which some may be left, and so many events were
    /// handed over to engines since the start. Whether memory is to be given back now.
    pub(super) fn look(&mut self, forgotten: usize, is_any_left: bool, events: u64) -> bool {
        self.verdicts += forgotten;
        let is_calm = events.saturating_sub(self.seen) <= CALM_MAX;
        self.seen = events;
        let is_burst_over = is_calm && events.saturating_sub(self.given_back_at) >= BURST_MIN;
        let are_last = self.verdicts > 0 && !is_any_left;
        let is_due = is_burst_over || are_last || self.verdicts >= VERDICTS_MIN;
        if is_due {
            self.verdicts = 0;
            self.given_back_at = events;
        }
        is_due
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn verdicts_go_many_at_a_time_and_the_last_by_themselves() {
        let mut freed = Freed::default();
        assert!(!freed.look(0, false, 0), "nothing was freed");
        assert!(!freed.look(VERDICTS_MIN - 1, true, 0));
        assert!(freed.look(1, true, 0));
        assert!(!freed.look(1, true, 0) && freed.look(0, false, 0));
        assert!(!freed.look(0, false, 0), "once");
    }

    #[test]
    fn a_burst_goes_when_it_is_over_and_once() {
        let mut freed = Freed::default();
        assert!(!freed.look(0, false, BURST_MIN), "it lasts");
        assert!(!freed.look(0, false, 5 * BURST_MIN));
        assert!(freed.look(0, false, 5 * BURST_MIN + CALM_MAX));
        assert!(!freed.look(0, false, 5 * BURST_MIN + CALM_MAX), "once");
        // A trickle is no burst, until it was as many.
        let looks = (1..=12).map(|n| freed.look(0, false, 5 * BURST_MIN + CALM_MAX * (n + 1)));
        assert_eq!(looks.filter(|is_due| *is_due).count(), 1);
    }

    #[test]
    fn a_load_that_lasts_is_left_its_memory() {
        let mut freed = Freed::default();
        let looks = (1..100).map(|n| freed.look(0, false, n * (CALM_MAX + 1)));
        assert_eq!(looks.filter(|is_due| *is_due).count(), 0);
    }
}
