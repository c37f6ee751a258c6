//! Verdicts on a request for a stream: what control decides, and an engine carries out.
//!
//! They travel in the batches' own channel, so that an engine sees grants and revocations in the
//! order of the write-ahead log.

use bytes::Bytes;

use crate::{CloseReason, ConnectionId, EventId, Filter, Format, Key, Name};

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
    /// For a stream: the response head, complete with its blank line. For a page: the fields that
    /// every answer to this client has (CORS), each `name: value\r\n`; the engine writes the rest.
    pub head: Bytes,
    /// JSON members for the `connected` event: `"userId":…,"organizationId":…` and so on, without
    /// braces, never empty, escaped. A page has no such event, and nothing here.
    pub about: Bytes,
    /// What was asked for.
    pub purpose: Purpose,
}

/// What a grant lets a connection have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// An event stream.
    Stream,
    /// One page of what happened: a JSON array.
    Page(PageRequest),
}

impl Purpose {
    /// Whether it holds a connection for longer than an answer takes: such a grant counts as one of
    /// its user's connections, and an engine says once that it ended.
    pub fn is_counted(&self) -> bool {
        match self {
            Self::Stream => true,
            Self::Page(request) => request.wait_ms > 0,
        }
    }
}

/// What a page of history is to hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PageRequest {
    /// From where on.
    pub since: PageSince,
    /// The most events.
    pub limit: u16,
    /// How long to wait for the first event where there is none yet, in milliseconds; 0 answers at
    /// once.
    pub wait_ms: u32,
}

/// From where on a page of history is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PageSince {
    /// None was named: the newest events, as many as the page holds.
    Newest,
    /// After this position, which has the form of one of ours.
    After(EventId),
    /// Committed at this time or later, in milliseconds since 1970.
    At(i64),
    /// An id that is none of ours: what followed it cannot be told.
    Unknown,
}

/// A stream goes on under a fresh session of the same user.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Renewal {
    /// The stream.
    pub connection: ConnectionId,
    /// By which the answer is found again; every renewal gets exactly one.
    pub ticket: u64,
    /// The user of the fresh session: a stream of another is left as it is.
    pub user: Key,
    /// The fresh session, by which the stream is revoked from now on.
    pub session: Key,
    /// When it ends, in milliseconds since 1970.
    pub expires_ms: Option<u64>,
    /// Where membership is a claim of the session: what the fresh one claims. A stream of anything else
    /// is left as it is. `None` where memberships are known, and their end closes streams.
    pub claims: Option<Vec<Claimed>>,
}

/// A membership that a session claims.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Claimed {
    /// The organisation.
    pub organisation: Key,
    /// The roles in it.
    pub roles: Vec<Name>,
}

/// A session lasts longer, or shorter, than was known: its streams live until then.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Extension {
    /// The session.
    pub session: Key,
    /// Its user where that is known, by whom its streams are found without looking at all.
    pub user: Option<Key>,
    /// When it ends, in milliseconds since 1970.
    pub expires_ms: u64,
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
