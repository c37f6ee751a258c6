//! What the control thread tells an engine, outside the order of the write-ahead log.

use bytes::Bytes;
use wire::{CloseReason, ConnectionId, Key, Lsn, Name, TypePattern};

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
    /// A stream changes its subscription, at its exact place in the log. What its roles admit stays
    /// as it is. Answered by one [`crate::Notice::Answered`].
    Subscribe {
        /// By which the answer is found again.
        ticket: u64,
        /// The stream.
        connection: ConnectionId,
        /// Whose it must be; `None` for a service key's.
        owner: Option<Key>,
        /// What it wants from there on.
        change: SubscriptionChange,
    },
    /// A client closes a stream of its own with `bye`. Answered by one [`crate::Notice::Answered`].
    End {
        /// By which the answer is found again.
        ticket: u64,
        /// The stream.
        connection: ConnectionId,
        /// Whose it must be; `None` for a service key's.
        owner: Option<Key>,
        /// What its `bye` event says.
        reason: CloseReason,
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

/// How a subscription changes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SubscriptionChange {
    /// These are admitted too; what admits everything already goes on doing so.
    Add {
        /// Channels; none adds none.
        channels: Vec<Name>,
        /// Types; none adds none.
        types: Vec<TypePattern>,
    },
    /// These are admitted, and no others.
    Replace {
        /// Channels; none is all.
        channels: Vec<Name>,
        /// Types; none is all.
        types: Vec<TypePattern>,
    },
}
