//! Batches: what the replication thread hands over to every engine, in the order of the write-ahead
//! log.

use std::sync::Arc;

use crate::{CloseReason, EventId, Extension, Frame, Grant, Key, Lineage, Lsn, Refuse, Renewal};

/// One thing the replication thread hands over.
#[derive(Clone, Debug)]
pub enum Batch {
    /// The stream of changes starts, or starts again after a reconnect.
    Start(Arc<Start>),
    /// Events of a committed transaction.
    Commit(Arc<Commit>),
    /// Nothing for us was committed up to this position.
    Progress(EventId),
    /// Somebody loses a right, before any later frame.
    Revoke(Revocation),
    /// Changes were missed: every stream is reset.
    Gap(Arc<Gap>),
    /// A connection is let in.
    Grant(Box<Grant>),
    /// Several are, at one and the same place in the log.
    Grants(Vec<Grant>),
    /// A connection is refused.
    Refuse(Box<Refuse>),
    /// A stream goes on under a fresh session; judged like a grant, and in the same order.
    Renew(Box<Renewal>),
    /// A session's end has moved, and with it that of its streams.
    Extend(Extension),
}

/// The stream of changes starts, or starts again.
#[derive(Clone, Debug)]
pub struct Start {
    /// Which positions are ours.
    pub lineage: Lineage,
    /// The position at which this node's reading began; what lies before it is not in any log here.
    /// Heeded the first time only: a later start goes on where the stream broke.
    pub floor: EventId,
    /// What the server had flushed then: up to there it is the past that is read.
    pub caught_up: EventId,
}

/// Events of one transaction, at most about 256 KiB at a time (a single larger frame alone).
///
/// Every id of it lies above everything handed over before.
#[derive(Clone, Debug)]
pub struct Commit {
    /// The frames, in ascending order of their ids.
    pub frames: Vec<Frame>,
    /// The position up to which everything has been handed over with this batch: the id of its last
    /// frame, or with the last batch of a transaction the place after the commit.
    pub through: EventId,
    /// The end of the commit record, as PostgreSQL wants it confirmed; `None` where more of the
    /// same transaction follows.
    pub end: Option<Lsn>,
}

/// Changes were missed, and nobody can tell which.
#[derive(Clone, Debug)]
pub struct Gap {
    /// Which positions are ours from now on.
    pub lineage: Lineage,
    /// The position from which nothing is missing again.
    pub floor: EventId,
    /// Why, as the `reset` event says it.
    pub reason: GapReason,
}

/// Why changes were missed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GapReason {
    /// The replication slot was dropped or invalidated.
    SlotLost,
    /// Another cluster, another timeline, or a restored older state answers.
    HistoryChanged,
    /// The publication lost a table or was dropped.
    PublicationChanged,
}

impl GapReason {
    /// The word for it in `reset` events, logs and metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::SlotLost => "slot_lost",
            Self::HistoryChanged => "history_changed",
            Self::PublicationChanged => "publication_changed",
        }
    }
}

/// Somebody loses a right: every connection in the scope is closed.
#[derive(Clone, Debug)]
pub struct Revocation {
    /// Which connections.
    pub scope: RevocationScope,
    /// What their `bye` event says.
    pub reason: CloseReason,
}

/// Which connections a revocation closes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RevocationScope {
    /// One user's streams of one organisation.
    Member {
        /// The user.
        user: Key,
        /// The organisation.
        organisation: Key,
    },
    /// All streams of a user.
    User(Key),
    /// All streams of a session.
    Session(Key),
    /// All streams of an organisation.
    Organisation(Key),
    /// Every stream that has a user: the change could not be attributed.
    Everybody,
}
