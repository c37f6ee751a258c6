//! What is to be set up: which tables, with which identities, for which role. Decided once, from the
//! live catalogue; nothing is written here.

use replication::Rules;
use tokio_postgres::Client;

use super::revocation::RevocationTable;
use crate::catalog::{Catalog, Identities, Publication, Rights, Role, Server, Table};
use crate::database::DatabaseError;

/// The columns that name a user.
const USER_COLUMNS: [&str; 2] = ["userId", "user_id"];

/// What a person asked for.
#[derive(Clone, Debug)]
pub(crate) struct Wishes {
    pub(crate) publication: String,
    /// The tables; none says that all with an organisation are meant.
    pub(crate) tables: Vec<String>,
    pub(crate) role: String,
    pub(crate) keep_size: String,
    pub(crate) rules: Rules,
}

/// What is to be set up.
pub(crate) struct Plan {
    pub(crate) server: Server,
    pub(crate) publication_name: String,
    /// The publication, where it is there already.
    pub(crate) publication: Option<Publication>,
    pub(crate) chosen: Vec<Chosen>,
    /// What was not chosen, and why.
    pub(crate) left_out: Vec<String>,
    pub(crate) membership: Option<Members>,
    pub(crate) revocation: RevocationTable,
    pub(crate) role_name: String,
    /// The role, where it is there already.
    pub(crate) role: Option<Role>,
    pub(crate) is_rds: bool,
    pub(crate) keep_size: String,
}

/// A table that is to be published.
pub(crate) struct Chosen {
    pub(crate) table: Table,
    pub(crate) identities: Identities,
}

/// The table that says who belongs where.
pub(crate) struct Members {
    pub(crate) table: Table,
    pub(crate) user: String,
    pub(crate) organization: String,
    pub(crate) role: Option<String>,
    /// What the node's role may do with it.
    pub(crate) rights: Rights,
}

impl Plan {
    /// Reads the catalogue and decides.
    ///
    /// # Errors
    ///
    /// Where the database cannot be asked, or a table that was asked for cannot be published.
    pub(crate) async fn make(client: &Client, wishes: &Wishes) -> Result<Self, String> {
        let said = |error: DatabaseError| error.to_string();
        let server = Server::read(client).await.map_err(said)?;
        let catalog = Catalog::read(client).await.map_err(said)?;
        let publication = Publication::read(client, &wishes.publication, server.version);
        let publication = publication.await.map_err(said)?;
        let role = Role::read(client, &wishes.role).await.map_err(said)?;
        let (chosen, left_out) = match wishes.tables.as_slice() {
            [] => all_with_organisation(&catalog, &wishes.rules),
            names => (named(&catalog, names, &wishes.rules)?, Vec::new()),
        };
        let membership = match members(&catalog, &wishes.rules) {
            Some(mut members) => {
                members.rights = rights(client, role.as_ref(), members.table.oid)
                    .await
                    .map_err(said)?;
                Some(members)
            }
            None => None,
        };
        let chosen = with_members(chosen, membership.as_ref());
        let revocation = RevocationTable::read(client, &catalog, role.as_ref());
        Ok(Self {
            server,
            publication_name: wishes.publication.clone(),
            publication,
            chosen,
            left_out,
            membership,
            revocation: revocation.await.map_err(said)?,
            role_name: wishes.role.clone(),
            role,
            is_rds: Role::is_rds(client).await.map_err(said)?,
            keep_size: wishes.keep_size.clone(),
        })
    }
}

/// What a role may do, or everybody where it is only to be made.
async fn rights(client: &Client, role: Option<&Role>, oid: u32) -> Result<Rights, DatabaseError> {
    match role {
        Some(role) => role.may_select(client, oid).await,
        None => Role::of_public(client, oid).await,
    }
}

/// Every table with an organisation that can be published without harm, and what cannot.
pub(super) fn all_with_organisation(
    catalog: &Catalog,
    rules: &Rules,
) -> (Vec<Chosen>, Vec<String>) {
    let (mut chosen, mut left_out) = (Vec::new(), Vec::new());
    let whole = catalog.tables.iter().filter(|table| !table.is_partition);
    for table in whole {
        if table.first_of(&rules.organisation_columns).is_none() {
            continue;
        }
        match choose(table, rules) {
            Ok(one) => chosen.push(one),
            Err(why) => left_out.push(why),
        }
    }
    (chosen, left_out)
}

fn named(catalog: &Catalog, names: &[String], rules: &Rules) -> Result<Vec<Chosen>, String> {
    let mut chosen: Vec<Chosen> = Vec::new();
    for name in names {
        let table = catalog.called(name).ok_or_else(|| {
            format!("--table {name}: there is no such table; names are as PostgreSQL holds them")
        })?;
        if chosen.iter().all(|one| one.table.oid != table.oid) {
            chosen.push(choose(table, rules).map_err(|why| format!("--table {name}: {why}"))?);
        }
    }
    Ok(chosen)
}

fn choose(table: &Table, rules: &Rules) -> Result<Chosen, String> {
    let label = table.label();
    if !table.is_writable_when_published() {
        return Err(format!(
            "{label} has no primary key, nor another identity: published, it would refuse the \
             application's updates and deletes. Give it a primary key first"
        ));
    }
    let needed: Vec<&str> = match table.first_of(&rules.organisation_columns) {
        Some(organisation) => vec![organisation],
        // Rows of tables of identity reach nobody; the key tells them apart.
        None if rules.is_identity(&table.name) => Vec::new(),
        None => {
            return Err(format!(
                "{label} has none of the columns {}: nothing says whose its rows are. Give it one, or \
                 leave it out",
                rules.organisation_columns.join(", ")
            ));
        }
    };
    Ok(Chosen {
        identities: Identities::with(table, &needed),
        table: table.clone(),
    })
}

/// The table of memberships is read for who may see what: it is published whatever was asked for,
/// and an old row of it has to say who leaves what.
fn with_members(mut chosen: Vec<Chosen>, members: Option<&Members>) -> Vec<Chosen> {
    let Some(members) = members.filter(|members| members.table.is_writable_when_published()) else {
        return chosen;
    };
    let needed = [members.organization.as_str(), members.user.as_str()];
    let one = Chosen {
        identities: Identities::with(&members.table, &needed),
        table: members.table.clone(),
    };
    match chosen
        .iter_mut()
        .find(|one| one.table.oid == members.table.oid)
    {
        Some(there) => *there = one,
        None => chosen.push(one),
    }
    chosen
}

/// The table that looks like one of memberships: it names a user and an organisation, and its own
/// name says the rest.
fn members(catalog: &Catalog, rules: &Rules) -> Option<Members> {
    let looks_like = |table: &&Table| {
        let name = table.name.to_lowercase();
        let name = name.trim_end_matches('s');
        name.ends_with("member") || name.ends_with("membership")
    };
    let found = catalog.tables.iter().filter(looks_like).find_map(|table| {
        let user = USER_COLUMNS
            .into_iter()
            .find(|name| table.column(name).is_some())?;
        let organization = table.first_of(&rules.organisation_columns)?;
        Some((table, user, organization))
    });
    let (table, user, organization) = found?;
    Some(Members {
        user: user.to_owned(),
        organization: organization.to_owned(),
        role: table.column("role").map(|column| column.name.clone()),
        table: table.clone(),
        rights: Rights {
            table: false,
            schema: false,
        },
    })
}
