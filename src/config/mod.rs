//! The configuration of a node, checked: every value is what the node uses, none can be wrong.
//!
//! It is read from `tailrace.toml` and the environment (`keys`), as written (`raw`), and
//! checked here, key by key. The database is not asked anything: that is `node.rs`'s business.

mod database;
mod environment;
mod error;
mod history;
mod keys;
mod network;
mod raw;
mod routes;
pub(crate) mod units;

use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use auth::{Policy, Secret};
use replication::Rules;
use wire::http::OriginPolicy;

use database::Database;
pub(crate) use environment::Environment;
pub(crate) use error::ConfigError;
pub(crate) use history::{History, Slot};
pub(crate) use network::Network;
use raw::Raw;

/// The shortest key for a server: anything shorter can be guessed.
const KEY_BYTES_MIN: usize = 16;

/// The shortest secret for HS256 that is as strong as its hash (RFC 7518, 3.2).
const SECRET_BYTES_MIN: usize = 32;

/// The paths of streams where the configuration names none.
const STREAM_PATHS: [&str; 2] = ["/api/realtime/stream", "/api/stream"];

/// Everything an operator decides.
#[derive(Clone)]
pub(crate) struct Config {
    /// Where PostgreSQL is, and what of it is published.
    pub(crate) database: Database,
    /// The replication slot.
    pub(crate) slot: Slot,
    /// Where clients come from.
    pub(crate) http: Http,
    /// How many engine threads; 0 for one per core.
    pub(crate) engine_threads: u16,
    /// The kernel's interface.
    pub(crate) driver: driver::Choice,
    /// What one user, organisation or address may take.
    pub(crate) limits: Limits,
    /// How much of the past is kept.
    pub(crate) history: History,
    /// How a session is recognised.
    pub(crate) auth: Auth,
    /// The keys of servers.
    pub(crate) keys: Keys,
    /// The table of memberships; `None` where only a service key opens streams.
    pub(crate) membership: Option<Membership>,
    /// How the node takes its leave.
    pub(crate) drain: Drain,
    /// The paths of streams.
    pub(crate) streams: Vec<Stream>,
    /// What may leave, and to whom.
    pub(crate) rules: Rules,
    /// What is odd about the configuration and not wrong, for one log line each.
    pub(crate) warnings: Vec<String>,
}

/// `[http]`.
#[derive(Clone)]
pub(crate) struct Http {
    /// Where to listen.
    pub(crate) listen: SocketAddr,
    /// How long a stream may be silent.
    pub(crate) heartbeat: Duration,
    /// The origins whose pages may open streams: the site's own, and those that are allowed.
    pub(crate) origins: OriginPolicy,
    /// The proxies whose word on the client's address and the site's host is taken.
    pub(crate) trusted_proxies: Vec<Network>,
}

/// `[limits]`; 0 means no limit.
#[derive(Clone, Debug)]
pub(crate) struct Limits {
    /// Streams of one user.
    pub(crate) connections_per_user: u16,
    /// Streams of one organisation.
    pub(crate) connections_per_organization: u32,
    /// Streams of one address.
    pub(crate) connections_per_address: u16,
    /// Requests for streams, per address.
    pub(crate) connects_per_second: u32,
}

/// `[auth]`.
#[derive(Clone)]
pub(crate) struct Auth {
    /// Which sessions are accepted; without a secret, none.
    pub(crate) policy: Policy,
    /// The name of the session cookie.
    pub(crate) cookie: String,
}

/// `[keys]`.
#[derive(Clone)]
pub(crate) struct Keys {
    /// Opens streams of any organisation.
    pub(crate) service: Option<Secret>,
}

/// `[membership]`: names exactly as PostgreSQL holds them.
#[derive(Clone, Debug)]
pub(crate) struct Membership {
    /// The schema, where one is named.
    pub(crate) schema: Option<String>,
    /// The table.
    pub(crate) table: String,
    /// The column of the user.
    pub(crate) user: String,
    /// The column of the organisation.
    pub(crate) organization: String,
    /// The column of the role, where there is one.
    pub(crate) role: Option<String>,
}

/// `[drain]`.
#[derive(Clone, Debug)]
pub(crate) struct Drain {
    /// How long connections are still accepted, and softly refused.
    pub(crate) notice: Duration,
    /// Over how long the streams are closed.
    pub(crate) spread: Duration,
}

/// `[[stream]]`.
#[derive(Clone, Debug)]
pub(crate) struct Stream {
    /// The path, without query.
    pub(crate) path: String,
    /// The shape of its events.
    pub(crate) format: wire::Format,
    /// Whether temporary refusals are short event streams with status 200.
    pub(crate) soft_refusal: bool,
}

impl Config {
    /// Reads the file, if one is given, and the environment.
    ///
    /// # Errors
    ///
    /// The first key that cannot be used; the error names it, its value and the mend.
    pub(crate) fn load(
        path: Option<&Path>,
        environment: &Environment,
    ) -> Result<Self, ConfigError> {
        Self::from_text(&read_file(path)?, environment)
    }

    /// Reads the text of a file, and the environment.
    ///
    /// # Errors
    ///
    /// As for [`Self::load`].
    pub(crate) fn from_text(text: &str, environment: &Environment) -> Result<Self, ConfigError> {
        let (raw, warnings) = keys::read(text, environment)?;
        match locked_out(&raw) {
            Some(error) => Err(error),
            None => Self::check(raw, environment, warnings),
        }
    }

    /// Reads the file, if one is given, and the environment, for a look at the database: that nobody
    /// could open a stream yet is told beside it.
    ///
    /// # Errors
    ///
    /// As for [`Self::load`].
    pub(crate) fn survey(
        path: Option<&Path>,
        environment: &Environment,
    ) -> Result<(Self, Option<ConfigError>), ConfigError> {
        let (raw, warnings) = keys::read(&read_file(path)?, environment)?;
        let locked_out = locked_out(&raw);
        Ok((Self::check(raw, environment, warnings)?, locked_out))
    }

    fn check(
        raw: Raw,
        environment: &Environment,
        mut warnings: Vec<String>,
    ) -> Result<Self, ConfigError> {
        let membership = membership(&raw.membership)?;
        let auth = auth(&raw.auth, &mut warnings)?;
        let keys = keys_of(&raw.keys)?;
        let limits = limits(&raw.limits)?;
        Ok(Self {
            database: Database::check(&raw.database, environment, &mut warnings)?,
            slot: history::slot(&raw.slot)?,
            http: http(&raw.http)?,
            engine_threads: raw.engine.threads,
            driver: raw.engine.driver.parse().map_err(|_| {
                let mend = "write \"auto\", \"uring\" or \"epoll\"";
                ConfigError::new("engine.driver", &raw.engine.driver, mend)
            })?,
            limits,
            history: history::history(&raw.history)?,
            auth,
            keys,
            membership,
            drain: Drain {
                notice: duration("drain.notice", &raw.drain.notice)?,
                spread: duration("drain.spread", &raw.drain.spread)?,
            },
            streams: streams(&raw.stream)?,
            rules: routes::rules(&raw)?,
            warnings,
        })
    }
}

fn read_file(path: Option<&Path>) -> Result<String, ConfigError> {
    match path {
        None => Ok(String::new()),
        Some(path) => std::fs::read_to_string(path).map_err(|error| {
            let mend = format!(
                "cannot be read: {error}; say --config <file>, or make one with `tailrace init`"
            );
            ConfigError::about(path.display().to_string(), mend)
        }),
    }
}

/// Why nobody could open a stream, if so.
fn locked_out(raw: &Raw) -> Option<ConfigError> {
    if raw.auth.secret.is_empty() && raw.keys.service.is_empty() {
        let mend = "nobody could open a stream: set the secret your application signs its \
                    sessions with, or keys.service (`openssl rand -hex 32` makes one)";
        return Some(ConfigError::about("auth.secret", mend));
    }
    if !raw.auth.secret.is_empty() && raw.membership.table.is_empty() {
        let mend = "sessions need it: name the table that says who belongs to which \
                    organisation, such as \"OrganizationMember\"";
        return Some(ConfigError::about("membership.table", mend));
    }
    None
}

fn http(raw: &raw::Http) -> Result<Http, ConfigError> {
    let listen = raw.listen.parse().map_err(|_| {
        let mend = "write an address and a port, such as \"127.0.0.1:4000\" or \"[::]:4000\"";
        ConfigError::new("http.listen", &raw.listen, mend)
    })?;
    let heartbeat = duration("http.heartbeat", &raw.heartbeat)?;
    if heartbeat < Duration::from_millis(100) || heartbeat > Duration::from_secs(3600) {
        let mend = "write a time from \"100ms\" to \"1h\"; below the idle limit of your proxies";
        return Err(ConfigError::new("http.heartbeat", &raw.heartbeat, mend));
    }
    let origins = OriginPolicy::new(&raw.allowed_origins, &raw.public_url).map_err(|error| {
        ConfigError::about("http.allowed_origins, http.public_url", error.to_string())
    })?;
    let proxies = raw.trusted_proxies.iter().map(|text| {
        text.parse().map_err(|()| {
            let mend = "write an address or a network, such as \"10.0.0.0/8\" or \"::1\"";
            ConfigError::new("http.trusted_proxies", text, mend)
        })
    });
    Ok(Http {
        listen,
        heartbeat,
        origins,
        trusted_proxies: proxies.collect::<Result<_, _>>()?,
    })
}

fn limits(raw: &raw::Limits) -> Result<Limits, ConfigError> {
    let idle_close = duration("limits.idle_close", &raw.idle_close)?;
    if !idle_close.is_zero() {
        let mend = "streams are not closed for idleness by this version: write \"0s\"";
        return Err(ConfigError::new("limits.idle_close", &raw.idle_close, mend));
    }
    Ok(Limits {
        connections_per_user: raw.connections_per_user,
        connections_per_organization: raw.connections_per_organization,
        connections_per_address: raw.connections_per_address,
        connects_per_second: raw.connects_per_second,
    })
}

fn auth(raw: &raw::Auth, warnings: &mut Vec<String>) -> Result<Auth, ConfigError> {
    if raw.secret.iter().any(String::is_empty) {
        return Err(ConfigError::about(
            "auth.secret",
            "an empty secret is everybody's; remove it",
        ));
    }
    if raw
        .secret
        .iter()
        .any(|secret| secret.len() < SECRET_BYTES_MIN)
    {
        let text = "auth.secret: shorter than 32 bytes, so it is weaker than HS256 itself";
        warnings.push(text.to_owned());
    }
    if !auth::cookie::is_name(&raw.cookie) {
        let mend = "write the name of the session cookie: letters, digits, '-', '_', '.'";
        return Err(ConfigError::new("auth.cookie", &raw.cookie, mend));
    }
    if raw.user_claim.is_empty() {
        let mend = "write the claim that names the user, usually \"sub\"";
        return Err(ConfigError::new("auth.user_claim", &raw.user_claim, mend));
    }
    Ok(Auth {
        policy: Policy {
            secrets: raw
                .secret
                .iter()
                .map(|secret| Secret::new(secret))
                .collect(),
            user_claim: raw.user_claim.clone(),
            require_exp: raw.require_exp,
        },
        cookie: raw.cookie.clone(),
    })
}

fn keys_of(raw: &raw::Keys) -> Result<Keys, ConfigError> {
    let key = |name: &str, text: &str| match text.len() {
        0 => Ok(None),
        1..KEY_BYTES_MIN => {
            let mend =
                "too short to be safe: write at least 16 characters (`openssl rand -hex 32`)";
            Err(ConfigError::about(name, mend))
        }
        _ => Ok(Some(Secret::new(text))),
    };
    if !raw.service.is_empty() && raw.service == raw.admin {
        let mend = "the same as keys.service: a figure's reader would open any stream";
        return Err(ConfigError::about("keys.admin", mend));
    }
    // Checked though nothing asks for it yet, so that no weak one is in use when something does.
    key("keys.admin", &raw.admin)?;
    Ok(Keys {
        service: key("keys.service", &raw.service)?,
    })
}

fn membership(raw: &raw::Membership) -> Result<Option<Membership>, ConfigError> {
    if raw.table.is_empty() {
        return Ok(None);
    }
    for (name, value) in [("user", &raw.user), ("organization", &raw.organization)] {
        if value.is_empty() {
            let mend = "write the name of the column, as PostgreSQL holds it";
            return Err(ConfigError::new(format!("membership.{name}"), value, mend));
        }
    }
    let (schema, table) = match raw.table.split_once('.') {
        Some((schema, table)) => (Some(schema.to_owned()), table),
        None => (None, raw.table.as_str()),
    };
    Ok(Some(Membership {
        schema,
        table: table.to_owned(),
        user: raw.user.clone(),
        organization: raw.organization.clone(),
        role: Some(raw.role.clone()).filter(|role| !role.is_empty()),
    }))
}

fn streams(raw: &[raw::Stream]) -> Result<Vec<Stream>, ConfigError> {
    if raw.is_empty() {
        let shipped = |path: &&str| Stream {
            path: (*path).to_owned(),
            format: wire::Format::Event,
            soft_refusal: true,
        };
        return Ok(STREAM_PATHS.iter().map(shipped).collect());
    }
    let mut streams: Vec<Stream> = Vec::new();
    for entry in raw {
        let is_path = entry.path.starts_with('/')
            && entry
                .path
                .bytes()
                .all(|byte| byte.is_ascii_graphic() && !b"?#".contains(&byte));
        if !is_path || streams.iter().any(|stream| stream.path == entry.path) {
            let mend = "write a path such as \"/api/realtime/stream\", without query, once";
            return Err(ConfigError::new("[[stream]] path", &entry.path, mend));
        }
        if entry.format != "event" {
            let mend = "only \"event\" is served by this version";
            return Err(ConfigError::new("[[stream]] format", &entry.format, mend));
        }
        let soft_refusal = match entry.refusal.as_str() {
            "soft" => true,
            "status" => false,
            other => {
                let mend = "write \"soft\" (for a native EventSource) or \"status\"";
                return Err(ConfigError::new("[[stream]] refusal", other, mend));
            }
        };
        let path = entry.path.clone();
        streams.push(Stream {
            path,
            format: wire::Format::Event,
            soft_refusal,
        });
    }
    Ok(streams)
}

fn duration(key: &str, text: &str) -> Result<Duration, ConfigError> {
    units::duration(text).map_err(|mend| ConfigError::new(key, text, mend))
}

fn bytes(key: &str, text: &str) -> Result<u64, ConfigError> {
    units::bytes(text).map_err(|mend| ConfigError::new(key, text, mend))
}

#[cfg(test)]
mod tests;
