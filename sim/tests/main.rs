//! Seeds that are always run: those that failed once, a fixed range, and fresh ones that every commit
//! draws anew; and that a seed means one world. Many more are run by `script/simulation`.

use std::path::Path;
use std::process::Command;

use sim::explore::{self, Summary};
use sim::sometimes::State;

/// How many seeds are always the same.
const FIXED: u64 = 500;

/// How many are drawn by the commit.
const FRESH: u64 = 100;

/// The first of them where nobody says which commit this is.
const FRESH_WITHOUT_COMMIT: u64 = 1 << 40;

/// What 500 seeds may well miss: fewer than one in 40 reach it. A run of 2,000 does not.
const RARE: [State; 16] = [
    State::DrainDuringHold,
    State::ExpiredDuringDrain,
    State::GrantBesideRevocation,
    State::HoldTimedOut,
    State::LargeAborted,
    State::Replayed,
    State::ResetSlotLost,
    State::RevocationWithinTransaction,
    State::SenderTimedOut,
    State::ServerSilent,
    State::StalledClosed,
    State::SubscriptionDuringSweep,
    State::TrustLost,
    State::UserFrameDuringSweep,
    State::ResumeAhead,
    State::HoldReached,
];

/// The least steps of a world that is one, and of half of them.
const STEPS: (u64, u64) = (500, 2_000);

/// Runs seeds, and fails with all of those that fail.
#[track_caller]
fn run(seeds: impl IntoIterator<Item = u64>) -> Summary {
    let mut summary = Summary::default();
    seeds
        .into_iter()
        .for_each(|seed| summary.add(explore::run(seed)));
    let failures: Vec<String> = summary.failures.iter().map(ToString::to_string).collect();
    assert!(
        failures.is_empty(),
        "{} of {} seeds failed; `cargo run -p sim -- --seed N` replays one:\n{}",
        failures.len(),
        summary.seeds,
        failures.join("\n")
    );
    summary
}

#[test]
fn seeds_that_failed_once_do_not_any_more() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("seeds");
    let entries = std::fs::read_dir(folder).expect("the seeds have a folder");
    let names = entries.map(|entry| entry.expect("it can be read").file_name());
    let names = names.filter(|name| name.to_string_lossy() != "README.md");
    run(names.map(|name| {
        let name = name.to_string_lossy().into_owned();
        name.parse()
            .unwrap_or_else(|_| panic!("sim/seeds/{name} is named after no seed"))
    }));
}

#[test]
fn the_same_seeds_as_always_are_without_a_failure() {
    let summary = run(0..FIXED);
    let (least, median) = summary.steps();
    assert!(
        least >= STEPS.0 && median >= STEPS.1,
        "the worlds are too small to be worlds: {least} steps at the least, {median} in the median"
    );
    assert!(
        summary.events > 10 * FIXED,
        "{} events reached anybody",
        summary.events
    );
    let missed = summary.reached().filter(|(_, seeds)| *seeds == 0);
    let missed = missed.map(|(state, _)| state);
    let missed: Vec<State> = missed.filter(|state| !RARE.contains(state)).collect();
    assert!(missed.is_empty(), "no seed of {FIXED} reaches {missed:?}");
}

#[test]
#[expect(clippy::print_stderr, reason = "whoever runs it has to hear of it")]
fn seeds_that_this_commit_draws_are_without_a_failure() {
    let first = commit(Path::new(env!("CARGO_MANIFEST_DIR"))).unwrap_or_else(|why| {
        eprintln!("NOT FRESH: {why}; seeds from {FRESH_WITHOUT_COMMIT} on are run instead");
        FRESH_WITHOUT_COMMIT
    });
    run(first..first + FRESH);
}

#[test]
fn without_a_checkout_there_is_no_commit() {
    assert!(commit(Path::new("/")).is_err());
}

/// Which commit is checked out in a folder, as a number; or why nobody can tell.
fn commit(folder: &Path) -> Result<u64, String> {
    let mut git = Command::new("git");
    let output = git
        .args(["rev-parse", "--short=12", "HEAD"])
        .current_dir(folder)
        .output()
        .map_err(|error| format!("git cannot be run: {error}"))?;
    if !output.status.success() {
        return Err(String::from_utf8_lossy(&output.stderr).trim().to_owned());
    }
    let commit = String::from_utf8_lossy(&output.stdout);
    u64::from_str_radix(commit.trim(), 16).map_err(|error| format!("{commit:?}: {error}"))
}

#[test]
fn a_seed_means_one_world() {
    for seed in 1_000..1_020 {
        let hashes = [(); 2].map(|()| explore::run(seed).map(|outcome| outcome.hash));
        assert!(hashes[0].is_ok(), "{hashes:?}");
        assert_eq!(hashes[0], hashes[1], "seed {seed}");
    }
    let (one, other) = (explore::run(1), explore::run(2));
    assert_ne!(
        one.map(|it| it.hash),
        other.map(|it| it.hash),
        "a trace says something"
    );
}
