//! What a node depends on beside its database: a reader of its log, a clock, and the limits that the
//! machine sets it.

use std::fs::{self, File};
use std::io::{Read, Write};
use std::os::fd::OwnedFd;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use rustix::fs::{CWD, Mode, OFlags, mkfifoat};
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
    is_asleep: AtomicBool,
    is_over: AtomicBool,
}

impl LogPipe {
    pub(crate) fn new() -> Self {
        let directory = Directory::new();
        let pipe = directory.join("pipe");
        mkfifoat(CWD, &pipe, Mode::RUSR | Mode::WUSR).expect("the directory of a test is ours");
        // Open for both, so that neither waits for the other (fifo(7)).
        let writer = File::options().read(true).write(true).open(&pipe);
        let writer = writer.expect("it was made a moment ago");
        let mut reader = File::open(&pipe).expect("somebody writes");
        let copy = File::create(directory.join("log"));
        let mut copy = copy.expect("the directory of a test is ours");
        let shared = Arc::new(LogReader::default());
        let own = Arc::clone(&shared);
        thread::spawn(move || {
            let mut buffer = [0; 64 * 1024];
            while !own.is_over.load(Ordering::Relaxed) {
                if own.is_asleep.load(Ordering::Relaxed) {
                    thread::sleep(Duration::from_millis(50));
                    continue;
                }
                let Ok(count @ 1..) = reader.read(&mut buffer) else {
                    return;
                };
                // The directory may be on its way out.
                let _ = copy.write_all(&buffer[..count]);
            }
        });
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

    /// Nobody reads from now on, until somebody does.
    pub(crate) fn stop_reading(&self) {
        self.shared.is_asleep.store(true, Ordering::Relaxed);
    }

    pub(crate) fn read_on(&self) {
        self.shared.is_asleep.store(false, Ordering::Relaxed);
    }

    /// Fills it, so that there is no room for a byte.
    pub(crate) fn fill(&self) {
        let pipe = self.open_without_waiting();
        while rustix::io::write(&pipe, &[b'x'; 512]).is_ok() {}
        while rustix::io::write(&pipe, b"x").is_ok() {}
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
        // Ends the read that waits. Where there is no room for a byte, none does.
        let _ = rustix::io::write(self.open_without_waiting(), b"\n");
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

/// Sends a signal to every process of a server, the first one first: it starts no others meanwhile.
pub(crate) fn signal_all(cluster: &Cluster, signal: Signal) {
    let file = fs::read_to_string(cluster.file("data/postmaster.pid")).unwrap_or_default();
    let id = file
        .lines()
        .next()
        .and_then(|line| line.trim().parse().ok());
    let first = id.and_then(Pid::from_raw).expect("the server runs");
    // Others may have ended since.
    let _ = rustix::process::kill_process(first, signal);
    for child in children_of(first) {
        let _ = rustix::process::kill_process(child, signal);
    }
}

/// A control group with a limit of memory, for a process that goes into it and out again.
pub(crate) struct MemoryGroup {
    path: String,
}

/// Where the first version of control groups has its memory.
const MEMORY: &str = "/sys/fs/cgroup/memory";

impl MemoryGroup {
    /// A group of this many bytes, or why there is none.
    pub(crate) fn new(number: usize, bytes: u64) -> Result<Self, String> {
        let path = format!("{MEMORY}/tailrace-chaos-{}-{number}", std::process::id());
        let group = Self { path };
        fs::create_dir(&group.path).map_err(|error| format!("{}: {error}", group.path))?;
        group.write("memory.limit_in_bytes", &bytes.to_string())?;
        Ok(group)
    }

    /// The process is charged here from now on.
    pub(crate) fn take_in(&self, process: Pid) -> Result<(), String> {
        self.write("cgroup.procs", &process.as_raw_nonzero().to_string())
    }

    fn write(&self, name: &str, value: &str) -> Result<(), String> {
        let file = format!("{}/{name}", self.path);
        fs::write(&file, value).map_err(|error| format!("{file}: {error}"))
    }
}

impl Drop for MemoryGroup {
    fn drop(&mut self) {
        // Whoever is still in it goes back; a group goes when nobody is.
        for process in fs::read_to_string(format!("{}/cgroup.procs", self.path))
            .unwrap_or_default()
            .lines()
        {
            let _ = fs::write(format!("{MEMORY}/cgroup.procs"), process);
        }
        for _ in 0..50 {
            if fs::remove_dir(&self.path).is_ok() || !Path::new(&self.path).exists() {
                return;
            }
            thread::sleep(Duration::from_millis(100));
        }
        eprintln!("the control group {} stays", self.path);
    }
}
