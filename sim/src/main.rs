//! The program: replays one seed, or explores many.
//!
//! `cargo run -p sim -- --seed N` shows the last events of one; `--seeds A..B` runs a range and
//! `--seconds S` as many as there is time for. It fails where a seed does, or where any 2,000 of them, one
//! behind the other, do not reach every state that some world must reach; `--states` says how many seeds
//! reach each. Built with a bug (`script/simulation --planted`),
//! `--until-caught` says how many seeds it took to find it, and fails where none of them does.

#![forbid(unsafe_code)]

use std::ops::Range;
use std::process::ExitCode;
use std::time::Duration;

use clap::Parser;
use sim::explore::{self, Summary};
use sim::random::Random;
use sim::swarm::Swarm;

/// Worlds of one seed each.
#[derive(Parser)]
struct Options {
    /// Replays this seed and shows its last events
    #[arg(long, conflicts_with_all = ["seeds", "seconds"])]
    seed: Option<u64>,
    /// How many of its last events a replay shows
    #[arg(long, default_value_t = 400)]
    events: usize,
    /// Runs these seeds: `A..B`, without B
    #[arg(long, value_parser = range)]
    seeds: Option<Range<u64>>,
    /// Runs as many seeds as there is time for, from the first of `--seeds` or from 0
    #[arg(long)]
    seconds: Option<u64>,
    /// Ends with the first failure, and fails where there is none
    #[arg(long)]
    until_caught: bool,
    /// Ends after so many failures
    #[arg(long, default_value_t = 10)]
    failures: usize,
    /// Says how many seeds have reached each state
    #[arg(long)]
    states: bool,
}

fn range(text: &str) -> Result<Range<u64>, String> {
    let ends = text.split_once("..");
    let (from, to) = ends.ok_or("a range is A..B")?;
    let number = |text: &str| text.parse().map_err(|error| format!("{text:?}: {error}"));
    Ok(number(from)?..number(to)?)
}

fn main() -> ExitCode {
    let options = Options::parse();
    // What panics is said once, with its seed.
    std::panic::set_hook(Box::new(explore::note_place));
    match options.seed {
        Some(seed) => replay(seed, options.events),
        None => run_all(&options),
    }
}

#[expect(clippy::print_stdout, reason = "this is what the program is for")]
fn replay(seed: u64, events: usize) -> ExitCode {
    let (world, result) = explore::replay(seed, events);
    println!("{:#?}\n\n{LEGEND}", Swarm::draw(&mut Random::new(seed)));
    world.trace().lines().for_each(|line| println!("{line}"));
    match result {
        Ok(outcome) => {
            println!("\nnothing is wrong: {outcome:#?}");
            ExitCode::SUCCESS
        }
        Err(failure) => {
            println!("\n{failure}");
            ExitCode::FAILURE
        }
    }
}

/// What the lines of a replay say.
const LEGEND: &str = "\
seconds.microseconds of virtual time, and what happened; the last events only
  Core            an engine's thread has its turn: node, its start, engine
  Replication     the replication thread has its turn
  Control         the control thread has its turn
  Dialled, Line   a line to the database stands or not; bytes arrive at either end of one
                  (0 stream, 1 anchor, 2 watch, 3 members)
  Database        the database does what is due
  Application     somebody writes
  DatabaseFault   0 crash, 1 shutdown, 2 loss of a slot, 3 failover
  NodeFault, Stopped, Boot   a node is killed or told to end; has ended; starts
  Client          a client decides what it does next
  Arrive          what a client did arrives at its node; Read: a client reads
  node N: …       what the reader of a node says in its log
";

#[expect(clippy::print_stdout, reason = "this is what the program is for")]
fn run_all(options: &Options) -> ExitCode {
    let seeds = match (&options.seeds, options.seconds) {
        (Some(seeds), None) => seeds.clone(),
        (Some(seeds), Some(_)) => seeds.start..u64::MAX,
        (None, Some(_)) => 0..u64::MAX,
        (None, None) => 0..explore::SEEDS_FOR_EVERY_STATE,
    };
    let limit = options.seconds.map(Duration::from_secs);
    let clock = Clock::start();
    let mut summary = Summary::default();
    for seed in seeds {
        if limit.is_some_and(|limit| clock.elapsed() >= limit) {
            break;
        }
        let outcome = explore::run(seed);
        if let Err(failure) = &outcome {
            println!("{failure}");
        }
        summary.add(outcome);
        let failures = summary.failures.len();
        if failures >= options.failures || options.until_caught && failures > 0 {
            break;
        }
    }
    report(&summary, &clock);
    if options.states {
        report_states(&summary);
    }
    let is_good = match options.until_caught {
        true => !summary.failures.is_empty(),
        false => summary.failures.is_empty() && summary.missed().is_empty(),
    };
    if is_good {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

#[expect(clippy::print_stdout, reason = "this is what the program is for")]
fn report(summary: &Summary, clock: &Clock) {
    let (least, median) = summary.steps();
    let cpu = clock.cpu().unwrap_or_else(|| clock.elapsed());
    let seeds = summary.seeds.max(1);
    let hours = summary.client_time().0 as f64 / 3.6e9;
    println!(
        "{} seeds, {} failed; steps: least {least}, median {median}; {:.2} ms of CPU a seed; {} \
         streams asked for, {} events and {} resets received; {hours:.0} client-hours, {:.0} in an \
         hour of CPU",
        summary.seeds,
        summary.failures.len(),
        cpu.as_secs_f64() * 1e3 / seeds as f64,
        summary.connects,
        summary.events,
        summary.resets,
        hours / (cpu.as_secs_f64() / 3_600.0),
    );
    for (first, state) in summary.missed() {
        println!(
            "not reached in the {} seeds behind the first {first}: {}",
            explore::SEEDS_FOR_EVERY_STATE,
            state.words()
        );
    }
}

/// How many seeds have reached each state, the rarest first.
#[expect(clippy::print_stdout, reason = "this is what the program is for")]
fn report_states(summary: &Summary) {
    let mut reached: Vec<_> = summary.reached().collect();
    reached.sort_by_key(|(_, seeds)| *seeds);
    println!("seeds that reach it, of {}:", summary.seeds);
    for (state, seeds) in reached {
        println!("{seeds:>8}  {}", state.words());
    }
}

/// How long this has taken: the one clock here, and no world sees it.
struct Clock(std::time::Instant);

impl Clock {
    #[expect(
        clippy::disallowed_methods,
        reason = "it bounds the run, and no world sees it"
    )]
    fn start() -> Self {
        Self(std::time::Instant::now())
    }

    fn elapsed(&self) -> Duration {
        self.0.elapsed()
    }

    /// How long the processor worked for us (proc(5), `schedstat`); `None` where nobody counts.
    fn cpu(&self) -> Option<Duration> {
        let text = std::fs::read_to_string("/proc/self/schedstat").ok()?;
        let ns = text.split_whitespace().next()?.parse().ok()?;
        Some(Duration::from_nanos(ns))
    }
}
