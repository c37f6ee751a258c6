//! The sample database: its roles, its schema, its first rows.
//!
//! The words are in `schema.sql`; here is who runs them. What the page's buttons do is in `rows`.

use super::cluster::Cluster;
use std::fmt;
use tokio_postgres::{Client, Config, Error, NoTls};

/// The application's database, and the role that owns it.
pub(crate) const APPLICATION: &str = "app";

/// The role of the node: it replicates, and reads who belongs where.
pub(crate) const NODE: &str = "tailrace";

/// The passwords of both roles, for connections over TCP.
pub(crate) struct Passwords<'a> {
    pub(crate) application: &'a str,
    pub(crate) node: &'a str,
}

/// Brings the sample database to the state that this version expects.
///
/// # Errors
///
/// Where the server refuses a statement; a person may have changed the samples in a way that the
/// statements cannot meet.
pub(crate) async fn load(cluster: &Cluster, passwords: &Passwords<'_>) -> Result<(), SampleError> {
    let superuser = connect(cluster.superuser().dbname("postgres")).await?;
    superuser.batch_execute(&roles(passwords)).await?;
    let exists = "SELECT FROM pg_database WHERE datname = $1";
    if superuser
        .query_opt(exists, &[&APPLICATION])
        .await?
        .is_none()
    {
        // Not possible inside a transaction, so not part of a script.
        let create = format!("CREATE DATABASE {APPLICATION} OWNER {APPLICATION}");
        superuser.batch_execute(&create).await?;
    }
    // As the owner, as an application's migrations would.
    let owner = connect(cluster.superuser().user(APPLICATION).dbname(APPLICATION)).await?;
    // That a table is there already is no news.
    let schema = concat!(
        "BEGIN;\nSET LOCAL client_min_messages = warning;\n",
        include_str!("schema.sql"),
        "COMMIT;\n"
    );
    owner.batch_execute(schema).await?;
    Ok(())
}

/// Connects, and drives the connection beside the caller until the client is dropped.
pub(crate) async fn connect(config: &Config) -> Result<Client, Error> {
    let (client, connection) = config.connect(NoTls).await?;
    tokio::spawn(async move {
        if let Err(error) = connection.await {
            tracing::debug!(%error, "a connection of the sample application ended");
        }
    });
    Ok(client)
}

/// Why the sample database could not be made.
#[derive(Debug)]
pub(crate) struct SampleError(Error);

impl From<Error> for SampleError {
    fn from(error: Error) -> Self {
        Self(error)
    }
}

impl fmt::Display for SampleError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the sample database could not be brought up: ")?;
        match self.0.as_db_error() {
            Some(error) => write!(f, "{} ({})", error.message(), error.code().code())?,
            None => write!(f, "{}", self.0)?,
        }
        f.write_str(". If its tables were changed by hand, remove the data directory")
    }
}

/// Roles belong to the whole cluster and have no `IF NOT EXISTS`. The passwords are set each time:
/// the configuration that holds them may be newer than the cluster.
fn roles(passwords: &Passwords<'_>) -> String {
    let role = |name: &str, rights: &str, password: &str| {
        assert!(
            password.bytes().all(|byte| byte.is_ascii_alphanumeric()),
            "passwords are made here, of letters and digits alone"
        );
        format!(
            "DO $$ BEGIN IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = '{name}') THEN \
             CREATE ROLE {name}; END IF; END $$;\n\
             ALTER ROLE {name} LOGIN {rights} PASSWORD '{password}';\n"
        )
    };
    let application = role(APPLICATION, "", passwords.application);
    let node = role(NODE, "REPLICATION", passwords.node);
    // The grant is so that a person can look at slots and walsenders, and end one to see what happens.
    format!(
        "SET client_min_messages = warning;\n{application}{node}\
         GRANT pg_monitor, pg_signal_backend TO {APPLICATION};\n"
    )
}
