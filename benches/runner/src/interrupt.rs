//! A run that is told to end (SIGINT, SIGTERM, SIGHUP) ends what it started: every process is told,
//! whoever waits for one gets an error, and the cell is given up and not written down.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use rustix::process::{Pid, Signal, kill_process};

static INTERRUPTED: AtomicBool = AtomicBool::new(false);

/// The processes that run.
static PROCESSES: Mutex<BTreeSet<i32>> = Mutex::new(BTreeSet::new());

/// Listens to the signals from now on.
pub(crate) fn listen() -> Result<()> {
    let end = || {
        INTERRUPTED.store(true, Ordering::Relaxed);
        for id in processes().iter().filter_map(|id| Pid::from_raw(*id)) {
            // An error means that it has ended already.
            let _ = kill_process(id, Signal::INT);
        }
    };
    ctrlc::set_handler(end).context("signals cannot be listened to")
}

/// Whether the run was told to end.
pub(crate) fn is_interrupted() -> bool {
    INTERRUPTED.load(Ordering::Relaxed)
}

/// An error where the run was told to end.
pub(crate) fn check() -> Result<()> {
    if is_interrupted() {
        bail!("interrupted");
    }
    Ok(())
}

/// Remembers a process that runs.
pub(crate) fn add(id: Pid) {
    processes().insert(id.as_raw_nonzero().get());
}

/// Forgets a process, before its number can be another's.
pub(crate) fn remove(id: Pid) {
    processes().remove(&id.as_raw_nonzero().get());
}

/// Sleeps, but not on after the run was told to end.
pub(crate) fn sleep(time: Duration) -> Result<()> {
    const LOOK_EVERY: Duration = Duration::from_millis(200);
    let end = Instant::now() + time;
    loop {
        check()?;
        let rest = end.saturating_duration_since(Instant::now());
        if rest.is_zero() {
            return Ok(());
        }
        std::thread::sleep(rest.min(LOOK_EVERY));
    }
}

fn processes() -> MutexGuard<'static, BTreeSet<i32>> {
    // Nothing that can panic is done while it is held.
    PROCESSES.lock().unwrap_or_else(PoisonError::into_inner)
}
