//! Chaos, seen from outside: two real nodes on a real PostgreSQL, and everything that a machine can be
//! made to suffer, all at once; at the end each client must have seen exactly what PostgreSQL's own decoder
//! says its organisation had to see, and nothing of anybody else's. What can be said more strictly of one
//! thing alone is tried by itself: hostile requests, clocks, logs, memory, links.
//!
//! `script/chaos` runs what takes long; among the ordinary tests it takes some minutes.
//!
//! `plan` says how long and how many, `house` is what it happens to, `lanes` strike it by `faults`, with
//! `proxy`, `link`, `surroundings` and `crowd`; `writers` are the application and `clients` its browsers;
//! `table` is what is told. The oracle, what it expects and the verdict are those of the crashes, `refused`
//! is what the core is tried with, too. `requests` has all that are hostile, and `hostile` sends them; `clocks`,
//! `logs`, `memory` and `links` are what they say.

#![expect(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "what a test prints is for the person who runs it"
)]

mod clients;
mod clocks;
mod crowd;
#[path = "../crash/decoding.rs"]
mod decoding;
#[path = "../crash/event_source.rs"]
mod event_source;
#[path = "../crash/expectation.rs"]
mod expectation;
mod faults;
mod hostile;
mod house;
mod lanes;
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
#[path = "../crash/stage.rs"]
#[expect(dead_code, reason = "shared with the crashes, which use more of it")]
mod stage;
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
#[path = "../crash/verdict.rs"]
mod verdict;
mod writers;

use std::sync::atomic::{AtomicBool, AtomicI32, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, mpsc};
use std::thread;
use std::time::{Duration, Instant};

use clients::{Client, Counts, Seen};
use house::House;
use lanes::Lane;
use ledger::Ledger;
use plan::Plan;
use random::Random;
use stage::Stage;
use support::Node;
use table::Table;
use verdict::Truth;
use writers::{ORGANISATIONS, Writer};

const WRITERS: usize = 4;

/// How long the first streams may take to stand, and the last events to arrive after the last fault.
/// A client may be told several times to come back in 15 s.
const ARRIVAL_MAX: Duration = Duration::from_secs(180);

/// The most memory that a node may have, in bytes: its log of 64 MiB in two forms at worst, 64 batches
/// of 256 KiB for each of two engines, some thousand requests and slow streams at 32 KiB, and what an
/// allocator keeps. What has no bound goes beyond it soon.
const RSS_MAX: u64 = 384 << 20;

/// How many descriptors a node may hold at the end beyond those it had at the beginning: connections to
/// PostgreSQL that it has opened since.
const DESCRIPTORS_MORE: usize = 6;

/// How long those of ended connections may be held: who is gone without a word is found out after 30 s.
const CLOSING_MAX: Duration = Duration::from_secs(60);

/// How often a node is looked at.
const GLANCE: Duration = Duration::from_millis(200);

/// The bug that is built in, if one is: then the run must find it.
const PLANTED: Option<&str> = if cfg!(planted = "confirm_before_hand_over") {
    Some("confirm_before_hand_over")
} else {
    None
};

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
    break_off_on_signals(&stage);
    let outcome = Run::new(&plan, &mut random).perform(&plan, &stage, &mut random);
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

/// What the nodes hold.
#[derive(Default)]
struct Usage {
    /// Their processes, or 0 while there is none.
    processes: Vec<AtomicI32>,
    /// The most memory that any of them was seen to have, in bytes.
    memory_max: AtomicU64,
    /// The descriptors of each before the first client came.
    descriptors_before: Vec<usize>,
    /// The most that were left of any of them, beyond those.
    descriptors_more: AtomicUsize,
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
    counts: Arc<Counts>,
}

impl Run {
    fn new(plan: &Plan, random: &mut Random) -> Self {
        let (mut nodes, house) = House::new(plan, random);
        let process = |node: &mut Node| node.process().id().as_raw_nonzero().get();
        let usage = Usage {
            descriptors_before: nodes
                .iter_mut()
                .map(|node| node.process().descriptors())
                .collect(),
            processes: nodes
                .iter_mut()
                .map(|node| AtomicI32::new(process(node)))
                .collect(),
            ..Usage::default()
        };
        Self {
            nodes,
            house,
            usage,
        }
    }

    /// Plays the run to its end.
    fn perform(mut self, plan: &Plan, stage: &Stage, random: &mut Random) -> Outcome {
        let ledgers: Vec<Arc<Ledger>> = ORGANISATIONS.map(|_| Arc::default()).into();
        let counts = Arc::new(Counts::default());
        let (house, usage, nodes) = (&self.house, &self.usage, &mut self.nodes);
        let clients: Vec<Client> = (0..house.users.len())
            .map(|number| client(number, house, &ledgers, &counts, random.fork()))
            .collect();
        let is_watching = AtomicBool::new(true);
        let (seen, transactions) = thread::scope(|scope| {
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
            (seen, joined(transactions))
        });
        usage.wait_for_descriptors(stage);
        let of = |number: usize| number % ORGANISATIONS.len();
        Outcome {
            house: self.house,
            usage: self.usage,
            seen: (0..).map(of).zip(seen).collect(),
            transactions,
            ledgers,
            counts,
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

impl Usage {
    /// Looks at the nodes for as long as this is so.
    fn watch(&self, goes_on: impl Fn() -> bool) {
        while goes_on() {
            for process in &self.processes {
                if let Some((memory, _)) = lanes::usage(process.load(Ordering::Relaxed)) {
                    self.memory_max.fetch_max(memory, Ordering::Relaxed);
                }
            }
            thread::sleep(GLANCE);
        }
    }

    /// Waits until no more descriptors are held than before, and notes how many are.
    fn wait_for_descriptors(&self, stage: &Stage) {
        let more = || {
            let now = self.processes.iter().zip(&self.descriptors_before);
            let more = now.filter_map(|(process, before)| {
                let (_, now) = lanes::usage(process.load(Ordering::Relaxed))?;
                Some(now.saturating_sub(*before))
            });
            more.max().unwrap_or(usize::MAX)
        };
        let limit = if stage.is_broken_off() {
            Duration::ZERO
        } else {
            CLOSING_MAX
        };
        support::becomes_true(limit, || more() <= DESCRIPTORS_MORE);
        self.descriptors_more.store(more(), Ordering::Relaxed);
    }
}

/// Waits until everybody has got to the last event. Who does not get there has missed something, which
/// the verdict says.
fn wait_for_all(stage: &Stage, is_done: impl Fn() -> bool) {
    let deadline = Instant::now() + ARRIVAL_MAX;
    while !is_done() {
        if Instant::now() >= deadline {
            stage.say("not everybody has got to the last event");
            stage.break_off();
            return;
        }
        thread::sleep(Duration::from_millis(20));
    }
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
        let mut lost = 0;
        for (number, (organisation, seen)) in self.seen.iter().enumerate() {
            let organisation = ORGANISATIONS[*organisation];
            let missing = truth.missing(organisation, &seen.positions, &seen.gaps);
            lost += missing.len() as u64;
            wrong.extend(truth.describe(organisation, &format!("user-{number}"), &missing));
        }
        let count = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let counts = &self.counts;
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
            faults: self.house.tally.counts(),
            skips: self.house.tally.skips(),
        };
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
fn client(
    number: usize,
    house: &House,
    ledgers: &[Arc<Ledger>],
    counts: &Arc<Counts>,
    random: Random,
) -> Client {
    let (organisation, user) = house.users[number].clone();
    let (addresses, is_remote) = house.way(number);
    Client {
        organisation,
        user,
        foreign: house.markers.foreign(organisation),
        addresses,
        is_remote,
        random,
        ledger: Arc::clone(&ledgers[number % ORGANISATIONS.len()]),
        counts: Arc::clone(counts),
    }
}

fn joined<T>(thread: thread::ScopedJoinHandle<'_, T>) -> T {
    thread
        .join()
        .unwrap_or_else(|panic| std::panic::resume_unwind(panic))
}

/// Ctrl-C and SIGTERM end the run like a failure: everything that was started is ended, and every
/// directory, namespace and control group removed.
fn break_off_on_signals(stage: &Arc<Stage>) {
    use tokio::signal::unix::{SignalKind, signal};
    let stage = Arc::clone(stage);
    thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .expect("a runtime on the current thread needs only descriptors");
        runtime.block_on(async {
            let mut interrupt = signal(SignalKind::interrupt()).expect("it can be handled");
            let mut terminate = signal(SignalKind::terminate()).expect("it can be handled");
            tokio::select! {
                _ = interrupt.recv() => {}
                _ = terminate.recv() => {}
            }
        });
        stage.interrupt();
    });
}
