//! `tailrace init`: what a database needs before a node can read it, as statements and as a
//! `tailrace.toml`, written from the live catalogue; run only where `--apply` says so.
//!
//! `people` recognises, `plan` decides, `statements`, `revocation` and `configuration` write, `apply` asks
//! and runs, `undo` takes back.

mod apply;
mod configuration;
mod people;
mod plan;
mod revocation;
mod statements;
mod undo;

use std::io::Write as _;
use std::path::{Path, PathBuf};

use replication::{ConnectInfo, Rules};
use tokio_postgres::Client;

use crate::catalog::parts::parts;
use crate::catalog::{Catalog, Publication, Role, Server};
use crate::config::{Config, Environment};
use crate::database::{self, DatabaseError};
use configuration::Secrets;
use plan::{Plan, Wishes};
pub(crate) use revocation::{RevocationTable, is_revocation};
pub(crate) use statements::set_everything;

/// The command line of `tailrace init`.
#[derive(clap::Args, Clone, Debug)]
pub(crate) struct Arguments {
    /// The database, as the owner of its tables; without it, TAILRACE_DATABASE_URL, DIRECT_URL or
    /// DATABASE_URL, also from `.env`.
    #[arg(long, value_name = "URL")]
    database_url: Option<String>,
    /// The name of the publication.
    #[arg(long, value_name = "NAME", default_value = "tailrace")]
    publication: String,
    /// The tables whose changes may leave; without it, all that have an organisation's column.
    #[arg(long = "table", value_name = "TABLE", value_delimiter = ',')]
    tables: Vec<String>,
    /// The role that nodes connect as; made if it is missing.
    #[arg(long, value_name = "NAME", default_value = "tailrace")]
    role: String,
    /// How much of its log PostgreSQL may keep for a node that is away, where nothing bounds it yet.
    #[arg(long, value_name = "SIZE", default_value = "10GB")]
    keep_size: String,
    /// Write the configuration to this file; what is there is not overwritten.
    #[arg(long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// Run the statements, after asking.
    #[arg(long)]
    apply: bool,
    /// Do not ask.
    #[arg(long, requires = "apply")]
    yes: bool,
    /// Print the statements that take everything back.
    #[arg(long, conflicts_with_all = ["tables", "output", "apply"])]
    undo: bool,
}

/// Prints the statements and a configuration, and runs the former where it is told to.
///
/// # Errors
///
/// Where the database cannot be found or asked, a table cannot be published, or a statement fails.
pub(crate) fn run(arguments: &Arguments) -> Result<(), String> {
    let environment = Environment::of_process().with_env_file(Path::new(".env"));
    let url = arguments
        .database_url
        .clone()
        .or_else(|| environment.database_url());
    let info = environment
        .connect_info(url.as_deref())
        .map_err(|error| format!("--database-url: {error}"))?
        .ok_or("say which database: --database-url postgresql://…, or DATABASE_URL")?;
    let url = url.unwrap_or_else(|| configuration::url_of(&info));
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    let runtime = runtime.map_err(|error| error.to_string())?;
    runtime.block_on(async {
        let client = database::connect(&info)
            .await
            .map_err(|error| error.to_string())?;
        match arguments.undo {
            true => undo(arguments, &client).await,
            false => init(arguments, &client, &info, &url).await,
        }
    })
}

async fn init(
    arguments: &Arguments,
    client: &Client,
    info: &ConnectInfo,
    url: &str,
) -> Result<(), String> {
    if let Some(path) = arguments.output.as_ref().filter(|path| path.exists()) {
        let path = path.display();
        return Err(format!(
            "--output {path}: it is there already; remove it, or name another"
        ));
    }
    let wishes = Wishes {
        publication: arguments.publication.clone(),
        tables: arguments.tables.clone(),
        role: arguments.role.clone(),
        keep_size: arguments.keep_size.clone(),
        rules: Rules::default(),
    };
    let plan = Plan::make(client, &wishes).await?;
    let steps = statements::steps(&plan);
    if !arguments.apply {
        print(&statements::script(&plan, &steps))?;
        let text = configuration::text(&plan, None);
        return match &arguments.output {
            Some(path) => configuration::write(path, &text),
            None => print(&configuration::in_comment(&text)),
        };
    }
    let secrets = Secrets::draw()?;
    apply::run(info, &plan, &steps, &secrets, arguments).await?;
    // A role that was there has a password that we do not know.
    let made = plan.role.is_none() && arguments.output.is_some();
    let url = made.then(|| configuration::url_as(url, &plan.role_name, &secrets.password));
    match &arguments.output {
        Some(path) => {
            let text = configuration::text(&plan, Some((&secrets, url.as_deref())));
            configuration::write(path, &text)?;
            let path = path.display();
            if url.is_none() {
                print(&format!(
                    "The role {} was there before: write its URL into {path}, or set TAILRACE_DATABASE_URL.\n",
                    plan.role_name
                ))?;
            }
            print(&format!(
                "The configuration is in {path}. Next: tailrace check --config {path}\n"
            ))
        }
        None => print(&configuration::text(&plan, None)),
    }
}

async fn undo(arguments: &Arguments, client: &Client) -> Result<(), String> {
    let said = |error: DatabaseError| error.to_string();
    let server = Server::read(client).await.map_err(said)?;
    let catalog = Catalog::read(client).await.map_err(said)?;
    let publication = Publication::read(client, &arguments.publication, server.version);
    let publication = publication.await.map_err(said)?;
    let role = Role::read(client, &arguments.role).await.map_err(said)?;
    let grants = undo::Grants::read(client, &arguments.role)
        .await
        .map_err(said)?;
    print(&undo::script(
        &catalog,
        publication.as_ref(),
        role.as_ref(),
        &grants,
    ))
}

/// The statements that make the publication, for a database that has none of this name.
///
/// # Errors
///
/// Where the database cannot be asked.
pub(crate) async fn publication_script(
    client: &Client,
    config: &Config,
) -> Result<String, DatabaseError> {
    let catalog = Catalog::read(client).await?;
    let server = Server::read(client).await?;
    Ok(statements::of_publication(
        &catalog,
        &config.database.publication,
        &config.rules,
        &parts(config),
        server.version,
    ))
}

fn print(text: &str) -> Result<(), String> {
    let mut out = std::io::stdout().lock();
    out.write_all(text.as_bytes())
        .and_then(|()| out.flush())
        .map_err(|error| error.to_string())
}
