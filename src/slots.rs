//! `tailrace slots`: what slots of ours a server has and what they hold back, and taking them away.

use std::io::Write as _;
use std::path::PathBuf;

use replication::ConnectInfo;
use tokio_postgres::Client;
use tokio_postgres::error::SqlState;

use crate::check::Subject;
use crate::config::units;
use crate::config::units::human_bytes;
use crate::database::{self, DatabaseError};
use crate::retention::{Kind, Retention, Slot, human_rate};

/// The command line of `tailrace slots`.
#[derive(clap::Args, Clone, Debug)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    command: Option<Command>,
    /// The configuration; without it, `tailrace.toml` if there is one, and the environment.
    #[arg(long, value_name = "FILE", global = true)]
    config: Option<PathBuf>,
    /// The database, before any that the configuration names.
    #[arg(long, value_name = "URL", global = true)]
    database_url: Option<String>,
    /// How much is free on PostgreSQL's disk, such as 120GiB, where it cannot be seen from here.
    #[arg(long, value_name = "SIZE", value_parser = units::bytes, global = true)]
    disk_free: Option<u64>,
}

#[derive(clap::Subcommand, Clone, Debug)]
enum Command {
    /// List the slots that are named like ours, on the whole server.
    List,
    /// Drop slots of this database that nobody streams from; without names, its anchor.
    Drop {
        /// The names, as `list` has them.
        names: Vec<String>,
        /// All of this database, of other generations too.
        #[arg(long, conflicts_with = "names")]
        all: bool,
    },
}

/// Lists or drops.
///
/// # Errors
///
/// Where the database cannot be asked, or a slot is in use.
pub(crate) fn run(arguments: &Arguments) -> Result<(), String> {
    let subject = Subject::read(
        arguments.config.as_deref(),
        arguments.database_url.as_deref(),
    )?;
    let info = &subject.config.database.connect;
    let generation = subject.config.slot.generation;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    runtime.map_err(|error| error.to_string())?.block_on(async {
        let said = |error: DatabaseError| error.to_string();
        let client = database::connect(info).await.map_err(said)?;
        let retention = Retention::read(&client, info, arguments.disk_free)
            .await
            .map_err(said)?;
        match &arguments.command {
            None | Some(Command::List) => print(&list(&retention, generation)),
            Some(Command::Drop { names, all }) => {
                let chosen = choose(&retention, names, *all, generation)?;
                drop_all(info, &chosen).await?;
                remains(&client, &subject.config.database.publication).await
            }
        }
    })
}

fn list(retention: &Retention, generation: u32) -> String {
    let mut text = String::new();
    if retention.slots.is_empty() {
        text.push_str("There are no slots of ours on this server.\n");
    }
    for slot in &retention.slots {
        let state = if slot.is_active { "active" } else { "inactive" };
        text.push_str(&format!(
            "{}\n    {}, {state}, {}\n    {}\n",
            slot.name,
            whose(slot, retention, generation),
            status(slot),
            match slot.is_lost() {
                true => "holds back nothing any more: drop it, and a node makes it anew".to_owned(),
                false => retention.outlook(slot),
            }
        ));
        if let Some(safe) = slot.safe_bytes {
            let safe = human_bytes(safe);
            text.push_str(&format!(
                "    {safe} may be written until it is in danger\n"
            ));
        }
    }
    text.push_str(&format!(
        "The write-ahead log grows by {}; {}.\n",
        human_rate(retention.rate.per_second()),
        match retention.keep_bytes {
            Some(bytes) => format!("max_slot_wal_keep_size is {}", human_bytes(bytes)),
            None => "max_slot_wal_keep_size is -1, which bounds nothing".to_owned(),
        }
    ));
    text
}

/// What a slot is to us.
fn whose(slot: &Slot, retention: &Retention, generation: u32) -> String {
    let database = match slot.is_of(&retention.database) {
        true => "this database".to_owned(),
        false => format!("the database {:?}", slot.database),
    };
    match slot.kind {
        Kind::Copy => format!("a node's own copy, of {database}"),
        Kind::Anchor { generation: own } if own == generation => {
            format!("the anchor of {database}")
        }
        Kind::Anchor { generation: other } => {
            format!(
                "the anchor of {database} in generation {other}, which is not the configured one"
            )
        }
    }
}

fn status(slot: &Slot) -> String {
    match &slot.lost_because {
        Some(reason) => format!("{} ({reason})", slot.status),
        None => slot.status.clone(),
    }
}

/// The slots to drop: of this database alone, and none that is in use.
fn choose(
    retention: &Retention,
    names: &[String],
    all: bool,
    generation: u32,
) -> Result<Vec<String>, String> {
    let of_ours = |slot: &&Slot| slot.is_of(&retention.database);
    let ours = retention.slots.iter().filter(of_ours);
    let chosen: Vec<&Slot> = match names {
        [] => ours
            .filter(|slot| all || slot.kind == Kind::Anchor { generation } || slot.is_active)
            .collect(),
        names => {
            let find = |name: &String| {
                ours.clone().find(|slot| slot.name == *name).ok_or_else(|| {
                    format!(
                        "{name} is no slot of ours in this database; `tailrace slots` lists them, and \
                         another database's are dropped with its --database-url"
                    )
                })
            };
            names.iter().map(find).collect::<Result<_, _>>()?
        }
    };
    if let Some(busy) = chosen.iter().find(|slot| slot.is_active) {
        return Err(format!(
            "{} is in use: a node streams. Stop every node first; without its slots it would make them \
             anew",
            busy.name
        ));
    }
    Ok(chosen.into_iter().map(|slot| slot.name.clone()).collect())
}

async fn drop_all(info: &ConnectInfo, names: &[String]) -> Result<(), String> {
    if names.is_empty() {
        return print("There is no slot to drop.\n");
    }
    let client = database::connect_to_change(info)
        .await
        .map_err(|error| error.to_string())?;
    for name in names {
        let sql = "SELECT pg_catalog.pg_drop_replication_slot($1::text::name)";
        let dropped = client.execute(sql, &[name]).await;
        dropped.map_err(|error| {
            let mend = match error.code() {
                Some(&SqlState::INSUFFICIENT_PRIVILEGE) => {
                    "; the role of the nodes may, or another with REPLICATION: name it by --database-url"
                }
                _ => "",
            };
            format!("{name}: {}{mend}", DatabaseError::of(error))
        })?;
        print(&format!("dropped  {name}\n"))?;
    }
    Ok(())
}

/// What is still there of us, and how it goes.
async fn remains(client: &Client, publication: &str) -> Result<(), String> {
    let sql = "SELECT EXISTS (SELECT FROM pg_catalog.pg_publication WHERE pubname = $1)";
    let row = client.query_one(sql, &[&publication]).await;
    let is_there: bool = row
        .map_err(|error| DatabaseError::of(error).to_string())?
        .get(0);
    print(match is_there {
        true => {
            "A node leaves nothing else behind. What a person set up is still there: the publication, \
             replica identities, the role. `tailrace init --undo` prints what takes them back.\n"
        }
        false => "Nothing of ours is left in this database.\n",
    })
}

fn print(text: &str) -> Result<(), String> {
    let mut out = std::io::stdout().lock();
    out.write_all(text.as_bytes())
        .and_then(|()| out.flush())
        .map_err(|error| error.to_string())
}
