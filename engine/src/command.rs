//! What the control thread tells an engine, outside the order of the write-ahead log.

use bytes::Bytes;
use wire::{CloseReason, ConnectionId, Filter, Lsn};

/// What the control thread tells an engine.
#[derive(Clone, Debug)]
pub enum Command {
    /// The whole response to a forwarded request; the connection is closed in order after it.
    Respond {
        /// The connection that asked.
        connection: ConnectionId,
        /// Head and body.
        response: Bytes,
    },
    /// The answer to [`crate::Notice::Held`]: what the server's WAL has been flushed to.
    Flushed(Lsn),
    /// A stream changes its subscription, at its exact place in the log.
    Subscribe {
        /// The stream; one that is gone by now is ignored.
        connection: ConnectionId,
        /// What it wants from there on.
        filter: Filter,
    },
    /// Close one stream with `bye`; one that is gone by now is ignored.
    Close {
        /// The stream.
        connection: ConnectionId,
        /// What its `bye` event says.
        reason: CloseReason,
    },
    /// Close every stream with `bye`, spread over this time.
    CloseAll {
        /// What the `bye` events say.
        reason: CloseReason,
        /// Over how long, in milliseconds.
        spread_ms: u64,
    },
}
