//! Logs that nobody reads, that fill their disk, that are closed: nobody who streams waits for them, what
//! is thrown away is counted, and a node that has to end ends.

use std::fs;
use std::process::Command;
use std::time::Duration;

use crate::faults::skipped;
use crate::support::directory::Directory;
use crate::support::process::Signal;
use crate::support::{Config, Database, Driver, Node, Stream, wait_until};
use crate::surroundings::LogPipe;

/// How many events there are, each with a line: more than a pipe of 64 KiB and the queue of 8,192 lines
/// before it hold.
const EVENTS: usize = 30_000;
const STEP: usize = 10_000;

/// How long a node may take to end: half a second of drain, and a second or two for last words.
const END_MAX: Duration = Duration::from_secs(20);

/// What a log that goes on has more than a pipe holds.
const GOES_ON_BYTES: usize = 256 << 10;

const LOST: &str = "tailrace_log_lines_skipped_total{why=\"not_read\"}";

/// A node that logs there.
fn node(database: &Database, driver: Driver, log: &str) -> Node {
    let mut config = Config::new(database, driver);
    config.log = Some(log.to_owned());
    Node::start(&config)
}

/// Writes so many rows, all of which this stream sees.
fn write(database: &Database, stream: &mut Stream, rows: usize) {
    database.connect().run(&format!(
        r#"INSERT INTO "Client" ("organizationId", name)
           SELECT 'acme', 'C' FROM generate_series(1, {rows}) i"#
    ));
    let mut seen = 0;
    while seen < rows {
        let block = stream.next();
        let is_heartbeat = block.event.as_deref() == Some("heartbeat");
        assert!(block.is_data() || is_heartbeat, "{block:?}");
        seen += usize::from(block.is_data());
    }
}

#[test]
fn nobody_waits_for_a_reader_of_the_log() {
    for driver in [Driver::Uring, Driver::Epoll] {
        let database = Database::new();
        let log = LogPipe::new();
        let mut node = node(&database, driver, &log.path());
        let mut stream = node.open("acme", "alice");
        log.stop_reading();
        for _ in 0..EVENTS / STEP {
            write(&database, &mut stream, STEP);
        }
        wait_until("lines are thrown away and counted", END_MAX, || {
            node.metrics().value(LOST) > 0.0
        });
        // Who comes now is served as well.
        node.open("acme", "carol");
        assert_eq!(node.get("/readyz").head.status, 200);
        // Somebody reads again, and there are lines again.
        let read = log.text().len();
        log.read_on();
        wait_until("the log goes on", END_MAX, || {
            log.text().len() > read + GOES_ON_BYTES
        });
        // And it ends where nobody reads.
        log.stop_reading();
        write(&database, &mut stream, STEP);
        node.process().signal(Signal::TERM);
        let status = node.process().wait(END_MAX);
        assert!(status.success(), "{driver:?}: {status}");
    }
}

#[test]
fn a_log_whose_reader_has_gone_ends_nobody() {
    for driver in [Driver::Uring, Driver::Epoll] {
        let database = Database::new();
        let log = LogPipe::new();
        let mut node = node(&database, driver, &log.path());
        let mut stream = node.open("acme", "alice");
        // Every write fails from now on, with SIGPIPE for whoever does not ignore it.
        drop(log);
        for _ in 0..3 {
            write(&database, &mut stream, 100);
        }
        assert!(node.process().is_running());
        node.process().signal(Signal::TERM);
        let status = node.process().wait(END_MAX);
        assert!(status.success(), "{driver:?}: {status}");
    }
}

#[test]
fn a_start_that_fails_ends_where_nobody_reads_why() {
    let database = Database::new();
    let log = LogPipe::new();
    let mut config = Config::new(&database, Driver::Epoll).text("history.window", "nonsense");
    config.log = Some(log.path());
    log.stop_reading();
    log.fill();
    let mut node = Node::launch(&config);
    let status = node.process().wait(END_MAX);
    assert_eq!(status.code(), Some(1), "{status}");
}

#[test]
fn a_full_disk_under_the_log_harms_nobody() {
    let directory = Directory::new();
    let disk = match Disk::mount(directory.join("disk")) {
        Ok(disk) => disk,
        Err(why) => return skipped("a full disk under the log", &why),
    };
    for driver in [Driver::Uring, Driver::Epoll] {
        let database = Database::new();
        let log = format!("{}/log-{driver:?}", disk.path);
        let mut node = node(&database, driver, &log);
        let mut stream = node.open("acme", "alice");
        fs::write(format!("{}/ballast", disk.path), vec![0; 256 << 10])
            .expect_err("it is larger than its disk");
        write(&database, &mut stream, 5_000);
        assert_eq!(node.get("/readyz").head.status, 200);
        node.process().signal(Signal::TERM);
        assert!(node.process().wait(END_MAX).success());
        let length = fs::metadata(&log).expect("it was made").len();
        assert!(length <= Disk::BYTES, "{length}");
    }
}

/// A file system in memory that holds nearly nothing.
struct Disk {
    path: String,
}

impl Disk {
    const BYTES: u64 = 64 << 10;

    fn mount(path: String) -> Result<Self, String> {
        fs::create_dir(&path).expect("the directory of a test is ours");
        let size = format!("size={}", Self::BYTES);
        let output = Command::new("mount")
            .args(["-t", "tmpfs", "-o", &size, "tmpfs", &path])
            .output()
            .map_err(|error| format!("mount: {error}"))?;
        match output.status.success() {
            true => Ok(Self { path }),
            false => Err(String::from_utf8_lossy(&output.stderr).trim().to_owned()),
        }
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        // Lazily: a node that a failed test leaves may hold a file there.
        let unmounted = Command::new("umount").args(["-l", &self.path]).status();
        if !unmounted.is_ok_and(|status| status.success()) {
            eprintln!("{} stays mounted", self.path);
        }
    }
}
