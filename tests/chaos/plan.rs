//! How long a run is, how many take part, and its seed; from the environment, which `script/chaos` sets.

use std::time::Duration;

use crate::random::Random;

/// A run of the ordinary tests: its seed is always the same, so that it fails or not.
const SEED: u64 = 6;
const SECONDS: u64 = 60;
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
    /// Whether outages that are longer than every limit of a node have their turn, and one node lives
    /// through all of it.
    pub(crate) is_soak: bool,
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
    /// Whether each kind must have been injected or skipped.
    pub(crate) is_every_kind: bool,
}

impl Plan {
    /// As the environment says: `CHAOS_SEED`, `CHAOS_SECONDS`, `CHAOS_CLIENTS`, `CHAOS_CROWD`, and `CHAOS_SOAK`
    /// where it has to reach what a soak has to. Returns the generator for everybody else, too.
    pub(crate) fn from_environment() -> (Self, Random) {
        let seconds = number("CHAOS_SECONDS").unwrap_or(SECONDS);
        let is_soak = number("CHAOS_SOAK").is_some();
        let goal = if is_soak {
            Goal {
                events: 50_000,
                deliveries: 1_000_000,
                faults: 50,
                kinds: 10,
                is_every_kind: true,
            }
        } else {
            Goal {
                events: 500,
                deliveries: 2_000,
                faults: 8,
                kinds: 8,
                is_every_kind: false,
            }
        };
        let plan = Self {
            seed: number("CHAOS_SEED").unwrap_or(SEED),
            length: Duration::from_secs(seconds),
            clients: number("CHAOS_CLIENTS").unwrap_or(CLIENTS) as usize,
            crowd: number("CHAOS_CROWD").unwrap_or(CROWD) as usize,
            is_soak,
            goal,
        };
        let random = Random::new(plan.seed);
        (plan, random)
    }
}

impl Plan {
    /// How many descriptors all of it takes at one time: a crowd, the proxies' two ends of every client and
    /// node, the connections that fill PostgreSQL, each with a runtime of four, and as many beside.
    pub(crate) fn descriptors(&self) -> u64 {
        (self.crowd + self.clients * 20 + 2_000) as u64
    }
}

fn number(name: &str) -> Option<u64> {
    let text = std::env::var(name).ok()?;
    let number = text.parse();
    Some(number.unwrap_or_else(|_| panic!("{name} is no number: {text:?}")))
}
