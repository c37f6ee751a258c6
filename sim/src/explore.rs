//! Runs of many seeds: what came of each, and what all of them have reached together.

use std::panic::{AssertUnwindSafe, catch_unwind};

use crate::sometimes::{Sometimes, State};
use crate::time::Time;
use crate::trace::Trace;
use crate::world::{Failure, Outcome, World};

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
        Err(Failure {
            seed,
            at: world.now(),
            why: format!("panicked: {}", text.unwrap_or("without a word")),
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
