//! The configuration of a node under test: what every test has, and what one changes.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::net::{Ipv4Addr, SocketAddr};

use super::Driver;
use super::ports::free_port;
use super::postgres::Database;

/// The secret of the application's sessions.
pub(crate) const SECRET: &str = "a secret of the application, of 32 bytes and more";
/// The key of the application's servers.
pub(crate) const SERVICE_KEY: &str = "service-key-of-the-tests-0123456789abcdef";
/// The key of its operators.
pub(crate) const ADMIN_KEY: &str = "admin-key-of-the-tests-0123456789abcdef";
/// The one foreign origin that may read streams.
pub(crate) const ALLOWED_ORIGIN: &str = "https://app.example";

/// A `tailrace.toml`.
#[derive(Clone)]
pub(crate) struct Config {
    values: BTreeMap<String, String>,
    tail: String,
    /// Where the node listens; `http.listen` says the same.
    pub(crate) address: SocketAddr,
    /// Where the node logs; `None` is a file of its own.
    pub(crate) log: Option<String>,
    /// How many file descriptors the node may hold; `None` is what the tests themselves may.
    pub(crate) descriptors: Option<u32>,
    /// The node's environment, beside the file.
    pub(crate) environment: Vec<(String, String)>,
}

impl Config {
    /// A node on this database that owns a free port.
    pub(crate) fn new(database: &Database, driver: Driver) -> Self {
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, free_port()));
        let config = Self {
            values: BTreeMap::new(),
            tail: String::new(),
            address,
            log: None,
            descriptors: None,
            environment: Vec::new(),
        };
        config
            .text("database.url", &database.url())
            .text("http.listen", &address.to_string())
            .set("http.allowed_origins", &format!("[\"{ALLOWED_ORIGIN}\"]"))
            .text("engine.driver", driver.setting())
            .set("engine.threads", "2")
            .set("auth.secret", &format!("[\"{SECRET}\"]"))
            .text("keys.service", SERVICE_KEY)
            .text("keys.admin", ADMIN_KEY)
            .text("membership.table", "OrganizationMember")
            // One user opens many streams here.
            .set("limits.connections_per_user", "0")
            .text("drain.notice", "300ms")
            .text("drain.spread", "300ms")
    }

    /// Sets `table.key`, or `table.room.key`, to a value as TOML writes it.
    pub(crate) fn set(mut self, name: &str, value: &str) -> Self {
        self.values.insert(name.into(), value.into());
        self
    }

    /// Sets `table.key` to a string.
    pub(crate) fn text(self, name: &str, value: &str) -> Self {
        self.set(name, &format!("\"{value}\""))
    }

    /// Takes a key away again.
    pub(crate) fn without(mut self, name: &str) -> Self {
        self.values.remove(name);
        self
    }

    /// Adds a variable to the node's environment.
    pub(crate) fn env(mut self, name: &str, value: &str) -> Self {
        self.environment.push((name.into(), value.into()));
        self
    }

    /// Adds `[[route]]` and `[[stream]]` entries.
    pub(crate) fn with(mut self, entries: &str) -> Self {
        self.tail.push_str(entries);
        self
    }

    /// Moves to a port of its own: the configuration of a second node.
    pub(crate) fn on_another_port(mut self) -> Self {
        self.address.set_port(free_port());
        let listen = self.address.to_string();
        self.text("http.listen", &listen)
    }

    /// The file.
    pub(crate) fn render(&self) -> String {
        let mut tables: BTreeMap<&str, String> = BTreeMap::new();
        for (name, value) in &self.values {
            let (table, key) = name.rsplit_once('.').expect("names are table.key");
            let keys = tables.entry(table).or_default();
            writeln!(keys, "{key} = {value}").expect("a String takes everything");
        }
        let mut file = String::new();
        for (table, keys) in &tables {
            writeln!(file, "[{table}]\n{keys}").expect("a String takes everything");
        }
        file + &self.tail
    }
}
