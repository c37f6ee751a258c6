//! What is no key: refused in the file, warned of in the environment, in both cases with the nearest
//! that is one.

use toml::{Table, Value};

use super::super::ConfigError;
use super::super::environment::{Environment, variable};
use super::{KEYS, LISTS, OTHER_VARIABLES};

/// Refuses the first table and the first key that is none.
pub(super) fn refuse(root: &Table) -> Result<(), ConfigError> {
    refuse_in("", root)
}

/// Refuses what is no key of this table (`""` is the file itself), and of the tables in it.
fn refuse_in(path: &str, inside: &Table) -> Result<(), ConfigError> {
    let (tables, names) = (tables_in(path), names_in(path));
    for (name, value) in inside {
        let full = match path {
            "" => name.clone(),
            path => format!("{path}.{name}"),
        };
        let is_table = tables.contains(&name.as_str());
        match value {
            Value::Table(inside) if is_table && !LISTS.contains(&full.as_str()) => {
                refuse_in(&full, inside)?;
            }
            _ if is_table || names.contains(&name.as_str()) => {}
            Value::Table(_) | Value::Array(_) if path.is_empty() => {
                let mend = no_such("table", name, &tables);
                return Err(ConfigError::about(format!("[{full}]"), mend));
            }
            _ => {
                let known: Vec<&str> = names.iter().chain(&tables).copied().collect();
                let what = if path.is_empty() { "table" } else { "key" };
                return Err(ConfigError::about(full, no_such(what, name, &known)));
            }
        }
    }
    Ok(())
}

/// The names of the tables in this one.
fn tables_in(path: &str) -> Vec<&'static str> {
    let paths = KEYS.iter().map(|(table, ..)| *table);
    let mut tables: Vec<&str> = paths
        .chain(LISTS.iter().copied())
        .filter_map(|table| match path {
            "" => Some(table),
            path => table.strip_prefix(path)?.strip_prefix('.'),
        })
        .filter_map(|rest| rest.split('.').next())
        .collect();
    tables.sort_unstable();
    tables.dedup();
    tables
}

/// The names of the keys in this table.
fn names_in(path: &str) -> Vec<&'static str> {
    let inside = KEYS.iter().filter(|(table, ..)| *table == path);
    inside.map(|(_, name, _)| *name).collect()
}

fn no_such(what: &str, name: &str, known: &[&str]) -> String {
    let nearest = known
        .iter()
        .min_by_key(|candidate| distance(name, candidate));
    match nearest {
        Some(nearest) if distance(name, nearest) <= 1 + name.len() / 3 => {
            format!("there is no such {what}; did you mean {nearest}?")
        }
        _ => format!("there is no such {what}; there are {}", known.join(", ")),
    }
}

/// What looks like one of our variables and is none. Only warned of: Kubernetes sets some for a
/// service that is called `tailrace`.
pub(super) fn stray_variables(environment: &Environment) -> Vec<String> {
    let known: Vec<String> = KEYS
        .iter()
        .map(|(table, name, _)| variable(table, name))
        .chain(
            LISTS
                .iter()
                .map(|list| format!("TAILRACE_{}", list.to_uppercase())),
        )
        .chain(OTHER_VARIABLES.iter().map(|name| (*name).to_owned()))
        .collect();
    let names: Vec<&str> = known.iter().map(String::as_str).collect();
    let is_stray = |name: &&String| name.starts_with("TAILRACE_") && !known.contains(name);
    let stray = environment.names().filter(is_stray);
    stray
        .map(|name| format!("{name}: {}", no_such("variable", name, &names)))
        .collect()
}

/// How many single-character edits lie between two names (Levenshtein).
fn distance(one: &str, two: &str) -> usize {
    let mut row: Vec<usize> = (0..=two.chars().count()).collect();
    for (i, a) in one.chars().enumerate() {
        let mut diagonal = std::mem::replace(&mut row[0], i + 1);
        for (j, b) in two.chars().enumerate() {
            let substituted = diagonal + usize::from(a != b);
            diagonal = row[j + 1];
            row[j + 1] = substituted.min(diagonal + 1).min(row[j] + 1);
        }
    }
    row[two.chars().count()]
}
