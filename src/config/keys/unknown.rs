//! What is no key: refused in the file, warned of in the environment, in both cases with the nearest
//! that is one.

use toml::{Table, Value};

use super::super::ConfigError;
use super::super::environment::{Environment, variable};
use super::{KEYS, LISTS, OTHER_VARIABLES};

/// Refuses the first table and the first key that is none.
pub(super) fn refuse(root: &Table) -> Result<(), ConfigError> {
    let mut tables: Vec<&str> = KEYS
        .iter()
        .map(|(table, ..)| *table)
        .chain(LISTS.iter().copied())
        .collect();
    tables.dedup();
    for (table, value) in root {
        if !tables.contains(&table.as_str()) {
            return Err(ConfigError::about(
                format!("[{table}]"),
                no_such("table", table, &tables),
            ));
        }
        let Value::Table(inside) = value else {
            continue;
        };
        let names: Vec<&str> = KEYS
            .iter()
            .filter(|(of, ..)| of == table)
            .map(|(_, name, _)| *name)
            .collect();
        if let Some(name) = inside.keys().find(|name| !names.contains(&name.as_str())) {
            return Err(ConfigError::about(
                format!("{table}.{name}"),
                no_such("key", name, &names),
            ));
        }
    }
    Ok(())
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
