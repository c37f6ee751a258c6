//! The way to PostgreSQL: who hosts it, whether we are let in, and as whom.

use replication::{ConnectInfo, Host, Provider, Tls};
use tokio_postgres::Client;

use super::Finding;
use crate::catalog::{Role, Server};
use crate::database::{self, DatabaseError, identifier};

/// What is so on a host, whatever it answers.
pub(super) fn of_host(info: &ConnectInfo) -> Vec<Finding> {
    match Provider::of(&info.host) {
        Provider::Neon => vec![
            Finding::note("Neon", "a node that reads keeps the compute awake").because(
                "It does not scale to zero while a node is connected, and that is billed.",
            ),
            Finding::note(
                "Neon",
                "restoring a branch takes its replication slots away",
            )
            .because("The nodes make the slot anew, and every page is told to refetch (reset)."),
            Finding::note(
                "Neon",
                "slots that nobody reads for some 40 hours are removed",
            )
            .because("After a longer stop of all nodes every page is told to refetch (reset)."),
        ],
        _ => Vec::new(),
    }
}

/// Connects, or says why not.
pub(super) async fn connect(info: &ConnectInfo) -> Result<Client, Finding> {
    database::connect(info)
        .await
        .map_err(|error| refused(&error))
}

fn refused(error: &DatabaseError) -> Finding {
    let finding = Finding::fail("connection", error.to_string())
        .because("A node does not start. The rest was not looked at.");
    match error {
        DatabaseError::Refused { mend, .. } if !mend.is_empty() => {
            let finding = match mend.iter().any(|line| line.contains("pg_reload_conf")) {
                true => finding.because("At the top of pg_hba.conf, and then as a superuser:"),
                false => finding.because("As a superuser:"),
            };
            finding.mends(mend.clone())
        }
        DatabaseError::Unreachable(_) => finding.because(
            "See that PostgreSQL runs and listens there, and that nothing is in between that refuses; or \
             that the URL names the right place.",
        ),
        _ => finding,
    }
}

/// What may be said of a connection that was made.
pub(super) fn established(info: &ConnectInfo) -> Vec<Finding> {
    let says = format!(
        "as {} to the database {}, {}",
        info.user,
        info.database,
        info.place()
    );
    let encrypted = match (&info.tls, &info.host) {
        (_, Host::Unix(_)) => Finding::ok("encryption", "none is needed on a Unix socket"),
        (Tls::On { .. }, _) => Finding::ok("encryption", "TLS"),
        (Tls::Off, _) if info.is_local() => {
            Finding::ok("encryption", "none, and nobody is between on this machine")
        }
        (Tls::Off, _) => Finding::warn("encryption", "none: sslmode is disable")
            .because("Rows and the password's proof can be read on the way: sslmode=verify-full"),
    };
    vec![Finding::ok("connection", says), encrypted]
}

/// Whether the role may open the connection that replicates.
pub(super) async fn role(
    client: &Client,
    info: &ConnectInfo,
    server: &Server,
) -> Result<Finding, DatabaseError> {
    let about = format!("role {}", server.user);
    let role = Role::read(client, &server.user).await?;
    let name = identifier(&info.user);
    // Under a name of one's own it is told by its roles alone.
    let provider = match Role::is_rds(client).await? {
        true => Provider::Rds,
        false => Provider::Other,
    };
    Ok(match role {
        Some(role) if role.is_superuser => Finding::note(about, "a superuser")
            .because("A node needs less: `tailrace init` makes a role with just its rights."),
        Some(role) if role.may_replicate => Finding::ok(about, "may replicate"),
        _ => Finding::fail(about, "has no right to replicate")
            .because(
                "The server refuses the connection that reads the log, so a node never gets ready.",
            )
            .mend(provider.replication_right(&name)),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn neon_is_told_by_its_name() {
        let of = |url: &str| of_host(&url.parse().unwrap()).len();
        assert_eq!(of("postgres://u@ep-red-1.eu-central-1.aws.neon.tech/x"), 3);
        assert_eq!(of("postgres://u@EP.NEON.TECH/x"), 3);
        for other in ["notneon.tech", "neon.tech.example", "localhost"] {
            assert_eq!(of(&format!("postgres://u@{other}/x")), 0, "{other}");
        }
    }
}
