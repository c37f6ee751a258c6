//! What each organisation must see of a change: the product's promise, said a second time from what
//! `test_decoding` writes.

use serde_json::{Map, Value, json};

use crate::decoding::{Column, Datum, Line, Row};

/// The prefix of application messages.
const PREFIX: &str = "tailrace";

const ORGANISATION: &str = "organizationId";

/// The one column of these tables that sounds like a secret.
const WITHHELD: &str = "apiToken";

/// What one organisation sees of one change: the members of its event, without those that say where
/// and when.
#[derive(Debug)]
pub(crate) struct Expected {
    pub(crate) organisation: String,
    pub(crate) event: Value,
}

/// What is to be seen of a change: nothing, one event, or two where a row moves.
pub(crate) fn of_change(line: &str) -> Vec<Expected> {
    match Line::parse(line) {
        Line::Row(row) => of_row(&row),
        Line::Message { prefix, content } if prefix == PREFIX => vec![of_message(&content)],
        Line::Message { .. } => Vec::new(),
        Line::Begin | Line::Commit { .. } => panic!("no change: {line}"),
    }
}

fn of_row(row: &Row) -> Vec<Expected> {
    let from = row.old.as_ref().map(|old| organisation_of(old));
    let to = row.new.as_ref().map(|new| organisation_of(new));
    let event = |action: &str, organisation: &str, new: bool, old: bool| {
        let new = row.new.as_deref().filter(|_| new);
        let old = row.old.as_deref().filter(|_| old);
        Expected {
            organisation: organisation.to_owned(),
            event: row_event(&row.table, action, organisation, new, old),
        }
    };
    match (from, to) {
        // Neither sees what the row was or has become with the other.
        (Some(from), Some(to)) if from != to => vec![
            event("delete", from, false, true),
            event("insert", to, true, false),
        ],
        (_, Some(to)) => vec![event(&row.action.to_lowercase(), to, true, true)],
        (Some(from), None) => vec![event("delete", from, false, true)],
        (None, None) => panic!("a change without a row: {row:?}"),
    }
}

fn row_event(
    table: &str,
    action: &str,
    organisation: &str,
    new: Option<&[Column]>,
    old: Option<&[Column]>,
) -> Value {
    let channel = table.to_lowercase();
    let mut payload = json!({
        "organizationId": organisation,
        "table": table,
        "action": action,
        "record": new.map_or(Value::Null, record),
        "old": old.map_or(Value::Null, record),
    });
    let unchanged = |column: &&Column| column.value == Datum::Unchanged;
    let unchanged = new.into_iter().flatten().filter(unchanged);
    let unchanged: Vec<&str> = unchanged.map(|column| column.name.as_str()).collect();
    if !unchanged.is_empty() {
        payload["unchanged"] = json!(unchanged);
    }
    if table == "Client" {
        payload["withheld"] = json!([WITHHELD]);
    }
    json!({
        "type": format!("{channel}.{action}"),
        "channel": channel,
        "source": "postgres",
        "version": "1",
        "payload": payload,
    })
}

fn of_message(content: &str) -> Expected {
    let said: Value = serde_json::from_str(content).expect("the writers send JSON");
    let organisation = said[ORGANISATION].as_str().expect("they say to whom");
    let event_type = said["type"].as_str().expect("they say what");
    let (channel, _) = event_type.split_once('.').expect("types have a point");
    Expected {
        organisation: organisation.to_owned(),
        event: json!({
            "type": event_type,
            "channel": channel,
            "source": "application",
            "version": "1",
            "payload": { "organizationId": organisation, "data": said["data"] },
        }),
    }
}

fn organisation_of(columns: &[Column]) -> &str {
    let column = columns.iter().find(|column| column.name == ORGANISATION);
    match column.map(|column| &column.value) {
        Some(Datum::Text(organisation)) => organisation,
        _ => panic!("no organisation: {columns:?}"),
    }
}

/// The columns that may be shown and are known.
fn record(columns: &[Column]) -> Value {
    let shown = |column: &&Column| column.name != WITHHELD && column.value != Datum::Unchanged;
    let shown = columns.iter().filter(shown);
    let members: Map<String, Value> = shown
        .map(|column| (column.name.clone(), value(column)))
        .collect();
    Value::Object(members)
}

fn value(column: &Column) -> Value {
    let Datum::Text(text) = &column.value else {
        return Value::Null;
    };
    match column.data_type.as_str() {
        "integer" => json!(text.parse::<i32>().expect("an integer")),
        "boolean" => json!(text == "true"),
        _ => json!(text),
    }
}
