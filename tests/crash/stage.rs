//! What every actor of a run shares: when it began, whether it is over, and what has gone wrong.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

/// How long an actor sleeps at most before it looks whether the run goes on.
const GLANCE: Duration = Duration::from_millis(50);

/// The run's common knowledge.
pub(crate) struct Stage {
    began: Instant,
    /// The writers and the strikes are to end.
    closing: AtomicBool,
    /// Everybody is to end at once.
    broken_off: AtomicBool,
    /// Somebody has pressed Ctrl-C.
    interrupted: AtomicBool,
    violations: Mutex<Vec<String>>,
    /// Numbers that no two rows share.
    counter: AtomicU64,
    /// The newest long transaction of which a client has seen a part.
    long_seen: AtomicU64,
}

impl Stage {
    pub(crate) fn new() -> Self {
        Self {
            began: Instant::now(),
            closing: AtomicBool::new(false),
            broken_off: AtomicBool::new(false),
            interrupted: AtomicBool::new(false),
            violations: Mutex::new(Vec::new()),
            counter: AtomicU64::new(0),
            long_seen: AtomicU64::new(0),
        }
    }

    /// Writes a line of what happens, with the time.
    pub(crate) fn say(&self, what: &str) {
        println!("{:7.2} s  {what}", self.began.elapsed().as_secs_f64());
    }

    /// Something is not as it was promised. The run ends early, since what comes after follows from it.
    pub(crate) fn violated(&self, what: String) {
        self.say(&what);
        self.violations
            .lock()
            .expect("nobody fails while holding this")
            .push(what);
        self.break_off();
    }

    pub(crate) fn violations(&self) -> Vec<String> {
        let violations = self.violations.lock();
        violations.expect("nobody fails while holding this").clone()
    }

    /// No more writing, no more strikes.
    pub(crate) fn close(&self) {
        self.closing.store(true, Ordering::Relaxed);
    }

    pub(crate) fn is_closing(&self) -> bool {
        self.closing.load(Ordering::Relaxed) || self.is_broken_off()
    }

    /// Everybody goes home.
    pub(crate) fn break_off(&self) {
        self.broken_off.store(true, Ordering::Relaxed);
    }

    pub(crate) fn is_broken_off(&self) -> bool {
        self.broken_off.load(Ordering::Relaxed)
    }

    /// Everybody goes home, because somebody outside wants it.
    pub(crate) fn interrupt(&self) {
        self.interrupted.store(true, Ordering::Relaxed);
        self.break_off();
    }

    pub(crate) fn is_interrupted(&self) -> bool {
        self.interrupted.load(Ordering::Relaxed)
    }

    /// The next number of a row.
    pub(crate) fn number(&self) -> u64 {
        self.counter.fetch_add(1, Ordering::Relaxed) + 1
    }

    /// A client has seen a part of this long transaction.
    pub(crate) fn saw_long(&self, number: u64) {
        self.long_seen.fetch_max(number, Ordering::Relaxed);
    }

    pub(crate) fn has_seen_long(&self, number: u64) -> bool {
        self.long_seen.load(Ordering::Relaxed) >= number
    }

    /// Sleeps, unless `is_over` comes true; says whether it slept to the end.
    pub(crate) fn sleep(&self, time: Duration, is_over: impl Fn(&Self) -> bool) -> bool {
        let until = Instant::now() + time;
        loop {
            if is_over(self) {
                return false;
            }
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return true;
            }
            thread::sleep(left.min(GLANCE));
        }
    }

    /// Whoever holds it and panics ends the run for all.
    pub(crate) fn actor(&self) -> Actor<'_> {
        Actor(self)
    }
}

/// Somebody at work on the stage.
pub(crate) struct Actor<'a>(&'a Stage);

impl Drop for Actor<'_> {
    fn drop(&mut self) {
        if thread::panicking() {
            self.0.break_off();
        }
    }
}
