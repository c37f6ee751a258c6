//! What must be so in the database before a node starts, asked once, with the statement that mends it.
//! Nothing is ever changed here.

use std::time::{Duration, Instant};

use replication::{ConnectInfo, Provider, REVOCATION_TABLE};
use tokio_postgres::Client;

use crate::catalog::parts::parts;
use crate::catalog::{Catalog, Kind, Named, Part, Publication, Role, Server};
use crate::config::{Config, Found, Membership, SessionTable};
use crate::database::{self, DatabaseError, identifier};
use crate::init;

/// How long the start waits for a database that is not there yet.
const PATIENCE_MS: u64 = 60_000;

/// How long it waits between two attempts.
const RETRY_MS: u64 = 1_000;

/// The oldest server whose replication was tried, as `server_version_num` has it.
const SERVER_VERSION_MIN: i32 = 140_000;

/// Checks the database, and waits for one that is only starting. What the configuration says by default
/// and this database does not have is taken out of it.
///
/// # Errors
///
/// What is wrong and how it is mended, for a person.
pub(crate) async fn check(config: &mut Config) -> Result<(), String> {
    let started = Instant::now();
    let mut was_said = false;
    loop {
        // It may also go away in the midst of the questions, as it does when it is restarted.
        let error = match ask(config).await {
            Ok(verdict) => return verdict.map(|found| config.adapt(found)),
            Err(error) => error,
        };
        if !error.is_temporary() {
            return Err(format!("database.url: {error}"));
        }
        if started.elapsed() > Duration::from_millis(PATIENCE_MS) {
            let seconds = PATIENCE_MS / 1_000;
            return Err(format!("database.url: {error} (waited {seconds} s for it)"));
        }
        if !was_said {
            tracing::warn!("waiting for the database: {error}");
            was_said = true;
        }
        tokio::time::sleep(Duration::from_millis(RETRY_MS)).await;
    }
}

/// The outer error is the database's, the inner one what it is not fit for.
type Checked<T = ()> = Result<Result<T, String>, DatabaseError>;

/// Connects, and asks everything once.
async fn ask(config: &Config) -> Checked<Found> {
    let client = reach(&config.database.connect).await?;
    let checks = async {
        for unfit in [
            check_server(&client, &config.database.connect).await?,
            check_publication(&client, config).await?,
        ] {
            if let Err(unfit) = unfit {
                return Ok(Err(unfit));
            }
        }
        check_people(&client, config).await
    };
    match checks.await {
        // What PostgreSQL refuses to say has nothing to do with its address.
        Err(error) if !error.is_temporary() => Ok(Err(error.to_string())),
        unfit => unfit,
    }
}

/// The tables that say who somebody is: whether they are there, can be read, and are in the log.
async fn check_people(client: &Client, config: &Config) -> Checked<Found> {
    let mut found = Found {
        revocation: has_revocations(client, &config.database.publication).await?,
        ..Found::default()
    };
    let parts = parts(config);
    if parts.is_empty() {
        return Ok(Ok(found));
    }
    let server = Server::read(client).await?;
    let name = &config.database.publication;
    let publication = Publication::read(client, name, server.version).await?;
    let catalog = Catalog::read(client).await?;
    let role = Role::read(client, &server.user).await?;
    for part in &parts {
        let unfit = unfit(client, part, &catalog, role.as_ref(), publication.as_ref()).await?;
        if let Some(unfit) = unfit {
            return Ok(Err(unfit));
        }
        let lacks = |column: &str| {
            let is_named = |named: &Named| named.column == column;
            let table = part.find(&catalog);
            part.read.iter().any(is_named)
                && table.is_some_and(|table| table.column(column).is_none())
        };
        match part.kind {
            Kind::Membership => found.no_role = lacks(Membership::ROLE_DEFAULT),
            Kind::Session => {
                found.no_active_organization = lacks(SessionTable::ACTIVE_ORGANIZATION_DEFAULT);
            }
            Kind::User | Kind::Organization => {}
        }
    }
    Ok(Ok(found))
}

/// Why a node cannot start with this table, if so. What is lost without stopping it is logged.
async fn unfit(
    client: &Client,
    part: &Part,
    catalog: &Catalog,
    role: Option<&Role>,
    publication: Option<&Publication>,
) -> Result<Option<String>, DatabaseError> {
    let (key, name) = (part.key(), part.table.sql());
    let Some(table) = part.find(catalog) else {
        return Ok(Some(format!(
            "there is no table {name} ({key}); names are exactly as PostgreSQL has them"
        )));
    };
    if let Some(named) = part.missing(table).first() {
        let (kind, key, column) = (part.kind.name(), named.key, &named.column);
        return Ok(Some(format!(
            "the table {name} has no column {column:?} ({kind}.{key}); the columns are named in [{kind}], \
             exactly as PostgreSQL has them"
        )));
    }
    if let Some(role) = role {
        let rights = role
            .rights(client, table.oid, &part.columns_read(table))
            .await?;
        if !part.read.is_empty() && !rights.suffice() {
            let mend = part.grants(table, &rights, &role.name).join("\n");
            let role = &role.name;
            return Ok(Some(format!(
                "{role} may not read {name} ({key}). As its owner:\n\n{mend}"
            )));
        }
    }
    let is_published = publication.is_some_and(|one| one.table(table.oid).is_some());
    if is_published {
        return Ok(None);
    }
    let (loss, sql) = (part.kind.loss(), table.sql());
    let publication = publication.map_or(String::new(), |one| identifier(&one.name));
    let mend = format!("ALTER PUBLICATION {publication} ADD TABLE {sql};");
    if part.kind == Kind::Membership {
        return Ok(Some(format!(
            "the table {name} ({key}) is not in the publication, so {loss}. As its owner:\n\n{mend}"
        )));
    }
    tracing::warn!("the table {name} ({key}) is not in the publication, so {loss}: {mend}");
    Ok(None)
}

/// Whether the table of revocations is there, in the publication and ours to read. One that is made
/// later is heard of by a node that starts then.
async fn has_revocations(client: &Client, publication: &str) -> Result<bool, DatabaseError> {
    let (schema, name) = REVOCATION_TABLE;
    let sql = "SELECT EXISTS (SELECT FROM pg_catalog.pg_publication_tables \
               WHERE pubname = $1::text AND schemaname = $2::text AND tablename = $3::text \
               AND CASE WHEN has_schema_privilege(schemaname::text, 'USAGE') \
                   THEN has_table_privilege(format('%I.%I', schemaname, tablename), 'SELECT') END)";
    let row = client.query_one(sql, &[&publication, &schema, &name]).await;
    Ok(row.map_err(DatabaseError::of)?.get(0))
}

/// Connects to a server that takes part: a standby may be promoted, and one that starts will have.
async fn reach(info: &ConnectInfo) -> Result<Client, DatabaseError> {
    let client = database::connect(info).await?;
    let row = client
        .query_one("SELECT pg_catalog.pg_is_in_recovery()", &[])
        .await
        .map_err(DatabaseError::of)?;
    if row.get(0) {
        let place = info.place();
        return Err(DatabaseError::Refused {
            message: format!("{place} is a standby, which a node cannot read: name the primary"),
            is_temporary: true,
            mend: Vec::new(),
        });
    }
    Ok(client)
}

async fn check_server(client: &Client, info: &ConnectInfo) -> Checked {
    let provider = Provider::of(&info.host);
    let sql = "SELECT current_setting('server_version_num')::int, current_setting('wal_level'), \
               current_user::text, rolsuper OR rolreplication \
               FROM pg_roles WHERE rolname = current_user";
    let row = client
        .query_one(sql, &[])
        .await
        .map_err(DatabaseError::of)?;
    let (version, wal_level): (i32, String) = (row.get(0), row.get(1));
    if version < SERVER_VERSION_MIN {
        let version = version / 10_000;
        return Ok(Err(format!(
            "PostgreSQL {version} is too old: 14 is the oldest that works"
        )));
    }
    if wal_level != "logical" {
        return Ok(Err(format!(
            "wal_level is {wal_level:?} and must be \"logical\": {}",
            provider.logical_decoding()
        )));
    }
    if !row.get::<_, bool>(3) {
        // Hosted servers give the right by another role, so this is no reason not to try.
        let role = identifier(row.get(2));
        let mend = provider.replication_right(&role);
        tracing::warn!("the role has no right to replicate; if the server refuses it: {mend}");
    }
    Ok(Ok(()))
}

async fn check_publication(client: &Client, config: &Config) -> Checked {
    let publication = &config.database.publication;
    let sql = "SELECT pubtruncate FROM pg_publication WHERE pubname = $1";
    let found = client
        .query_opt(sql, &[publication])
        .await
        .map_err(DatabaseError::of)?;
    if found.is_some() {
        return Ok(Ok(()));
    }
    let statements = init::publication_script(client, config).await?;
    Ok(Err(format!(
        "there is no publication {publication:?} in this database. It is the list of the tables whose \
         changes may leave, and a person makes it. For this database:\n\n{statements}"
    )))
}
