//! The frontend/backend protocol, version 3.0 (PostgreSQL, "Frontend/Backend Protocol"): bytes to
//! messages and messages to bytes. What they mean is not here.

pub(crate) mod backend;
mod condense;
pub(crate) mod fields;
pub(crate) mod frontend;
pub(crate) mod stream;

use std::fmt;

/// The server sent what the protocol does not allow, or what this client does not know.
///
/// The connection is of no use after it: it is closed and made anew.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Malformed {
    /// A message or a field ends too early.
    Short,
    /// Bytes are left behind the last field of a message.
    Long,
    /// A length is negative, smaller than itself or beyond what a server can mean.
    Length,
    /// A text is not terminated, or not UTF-8 where a name is expected.
    Text,
    /// A message, or a part of one, has a tag that is not known.
    Tag(u8),
    /// A message came at a time when it has no place.
    OutOfPlace(&'static str),
    /// A transaction lies before the place up to which the server had said that all was sent, and we
    /// to everybody after it.
    Behind,
    /// A change names a table or a number of columns that was not described before.
    UnknownRelation,
    /// More tables or types than [`crate::limits`] allows.
    TooMany,
}

impl fmt::Display for Malformed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Short => f.write_str("a message of the server ends too early"),
            Self::Long => f.write_str("a message of the server is longer than its fields"),
            Self::Length => f.write_str("a length in a message of the server cannot be meant"),
            Self::Text => f.write_str("a text in a message of the server is broken"),
            Self::Tag(tag) => {
                write!(f, "the server sent an unknown message (0x{tag:02x})")
            }
            Self::OutOfPlace(what) => write!(f, "the server sent {what} out of place"),
            Self::Behind => f.write_str(
                "the server sent a transaction from before where it had said that all was sent",
            ),
            Self::UnknownRelation => f.write_str("a change names a table that was not described"),
            Self::TooMany => f.write_str("the server describes too many tables or types"),
        }
    }
}

impl std::error::Error for Malformed {}
