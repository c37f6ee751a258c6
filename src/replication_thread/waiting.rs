//! Who waits for the stream to show something: the events of messages that were written, or a position.
//! Looked through whenever a batch was handed over; bounded, and whoever gave up is forgotten.

use std::sync::{Mutex, PoisonError};

use replication::Reader;
use tokio::sync::oneshot;
use wire::{EventId, Key, Lsn};

/// The most that wait. Whoever comes then is not told, and says so when its time is over.
const WAITING_MAX: usize = 1_024;

/// All who wait.
#[derive(Debug, Default)]
pub(super) struct Waiting(Mutex<Vec<Waiter>>);

/// What is waited for.
#[derive(Debug)]
pub(super) enum Awaited {
    /// The events of these messages, each by [`replication::Entry::key`].
    Messages(Vec<Key>),
    /// Everything up to this position of the log.
    Position(Lsn),
}

#[derive(Debug)]
struct Waiter {
    awaited: Awaited,
    /// Of the first messages, in their order.
    found: Vec<EventId>,
    reply: oneshot::Sender<Vec<EventId>>,
}

impl Waiting {
    /// Waits; the answer is the events of the messages.
    pub(super) fn add(&self, awaited: Awaited) -> oneshot::Receiver<Vec<EventId>> {
        let (reply, answer) = oneshot::channel();
        let mut waiting = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if waiting.len() < WAITING_MAX {
            let found = Vec::new();
            waiting.push(Waiter {
                awaited,
                found,
                reply,
            });
        }
        answer
    }

    /// Tells those whose wait is over.
    pub(super) fn look(&self, reader: &Reader, now_ms: u64) {
        let mut waiting = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let over = waiting.extract_if(.., |waiter| {
            waiter.reply.is_closed() || waiter.look(reader, now_ms)
        });
        for waiter in over {
            // An error says that nobody waits any more.
            let _ = waiter.reply.send(waiter.found);
        }
    }
}

impl Waiter {
    /// Whether everything it waits for is there.
    fn look(&mut self, reader: &Reader, now_ms: u64) -> bool {
        match &self.awaited {
            Awaited::Position(lsn) => reader.applied().is_some_and(|applied| applied.lsn >= *lsn),
            Awaited::Messages(keys) => {
                let missing = keys[self.found.len()..].iter();
                self.found
                    .extend(missing.map_while(|key| reader.published(*key, now_ms)));
                self.found.len() == keys.len()
            }
        }
    }
}
