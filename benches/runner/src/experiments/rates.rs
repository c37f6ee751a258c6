//! The search for the highest rate of events that a server sustains: rates are tried until one holds
//! and another, not far above it, does not. What trying one means is the caller's matter.

use anyhow::Result;

use crate::plan::Size;

/// What is tried: a short probe that only finds the neighbourhood, a first step at a low rate, or a
/// whole one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Probe,
    First,
    Step,
}

/// How rates are chosen.
pub(super) struct Rates {
    /// Where probes begin, and below which nothing is tried.
    pub(super) first: f64,
    pub(super) lowest: f64,
    /// Beyond which nothing is tried.
    highest: f64,
    /// By what probes grow, and how near to each other their last two are.
    growth: f64,
    near: f64,
    /// By what steps grow and shrink.
    step: f64,
    /// Whether a step that did not hold is tried once more, as every probe is.
    retries_steps: bool,
}

impl Rates {
    /// Those for an organisation of thousands of streams.
    pub(super) fn of(size: Size) -> Self {
        let rates = Self {
            first: 4.0,
            lowest: 0.5,
            highest: 20_000.0,
            growth: 3.0,
            near: 1.2,
            step: 1.1,
            retries_steps: size == Size::Full,
        };
        match size {
            // Two steps are enough to see that searching works.
            Size::Smoke => Self {
                first: 20.0,
                highest: 40.0,
                near: 3.0,
                ..rates
            },
            Size::Quick | Size::Full => rates,
        }
    }

    /// So many times as high.
    pub(super) fn times(self, factor: f64) -> Self {
        Self {
            first: self.first * factor,
            lowest: self.lowest * factor,
            highest: self.highest * factor,
            ..self
        }
    }

    /// About the highest rate that holds, by probes alone; none where not even the lowest does. Where the
    /// first probe fails, lower ones are tried.
    pub(super) fn neighbourhood(
        &self,
        holds: impl FnMut(f64, Kind) -> Result<bool>,
    ) -> Result<Option<f64>> {
        let mut holds = self.with_second_tries(holds);
        let mut first = self.first;
        while !holds(first, Kind::Probe)? {
            if first <= self.lowest {
                return Ok(None);
            }
            first = (first / self.growth).max(self.lowest);
        }
        let from = Self { first, ..*self };
        from.probe(&mut holds).map(Some)
    }

    /// A rate whose probe held, not far below one whose probe did not; the first one where none held.
    fn probe(&self, holds: &mut impl FnMut(f64, Kind) -> Result<bool>) -> Result<f64> {
        let (mut low, mut high) = (self.first, self.first);
        while high < self.highest && holds(high, Kind::Probe)? {
            low = high;
            high *= self.growth;
        }
        let mut high = high.min(self.highest);
        while high / low > self.near {
            let between = (low * high).sqrt();
            if holds(between, Kind::Probe)? {
                low = between;
            } else {
                high = between;
            }
        }
        Ok(low)
    }

    /// The highest rate whose step held, while that of one not far above did not. None if none held.
    pub(super) fn search(
        &self,
        holds: impl FnMut(f64, Kind) -> Result<bool>,
    ) -> Result<Option<f64>> {
        let mut holds = self.with_second_tries(holds);
        let mut rate = self.probe(&mut holds)?;
        let (mut held, mut failed) = (None, None);
        while held.is_none() || failed.is_none() {
            if holds(rate, Kind::Step)? {
                held = Some(rate);
                rate *= self.step;
                if rate > self.highest {
                    return Ok(held);
                }
            } else {
                failed = Some(rate);
                rate /= self.step;
                if rate < self.lowest {
                    return Ok(None);
                }
            }
        }
        let between = held
            .zip(failed)
            .map(|(held, failed)| (held * failed).sqrt());
        if let Some(between) = between
            && holds(between, Kind::Step)?
        {
            held = Some(between);
        }
        Ok(held)
    }

    /// Tries what did not hold once more: what else the machine did in those seconds decides nothing, for
    /// nobody. A probe that failed by chance once led to two dozen steps from far below, and where
    /// latency hardly grows with the rate, a step that fails by chance ends a search at two thirds of what holds.
    fn with_second_tries(
        &self,
        mut holds: impl FnMut(f64, Kind) -> Result<bool>,
    ) -> impl FnMut(f64, Kind) -> Result<bool> {
        let retries_steps = self.retries_steps;
        move |rate, kind| {
            let again = kind == Kind::Probe || retries_steps;
            Ok(holds(rate, kind)? || (again && holds(rate, kind)?))
        }
    }
}

#[cfg(test)]
mod tests {
    use anyhow::bail;

    use super::*;

    /// Searches for a capacity, and says what was found and what was tried.
    fn search(capacity: f64, probe_capacity: f64) -> (Option<f64>, Vec<(f64, Kind)>) {
        let mut tried = Vec::new();
        let found = Rates::of(Size::Quick).search(|rate, kind| {
            tried.push((rate, kind));
            tried.dedup();
            Ok(rate
                <= if kind == Kind::Probe {
                    probe_capacity
                } else {
                    capacity
                })
        });
        (found.unwrap(), tried)
    }

    #[test]
    fn the_highest_rate_is_found_to_a_twentieth() {
        for capacity in [5.0, 6.1, 47.0, 290.0, 300.0, 3_000.0] {
            let (found, tried) = search(capacity, capacity);
            let found = found.unwrap();
            assert!(
                found <= capacity && capacity / found < 1.05,
                "{found} of {capacity}"
            );
            let steps = tried.iter().filter(|(_, kind)| *kind == Kind::Step).count();
            assert!(steps <= 5, "{steps} steps for {capacity}");
            assert!(tried.len() - steps <= 11, "{tried:?}");
        }
    }

    #[test]
    fn what_fails_by_chance_is_tried_again_and_in_the_quick_run_a_probe_alone() {
        let search = |size, is_spoilt: fn(Kind) -> bool| {
            let (mut steps, mut chance) = (0, 0);
            let found = Rates::of(size).search(|rate, kind| {
                steps += u32::from(kind == Kind::Step);
                chance += u32::from(is_spoilt(kind));
                // Every second one fails, whatever its rate.
                Ok(rate <= 290.0 && (!is_spoilt(kind) || chance.is_multiple_of(2)))
            });
            let found = found.unwrap().unwrap();
            assert!(found <= 290.0 && 290.0 / found < 1.05, "{found}");
            steps
        };
        assert!(search(Size::Quick, |kind| kind == Kind::Probe) <= 5);
        assert!(search(Size::Full, |kind| kind == Kind::Probe) <= 7);
        assert!(search(Size::Full, |_| true) <= 10);
    }

    #[test]
    fn the_neighbourhood_is_found_by_probes_alone_also_below_the_first() {
        let rates = Rates::of(Size::Quick);
        for capacity in [0.6, 3.9, 4.1, 290.0] {
            let found = rates.neighbourhood(|rate, kind| {
                assert_eq!(kind, Kind::Probe);
                Ok(rate <= capacity)
            });
            let found = found.unwrap().unwrap();
            assert!(
                found <= capacity && capacity / found <= 1.5,
                "{found} of {capacity}"
            );
        }
        assert_eq!(rates.neighbourhood(|_, _| Ok(false)).unwrap(), None);
    }

    #[test]
    fn probes_that_mislead_cost_steps_and_no_truth() {
        for probe_capacity in [60.0, 170.0] {
            let found = search(100.0, probe_capacity).0.unwrap();
            assert!(found <= 100.0 && 100.0 / found < 1.05, "{found}");
        }
    }

    #[test]
    fn a_server_below_the_first_probe_is_measured_too() {
        let found = search(1.0, 1.0).0.unwrap();
        assert!(found <= 1.0 && 1.0 / found < 1.05, "{found}");
        assert_eq!(search(0.1, 0.1).0, None);
    }

    #[test]
    fn what_no_rate_breaks_ends_at_the_highest() {
        let (found, _) = search(1e9, 1e9);
        assert!(found.unwrap() > 15_000.0);
    }

    #[test]
    fn an_error_ends_the_search() {
        let result = Rates::of(Size::Quick).search(|_, _| bail!("it ended"));
        assert!(result.is_err());
    }
}
