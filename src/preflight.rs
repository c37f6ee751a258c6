//! What must be so in the database before a node starts, asked once, with the statement that mends it.
//! Nothing is ever changed here.

use std::time::{Duration, Instant};

use replication::{ConnectInfo, Provider, REVOCATION_TABLE};
use tokio_postgres::Client;

use crate::config::{Config, Membership};
use crate::control::MembershipSql;
use crate::database::{self, DatabaseError, identifier};
use crate::init;

/// How long the start waits for a database that is not there yet.
const PATIENCE_MS: u64 = 60_000;

/// How long it waits between two attempts.
const RETRY_MS: u64 = 1_000;

/// The oldest server whose replication was tried, as `server_version_num` has it.
const SERVER_VERSION_MIN: i32 = 140_000;

/// Checks the database, and waits for one that is only starting.
///
/// # Errors
///
/// What is wrong and how it is mended, for a person.
pub(crate) async fn check(config: &Config) -> Result<(), String> {
    let started = Instant::now();
    let mut was_said = false;
    loop {
        // It may also go away in the midst of the questions, as it does when it is restarted.
        let error = match ask(config).await {
            Ok(verdict) => return verdict,
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

/// Whether the table of revocations is there, in the publication and ours to read. One that is made
/// later is heard of by a node that starts then.
///
/// # Errors
///
/// Where the database cannot be asked.
pub(crate) async fn has_revocations(config: &Config) -> Result<bool, String> {
    let (schema, name) = REVOCATION_TABLE;
    let said = |error: DatabaseError| format!("database.url: {error}");
    let client = reach(&config.database.connect).await.map_err(said)?;
    let sql = "SELECT EXISTS (SELECT FROM pg_catalog.pg_publication_tables \
               WHERE pubname = $1::text AND schemaname = $2::text AND tablename = $3::text \
               AND CASE WHEN has_schema_privilege(schemaname::text, 'USAGE') \
                   THEN has_table_privilege(format('%I.%I', schemaname, tablename), 'SELECT') END)";
    let publication = &config.database.publication;
    let row = client.query_one(sql, &[publication, &schema, &name]).await;
    Ok(row.map_err(|error| said(DatabaseError::of(error)))?.get(0))
}

/// The table of memberships, as it stands in SQL.
pub(crate) fn membership_table(membership: &Membership) -> String {
    match &membership.schema {
        Some(schema) => format!("{}.{}", identifier(schema), identifier(&membership.table)),
        None => identifier(&membership.table),
    }
}

/// The outer error is the database's, the inner one what it is not fit for.
type Checked = Result<Result<(), String>, DatabaseError>;

/// Connects, and asks everything once.
async fn ask(config: &Config) -> Checked {
    let client = reach(&config.database.connect).await?;
    let checks = async {
        let unfit = check_server(&client, &config.database.connect).await?;
        if unfit.is_err() {
            return Ok(unfit);
        }
        check_publication(&client, config).await
    };
    let unfit: Checked = checks.await;
    match unfit {
        Ok(Ok(())) => check_membership(&client, config).await,
        // What PostgreSQL refuses to say has nothing to do with its address.
        Err(error) if !error.is_temporary() => Ok(Err(error.to_string())),
        unfit => unfit,
    }
}

async fn check_membership(client: &Client, config: &Config) -> Checked {
    let Some(membership) = &config.membership else {
        return Ok(Ok(()));
    };
    match MembershipSql::prepare(client, membership).await {
        Ok(_) => Ok(Ok(())),
        Err(error) if error.is_temporary() => Err(error),
        Err(error) => Ok(Err(format!(
            "{error}; the columns are named in [membership], exactly as PostgreSQL has them"
        ))),
    }
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
    let statements = init::publication_script(client, publication, &config.rules).await?;
    Ok(Err(format!(
        "there is no publication {publication:?} in this database. It is the list of the tables whose \
         changes may leave, and a person makes it. For this database:\n\n{statements}"
    )))
}
