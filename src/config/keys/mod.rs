//! Every key of the configuration by name: reads the file, lays the environment over it, and refuses
//! what is no key. What the values mean is `config/mod.rs`'s business.
//!
//! The rooms: `overlay` lays the environment over the file, `shape` holds every value against its
//! [`Kind`], `unknown` refuses what is no key and names the nearest one.

mod overlay;
mod shape;
mod unknown;

use toml::Table;

use super::ConfigError;
use super::environment::Environment;
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
    unknown::refuse(&root)?;
    overlay::lay(&mut root, environment)?;
    shape::check(&mut root)?;
    // What is left to go wrong is the shape of an entry of a list of tables, none of which is secret.
    let raw = Raw::deserialize_from(root)?;
    Ok((raw, unknown::stray_variables(environment)))
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

#[cfg(test)]
mod tests;
