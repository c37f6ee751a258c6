//! `[organization]`, `[payload]`, `[batch]` and `[[route]]`: what may leave, to whom and in which shape,
//! as `replication` takes it.

use std::str::FromStr as _;

use replication::{
    Column, EventTypes, Numbers, Organisation, Route, Rules, Style, Template, Timestamps,
};
use wire::Name;

use super::raw::{self, Raw};
use super::{ConfigError, Identity, units};

/// The rules of the configuration.
///
/// # Errors
///
/// The first route that cannot be meant.
pub(super) fn rules(raw: &Raw, identity: &Identity) -> Result<Rules, ConfigError> {
    if raw.organization.columns.is_empty() {
        let mend = "name at least one column, such as \"organizationId\"";
        return Err(ConfigError::about("organization.columns", mend));
    }
    let rules = Rules {
        organisation_columns: raw.organization.columns.clone(),
        routes: raw.route.iter().map(route).collect::<Result<_, _>>()?,
        identity_tables: raw.organization.identity_tables.clone(),
        identity: identity.rules(),
        style: style(&raw.payload)?,
        event_bytes_max: event_bytes_max(&raw.payload.max_event_bytes, &raw.history.max_bytes)?,
        batch_over: raw.batch.over,
        ..Rules::default()
    };
    rules
        .check()
        .map_err(|error| ConfigError::about("[[route]]", error.to_string()))?;
    Ok(rules)
}

fn style(raw: &raw::Payload) -> Result<Style, ConfigError> {
    let numbers = match raw.numbers.as_str() {
        "string" => Numbers::String,
        "number" => Numbers::Number,
        other => {
            let mend = "write \"string\" (exact in a browser) or \"number\" (as to_jsonb)";
            return Err(ConfigError::new("payload.numbers", other, mend));
        }
    };
    let timestamps = match raw.timestamps.as_str() {
        "utc" => Timestamps::Utc,
        "local" => Timestamps::Local,
        other => {
            let mend = "write \"utc\" (with a Z at the end) or \"local\" (as to_jsonb)";
            return Err(ConfigError::new("payload.timestamps", other, mend));
        }
    };
    Ok(Style {
        numbers,
        timestamps,
    })
}

/// The largest event, which the log must be able to hold beside others: a quarter of the log is one
/// organisation's share, and a quarter of that is one event's.
fn event_bytes_max(text: &str, log: &str) -> Result<usize, ConfigError> {
    let key = "payload.max_event_bytes";
    let fault = |mend: &str| ConfigError::new(key, text, mend);
    let bytes = units::bytes(text).map_err(|mend| fault(&mend))?;
    // What is wrong with the log's size is said where that is read.
    let share = units::bytes(log).unwrap_or(u64::MAX) / 16;
    if bytes > share {
        return Err(fault("write at most a sixteenth of history.max_bytes"));
    }
    if !(EVENT_BYTES_MIN..=replication::limits::ROW_BYTES_MAX as u64).contains(&bytes) {
        return Err(fault("write a size from \"4KiB\" to \"16MiB\""));
    }
    Ok(usize::try_from(bytes).expect("it is at most 16 MiB"))
}

/// The least that an event may be long, in bytes: a truncated one must still have room.
const EVENT_BYTES_MIN: u64 = 4096;

fn route(raw: &raw::Route) -> Result<Route, ConfigError> {
    let fault = |key: &str, value: &str, mend: String| {
        ConfigError::new(format!("[[route]] {} {key}", raw.table), value, mend)
    };
    if raw.table.is_empty() {
        return Err(fault("table", "", "write the name of a table".to_owned()));
    }
    let name = |key: &'static str, text: &String| {
        Name::new(text).map_err(|error| fault(key, text, error.to_string()))
    };
    let roles = raw
        .roles
        .as_ref()
        .map(|roles| roles.iter().map(|role| name("roles", role)).collect());
    Ok(Route {
        types: match &raw.event_type {
            None => EventTypes::default(),
            Some(types) => {
                event_types(types).map_err(|(value, error)| fault("type", &value, error))?
            }
        },
        channel: raw
            .channel
            .as_ref()
            .map(|channel| name("channel", channel))
            .transpose()?,
        columns: raw.columns.as_ref().map(columns),
        organisation: raw
            .organization
            .as_ref()
            .map(|organization| match organization {
                raw::RouteOrganization::Column(column) => Organisation::Column(column.clone()),
                raw::RouteOrganization::Constant(one) => {
                    Organisation::Constant(one.constant.clone())
                }
            }),
        user: raw.user.clone(),
        roles: roles.transpose()?,
        ..Route::new(&raw.table)
    })
}

/// The error is the template's text, and what is wrong with it.
fn event_types(raw: &raw::RouteType) -> Result<EventTypes, (String, String)> {
    let template =
        |text: &String| Template::from_str(text).map_err(|error| (text.clone(), error.to_string()));
    let default = EventTypes::default();
    match raw {
        raw::RouteType::Uniform(text) => Ok(EventTypes::uniform(template(text)?)),
        raw::RouteType::PerAction(types) => Ok(EventTypes {
            insert: types.insert.as_ref().map_or(Ok(default.insert), template)?,
            update: types.update.as_ref().map_or(Ok(default.update), template)?,
            delete: types.delete.as_ref().map_or(Ok(default.delete), template)?,
            truncate: types
                .truncate
                .as_ref()
                .map_or(Ok(default.truncate), template)?,
        }),
    }
}

fn columns(raw: &raw::RouteColumns) -> Vec<Column> {
    match raw {
        raw::RouteColumns::Plain(names) => names
            .iter()
            .map(|name| Column {
                name: name.clone(),
                renamed: None,
            })
            .collect(),
        raw::RouteColumns::Renamed(pairs) => pairs
            .iter()
            .map(|(name, renamed)| Column {
                name: name.clone(),
                renamed: Some(renamed.clone()).filter(|renamed| renamed != name),
            })
            .collect(),
    }
}
