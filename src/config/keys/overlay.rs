//! The environment over the file: each key's own variable, and those of other tools that say where the
//! database is.

use toml::{Table, Value};

use super::super::ConfigError;
use super::super::environment::{Environment, variable};
use super::{KEYS, Kind, LISTS, MEMBERSHIP_VARIABLE};

/// Lays every variable that is set over the key it names.
pub(super) fn lay(root: &mut Table, environment: &Environment) -> Result<(), ConfigError> {
    for (table, name, kind) in KEYS {
        let variable = variable(table, name);
        let Some(text) = environment.get(&variable) else {
            continue;
        };
        set(root, table, name, from_variable(&variable, text, *kind)?);
    }
    for list in LISTS {
        let variable = format!("TAILRACE_{}", list.to_uppercase());
        if let Some(text) = environment.get(&variable) {
            root.insert((*list).to_owned(), toml_value(&variable, text)?);
        }
    }
    let has_url = root
        .get("database")
        .and_then(|database| database.get("url"))
        .is_some();
    if !has_url && let Some(url) = environment.database_url() {
        set(root, "database", "url", Value::String(url));
    }
    Ok(())
}

/// `membership = "none"`, in the file or as a variable, is `none = true` in its table.
pub(super) fn spell_out_membership(
    root: &mut Table,
    environment: &Environment,
) -> Result<(), ConfigError> {
    let said = match (environment.get(MEMBERSHIP_VARIABLE), root.get("membership")) {
        (Some(text), _) => text.to_owned(),
        (None, Some(Value::String(text))) => text.clone(),
        _ => return Ok(()),
    };
    if said != "none" {
        let mend = "write \"none\", or a table: [membership] with table = \"OrganizationMember\"";
        return Err(ConfigError::new("membership", said, mend));
    }
    let mut none = Table::new();
    none.insert("none".to_owned(), Value::Boolean(true));
    root.insert("membership".to_owned(), Value::Table(none));
    Ok(())
}

fn set(root: &mut Table, table: &str, name: &str, value: Value) {
    let (first, rest) = table.split_once('.').unwrap_or((table, ""));
    let inside = root
        .entry(first)
        .or_insert_with(|| Value::Table(Table::new()));
    // A table that is something else is refused by its shape, later.
    match (inside, rest) {
        (Value::Table(inside), "") => {
            inside.insert(name.to_owned(), value);
        }
        (Value::Table(inside), rest) => set(inside, rest, name, value),
        _ => {}
    }
}

fn from_variable(variable: &str, text: &str, kind: Kind) -> Result<Value, ConfigError> {
    let is_toml_list = text.trim_start().starts_with('[');
    match kind {
        Kind::List | Kind::Words | Kind::Secrets if is_toml_list => toml_value(variable, text),
        Kind::List | Kind::Words => {
            let items = text
                .split(',')
                .map(str::trim)
                .filter(|item| !item.is_empty());
            Ok(Value::Array(
                items.map(|item| Value::String(item.to_owned())).collect(),
            ))
        }
        Kind::Text | Kind::Secret | Kind::Secrets => Ok(Value::String(text.to_owned())),
        Kind::Number => text
            .parse()
            .map(Value::Integer)
            .map_err(|_| ConfigError::new(variable, text, "write a whole number")),
        Kind::Flag => text
            .parse()
            .map(Value::Boolean)
            .map_err(|_| ConfigError::new(variable, text, "write true or false")),
    }
}

fn toml_value(variable: &str, text: &str) -> Result<Value, ConfigError> {
    let mend = "write a TOML list, such as '[\"a\", \"b\"]' or '[{path = \"/events\"}]'";
    let parsed = format!("value = {text}").parse::<Table>().ok();
    parsed
        .and_then(|mut table| table.remove("value"))
        .filter(Value::is_array)
        .ok_or_else(|| ConfigError::about(variable, mend))
}
