//! The environment over the file: each key's own variable, and those of other tools that say where the
//! database is.

use toml::{Table, Value};

use super::super::ConfigError;
use super::super::environment::{Environment, variable};
use super::{KEYS, Kind, LISTS};

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

fn set(root: &mut Table, table: &str, name: &str, value: Value) {
    let inside = root
        .entry(table)
        .or_insert_with(|| Value::Table(Table::new()));
    // A table that is something else is refused by its shape, later.
    if let Value::Table(inside) = inside {
        inside.insert(name.to_owned(), value);
    }
}

fn from_variable(variable: &str, text: &str, kind: Kind) -> Result<Value, ConfigError> {
    let is_toml_list = text.trim_start().starts_with('[');
    match kind {
        Kind::List | Kind::Secrets if is_toml_list => toml_value(variable, text),
        Kind::List => {
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
