//! What a run does and when: how long, how many nodes, and every strike with its time, all from a
//! seed.

use std::time::Duration;

use crate::random::Random;

/// How long a run of the ordinary tests writes and strikes. With its start and its end it is a minute.
const SECONDS: u64 = 45;

/// How many nodes there are in the ordinary tests: clients that change nodes, and clients that stay.
const NODES: usize = 2;

/// In ten minutes: kills of a node, and restarts of PostgreSQL in each of its three ways.
const STRIKES_IN_TEN_MINUTES: (u64, u64) = (20, 5);

/// No strike comes before this: there has to be something to lose.
const CALM: Duration = Duration::from_secs(4);

/// A run.
pub(crate) struct Plan {
    pub(crate) seed: u64,
    pub(crate) length: Duration,
    pub(crate) nodes: usize,
    /// The strikes against nodes, in order.
    pub(crate) on_nodes: Vec<Strike<usize>>,
    /// The strikes against PostgreSQL, in order.
    pub(crate) on_postgres: Vec<Strike<Stop>>,
}

/// One process is ended and started again.
pub(crate) struct Strike<T> {
    /// Since the writers began.
    pub(crate) at: Duration,
    pub(crate) target: T,
    /// Whether it waits until clients are in the midst of a long transaction.
    pub(crate) aimed: bool,
    /// How long it stays away.
    pub(crate) pause: Duration,
}

/// How PostgreSQL is ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stop {
    /// `pg_ctl stop -m fast`.
    Fast,
    /// `pg_ctl stop -m immediate`.
    Immediate,
    /// `kill -9` of every process.
    Kill,
}

impl Plan {
    /// As the environment says: `CRASH_SECONDS`, `CRASH_SEED` and
    /// `CRASH_NODES`. Returns the generator for everybody else, too.
    pub(crate) fn from_environment() -> (Self, Random) {
        let number = |name: &str| {
            let text = std::env::var(name).ok()?;
            let number: u64 = text
                .parse()
                .unwrap_or_else(|_| panic!("{name} is no number: {text:?}"));
            Some(number)
        };
        let seed = number("CRASH_SEED")
            .unwrap_or_else(|| getrandom::u64().expect("the system has random numbers") >> 32);
        let seconds = number("CRASH_SECONDS").unwrap_or(SECONDS);
        let nodes = number("CRASH_NODES").map_or(NODES, |nodes| nodes as usize);
        assert!(seconds >= 20, "CRASH_SECONDS: at least 20");
        assert!((1..=2).contains(&nodes), "CRASH_NODES: 1 or 2");
        let mut random = Random::new(seed);
        let length = Duration::from_secs(seconds);
        let (kills, restarts) = STRIKES_IN_TEN_MINUTES;
        let in_proportion = |count: u64| (count * seconds).div_ceil(600);
        let nodes_struck = (0..in_proportion(kills)).map(|_| random.below(nodes as u64) as usize);
        let nodes_struck: Vec<usize> = nodes_struck.collect();
        let ways = [Stop::Fast, Stop::Immediate, Stop::Kill];
        let ways = ways.map(|way| vec![way; in_proportion(restarts) as usize]);
        let plan = Self {
            seed,
            length,
            nodes,
            on_nodes: strikes(nodes_struck, length, &mut random),
            on_postgres: strikes(ways.concat(), length, &mut random),
        };
        (plan, random)
    }

    /// How far the slot is held back: longer than any client is away, and in a long run so short that
    /// most of the run lies beyond it and the anchor moves.
    pub(crate) fn window(&self) -> Duration {
        (self.length / 5).clamp(Duration::from_secs(40), Duration::from_secs(120))
    }
}

/// Strikes at random times, in a random order.
fn strikes<T>(mut targets: Vec<T>, length: Duration, random: &mut Random) -> Vec<Strike<T>> {
    let mut times: Vec<Duration> = targets
        .iter()
        .map(|_| CALM + random.duration(length - CALM))
        .collect();
    times.sort();
    let strike = |(number, at)| Strike {
        at,
        target: targets.swap_remove(random.below(targets.len() as u64) as usize),
        // Every other one, so that a short run has both kinds too.
        aimed: number % 2 == 0,
        pause: random.duration(Duration::from_millis(2_500)),
    };
    times.into_iter().enumerate().map(strike).collect()
}
