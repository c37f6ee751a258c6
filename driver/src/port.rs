//! One engine, as the other threads see it: two channels in, counters out, and a way to end it.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crossbeam_channel::{Receiver, Sender, TrySendError, bounded};
use engine::{Command, Counters};
use wire::Batch;

use crate::counters::PublishedCounters;
use crate::waker::Waker;

/// How many batches wait for an engine; of at most some 256 KiB each, shared by all engines. Beyond
/// it the replication thread waits, and the rest stays in PostgreSQL.
pub const BATCHES_MAX: usize = 64;

/// How many commands wait for an engine.
pub const COMMANDS_MAX: usize = 4096;

/// One engine, from any thread.
#[derive(Clone, Debug)]
pub struct Port {
    batches: Sender<Batch>,
    commands: Sender<Command>,
    shared: Arc<Shared>,
}

/// The engine thread's end of a port.
#[derive(Debug)]
pub(crate) struct Inbox {
    pub(crate) batches: Receiver<Batch>,
    pub(crate) commands: Receiver<Command>,
    pub(crate) shared: Arc<Shared>,
}

/// What both ends share.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) waker: Waker,
    pub(crate) counters: PublishedCounters,
    stop: AtomicBool,
    stop_listening: AtomicBool,
}

/// A port, and the engine thread's end of it.
pub(crate) fn port() -> io::Result<(Port, Inbox)> {
    let (batches, batches_in) = bounded(BATCHES_MAX);
    let (commands, commands_in) = bounded(COMMANDS_MAX);
    let shared = Arc::new(Shared {
        waker: Waker::new()?,
        counters: PublishedCounters::new(),
        stop: AtomicBool::new(false),
        stop_listening: AtomicBool::new(false),
    });
    let inbox = Inbox {
        batches: batches_in,
        commands: commands_in,
        shared: Arc::clone(&shared),
    };
    Ok((
        Port {
            batches,
            commands,
            shared,
        },
        inbox,
    ))
}

impl Port {
    /// Hands a batch over, and wakes the engine. Batches are taken in the order in which they come.
    ///
    /// # Errors
    ///
    /// Gives the batch back where [`BATCHES_MAX`] wait already, or the engine has stopped.
    pub fn try_batch(&self, batch: Batch) -> Result<(), Batch> {
        let result = self.batches.try_send(batch);
        self.shared.waker.wake();
        result.map_err(TrySendError::into_inner)
    }

    /// Whether a batch would be taken now. Where one thread alone hands over batches, it still is when
    /// that thread does.
    pub fn has_room(&self) -> bool {
        !self.batches.is_full()
    }

    /// Hands a command over, and wakes the engine.
    ///
    /// # Errors
    ///
    /// Gives the command back where [`COMMANDS_MAX`] wait already, or the engine has stopped.
    pub fn try_command(&self, command: Command) -> Result<(), Command> {
        let result = self.commands.try_send(command);
        self.shared.waker.wake();
        result.map_err(TrySendError::into_inner)
    }

    /// The engine's counters, as published last: at most some 100 ms ago while it works, and never
    /// before it went to sleep.
    pub fn counters(&self) -> Counters {
        self.shared.counters.read()
    }

    pub(crate) fn stop_listening(&self) {
        self.shared.stop_listening.store(true, Ordering::Release);
        self.shared.waker.wake();
    }

    pub(crate) fn stop(&self) {
        self.shared.stop.store(true, Ordering::Release);
        self.shared.waker.wake();
    }
}

impl Shared {
    pub(crate) fn is_stopping(&self) -> bool {
        self.stop.load(Ordering::Acquire)
    }

    pub(crate) fn is_stop_listening(&self) -> bool {
        self.stop_listening.load(Ordering::Acquire)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use wire::Lsn;

    #[test]
    fn a_full_channel_gives_back_what_it_does_not_take() {
        let (port, inbox) = port().unwrap();
        for lsn in 0..COMMANDS_MAX {
            port.try_command(Command::Flushed(Lsn(lsn as u64))).unwrap();
        }
        let back = port.try_command(Command::Flushed(Lsn(77))).unwrap_err();
        assert!(matches!(back, Command::Flushed(Lsn(77))));
        assert!(matches!(
            inbox.commands.recv(),
            Ok(Command::Flushed(Lsn(0)))
        ));
        port.try_command(back).unwrap();
        drop(inbox);
        assert!(
            port.try_command(Command::Flushed(Lsn(1))).is_err(),
            "the engine has stopped"
        );
    }
}
