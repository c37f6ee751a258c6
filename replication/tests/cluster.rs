//! A private PostgreSQL: initialised, started, killed and removed by the test that owns it.

use std::ffi::OsStr;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::{Duration, Instant};

/// How long a server may take to start or to stop.
const PATIENCE: Duration = Duration::from_secs(30);

/// A server and its directory, which also holds its Unix socket.
pub(crate) struct Cluster {
    base: PathBuf,
    server: Option<Child>,
    /// What this server has otherwise than the others, as `name=value`.
    settings: Vec<String>,
    /// Kept for the tests that run at the same time.
    _template: Arc<Template>,
}

/// An initialised directory, copied for every server: initialising takes ten times as long.
struct Template {
    base: PathBuf,
}

/// How a server is brought down.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stop {
    /// As `pg_ctl stop -m fast`.
    Fast,
    /// As `pg_ctl stop -m immediate`.
    Immediate,
    /// As `kill -9`.
    Kill,
}

impl Cluster {
    /// A server with an empty database `app`, in which the SQL was run.
    pub(crate) fn start(sql: &str) -> Self {
        Self::start_with(&[], sql)
    }

    /// The same, with settings (`name=value`) of its own.
    pub(crate) fn start_with(settings: &[&str], sql: &str) -> Self {
        let template = Template::shared();
        let base = new_directory();
        let mut copy = as_server("cp");
        copy.arg("-a").arg(&template.base).arg(&base);
        run(&mut copy);
        let mut cluster = Self {
            base,
            server: None,
            settings: settings.iter().map(|it| (*it).to_owned()).collect(),
            _template: template,
        };
        cluster.resume();
        cluster.sql_in("postgres", "CREATE DATABASE app");
        cluster.sql(sql);
        cluster
    }

    /// A copy of it as it is now, which does not run yet. The cluster is down for a moment meanwhile.
    pub(crate) fn copy(&mut self) -> Self {
        self.stop(Stop::Fast);
        let base = new_directory();
        let mut copy = as_server("cp");
        copy.arg("-a").arg(&self.base).arg(&base);
        run(&mut copy);
        self.resume();
        Self {
            base,
            server: None,
            settings: self.settings.clone(),
            _template: Arc::clone(&self._template),
        }
    }

    /// A standby of it, which streams from it. The cluster is down for a moment meanwhile.
    pub(crate) fn standby(&mut self) -> Self {
        let mut standby = self.copy();
        let base = &standby.base;
        let mut signal = as_server("touch");
        run(signal.arg(base.join("data/standby.signal")));
        let settings = base.join("data/postgresql.auto.conf");
        let primary = format!(
            "primary_conninfo = 'host={} user=postgres application_name=standby'\n",
            self.base.display()
        );
        let before = std::fs::read_to_string(&settings).unwrap();
        std::fs::write(&settings, before + &primary).unwrap();
        standby.resume();
        standby
    }

    /// Where to connect.
    pub(crate) fn url(&self) -> String {
        let directory = self.base.to_str().unwrap().replace('/', "%2F");
        format!("postgresql://postgres@{directory}/app")
    }

    /// The directory of its socket.
    pub(crate) fn directory(&self) -> &Path {
        &self.base
    }

    /// Runs SQL and returns what it printed, columns separated by `|`.
    pub(crate) fn sql(&self, sql: &str) -> String {
        self.sql_in("app", sql)
    }

    /// The major version of the server: what differs by it is asserted by it.
    pub(crate) fn major(&self) -> u32 {
        self.sql("SELECT current_setting('server_version_num')::int / 10000")
            .parse()
            .unwrap()
    }

    /// Begins to run SQL.
    pub(crate) fn sql_in_background(&self, sql: &str) -> Child {
        let mut psql = self.psql("app", sql);
        psql.stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap()
    }

    /// Brings the server down, and waits until it is.
    pub(crate) fn stop(&mut self, how: Stop) -> Duration {
        let mut server = self.server.take().unwrap();
        let signal = match how {
            Stop::Fast => "-INT",
            Stop::Immediate => "-QUIT",
            Stop::Kill => "-KILL",
        };
        let begun = Instant::now();
        run(Command::new("kill").args([signal, &server.id().to_string()]));
        while server.try_wait().unwrap().is_none() {
            assert!(begun.elapsed() < PATIENCE, "the server does not stop");
            std::thread::sleep(Duration::from_millis(10));
        }
        begun.elapsed()
    }

    /// Starts the server, and waits until it answers.
    pub(crate) fn resume(&mut self) {
        let begun = Instant::now();
        loop {
            assert!(begun.elapsed() < PATIENCE, "the server does not start");
            let server = self
                .server
                .get_or_insert_with(|| server(&self.base, &self.settings));
            if server.try_wait().unwrap().is_some() {
                // After a kill the last of its children may still be there.
                self.server = None;
            } else if self
                .psql("postgres", "SELECT")
                .output()
                .unwrap()
                .status
                .success()
            {
                return;
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Replaces the rules of who may connect how.
    pub(crate) fn set_hba(&self, rules: &str) {
        let path = self.base.join("data/pg_hba.conf");
        std::fs::write(path, rules).unwrap();
        self.sql_in("postgres", "SELECT pg_reload_conf()");
    }

    /// Runs SQL in another database.
    pub(crate) fn sql_in(&self, database: &str, sql: &str) -> String {
        let output = self.psql(database, sql).output().unwrap();
        let error = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{sql}: {error}");
        String::from_utf8(output.stdout)
            .unwrap()
            .trim_end()
            .to_owned()
    }

    fn psql(&self, database: &str, sql: &str) -> Command {
        let mut psql = Command::new(binaries().join("psql"));
        psql.arg("-h")
            .arg(&self.base)
            .args(["-U", "postgres", "-d", database, "-X", "-At", "-q"]);
        psql.args(["-v", "ON_ERROR_STOP=1", "-c", sql])
            .env("PGOPTIONS", "-c TimeZone=UTC");
        psql
    }
}

impl Template {
    fn shared() -> Arc<Self> {
        static SHARED: Mutex<Weak<Template>> = Mutex::new(Weak::new());
        // A test that failed meanwhile has not harmed it.
        let mut shared = SHARED.lock().unwrap_or_else(PoisonError::into_inner);
        shared.upgrade().unwrap_or_else(|| {
            let base = new_directory();
            let mut initdb = as_server(server_binaries().join("initdb"));
            initdb
                .arg("-D")
                .arg(base.join("data"))
                .args(["-U", "postgres", "--auth=trust"]);
            run(initdb.args(["-E", "UTF8", "--locale=C.UTF-8", "--no-sync"]));
            let template = Arc::new(Self { base });
            *shared = Arc::downgrade(&template);
            template
        })
    }
}

impl Drop for Template {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.base);
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        if let Some(mut server) = self.server.take() {
            run(Command::new("kill").args(["-QUIT", &server.id().to_string()]));
            let _ = server.wait();
        }
        let _ = std::fs::remove_dir_all(&self.base);
    }
}

fn server(base: &Path, settings: &[String]) -> Child {
    let mut postgres = as_server(server_binaries().join("postgres"));
    postgres.arg("-D").arg(base.join("data"));
    for setting in [
        "listen_addresses=",
        "wal_level=logical",
        "fsync=off",
        "max_wal_senders=8",
        "max_replication_slots=8",
        "max_prepared_transactions=4",
        "wal_sender_timeout=60s",
    ] {
        postgres.args(["-c", setting]);
    }
    // Of two that contradict each other, the last counts.
    for setting in settings {
        postgres.args(["-c", setting]);
    }
    postgres
        .arg("-c")
        .arg(format!("unix_socket_directories={}", base.display()));
    postgres
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap()
}

/// A name for a directory of our own.
fn new_directory() -> PathBuf {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let number = COUNT.fetch_add(1, Ordering::Relaxed);
    std::env::temp_dir().join(format!(
        "tailrace-replication-{}-{number}",
        std::process::id()
    ))
}

/// A program, run as a user that PostgreSQL agrees to run as: not as root.
fn as_server(program: impl AsRef<OsStr>) -> Command {
    let is_root = std::fs::metadata("/proc/self").is_ok_and(|process| process.uid() == 0);
    if !is_root {
        return Command::new(program);
    }
    let mut command = Command::new("setpriv");
    command
        .args(["--reuid=postgres", "--regid=postgres", "--clear-groups"])
        .arg(program.as_ref());
    command
}

/// Where the programs of the server under test are: where `script/test --all-postgres` says, else
/// the newest of Debian's.
fn server_binaries() -> PathBuf {
    std::env::var_os("TAILRACE_POSTGRES_BIN").map_or_else(binaries, PathBuf::from)
}

/// Where PostgreSQL's programs are: the newest of Debian's, else in the path.
fn binaries() -> PathBuf {
    let versions = std::fs::read_dir("/usr/lib/postgresql")
        .into_iter()
        .flatten()
        .flatten();
    let newest = versions.map(|version| version.path().join("bin")).max();
    newest.unwrap_or_default()
}

fn run(command: &mut Command) {
    let output = command.stdin(Stdio::null()).output().unwrap();
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?}: {error}");
}

#[test]
fn the_server_is_the_one_that_was_asked_for() {
    let cluster = Cluster::start("");
    let mut program = Command::new(server_binaries().join("postgres"));
    let version = program.arg("--version").output().unwrap().stdout;
    let version = String::from_utf8(version).unwrap();
    let expected = format!("postgres (PostgreSQL) {}.", cluster.major());
    assert!(version.starts_with(&expected), "{version}");
}
