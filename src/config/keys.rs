//! Every key of the configuration by name: reads the file, lays the environment over it, and refuses
//! what is no key. What the values mean is `mod.rs`'s business.

use toml::{Table, Value};

use super::ConfigError;
use super::environment::{Environment, variable};
use super::raw::Raw;

/// The shape of a key's value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Text,
    Number,
    Flag,
    /// A list of text. In the environment: separated by commas, or as TOML.
    List,
    /// Text that is never shown.
    Secret,
    /// One secret or a list of them. In the environment: one, or a TOML list.
    Secrets,
}

/// Every key that stands in a table.
pub(super) const KEYS: &[(&str, &str, Kind)] = &[
    ("database", "url", Kind::Secret),
    ("database", "publication", Kind::Text),
    ("slot", "mode", Kind::Text),
    ("slot", "generation", Kind::Number),
    ("slot", "accept_unbounded", Kind::Flag),
    ("http", "listen", Kind::Text),
    ("http", "heartbeat", Kind::Text),
    ("http", "allowed_origins", Kind::List),
    ("http", "public_url", Kind::List),
    ("http", "trusted_proxies", Kind::List),
    ("engine", "threads", Kind::Number),
    ("engine", "driver", Kind::Text),
    ("limits", "connections_per_user", Kind::Number),
    ("limits", "connections_per_organization", Kind::Number),
    ("limits", "connections_per_address", Kind::Number),
    ("limits", "connects_per_second", Kind::Number),
    ("limits", "publish_per_minute", Kind::Number),
    ("limits", "idle_close", Kind::Text),
    ("history", "window", Kind::Text),
    ("history", "wal_bytes", Kind::Text),
    ("history", "max_bytes", Kind::Text),
    ("auth", "secret", Kind::Secrets),
    ("auth", "cookie", Kind::Text),
    ("auth", "user_claim", Kind::Text),
    ("auth", "require_exp", Kind::Flag),
    ("keys", "service", Kind::Secret),
    ("keys", "admin", Kind::Secret),
    ("membership", "table", Kind::Text),
    ("membership", "user", Kind::Text),
    ("membership", "organization", Kind::Text),
    ("membership", "role", Kind::Text),
    ("organization", "columns", Kind::List),
    ("organization", "identity_tables", Kind::List),
    ("payload", "numbers", Kind::Text),
    ("payload", "timestamps", Kind::Text),
    ("payload", "max_event_bytes", Kind::Text),
    ("batch", "over", Kind::Number),
    ("drain", "notice", Kind::Text),
    ("drain", "spread", Kind::Text),
];

/// The lists of tables. In the environment: `TAILRACE_ROUTE='[{table = "Property"}]'`.
pub(super) const LISTS: &[&str] = &["stream", "route"];

/// Variables that begin like ours and are no keys.
const OTHER_VARIABLES: [&str; 2] = ["TAILRACE_LOG", "TAILRACE_POSTGRES_BIN"];

/// Reads the configuration: the file's text, with the environment over it. The strings are warnings:
/// variables that look like ours and are not.
///
/// # Errors
///
/// The first key that is unknown or has a value of the wrong shape.
pub(super) fn read(
    text: &str,
    environment: &Environment,
) -> Result<(Raw, Vec<String>), ConfigError> {
    let mut root = parse(text)?;
    refuse_unknown(&root)?;
    overlay(&mut root, environment)?;
    check_shapes(&mut root)?;
    // What is left to go wrong is the shape of an entry of a list of tables, none of which is secret.
    let raw = Raw::deserialize_from(root)?;
    Ok((raw, stray_variables(environment)))
}

impl Raw {
    fn deserialize_from(root: Table) -> Result<Self, ConfigError> {
        for list in LISTS {
            // Alone first, so that the error can name the list.
            let mut one = Table::new();
            if let Some(value) = root.get(*list) {
                one.insert((*list).to_owned(), value.clone());
            }
            one.try_into::<Self>().map_err(|error| {
                ConfigError::about(format!("[[{list}]]"), error.message().trim().to_owned())
            })?;
        }
        let fault = |error: toml::de::Error| {
            ConfigError::about("configuration", error.message().trim().to_owned())
        };
        root.try_into().map_err(fault)
    }
}

/// The parser's own message quotes the line, which may hold a secret: only its place is told.
fn parse(text: &str) -> Result<Table, ConfigError> {
    text.parse::<Table>().map_err(|error| {
        let start = error.span().map_or(0, |span| span.start);
        let line = 1 + text
            .bytes()
            .take(start)
            .filter(|byte| *byte == b'\n')
            .count();
        ConfigError::about(
            format!("line {line} of the configuration"),
            format!("not TOML: {}", error.message()),
        )
    })
}

fn refuse_unknown(root: &Table) -> Result<(), ConfigError> {
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

fn overlay(root: &mut Table, environment: &Environment) -> Result<(), ConfigError> {
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

/// Checks every value's shape, and makes a single secret a list of one.
fn check_shapes(root: &mut Table) -> Result<(), ConfigError> {
    for (table, name, kind) in KEYS {
        let Some(inside) = root.get_mut(*table) else {
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
        if let (Kind::Secrets, Value::String(_)) = (kind, &*value) {
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
            Kind::Secrets => (is_list(), "write text, or a list of text"),
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

/// What looks like one of our variables and is none. Only warned of: Kubernetes sets some for a
/// service that is called `tailrace`.
fn stray_variables(environment: &Environment) -> Vec<String> {
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

#[cfg(test)]
mod tests {
    use super::*;

    fn environment(pairs: &[(&str, &str)]) -> Environment {
        pairs
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
            .collect()
    }

    fn read_text(text: &str) -> Result<Raw, ConfigError> {
        read(text, &Environment::default()).map(|(raw, _)| raw)
    }

    fn error(text: &str) -> String {
        match read_text(text) {
            Ok(_) => panic!("accepted {text:?}"),
            Err(error) => error.to_string(),
        }
    }

    #[test]
    fn the_list_of_keys_is_what_the_tables_hold() {
        let Value::Table(root) = Value::try_from(Raw::default()).unwrap() else {
            unreachable!()
        };
        let mut held: Vec<(String, String)> = Vec::new();
        for (table, inside) in &root {
            match inside {
                Value::Table(inside) => {
                    held.extend(inside.keys().map(|name| (table.clone(), name.clone())));
                }
                _ => assert!(LISTS.contains(&table.as_str()), "{table}"),
            }
        }
        let mut listed: Vec<(String, String)> = KEYS
            .iter()
            .map(|(table, name, _)| ((*table).into(), (*name).into()))
            .collect();
        held.sort();
        listed.sort();
        assert_eq!(held, listed);
    }

    #[test]
    fn nothing_said_is_the_defaults() {
        assert!(read_text("").unwrap() == Raw::default());
    }

    #[test]
    fn every_key_has_an_environment_name_that_counts_more_than_the_file() {
        for (table, name, kind) in KEYS {
            let values: &[&str] = match kind {
                Kind::Number => &["7"],
                // One of them is the default.
                Kind::Flag => &["false", "true"],
                _ => &["text"],
            };
            let variable = variable(table, name);
            let changes = |value: &&str| {
                let (raw, warnings) = read("", &environment(&[(&variable, value)])).unwrap();
                assert_eq!(warnings, Vec::<String>::new());
                raw != Raw::default()
            };
            assert!(values.iter().any(changes), "{variable} changes nothing");
        }
        let file = "[limits]\nconnections_per_user = 4\n[http]\nallowed_origins = [\"a\"]";
        let over = environment(&[
            ("TAILRACE_LIMITS_CONNECTIONS_PER_USER", "5"),
            ("TAILRACE_HTTP_ALLOWED_ORIGINS", "b, c"),
            ("TAILRACE_STREAM", "[{path = \"/events\"}]"),
        ]);
        let (raw, _) = read(file, &over).unwrap();
        assert_eq!(raw.limits.connections_per_user, 5);
        assert_eq!(raw.http.allowed_origins, ["b", "c"]);
        assert_eq!(raw.stream[0].path, "/events");
    }

    #[test]
    fn the_database_is_found_where_other_tools_name_it() {
        let url = |file: &str, pairs: &[(&str, &str)]| {
            read(file, &environment(pairs)).unwrap().0.database.url
        };
        let both = [("DATABASE_URL", "pooled"), ("DIRECT_URL", "direct")];
        assert_eq!(url("", &both), "direct");
        assert_eq!(url("", &both[..1]), "pooled");
        let file = "[database]\nurl = \"file\"";
        assert_eq!(url(file, &both), "file");
        assert_eq!(
            url(file, &[("TAILRACE_DATABASE_URL", "ours"), both[0]]),
            "ours"
        );
    }

    #[test]
    fn an_unknown_key_is_refused_with_the_nearest_one() {
        assert_eq!(
            error("[http]\nheartbaet = \"25s\""),
            "http.heartbaet: there is no such key; did you mean heartbeat?"
        );
        assert_eq!(
            error("[htp]"),
            "[htp]: there is no such table; did you mean http?"
        );
        assert!(error("[slot]\nflavour = 1").contains("there are mode, generation"));
        assert!(error("[[stream]]\npath = \"/x\"\nformt = \"event\"").starts_with("[[stream]]: "));
        assert!(error("[[route]]\ntable = \"T\"\ncolour = 1").contains("colour"));
    }

    #[test]
    fn a_wrong_shape_names_key_value_and_mend() {
        assert_eq!(
            error("[limits]\nconnections_per_user = \"3\""),
            "limits.connections_per_user = \"\\\"3\\\"\": write a whole number"
        );
        assert!(error("[limits]\nconnections_per_user = -1").contains("from 0 to 65535"));
        assert!(error("[http]\nallowed_origins = \"x\"").contains("write a list"));
        assert!(error("http = 1").contains("write [http] as a table"));
    }

    #[test]
    fn no_error_shows_a_secret() {
        let texts = [
            "[auth]\nsecret = 123456789",
            "[auth]\nsecret = \"123456789",
            "[auth]\nsecret = [123456789]",
            "[database]\nurl = 123456789",
            "[keys]\nservice = [\"123456789\"]",
            "[keys]\nservice = 123456789 x",
        ];
        for text in texts {
            let error = error(text);
            assert!(!error.contains("123456789"), "{error}");
        }
    }

    #[test]
    fn a_stray_variable_is_warned_of() {
        let (_, warnings) = read("", &environment(&[("TAILRACE_HTTP_LISTN", "x")])).unwrap();
        assert_eq!(warnings.len(), 1);
        assert!(
            warnings[0].contains("TAILRACE_HTTP_LISTEN"),
            "{}",
            warnings[0]
        );
    }
}
