//! What the reader says about itself, for `/readyz`, the metrics and the logs.

use wire::{EventId, Lsn};

use crate::{MembershipStatus, SlotStatus};

/// The state of the feed and what it counted since its start.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Status {
    /// Whether changes are being received, of now or of the past.
    pub streaming: bool,
    /// Whether they are received up to what the server had when streaming began, and no table is
    /// missing that nobody can want to be missing.
    pub ready: bool,
    /// Why not: `waiting for slot: …`, `connecting to PostgreSQL: …`. Never a secret.
    pub reason: Option<String>,
    /// Set, beside `reason`, where waiting does not help and nothing was ever received: a node that
    /// boots ends with this message, which says what to do.
    pub fatal: Option<String>,
    /// The position up to which everything was handed over to every engine.
    pub applied: Option<EventId>,
    /// The newest position of the server's log that it told us.
    pub server_end: Lsn,
    /// How far `applied` is behind `server_end`, in bytes of the log.
    pub lag_bytes: u64,
    /// How old, by the server's clock, the newest applied commit was when there was something newer;
    /// 0 where nothing is pending.
    pub lag_seconds: f64,
    /// How old, by the server's clock, the newest message of the server is up to which everything was handed
    /// over; `None` before there was one. It grows while nothing is heard, and while something waits.
    pub feed_age_ms: Option<u64>,
    /// What is known of who may have a stream.
    pub memberships: MembershipStatus,
    /// The slot that holds the past: the anchor, or without one our own; as it was when it was last
    /// looked at.
    pub slot: Option<SlotStatus>,
    /// Times the anchor was lost.
    pub anchors_lost: u64,
    /// Whether the publication is there.
    pub published: bool,
    /// Tables that have left the publication, or that routes name and it does not have.
    pub unpublished: Vec<String>,
    /// Changes that were not sent to anybody because they name no organisation, by table.
    pub unroutable: Vec<(String, u64)>,
    /// Updates of which nothing says to whom the row belonged before, by table: its replica identity lacks
    /// the organisation, so that a row that moved away is not said to be gone.
    pub unscoped: Vec<(String, u64)>,
    /// Columns that never leave, by table; `*` for a table of identity, of which none does.
    pub withheld: Vec<(String, Vec<String>)>,
    /// Application messages that were refused, by reason.
    pub refused_messages: Vec<(&'static str, u64)>,
    /// The channels of which there may be events: those of the tables that were described, and of
    /// application messages; `user` for those of all users. Bounded.
    pub channels: Vec<String>,
    /// Events handed over.
    pub events: u64,
    /// Transactions that were received again and dropped.
    pub replayed: u64,
    /// Times the connection was lost.
    pub reconnects: u64,
    /// Times changes may have been missed.
    pub gaps: u64,
}
