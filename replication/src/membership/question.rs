//! The question whether somebody may be let in, and its answers.

use wire::{EventId, Key};

use super::Spelling;

/// Whether a user may have a stream, of which organisation; asked when everything that can be known
/// without the write-ahead log is known.
#[derive(Clone, Debug)]
pub struct Question {
    /// The user, as the credential spells it.
    pub user: String,
    /// The session: of its row's id, its `jti`, or the credential itself.
    pub session: Key,
    /// When the session was issued, in milliseconds since 1970, where that is known.
    pub issued_ms: Option<u64>,
    /// The organisation.
    pub organisation: Wanted,
    /// The position that had been applied *before* anything was read to judge the credential: what was
    /// revoked since, nobody looked at.
    pub judged: EventId,
    /// When that was, in milliseconds since 1970 by the node's own clock.
    pub judged_ms: u64,
    /// The memberships that the session claims, where it is the session that says so.
    pub claims: Option<Vec<Claim>>,
}

/// Which organisation is wanted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Wanted {
    /// This one.
    Named(String),
    /// This one, which the session says is active: if the user is a member of it, else as [`Self::Only`].
    Preferred(String),
    /// The only one that the user belongs to.
    Only,
    /// None: whether the user and the session still count, whoever they belong to. It is what a renewal
    /// asks.
    Anywhere,
}

/// A membership that a session claims.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Claim {
    /// The organisation.
    pub organisation: String,
    /// The role, or several with commas between them.
    pub role: Option<String>,
}

/// The answer to a [`Question`]. It holds for the moment between two batches in which it was given.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Admission {
    /// The user may.
    Admitted(Place),
    /// Something was revoked since the credential was judged that may concern it, or so much that
    /// nobody can tell any more: it is to be judged again, without any cache.
    JudgeAgain,
    /// There is no such organisation, or the user does not belong to it, or to none at all.
    NotAMember,
    /// None was named, and the user belongs to several.
    SeveralOrganisations,
    /// The user, the session or the organisation was revoked, and still is.
    Revoked,
    /// The memberships are not known yet, or not all of them.
    NotReady,
}

/// Where a user is let in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// The user, as the tables spell it.
    pub user: String,
    /// The organisation, as the table spells it; `None` where there are none.
    pub organisation: Option<String>,
    /// The role, or several with commas between them.
    pub role: Option<String>,
    /// The position of the last change of the membership that this node saw, or of what kept the user out:
    /// nothing before it is for the user's eyes.
    pub since: Option<EventId>,
    /// When the session ends, in milliseconds since 1970, as was last said, where anything was.
    pub session_ends_ms: Option<u64>,
}

/// What is known of the memberships, for `/readyz` and the metrics.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MembershipStatus {
    /// Whether they are known, and the stream has passed the moment at which they were read: before
    /// that nobody is let in.
    pub ready: bool,
    /// How many rows are kept.
    pub count: usize,
    /// Whether there are more than may be kept, so that nobody is let in who is not among them.
    pub full: bool,
    /// How many users are banned; `None` where that is not known, and where nothing is read.
    pub bans: Option<usize>,
    /// Revocations that were handed over.
    pub revocations: u64,
    /// Times they were read.
    pub loads: u64,
    /// Why they could not be read the last time.
    pub trouble: Option<String>,
    /// How users and organisations are spelled.
    pub spelling: Spelling,
}
