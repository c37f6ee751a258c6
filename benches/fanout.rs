//! CPU per delivery: one 300-byte event to 10,000 connections, and again after half of them were
//! replaced; the engine on both drivers beside a bare `send(2)` loop and two plain servers.
//!
//! `cargo bench --bench fanout`. What is measured is the user and system time of the server process,
//! all its threads, from one publish to the last delivery, in nanoseconds
//! (`/proc/<pid>/task/*/schedstat`), over the number of deliveries. On loopback that includes the
//! receiver's half of TCP, which runs within the `send`, for every server alike. The readers check
//! every byte. All servers stand side by side, each with its own 10,000 connections, and take turns,
//! so that whatever disturbs the machine disturbs them all; the figure is the median of the rounds.
//!
//! Tailrace here is the real engine and the real driver without PostgreSQL (`support/in_process.rs`
//! says what stands in for the rest). The io_uring driver sends by batches of `SEND` entries and the
//! epoll driver by `send(2)`, so their two lines also compare these. The last column is the CPU time
//! to open a stream: accept, request, response, and in Tailrace the way to the control thread and
//! back.

#[expect(
    dead_code,
    unused_imports,
    reason = "shared with the other benches, which use more of it"
)]
mod support;

use std::time::Duration;

use support::{Contestant, Readers, Requests, Server};

/// Each event, as a whole SSE block.
const EVENT_BYTES: usize = 300;

/// Rounds before the counted ones, for caches, congestion windows and closed sockets to settle.
const WARM_UP_ROUNDS: usize = 5;

/// How long a server may go on after the last delivery before its time is read.
const SETTLE: Duration = Duration::from_millis(5);

fn main() {
    support::play_role();
    if !support::is_asked_to_measure() {
        return;
    }
    let connections = support::option("--connections", 10_000);
    let rounds = support::option("--rounds", 41);

    let [uring, epoll] = support::tailrace();
    let [monoio, tokio_uring] = support::references();
    let mut columns = [support::bare_loop(), uring, epoll, monoio, tokio_uring]
        .map(|contestant| Column::open(contestant, connections));
    let first = measure(&mut columns, connections, rounds);
    for column in &mut columns {
        column.readers.tell(&format!("replace {}", connections / 2));
        column.readers.wait();
    }
    let second = measure(&mut columns, connections, rounds);
    report(&columns, connections, rounds, &first, &second);
}

/// A server with its readers.
struct Column {
    name: String,
    server: Server,
    readers: Readers,
    /// The server's CPU time to open a stream, in microseconds.
    opening: f64,
}

impl Column {
    fn open(contestant: Contestant, connections: usize) -> Self {
        let server = contestant.start();
        let requests = Requests {
            streams_per_organisation: connections,
            session: None,
        };
        let mut readers = Readers::start(server.address(), requests);
        let before = cpu_ns(server.id());
        readers.tell(&format!("open {connections}"));
        readers.wait();
        let spent = cpu_ns(server.id()) - before;
        Self {
            name: contestant.name,
            server,
            readers,
            opening: spent as f64 / connections as f64 / 1_000.0,
        }
    }

    /// Sends one event to every connection, and returns the server's CPU time in nanoseconds.
    fn round(&mut self) -> u64 {
        let before = cpu_ns(self.server.id());
        self.readers.tell(&format!("take {EVENT_BYTES}"));
        self.server.publish(&support::event(EVENT_BYTES));
        self.readers.wait();
        std::thread::sleep(SETTLE);
        cpu_ns(self.server.id()) - before
    }
}

/// The median of the rounds for each column, in microseconds per delivery.
fn measure(columns: &mut [Column], connections: usize, rounds: usize) -> Vec<f64> {
    let mut samples = vec![Vec::with_capacity(rounds); columns.len()];
    for round in 0..WARM_UP_ROUNDS + rounds {
        for (column, samples) in columns.iter_mut().zip(&mut samples) {
            let spent = column.round();
            if round >= WARM_UP_ROUNDS {
                samples.push(spent);
            }
        }
    }
    let median = |mut samples: Vec<u64>| {
        samples.sort_unstable();
        samples[samples.len() / 2] as f64 / connections as f64 / 1_000.0
    };
    samples.into_iter().map(median).collect()
}

/// The CPU time of all threads of a process, user and system, in nanoseconds: the first field of
/// `schedstat` (Linux, Documentation/scheduler/sched-stats).
fn cpu_ns(process: u32) -> u64 {
    let tasks = std::fs::read_dir(format!("/proc/{process}/task")).expect("the server runs");
    let spent = tasks.map(|task| {
        let path = task
            .expect("the directory is readable")
            .path()
            .join("schedstat");
        let text = std::fs::read_to_string(&path).unwrap_or_else(|error| {
            panic!(
                "{}: {error} (the kernel needs CONFIG_SCHED_INFO)",
                path.display()
            )
        });
        let first = text
            .split_ascii_whitespace()
            .next()
            .expect("it has three numbers");
        first.parse::<u64>().expect("it has three numbers")
    });
    spent.sum()
}

#[expect(clippy::print_stdout, reason = "the table is what a bench is for")]
fn report(columns: &[Column], connections: usize, rounds: usize, first: &[f64], second: &[f64]) {
    println!("\nCPU per delivery, one {EVENT_BYTES}-byte event to {connections} connections,");
    println!("median of {rounds} rounds ({})\n", support::machine());
    println!("                          first connections       half of them replaced   opening");
    println!("server                       µs   × bare             µs   × bare           µs");
    for (index, column) in columns.iter().enumerate() {
        println!(
            "{:<24} {:>6.2}   {:>6.2}         {:>6.2}   {:>6.2}       {:>6.1}",
            column.name,
            first[index],
            first[index] / first[0],
            second[index],
            second[index] / second[0],
            column.opening,
        );
    }
}
