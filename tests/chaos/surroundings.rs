//! What a node depends on beside its database: a reader of its log, a clock, descriptors, and that its
//! process runs.

use std::fs::{self, File};
use std::io::{Read, Write};
use std::os::fd::OwnedFd;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use rustix::fs::{CWD, Mode, OFlags, mkfifoat};
use rustix::io::Errno;
use rustix::process::{Resource, Rlimit};

use crate::support::directory::Directory;
use crate::support::postgres::{Cluster, children_of};
use crate::support::process::{Pid, Signal};

/// A pipe into which a node logs, and whoever reads it, or not.
pub(crate) struct LogPipe {
    directory: Directory,
    shared: Arc<LogReader>,
    /// Held open, so that the reader never meets an end while the node is away.
    _writer: File,
}

#[derive(Default)]
struct LogReader {
    /// Held while somebody reads; whether nobody is to.
    is_asleep: Mutex<bool>,
    is_over: AtomicBool,
}

impl LogReader {
    /// Copies what comes, to its end.
    fn read(&self, mut pipe: File, mut copy: File) {
        let mut buffer = [0; 64 * 1024];
        while !self.is_over.load(Ordering::Relaxed) {
            let is_asleep = locked(&self.is_asleep);
            if !*is_asleep && let Ok(count @ 1..) = pipe.read(&mut buffer) {
                // The directory may be on its way out.
                let _ = copy.write_all(&buffer[..count]);
                continue;
            }
            drop(is_asleep);
            thread::sleep(Duration::from_millis(10));
        }
    }
}

impl LogPipe {
    pub(crate) fn new() -> Self {
        let directory = Directory::new();
        let pipe = directory.join("pipe");
        mkfifoat(CWD, &pipe, Mode::RUSR | Mode::WUSR).expect("the directory of a test is ours");
        // Open for both, so that neither waits for the other (fifo(7)).
        let writer = File::options().read(true).write(true).open(&pipe);
        let writer = writer.expect("it was made a moment ago");
        // Never waiting for a byte: who stops reading has stopped.
        let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let reader = rustix::fs::open(&pipe, flags, Mode::empty()).expect("somebody writes");
        let copy = File::create(directory.join("log"));
        let copy = copy.expect("the directory of a test is ours");
        let shared = Arc::new(LogReader::default());
        let own = Arc::clone(&shared);
        thread::spawn(move || own.read(reader.into(), copy));
        Self {
            directory,
            shared,
            _writer: writer,
        }
    }

    /// Where the node is to log.
    pub(crate) fn path(&self) -> String {
        self.directory.join("pipe")
    }

    /// Nobody reads from now on, until somebody does: not a byte after this returns.
    pub(crate) fn stop_reading(&self) {
        *locked(&self.shared.is_asleep) = true;
    }

    pub(crate) fn read_on(&self) {
        *locked(&self.shared.is_asleep) = false;
    }

    /// Fills it, so that there is no room for a byte.
    pub(crate) fn fill(&self) {
        let pipe = self.open_without_waiting();
        while rustix::io::write(&pipe, &[b'x'; 512]).is_ok() {}
        while rustix::io::write(&pipe, b"x").is_ok() {}
    }

    /// Whether there is no room for a byte.
    pub(crate) fn is_full(&self) -> bool {
        let written = rustix::io::write(self.open_without_waiting(), b"x");
        written == Err(Errno::AGAIN)
    }

    fn open_without_waiting(&self) -> OwnedFd {
        let flags = OFlags::WRONLY | OFlags::NONBLOCK;
        let pipe = rustix::fs::open(self.path(), flags, Mode::empty());
        pipe.expect("the end for reading is open")
    }

    /// What was read so far.
    pub(crate) fn text(&self) -> String {
        let bytes = fs::read(self.directory.join("log")).unwrap_or_default();
        String::from_utf8_lossy(&bytes).into_owned()
    }
}

impl Drop for LogPipe {
    fn drop(&mut self) {
        self.shared.is_over.store(true, Ordering::Relaxed);
    }
}

/// A clock that can be set, for a node that is started with its environment. The monotonic clock goes on
/// as it does.
pub(crate) struct Clock {
    file: String,
    library: String,
}

impl Clock {
    /// A clock that is right, kept in this file; or why there is none.
    pub(crate) fn new(file: String) -> Result<Self, String> {
        let library = ["x86_64-linux-gnu", "aarch64-linux-gnu"]
            .map(|machine| format!("/usr/lib/{machine}/faketime/libfaketimeMT.so.1"))
            .into_iter()
            .find(|path| Path::new(path).exists());
        let library = library.ok_or("libfaketime is not installed (apt-get install faketime)")?;
        let clock = Self { file, library };
        clock.set("+0");
        Ok(clock)
    }

    /// Sets it, such as `+10d`; within a second the node goes by it.
    pub(crate) fn set(&self, offset: &str) {
        // Whole at once: the library must not read half of it.
        let new = format!("{}.new", self.file);
        fs::write(&new, offset).expect("the directory of a test is ours");
        fs::rename(&new, &self.file).expect("it was written a moment ago");
    }

    /// The environment in which a node goes by it.
    pub(crate) fn environment(&self) -> [(&str, &str); 4] {
        [
            ("LD_PRELOAD", &self.library),
            ("FAKETIME_TIMESTAMP_FILE", &self.file),
            ("FAKETIME_CACHE_DURATION", "1"),
            ("FAKETIME_DONT_FAKE_MONOTONIC", "1"),
        ]
    }
}

/// Says how many descriptors a process may hold, and returns how many it might.
pub(crate) fn limit_descriptors(process: Pid, most: Option<u64>) -> Option<u64> {
    let before = rustix::process::prlimit(
        Some(process),
        Resource::Nofile,
        Rlimit {
            current: most,
            maximum: rustix::process::getrlimit(Resource::Nofile).maximum,
        },
    );
    before.ok()?.current
}

/// Lets this process, and the nodes that it starts, hold as many descriptors as they may. A panic where
/// those are fewer than needed, as a crowd would be none.
pub(crate) fn raise_descriptors(needed: u64) {
    let limit = rustix::process::getrlimit(Resource::Nofile);
    let most = limit.maximum.unwrap_or(u64::MAX);
    assert!(
        most >= needed,
        "{needed} descriptors are needed, and {most} allowed: see ulimit -Hn"
    );
    let raised = Rlimit {
        current: limit.maximum,
        ..limit
    };
    rustix::process::setrlimit(Resource::Nofile, raised).expect("up to the limit it may be raised");
}

/// Whether a process stands still, stopped by a signal (proc(5), state T).
pub(crate) fn is_stopped(process: Pid) -> bool {
    let stat = fs::read_to_string(format!("/proc/{process}/stat")).unwrap_or_default();
    let state = stat.rsplit_once(") ").map(|(_, rest)| rest.as_bytes());
    state.is_some_and(|state| state.first() == Some(&b'T'))
}

/// The first process of a server, which starts all others.
pub(crate) fn postmaster(cluster: &Cluster) -> Pid {
    let file = fs::read_to_string(cluster.file("data/postmaster.pid")).unwrap_or_default();
    let id = file.lines().next();
    let id = id.and_then(|line| line.trim().parse().ok());
    id.and_then(Pid::from_raw).expect("the server runs")
}

/// Sends a signal to every process of a server, the first one first: it starts no others meanwhile.
pub(crate) fn signal_all(cluster: &Cluster, signal: Signal) {
    let first = postmaster(cluster);
    // Others may have ended since.
    let _ = rustix::process::kill_process(first, signal);
    for child in children_of(first) {
        let _ = rustix::process::kill_process(child, signal);
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
