//! Who drains the log: `pg_recvlogical`, and a node.

use std::fs;
use std::net::SocketAddr;
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::Pid;

use super::support::config::ADMIN_KEY;
use super::support::directory::Directory;
use super::support::metrics::Metrics;
use super::support::process::{Process, Program, Signal};
use super::support::{Config, Driver, Request, wait_until};
use super::wal::{Wal, pin};

/// The core of whoever drains.
const CLIENT_CORE: usize = 0;

/// How long anything may take.
const PATIENCE: Duration = Duration::from_secs(120);

/// How often a node is asked how far it is.
const POLL: Duration = Duration::from_millis(10);

/// What it took.
pub(super) struct Drained {
    pub(super) seconds: f64,
    /// CPU seconds of `pg_recvlogical`, or of all threads of the node but the engine's.
    pub(super) client_cpu: f64,
    /// CPU seconds of the node's engine thread.
    pub(super) engine_cpu: f64,
    /// CPU seconds of PostgreSQL's processes that have ended since: above all the walsender.
    pub(super) server_cpu: f64,
}

/// Drains a copy of the anchor by PostgreSQL's own client, which throws everything away.
pub(super) fn by_pg_recvlogical(wal: &Wal) -> Drained {
    let sql = &wal.sql;
    sql.run(
        "SELECT pg_copy_logical_replication_slot(slot_name, 'bench') FROM pg_replication_slots
          WHERE database = current_database() AND NOT temporary",
    );
    let end = sql.value("SELECT pg_current_wal_flush_lsn()");
    // Something to decode beyond the end, by which it finds that it is there.
    sql.run("SELECT pg_logical_emit_message(true, 'bench', '')");
    let server_before = reaped_cpu(Some(wal.postmaster));
    let own_before = reaped_cpu(None);
    let mut client = Command::new("pg_recvlogical")
        .args(["--start", "--slot", "bench", "--file", "/dev/null"])
        .args(["--dbname", &wal.database.socket_url(), "--endpos", &end])
        .args(["-o", "proto_version=1", "-o", "messages=true"])
        .args(["-o", "publication_names=tailrace", "--no-loop"])
        .stdin(Stdio::null())
        .spawn()
        .unwrap_or_else(|error| panic!("cannot run pg_recvlogical: {error}"));
    pin(Pid::from_child(&client), CLIENT_CORE);
    let begun = wait_streaming(wal);
    let status = client.wait().expect("a child can be waited for");
    let seconds = begun.elapsed().as_secs_f64();
    assert!(status.success(), "pg_recvlogical ended with {status}");
    wait_alone(wal);
    sql.run("SELECT pg_drop_replication_slot('bench')");
    Drained {
        seconds,
        client_cpu: reaped_cpu(None) - own_before,
        engine_cpu: 0.0,
        server_cpu: reaped_cpu(Some(wal.postmaster)) - server_before,
    }
}

/// Drains a copy of the anchor by a node that has just started, into its engine's log.
pub(super) fn by_node(wal: &Wal) -> Drained {
    let server_before = reaped_cpu(Some(wal.postmaster));
    let node = start_node(wal);
    let begun = wait_streaming(wal);
    let before = cpu_by_thread(node.process.id());
    let events = wal.kind.events(wal.rows) as f64;
    while node.events() < events {
        assert!(begun.elapsed() < PATIENCE, "the node does not get there");
        thread::sleep(POLL);
    }
    let seconds = begun.elapsed().as_secs_f64();
    let after = cpu_by_thread(node.process.id());
    drop(node);
    wait_alone(wal);
    Drained {
        seconds,
        client_cpu: after.others - before.others,
        engine_cpu: after.engine - before.engine,
        server_cpu: reaped_cpu(Some(wal.postmaster)) - server_before,
    }
}

/// A node, killed when dropped.
struct Node {
    // Dropped in this order: the process ends before its directory goes.
    process: Process,
    directory: Directory,
    address: SocketAddr,
}

/// Has a node make its anchor slot.
pub(super) fn make_anchor(wal: &Wal) {
    let node = start_node(wal);
    wait_streaming(wal);
    drop(node);
    wait_alone(wal);
}

/// Starts a node with one engine.
fn start_node(wal: &Wal) -> Node {
    let config = Config::new(&wal.database, Driver::Uring)
        .text("database.url", &wal.database.socket_url())
        .text("engine.driver", "auto")
        .set("engine.threads", "1")
        // The anchor stays where it is, however often it is read from there.
        .text("history.window", "10h")
        .text("history.wal_bytes", "100GiB");
    let directory = Directory::new();
    let file = directory.join("tailrace.toml");
    fs::write(&file, config.render()).expect("the directory is ours");
    let program = Program::new(env!("CARGO_BIN_EXE_tailrace"))
        .args(["run", "--config", &file])
        .env("TAILRACE_LOG", "warn")
        .output(directory.join("log"));
    let process = Process::spawn(&program, Signal::KILL);
    pin(process.id(), CLIENT_CORE);
    Node {
        process,
        directory,
        address: SocketAddr::from(([127, 0, 0, 1], config.address.port())),
    }
}

impl Node {
    /// How many events its engine has taken; told anew whenever it goes to sleep.
    fn events(&self) -> f64 {
        let authorization = format!("Bearer {ADMIN_KEY}");
        let page = Request::get("/metrics")
            .field("authorization", &authorization)
            .try_send(self.address);
        let page = page.unwrap_or_else(|error| {
            let log = fs::read_to_string(self.directory.join("log")).unwrap_or_default();
            panic!("the node does not answer: {error}\n{log}")
        });
        Metrics::parse(&page).value("tailrace_events_total")
    }
}

/// Waits until the walsender streams, and says when that was seen.
fn wait_streaming(wal: &Wal) -> Instant {
    let begun = Instant::now();
    while wal.walsenders("pg_stat_replication.state IN ('catchup', 'streaming')") == 0 {
        assert!(begun.elapsed() < PATIENCE, "nobody streams");
        thread::sleep(Duration::from_millis(1));
    }
    Instant::now()
}

/// Waits until no walsender is left, and the postmaster has counted what the last one took.
fn wait_alone(wal: &Wal) {
    let is_alone = || wal.walsenders("true") == 0 && !has_ended_children(wal.postmaster);
    wait_until("the walsenders have ended", PATIENCE, is_alone);
}

/// Whether a child has ended that is not counted yet: such a one has no command line any more.
fn has_ended_children(process: Pid) -> bool {
    let children = fs::read_to_string(format!("/proc/{process}/task/{process}/children"));
    let children = children.expect("the server runs");
    children
        .split_whitespace()
        .any(|child| fs::read(format!("/proc/{child}/cmdline")).is_ok_and(|line| line.is_empty()))
}

/// What the threads of a node took, in seconds.
struct ByThread {
    engine: f64,
    others: f64,
}

/// Reads it: the first field of `schedstat`, in nanoseconds (Linux,
/// Documentation/scheduler/sched-stats).
fn cpu_by_thread(process: Pid) -> ByThread {
    let tasks = fs::read_dir(format!("/proc/{process}/task")).expect("the node runs");
    let mut sum = ByThread {
        engine: 0.0,
        others: 0.0,
    };
    for task in tasks.flatten() {
        let read = |file: &str| fs::read_to_string(task.path().join(file));
        // A thread may end meanwhile: those that connect do.
        let (Ok(name), Ok(stat)) = (read("comm"), read("schedstat")) else {
            continue;
        };
        let nanoseconds = stat.split(' ').next().and_then(|text| text.parse().ok());
        let nanoseconds: f64 = nanoseconds.expect("it begins with a number");
        match name.starts_with("engine") {
            true => sum.engine += nanoseconds / 1e9,
            false => sum.others += nanoseconds / 1e9,
        }
    }
    sum
}

/// CPU seconds of the children of a process that have ended; `None` is this one (proc(5),
/// `/proc/pid/stat`, fields 16 and 17).
fn reaped_cpu(process: Option<Pid>) -> f64 {
    let process = process.unwrap_or_else(rustix::process::getpid);
    let stat = fs::read_to_string(format!("/proc/{process}/stat")).expect("it runs");
    let (_, fields) = stat
        .rsplit_once(')')
        .expect("field 2 ends with a parenthesis");
    let ticks = fields.split_whitespace().skip(13).take(2);
    let ticks: u64 = ticks
        .map(|field| field.parse::<u64>().expect("times are counted in ticks"))
        .sum();
    ticks as f64 / rustix::param::clock_ticks_per_second() as f64
}
