//! PostgreSQL logical replication in, batches out.
//!
//! Everything here is pure: bytes, time and randomness come in as arguments; writes, batches and
//! deadlines leave as values. The sockets, the clock and the channels to the engines belong to the
//! node's replication thread.

#![forbid(unsafe_code)]
#![deny(missing_docs)]

mod anchor;
mod application;
mod authentication;
mod back_off;
mod batches;
mod config;
mod connect_info;
mod counts;
mod event_types;
mod events;
mod feed;
#[doc(hidden)]
pub mod fuzzing;
pub mod limits;
mod membership;
mod notice;
mod pgoutput;
mod planted;
mod preparation;
mod protocol;
mod provider;
mod publication;
mod publishing;
mod random;
mod reader;
mod recreations;
mod refusal;
mod relations;
mod router;
mod routing;
mod rules;
mod seen;
mod session;
mod sql;
mod status;
mod tally;
mod time;
mod transaction;
mod values;
mod watch;
mod window;

pub use anchor::SlotStatus;
pub use authentication::Protection;
pub use config::{Config, SlotMode};
pub use connect_info::{
    ChannelBinding, ConnectInfo, ConnectInfoError, Host, Password, Roots, Tls, Verify,
};
pub use counts::Status;
pub use event_types::{Action, EventTypes, Template};
pub use membership::{
    Admission, Claim, Identity, MembershipSource, MembershipStatus, MembershipTable,
    OrganisationTable, Place, Question, REVOCATION_TABLE, SessionTable, Spelling, UserTable,
    Wanted,
};
pub use notice::Notice;
pub use provider::{Provider, RDS_REPLICATION};
pub use publishing::{EMIT, Entry, PublishError, entries};
pub use reader::{Action as LineAction, Line, Reader};
pub use refusal::{Refusal, explain, mends};
pub use rules::{Column, Organisation, Route, RuleError, Rules};
pub use sql::{identifier, literal};
pub use values::{Numbers, Style, Timestamps};
