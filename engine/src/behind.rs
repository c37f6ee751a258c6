//! What is kept of a connection while it is behind, or while a response is written to it.
//!
//! How it catches up is in `catch_up`.

use bytes::Bytes;

use crate::time::Tick;

/// A connection that is not where its class is: its cursor, and what is half sent.
#[derive(Debug, Default)]
pub(crate) struct Behind {
    /// Bytes that go before any frame: a response, a control event, the rest of one.
    pub(crate) pending: Bytes,
    /// Its place in the log: it has every frame up to here.
    pub(crate) cursor: u64,
    /// The frame after the cursor of which a part was sent.
    pub(crate) partial: Option<Partial>,
    /// The socket is full and its watch is armed.
    pub(crate) is_blocked: bool,
    /// When that has lasted for too long; meant only while it is blocked.
    pub(crate) stalled: Tick,
    /// It stands in the queue of those that may be sent to.
    pub(crate) is_ready: bool,
    /// It stands among those that wait for its class.
    pub(crate) is_waiting: bool,
    /// What is pending is a long response.
    pub(crate) is_long: bool,
    /// Its number among the long ones of which nothing is taken now.
    pub(crate) long_stalled: Option<u64>,
}

/// A frame of which a part was sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Partial {
    pub(crate) sequence: u64,
    /// Bytes of it that the socket took.
    pub(crate) sent: u32,
}

impl Behind {
    /// One that begins with these bytes, at this place.
    pub(crate) fn new(pending: Bytes, cursor: u64) -> Self {
        Self {
            pending,
            cursor,
            ..Self::default()
        }
    }

    /// Whether nothing is half sent.
    pub(crate) fn is_whole(&self) -> bool {
        self.pending.is_empty() && self.partial.is_none()
    }
}
