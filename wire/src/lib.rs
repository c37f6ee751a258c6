//! The words and bytes every crate of Tailrace shares: positions, frames, batches, grants, request
//! heads, Server-Sent Events.
//!
//! Everything here is pure: no clock, no socket, no thread, no randomness. What a byte from outside
//! may do wrong is an `Err`; what we may do wrong is an `assert!`. Routing, sessions and delivery
//! are not here: they live in `replication`, `auth` and `engine`.

#![forbid(unsafe_code)]
#![deny(missing_docs)]

mod batch;
mod close;
mod connection;
mod filter;
mod frame;
#[doc(hidden)]
pub mod fuzzing;
mod grant;
pub mod http;
mod id;
pub mod json;
mod key;
mod lineage;
mod name;
mod scan;
pub mod sse;

pub use batch::{Batch, Commit, Gap, GapReason, Revocation, RevocationScope, Start};
pub use close::CloseReason;
pub use connection::ConnectionId;
pub use filter::{Filter, Format, TypePattern};
pub use frame::{Audience, Frame, FrameWriter, Source, Topic};
pub use grant::{
    Claimed, Extension, Grant, PageRequest, PageSince, Purpose, Refuse, Renewal, Resume, Scope,
};
pub use id::{EventId, Lsn, ParseIdError};
pub use key::{Key, Keys};
pub use lineage::Lineage;
pub use name::{Name, NameError};
