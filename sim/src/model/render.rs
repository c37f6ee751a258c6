//! The text of an event, as the documentation of the protocol says it: written from the rows of the commit
//! log, by nothing that the reader is made of.

use std::fmt::Write as _;

use super::line::{Expected, Part};
use crate::application::quoted;
use crate::postgres::schema::{Column, Identity, Kind, Row, Table, TableId, Value};
use crate::postgres::{EVENT_BYTES_MAX, Meaning, What, is_long};

/// Of a truncated event whose identity is the whole row, values up to this length are left.
const KEPT_BYTES_MAX: usize = 256;

/// How much of an event is written behind what its length is judged by.
const TAIL_BYTES_MAX: usize = 300;

/// A change of one row, for one destination.
struct Shown<'a> {
    table: TableId,
    action: &'static str,
    new: Option<&'a Row>,
    /// The row before, as it is logged.
    old: Option<&'a Row>,
    /// The row before, logged or not.
    before: Option<&'a Row>,
    /// Whether the old row is known whole.
    is_whole: bool,
    shows_old: bool,
}

/// Whether a data text is that of an event with this id.
pub(super) fn is_of(expected: &Expected, id: &str, data: &str) -> bool {
    // Many are told the same: it is written once.
    let render = || (id.to_owned(), event(expected, id, false));
    let (known_id, text) = expected.text.get_or_init(render);
    let another = if known_id == id {
        None
    } else {
        Some(render().1)
    };
    let whole = another.as_ref().unwrap_or(text);
    if whole == data {
        return frame_bytes(id, whole) <= EVENT_BYTES_MAX + TAIL_BYTES_MAX || !is_of_row(expected);
    }
    let may_be_truncated = is_of_row(expected) && frame_bytes(id, whole) > EVENT_BYTES_MAX;
    may_be_truncated && event(expected, id, true) == data
}

/// Whether a data text is that of one event of several changes, which are in order and have these ids.
pub(super) fn is_batch_of(changes: &[(&Expected, &str)], id: &str, data: &str) -> bool {
    let Some((last, _)) = changes.last() else {
        return false;
    };
    let mut out = head(last, id, ".batch");
    let Some(shown) = shown(last) else {
        return false;
    };
    let _ = write!(
        out,
        "{{\"organizationId\":{},\"changes\":[",
        organisation(&shown)
    );
    let mut rest = match data.strip_prefix(&out) {
        Some(rest) => rest,
        None => return false,
    };
    for (at, (change, id)) in changes.iter().enumerate() {
        let Some(shown) = self::shown(change) else {
            return false;
        };
        let separator = if at > 0 { "," } else { "" };
        let begin = format!("{separator}{{\"id\":\"{id}\"");
        let Some(behind) = rest.strip_prefix(&begin) else {
            return false;
        };
        // A change that is too long by itself may be truncated.
        let texts = [false, true].map(|truncated| payload_rest(&shown, truncated));
        let Some(behind) = texts
            .iter()
            .find_map(|text| behind.strip_prefix(text.as_str()))
        else {
            return false;
        };
        rest = behind;
    }
    rest == "]}}"
}

fn is_of_row(expected: &Expected) -> bool {
    shown(expected).is_some()
}

/// How long the block of an event is.
fn frame_bytes(id: &str, data: &str) -> usize {
    "id: \ndata: \n\n".len() + id.len() + data.len()
}

/// The whole data text.
pub(super) fn event(expected: &Expected, id: &str, truncated: bool) -> String {
    let mut out = head(expected, id, "");
    match (shown(expected), message(expected)) {
        (Some(shown), _) => {
            let _ = write!(out, "{{\"organizationId\":{}", organisation(&shown));
            out.push_str(&payload_rest(&shown, truncated));
        }
        (None, Some(meaning)) => {
            out.push('{');
            let names = [
                ("organizationId", &meaning.organisation),
                ("userId", &meaning.user),
            ];
            for (member, name) in names {
                if let Some(name) = name {
                    let _ = write!(out, "\"{member}\":{},", quoted(name));
                }
            }
            let _ = write!(out, "\"data\":{}}}", meaning.data);
        }
        (None, None) => unreachable!("an event is of a row or of a message"),
    }
    out.push('}');
    out
}

/// The text up to the payload.
fn head(expected: &Expected, id: &str, suffix: &str) -> String {
    let source = match message(expected) {
        Some(_) => "application",
        None => "postgres",
    };
    format!(
        "{{\"id\":\"{id}\",\"type\":\"{}{suffix}\",\"channel\":\"{}\",\"timestamp\":{},\"source\":\
         \"{source}\",\"version\":\"1\",\"payload\":",
        expected.kind,
        expected.channel,
        expected.transaction.unix_us / 1_000,
    )
}

fn message(expected: &Expected) -> Option<&Meaning> {
    match expected.committed() {
        What::Message { meaning, .. } => meaning.as_deref(),
        _ => None,
    }
}

/// What of a row is shown; `None` where the event is none of a row.
fn shown(expected: &Expected) -> Option<Shown<'_>> {
    let what = expected.committed();
    let whole = |table: TableId| table.table().identity == Identity::Full;
    Some(match (what, expected.part) {
        (_, Part::Emptied(table)) => Shown {
            table,
            action: "truncate",
            new: None,
            old: None,
            before: None,
            is_whole: false,
            shows_old: false,
        },
        (What::Insert { table, new }, _) => Shown {
            table: *table,
            action: "insert",
            new: Some(new),
            old: None,
            before: None,
            is_whole: false,
            shows_old: false,
        },
        (What::Delete { table, old }, _) | (What::Update { table, old, .. }, Part::Leaves) => {
            Shown {
                table: *table,
                action: "delete",
                new: None,
                old: Some(old),
                before: None,
                is_whole: whole(*table),
                shows_old: true,
            }
        }
        (What::Update { table, old, new }, part) => Shown {
            table: *table,
            action: if part == Part::Enters {
                "insert"
            } else {
                "update"
            },
            new: Some(new),
            // It is logged where the identity is the whole row, or names what has changed.
            old: Some(old).filter(|_| whole(*table) || part == Part::Enters),
            before: Some(old),
            is_whole: whole(*table),
            shows_old: part != Part::Enters,
        },
        (What::Message { .. } | What::Truncate(_), _) => return None,
    })
}

/// Whose the row is, as JSON.
fn organisation(shown: &Shown<'_>) -> String {
    let row = shown.new.or(shown.old);
    let name = row.and_then(|row| row[1].as_deref());
    name.map_or("null".to_owned(), quoted)
}

/// The payload behind its organisation.
fn payload_rest(shown: &Shown<'_>, truncated: bool) -> String {
    let table = shown.table.table();
    let mut out = format!(
        ",\"table\":{},\"action\":\"{}\",\"record\":",
        quoted(table.name),
        shown.action
    );
    let keeps = |column: &Column, value: &Value| {
        let is_key = column.is_key || table.identity == Identity::Full;
        let is_short = value
            .as_ref()
            .is_none_or(|text| text.len() <= KEPT_BYTES_MAX);
        !truncated || (is_key && (is_short || table.identity != Identity::Full))
    };
    let mut unchanged = Vec::new();
    match shown.new {
        None => out.push_str("null"),
        Some(new) => {
            // What lies out of line and did not change is not in the log, unless the whole old row is.
            let is_sent = |at: usize, column: &Column| {
                let is_out_of_line = column.kind == Kind::LongText && is_long(&new[at]);
                let is_same = shown.before.is_some_and(|before| before[at] == new[at]);
                !(is_out_of_line && is_same) || shown.is_whole
            };
            unchanged = list(table, |at, column| !is_sent(at, column));
            object(&mut out, table, new, |at, column, value| {
                is_sent(at, column) && keeps(column, value)
            });
        }
    }
    out.push_str(",\"old\":");
    match shown.old.filter(|_| shown.shows_old) {
        None => out.push_str("null"),
        Some(old) => object(&mut out, table, old, |_, column, value| {
            (shown.is_whole || column.is_key) && keeps(column, value)
        }),
    }
    if let (Some(new), Some(old), true) = (shown.new, shown.old, shown.is_whole && shown.shows_old)
    {
        let changed = list(table, |at, _| new[at] != old[at]);
        let _ = write!(out, ",\"changed\":[{}]", changed.join(","));
    }
    if !unchanged.is_empty() {
        let _ = write!(out, ",\"unchanged\":[{}]", unchanged.join(","));
    }
    if truncated {
        out.push_str(",\"truncated\":true");
    }
    out.push('}');
    out
}

/// The names of the columns of which something is so, as JSON.
fn list(table: &Table, is_so: impl Fn(usize, &Column) -> bool) -> Vec<String> {
    let columns = table.columns.iter().enumerate();
    let named = columns.filter(|(at, column)| is_so(*at, column));
    named.map(|(_, column)| quoted(column.name)).collect()
}

fn object(
    out: &mut String,
    table: &Table,
    row: &Row,
    keeps: impl Fn(usize, &Column, &Value) -> bool,
) {
    out.push('{');
    let mut is_first = true;
    for (at, (column, value)) in table.columns.iter().zip(row.iter()).enumerate() {
        if !keeps(at, column, value) {
            continue;
        }
        if !std::mem::take(&mut is_first) {
            out.push(',');
        }
        let _ = write!(out, "\"{}\":", column.name);
        match (value.as_deref(), column.kind) {
            (None, _) => out.push_str("null"),
            (Some(flag), Kind::Flag) => out.push_str(if flag == "t" { "true" } else { "false" }),
            (Some(text), _) => out.push_str(&quoted(text)),
        }
    }
    out.push('}');
}
