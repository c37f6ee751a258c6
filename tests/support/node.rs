//! A node: the real binary, with a configuration file, a port and a log of its own.

use std::fs;
use std::net::SocketAddr;
use std::time::Duration;

use serde_json::Value;

use super::config::{ADMIN_KEY, Config};
use super::directory::Directory;
use super::http::{Request, Response};
use super::metrics::Metrics;
use super::postgres::Database;
use super::process::{Process, Program, Signal};
use super::sse::Stream;
use super::{Driver, wait_until};

/// How long a node may take to become ready.
const READY_MAX: Duration = Duration::from_secs(30);

/// How much of its log is shown when a test fails.
const LOG_SHOWN_BYTES: usize = 4_000;

/// A running node.
pub(crate) struct Node {
    // Dropped in this order: the process ends before its directory goes.
    process: Process,
    directory: Directory,
    address: SocketAddr,
    config: Config,
}

impl Node {
    /// Starts a node and waits until it is ready.
    pub(crate) fn start(config: &Config) -> Self {
        let mut node = Self::launch(config);
        node.wait_ready();
        node
    }

    /// Starts a node; it may not be ready yet.
    pub(crate) fn launch(config: &Config) -> Self {
        let directory = Directory::new();
        let file = directory.join("tailrace.toml");
        fs::write(&file, config.render()).expect("the directory of a test can be written");
        let address = config.address;
        let process = Self::run(&directory, config);
        Self {
            process,
            directory,
            address,
            config: config.clone(),
        }
    }

    /// Waits until `/readyz` says that it is ready.
    pub(crate) fn wait_ready(&mut self) {
        let address = self.address;
        let (process, directory) = (&mut self.process, &self.directory);
        let mut answer = String::new();
        let is_ready = || {
            let log = || fs::read_to_string(directory.join("log")).unwrap_or_default();
            assert!(
                process.is_running(),
                "the node ended at its start:\n{}",
                log()
            );
            match Request::get("/readyz").try_send(address) {
                Ok(response) => {
                    answer.clone_from(&response.body);
                    response.head.status == 200
                }
                Err(_) => false,
            }
        };
        let ready = super::becomes_true(READY_MAX, is_ready);
        assert!(ready, "the node is not ready: {answer}\n{}", self.log());
    }

    /// Kills it with -9 and starts it again at the same address, without waiting.
    pub(crate) fn kill_and_launch(&mut self) {
        self.process.kill();
        self.launch_again();
    }

    /// Starts it again at the same address after its process has ended, without waiting.
    pub(crate) fn launch_again(&mut self) {
        self.process = Self::run(&self.directory, &self.config);
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    pub(crate) fn process(&mut self) -> &mut Process {
        &mut self.process
    }

    /// What it has logged so far.
    pub(crate) fn log(&self) -> String {
        fs::read_to_string(self.directory.join("log")).unwrap_or_default()
    }

    /// Waits until its log holds this text.
    pub(crate) fn wait_for_log(&self, text: &str) {
        wait_until(text, READY_MAX, || self.log().contains(text));
    }

    pub(crate) fn get(&self, target: &str) -> Response {
        Request::get(target).send(self.address)
    }

    /// What `/readyz` says.
    pub(crate) fn readiness(&self) -> Value {
        self.get("/readyz").json()
    }

    pub(crate) fn metrics(&self) -> Metrics {
        Metrics::parse(&self.metrics_page())
    }

    pub(crate) fn metrics_page(&self) -> Response {
        let authorization = format!("Bearer {ADMIN_KEY}");
        Request::get("/metrics")
            .field("authorization", &authorization)
            .send(self.address)
    }

    /// Opens a stream of an organisation for one of its members.
    pub(crate) fn open(&self, organization: &str, user: &str) -> Stream {
        self.stream(&Request::stream(&format!("organizationId={organization}")).user(user))
    }

    /// Opens the same stream again after this id.
    pub(crate) fn resume(&self, organization: &str, user: &str, id: &str) -> Stream {
        let request = Request::stream(&format!("organizationId={organization}")).user(user);
        self.stream(&request.last_event_id(id))
    }

    pub(crate) fn stream(&self, request: &Request) -> Stream {
        Stream::open(self.address, request)
    }

    fn run(directory: &Directory, config: &Config) -> Process {
        let program = Program::new(env!("CARGO_BIN_EXE_tailrace"))
            .args(["run", "--config", &directory.join("tailrace.toml")])
            // Debug for the lines about published events, and no environment of the machine's.
            .env("TAILRACE_LOG", "info,SSE=debug")
            .output(config.log.clone().unwrap_or_else(|| directory.join("log")));
        let program = match config.descriptors {
            Some(most) => program.descriptors(most),
            None => program,
        };
        let variables = config.environment.iter();
        let program = variables.fold(program, |program, (name, value)| program.env(name, value));
        Process::spawn(&program, Signal::KILL)
    }
}

impl Drop for Node {
    /// Whoever reads why a test failed wants to know what the node had to say.
    fn drop(&mut self) {
        if std::thread::panicking() {
            let log = self.log();
            let start = log.len().saturating_sub(LOG_SHOWN_BYTES);
            let tail = String::from_utf8_lossy(&log.as_bytes()[start..]);
            eprintln!("the end of the node's log:\n{tail}");
        }
    }
}

/// A database and a node on it.
pub(crate) struct World {
    // Dropped in this order: the node lets go of its slot before the database goes.
    pub(crate) node: Node,
    pub(crate) database: Database,
}

impl World {
    pub(crate) fn new(driver: Driver) -> Self {
        Self::with(driver, |config| config)
    }

    /// With a configuration that differs.
    pub(crate) fn with(driver: Driver, change: impl FnOnce(Config) -> Config) -> Self {
        let database = Database::new();
        let node = Node::start(&change(Config::new(&database, driver)));
        Self { node, database }
    }
}
