//! Every key of the configuration by name: reads the file, lays the environment over it, and refuses
//! what is no key. What the values mean is `config/mod.rs`'s business.
//!
//! The rooms: `overlay` lays the environment over the file, `shape` holds every value against its
//! [`Kind`], `unknown` refuses what is no key and names the nearest one.

mod overlay;
mod shape;
mod unknown;

use toml::{Table, Value};

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
    /// One text or a list of them. In the environment: as a list.
    Words,
    /// Text that is never shown.
    Secret,
    /// One secret or a list of them. In the environment: one, or a TOML list.
    Secrets,
}

/// Every key that stands in a table. A table's name may be a path, `auth.jwks`.
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
    ("limits", "connections", Kind::Number),
    ("limits", "handshakes", Kind::Number),
    ("limits", "publish_per_minute", Kind::Number),
    ("limits", "idle_close", Kind::Text),
    ("limits", "close_oldest", Kind::Flag),
    ("history", "window", Kind::Text),
    ("history", "wal_bytes", Kind::Text),
    ("history", "max_bytes", Kind::Text),
    ("auth", "mode", Kind::Words),
    ("auth", "secret", Kind::Secrets),
    ("auth", "cookie", Kind::Text),
    ("auth", "issuer", Kind::Text),
    ("auth", "audience", Kind::Words),
    ("auth", "user_claim", Kind::Words),
    ("auth", "require_exp", Kind::Flag),
    ("auth", "grace", Kind::Text),
    ("auth.nextauth", "secret", Kind::Secrets),
    ("auth.nextauth", "cookie", Kind::Text),
    ("auth.authjs", "secret", Kind::Secrets),
    ("auth.authjs", "cookie", Kind::Text),
    ("auth.auth0", "secret", Kind::Secrets),
    ("auth.auth0", "cookie", Kind::Text),
    ("auth.better_auth", "secret", Kind::Secrets),
    ("auth.better_auth", "cookie", Kind::Text),
    ("auth.better_auth", "accept_previous_secrets", Kind::Flag),
    ("auth.jwks", "url", Kind::Text),
    ("auth.jwks", "file", Kind::Text),
    ("auth.jwks", "issuer", Kind::Text),
    ("auth.jwks", "audience", Kind::Words),
    ("auth.jwks", "authorized_parties", Kind::Words),
    ("auth.jwks", "cookie", Kind::Text),
    ("auth.introspection", "url", Kind::Text),
    ("auth.introspection", "cookies", Kind::Words),
    ("auth.introspection", "user", Kind::Words),
    ("auth.introspection", "session", Kind::Words),
    ("auth.introspection", "expires", Kind::Words),
    ("auth.introspection", "organization", Kind::Text),
    ("auth.introspection", "ttl", Kind::Text),
    ("auth.introspection", "timeout", Kind::Text),
    ("session", "table", Kind::Text),
    ("session", "id", Kind::Text),
    ("session", "token", Kind::Text),
    ("session", "user", Kind::Text),
    ("session", "expires", Kind::Text),
    ("session", "active_organization", Kind::Text),
    ("user", "table", Kind::Text),
    ("user", "id", Kind::Text),
    ("user", "banned", Kind::Text),
    ("user", "banned_until", Kind::Text),
    ("keys", "service", Kind::Secret),
    ("keys", "admin", Kind::Secret),
    ("membership", "table", Kind::Text),
    ("membership", "user", Kind::Text),
    ("membership", "organization", Kind::Text),
    ("membership", "role", Kind::Text),
    ("membership", "active", Kind::Text),
    ("membership", "max", Kind::Number),
    ("membership", "claim", Kind::Text),
    ("membership", "role_claim", Kind::Text),
    ("membership", "none", Kind::Flag),
    ("organization", "columns", Kind::List),
    ("organization", "identity_tables", Kind::List),
    ("organization", "table", Kind::Text),
    ("organization", "id", Kind::Text),
    ("payload", "numbers", Kind::Text),
    ("payload", "timestamps", Kind::Text),
    ("payload", "max_event_bytes", Kind::Text),
    ("batch", "over", Kind::Number),
    ("drain", "notice", Kind::Text),
    ("drain", "spread", Kind::Text),
];

/// The lists of tables. In the environment: `TAILRACE_ROUTE='[{table = "Property"}]'`.
pub(super) const LISTS: &[&str] = &["stream", "route", "key"];

/// `TAILRACE_MEMBERSHIP=none`.
const MEMBERSHIP_VARIABLE: &str = "TAILRACE_MEMBERSHIP";

/// Variables that begin like ours and are no keys.
const OTHER_VARIABLES: [&str; 3] = ["TAILRACE_LOG", "TAILRACE_POSTGRES_BIN", MEMBERSHIP_VARIABLE];

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
    overlay::spell_out_membership(&mut root, environment)?;
    unknown::refuse(&root)?;
    overlay::lay(&mut root, environment)?;
    shape::check(&mut root)?;
    // What is left to go wrong is the shape of an entry of a list of tables.
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
                let said = match *list {
                    // What TOML says may quote the value, and this one is secret.
                    "key" => {
                        "an entry is secret = \"...\" and rights = [\"read\", \"publish\", \"admin\"], \
                         and nothing else"
                    }
                    _ => error.message().trim(),
                };
                ConfigError::about(format!("[[{list}]]"), said)
            })?;
        }
        let fault = |error: toml::de::Error| {
            ConfigError::about("configuration", error.message().trim().to_owned())
        };
        root.try_into().map_err(fault)
    }
}

/// The table of this path, such as `auth.jwks`, where the file has it.
fn table_at<'a>(root: &'a mut Table, path: &str) -> Option<&'a mut Value> {
    let (first, rest) = path.split_once('.').unwrap_or((path, ""));
    match (root.get_mut(first)?, rest) {
        (value, "") => Some(value),
        (Value::Table(inside), rest) => table_at(inside, rest),
        // What stands there instead is refused by its own shape.
        _ => None,
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
