//! Chaos, seen from outside: two real nodes on a real PostgreSQL, and everything that a machine can be
//! made to suffer, all at once; at the end each client must have seen exactly what PostgreSQL's own decoder
//! says its organisation had to see, and nothing of anybody else's. What can be said more strictly of one
//! thing alone is tried by itself: hostile requests, clocks, logs, memory, links.
//!
//! `script/chaos` runs what takes long; among the ordinary tests it takes some minutes.
//!
//! `plan` says how long and how many, `house` is what it happens to, `lanes` strike it by `faults`, with
//! `proxy`, `link`, `surroundings`, `groups`, `crowd`, `storm` and `sluggish`; `writers` are the application and
//! `clients` its browsers, `leaks` is the search for what they may not see, and `usage` what nodes hold;
//! `table` is what is told. The oracle, what it expects and the verdict are those of the crashes, `refused`
//! is what the core is tried with, too. `requests` and `asked` have all that are hostile, and `hostile` sends them; `clocks`,
//! `logs`, `memory` and `links` are what they say.

#![expect(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "what a test prints is for the person who runs it"
)]

mod asked;
mod clients;
mod clocks;
#[path = "../crash/course.rs"]
mod course;
mod crowd;
#[path = "../crash/decoding.rs"]
mod decoding;
#[path = "../crash/event_source.rs"]
mod event_source;
#[path = "../crash/expectation.rs"]
mod expectation;
mod faults;
mod groups;
mod hostile;
mod house;
mod lanes;
mod leaks;
#[path = "../crash/ledger.rs"]
mod ledger;
mod link;
mod links;
mod logs;
mod memory;
#[path = "../crash/oracle.rs"]
mod oracle;
mod plan;
mod proxy;
#[path = "../crash/random.rs"]
mod random;
#[path = "../../engine/tests/main/hostile/refused.rs"]
mod refused;
mod requests;
mod sluggish;
#[path = "../crash/stage.rs"]
#[expect(dead_code, reason = "shared with the crashes, which use more of it")]
mod stage;
mod storm;
#[path = "../support/mod.rs"]
#[expect(
    dead_code,
    unused_imports,
    unused_macros,
    reason = "shared with the other tests, which use more of it"
)]
mod support;
mod surroundings;
mod table;
mod usage;
#[path = "../crash/verdict.rs"]
mod verdict;
mod writers;

use std::sync::atomic::{AtomicBool, AtomicI32, AtomicU64, Ordering};
use std::sync::{Arc, mpsc};
use std::thread;
use std::time::Instant;

use clients::{Client, Seen};
use course::{ARRIVAL_MAX, PLANTED, break_off_on_signals, joined, wait_for_all};
use house::{House, NODES};
use lanes::Lane;
use leaks::Search;
use ledger::Ledger;
use plan::Plan;
use random::Random;
use stage::Stage;
use support::Node;
use table::Table;
use usage::{DESCRIPTORS_MORE, Usage};
use verdict::Truth;
use writers::{ORGANISATIONS, Writer};

const WRITERS: usize = 4;

/// The most memory that a node may ever have had, in bytes: its log of 64 MiB in two forms at worst, 64
/// batches of 256 KiB for each of two engines, 16 MiB of requests in pieces for each, some thousand slow
/// streams at some KiB, and what an allocator keeps. What has no bound goes beyond it soon.
const RSS_MAX: u64 = 256 << 20;

#[test]
fn nothing_is_lost_and_nobody_let_in_whatever_happens_at_once() {
    if let Ok(wanted) = std::env::var("CHAOS_PLANTED") {
        assert_eq!(PLANTED, Some(wanted.as_str()), "no bug of this name");
    }
    let (plan, mut random) = Plan::from_environment();
    let stage = Arc::new(Stage::new());
    stage.say(&format!(
        "seed {}, {} s, {} clients of each of {} organisations, crowds of {}",
        plan.seed,
        plan.length.as_secs(),
        plan.clients,
        ORGANISATIONS.len(),
        plan.crowd,
    ));
    let is_over = break_off_on_signals(&stage);
    surroundings::raise_descriptors(plan.descriptors());
    let outcome = Run::new(&plan, &mut random).perform(&plan, &stage, &mut random);
    is_over.store(true, Ordering::Relaxed);
    assert!(!stage.is_interrupted(), "broken off from outside");
    let (table, mut wrong) = outcome.judge(&plan);
    println!("\n{table}");
    faults::tell(&format!("chaos, seed {}: {}", plan.seed, table.summary()));
    if !stage.violations().is_empty() {
        // They broke it off, and what else is wrong follows from that.
        wrong = stage.violations();
    }
    let wrong = wrong.join("\n");
    if PLANTED.is_some() {
        // It has to be found by what it does, not by something else that goes wrong.
        let is_found = [verdict::MISSED, table::RESETS]
            .iter()
            .any(|what| wrong.contains(what));
        assert!(is_found, "the planted bug was not found:\n{wrong}");
        stage.say(&format!("the planted bug was found:\n{wrong}"));
    } else {
        assert!(wrong.is_empty(), "seed {}:\n{wrong}", plan.seed);
        assert!(!stage.is_broken_off(), "seed {}: broken off", plan.seed);
    }
}

/// The servers of a run.
struct Run {
    // Dropped in this order: the nodes let go of their slots before the rest ends.
    nodes: Vec<Node>,
    house: House,
    usage: Usage,
}

/// What a run leaves.
struct Outcome {
    house: House,
    usage: Usage,
    transactions: Vec<oracle::Transaction>,
    /// By organisation.
    ledgers: Vec<Arc<Ledger>>,
    /// Of each client, with the place of its organisation.
    seen: Vec<(usize, Seen)>,
    /// What is wrong with the nodes in the end.
    unready: Vec<String>,
}

impl Run {
    fn new(plan: &Plan, random: &mut Random) -> Self {
        let (mut nodes, house) = House::new(plan, random);
        let usage = Usage::new(&mut nodes);
        Self {
            nodes,
            house,
            usage,
        }
    }

    /// Plays the run to its end.
    fn perform(mut self, plan: &Plan, stage: &Stage, random: &mut Random) -> Outcome {
        let ledgers: Vec<Arc<Ledger>> = ORGANISATIONS.map(|_| Arc::default()).into();
        let (house, usage, nodes) = (&self.house, &self.usage, &mut self.nodes);
        let clients: Vec<Client> = (0..house.users.len())
            .map(|number| client(number, house, &ledgers, random.fork()))
            .collect();
        let is_watching = AtomicBool::new(true);
        let (seen, transactions, unready) = thread::scope(|scope| {
            let _actor = stage.actor();
            let (opened, all_open) = mpsc::channel();
            let count = clients.len();
            let clients: Vec<_> = clients
                .into_iter()
                .map(|client| {
                    let opened = opened.clone();
                    let link = house.link.as_ref();
                    scope.spawn(move || {
                        client.run(stage, link, || opened.send(()).expect("it is awaited"))
                    })
                })
                .collect();
            drop(opened);
            for _ in 0..count {
                let open = all_open.recv_timeout(ARRIVAL_MAX);
                open.expect("every client gets a stream at the beginning");
            }
            stage.say("every client has a stream");
            let transactions = scope.spawn(|| oracle::read(stage, &house.database));
            let watch = scope.spawn(|| {
                usage.watch(|| is_watching.load(Ordering::Relaxed) && !stage.is_broken_off());
            });
            play(plan, stage, house, nodes, &usage.processes, random);
            let unready = match stage.is_broken_off() {
                true => Vec::new(),
                false => house.unready(nodes),
            };
            stage.say("everything is up, and the last events are written");
            if !stage.is_broken_off() {
                writers::write_end(&house.database, &house.markers);
            }
            wait_for_all(stage, || {
                clients.iter().all(|client| client.is_finished()) && transactions.is_finished()
            });
            is_watching.store(false, Ordering::Relaxed);
            joined(watch);
            let seen: Vec<Seen> = clients.into_iter().map(joined).collect();
            (seen, joined(transactions), unready)
        });
        usage.wait_for_descriptors(stage);
        let of = |number: usize| number % ORGANISATIONS.len();
        Outcome {
            house: self.house,
            usage: self.usage,
            seen: (0..).map(of).zip(seen).collect(),
            transactions,
            ledgers,
            unready,
        }
    }
}

/// Lets writers write and faults come, for as long as planned; at the end everything is up.
fn play(
    plan: &Plan,
    stage: &Stage,
    house: &House,
    nodes: &mut [Node],
    processes: &[AtomicI32],
    random: &mut Random,
) {
    let lane = Lane {
        stage,
        house,
        until: Instant::now() + plan.length,
        crowd: plan.crowd,
        is_soak: plan.is_soak,
        lasting: (plan.seed % NODES as u64) as usize,
        processes,
    };
    thread::scope(|scope| {
        for number in 0..WRITERS {
            let writer = Writer::new(number, stage, random.fork(), house.markers.clone());
            scope.spawn(move || writer.run(&house.database));
        }
        let forks: [Random; 4] = std::array::from_fn(|_| random.fork());
        let [on_nodes, on_database, on_network, as_a_crowd] = forks;
        let lanes = [
            scope.spawn(move || lane.strike_nodes(nodes, on_nodes)),
            scope.spawn(move || lane.strike_database(on_database)),
            scope.spawn(move || lane.strike_network(on_network)),
            scope.spawn(move || lane.strike_as_a_crowd(as_a_crowd)),
        ];
        lanes.into_iter().for_each(joined);
        stage.close();
    });
}

impl Outcome {
    /// Fills the table, and says what is wrong; nothing, if all is well.
    fn judge(self, plan: &Plan) -> (Table, Vec<String>) {
        let truth = Truth::new(&self.transactions);
        let mut wrong = Vec::new();
        for (name, ledger) in ORGANISATIONS.iter().zip(self.ledgers) {
            let ledger = Arc::into_inner(ledger).expect("the clients are gone");
            wrong.extend(truth.judge_events(name, &ledger.into_events()));
        }
        let (mut lost, mut told, mut due) = (0, 0, 0);
        for (number, (organisation, seen)) in self.seen.iter().enumerate() {
            let organisation = ORGANISATIONS[*organisation];
            let missing = truth.missing(organisation, &seen.positions, &seen.gaps);
            lost += missing.places.len() as u64;
            told += missing.told as u64;
            due += truth.events(organisation) as u64;
            wrong.extend(truth.describe(organisation, &format!("user-{number}"), &missing));
        }
        let count = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let counts = &self.house.counts;
        let events = ORGANISATIONS.iter().map(|name| truth.events(name) as u64);
        let table = Table {
            events: events.sum(),
            delivered: count(&counts.delivered),
            lost,
            duplicated: count(&counts.duplicated),
            leaked: count(&counts.leaked),
            resets: count(&counts.resets),
            streams: count(&counts.streams),
            refusals: count(&counts.refusals),
            byes: count(&counts.byes),
            memory_max: count(&self.usage.memory_max),
            descriptors_more: self.usage.descriptors_more.load(Ordering::Relaxed),
            life_max: self.usage.life_max(),
            faults: self.house.tally.counts(),
            skips: self.house.tally.skips(),
        };
        // Counted apart from what each has seen, and the same.
        if table.delivered + lost + told != due {
            wrong.push(format!(
                "{} delivered, {lost} lost and {told} told of, of {due} to be delivered",
                table.delivered
            ));
        }
        wrong.extend(self.unready);
        wrong.extend(table.judge(plan.goal, RSS_MAX, DESCRIPTORS_MORE));
        for (number, log) in self.house.logs.iter().enumerate() {
            if log.text().contains("panicked") {
                wrong.push(format!(
                    "node {number} has panicked:\n{}",
                    lanes::tail(&log.text())
                ));
            }
        }
        (table, wrong)
    }
}

/// One client, with its way to the nodes.
fn client(number: usize, house: &House, ledgers: &[Arc<Ledger>], random: Random) -> Client {
    let (organisation, user) = house.users[number].clone();
    let (addresses, is_remote) = house.way(number);
    Client {
        organisation,
        user,
        search: Search::new(house.markers.foreign(organisation)),
        addresses,
        is_remote,
        random,
        ledger: Arc::clone(&ledgers[number % ORGANISATIONS.len()]),
        counts: Arc::clone(&house.counts),
    }
}
