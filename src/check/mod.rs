//! `tailrace check`: looks at the machine, the configuration and the database, and says of each thing
//! what is well, what is not, what comes of it, and the exact statement that mends it. Nothing is
//! changed.
//!
//! One room for each group of findings: `kernel`, `configuration`, `connection`, `server`, `slot`,
//! `publication`, `tables`, `routes`, `people`, `revocation`. `report` is how they are shown.

mod configuration;
mod connection;
mod kernel;
mod people;
mod publication;
mod report;
mod revocation;
mod routes;
mod server;
mod slot;
mod subject;
mod tables;

use std::io::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;

use replication::Provider;
use tokio_postgres::Client;

use crate::catalog::{Catalog, Publication, Server, parts::parts};
use crate::config::{Config, units};
use crate::database::DatabaseError;
use crate::retention::Retention;
#[cfg(test)]
pub(crate) use report::Level;
pub(crate) use report::{Finding, Report};
pub(crate) use subject::Subject;

/// The command line of `tailrace check`.
#[derive(clap::Args, Clone, Debug)]
pub(crate) struct Arguments {
    /// The configuration; without it, `tailrace.toml` if there is one, and the environment.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// The database, before any that the configuration names.
    #[arg(long, value_name = "URL")]
    database_url: Option<String>,
    /// How much is free on PostgreSQL's disk, such as 120GiB, where it cannot be seen from here.
    #[arg(long, value_name = "SIZE", value_parser = units::bytes)]
    disk_free: Option<u64>,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

/// Looks, and prints what was found. The status is 0 where all is well, 1 with warnings, 2 with
/// failures.
///
/// # Errors
///
/// Where it could not even be looked.
pub(crate) fn run(arguments: &Arguments) -> Result<ExitCode, String> {
    let report = look(arguments)?;
    let text = match arguments.json {
        true => report.json(),
        false => report.text(),
    };
    let mut out = std::io::stdout().lock();
    out.write_all(text.as_bytes())
        .and_then(|()| out.flush())
        .map_err(|error| error.to_string())?;
    Ok(report.exit_code())
}

fn look(arguments: &Arguments) -> Result<Report, String> {
    let mut report = Report::default();
    let subject = Subject::read(
        arguments.config.as_deref(),
        arguments.database_url.as_deref(),
    );
    let config = subject.as_ref().ok().map(|subject| &subject.config);
    report.add("Machine", kernel::findings(config));
    let subject = match subject {
        Ok(subject) => subject,
        Err(error) => {
            report.add("Configuration", vec![configuration::unusable(&error)]);
            return Ok(report);
        }
    };
    report.add("Configuration", configuration::findings(&subject));
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    let runtime = runtime.map_err(|error| error.to_string())?;
    runtime.block_on(look_at_database(
        &subject.config,
        arguments.disk_free,
        &mut report,
    ));
    Ok(report)
}

async fn look_at_database(config: &Config, disk_free: Option<u64>, report: &mut Report) {
    let info = &config.database.connect;
    let mut findings = connection::of_host(info);
    let client = connection::connect(info).await;
    findings.extend(match &client {
        Ok(_) => connection::established(info),
        Err(finding) => vec![finding.clone()],
    });
    report.add("Connection", findings);
    let Ok(client) = client else {
        return;
    };
    if let Err(error) = look_inside(&client, config, disk_free, report).await {
        let finding = Finding::fail("database", error.to_string())
            .because("The rest was not looked at. Run this again.");
        report.add("Database", vec![finding]);
    }
}

async fn look_inside(
    client: &Client,
    config: &Config,
    disk_free: Option<u64>,
    report: &mut Report,
) -> Result<(), DatabaseError> {
    let info = &config.database.connect;
    let server = Server::read(client).await?;
    if let Some(finding) = server::too_old(&server) {
        report.add("Server", vec![finding]);
        return Ok(());
    }
    let retention = Retention::read(client, info, disk_free).await?;
    let mut findings =
        server::findings(&server, &retention, &config.slot, Provider::of(&info.host));
    findings.push(connection::role(client, info, &server).await?);
    report.add("Server", findings);
    report.add("Slot", slot::findings(client, config, &retention).await?);
    let catalog = Catalog::read(client).await?;
    let publication = &config.database.publication;
    let publication = Publication::read(client, publication, server.version).await?;
    report.add(
        "Publication",
        publication::findings(client, config, publication.as_ref(), &catalog).await?,
    );
    if let Some(publication) = &publication {
        let rules = &config.rules;
        report.add("Tables", tables::findings(rules, publication, &catalog));
        report.add("Routes", routes::findings(rules, publication, &catalog));
    }
    let parts = parts(config);
    let mut findings = Vec::new();
    for part in &parts {
        let look = people::Look {
            client,
            part,
            parts: &parts,
            rules: &config.rules,
            catalog: &catalog,
            publication: publication.as_ref(),
            server: &server,
        };
        findings.extend(look.findings().await?);
    }
    report.add("People", findings);
    let user = &info.user;
    let findings = revocation::findings(client, user, publication.as_ref(), &catalog);
    report.add("Revocation", findings.await?);
    Ok(())
}
