//! The private PostgreSQL of `dev`: made once, started, watched, stopped.
//!
//! Nothing about the sample schema is here (`sample`), nor which settings it runs with
//! (`settings`), nor as whom (`account`).

use super::account::Account;
use super::binaries::Binaries;
use super::error::ClusterError;
use super::settings;
use rustix::process::{Pid, Signal, kill_process};
use std::fs::{self, File, TryLockError};
use std::io::{Read as _, Seek as _, SeekFrom, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

/// How long the server may take until it is ready; after a crash it recovers first.
const READY_WITHIN: Duration = Duration::from_secs(60);

/// How the server is asked to stop, and for how long each request is given: fast, immediate, and
/// the kernel's (PostgreSQL, "Shutting Down the Server").
const STOPS: [(Signal, Duration); 3] = [
    (Signal::INT, Duration::from_secs(5)),
    (Signal::QUIT, Duration::from_secs(3)),
    (Signal::KILL, Duration::from_secs(2)),
];

/// How often the start and the stop look again.
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// How much of the server's log an error shows.
const LOG_BYTES_SHOWN: u64 = 2048;

/// A running server, stopped when this is dropped.
#[derive(Debug)]
pub(crate) struct Cluster {
    /// The server's data directory (`PGDATA`), absolute and without links.
    directory: PathBuf,
    sockets: PathBuf,
    port: u16,
    is_stopping: Arc<AtomicBool>,
    /// Held as long as the cluster is ours; the kernel lets go of it when the process ends.
    _lock: File,
}

impl Cluster {
    /// Starts the server whose files lie in `data_dir`, and makes them first where they are missing.
    ///
    /// Call it on a thread that lives at least as long as the cluster: the kernel stops the server
    /// when that thread ends, which is what leaves nothing running after `kill -9`.
    pub(crate) fn start(data_dir: &Path) -> Result<Self, ClusterError> {
        let lock = lock(data_dir)?;
        let account = Account::choose()?;
        let home = home(data_dir, &account)?;
        let directory = home.join("postgres");
        stop_postmaster(&directory);
        let major = fs::read_to_string(directory.join("PG_VERSION")).ok();
        let wanted = major.and_then(|text| text.trim().parse().ok());
        let binaries = Binaries::find(std::env::var_os("PATH").as_deref(), wanted)?;
        if wanted.is_none() {
            initdb(&directory, &binaries, &account)?;
        }
        let sockets = sockets(&home, &account)?;
        let port = settings::port(&directory)?;
        settings::write(&directory, &sockets, port, &account)?;
        let log = data_dir.join("postgresql.log");
        let is_stopping = Arc::new(AtomicBool::new(false));
        let cluster = Self {
            directory,
            sockets,
            port,
            is_stopping: Arc::clone(&is_stopping),
            _lock: lock,
        };
        // From here on a return stops what was started: the cluster exists and is dropped.
        let mut child = cluster.spawn(&binaries, &account, &log)?;
        cluster.wait_ready(&mut child, &log)?;
        watch(child, is_stopping);
        Ok(cluster)
    }

    /// Where the server listens on 127.0.0.1.
    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    /// How the superuser connects: over the Unix socket.
    pub(crate) fn superuser(&self) -> tokio_postgres::Config {
        let mut config = tokio_postgres::Config::new();
        config
            .host_path(&self.sockets)
            .port(self.port)
            .user(settings::SUPERUSER);
        config
            .application_name("tailrace dev")
            .connect_timeout(Duration::from_secs(5));
        config
    }

    fn spawn(
        &self,
        binaries: &Binaries,
        account: &Account,
        log: &Path,
    ) -> Result<Child, ClusterError> {
        let program = binaries.program("postgres");
        let open = || {
            let mut options = File::options();
            let output = options
                .write(true)
                .create(true)
                .truncate(true)
                .mode(0o600)
                .open(log)?;
            Ok((output.try_clone()?, output))
        };
        let (output, errors) = open().map_err(|error| ClusterError::io("write", log, error))?;
        let mut command = account.command(&program, "INT");
        command.arg("-D").arg(&self.directory);
        command.stdin(Stdio::null()).stdout(output).stderr(errors);
        command
            .spawn()
            .map_err(|error| ClusterError::io("start", &program, error))
    }

    fn wait_ready(&self, child: &mut Child, log: &Path) -> Result<(), ClusterError> {
        let since = Instant::now();
        let failed = |what: String| ClusterError::Server {
            what,
            log: log.to_owned(),
            said: end_of(log),
        };
        loop {
            match child.try_wait() {
                Ok(Some(status)) => return Err(failed(format!("ended at once ({status})"))),
                Ok(None) => {}
                Err(error) => return Err(failed(format!("was lost: {error}"))),
            }
            if is_ready(&self.directory, child.id()) {
                return Ok(());
            }
            if since.elapsed() > READY_WITHIN {
                return Err(failed(format!(
                    "was not ready within {} s",
                    READY_WITHIN.as_secs()
                )));
            }
            thread::sleep(LOOK_EVERY);
        }
    }
}

impl Drop for Cluster {
    /// Whoever started the server that runs in the directory now: it may have been restarted by
    /// hand since.
    fn drop(&mut self) {
        self.is_stopping.store(true, Ordering::Relaxed);
        stop_postmaster(&self.directory);
        // Empty now; under /tmp it would stay behind for nothing.
        let _ = fs::remove_dir(&self.sockets);
    }
}

/// One `dev` for a data directory: two postmasters on the same files would destroy them.
fn lock(data_dir: &Path) -> Result<File, ClusterError> {
    let path = data_dir.join("lock");
    let open = || {
        File::options()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(&path)
    };
    let mut file = open().map_err(|error| ClusterError::io("open", &path, error))?;
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => {
            let mut process = String::new();
            // Only for the message.
            let _ = (&file).take(20).read_to_string(&mut process);
            let process = process.trim().to_owned();
            return Err(ClusterError::InUse {
                data_dir: data_dir.to_owned(),
                process,
            });
        }
        Err(TryLockError::Error(error)) => return Err(ClusterError::io("lock", &path, error)),
    }
    let name = |file: &mut File| {
        file.set_len(0)?;
        writeln!(file, "{}", std::process::id())
    };
    name(&mut file).map_err(|error| ClusterError::io("write", &path, error))?;
    Ok(file)
}

/// Where the server's files lie: in the data directory, or, where the server's account cannot reach
/// that (below root's home), in a directory of its own whose name is derived from it.
fn home(data_dir: &Path, account: &Account) -> Result<PathBuf, ClusterError> {
    let absolute = data_dir
        .canonicalize()
        .map_err(|error| ClusterError::io("find", data_dir, error))?;
    if account.reaches(&absolute) {
        return Ok(absolute);
    }
    let home = Path::new("/var/tmp").join(format!("tailrace-{:016x}", digest(&absolute)));
    account.make_private(&home)?;
    tracing::info!(
        directory = %home.display(),
        "PostgreSQL's account cannot reach the data directory: the database is kept elsewhere"
    );
    Ok(home)
}

/// The directory of the Unix socket, short enough for the kernel.
fn sockets(home: &Path, account: &Account) -> Result<PathBuf, ClusterError> {
    let mut sockets = home.join("sockets");
    if !settings::socket_fits(&sockets) {
        sockets = Path::new("/tmp").join(format!("tailrace-{:016x}", digest(home)));
    }
    account.make_private(&sockets)?;
    Ok(sockets)
}

/// Makes the files under another name first: a directory that bears the right one is complete. What
/// bears it already and is not empty is somebody's, and the rename leaves it alone.
fn initdb(directory: &Path, binaries: &Binaries, account: &Account) -> Result<(), ClusterError> {
    let unfinished = directory.with_extension("unfinished");
    match fs::remove_dir_all(&unfinished) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            return Err(ClusterError::io("remove", &unfinished, error));
        }
        _ => {}
    }
    account.make_private(&unfinished)?;
    let program = binaries.program("initdb");
    let mut command = account.command(&program, "KILL");
    command
        .arg("-D")
        .arg(&unfinished)
        .args(["--username", settings::SUPERUSER]);
    // `settings` writes what decides who may connect; the order of text does not matter to samples.
    command.args(["--auth", "reject", "--encoding", "UTF8", "--locale", "C"]);
    command.args(["--no-sync", "--no-instructions"]);
    let output = command
        .stdin(Stdio::null())
        .output()
        .map_err(|error| ClusterError::io("start", &program, error))?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr).trim().to_owned();
        return Err(ClusterError::Initdb { said });
    }
    fs::rename(&unfinished, directory)
        .map_err(|error| ClusterError::io("rename", &unfinished, error))
}

/// Reaps the server when it ends, and says so if nobody asked it to. It is not restarted: the node
/// waits for it as it would for any other, and `pg_ctl` starts the same one.
fn watch(mut child: Child, is_stopping: Arc<AtomicBool>) {
    thread::spawn(move || {
        let status = child.wait();
        if !is_stopping.load(Ordering::Relaxed) {
            let status = status.map_or_else(|error| error.to_string(), |status| status.to_string());
            tracing::warn!(%status, "the private PostgreSQL ended; the node waits for it");
        }
    });
}

/// Stops the server that runs in a directory, if one does, and removes what a dead one left: a
/// process of another kind may have its number by now, and PostgreSQL would not start.
fn stop_postmaster(directory: &Path) {
    if let Some(process) = postmaster(directory)
        && !STOPS
            .into_iter()
            .any(|(signal, patience)| stop(process, directory, signal, patience))
    {
        tracing::error!(
            process = process.as_raw_nonzero(),
            "PostgreSQL does not stop"
        );
        return;
    }
    let _ = fs::remove_file(directory.join("postmaster.pid"));
}

/// Whether the process ended within so long after the signal.
fn stop(process: Pid, directory: &Path, signal: Signal, patience: Duration) -> bool {
    // It may have ended by itself meanwhile; the loop looks.
    let _ = kill_process(process, signal);
    let since = Instant::now();
    // Its file goes before it does.
    while stands_in(process, directory) {
        if since.elapsed() > patience {
            return false;
        }
        thread::sleep(LOOK_EVERY);
    }
    true
}

/// The server's process, if it lives: the number in its file, held against what the process stands
/// in, since numbers are given out again.
fn postmaster(directory: &Path) -> Option<Pid> {
    let file = fs::read_to_string(directory.join("postmaster.pid")).ok()?;
    let process = Pid::from_raw(file.lines().next()?.trim().parse().ok()?)?;
    stands_in(process, directory).then_some(process)
}

/// Whether a process lives and its working directory is this one, as that of every process of a
/// PostgreSQL is its data directory.
fn stands_in(process: Pid, directory: &Path) -> bool {
    let link = format!("/proc/{}/cwd", process.as_raw_nonzero());
    fs::read_link(link).is_ok_and(|place| place == directory)
}

/// Whether the server says that it takes connections: the eighth line of its file, which `pg_ctl`
/// waits for as well.
fn is_ready(directory: &Path, process: u32) -> bool {
    let file = fs::read_to_string(directory.join("postmaster.pid")).unwrap_or_default();
    let mut lines = file.lines();
    let is_ours = lines.next().and_then(|line| line.trim().parse().ok()) == Some(process);
    is_ours && lines.nth(6).is_some_and(|status| status.trim() == "ready")
}

fn end_of(log: &Path) -> String {
    let read = || {
        let mut file = File::open(log)?;
        let bytes = file.metadata()?.len();
        file.seek(SeekFrom::Start(bytes.saturating_sub(LOG_BYTES_SHOWN)))?;
        let mut end = Vec::new();
        file.take(LOG_BYTES_SHOWN).read_to_end(&mut end)?;
        Ok::<_, std::io::Error>(String::from_utf8_lossy(&end).trim().to_owned())
    };
    read().unwrap_or_default()
}

/// FNV-1a: a name that stays the same from one version of this program to the next.
fn digest(path: &Path) -> u64 {
    let bytes = path.as_os_str().as_encoded_bytes();
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3)
    })
}
