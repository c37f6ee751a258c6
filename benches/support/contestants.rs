//! The columns of the tables: every server that is measured, and how it is started.

use std::path::PathBuf;
use std::process::Command;

use super::process::Server;
use super::{ROLE, bare, build};

/// The roles of `in_process`: the drivers by name.
const URING: &str = "uring";
const EPOLL: &str = "epoll";

/// A server that is measured.
#[derive(Clone)]
pub(crate) struct Contestant {
    /// Its name in the tables.
    pub(crate) name: String,
    /// What is run.
    pub(crate) executable: PathBuf,
    /// What its environment holds beside the bench's own.
    pub(crate) environment: Vec<(&'static str, &'static str)>,
}

impl Contestant {
    /// Starts it, on a free port of loopback.
    pub(crate) fn start(&self) -> Server {
        let mut command = Command::new(&self.executable);
        command.envs(self.environment.iter().copied());
        Server::start(command)
    }
}

/// The floor: a bare loop.
pub(crate) fn bare_loop() -> Contestant {
    this_bench("bare send(2) loop", bare::ROLE)
}

/// The engine on its two drivers, io_uring first.
pub(crate) fn tailrace() -> [Contestant; 2] {
    [
        this_bench("Tailrace, io_uring", URING),
        this_bench("Tailrace, epoll", EPOLL),
    ]
}

/// The plain servers on the runtimes, which are built first.
pub(crate) fn references() -> [Contestant; 2] {
    let manifest = concat!(env!("CARGO_MANIFEST_DIR"), "/benches/reference/Cargo.toml");
    let built = build::executables(&["--release", "--locked", "--manifest-path", manifest]);
    let targets = [
        ("plain, monoio", "reference_monoio"),
        ("plain, tokio-uring", "reference_tokio_uring"),
    ];
    targets.map(|(name, target)| Contestant {
        name: name.to_owned(),
        executable: build::find(&built, target),
        environment: Vec::new(),
    })
}

/// A role of this very bench.
fn this_bench(name: &str, role: &'static str) -> Contestant {
    Contestant {
        name: name.to_owned(),
        executable: std::env::current_exe().expect("the bench knows its own path"),
        environment: vec![(ROLE, role)],
    }
}
