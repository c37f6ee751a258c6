//! `[session]`, `[user]`, `[membership]` and `[organization]`: the tables that say who somebody is and
//! where they belong. Names are exactly as PostgreSQL holds them.

use super::ConfigError;
use super::auth::Mode;
use super::raw::{self, Raw};
use crate::database::identifier;

/// What is read about people, and from where.
#[derive(Clone, Debug)]
pub(crate) struct Identity {
    /// What says who belongs where; `None` where it is not said, and only keys open streams.
    pub(crate) membership: Option<MembershipSource>,
    /// The table of sessions: rows that are looked up, rows whose end is a revocation, or both.
    pub(crate) session: Option<SessionTable>,
    /// The table of users.
    pub(crate) user: Option<UserTable>,
    /// The table of organisations.
    pub(crate) organization: Option<OrganizationTable>,
}

impl Identity {
    /// The same as the reader takes it.
    pub(super) fn rules(&self) -> replication::Identity {
        let membership = match &self.membership {
            None | Some(MembershipSource::None) => replication::MembershipSource::None,
            Some(MembershipSource::Claim) => replication::MembershipSource::Claim,
            Some(MembershipSource::Table(table)) => {
                replication::MembershipSource::Table(table.rules())
            }
        };
        replication::Identity {
            membership,
            session: self.session.as_ref().map(SessionTable::rules),
            user: self.user.as_ref().map(UserTable::rules),
            organisation: self.organization.as_ref().map(|organization| {
                replication::OrganisationTable {
                    table: organization.table.text(),
                    id: organization.id.clone(),
                }
            }),
            // The database says so at the start of a node.
            revocation: false,
        }
    }
}

/// What only the database can say about a configuration.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Found {
    /// The table of memberships has no column of the default name for roles.
    pub(crate) no_role: bool,
    /// The table of sessions has no column of the default name for the organisation chosen last.
    pub(crate) no_active_organization: bool,
    /// The table of revocations is there, is published and can be read.
    pub(crate) revocation: bool,
}

impl super::Config {
    /// Takes the defaults away that this database does not have, and takes up what it has.
    pub(crate) fn adapt(&mut self, found: Found) {
        if let Some(MembershipSource::Table(table)) = &mut self.identity.membership
            && found.no_role
        {
            table.role = None;
        }
        if let Some(session) = &mut self.identity.session
            && found.no_active_organization
        {
            session.active_organization = None;
        }
        self.rules.identity = replication::Identity {
            revocation: found.revocation,
            ..self.identity.rules()
        };
    }
}

/// What says who belongs to which organisation.
#[derive(Clone, Debug)]
pub(crate) enum MembershipSource {
    /// Nobody: there are no organisations.
    None,
    /// The rows of a table.
    Table(Membership),
    /// The session itself; which of its claims is for whoever verifies it.
    Claim,
}

/// `[membership]` of a table.
#[derive(Clone, Debug)]
pub(crate) struct Membership {
    /// The schema, where one is named.
    pub(crate) schema: Option<String>,
    /// The table.
    pub(crate) table: String,
    /// The column of the user.
    pub(crate) user: String,
    /// The column of the organisation.
    pub(crate) organization: String,
    /// The column of the role, where there is one.
    pub(crate) role: Option<String>,
    /// The column that says whether the row counts, where there is one.
    pub(crate) active: Option<String>,
    /// The most rows that are kept in memory; 0 is no bound.
    pub(crate) max: u32,
}

impl Membership {
    /// The default of `membership.role`: a table without such a column has no roles.
    pub(crate) const ROLE_DEFAULT: &str = "role";

    /// The table's name.
    pub(crate) fn name(&self) -> TableName {
        TableName {
            schema: self.schema.clone(),
            name: self.table.clone(),
        }
    }

    fn rules(&self) -> replication::MembershipTable {
        let Self {
            user, organization, ..
        } = self;
        replication::MembershipTable {
            role: self.role.clone(),
            active: self.active.clone(),
            max: match self.max {
                0 => usize::MAX,
                max => max as usize,
            },
            ..replication::MembershipTable::new(&self.name().text(), user, organization)
        }
    }
}

/// A table's name, as the configuration has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct TableName {
    /// The schema, where one is named.
    pub(crate) schema: Option<String>,
    /// The table.
    pub(crate) name: String,
}

impl TableName {
    fn new(text: &str) -> Self {
        let (schema, name) = match text.split_once('.') {
            Some((schema, name)) => (Some(schema.to_owned()), name),
            None => (None, text),
        };
        let name = name.to_owned();
        Self { schema, name }
    }

    /// As it stands in SQL.
    pub(crate) fn sql(&self) -> String {
        match &self.schema {
            Some(schema) => format!("{}.{}", identifier(schema), identifier(&self.name)),
            None => identifier(&self.name),
        }
    }

    /// As the configuration writes it.
    pub(crate) fn text(&self) -> String {
        match &self.schema {
            Some(schema) => format!("{schema}.{}", self.name),
            None => self.name.clone(),
        }
    }
}

/// `[session]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct SessionTable {
    /// The table.
    pub(crate) table: TableName,
    /// The column by which a session is revoked: the key that a deleted row names.
    pub(crate) id: String,
    /// The column that holds what the cookie presents.
    pub(crate) token: String,
    /// The column of the user.
    pub(crate) user: String,
    /// The column of the end.
    pub(crate) expires: String,
    /// The column of the organisation that was chosen last, where there is one.
    pub(crate) active_organization: Option<String>,
}

impl SessionTable {
    /// Better Auth's name for it, which it has with its plugin for organisations only.
    pub(crate) const ACTIVE_ORGANIZATION_DEFAULT: &str = "activeOrganizationId";

    fn rules(&self) -> replication::SessionTable {
        replication::SessionTable {
            table: self.table.text(),
            id: self.id.clone(),
            user: self.user.clone(),
            expires: Some(self.expires.clone()),
        }
    }
}

/// `[user]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct UserTable {
    /// The table.
    pub(crate) table: TableName,
    /// The column of the user's id.
    pub(crate) id: String,
    /// The column that says that the user is banned, where there is one.
    pub(crate) banned: Option<String>,
    /// The column that says until when, where there is one.
    pub(crate) banned_until: Option<String>,
}

impl UserTable {
    fn rules(&self) -> replication::UserTable {
        replication::UserTable {
            table: self.table.text(),
            id: self.id.clone(),
            banned: self.banned.clone(),
            banned_until: self.banned_until.clone(),
        }
    }
}

/// `[organization]`, as far as it names a table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct OrganizationTable {
    /// The table.
    pub(crate) table: TableName,
    /// The column of the organisation's id.
    pub(crate) id: String,
}

/// Checks the four tables.
pub(super) fn identity(raw: &Raw, modes: &[Mode]) -> Result<Identity, ConfigError> {
    Ok(Identity {
        membership: membership(&raw.membership)?,
        session: session(&raw.session, modes)?,
        user: user(&raw.user)?,
        organization: organization(&raw.organization)?,
    })
}

fn membership(raw: &raw::Membership) -> Result<Option<MembershipSource>, ConfigError> {
    let named = [
        (raw.none, "none"),
        (!raw.table.is_empty(), "table"),
        (!raw.claim.is_empty(), "claim"),
    ];
    let named: Vec<&str> = named
        .into_iter()
        .filter(|(is, _)| *is)
        .map(|(_, name)| name)
        .collect();
    if named.len() > 1 {
        let mend = "one thing says who belongs where: keep one of table, claim and none";
        return Err(ConfigError::new("membership", named.join(", "), mend));
    }
    if raw.claim.is_empty() && !raw.role_claim.is_empty() {
        let mend = "it stands beside membership.claim, which is missing; a table's column is membership.role";
        return Err(ConfigError::new(
            "membership.role_claim",
            &raw.role_claim,
            mend,
        ));
    }
    Ok(match named.first() {
        None => None,
        Some(&"none") => Some(MembershipSource::None),
        Some(&"claim") => Some(MembershipSource::Claim),
        Some(_) => Some(MembershipSource::Table(membership_table(raw)?)),
    })
}

fn membership_table(raw: &raw::Membership) -> Result<Membership, ConfigError> {
    must_be_named("membership.user", &raw.user)?;
    must_be_named("membership.organization", &raw.organization)?;
    let TableName { schema, name } = TableName::new(&raw.table);
    Ok(Membership {
        schema,
        table: name,
        user: raw.user.clone(),
        organization: raw.organization.clone(),
        role: named_column(&raw.role),
        active: named_column(&raw.active),
        max: raw.max,
    })
}

/// The table of sessions, with the names that its library gives it where the configuration has none.
fn session(raw: &raw::Session, modes: &[Mode]) -> Result<Option<SessionTable>, ConfigError> {
    let names = match modes.contains(&Mode::BetterAuth) {
        true => [
            "session",
            "id",
            "token",
            "userId",
            "expiresAt",
            SessionTable::ACTIVE_ORGANIZATION_DEFAULT,
        ],
        false => ["Session", "id", "sessionToken", "userId", "expires", ""],
    };
    let [table, id, token, user, expires, active_organization] = names;
    let is_read = modes.contains(&Mode::BetterAuth) || modes.contains(&Mode::Session);
    if raw.table.is_empty() && !is_read {
        let written = [
            ("id", &raw.id),
            ("token", &raw.token),
            ("user", &raw.user),
            ("expires", &raw.expires),
            ("active_organization", &raw.active_organization),
        ];
        let stray = written.into_iter().find(|(_, value)| !value.is_empty());
        return match stray {
            None => Ok(None),
            Some((name, value)) => Err(ConfigError::new(
                format!("session.{name}"),
                value,
                "it is a column of session.table, which is not named",
            )),
        };
    }
    let or = |said: &String, default: &str| match said.as_str() {
        "" => default.to_owned(),
        said => said.to_owned(),
    };
    Ok(Some(SessionTable {
        table: TableName::new(&or(&raw.table, table)),
        id: or(&raw.id, id),
        token: or(&raw.token, token),
        user: or(&raw.user, user),
        expires: or(&raw.expires, expires),
        active_organization: named_column(&or(&raw.active_organization, active_organization)),
    }))
}

fn user(raw: &raw::User) -> Result<Option<UserTable>, ConfigError> {
    if raw.table.is_empty() {
        for (name, value) in [("banned", &raw.banned), ("banned_until", &raw.banned_until)] {
            if !value.is_empty() {
                let mend = "it is a column of user.table, which is not named";
                return Err(ConfigError::new(format!("user.{name}"), value, mend));
            }
        }
        return Ok(None);
    }
    must_be_named("user.id", &raw.id)?;
    if raw.banned.is_empty() && !raw.banned_until.is_empty() {
        let mend = "it says how long user.banned lasts, which is not named";
        return Err(ConfigError::new(
            "user.banned_until",
            &raw.banned_until,
            mend,
        ));
    }
    Ok(Some(UserTable {
        table: TableName::new(&raw.table),
        id: raw.id.clone(),
        banned: named_column(&raw.banned),
        banned_until: named_column(&raw.banned_until),
    }))
}

fn organization(raw: &raw::Organization) -> Result<Option<OrganizationTable>, ConfigError> {
    if raw.table.is_empty() {
        return Ok(None);
    }
    must_be_named("organization.id", &raw.id)?;
    Ok(Some(OrganizationTable {
        table: TableName::new(&raw.table),
        id: raw.id.clone(),
    }))
}

fn must_be_named(key: &str, column: &str) -> Result<(), ConfigError> {
    match column {
        "" => {
            let mend = "write the name of the column, as PostgreSQL holds it";
            Err(ConfigError::new(key, column, mend))
        }
        _ => Ok(()),
    }
}

fn named_column(text: &str) -> Option<String> {
    Some(text.to_owned()).filter(|text| !text.is_empty())
}
