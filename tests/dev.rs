//! `tailrace dev`: one command that brings up everything, and takes it down again.

use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use serde_json::Value;

use crate::support::directory::Directory;
use crate::support::http::Request;
use crate::support::ports::free_port;
use crate::support::process::{Pid, Process, Program, Signal, is_alive};
use crate::support::sql::Sql;
use crate::support::{Stream, wait_until};

/// How long it may take to make a cluster, load it and start the node.
const READY_MAX: Duration = Duration::from_secs(90);

/// A running `tailrace dev --json`.
pub(crate) struct Dev {
    // Dropped in this order: the process ends before its directory goes.
    process: Process,
    directory: Directory,
    said: Value,
}

impl Dev {
    /// Starts it in a directory of its own and reads the one line it prints.
    pub(crate) fn start() -> Self {
        let directory = Directory::new();
        let port = free_port();
        let program = Program::new(env!("CARGO_BIN_EXE_tailrace"))
            .args(["dev", "--json", "--data-dir", &directory.join("data")])
            .args(["--listen", &format!("127.0.0.1:{port}")])
            .output(directory.join("log"))
            .standard_output(directory.join("out"));
        let mut process = Process::spawn(&program, Signal::INT);
        let read = |name: &str| fs::read_to_string(directory.join(name)).unwrap_or_default();
        wait_until("tailrace dev says where it is", READY_MAX, || {
            assert!(
                process.is_running(),
                "it ended at its start:\n{}",
                read("log")
            );
            read("out").ends_with('\n')
        });
        let said = serde_json::from_str(&read("out")).expect("exactly one line of JSON");
        Self {
            process,
            directory,
            said,
        }
    }

    pub(crate) fn text(&self, name: &str) -> &str {
        self.said[name]
            .as_str()
            .unwrap_or_else(|| panic!("no {name} in what it said"))
    }

    pub(crate) fn data_directory(&self) -> String {
        self.directory.join("data")
    }

    /// What `tailrace token` prints for a user.
    pub(crate) fn token(&self, user: &str) -> String {
        let program = Program::new(env!("CARGO_BIN_EXE_tailrace"));
        let printed = program
            .args([
                "token",
                "--user",
                user,
                "--data-dir",
                &self.data_directory(),
            ])
            .run();
        printed.trim_end().to_owned()
    }

    fn address(&self) -> SocketAddr {
        let address = self
            .text("url")
            .trim_start_matches("http://")
            .trim_end_matches('/');
        address
            .parse()
            .unwrap_or_else(|_| panic!("not an address: {address}"))
    }
}

#[test]
fn one_command_brings_everything_up_and_takes_it_down() {
    let mut dev = Dev::start();
    for name in ["url", "databaseUrl", "adminKey", "serviceKey"] {
        assert!(!dev.text(name).is_empty(), "{name}");
    }
    let page = Request::get("/").send(dev.address());
    assert_eq!(page.head.status, 200);
    assert!(page.body.contains("<html"), "a page");
    let cluster = postmaster(Path::new(&dev.data_directory()));
    dev.process.signal(Signal::INT);
    dev.process.wait(Duration::from_secs(10));
    assert!(
        !is_alive(cluster),
        "PostgreSQL runs on after tailrace dev has ended"
    );
    let out = fs::read_to_string(dev.directory.join("out")).expect("it was written");
    assert_eq!(out.lines().count(), 1, "one line on standard output: {out}");
}

#[test]
fn a_token_opens_a_stream_and_the_rows_come_back() {
    let dev = Dev::start();
    let bearer = format!("Bearer {}", dev.token("alice"));
    let request = Request::stream("organizationId=acme").field("authorization", &bearer);
    let mut alice = Stream::open(dev.address(), &request);
    let cookie = format!("session={}", dev.token("bob"));
    let request = Request::stream("organizationId=globex").field("cookie", &cookie);
    let mut bob = Stream::open(dev.address(), &request);
    let sql = Sql::connect(dev.text("databaseUrl")).expect("the address is a whole one");
    sql.run(
        r#"INSERT INTO "Property" ("organizationId", name) VALUES ('acme', 'marker-of-acme');
           UPDATE "User" SET "passwordHash" = 'marker-hash';
           INSERT INTO "Property" ("organizationId", name) VALUES ('globex', 'G');"#,
    );
    assert_eq!(alice.event()["payload"]["record"]["name"], "marker-of-acme");
    assert_eq!(bob.event()["payload"]["record"]["name"], "G");
    assert!(!bob.has_received("marker-of-acme"));
    assert!(!bob.has_received("marker-hash") && !alice.has_received("marker-hash"));
}

#[test]
fn tail_prints_events_in_the_terminal() {
    let dev = Dev::start();
    let out = dev.directory.join("tail");
    let program = Program::new(env!("CARGO_BIN_EXE_tailrace"))
        .args([
            "tail",
            "--organization",
            "acme",
            "--data-dir",
            &dev.data_directory(),
        ])
        .output(&out);
    let _tail = Process::spawn(&program, Signal::INT);
    let sql = Sql::connect(dev.text("databaseUrl")).expect("the address is a whole one");
    let printed = || fs::read_to_string(&out).unwrap_or_default();
    // It may connect after any one row was written.
    wait_until("a row is printed", Duration::from_secs(30), || {
        sql.run(
            r#"INSERT INTO "Property" ("organizationId", name) VALUES ('acme', 'marker-tail')"#,
        );
        std::thread::sleep(Duration::from_millis(100));
        printed().contains("property.update")
    });
}

#[test]
fn the_node_does_not_end_with_its_postgresql() {
    let mut dev = Dev::start();
    let cluster = postmaster(Path::new(&dev.data_directory()));
    rustix::process::kill_process(cluster, Signal::KILL).expect("it runs");
    let limit = Duration::from_secs(20);
    wait_until("PostgreSQL is gone", limit, || !is_alive(cluster));
    std::thread::sleep(Duration::from_secs(1));
    assert!(dev.process.is_running());
    assert_eq!(Request::get("/livez").send(dev.address()).head.status, 200);
}

/// The first process of the cluster below this directory, from its `postmaster.pid`.
fn postmaster(directory: &Path) -> Pid {
    let mut folders = vec![directory.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).into_iter().flatten().flatten() {
            if entry.file_name() == "postmaster.pid" {
                let file = fs::File::open(entry.path()).expect("root and its owner may read it");
                let mut line = String::new();
                let mut reader = BufReader::new(file.take(1_000));
                reader
                    .read_line(&mut line)
                    .expect("its first line is the id");
                let id = line.trim().parse().expect("a process id");
                return Pid::from_raw(id).expect("no process has the id 0");
            }
            if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                folders.push(entry.path());
            }
        }
    }
    panic!("no cluster below {}", directory.display());
}
