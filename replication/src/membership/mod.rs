//! Who may have a stream, in the order of the write-ahead log: the memberships, what was revoked, and
//! the verdict on a newcomer.
//!
//! The memberships are read once, in one snapshot of the database (`load`), and kept by the stream
//! (`rights`): a change counts where the snapshot did not see its transaction (`visibility`). What takes a
//! right away becomes a revocation before any later frame. A credential was judged at some moment, by
//! what could be read then: what was revoked since is found in the `ring`, and when its session ends by now in
//! `ends`; who is banned is in `bans`. Whoever was kept out and is back sees nothing of before (`absences`).
//!
//! Nothing here knows a connection or reads a cookie.

mod absences;
mod bans;
mod catalog;
mod changes;
mod concerns;
mod ends;
mod identity;
mod kept;
mod load;
mod map;
#[cfg(test)]
mod model;
mod question;
mod rights;
mod ring;
mod rows;
mod spelling;
mod standing;
mod table;
mod verdict;
mod visibility;
mod visit;

pub(crate) use changes::{Effect, Origin};
pub(crate) use concerns::Concerns;
pub use identity::{
    Identity, MembershipSource, MembershipTable, OrganisationTable, REVOCATION_TABLE, SessionTable,
    UserTable,
};
pub(crate) use load::{Load, Outcome};
pub use question::{Admission, Claim, MembershipStatus, Place, Question, Wanted};
pub(crate) use rights::Rights;
pub use spelling::Spelling;
pub(crate) use verdict::Moment;
