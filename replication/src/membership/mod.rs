//! Who may have a stream, in the order of the write-ahead log: the memberships, what was revoked, and
//! the verdict on a newcomer.
//!
//! The memberships are read once, in one snapshot of the database (`load`), and kept by the stream
//! (`rights`): a change counts where the snapshot did not see its transaction (`visibility`). What takes a
//! right away becomes a revocation before any later frame. A credential was judged at some moment, by
//! what could be read then: what was revoked since is found in the `ring`.
//!
//! Nothing here knows a connection or reads a cookie.

mod identity;
mod question;
mod rights;
mod ring;

pub use identity::{
    Identity, MembershipSource, MembershipTable, OrganisationTable, REVOCATION_TABLE, SessionTable,
    UserTable,
};
pub use question::{Admission, Claim, MembershipStatus, Place, Question, Wanted};
pub(crate) use rights::{Moment, Rights};
