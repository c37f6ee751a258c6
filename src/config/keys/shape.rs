//! Whether every value has the shape of its key: text that can be passed on, a number, a list.

use toml::{Table, Value};

use super::super::ConfigError;
use super::{KEYS, Kind, table_at};

/// Checks every value's shape, and makes a list of a single text where a list is meant.
pub(super) fn check(root: &mut Table) -> Result<(), ConfigError> {
    for (name, value) in &*root {
        refuse_nul(name, value)?;
    }
    for (table, name, kind) in KEYS {
        let Some(inside) = table_at(root, table) else {
            continue;
        };
        let Value::Table(inside) = inside else {
            return Err(ConfigError::about(
                *table,
                format!("write [{table}] as a table"),
            ));
        };
        let Some(value) = inside.get_mut(*name) else {
            continue;
        };
        if let (Kind::Secrets | Kind::Words, Value::String(_)) = (kind, &*value) {
            *value = Value::Array(vec![value.clone()]);
        }
        let is_list = || {
            value
                .as_array()
                .is_some_and(|list| list.iter().all(Value::is_str))
        };
        let (fits, mend) = match kind {
            Kind::Text | Kind::Secret => (value.is_str(), "write text in quotation marks"),
            Kind::Number => (value.is_integer(), "write a whole number"),
            Kind::Flag => (value.is_bool(), "write true or false"),
            Kind::List => (is_list(), "write a list of text, such as [\"a\", \"b\"]"),
            Kind::Secrets | Kind::Words => (is_list(), "write text, or a list of text"),
        };
        let key = format!("{table}.{name}");
        match kind {
            _ if fits => check_range(&key, value)?,
            Kind::Secret | Kind::Secrets => return Err(ConfigError::about(key, mend)),
            _ => return Err(ConfigError::new(key, value, mend)),
        }
    }
    Ok(())
}

/// Refuses a NUL wherever text stands: no name of PostgreSQL's, or of anybody else whom we ask, holds one.
fn refuse_nul(key: &str, value: &Value) -> Result<(), ConfigError> {
    let has_nul = key.contains('\0') || value.as_str().is_some_and(|text| text.contains('\0'));
    if has_nul {
        // Without the value, which may be secret.
        let key = key.replace('\0', "\\u0000");
        return Err(ConfigError::about(key, "take the \\u0000 out of it"));
    }
    match value {
        Value::Table(inside) => inside
            .iter()
            .try_for_each(|(name, value)| refuse_nul(&format!("{key}.{name}"), value)),
        Value::Array(items) => items.iter().try_for_each(|item| refuse_nul(key, item)),
        _ => Ok(()),
    }
}

/// Numbers have a common range; the two that are narrower say so themselves.
fn check_range(key: &str, value: &Value) -> Result<(), ConfigError> {
    let Value::Integer(number) = value else {
        return Ok(());
    };
    let max = match key {
        "engine.threads" => 1024,
        "limits.connections_per_user" | "limits.connections_per_address" => i64::from(u16::MAX),
        _ => i64::from(u32::MAX),
    };
    match (0..=max).contains(number) {
        true => Ok(()),
        false => Err(ConfigError::new(
            key,
            number,
            format!("write a number from 0 to {max}"),
        )),
    }
}
