//! The whole node: `tailrace dev` on a private PostgreSQL, with a user, a membership and a session
//! for each stream.
//!
//! What it holds for a stream includes what control and replication hold: counts by user and by
//! organisation, and the channels between the threads. PostgreSQL's own processes are not counted.

use std::path::PathBuf;
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};

use tokio_postgres::NoTls;

use super::support::Server;

/// A node, and the database it reads.
pub(super) struct Node {
    // Dropped in this order: the server ends before its files go.
    pub(super) server: Server,
    directory: Directory,
    database_url: String,
}

/// A directory that goes with its owner.
struct Directory(PathBuf);

impl Node {
    /// Starts a node on one engine, with so many users, 100 to an organisation.
    pub(super) fn start(users: usize) -> Self {
        Self::start_with(users, &[], &[])
    }

    /// The same with a configuration that differs, as the environment says it. What it needs in the
    /// database is made first, before a node looks for it.
    pub(super) fn start_with(
        users: usize,
        statements: &[String],
        environment: &[(&str, &str)],
    ) -> Self {
        let node = Self::run(Directory::new(), &[]);
        node.make(users);
        node.execute(statements.iter().cloned());
        if environment.is_empty() {
            return node;
        }
        let Self {
            server, directory, ..
        } = node;
        drop(server);
        Self::run(directory, environment)
    }

    fn run(directory: Directory, environment: &[(&str, &str)]) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_tailrace"));
        command
            .args(["dev", "--json", "--listen", "127.0.0.1:0", "--data-dir"])
            .arg(&directory.0)
            .env("TAILRACE_ENGINE_THREADS", "1")
            // No heartbeat falls into a measurement.
            .env("TAILRACE_HTTP_HEARTBEAT", "1h")
            // A line for each stream is of no use here.
            .env("TAILRACE_LOG", "warn")
            .envs(environment.iter().copied());
        let server = Server::start(command);
        let ready: serde_json::Value =
            serde_json::from_str(&server.announcement).expect("dev announces itself in JSON");
        let database_url = ready["databaseUrl"]
            .as_str()
            .expect("it names its database")
            .to_owned();
        Self {
            server,
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
        let path = self.directory.0.join("tailrace.toml");
        let text = std::fs::read_to_string(path).expect("dev writes its configuration");
        let configuration: toml::Table = text.parse().expect("it is TOML");
        configuration["auth"]["secret"]
            .as_str()
            .expect("it has a secret")
            .to_owned()
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
