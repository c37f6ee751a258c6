//! Private PostgreSQL servers: one that the tests of a run share, with a database for each test,
//! and one of their own for those that kill it.

use std::fs;
use std::net::{Ipv4Addr, SocketAddr};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, Weak};
use std::time::{Duration, Instant};

use super::certificates::Identity;
use super::directory::Directory;
use super::ports::free_port;
use super::process::{Pid, Process, Program, Signal, is_alive};
use super::sql::Sql;

/// The application's schema and its people.
const SCHEMA: &str = include_str!("schema.sql");

/// The password of both roles. Connections over TCP have to give it (SCRAM-SHA-256).
const PASSWORD: &str = "correct-horse";

/// What differs from PostgreSQL's defaults: logical decoding, room for many nodes, and no care for
/// the disk, since nothing here outlives the machine.
const SETTINGS: &str = "
wal_level = logical
max_connections = 200
max_wal_senders = 60
max_replication_slots = 120
fsync = off
full_page_writes = off
autovacuum = off
max_wal_size = '4GB'
log_min_messages = warning
";

const HOST_RULES: &str = "
local all all trust
host all all 127.0.0.1/32 scram-sha-256
";

/// How long the server may take to start, with a recovery before.
const START_MAX: Duration = Duration::from_secs(60);

/// How long the server may take to stop.
const STOP_MAX: Duration = Duration::from_secs(60);

/// A PostgreSQL server with a data directory of its own.
pub(crate) struct Cluster {
    // Dropped in this order: the server ends before its directory goes.
    server: Mutex<Option<Process>>,
    directory: Directory,
    port: u16,
}

impl Cluster {
    /// The server of this run: started for the first test that asks, ended with the last.
    pub(crate) fn shared() -> Arc<Self> {
        static SHARED: Mutex<Weak<Cluster>> = Mutex::new(Weak::new());
        // A test that failed to start it has said so; the next one tries again.
        let mut shared = SHARED
            .lock()
            .unwrap_or_else(|poisoned| poisoned.into_inner());
        shared.upgrade().unwrap_or_else(|| {
            let cluster = Arc::new(Self::start());
            *shared = Arc::downgrade(&cluster);
            cluster
        })
    }

    /// A server for one test.
    pub(crate) fn start() -> Self {
        Self::start_with("", HOST_RULES, |_| ())
    }

    /// A server for one test, with other settings.
    pub(crate) fn with_settings(settings: &str) -> Self {
        Self::start_with(settings, HOST_RULES, |_| ())
    }

    /// A server for one test that can encrypt, and admits as these lines of `pg_hba.conf` say.
    pub(crate) fn encrypted(identity: &Identity, rules: &str) -> Self {
        let settings =
            "ssl = on\nssl_cert_file = '../server.crt'\nssl_key_file = '../server.key'\n";
        Self::start_with(settings, rules, |directory| {
            let files = [
                ("server.crt", &identity.certificate),
                ("server.key", &identity.key),
            ];
            for (name, text) in files {
                let path = directory.path().join(name);
                fs::write(&path, text).expect("the directory of a test can be written");
                // It takes no key that others can read.
                let mode = fs::Permissions::from_mode(0o600);
                fs::set_permissions(&path, mode).expect("its owner may say who reads it");
                hand_over_to_postgres(&path);
            }
        })
    }

    fn start_with(settings: &str, rules: &str, prepare: impl FnOnce(&Directory)) -> Self {
        let directory = Directory::new();
        hand_over_to_postgres(directory.path());
        prepare(&directory);
        let data = directory.join("data");
        postgres_program("initdb")
            .args([
                "--no-sync",
                "--username=postgres",
                "--auth=trust",
                "--encoding=UTF8",
            ])
            .args(["--locale=C.UTF-8", "--pgdata", &data])
            .run();
        let port = free_port();
        let socket = directory.join("");
        let settings = format!(
            "{SETTINGS}{settings}\nport = {port}\nlisten_addresses = '127.0.0.1'\n\
             unix_socket_directories = '{socket}'\n"
        );
        let append = |file: &str, text: &str| {
            let path = format!("{data}/{file}");
            let before = fs::read_to_string(&path).expect("initdb wrote it");
            fs::write(&path, before + text).expect("its owner and root may write it");
        };
        append("postgresql.conf", &settings);
        fs::write(format!("{data}/pg_hba.conf"), rules).expect("its owner may write it");
        let cluster = Self {
            server: Mutex::new(None),
            directory,
            port,
        };
        cluster.restart();
        let roles = format!(
            "ALTER ROLE postgres PASSWORD '{PASSWORD}';
             CREATE ROLE tailrace LOGIN REPLICATION PASSWORD '{PASSWORD}';"
        );
        cluster.sql().run(&roles);
        cluster
    }

    /// A path beside the server's data, which goes with it.
    pub(crate) fn file(&self, name: &str) -> String {
        self.directory.join(name)
    }

    /// A new database with the schema, its people and the publication.
    pub(crate) fn create_database(self: &Arc<Self>) -> Database {
        let database = self.create_empty_database();
        database.connect().run(SCHEMA);
        database
    }

    /// A new database without anything in it.
    pub(crate) fn create_empty_database(self: &Arc<Self>) -> Database {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let name = format!("app_{}", COUNT.fetch_add(1, Ordering::Relaxed));
        self.sql().run(&format!("CREATE DATABASE {name}"));
        Database {
            cluster: Arc::clone(self),
            name,
        }
    }

    /// Puts lines at the top of `pg_hba.conf`, or all of it anew, and has the server read it.
    pub(crate) fn admit(&self, rules: &str, keep: bool) {
        let path = self.directory.join("data/pg_hba.conf");
        let before = fs::read_to_string(&path).expect("it was written at the start");
        let rest = if keep { before.as_str() } else { "" };
        let sql = self.sql();
        fs::write(&path, format!("{rules}\n{rest}")).expect("its owner and root may write it");
        sql.run("SELECT pg_reload_conf()");
    }

    /// A connection to the database that every server has.
    pub(crate) fn sql(&self) -> Sql {
        self.connect("postgres")
            .unwrap_or_else(|error| panic!("cannot connect: {error}"))
    }

    /// Starts the server, after [`Self::kill`] too, and waits until it takes connections.
    pub(crate) fn restart(&self) {
        let program = postgres_program("postgres")
            .args(["-D", &self.directory.join("data")])
            .output(self.directory.join("postgres.log"));
        let mut server = self.server();
        assert!(server.is_none(), "the server runs already");
        // SIGQUIT is PostgreSQL's immediate shutdown: it ends its children first.
        let process = server.insert(Process::spawn(&program, Signal::QUIT));
        super::wait_until("PostgreSQL takes connections", START_MAX, || {
            assert!(
                process.is_running(),
                "PostgreSQL ended at its start:\n{}",
                self.log()
            );
            self.connect("postgres").is_ok()
        });
    }

    /// Stops the server as `pg_ctl stop` does: SIGINT is its mode fast, SIGQUIT its mode immediate.
    /// Returns how long that took; a panic where it does not end.
    pub(crate) fn stop(&self, signal: Signal) -> Duration {
        let mut process = self.server().take().expect("the server runs");
        let began = Instant::now();
        process.signal(signal);
        process.wait(STOP_MAX);
        began.elapsed()
    }

    /// Kills every process of the server with -9, the first one first.
    pub(crate) fn kill(&self) {
        let mut server = self
            .server
            .lock()
            .expect("no test fails while it holds this");
        let mut process = server.take().expect("the server runs");
        let children = children_of(process.id());
        process.kill();
        for child in &children {
            // Most end by themselves when they miss their parent.
            let _ = rustix::process::kill_process(*child, Signal::KILL);
        }
        // The next server refuses to start while one of them is attached to the shared memory.
        super::wait_until("the server's children are gone", START_MAX, || {
            !children.iter().any(|child| is_alive(*child))
        });
    }

    /// The directory of its Unix socket.
    fn socket_directory(&self) -> &str {
        self.directory
            .path()
            .to_str()
            .expect("temporary directories are named in UTF-8")
    }

    fn server(&self) -> MutexGuard<'_, Option<Process>> {
        self.server
            .lock()
            .unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    fn connect(&self, database: &str) -> Result<Sql, tokio_postgres::Error> {
        let port = self.port;
        Sql::connect(&format!(
            "postgres://postgres:{PASSWORD}@127.0.0.1:{port}/{database}"
        ))
        .or_else(|error| {
            // Before the roles have their passwords there is only the socket.
            let directory = self.socket_directory();
            let local = format!("host={directory} port={port} user=postgres dbname={database}");
            Sql::connect(&local).map_err(|_| error)
        })
    }

    /// What it has logged so far.
    pub(crate) fn log(&self) -> String {
        fs::read_to_string(self.directory.join("postgres.log")).unwrap_or_default()
    }
}

/// A database of one test. Its replication slots go with it, so that the shared server keeps no
/// write-ahead log for tests that have ended.
pub(crate) struct Database {
    cluster: Arc<Cluster>,
    name: String,
}

impl Database {
    /// A database on the server of this run.
    pub(crate) fn new() -> Self {
        Cluster::shared().create_database()
    }

    /// The address for a node: a role with the rights that the node needs and no others.
    pub(crate) fn url(&self) -> String {
        let port = self.cluster.port;
        format!(
            "postgres://tailrace:{PASSWORD}@127.0.0.1:{port}/{}",
            self.name
        )
    }

    /// The address for a person who may do everything.
    pub(crate) fn owner_url(&self) -> String {
        self.url_as("postgres")
    }

    /// The address for another role with the same password.
    pub(crate) fn url_as(&self, role: &str) -> String {
        let port = self.cluster.port;
        format!(
            "postgres://{role}:{PASSWORD}@127.0.0.1:{port}/{}",
            self.name
        )
    }

    /// Where its server listens.
    pub(crate) fn address(&self) -> SocketAddr {
        SocketAddr::from((Ipv4Addr::LOCALHOST, self.cluster.port))
    }

    /// The address for a node that reaches it through another port.
    pub(crate) fn url_through(&self, port: u16) -> String {
        format!(
            "postgres://tailrace:{PASSWORD}@127.0.0.1:{port}/{}",
            self.name
        )
    }

    /// Its server.
    pub(crate) fn cluster(&self) -> &Cluster {
        &self.cluster
    }

    /// Its name.
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// The same over the Unix socket, without a password.
    pub(crate) fn socket_url(&self) -> String {
        let (directory, port) = (self.cluster.socket_directory(), self.cluster.port);
        format!(
            "postgres://tailrace@/{}?host={directory}&port={port}",
            self.name
        )
    }

    /// A connection of the application's.
    pub(crate) fn connect(&self) -> Sql {
        self.try_connect()
            .unwrap_or_else(|error| panic!("cannot connect: {error}"))
    }

    /// A connection, where the server may be down.
    pub(crate) fn try_connect(&self) -> Result<Sql, tokio_postgres::Error> {
        self.cluster.connect(&self.name)
    }
}

impl Drop for Database {
    fn drop(&mut self) {
        // Where the test failed or took the server down with it, there is nothing to tidy.
        let Ok(sql) = self.cluster.connect("postgres") else {
            return;
        };
        let slots = format!(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{0}';
             SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots
              WHERE database = '{0}' AND NOT temporary AND NOT active;",
            self.name
        );
        if let Err(error) = sql.try_run(&slots) {
            eprintln!("slots of {} stay: {error}", self.name);
        }
    }
}

/// A program of PostgreSQL's, run as the user `postgres` where we are root: it refuses to run as
/// root itself. They are where `script/test --all-postgres` says, else where Debian keeps them, out
/// of everybody's `PATH`, by version.
fn postgres_program(name: &str) -> Program {
    if let Ok(directory) = std::env::var("TAILRACE_POSTGRES_BIN") {
        return Program::new(format!("{directory}/{name}")).user("postgres");
    }
    let versions = fs::read_dir("/usr/lib/postgresql")
        .into_iter()
        .flatten()
        .flatten();
    let newest = versions
        .filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok())
        .map(|version| (version, format!("/usr/lib/postgresql/{version}/bin/{name}")))
        .filter(|(_, path)| fs::exists(path).unwrap_or(false))
        .max();
    let path = newest.map_or_else(|| name.to_owned(), |(_, path)| path);
    Program::new(path).user("postgres")
}

fn hand_over_to_postgres(path: &Path) {
    if !rustix::process::getuid().is_root() {
        return;
    }
    let people = fs::read_to_string("/etc/passwd").expect("everybody may read it");
    let id = people
        .lines()
        .find_map(|line| {
            line.strip_prefix("postgres:")?
                .split(':')
                .nth(1)?
                .parse()
                .ok()
        })
        .expect("Debian's package of PostgreSQL makes the user postgres");
    std::os::unix::fs::chown(path, Some(id), None).expect("root may give files away");
}

/// The children of a process: those whose `/proc/pid/stat` names it in field 4.
pub(crate) fn children_of(parent: Pid) -> Vec<Pid> {
    let processes = fs::read_dir("/proc")
        .expect("the tests run on Linux")
        .flatten();
    let is_child = |id: &i32| {
        let stat = fs::read_to_string(format!("/proc/{id}/stat")).unwrap_or_default();
        let parent_of = stat
            .rsplit_once(')')
            .and_then(|(_, rest)| rest.split(' ').nth(2)?.parse().ok());
        parent_of == Some(parent.as_raw_nonzero().get())
    };
    processes
        .filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok())
        .filter(is_child)
        .filter_map(Pid::from_raw)
        .collect()
}
