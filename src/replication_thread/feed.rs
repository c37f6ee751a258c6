//! The replication thread, as the other threads see it.

use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use replication::Spelling;
use rustix::event::{EventfdFlags, eventfd};
use tokio::sync::oneshot;
use wire::{EventId, Key, Lsn};

use super::waiting::{Awaited, Waiting};
use super::{FeedStatus, ORDERS_MAX};
use crate::control::Order;

/// The replication thread: orders in, status out. Cloning it costs a reference count.
#[derive(Clone, Debug)]
pub(crate) struct Feed {
    orders: SyncSender<Order>,
    shared: Arc<Shared>,
}

/// What both sides share.
#[derive(Debug)]
pub(super) struct Shared {
    /// An eventfd, which the thread polls beside its sockets.
    pub(super) wake: OwnedFd,
    stop: AtomicBool,
    status: Mutex<FeedStatus>,
    pub(super) waiting: Waiting,
    /// When the server sent the newest message that was handed over, by the clock of this machine.
    dated: Mutex<Option<Instant>>,
    begun: Instant,
}

impl Shared {
    /// Ends the thread's sleep.
    pub(super) fn wake(&self) {
        // Fails only where the counter would overflow; then the thread is being woken anyway.
        let _ = rustix::io::write(&self.wake, &1u64.to_ne_bytes());
    }

    pub(super) fn is_stopped(&self) -> bool {
        self.stop.load(Ordering::Acquire)
    }

    /// Says what the reader says about itself.
    pub(super) fn publish(&self, status: FeedStatus) {
        if let Some(age) = status.feed_age_ms.map(Duration::from_millis) {
            // What is older than this machine's clock is as old as can be.
            let dated = Instant::now().checked_sub(age);
            *self.dated() = Some(dated.unwrap_or(self.begun));
        }
        *self.status() = status;
    }

    fn dated(&self) -> MutexGuard<'_, Option<Instant>> {
        self.dated.lock().expect("nobody panics while holding it")
    }

    fn status(&self) -> MutexGuard<'_, FeedStatus> {
        self.status
            .lock()
            .expect("nobody panics while holding the status")
    }
}

impl Feed {
    /// A handle, the thread's end of its channel, and what both share.
    pub(super) fn new(status: FeedStatus) -> std::io::Result<(Self, Receiver<Order>, Arc<Shared>)> {
        let wake = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?;
        let (stop, status) = (AtomicBool::new(false), Mutex::new(status));
        let shared = Arc::new(Shared {
            wake,
            stop,
            status,
            waiting: Waiting::default(),
            dated: Mutex::new(None),
            begun: Instant::now(),
        });
        let (orders, orders_in) = sync_channel(ORDERS_MAX);
        Ok((
            Self {
                orders,
                shared: Arc::clone(&shared),
            },
            orders_in,
            shared,
        ))
    }

    /// Gives an order, which is carried out between two batches; [`Self::wake`] once after the last.
    ///
    /// # Errors
    ///
    /// Gives it back where [`ORDERS_MAX`] wait already, or the thread has ended.
    pub(crate) fn send(&self, order: Order) -> Result<(), Order> {
        self.orders.try_send(order).map_err(|error| match error {
            TrySendError::Full(order) | TrySendError::Disconnected(order) => order,
        })
    }

    /// Ends the thread's sleep.
    pub(crate) fn wake(&self) {
        self.shared.wake();
    }

    /// Waits for the events of messages that are being written, each by [`replication::Entry::key`]; they
    /// come in that order, once every engine was handed them.
    pub(crate) fn await_messages(&self, keys: Vec<Key>) -> oneshot::Receiver<Vec<EventId>> {
        self.wait_for(Awaited::Messages(keys))
    }

    /// Waits until everything up to a position was handed over to every engine.
    pub(crate) fn await_position(&self, lsn: Lsn) -> oneshot::Receiver<Vec<EventId>> {
        self.wait_for(Awaited::Position(lsn))
    }

    fn wait_for(&self, awaited: Awaited) -> oneshot::Receiver<Vec<EventId>> {
        let answer = self.shared.waiting.add(awaited);
        // It may be there already.
        self.shared.wake();
        answer
    }

    /// The position up to which everything had been handed over a moment ago. Whoever notes it before
    /// reading anything is told of everything that was revoked since.
    pub(crate) fn applied(&self) -> Option<EventId> {
        self.shared.status().applied
    }

    /// How the tables spell users and organisations, as far as is known by now.
    pub(crate) fn spelling(&self) -> Spelling {
        self.shared.status().memberships.spelling
    }

    /// How old the newest message of the server is up to which everything was handed over, in
    /// milliseconds; `None` before the first. It grows while nothing is heard.
    pub(crate) fn age_ms(&self) -> Option<u64> {
        let dated = *self.shared.dated();
        let age = dated.map(|dated| dated.elapsed().as_millis());
        age.map(|ms| u64::try_from(ms).unwrap_or(u64::MAX))
    }

    /// How many events were handed over to every engine since the start.
    pub(crate) fn events(&self) -> u64 {
        self.shared.status().events
    }

    /// Why waiting does not help, where it does not ([`FeedStatus::fatal`]).
    pub(crate) fn fatal(&self) -> Option<String> {
        self.shared.status().fatal.clone()
    }

    /// What the reader said about itself last.
    pub(crate) fn status(&self) -> FeedStatus {
        self.shared.status().clone()
    }

    /// Ends the thread; its handle can be joined then.
    pub(crate) fn stop(&self) {
        self.shared.stop.store(true, Ordering::Release);
        self.shared.wake();
    }
}
