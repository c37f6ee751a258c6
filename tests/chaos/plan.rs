//! How long a run is, how many take part, and its seed; from the environment, which `script/chaos` sets.

use std::time::Duration;

use crate::random::Random;

/// A run of the ordinary tests: its seed is always the same, so that it fails or not.
const SEED: u64 = 6;
const SECONDS: u64 = 65;
const CLIENTS: u64 = 4;
const CROWD: u64 = 300;

/// A run.
pub(crate) struct Plan {
    pub(crate) seed: u64,
    /// How long writers write and faults come.
    pub(crate) length: Duration,
    /// How many clients each organisation has.
    pub(crate) clients: usize,
    /// How many there are in a crowd: of slow heads, of stalled readers, of those who come back.
    pub(crate) crowd: usize,
    /// What a run has to reach at the least.
    pub(crate) goal: Goal,
}

/// What a run has to reach, so that it says something.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Goal {
    pub(crate) events: u64,
    pub(crate) deliveries: u64,
    pub(crate) faults: u64,
    pub(crate) kinds: usize,
}

impl Plan {
    /// As the environment says: `CHAOS_SEED`, `CHAOS_SECONDS`, `CHAOS_CLIENTS`, `CHAOS_CROWD`. Returns the
    /// generator for everybody else, too.
    pub(crate) fn from_environment() -> (Self, Random) {
        let seconds = number("CHAOS_SECONDS").unwrap_or(SECONDS);
        let is_soak = seconds >= 600;
        let goal = if is_soak {
            Goal {
                events: 50_000,
                deliveries: 1_000_000,
                faults: 50,
                kinds: 10,
            }
        } else {
            Goal {
                events: 500,
                deliveries: 2_000,
                faults: 8,
                kinds: 8,
            }
        };
        let plan = Self {
            seed: number("CHAOS_SEED").unwrap_or(SEED),
            length: Duration::from_secs(seconds),
            clients: number("CHAOS_CLIENTS").unwrap_or(CLIENTS) as usize,
            crowd: number("CHAOS_CROWD").unwrap_or(CROWD) as usize,
            goal,
        };
        let random = Random::new(plan.seed);
        (plan, random)
    }
}

fn number(name: &str) -> Option<u64> {
    let text = std::env::var(name).ok()?;
    let number = text.parse();
    Some(number.unwrap_or_else(|_| panic!("{name} is no number: {text:?}")))
}
