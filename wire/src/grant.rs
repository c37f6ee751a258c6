//! Verdicts on a request for a stream: what control decides, and an engine carries out.
//!
//! They travel in the batches' own channel, so that an engine sees grants and revocations in the
//! order of the write-ahead log.

use bytes::Bytes;

use crate::{CloseReason, ConnectionId, EventId, Filter, Format, Key};

/// Lets a connection into its topics.
#[derive(Clone, Debug)]
pub struct Grant {
    /// The connection that asked.
    pub connection: ConnectionId,
    /// The topics, beside the user's own and the global one.
    pub scope: Scope,
    /// The user; `None` for a service key, which has no topic of its own.
    pub user: Option<Key>,
    /// The session, by which it is revoked.
    pub session: Option<Key>,
    /// What of its topics it receives.
    pub filter: Filter,
    /// In which shape.
    pub format: Format,
    /// When the session ends, in milliseconds since 1970.
    pub expires_ms: Option<u64>,
    /// The position of the last change of the membership that the node saw: nothing before it is
    /// shown, and an older id gets a `reset`.
    pub since: Option<EventId>,
    /// From where the client wants to go on.
    pub resume: Resume,
    /// The response head, complete with its blank line.
    pub head: Bytes,
    /// JSON members for the `connected` event: `"userId":…,"organizationId":…` and so on, without
    /// braces, never empty, escaped.
    pub about: Bytes,
}

/// Which organisations' topics a connection is in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Scope {
    /// None: the user's own and the global topic only.
    Nothing,
    /// One organisation.
    Organisation(Key),
    /// Every organisation, and no user; for a service key.
    Everything,
}

/// From where a client wants to go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Resume {
    /// From now: it sent no id.
    Live,
    /// After this position, which has the form of one of ours.
    After(EventId),
    /// It sent an id that is none of ours: whatever it missed cannot be told.
    Unknown,
}

/// Refuses a connection.
#[derive(Clone, Debug)]
pub struct Refuse {
    /// The connection that asked.
    pub connection: ConnectionId,
    /// The whole response.
    pub response: Bytes,
    /// What the engine counts it as.
    pub reason: CloseReason,
}
