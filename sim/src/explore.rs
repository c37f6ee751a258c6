//! Runs of many seeds: what came of each, and what all of them have reached together.

use std::cell::RefCell;
use std::panic::{AssertUnwindSafe, PanicHookInfo, catch_unwind};

use crate::sometimes::{Sometimes, State};
use crate::time::Time;
use crate::trace::Trace;
use crate::world::{Failure, Outcome, World};

thread_local! {
    /// Where the last panic of this thread was: what is caught does not say.
    static PLACE: RefCell<Option<String>> = const { RefCell::new(None) };
}

/// What panics while a seed runs is said once, with its seed: the hook that notes where it was, to be set with
/// [`std::panic::set_hook`] by whoever shows no panics of its own.
pub fn note_place(panic: &PanicHookInfo<'_>) {
    let place = panic.location().map(ToString::to_string);
    PLACE.with(|it| *it.borrow_mut() = place);
}

/// After so many seeds every state has to have been reached.
pub const SEEDS_FOR_EVERY_STATE: u64 = 2_000;

/// Runs a seed. What panics has failed too.
///
/// # Errors
///
/// What was found to be wrong.
pub fn run(seed: u64) -> Result<Outcome, Failure> {
    let mut world = World::new(seed, Trace::default());
    run_world(&mut world, seed)
}

/// Runs a seed, and keeps so many of its last events.
pub fn replay(seed: u64, events: usize) -> (World, Result<Outcome, Failure>) {
    let mut world = World::new(seed, Trace::shown(events));
    let result = run_world(&mut world, seed);
    (world, result)
}

fn run_world(world: &mut World, seed: u64) -> Result<Outcome, Failure> {
    // What is left of a world that panicked is looked at and not used.
    catch_unwind(AssertUnwindSafe(|| world.run())).unwrap_or_else(|panic| {
        let text = panic.downcast_ref::<String>().map(String::as_str);
        let text = text.or_else(|| panic.downcast_ref::<&str>().copied());
        let text = text.unwrap_or("without a word");
        let place = PLACE.with(|it| it.borrow_mut().take());
        let place = place.map_or_else(String::new, |place| format!(" at {place}"));
        Err(Failure {
            seed,
            at: world.now(),
            why: format!("panicked{place}: {text}"),
        })
    })
}

/// What came of many seeds.
#[derive(Clone, Debug)]
pub struct Summary {
    /// How many seeds there were.
    pub seeds: u64,
    /// Those that failed.
    pub failures: Vec<Failure>,
    /// In how many seeds each state was reached, as [`State::ALL`] lists them.
    reached: [u64; State::ALL.len()],
    /// What was reached in the window of seeds that goes on.
    window: Sometimes,
    /// The states that a full window did not reach, and the number of its first seed among all.
    missed: Vec<(u64, State)>,
    /// The steps of each seed.
    steps: Vec<u64>,
    /// How long all clients together were there, in virtual time.
    client_us: u128,
    /// Streams that were asked for.
    pub connects: u64,
    /// Events that were received.
    pub events: u64,
    /// Resets that were.
    pub resets: u64,
}

impl Default for Summary {
    fn default() -> Self {
        Self {
            seeds: 0,
            failures: Vec::new(),
            reached: [0; State::ALL.len()],
            window: Sometimes::default(),
            missed: Vec::new(),
            steps: Vec::new(),
            client_us: 0,
            connects: 0,
            events: 0,
            resets: 0,
        }
    }
}

impl Summary {
    /// Takes what came of a seed.
    pub fn add(&mut self, outcome: Result<Outcome, Failure>) {
        self.seeds += 1;
        match outcome {
            Ok(outcome) => {
                self.steps.push(outcome.steps);
                self.window.add(outcome.sometimes);
                for (count, state) in self.reached.iter_mut().zip(State::ALL) {
                    *count += u64::from(outcome.sometimes.has(*state));
                }
                self.client_us += u128::from(outcome.lasted.0) * u128::from(outcome.clients);
                self.connects += outcome.connects;
                self.events += outcome.events;
                self.resets += outcome.resets;
            }
            Err(failure) => self.failures.push(failure),
        }
        if self.seeds.is_multiple_of(SEEDS_FOR_EVERY_STATE) {
            let window = std::mem::take(&mut self.window);
            let first = self.seeds - SEEDS_FOR_EVERY_STATE;
            let missing = window.missing().map(|state| (first, state));
            self.missed.extend(missing);
        }
    }

    /// The least steps that a seed had, and the median of all.
    pub fn steps(&self) -> (u64, u64) {
        let mut steps = self.steps.clone();
        steps.sort_unstable();
        let least = steps.first().copied().unwrap_or_default();
        (
            least,
            steps.get(steps.len() / 2).copied().unwrap_or_default(),
        )
    }

    /// How long all clients together were there, in virtual time.
    pub fn client_time(&self) -> Time {
        Time(u64::try_from(self.client_us).unwrap_or(u64::MAX))
    }

    /// The states that a full window of [`SEEDS_FOR_EVERY_STATE`] seeds did not reach, and how many seeds had been run
    /// when it began.
    pub fn missed(&self) -> &[(u64, State)] {
        &self.missed
    }

    /// Each state, and in how many seeds it was reached.
    pub fn reached(&self) -> impl Iterator<Item = (State, u64)> + '_ {
        State::ALL.iter().copied().zip(self.reached)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What came of a seed that has reached these.
    fn outcome(sometimes: Sometimes) -> Result<Outcome, Failure> {
        Ok(Outcome {
            hash: 0,
            steps: 1,
            lasted: Time(0),
            clients: 1,
            connects: 0,
            events: 0,
            resets: 0,
            sometimes,
        })
    }

    #[test]
    fn each_window_of_seeds_is_asked_for_every_state() {
        let mut all = Sometimes::default();
        State::ALL.iter().for_each(|state| all.reach(*state));
        let mut but_one = Sometimes::default();
        State::ALL[1..]
            .iter()
            .for_each(|state| but_one.reach(*state));
        let mut summary = Summary::default();
        summary.add(outcome(all));
        for _ in 1..2 * SEEDS_FOR_EVERY_STATE {
            summary.add(outcome(but_one));
        }
        // The first window has it from one seed; the second has it from none.
        assert_eq!(summary.missed(), [(SEEDS_FOR_EVERY_STATE, State::ALL[0])]);
        summary.add(outcome(but_one));
        assert_eq!(
            summary.missed().len(),
            1,
            "a window that goes on is not asked"
        );
        let reached: Vec<u64> = summary.reached().map(|(_, seeds)| seeds).take(2).collect();
        assert_eq!(reached, [1, 2 * SEEDS_FOR_EVERY_STATE + 1]);
    }
}
