//! The real engine behind the real driver, in a process without PostgreSQL.
//!
//! What control and replication do otherwise is done here: `admission` lets every stream into the
//! organisation its query names, with a `Grant` as control would make it, and `publishing` turns each
//! request of a publisher into a transaction, as replication would hand it over. Sessions,
//! memberships and decoding are not in it.
//!
//! Publishers have an address of their own, since the engine closes a connection after each answer,
//! and since replication hands its batches over on a thread of its own, too; `GET /metrics` is answered
//! there (`metrics`). What a burst needed is given back as a node gives it back (`housekeeping`). Both
//! addresses are printed: `publishing 127.0.0.1:…`, then `listening 127.0.0.1:…`.

mod admission;
mod commits;
mod housekeeping;
mod metrics;
mod publishing;

use std::io::Write as _;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::sync::Arc;
use std::sync::mpsc::sync_channel;
use std::time::Duration;

use clap::Parser;
use driver::Port;
use wire::{Batch, Start};

use crate::admission::Uplink;
use crate::commits::Commits;

/// How many requests wait for their admission, as in the node.
const REQUESTS_MAX: usize = 4096;

/// No heartbeat falls into a measurement.
const HEARTBEAT_MS: u64 = 24 * 60 * 60 * 1000;

/// As `history.max_bytes` is by default.
const LOG_BYTES_MAX: usize = 256 * 1024 * 1024;

/// The engine and the driver of Tailrace, fed with batches instead of a database's log.
#[derive(Parser)]
struct Arguments {
    /// `uring` or `epoll`.
    #[arg(long, default_value = "uring")]
    driver: driver::Choice,
    /// How many engine threads.
    #[arg(long, default_value_t = 1)]
    threads: u16,
    /// The most bytes of the log.
    #[arg(long, default_value_t = LOG_BYTES_MAX)]
    log_bytes: usize,
    /// After how many milliseconds of silence a stream gets a heartbeat.
    #[arg(long, default_value_t = HEARTBEAT_MS)]
    heartbeat_ms: u64,
}

fn main() {
    let arguments = Arguments::parse();
    let options = driver::Options {
        listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
        threads: arguments.threads,
        choice: arguments.driver,
    };
    let config = |engine| engine::Config {
        engine,
        boot: 1,
        seed: [7; 16],
        streams: Vec::new(),
        heartbeat_ms: arguments.heartbeat_ms,
        log_bytes_max: arguments.log_bytes,
        reset_spread_ms: 10_000,
        idle_close_ms: 0,
        resume_wait_ms: 15_000,
    };
    let (sender, requests) = sync_channel(REQUESTS_MAX);
    let uplink = |_| Box::new(Uplink(sender.clone())) as Box<dyn driver::Uplink>;
    let engines = driver::start(&options, config, uplink)
        .unwrap_or_else(|error| panic!("the engine does not start: {error}"));
    let commits = Commits::new();
    let start = Batch::Start(Arc::new(Start {
        lineage: commits.lineage().clone(),
        floor: commits.floor(),
        caught_up: commits.floor(),
    }));
    let ports = engines.ports().to_vec();
    hand_over(&ports, &start);

    let publishers = TcpListener::bind((Ipv4Addr::LOCALHOST, 0));
    let publishers = publishers.expect("loopback has a free port");
    let publishing = publishers.local_addr();
    let publishing = publishing.expect("a bound socket has an address");
    let listening = engines.local_addr();
    let announcement = format!("publishing {publishing}\nlistening {listening}\n");
    let announced = std::io::stdout().write_all(announcement.as_bytes());
    announced.expect("whoever starts it reads");
    {
        let ports = ports.clone();
        std::thread::spawn(move || admission::run(&ports, &requests));
    }
    {
        let port = ports.first().expect("there is an engine").clone();
        std::thread::spawn(move || housekeeping::run(&port));
    }
    publishing::run(&publishers, &ports, commits);
}

/// Hands a batch to every engine, and waits where a channel is full, as replication does.
fn hand_over(ports: &[Port], batch: &Batch) {
    for port in ports {
        let mut batch = batch.clone();
        while let Err(returned) = port.try_batch(batch) {
            batch = returned;
            std::thread::sleep(Duration::from_millis(1));
        }
    }
}
