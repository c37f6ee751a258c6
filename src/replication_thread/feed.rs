//! The replication thread, as the other threads see it.

use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, Mutex, MutexGuard};

use rustix::event::{EventfdFlags, eventfd};
use tokio::sync::oneshot;
use wire::{Batch, EventId, Key, Lsn};

use super::waiting::{Awaited, Waiting};
use super::{FeedStatus, VERDICTS_MAX};

/// A verdict and its engine.
pub(super) type Verdict = (u16, Batch);

/// The replication thread: verdicts in, status out. Cloning it costs a reference count.
#[derive(Clone, Debug)]
pub(crate) struct Feed {
    verdicts: SyncSender<Verdict>,
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

    pub(super) fn status(&self) -> MutexGuard<'_, FeedStatus> {
        self.status
            .lock()
            .expect("nobody panics while holding the status")
    }
}

impl Feed {
    /// A handle, the thread's end of its channel, and what both share.
    pub(super) fn new(
        status: FeedStatus,
    ) -> std::io::Result<(Self, Receiver<Verdict>, Arc<Shared>)> {
        let wake = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?;
        let (stop, status) = (AtomicBool::new(false), Mutex::new(status));
        let shared = Arc::new(Shared {
            wake,
            stop,
            status,
            waiting: Waiting::default(),
        });
        let (verdicts, verdicts_in) = sync_channel(VERDICTS_MAX);
        Ok((
            Self {
                verdicts,
                shared: Arc::clone(&shared),
            },
            verdicts_in,
            shared,
        ))
    }

    /// Sends a verdict to an engine, among the batches.
    ///
    /// # Errors
    ///
    /// Gives it back where [`VERDICTS_MAX`] wait already, or the thread has ended.
    pub(crate) fn send_verdict(&self, engine: u16, verdict: Batch) -> Result<(), Batch> {
        let sent = self.verdicts.try_send((engine, verdict));
        self.shared.wake();
        sent.map_err(|error| match error {
            TrySendError::Full((_, verdict)) | TrySendError::Disconnected((_, verdict)) => verdict,
        })
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
