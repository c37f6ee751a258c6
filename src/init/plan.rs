//! What is to be set up: which tables, with which identities, for which role. Decided once, from the
//! live catalogue; nothing is written here.

use replication::Rules;
use tokio_postgres::Client;

use super::people::People;
use super::revocation::RevocationTable;
use crate::catalog::parts::{self, Part};
use crate::catalog::{Catalog, Identities, Publication, Role, Server, Table};
use crate::database::DatabaseError;

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
    pub(crate) people: People,
    /// What the node's role still has to be granted.
    pub(crate) grants: Vec<String>,
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
    /// The table as it goes into the publication, with a list of columns or without.
    pub(crate) entry: String,
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
        let people = People::of(&catalog, &wishes.rules);
        let parts = people.parts();
        let mut grants = Vec::new();
        for part in &parts {
            let lacking = grants_of(client, part, &catalog, role.as_ref(), &wishes.role).await;
            for grant in lacking.map_err(said)? {
                if !grants.contains(&grant) {
                    grants.push(grant);
                }
            }
        }
        let (chosen, unfit) = with_people(chosen, &parts, &catalog, server.version);
        let left_out = left_out.into_iter().chain(unfit).collect();
        let revocation = RevocationTable::read(client, &catalog, role.as_ref());
        Ok(Self {
            server,
            publication_name: wishes.publication.clone(),
            publication,
            chosen,
            left_out,
            people,
            grants,
            revocation: revocation.await.map_err(said)?,
            role_name: wishes.role.clone(),
            role,
            is_rds: Role::is_rds(client).await.map_err(said)?,
            keep_size: wishes.keep_size.clone(),
        })
    }
}

/// What the role lacks, or everybody does where it is only to be made.
async fn grants_of(
    client: &Client,
    part: &Part,
    catalog: &Catalog,
    role: Option<&Role>,
    name: &str,
) -> Result<Vec<String>, DatabaseError> {
    let Some(table) = part.find(catalog).filter(|_| !part.read.is_empty()) else {
        return Ok(Vec::new());
    };
    let public = Role::public();
    let read = part.columns_read(table);
    let rights = role.unwrap_or(&public).rights(client, table.oid, &read);
    Ok(part.grants(table, &rights.await?, name))
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
        entry: table.sql(),
        table: table.clone(),
    })
}

/// The tables of people are read for who may see what: they are published whatever was asked for, and
/// an old row of them has to say whom it concerned. Those that cannot be are named with the reason.
pub(super) fn with_people(
    mut chosen: Vec<Chosen>,
    parts: &[Part],
    catalog: &Catalog,
    version: i32,
) -> (Vec<Chosen>, Vec<String>) {
    let mut left_out = Vec::new();
    for part in parts {
        let Some(table) = part.find(catalog) else {
            continue;
        };
        if !table.is_writable_when_published() {
            let (label, loss) = (table.label(), part.kind.loss());
            left_out.push(format!(
                "{label} has no primary key, nor another identity, so {loss}"
            ));
            continue;
        }
        let told: Vec<&str> = part.told.iter().map(String::as_str).collect();
        let one = Chosen {
            identities: Identities::with(table, &told),
            entry: parts::entry(parts, table, version),
            table: table.clone(),
        };
        match chosen.iter_mut().find(|one| one.table.oid == table.oid) {
            Some(there) => *there = one,
            None => chosen.push(one),
        }
    }
    (chosen, left_out)
}
