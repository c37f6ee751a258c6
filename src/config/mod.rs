//! The configuration of a node, checked: every value is what the node uses, none can be wrong.
//!
//! It is read from `tailrace.toml` and the environment (`keys`), as written (`raw`), and
//! checked here, key by key. The database is not asked anything: that is `node.rs`'s business.

mod auth;
mod database;
mod environment;
mod error;
mod history;
mod identity;
mod keys;
mod limits;
mod network;
mod raw;
mod rights;
mod routes;
mod streams;
pub(crate) mod units;

use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use replication::Rules;
use wire::http::OriginPolicy;

pub(crate) use auth::{Auth, Introspection, JwksSource, Mode, OwnTokens, SessionRows};
use database::Database;
pub(crate) use environment::Environment;
pub(crate) use error::ConfigError;
pub(crate) use history::{History, Slot};
pub(crate) use identity::{
    Found, Identity, Membership, MembershipSource, OrganizationTable, SessionTable, TableName,
    UserTable,
};
pub(crate) use limits::Limits;
pub(crate) use network::Network;
use raw::Raw;
pub(crate) use rights::{Keys, Rights};
pub(crate) use streams::Stream;

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
    /// What says who somebody is and where they belong.
    pub(crate) identity: Identity,
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

/// `[drain]`.
#[derive(Clone, Debug)]
pub(crate) struct Drain {
    /// How long connections are still accepted, and softly refused.
    pub(crate) notice: Duration,
    /// Over how long the streams are closed.
    pub(crate) spread: Duration,
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
        let (raw, mut warnings) = keys::read(text, environment)?;
        let people = People::check(&raw, environment, &mut warnings)?;
        match people.locked_out() {
            Some(error) => Err(error),
            None => Self::check(&raw, people, environment, warnings),
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
        let (raw, mut warnings) = keys::read(&read_file(path)?, environment)?;
        let people = People::check(&raw, environment, &mut warnings)?;
        let locked_out = people.locked_out();
        let config = Self::check(&raw, people, environment, warnings)?;
        Ok((config, locked_out))
    }

    fn check(
        raw: &Raw,
        people: People,
        environment: &Environment,
        mut warnings: Vec<String>,
    ) -> Result<Self, ConfigError> {
        let People {
            auth,
            keys,
            identity,
        } = people;
        Ok(Self {
            database: Database::check(&raw.database, environment, &mut warnings)?,
            slot: history::slot(&raw.slot)?,
            http: http(&raw.http)?,
            engine_threads: raw.engine.threads,
            driver: raw.engine.driver.parse().map_err(|_| {
                let mend = "write \"auto\", \"uring\" or \"epoll\"";
                ConfigError::new("engine.driver", &raw.engine.driver, mend)
            })?,
            limits: limits::limits(&raw.limits)?,
            history: history::history(&raw.history)?,
            auth,
            keys,
            drain: Drain {
                notice: duration("drain.notice", &raw.drain.notice)?,
                spread: duration("drain.spread", &raw.drain.spread)?,
            },
            streams: streams::streams(&raw.stream)?,
            rules: routes::rules(raw, &identity)?,
            identity,
            warnings,
        })
    }
}

/// Who may come, and by what: what decides whether anybody can.
struct People {
    auth: Auth,
    keys: Keys,
    identity: Identity,
}

impl People {
    fn check(
        raw: &Raw,
        environment: &Environment,
        warnings: &mut Vec<String>,
    ) -> Result<Self, ConfigError> {
        let auth = auth::auth(raw, environment, warnings)?;
        Ok(Self {
            keys: rights::keys(raw)?,
            identity: identity::identity(raw, &auth.modes)?,
            auth,
        })
    }

    /// Why nobody could open a stream, if so.
    fn locked_out(&self) -> Option<ConfigError> {
        if self.auth.modes.is_empty() && self.keys.reader().is_none() {
            let mend = "nobody could open a stream: set the secret your application signs its \
                        sessions with, or another method of [auth], or keys.service (`openssl rand \
                        -hex 32` makes one)";
            return Some(ConfigError::about("auth.secret", mend));
        }
        if !self.auth.modes.is_empty() && self.identity.membership.is_none() {
            let mend = "sessions need it: name the table that says who belongs to which \
                        organisation, such as \"OrganizationMember\", or the claim of the session, \
                        or write membership = \"none\"";
            return Some(ConfigError::about("membership.table", mend));
        }
        None
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

fn duration(key: &str, text: &str) -> Result<Duration, ConfigError> {
    units::duration(text).map_err(|mend| ConfigError::new(key, text, mend))
}

fn bytes(key: &str, text: &str) -> Result<u64, ConfigError> {
    units::bytes(text).map_err(|mend| ConfigError::new(key, text, mend))
}

#[cfg(test)]
mod tests;
