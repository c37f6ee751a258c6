//! `tailrace publish`: an event of one's own, written to PostgreSQL's log as an application's transaction
//! would emit it. No node is asked, and none has to run: those that do will show it.

use serde_json::{Map, Value, json};
use wire::Keys;

use crate::database::{self, DatabaseError};
use crate::dev::Source;

/// The command line of `tailrace publish`.
#[derive(clap::Args, Clone, Debug)]
pub(crate) struct Arguments {
    /// What happened: `report.ready`, `horses:created`.
    #[arg(long = "type", value_name = "TYPE")]
    event_type: String,
    /// For everybody of this organisation.
    #[arg(long, value_name = "ID", required_unless_present_any = ["user", "global"])]
    organization: Option<String>,
    /// For this user; of that organisation's streams alone, where one is named.
    #[arg(long, value_name = "ID")]
    user: Option<String>,
    /// For everybody who has a stream.
    #[arg(long, conflicts_with_all = ["organization", "user"])]
    global: bool,
    /// The channel; without it, `user:<id>`, `global`, or the type up to its first `.` or `:`.
    #[arg(long, value_name = "NAME")]
    channel: Option<String>,
    /// Of two with one id for the same audience, the first is shown.
    #[arg(long, value_name = "ID")]
    id: Option<String>,
    /// Any JSON.
    #[arg(long, value_name = "JSON", default_value = "null", value_parser = json_text)]
    data: String,
    #[command(flatten)]
    source: Source,
}

/// Writes the event.
///
/// # Errors
///
/// Where it is not as it must be, or the database does not take it.
pub(crate) fn run(arguments: &Arguments) -> Result<(), String> {
    let config = arguments.source.read().map_err(|error| error.to_string())?;
    let body = arguments.body();
    let id = match &arguments.id {
        Some(id) => id.clone(),
        None => format!("{:x}", getrandom::u64().map_err(|error| error.to_string())?),
    };
    // The keys are for whoever looks for the event, which nobody does here.
    let entries = replication::entries(body.as_bytes(), &id, &Keys::new([0; 16]));
    let entries = entries.map_err(|error| error.to_string())?;
    let contents: Vec<Vec<u8>> = entries.into_iter().map(|entry| entry.content).collect();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    let runtime = runtime.map_err(|error| error.to_string())?;
    let written: Result<(), DatabaseError> = runtime.block_on(async {
        let client = database::connect_to_write(&config.database.connect).await?;
        let written = client.query_one(replication::EMIT, &[&contents]).await;
        written.map(drop).map_err(DatabaseError::of)
    });
    written.map_err(|error| error.to_string())
}

impl Arguments {
    /// The event as JSON; its data as it was said.
    fn body(&self) -> String {
        let mut members = Map::new();
        let texts = [
            ("type", Some(&self.event_type)),
            ("organizationId", self.organization.as_ref()),
            ("userId", self.user.as_ref()),
            ("channel", self.channel.as_ref()),
        ];
        for (name, text) in texts {
            if let Some(text) = text {
                members.insert(name.to_owned(), json!(text));
            }
        }
        if self.global {
            members.insert("global".to_owned(), json!(true));
        }
        let members = Value::Object(members).to_string();
        let open = members.strip_suffix('}').expect("it is an object");
        format!("{open},\"data\":{}}}", self.data)
    }
}

/// A text that is JSON by itself, so that it ends where it seems to.
fn json_text(text: &str) -> Result<String, String> {
    let read: Result<serde::de::IgnoredAny, _> = serde_json::from_str(text);
    read.map(|_| text.to_owned())
        .map_err(|error| error.to_string())
}
