//! The whole node: `tailrace dev` on a private PostgreSQL, with a user, a membership and a session
//! for each stream.
//!
//! What it holds for a stream includes what control and replication hold: counts by user and by
//! organisation, and the channels between the threads. PostgreSQL's own processes are not counted.

use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use tokio_postgres::NoTls;

use super::support::Server;

/// A node, and the database it reads.
pub(super) struct Node {
    // Dropped in this order: the server ends before its files go.
    pub(super) server: Server,
    /// What runs the database, where that is another process.
    database: Option<Server>,
    directory: Directory,
    database_url: String,
}

/// A directory that goes with its owner.
struct Directory(PathBuf);

impl Node {
    /// Starts a node on one engine, with so many users, 100 to an organisation. It is started again once
    /// they are made: then it knows every membership when it is ready.
    pub(super) fn start(users: usize) -> Self {
        let node = Self::run(Directory::new());
        node.make(users);
        let Self {
            server, directory, ..
        } = node;
        drop(server);
        Self::run(directory)
    }

    /// A node as it is in production, on the same database: `tailrace run` with this configuration beside
    /// where it listens and what it reads. What it needs in the database is made first.
    pub(super) fn start_plain(users: usize, statements: &[String], configuration: &str) -> Self {
        let mut node = Self::run(Directory::new());
        node.make(users);
        node.execute(statements.iter().cloned());
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0));
        let address = listener.and_then(|listener| listener.local_addr());
        let address = address.expect("loopback has a free port");
        let url = node.configuration()["database"]["url"].to_string();
        let file = node.directory.0.join("plain.toml");
        let text = format!(
            "{configuration}\n[database]\nurl = {url}\n[http]\nlisten = \"{address}\"\n\
             heartbeat = \"1h\"\n[engine]\nthreads = 1\n"
        );
        std::fs::write(&file, text).expect("the directory is ours");
        let mut command = Command::new(env!("CARGO_BIN_EXE_tailrace"));
        command.args(["run", "--config"]).arg(file);
        command.env("TAILRACE_LOG", "warn");
        let server = Server::start_at(command, address);
        wait_until_ready(&server);
        node.database = Some(std::mem::replace(&mut node.server, server));
        node
    }

    fn run(directory: Directory) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_tailrace"));
        command
            .args(["dev", "--json", "--listen", "127.0.0.1:0", "--data-dir"])
            .arg(&directory.0)
            .env("TAILRACE_ENGINE_THREADS", "1")
            // No heartbeat falls into a measurement.
            .env("TAILRACE_HTTP_HEARTBEAT", "1h")
            // A line for each stream is of no use here.
            .env("TAILRACE_LOG", "warn");
        let server = Server::start(command);
        wait_until_ready(&server);
        let ready: serde_json::Value =
            serde_json::from_str(&server.announcement).expect("dev announces itself in JSON");
        let database_url = ready["databaseUrl"]
            .as_str()
            .expect("it names its database")
            .to_owned();
        Self {
            server,
            database: None,
            directory,
            database_url,
        }
    }

    /// Makes the users, their organisations and memberships.
    fn make(&self, users: usize) {
        let last = users - 1;
        self.execute([
            format!(
                "INSERT INTO \"Organization\" (\"id\", \"name\") \
                 SELECT 'o' || n, 'o' || n FROM generate_series(0, {last} / 100) AS n"
            ),
            format!(
                "INSERT INTO \"User\" (\"id\", \"email\") \
                 SELECT 'u' || n, 'u' || n || '@example.com' FROM generate_series(0, {last}) AS n"
            ),
            format!(
                "INSERT INTO \"OrganizationMember\" (\"organizationId\", \"userId\") \
                 SELECT 'o' || n / 100, 'u' || n FROM generate_series(0, {last}) AS n"
            ),
        ]);
    }

    /// The secret of the sessions.
    pub(super) fn secret(&self) -> String {
        let secret = self.configuration()["auth"]["secret"].clone();
        secret.as_str().expect("it has a secret").to_owned()
    }

    /// What `dev` wrote down.
    fn configuration(&self) -> toml::Table {
        let path = self.directory.0.join("tailrace.toml");
        let text = std::fs::read_to_string(path).expect("dev writes its configuration");
        text.parse().expect("it is TOML")
    }

    /// Commits so many events, each for one organisation of so many in turn.
    pub(super) fn publish(&self, events: usize, organisations: usize) {
        self.execute((0..events).map(|event| {
            let organisation = event % organisations;
            format!(
                "INSERT INTO \"Property\" (\"organizationId\", \"name\", \"price\") \
                 VALUES ('o{organisation}', 'Harbour View {event}', 425000)"
            )
        }));
    }

    /// Runs each statement in a transaction of its own.
    fn execute(&self, statements: impl IntoIterator<Item = String>) {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build();
        runtime.expect("a runtime on one thread").block_on(async {
            let connected = tokio_postgres::connect(&self.database_url, NoTls).await;
            let (client, connection) = connected.expect("the database of dev takes connections");
            tokio::spawn(connection);
            for statement in statements {
                client
                    .batch_execute(&statement)
                    .await
                    .expect("the statement is a good one");
            }
        });
    }
}

/// Waits until the node says that it is ready: it listens before it knows every membership.
fn wait_until_ready(server: &Server) {
    const READY_MAX: Duration = Duration::from_secs(60);
    let began = Instant::now();
    let is_ready = || -> std::io::Result<bool> {
        let mut connection = TcpStream::connect(server.address())?;
        connection.write_all(b"GET /readyz HTTP/1.1\r\nhost: localhost\r\n\r\n")?;
        let mut answer = String::new();
        connection.read_to_string(&mut answer)?;
        Ok(answer.starts_with("HTTP/1.1 200 "))
    };
    while !is_ready().unwrap_or(false) {
        assert!(
            began.elapsed() < READY_MAX,
            "the node does not become ready"
        );
        std::thread::sleep(Duration::from_millis(50));
    }
}

impl Directory {
    fn new() -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let name = format!("tailrace-bench-{}-{count}", std::process::id());
        Self(std::env::temp_dir().join(name))
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        // What is left behind lies in the directory for temporary files.
        let _ = std::fs::remove_dir_all(&self.0);
    }
}
