//! Wakes a sleeping engine thread from other threads. The channels it guards are not here.
//!
//! An engine thread sleeps in the kernel, and producers (the replication and the control thread)
//! put things into its channels. An eventfd ends the sleep, and a flag saves the write to it where
//! nobody sleeps.
//!
//! The sleeper: (1) set `sleeping`; (2) fence; (3) look at the channels once more; (4) if they are
//! empty, wait in the kernel; (5) clear `sleeping`.
//! A producer: (a) put the item into the channel; (b) fence; (c) swap `sleeping` for false; (d) if
//! it was true, write the eventfd.
//!
//! No wake-up is lost. Both fences are sequentially consistent, so one of them comes first. If the
//! sleeper's does, (c) sees what (1) stored, or the false of another producer's (c), which then
//! writes the eventfd in our stead; the eventfd is level-triggered in effect, since its counter
//! stays above zero until the thread reads it, so the wait of (4) ends whether the write comes
//! before it or during it. If the producer's fence comes first, (3) sees the item of (a), and the
//! thread does not wait. A wake-up too many is harmless: the thread finds its channels empty.
//! `tests/sleep.rs` tries it in every order in which the threads can see each other's stores.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::event::{EventfdFlags, eventfd};

use crate::sleep_flag::SleepFlag;

/// Ends the sleep of one thread.
#[derive(Debug)]
pub(crate) struct Waker {
    /// What the sleeper watches.
    eventfd: OwnedFd,
    sleeping: SleepFlag,
}

impl Waker {
    /// A waker whose thread is awake.
    pub(crate) fn new() -> io::Result<Self> {
        let eventfd = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?;
        Ok(Self {
            eventfd,
            sleeping: SleepFlag::default(),
        })
    }

    /// Steps (b) to (d): call after the item is in its channel.
    pub(crate) fn wake(&self) {
        if self.sleeping.take() {
            // Fails only where the counter would overflow; then it is above zero, as we want it.
            let _ = rustix::io::write(&self.eventfd, &1u64.to_ne_bytes());
        }
    }

    /// Steps (1) and (2): look at the channels after this, and wait only if they are empty.
    pub(crate) fn announce_sleep(&self) {
        self.sleeping.announce();
    }

    /// Step (5).
    pub(crate) fn end_sleep(&self) {
        self.sleeping.end();
    }

    /// Sets the eventfd back to zero, once it was reported readable.
    pub(crate) fn drain(&self) {
        let mut count = [0; 8];
        // Another report of the same write may have come first: then there is nothing to read.
        let _ = rustix::io::read(&self.eventfd, &mut count);
    }
}

impl AsFd for Waker {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.eventfd.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::event::{PollFd, PollFlags, Timespec, poll};
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU64, Ordering};

    fn is_readable(waker: &Waker) -> bool {
        let mut set = [PollFd::new(waker, PollFlags::IN)];
        poll(
            &mut set,
            Some(&Timespec {
                tv_sec: 0,
                tv_nsec: 0,
            }),
        )
        .unwrap()
            == 1
    }

    #[test]
    fn writes_only_where_somebody_sleeps_and_once() {
        let waker = Waker::new().unwrap();
        waker.wake();
        assert!(!is_readable(&waker));
        waker.announce_sleep();
        waker.wake();
        assert!(is_readable(&waker));
        waker.drain();
        waker.wake();
        assert!(!is_readable(&waker));
    }

    /// Would hang, were a wake-up lost.
    #[test]
    fn no_item_is_slept_over() {
        const ITEMS: u64 = 20_000;
        let waker = Arc::new(Waker::new().unwrap());
        let items = Arc::new(AtomicU64::new(0));
        let producer = {
            let (waker, items) = (Arc::clone(&waker), Arc::clone(&items));
            std::thread::spawn(move || {
                for item in 1..=ITEMS {
                    items.store(item, Ordering::Release);
                    waker.wake();
                    if item % 64 == 0 {
                        std::thread::yield_now();
                    }
                }
            })
        };
        let mut seen = 0;
        while seen < ITEMS {
            waker.announce_sleep();
            if items.load(Ordering::Acquire) == seen {
                let mut set = [PollFd::new(&*waker, PollFlags::IN)];
                poll(&mut set, None).unwrap();
                waker.drain();
            }
            waker.end_sleep();
            seen = items.load(Ordering::Acquire);
        }
        producer.join().unwrap();
    }
}
