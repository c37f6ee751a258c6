//! The part of the sleep-and-wake protocol that is atomics alone; the whole of it, and why no wake-up
//! is lost, is in `waker`.
//!
//! The atomics are those of the module that holds this one: the standard library's here, and in
//! `tests/sleep.rs` those of `loom`, which tries every order in which two threads can see them.

use super::atomic::{AtomicBool, Ordering, fence};

/// Whether a thread sleeps, or is about to.
#[derive(Debug, Default)]
pub(crate) struct SleepFlag(AtomicBool);

impl SleepFlag {
    /// Steps (1) and (2) of the sleeper.
    pub(crate) fn announce(&self) {
        self.0.store(true, Ordering::Relaxed);
        fence(Ordering::SeqCst);
    }

    /// Step (5) of the sleeper.
    pub(crate) fn end(&self) {
        self.0.store(false, Ordering::Relaxed);
    }

    /// Steps (b) and (c) of a producer: whether the thread slept, and nobody has woken it yet.
    pub(crate) fn take(&self) -> bool {
        fence(Ordering::SeqCst);
        self.0.load(Ordering::Relaxed) && self.0.swap(false, Ordering::Relaxed)
    }
}
