//! What an operator says of who is who: the tables, and their columns, that identity is read from.
//!
//! Names are exactly as PostgreSQL holds them; a table's may have its schema before it (`public.Member`).
//! What a table of the stream means by these is in `concerns`.

/// The table of revocations that `init` makes; a node applies its rows in the order of the log.
pub const REVOCATION_TABLE: (&str, &str) = ("tailrace", "revocation");

/// Where the rights of users come from, and what takes them away.
#[derive(Clone, Debug, Default)]
pub struct Identity {
    /// Who belongs to which organisation.
    pub membership: MembershipSource,
    /// The rows of sessions: what ends one ends its streams.
    pub session: Option<SessionTable>,
    /// The rows of users: who is deleted or banned loses every stream.
    pub user: Option<UserTable>,
    /// The rows of organisations: one that is deleted has no streams.
    pub organisation: Option<OrganisationTable>,
    /// Whether [`REVOCATION_TABLE`] is there and published.
    pub revocation: bool,
}

/// Who says which organisation somebody belongs to.
#[derive(Clone, Debug, Default)]
pub enum MembershipSource {
    /// Nobody: there are users and no organisations.
    #[default]
    None,
    /// The rows of a table, kept in memory.
    Table(MembershipTable),
    /// The session itself, so that only its end takes a membership away.
    Claim,
}

/// The table of memberships. The table of users is one too, where it has a column of the organisation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MembershipTable {
    /// The table.
    pub table: String,
    /// The column of the user.
    pub user: String,
    /// The column of the organisation.
    pub organisation: String,
    /// The column of the role, or of several with commas between them.
    pub role: Option<String>,
    /// A column that says whether a row counts: a boolean that has to be true, or of any other type one
    /// that has to be NULL (`deletedAt`).
    pub active: Option<String>,
    /// The most memberships that are kept; beyond it nobody is let in who is not among them.
    pub max: usize,
}

impl MembershipTable {
    /// The default of [`Self::max`]: about 200 bytes each, so some 200 MB.
    pub const MAX_DEFAULT: usize = 1_000_000;

    /// A table, by its columns of the user and the organisation.
    pub fn new(table: &str, user: &str, organisation: &str) -> Self {
        Self {
            table: table.to_owned(),
            user: user.to_owned(),
            organisation: organisation.to_owned(),
            role: None,
            active: None,
            max: Self::MAX_DEFAULT,
        }
    }
}

/// The table of sessions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SessionTable {
    /// The table.
    pub table: String,
    /// The column by which its sessions are known: [`crate::Question::session`] is its key.
    pub id: String,
    /// The column of the user.
    pub user: String,
    /// The column of the time when the session ends.
    pub expires: Option<String>,
}

/// The table of users.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UserTable {
    /// The table.
    pub table: String,
    /// The column by which users are known.
    pub id: String,
    /// A boolean column that says that a user is banned.
    pub banned: Option<String>,
    /// The column of the time when that ends; NULL is never.
    pub banned_until: Option<String>,
}

/// The table of organisations.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OrganisationTable {
    /// The table.
    pub table: String,
    /// The column by which organisations are known.
    pub id: String,
}

impl Identity {
    /// The table of memberships, where there is one.
    pub(crate) fn members(&self) -> Option<&MembershipTable> {
        match &self.membership {
            MembershipSource::Table(table) => Some(table),
            MembershipSource::None | MembershipSource::Claim => None,
        }
    }

    /// The table of users, where it has a column that says who is banned.
    pub(crate) fn bans(&self) -> Option<&UserTable> {
        self.user.as_ref().filter(|it| it.banned.is_some())
    }

    /// The tables that are named.
    pub(crate) fn tables(&self) -> impl Iterator<Item = &str> {
        let members = self.members().map(|it| it.table.as_str());
        let session = self.session.as_ref().map(|it| it.table.as_str());
        let user = self.user.as_ref().map(|it| it.table.as_str());
        let organisation = self.organisation.as_ref().map(|it| it.table.as_str());
        [members, session, user, organisation].into_iter().flatten()
    }
}
