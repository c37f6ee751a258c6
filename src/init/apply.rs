//! `tailrace init --apply`: asks, and runs the statements one by one. Each stands for itself: what
//! was done when one fails stays done, and beginning anew goes on from there.

use std::io::{IsTerminal as _, Write as _};
use std::time::Duration;

use postgres_protocol::password::scram_sha_256;
use replication::{ConnectInfo, Host};
use tokio_postgres::Client;
use tokio_postgres::error::SqlState;

use super::Arguments;
use super::configuration::Secrets;
use super::plan::Plan;
use super::statements::{self, Kind, Step};
use crate::database::{self, DatabaseError, identifier, literal};

/// How long a statement waits for a table's lock, in milliseconds.
const LOCK_TIMEOUT_MS: u64 = 5_000;

/// How often a lock is tried.
const LOCK_ATTEMPTS: u32 = 6;

/// How long between two attempts: whoever queued up behind us goes first.
const LOCK_PAUSE: Duration = Duration::from_secs(2);

/// Shows the statements, asks, and runs them.
///
/// # Errors
///
/// Where nobody says yes, or a statement fails.
pub(super) async fn run(
    info: &ConnectInfo,
    plan: &Plan,
    steps: &[Step],
    secrets: &Secrets,
    arguments: &Arguments,
) -> Result<(), String> {
    super::print(&statements::script(plan, steps))?;
    if steps.is_empty() {
        return Ok(());
    }
    if !arguments.yes {
        ask(info, plan, steps.len())?;
    }
    let client = database::connect_to_change(info)
        .await
        .map_err(|error| error.to_string())?;
    let is_for_us = |step: &&Step| step.kind != Kind::Server || plan.server.is_superuser;
    for step in steps.iter().filter(is_for_us) {
        run_step(&client, step).await?;
        if step.kind == Kind::Role && arguments.output.is_some() {
            set_password(&client, &plan.role_name, &secrets.password).await?;
        }
        let first = step.sql.lines().next().unwrap_or_default();
        super::print(&format!("done  {first}\n"))?;
    }
    for step in steps.iter().filter(|step| !is_for_us(step)) {
        super::print(&format!(
            "left  {}  (for a superuser, or your host's settings)\n",
            step.sql
        ))?;
    }
    if plan.server.text("wal_level") != "logical" {
        super::print("Restart PostgreSQL now: wal_level counts from its start on.\n")?;
    }
    Ok(())
}

/// Asks on the terminal.
fn ask(info: &ConnectInfo, plan: &Plan, count: usize) -> Result<(), String> {
    if !std::io::stdin().is_terminal() {
        return Err(
            "there is no terminal to ask on: read the statements, then say --yes".to_owned(),
        );
    }
    let server = &plan.server;
    let place = match &info.host {
        Host::Tcp(name) => name.clone(),
        Host::Unix(directory) => directory.display().to_string(),
    };
    super::print(&format!(
        "\nRun these {count} statements in the database {:?} on {place} as {:?}? [yes/no] ",
        server.database, server.user
    ))?;
    let mut answer = String::new();
    let read = std::io::stdin().read_line(&mut answer);
    read.map_err(|error| error.to_string())?;
    match answer.trim() {
        "yes" | "y" => Ok(()),
        _ => Err("nothing was changed".to_owned()),
    }
}

async fn run_step(client: &Client, step: &Step) -> Result<(), String> {
    let timeout = match step.kind {
        Kind::Lock => LOCK_TIMEOUT_MS,
        _ => 0,
    };
    let failed = |error| format!("{}\n{}", step.sql, DatabaseError::of(error));
    let set = format!("SET lock_timeout = {timeout}");
    client.batch_execute(&set).await.map_err(failed)?;
    let mut attempt = 1;
    loop {
        let error = match client.batch_execute(&step.sql).await {
            Ok(()) => return Ok(()),
            Err(error) => error,
        };
        if error.code() != Some(&SqlState::LOCK_NOT_AVAILABLE) {
            return Err(failed(error));
        }
        if attempt == LOCK_ATTEMPTS {
            return Err(format!(
                "{}\nSomebody holds the table, and waiting longer would make everybody wait; run \
                 this again when that transaction has ended",
                step.sql
            ));
        }
        attempt += 1;
        // Nobody but a person waits for this.
        let _ = std::io::stderr().write_all(b"the table is locked; trying again\n");
        tokio::time::sleep(LOCK_PAUSE).await;
    }
}

/// Sets a password by its hash: the password itself is in no log of the server's.
async fn set_password(client: &Client, role: &str, password: &str) -> Result<(), String> {
    let hash = scram_sha_256(password.as_bytes());
    let sql = format!(
        "ALTER ROLE {} PASSWORD {}",
        identifier(role),
        literal(&hash)
    );
    let failed = |error| format!("the role's password: {}", DatabaseError::of(error));
    client.batch_execute(&sql).await.map_err(failed)
}
