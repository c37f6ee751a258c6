//! The tables that say who somebody is, recognised by their names and columns: those of Auth.js with
//! Prisma, Drizzle or node-postgres, of Better Auth, and of their like. What is not recognised is left
//! for a person to name.

use replication::Rules;

use crate::catalog::{Catalog, Table, parts};
use crate::config::{
    Identity, Membership, MembershipSource, OrganizationTable, SessionRows, SessionTable,
    TableName, UserTable,
};

/// Who signs people in, as far as the tables tell.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Library {
    /// Rows of sessions with `sessionToken`. Whether they are used is the application's strategy.
    AuthJs,
    /// Rows of sessions with `token` and `expiresAt`.
    BetterAuth,
    /// No table of sessions.
    Unknown,
}

/// What was recognised.
#[derive(Clone, Debug)]
pub(crate) struct People {
    pub(crate) library: Library,
    pub(crate) identity: Identity,
}

/// The columns that name a user.
const USER_COLUMNS: [&str; 2] = ["userId", "user_id"];

/// The columns of a session: its token, its user, its end, as each library and spelling has them.
const SESSION_COLUMNS: [(Library, [&str; 3]); 4] = [
    (Library::BetterAuth, ["token", "userId", "expiresAt"]),
    (Library::BetterAuth, ["token", "user_id", "expires_at"]),
    (Library::AuthJs, ["sessionToken", "userId", "expires"]),
    (Library::AuthJs, ["session_token", "user_id", "expires"]),
];

impl People {
    /// Looks through the catalogue.
    pub(crate) fn of(catalog: &Catalog, rules: &Rules) -> Self {
        let whole = || catalog.tables.iter().filter(|table| !table.is_partition);
        let called = |names: &'static [&'static str]| {
            whole().filter(move |table| names.contains(&singular(table).as_str()))
        };
        let session = called(&["session", "usersession", "authsession"]).find_map(session);
        let user = called(&["user", "appuser", "authuser"]).find_map(user);
        let organization = called(&["organization", "organisation", "tenant"]).find_map(|table| {
            id(table).map(|id| OrganizationTable {
                table: name(table),
                id,
            })
        });
        let members = whole().filter(|table| {
            let name = singular(table);
            name.ends_with("member") || name.ends_with("membership")
        });
        let membership = members
            .into_iter()
            .find_map(|table| membership(table, rules))
            .or_else(|| column_of_users(catalog, user.as_ref()?, rules));
        Self {
            library: session
                .as_ref()
                .map_or(Library::Unknown, |(library, _)| *library),
            identity: Identity {
                membership: membership.map(MembershipSource::Table),
                session: session.map(|(_, session)| session),
                user,
                organization,
            },
        }
    }

    /// The table of memberships.
    pub(crate) fn membership(&self) -> Option<&Membership> {
        match &self.identity.membership {
            Some(MembershipSource::Table(table)) => Some(table),
            _ => None,
        }
    }

    /// The same as a node reads them.
    pub(crate) fn parts(&self) -> Vec<parts::Part> {
        let asked = match self.library {
            Library::Unknown => SessionRows::Nothing,
            _ => SessionRows::Whole,
        };
        parts::parts_of(&self.identity, asked)
    }
}

fn membership(table: &Table, rules: &Rules) -> Option<Membership> {
    let mut users = USER_COLUMNS.into_iter();
    let user = users.find(|name| table.column(name).is_some())?;
    of_columns(table, user, rules)
}

/// An application without such a table has a column of its users.
fn column_of_users(catalog: &Catalog, user: &UserTable, rules: &Rules) -> Option<Membership> {
    of_columns(catalog.called(&user.table.text())?, &user.id, rules)
}

fn of_columns(table: &Table, user: &str, rules: &Rules) -> Option<Membership> {
    let organization = table.first_of(&rules.organisation_columns)?;
    let TableName { schema, name } = name(table);
    Some(Membership {
        schema,
        table: name,
        user: user.to_owned(),
        organization: organization.to_owned(),
        role: first(table, &[Membership::ROLE_DEFAULT]),
        active: None,
        max: 0,
    })
}

fn session(table: &Table) -> Option<(Library, SessionTable)> {
    let has = |columns: &[&str; 3]| columns.iter().all(|name| table.column(name).is_some());
    let (library, columns) = SESSION_COLUMNS.iter().find(|(_, columns)| has(columns))?;
    let [token, user, expires] = columns.map(str::to_owned);
    let active = ["activeOrganizationId", "active_organization_id"];
    Some((
        *library,
        SessionTable {
            table: name(table),
            // Drizzle's sessions have no other key than their token.
            id: id(table).unwrap_or_else(|| token.clone()),
            token,
            user,
            expires,
            active_organization: first(table, &active),
        },
    ))
}

fn user(table: &Table) -> Option<UserTable> {
    let banned = first(table, &["banned", "isBanned", "is_banned"]);
    let until = ["banExpires", "ban_expires", "bannedUntil", "banned_until"];
    Some(UserTable {
        table: name(table),
        id: id(table)?,
        banned_until: banned.as_ref().and_then(|_| first(table, &until)),
        banned,
    })
}

fn id(table: &Table) -> Option<String> {
    first(table, &["id"])
}

fn first(table: &Table, names: &[&str]) -> Option<String> {
    let found = names.iter().find(|name| table.column(name).is_some());
    found.map(|name| (*name).to_owned())
}

fn name(table: &Table) -> TableName {
    TableName {
        schema: Some(table.schema.clone()).filter(|schema| schema != "public"),
        name: table.name.clone(),
    }
}

/// The name in lower case, without underscores and the plural's `s`.
fn singular(table: &Table) -> String {
    let name = table.name.to_lowercase().replace('_', "");
    name.strip_suffix('s').map(str::to_owned).unwrap_or(name)
}
