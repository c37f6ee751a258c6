//! Nothing is lost across crashes: writers write, clients read, and meanwhile the nodes are killed and
//! PostgreSQL is stopped in every way it can be. At the end each client must have seen exactly what
//! PostgreSQL's own decoder says its organisation had to see.
//!
//! `script/crash` runs it for as long as is wanted, and with a bug built in on purpose; among the
//! ordinary tests it takes a minute.
//!
//! `plan` says what happens when, `writers`, `clients` and `chaos` do it, `oracle` and `expectation`
//! know what must have been seen, `verdict` compares; `course` is what chaos has in common with it.

#![expect(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "what a test prints is for the person who runs it"
)]

mod chaos;
mod clients;
mod course;
mod decoding;
mod event_source;
mod expectation;
mod ledger;
mod oracle;
mod plan;
mod random;
mod stage;
#[path = "../support/mod.rs"]
#[expect(
    dead_code,
    unused_imports,
    unused_macros,
    reason = "shared with the other tests, which use more of it"
)]
mod support;
mod verdict;
mod writers;

use std::net::SocketAddr;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, mpsc};
use std::thread;
use std::time::Instant;

use chaos::Chaos;
use clients::{Client, Seen};
use course::{ARRIVAL_MAX, PLANTED, break_off_on_signals, joined, wait_for_all};
use ledger::Ledger;
use plan::Plan;
use random::Random;
use stage::Stage;
use support::postgres::Cluster;
use support::{Config, Database, Driver, Node};
use verdict::Truth;
use writers::{ORGANISATIONS, Writer};

const WRITERS: usize = 4;
const CLIENTS: usize = 20;

// Case: 41, 46
#[test]
fn nothing_is_lost_across_crashes() {
    if let Ok(wanted) = std::env::var("CRASH_PLANTED") {
        assert_eq!(PLANTED, Some(wanted.as_str()), "no bug of this name");
    }
    let (plan, mut random) = Plan::from_environment();
    let stage = Stage::new();
    stage.say(&format!(
        "seed {}, {} s, {} nodes, window {} s; {} kills of a node, {} restarts of PostgreSQL",
        plan.seed,
        plan.length.as_secs(),
        plan.nodes,
        plan.window().as_secs(),
        plan.on_nodes.len(),
        plan.on_postgres.len(),
    ));
    let stage = Arc::new(stage);
    let is_over = break_off_on_signals(&stage);
    let outcome = Run::new(&plan).perform(&plan, &stage, &mut random);
    is_over.store(true, Ordering::Relaxed);
    assert!(!stage.is_interrupted(), "broken off from outside");
    let mut wrong = stage.violations();
    if wrong.is_empty() {
        wrong = outcome.judge(&stage);
    }
    let wrong = wrong.join("\n");
    if PLANTED.is_some() {
        // It has to be found by what it does, not by something else that goes wrong.
        let is_found = [clients::RESET, verdict::MISSED]
            .iter()
            .any(|what| wrong.contains(what));
        assert!(is_found, "the planted bug was not found:\n{wrong}");
        stage.say(&format!("the planted bug was found:\n{wrong}"));
    } else {
        assert!(wrong.is_empty(), "seed {}:\n{wrong}", plan.seed);
    }
}

/// The servers of a run.
struct Run {
    // Dropped in this order: the nodes let go of their slots before the server ends.
    nodes: Vec<Node>,
    database: Database,
    cluster: Arc<Cluster>,
}

/// What a run leaves.
struct Outcome {
    transactions: Vec<oracle::Transaction>,
    /// By organisation.
    ledgers: Vec<Arc<Ledger>>,
    /// Of each client, with the place of its organisation.
    seen: Vec<(usize, Seen)>,
    answered: u64,
    /// How many strikes hit a long transaction.
    hits: u64,
    /// Where the anchor slot and the log stood at the beginning and at the end.
    anchor: ((u64, u64), (u64, u64)),
}

impl Run {
    fn new(plan: &Plan) -> Self {
        let cluster = Arc::new(Cluster::start());
        let database = cluster.create_database();
        let sql = database.connect();
        sql.run(r#"INSERT INTO "Organization" VALUES ('initech', 'Initech')"#);
        for client in 0..CLIENTS {
            let organisation = ORGANISATIONS[client % ORGANISATIONS.len()];
            sql.run(&format!(
                r#"INSERT INTO "User" VALUES ('user-{client}', 'U', 'hash');
                   INSERT INTO "OrganizationMember" ("organizationId", "userId")
                   VALUES ('{organisation}', 'user-{client}')"#
            ));
        }
        oracle::create_slot(&sql);
        let window = format!("{}s", plan.window().as_secs());
        let config = Config::new(&database, Driver::Uring)
            .text("history.window", &window)
            .text("http.heartbeat", "2s");
        let others = config.clone().on_another_port();
        let others = others.text("engine.driver", Driver::Epoll.setting());
        let nodes = [config, others];
        let nodes = nodes[..plan.nodes].iter().map(Node::start).collect();
        Self {
            nodes,
            database,
            cluster,
        }
    }

    /// Plays the run to its end.
    fn perform(mut self, plan: &Plan, stage: &Stage, random: &mut Random) -> Outcome {
        let addresses: Vec<SocketAddr> = self.nodes.iter().map(Node::address).collect();
        let ledgers: Vec<Arc<Ledger>> = ORGANISATIONS.map(|_| Arc::default()).into();
        let clients: Vec<Client> = (0..CLIENTS)
            .map(|number| client(number, &addresses, &ledgers, random.fork()))
            .collect();
        let writers: Vec<Writer<'_>> = (0..WRITERS)
            .map(|number| Writer::new(number, stage, random.fork()))
            .collect();
        let (database, cluster, nodes) = (&self.database, &self.cluster, &mut self.nodes);
        let anchor = anchor(database);
        thread::scope(|scope| {
            let _actor = stage.actor();
            let (opened, all_open) = mpsc::channel();
            let clients: Vec<_> = clients
                .into_iter()
                .map(|client| {
                    let opened = opened.clone();
                    scope.spawn(move || client.run(stage, || opened.send(()).expect("awaited")))
                })
                .collect();
            drop(opened);
            for _ in 0..CLIENTS {
                let open = all_open.recv_timeout(ARRIVAL_MAX);
                open.expect("every client gets a stream at the beginning");
            }
            stage.say("every client has a stream");
            let transactions = scope.spawn(|| oracle::read(stage, database));
            let writers: Vec<_> = writers
                .into_iter()
                .map(|writer| scope.spawn(|| writer.run(database)))
                .collect();
            let hits = strike(plan, stage, database, cluster, nodes);
            stage.close();
            let answered = writers.into_iter().map(joined).sum();
            stage.say("the writers have ended, and everything is up");
            if !stage.is_broken_off() {
                writers::write_end(database, stage);
            }
            wait_for_all(stage, || {
                clients.iter().all(|client| client.is_finished()) && transactions.is_finished()
            });
            let clients = clients.into_iter().map(joined);
            let of = |number: usize| number % ORGANISATIONS.len();
            Outcome {
                seen: (0..).map(of).zip(clients).collect(),
                transactions: joined(transactions),
                ledgers,
                answered,
                hits,
                anchor: (anchor, self::anchor(database)),
            }
        })
    }
}

/// Strikes as planned, and lets the writers write for as long as planned. Returns how many strikes hit
/// a long transaction.
fn strike(
    plan: &Plan,
    stage: &Stage,
    database: &Database,
    cluster: &Cluster,
    nodes: &mut [Node],
) -> u64 {
    let (aim, began) = (Mutex::new(()), Instant::now());
    let chaos = Chaos {
        stage,
        database,
        aim: &aim,
        began,
    };
    let hits = thread::scope(|scope| {
        let on_nodes = scope.spawn(|| chaos.strike_nodes(nodes, &plan.on_nodes));
        let on_postgres = scope.spawn(|| chaos.strike_postgres(cluster, &plan.on_postgres));
        joined(on_nodes) + joined(on_postgres)
    });
    let left = plan.length.saturating_sub(began.elapsed());
    stage.sleep(left, Stage::is_broken_off);
    hits
}

/// Where the anchor slot stands, in bytes of the log, and up to where the log goes.
fn anchor(database: &Database) -> (u64, u64) {
    let position = |expression: &str| {
        let position = database.connect().value(&format!(
            "SELECT {expression} - '0/0'::pg_lsn FROM pg_replication_slots
             WHERE plugin = 'pgoutput' AND NOT temporary"
        ));
        position.parse().expect("a position is a number")
    };
    (
        position("confirmed_flush_lsn"),
        position("pg_current_wal_flush_lsn()"),
    )
}

impl Outcome {
    /// Says what is wrong; nothing, if all is well.
    fn judge(self, stage: &Stage) -> Vec<String> {
        let truth = Truth::new(&self.transactions);
        let changes = self.transactions.iter().map(|it| it.changes.len());
        let changes: usize = changes.sum();
        let sum =
            |count: fn(&Seen) -> u64| -> u64 { self.seen.iter().map(|(_, s)| count(s)).sum() };
        stage.say(&format!(
            "{changes} changes in {} transactions, {} commits answered; {} strikes within a long \
             transaction; {} streams opened, {} put off, {} ended with words; events: {}",
            self.transactions.len(),
            self.answered,
            self.hits,
            sum(|seen| seen.streams),
            sum(|seen| seen.refusals),
            sum(|seen| seen.byes),
            ORGANISATIONS
                .map(|name| format!("{name} {}", truth.events(name)))
                .join(", "),
        ));
        let ((before, began), (after, ended)) = self.anchor;
        stage.say(&format!(
            "the log has grown by {} KiB; the anchor has moved on by {} KiB and holds back {} KiB",
            (ended - began) / 1_024,
            (after - before) / 1_024,
            (ended - after) / 1_024,
        ));
        let mut wrong = Vec::new();
        for (name, ledger) in ORGANISATIONS.iter().zip(self.ledgers) {
            let ledger = Arc::into_inner(ledger).expect("the clients are gone");
            wrong.extend(truth.judge_events(name, &ledger.into_events()));
        }
        for (number, (organisation, seen)) in self.seen.iter().enumerate() {
            let user = format!("user-{number}");
            let organisation = ORGANISATIONS[*organisation];
            let missing = truth.missing(organisation, &seen.positions, &[]);
            wrong.extend(truth.describe(organisation, &user, &missing));
        }
        if self.hits == 0 {
            wrong.push("no strike came within a long transaction".to_owned());
        }
        wrong
    }
}

/// One client. Half of them change nodes, a third goes away now and then.
fn client(number: usize, nodes: &[SocketAddr], ledgers: &[Arc<Ledger>], random: Random) -> Client {
    let organisation = number % ORGANISATIONS.len();
    let stays = (number / ORGANISATIONS.len()).is_multiple_of(2);
    Client {
        organisation: ORGANISATIONS[organisation],
        user: format!("user-{number}"),
        nodes: if stays {
            vec![nodes[number % nodes.len()]]
        } else {
            nodes.to_vec()
        },
        naps: number % 3 == number / 9 % 3,
        random,
        ledger: Arc::clone(&ledgers[organisation]),
    }
}
