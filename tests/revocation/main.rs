//! What was committed after a revocation reaches nobody whom it revoked, however the grant raced with
//! it: two nodes of two engines each, and in every round somebody with eight streams, of which one is
//! being opened and one resumed at the moment at which the application commits the revocation and an
//! event. What came after what is said by PostgreSQL's own decoder.
//!
//! `script/revocation` runs more rounds, and with a bug built in on purpose.
//!
//! `revocations` says what is taken and how, `round` and `restart` do it, `client` reads, `oracle` knows
//! the order, `verdict` compares.

#![expect(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "what a test prints is for the person who runs it"
)]

mod client;
#[path = "../crash/decoding.rs"]
mod decoding;
mod house;
mod oracle;
#[path = "../crash/random.rs"]
#[expect(dead_code, reason = "shared with the crashes, which use more of it")]
mod random;
mod restart;
mod revocations;
mod round;
#[path = "../support/mod.rs"]
#[expect(
    dead_code,
    unused_imports,
    unused_macros,
    reason = "shared with the other tests, which use more of it"
)]
mod support;
mod verdict;

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread;

use house::{House, Witnesses};
use oracle::Order;
use random::Random;
use revocations::Revocation;
use round::{Application, Outcome, Round};
use support::Config;
use verdict::{LEAKED, Verdict};

/// How many rounds are played at a time, each with people of its own.
const WORKERS: usize = 2;

/// How many of the faults are told.
const TOLD_MAX: usize = 20;

/// The bug that is built in, if one is: then the run must find it.
const PLANTED: Option<&str> = if cfg!(planted = "revoke_after_send") {
    Some("revoke_after_send")
} else {
    None
};

#[test]
fn a_deleted_membership() {
    play(Revocation::Membership, 1_000);
}

#[test]
fn a_deleted_membership_of_somebody_who_was_away() {
    play(Revocation::Absent, 200);
}

#[test]
fn a_membership_that_comes_back() {
    play(Revocation::Returned, 200);
}

#[test]
fn a_deleted_session() {
    play(Revocation::Session, 200);
}

#[test]
fn a_ban() {
    play(Revocation::Ban, 200);
}

#[test]
fn a_changed_role() {
    play(Revocation::Role, 200);
}

#[test]
fn a_deleted_organisation() {
    play(Revocation::Organisation, 200);
}

#[test]
fn a_membership_deleted_while_a_node_reads_its_window_again() {
    let _alone = alone();
    let restarts = number("REVOCATION_ROUNDS").map_or(20, |rounds| rounds.div_ceil(10) as usize);
    let seed = seed();
    let mut random = Random::new(seed);
    let mut house = House::new(&restart::people(restarts), |config| config);
    let mut stories = Vec::new();
    for restart in 0..restarts {
        stories.extend(restart::play(&mut house, restart, &mut random));
    }
    let order = Order::read(&house.connect());
    println!("{}", restart::summary(restarts, &stories));
    conclude(seed, restart::judge(&stories, &order));
}

/// Plays so many rounds, or as many as the environment says, and judges them.
fn play(revocation: Revocation, rounds: usize) {
    let _alone = alone();
    let rounds = number("REVOCATION_ROUNDS").map_or(rounds, |rounds| rounds as usize);
    let seed = seed();
    let house = House::new(&revocation.people(rounds), |config| {
        configured(revocation, config)
    });
    let witnesses = Witnesses::start(house.addresses());
    let outcomes = play_rounds(revocation, rounds, seed, &house);
    house.write_end();
    let witnesses = witnesses.finish();
    let order = Order::read(&house.connect());
    let order = &order;
    println!("{}", verdict::summary(revocation, &outcomes));
    let verdict = Verdict { revocation, order };
    conclude(seed, verdict.judge(&outcomes, &witnesses));
}

/// They would only be in each other's way.
fn alone() -> MutexGuard<'static, ()> {
    static ALONE: Mutex<()> = Mutex::new(());
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// By which a run is repeated, as far as the machine lets it.
fn seed() -> u64 {
    number("REVOCATION_SEED").unwrap_or_else(|| std::process::id().into())
}

/// Fails where something is wrong; with a planted bug, where that is not found.
fn conclude(seed: u64, mut wrong: Vec<String>) {
    if let Ok(wanted) = std::env::var("REVOCATION_PLANTED") {
        assert_eq!(PLANTED, Some(wanted.as_str()), "no bug of this name");
    }
    let count = wrong.len();
    wrong.truncate(TOLD_MAX);
    if count > TOLD_MAX {
        wrong.push(format!("and {} more", count - TOLD_MAX));
    }
    let wrong = wrong.join("\n");
    if PLANTED.is_some() {
        // It has to be found by what it does, not by something else that goes wrong.
        assert!(
            wrong.contains(LEAKED),
            "the planted bug was not found:\n{wrong}"
        );
        println!("the planted bug was found:\n{wrong}");
    } else {
        assert!(wrong.is_empty(), "seed {seed}:\n{wrong}");
    }
}

/// The rounds, by some workers.
fn play_rounds(revocation: Revocation, rounds: usize, seed: u64, house: &House) -> Vec<Outcome> {
    let mut random = Random::new(seed);
    let nodes = house.addresses();
    thread::scope(|scope| {
        let workers: Vec<_> = (0..WORKERS)
            .map(|worker| {
                let mut random = random.fork();
                let application = Application {
                    revoker: house.connect(),
                    writer: house.connect(),
                };
                scope.spawn(move || {
                    let application = &application;
                    let play = |round| {
                        let round = Round {
                            revocation,
                            round,
                            nodes,
                            application,
                        };
                        round.play(&mut random)
                    };
                    (worker..rounds)
                        .step_by(WORKERS)
                        .map(play)
                        .collect::<Vec<_>>()
                })
            })
            .collect();
        let outcomes = workers.into_iter().map(|worker| worker.join());
        outcomes
            .flat_map(|outcomes| outcomes.unwrap_or_else(|panic| std::panic::resume_unwind(panic)))
            .collect()
    })
}

/// What the nodes have to know for it.
fn configured(revocation: Revocation, config: Config) -> Config {
    match revocation {
        Revocation::Membership | Revocation::Absent | Revocation::Returned => config,
        Revocation::Session => rows_of_sessions(config),
        Revocation::Ban => rows_of_sessions(config)
            .text("user.table", "User")
            .text("user.banned", "banned"),
        Revocation::Role => config.with("[[route]]\ntable = \"Activity\"\nroles = [\"editor\"]\n"),
        Revocation::Organisation => config.text("organization.table", "Organization"),
    }
}

fn rows_of_sessions(config: Config) -> Config {
    config
        .set("auth.mode", "[\"jwt\", \"session\"]")
        .text("session.table", "Session")
}

/// A number of the environment's.
fn number(name: &str) -> Option<u64> {
    let text = std::env::var(name).ok()?;
    Some(
        text.parse()
            .unwrap_or_else(|_| panic!("{name} is a number, not {text:?}")),
    )
}
