//! A walsender: it sends what was committed, in the order of the commits, as far as the network takes it;
//! asks for a sign of life after half of its patience, and drops who gives none.

use std::sync::Arc;

use super::messages;
use super::wal::{Record, Transaction};
use super::{LineId, Phase, Postgres};
use crate::sometimes::State;
use crate::time::Time;

/// How much waits in a socket before a walsender stops decoding, in bytes.
const OUTBOX_BYTES_MAX: usize = 64 * 1024;

/// What a connection streams.
#[derive(Clone, Debug)]
pub(super) struct Sender {
    pub(super) slot: String,
    /// The next record.
    next: usize,
    /// The next change of the transaction that is being sent.
    within: Option<usize>,
    /// Everything before was sent.
    sent: u64,
    /// What the client has said last.
    write: u64,
    flush: u64,
    heard: Time,
    /// Whether a sign of life was asked for.
    has_asked: bool,
    /// Up to where a keepalive has said it.
    said: u64,
    /// The tables that were described, a bit each.
    described: u32,
}

impl Sender {
    pub(super) fn new(slot: &str, next: usize, from: u64, now: Time) -> Self {
        Self {
            slot: slot.to_owned(),
            next,
            within: None,
            sent: from,
            write: 0,
            flush: 0,
            heard: now,
            has_asked: false,
            said: 0,
            described: 0,
        }
    }

    /// When it has something to do of its own.
    pub(super) fn deadline(&self, timeout_ms: u64) -> Time {
        let half = if self.has_asked {
            timeout_ms
        } else {
            timeout_ms / 2
        };
        self.heard + Time::from_ms(half)
    }

    /// Sends what follows.
    fn step(&mut self, out: &mut Vec<u8>, record: &Record, unix_us: u64) {
        match record {
            Record::Message(message) => {
                let (prefix, content) = (&message.prefix, &message.content);
                messages::loose_message(out, unix_us, message.lsn, prefix, content);
                self.finish(message.end);
            }
            Record::Transaction(transaction) => self.send(out, transaction, unix_us),
            Record::Fork { .. } => unreachable!("a server's own log has no forks"),
        }
    }

    fn send(&mut self, out: &mut Vec<u8>, transaction: &Arc<Transaction>, unix_us: u64) {
        let Some(at) = self.within else {
            self.sent = self.sent.max(transaction.commit);
            messages::begin(out, unix_us, transaction);
            self.within = Some(0);
            return;
        };
        let Some(change) = transaction.changes.get(at) else {
            messages::commit(out, unix_us, transaction);
            self.finish(transaction.end);
            return;
        };
        for table in messages::tables_of(change) {
            let bit = 1 << table.0;
            if self.described & bit == 0 {
                self.described |= bit;
                messages::relation(out, unix_us, *table);
            }
        }
        messages::change(out, unix_us, change);
        self.within = Some(at + 1);
    }

    fn finish(&mut self, end: u64) {
        self.sent = self.sent.max(end);
        self.within = None;
        self.next += 1;
    }
}

impl Postgres {
    /// What the server has sent on a line and the network has not taken yet; whoever takes it takes it
    /// from the front.
    pub fn outbox(&mut self, now: Time, line: LineId) -> &mut Vec<u8> {
        self.pump(now, line);
        match self.backends.get_mut(&line) {
            Some(backend) => &mut backend.outbox,
            None => &mut self.nothing,
        }
    }

    /// Sends as much as there is room for.
    pub(super) fn pump(&mut self, now: Time, line: LineId) {
        let (unix_us, flushed) = (now.unix_us(), self.wal.flushed);
        let Some(backend) = self.backends.get_mut(&line) else {
            return;
        };
        let Some(sender) = backend.sender.as_mut() else {
            return;
        };
        let out = &mut backend.outbox;
        while out.len() < OUTBOX_BYTES_MAX
            && let Some(record) = self.wal.records.get(sender.next)
            && record.end() <= flushed
        {
            sender.step(out, record, unix_us);
            if self.random.chance(3) {
                messages::aside(out, self.random.below(3));
            }
            if sender.described != 0 && self.random.chance(2) {
                // Any invalidation of the catalog has the tables described again.
                sender.described = 0;
            }
        }
        if sender.within.is_some() || self.wal.records.len() > sender.next {
            return;
        }
        sender.sent = sender.sent.max(flushed);
        let is_behind = sender.write < sender.sent && sender.flush < sender.sent;
        if is_behind && sender.said < sender.sent && !sender.has_asked {
            messages::keepalive(out, sender.sent, unix_us, false);
            sender.said = sender.sent;
        }
    }

    /// The reader of a stream says where it stands.
    pub(super) fn on_status(
        &mut self,
        now: Time,
        line: LineId,
        write: u64,
        flush: u64,
        wants_reply: bool,
    ) {
        let backend = self.backends.get_mut(&line).expect("it has spoken");
        let Some(sender) = backend.sender.as_mut() else {
            return;
        };
        assert!(
            flush <= sender.sent && write <= sender.sent,
            "the reader confirms {flush:X}, and has {write:X}, of which {:X} was sent",
            sender.sent
        );
        (sender.write, sender.flush) = (write, flush);
        (sender.heard, sender.has_asked) = (now, false);
        if wants_reply {
            let reply_to = sender.sent;
            messages::keepalive(&mut backend.outbox, reply_to, now.unix_us(), false);
        }
        if flush > 0 {
            let slot = sender.slot.clone();
            self.slots.confirm(&slot, flush);
        }
    }

    /// Asks who has been silent, and drops who stays so.
    pub(super) fn look_after_senders(&mut self, now: Time) {
        let lines: Vec<LineId> = self.backends.keys().copied().collect();
        for line in lines {
            self.pump(now, line);
            let backend = self.backends.get_mut(&line).expect("it was just there");
            let timeout_ms = backend.sender_timeout_ms;
            let Some(sender) = backend.sender.as_mut() else {
                continue;
            };
            if now < sender.deadline(timeout_ms) {
                continue;
            }
            if sender.has_asked {
                // Without a word: it takes the reader for dead.
                self.reached.reach(State::SenderTimedOut);
                (backend.is_closed, backend.sender) = (true, None);
                self.slots.on_end(line);
            } else {
                sender.has_asked = true;
                messages::keepalive(&mut backend.outbox, sender.sent, now.unix_us(), true);
            }
        }
    }

    /// While the server stops fast: who was sent everything and has said so is let go. Others are asked
    /// again and again.
    pub(super) fn dismiss_senders(&mut self, now: Time) {
        let lines: Vec<LineId> = self.backends.keys().copied().collect();
        for line in lines {
            self.pump(now, line);
            let backend = self.backends.get_mut(&line).expect("it was just there");
            let Some(sender) = backend.sender.as_mut() else {
                continue;
            };
            let is_sent = sender.within.is_none() && sender.next >= self.wal.records.len();
            // As `WalSndDone` of PostgreSQL decides it.
            let replicated = if sender.flush > 0 {
                sender.flush
            } else {
                sender.write
            };
            if is_sent && replicated == sender.sent {
                messages::complete(&mut backend.outbox, "COPY 0");
                (backend.is_closed, backend.sender) = (true, None);
                self.slots.on_end(line);
            } else if is_sent && backend.outbox.len() < OUTBOX_BYTES_MAX {
                messages::keepalive(&mut backend.outbox, sender.sent, now.unix_us(), true);
            }
        }
        let Phase::Stopping { back_at } = self.phase else {
            return;
        };
        if self
            .backends
            .values()
            .all(|backend| backend.sender.is_none())
        {
            self.go_down(now, back_at);
        }
    }
}
