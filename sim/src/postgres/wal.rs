//! The write-ahead log as logical decoding sees it: what was committed, at which place, and on which
//! timeline.
//!
//! Places are bytes. A record takes as many as it roughly would, so that places of different things lie
//! as close together, or as far apart, as they do in PostgreSQL.

use std::sync::Arc;

use super::schema::{Row, TableId};

/// A change of a transaction.
#[derive(Clone, Debug)]
pub struct Change {
    /// Where its record begins.
    pub lsn: u64,
    /// What it is.
    pub what: What,
}

/// What was changed.
#[derive(Clone, Debug)]
pub enum What {
    /// A new row.
    Insert {
        /// Its table.
        table: TableId,
        /// The row.
        new: Row,
    },
    /// A row that is another now.
    Update {
        /// Its table.
        table: TableId,
        /// The row as it was.
        old: Row,
        /// The row as it is.
        new: Row,
    },
    /// A row that is gone.
    Delete {
        /// Its table.
        table: TableId,
        /// The row as it was.
        old: Row,
    },
    /// Tables that were emptied.
    Truncate(Vec<TableId>),
    /// A message of the application's (`pg_logical_emit_message`).
    Message {
        /// Its prefix.
        prefix: Arc<str>,
        /// Its content.
        content: Arc<str>,
        /// What whoever wrote it means by it; `None` where it must be refused.
        meaning: Option<Arc<Meaning>>,
    },
}

/// What a message of the application's is meant to be, in the words of who wrote it: nobody has to read its
/// content to know it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Meaning {
    /// Of two with one id for the same audience the first counts.
    pub id: Option<String>,
    /// The type of the event.
    pub kind: String,
    /// Its channel, as the message names it or as it follows from the others.
    pub channel: String,
    /// The organisation, where it is for one.
    pub organisation: Option<String>,
    /// The user, where it is for one. Where it is for neither it is for everybody.
    pub user: Option<String>,
    /// Its data, as JSON on one line.
    pub data: String,
}

/// A transaction that was committed.
#[derive(Clone, Debug)]
pub struct Transaction {
    /// The timeline on which it was committed.
    pub timeline: u32,
    /// Where its commit record begins: the LSN of its events' ids.
    pub commit: u64,
    /// Where that ends.
    pub end: u64,
    /// When it was committed, by the server's clock, in microseconds since 1970.
    pub unix_us: u64,
    /// Its number, in all its 64 bits.
    pub xid: u64,
    /// Its changes, in order. Those of tables that are not published are not among them.
    pub changes: Vec<Change>,
}

/// What happened to the log, in the order in which it did.
#[derive(Clone, Debug)]
pub enum Record {
    /// A transaction was committed.
    Transaction(Arc<Transaction>),
    /// A message that belongs to no transaction.
    Message(Arc<LooseMessage>),
    /// Another server goes on from here: what was committed at this place or behind it is lost.
    Fork {
        /// The timeline that begins.
        timeline: u32,
        /// The place at which the timeline before was left.
        at: u64,
        /// How far that timeline went.
        end: u64,
    },
}

/// A message that belongs to no transaction, and would survive a rollback.
#[derive(Clone, Debug)]
pub struct LooseMessage {
    /// Where its record begins.
    pub lsn: u64,
    /// Where it ends.
    pub end: u64,
    /// Its prefix.
    pub prefix: Arc<str>,
    /// Its content.
    pub content: Arc<str>,
}

impl Record {
    /// The place that decides whether a stream that begins somewhere has it.
    pub(super) fn place(&self) -> u64 {
        match self {
            Self::Transaction(transaction) => transaction.commit,
            Self::Message(message) => message.lsn,
            Self::Fork { at, .. } => *at,
        }
    }

    /// Where it ends.
    pub fn end(&self) -> u64 {
        match self {
            Self::Transaction(transaction) => transaction.end,
            Self::Message(message) => message.end,
            Self::Fork { at, .. } => *at,
        }
    }
}

/// Everything that was ever committed, forks included. It only grows.
#[derive(Clone, Debug, Default)]
pub struct CommitLog {
    records: Vec<Record>,
    end: u64,
}

impl CommitLog {
    /// Everything, in the order in which it happened.
    pub fn records(&self) -> &[Record] {
        &self.records
    }

    /// Up to where the log of the server that is in force is on disk.
    pub fn end(&self) -> u64 {
        self.end
    }
}

/// The log of the server that is in force.
#[derive(Clone, Debug)]
pub(super) struct Wal {
    pub(super) timeline: u32,
    /// The timelines that were left, oldest first, each with the place at which it was.
    pub(super) left: Vec<(u32, u64)>,
    /// Where the next record goes.
    pub(super) insert: u64,
    /// Up to where it is on disk.
    pub(super) flushed: u64,
    /// What a walsender reads.
    pub(super) records: Vec<Record>,
    pub(super) history: CommitLog,
}

/// What every record takes, and what it takes beside its content (PostgreSQL, `xlogrecord.h`).
const RECORD_BYTES: u64 = 46;

impl Wal {
    pub(super) fn new(begin: u64) -> Self {
        Self {
            timeline: 1,
            left: Vec::new(),
            insert: begin,
            flushed: begin,
            records: Vec::new(),
            history: CommitLog {
                records: Vec::new(),
                end: begin,
            },
        }
    }

    /// Writes a record of a content of so many bytes, and returns where it begins.
    pub(super) fn write(&mut self, bytes: usize) -> u64 {
        let at = self.insert;
        self.insert += (RECORD_BYTES + bytes as u64).next_multiple_of(8);
        at
    }

    /// Puts everything on disk.
    pub(super) fn flush(&mut self) {
        self.flushed = self.insert;
        self.history.end = self.flushed;
    }

    /// Takes what was committed.
    pub(super) fn push(&mut self, record: Record) {
        self.records.push(record.clone());
        self.history.records.push(record);
    }

    /// The first record of a stream that begins at a place.
    pub(super) fn first_at(&self, place: u64) -> usize {
        self.records
            .partition_point(|record| record.place() < place)
    }

    /// Loses what is not on disk.
    pub(super) fn lose_tail(&mut self) {
        self.insert = self.flushed;
        let flushed = self.flushed;
        self.records.retain(|record| record.end() <= flushed);
    }

    /// Another server goes on, which has this and nothing behind it. Returns the numbers of the
    /// transactions that it does not have.
    pub(super) fn fork(&mut self, at: u64) -> Vec<u64> {
        assert!(at <= self.flushed, "a standby has what is on disk");
        self.left.push((self.timeline, at));
        self.timeline += 1;
        let end = self.flushed;
        (self.insert, self.flushed) = (at, at);
        self.history.end = at;
        let kept = self.records.partition_point(|record| record.end() <= at);
        let lost = self.records.split_off(kept).into_iter();
        let lost = lost.filter_map(|record| match record {
            Record::Transaction(transaction) => Some(transaction.xid),
            Record::Message(_) | Record::Fork { .. } => None,
        });
        self.history.records.push(Record::Fork {
            timeline: self.timeline,
            at,
            end,
        });
        lost.collect()
    }
}
