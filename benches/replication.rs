//! The speed of decoding: beside what PostgreSQL can send at all, and from memory alone.
//!
//! `cargo bench --bench replication`, some two minutes. A private PostgreSQL (fsync off, Unix socket)
//! gets a million rows, 100 to a transaction, behind a replication slot, from copies of which they are
//! read again and again (`replication/wal.rs` says what the rows look like):
//!
//! - *drained* by `pg_recvlogical -f /dev/null` and by `tailrace run`, in turn. The clock runs from the
//!   moment the walsender begins to stream until `pg_recvlogical` has seen the last commit and ends,
//!   and until the engine of the node has every event in its log and goes to sleep: the whole way, but
//!   for connections, of which there are none. Both stand on core 0 and the walsender on core 1; on
//!   two cores the node's engine thread thus takes its time from the replication thread's core.
//! - *from memory*: what the server said in a whole session is recorded once and played to a reader,
//!   in the pieces in which it came; the batches are counted and dropped. One thread.
//!
//! The last lines of both tables have one row in ten in a table that is routed; nothing says whose the
//! others are, so they are decoded, counted and go nowhere. CPU time is the scheduler's own count
//! (`schedstat`) by thread, PostgreSQL's what its postmaster reaped.

#[path = "support/command_line.rs"]
mod command_line;
#[path = "replication/drain.rs"]
mod drain;
#[path = "replication/recording.rs"]
mod recording;
#[expect(
    clippy::print_stderr,
    dead_code,
    unused_imports,
    unused_macros,
    reason = "a server, a node's configuration and a client of HTTP are all that is of use here"
)]
#[path = "../tests/support/mod.rs"]
mod support;
#[path = "replication/wal.rs"]
mod wal;

use drain::Drained;
use recording::{Pass, Recording};
use wal::{Rows, Wal};

fn main() {
    if !command_line::is_asked_to_measure() {
        return;
    }
    let rows = command_line::option("--rows", 1_000_000);
    let runs = command_line::option("--runs", 3);
    let recorded = command_line::option("--recorded", 100_000);
    println(&format!(
        "\nDraining the WAL of {rows} rows ({} if wide), median of {runs} runs",
        rows / 5
    ));
    println(&format!("({}, Unix socket)\n", command_line::machine()));
    println(DRAINED_HEAD);
    let mut passes = Vec::new();
    for kind in [Rows::Narrow, Rows::Wide, Rows::OneInTen] {
        let rows = if kind == Rows::Wide { rows / 5 } else { rows };
        let wal = Wal::prepare(kind, rows);
        if runs > 0 {
            let (plain, node) = drain(&wal, runs);
            println(&drained_lines(&wal, &plain, &node));
        }
        passes.push((kind, play(&Recording::take(&wal, recorded), runs.max(5))));
    }
    println(&format!(
        "\nDecoding and serialising from memory, {recorded} rows at a time, one thread\n"
    ));
    println(PLAYED_HEAD);
    for (kind, pass) in &passes {
        println(&played_line(*kind, pass));
    }
}

/// Drains it by both in turn, and returns the median of each.
fn drain(wal: &Wal, runs: usize) -> (Drained, Drained) {
    let (mut plain, mut node) = (Vec::new(), Vec::new());
    for _ in 0..runs {
        plain.push(drain::by_pg_recvlogical(wal));
        node.push(drain::by_node(wal));
    }
    let median = |mut runs: Vec<Drained>| {
        runs.sort_by(|a, b| a.seconds.total_cmp(&b.seconds));
        runs.swap_remove(runs.len() / 2)
    };
    (median(plain), median(node))
}

/// Plays it so often, and returns the median.
fn play(recording: &Recording, passes: usize) -> Pass {
    // The first one finds cold caches.
    recording.play();
    let mut passes: Vec<_> = (0..passes).map(|_| recording.play()).collect();
    passes.sort_by(|a, b| a.seconds.total_cmp(&b.seconds));
    passes.swap_remove(passes.len() / 2)
}

const DRAINED_HEAD: &str = "\
rows, and who drains them              rows/s   × pg_recvlogical   CPU s: client   engine   walsender";

fn drained_lines(wal: &Wal, plain: &Drained, node: &Drained) -> String {
    let line = |name: &str, drained: &Drained| {
        format!(
            "{name:<34} {:>10.0}   {:>16.2}   {:>13.2}   {:>6.2}   {:>9.2}",
            wal.rows as f64 / drained.seconds,
            plain.seconds / drained.seconds,
            drained.client_cpu,
            drained.engine_cpu,
            drained.server_cpu,
        )
    };
    let kind = wal.kind.as_str();
    [
        line(&format!("{kind}, pg_recvlogical"), plain),
        line(&format!("{kind}, tailrace"), node),
    ]
    .join("\n")
}

const PLAYED_HEAD: &str = "\
rows                             rows/s   ns/row   stream: MB/s   bytes/row   events: MB/s";

fn played_line(kind: Rows, pass: &Pass) -> String {
    let per_second = |count: usize| count as f64 / pass.seconds;
    format!(
        "{:<24} {:>14.0}   {:>6.0}   {:>12.0}   {:>9.0}   {:>12.0}",
        kind.as_str(),
        per_second(pass.rows),
        1e9 / per_second(pass.rows),
        per_second(pass.stream_bytes) / 1e6,
        pass.stream_bytes as f64 / pass.rows as f64,
        per_second(pass.event_bytes) / 1e6,
    )
}

#[expect(clippy::print_stdout, reason = "the table is what a bench is for")]
fn println(line: &str) {
    println!("{line}");
}
