//! The tables that a configuration reads about people, one by one: which columns have to be in the log,
//! which are asked for with SELECT, and what is missing of either. `check`, `init` and the start of a
//! node judge by the same list.

use super::{Publication, Rights, Table};
use crate::catalog::Catalog;
use crate::config::{
    Config, Identity, Membership, MembershipSource, OrganizationTable, SessionRows, SessionTable,
    TableName, UserTable,
};
use crate::database::identifier;

/// What a table says about people.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Who belongs where: without it nobody is let in.
    Membership,
    /// Which sessions there are.
    Session,
    /// Who there is.
    User,
    /// Which organisations there are.
    Organization,
}

impl Kind {
    /// The table of the configuration.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Membership => "membership",
            Self::Session => "session",
            Self::User => "user",
            Self::Organization => "organization",
        }
    }

    /// What is lost where its changes do not arrive.
    pub(crate) fn loss(self) -> &'static str {
        match self {
            Self::Membership => "nobody could be told to leave an organisation",
            Self::Session => {
                "a session that is signed out has its streams until it would have ended"
            }
            Self::User => "a user who is deleted or banned keeps their streams",
            Self::Organization => "a deleted organisation keeps its streams",
        }
    }
}

/// A column that the configuration names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Named {
    /// The key: `user` of `membership.user`.
    pub(crate) key: &'static str,
    /// The column.
    pub(crate) column: String,
    /// Whether it is the default, without which a table may be.
    pub(crate) may_be_missing: bool,
}

/// A table of the configuration.
#[derive(Clone, Debug)]
pub(crate) struct Part {
    pub(crate) kind: Kind,
    pub(crate) table: TableName,
    /// The columns that the log has to have.
    pub(crate) sent: Vec<Named>,
    /// The columns that are asked for.
    pub(crate) read: Vec<Named>,
    /// The columns by which a deleted row says whom it concerned.
    pub(crate) told: Vec<String>,
}

/// The tables of a configuration.
pub(crate) fn parts(config: &Config) -> Vec<Part> {
    parts_of(&config.identity, config.auth.asks_of_sessions())
}

/// The tables that are named, where this is asked of the rows of sessions.
pub(crate) fn parts_of(identity: &Identity, asked: SessionRows) -> Vec<Part> {
    let Identity {
        membership,
        session,
        user,
        organization,
    } = identity;
    let mut parts = Vec::new();
    if let Some(MembershipSource::Table(table)) = membership {
        let mut part = Part::membership(table);
        if user.as_ref().is_some_and(|user| user.table == part.table) {
            // A node knows whose row it was; to have more in the log would take an index of its own.
            part.told = vec![table.user.clone()];
        }
        parts.push(part);
    }
    parts.extend(session.as_ref().map(|table| Part::session(table, asked)));
    parts.extend(user.as_ref().map(Part::user));
    parts.extend(organization.as_ref().map(Part::organization));
    parts
}

impl Part {
    fn membership(table: &Membership) -> Self {
        let mut columns = vec![
            named("user", &table.user),
            named("organization", &table.organization),
        ];
        columns.extend(table.role.as_ref().map(|role| Named {
            may_be_missing: role == Membership::ROLE_DEFAULT,
            ..named("role", role)
        }));
        columns.extend(table.active.as_ref().map(|active| named("active", active)));
        Self {
            kind: Kind::Membership,
            table: table.name(),
            sent: columns.clone(),
            read: columns,
            told: vec![table.organization.clone(), table.user.clone()],
        }
    }

    fn session(table: &SessionTable, asked: SessionRows) -> Self {
        let sent = vec![
            named("id", &table.id),
            named("user", &table.user),
            named("expires", &table.expires),
        ];
        let mut read = Vec::new();
        match asked {
            SessionRows::Nothing => {}
            SessionRows::Existence => {
                read.push(named("id", &table.id));
                read.push(named("expires", &table.expires));
            }
            SessionRows::Whole => {
                read.clone_from(&sent);
                read.push(named("token", &table.token));
                read.extend(table.active_organization.as_ref().map(|active| Named {
                    may_be_missing: active == SessionTable::ACTIVE_ORGANIZATION_DEFAULT,
                    ..named("active_organization", active)
                }));
            }
        }
        Self {
            kind: Kind::Session,
            table: table.table.clone(),
            sent,
            read,
            told: vec![table.id.clone()],
        }
    }

    fn user(table: &UserTable) -> Self {
        let mut columns = vec![named("id", &table.id)];
        columns.extend(table.banned.as_ref().map(|column| named("banned", column)));
        let until = table.banned_until.as_ref();
        columns.extend(until.map(|column| named("banned_until", column)));
        Self {
            kind: Kind::User,
            table: table.table.clone(),
            sent: columns.clone(),
            read: columns,
            told: vec![table.id.clone()],
        }
    }

    fn organization(table: &OrganizationTable) -> Self {
        // A membership in an organisation that is gone is none: the memberships are read beside these.
        let columns = vec![named("id", &table.id)];
        Self {
            kind: Kind::Organization,
            table: table.table.clone(),
            sent: columns.clone(),
            read: columns,
            told: vec![table.id.clone()],
        }
    }

    /// The key of the configuration that names the table.
    pub(crate) fn key(&self) -> String {
        format!("{}.table", self.kind.name())
    }

    /// The table, where the database has it.
    pub(crate) fn find<'a>(&self, catalog: &'a Catalog) -> Option<&'a Table> {
        catalog.called(&self.table.text())
    }

    /// The columns that the table has to have and has not, with the keys that name them.
    pub(crate) fn missing(&self, table: &Table) -> Vec<&Named> {
        let all = self.sent.iter().chain(&self.read);
        let missing =
            all.filter(|named| !named.may_be_missing && table.column(&named.column).is_none());
        let mut found: Vec<&Named> = Vec::new();
        for named in missing {
            if !found.contains(&named) {
                found.push(named);
            }
        }
        found
    }

    /// The columns of the table that the node's role has to be able to read.
    pub(crate) fn columns_read(&self, table: &Table) -> Vec<String> {
        let mut columns: Vec<String> = Vec::new();
        let mut add = |column: &str| {
            if table.column(column).is_some() && columns.iter().all(|one| one != column) {
                columns.push(column.to_owned());
            }
        };
        if self.kind == Kind::Membership {
            // A row is known again by whatever a deleted one will name.
            let identity = table.identity_columns().unwrap_or_default();
            identity.into_iter().for_each(&mut add);
        }
        self.read.iter().for_each(|named| add(&named.column));
        columns
    }

    /// The columns of the table that the log has to have, and that a publication with a list of columns
    /// leaves out.
    pub(crate) fn unsent(&self, table: &Table, publication: &Publication) -> Vec<String> {
        let list = publication
            .table(table.oid)
            .and_then(|published| published.columns.as_ref());
        let is_unsent = |name: &&Named| {
            let column = table.column(&name.column);
            column.is_some_and(|column| list.is_some_and(|list| !list.contains(&column.number)))
        };
        let unsent = self.sent.iter().filter(is_unsent);
        unsent.map(|named| named.column.clone()).collect()
    }

    /// The statements that give a role what it lacks, and no more: the other columns are none of a node's
    /// business.
    pub(crate) fn grants(&self, table: &Table, rights: &Rights, role: &str) -> Vec<String> {
        let role = identifier(role);
        let mut statements = Vec::new();
        if !rights.schema {
            let schema = identifier(&table.schema);
            statements.push(format!("GRANT USAGE ON SCHEMA {schema} TO {role};"));
        }
        if rights.unreadable.is_empty() {
            return statements;
        }
        let read = self.columns_read(table);
        let columns = match read.len() == table.columns.len() {
            true => String::new(),
            false => listed(read.iter().map(String::as_str)),
        };
        statements.push(format!(
            "GRANT SELECT{columns} ON {} TO {role};",
            table.sql()
        ));
        statements
    }
}

/// From this version on a publication may leave out columns of a table.
const LISTS_SINCE: i32 = 150_000;

/// A table as it goes into a publication: without what no node needs, such as the hashes of passwords,
/// where the server can leave columns out and nobody's writes could fail for it.
pub(crate) fn entry(parts: &[Part], table: &Table, version: i32) -> String {
    let own: Vec<&Part> = parts
        .iter()
        .filter(|part| table.is_called(&part.table.text()))
        .collect();
    let is_of_people = |part: &&Part| matches!(part.kind, Kind::Session | Kind::User);
    // An old row has to fit into the list, or PostgreSQL refuses the write.
    let identity = table.identity_columns().unwrap_or_default();
    let told = own.iter().flat_map(|part| &part.told);
    let is_told = table.leaves.is_empty()
        && table.identity != super::Identity::Full
        && !identity.is_empty()
        && told
            .clone()
            .all(|column| identity.contains(&column.as_str()));
    if version < LISTS_SINCE || !own.iter().any(is_of_people) || !is_told {
        return table.sql();
    }
    let sent = |name: &str| {
        let mut sent = own.iter().flat_map(|part| &part.sent);
        identity.contains(&name) || sent.any(|named| named.column == name)
    };
    let names = table.columns.iter().map(|column| column.name.as_str());
    format!("{}{}", table.sql(), listed(names.filter(|name| sent(name))))
}

fn listed<'a>(names: impl Iterator<Item = &'a str>) -> String {
    let names: Vec<String> = names.map(identifier).collect();
    format!(" ({})", names.join(", "))
}

fn named(key: &'static str, column: &str) -> Named {
    Named {
        key,
        column: column.to_owned(),
        may_be_missing: false,
    }
}
