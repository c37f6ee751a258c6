//! The configuration as it is written: text, numbers and lists, with the defaults. Nothing here is
//! checked beyond its shape; `config/mod.rs` turns it into what the node uses, and `keys` reads it.

mod identity;
mod routes;

pub(crate) use identity::{Auth, Introspection, Jwks, Key, Keys, Membership, Session, User};
pub(crate) use routes::{Route, RouteColumns, RouteOrganization, RouteType};

use serde::{Deserialize, Serialize};

/// The whole file.
#[derive(Clone, Default, PartialEq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Raw {
    pub(crate) database: Database,
    pub(crate) slot: Slot,
    pub(crate) http: Http,
    pub(crate) engine: Engine,
    pub(crate) limits: Limits,
    pub(crate) history: History,
    pub(crate) auth: Auth,
    pub(crate) keys: Keys,
    pub(crate) session: Session,
    pub(crate) user: User,
    pub(crate) membership: Membership,
    pub(crate) organization: Organization,
    pub(crate) payload: Payload,
    pub(crate) batch: Batch,
    pub(crate) drain: Drain,
    pub(crate) stream: Vec<Stream>,
    pub(crate) route: Vec<Route>,
    pub(crate) key: Vec<Key>,
}

/// `[database]`: where PostgreSQL is, and what of it is published.
#[derive(Clone, PartialEq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Database {
    pub(crate) url: String,
    pub(crate) publication: String,
}

impl Default for Database {
    fn default() -> Self {
        Self {
            url: String::new(),
            publication: "tailrace".into(),
        }
    }
}

/// `[slot]`: the replication slot.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Slot {
    pub(crate) mode: String,
    pub(crate) generation: u32,
    pub(crate) accept_unbounded: bool,
}

impl Default for Slot {
    fn default() -> Self {
        Self {
            mode: "anchor".into(),
            generation: 0,
            accept_unbounded: false,
        }
    }
}

/// `[http]`: where clients come from.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Http {
    pub(crate) listen: String,
    pub(crate) heartbeat: String,
    pub(crate) allowed_origins: Vec<String>,
    pub(crate) public_url: Vec<String>,
    pub(crate) trusted_proxies: Vec<String>,
}

impl Default for Http {
    fn default() -> Self {
        Self {
            listen: "127.0.0.1:4000".into(),
            heartbeat: "25s".into(),
            allowed_origins: Vec::new(),
            public_url: Vec::new(),
            trusted_proxies: Vec::new(),
        }
    }
}

/// `[engine]`: threads and the kernel's interface.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Engine {
    pub(crate) threads: u16,
    pub(crate) driver: String,
}

impl Default for Engine {
    fn default() -> Self {
        Self {
            threads: 0,
            driver: "auto".into(),
        }
    }
}

/// `[limits]`: what one user, organisation or address may take. 0 means no limit.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Limits {
    pub(crate) connections_per_user: u16,
    pub(crate) connections_per_organization: u32,
    pub(crate) connections_per_address: u16,
    pub(crate) connects_per_second: u32,
    pub(crate) connections: u32,
    pub(crate) handshakes: u32,
    pub(crate) publish_per_minute: u32,
    pub(crate) idle_close: String,
    pub(crate) close_oldest: bool,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections_per_user: 3,
            connections_per_organization: 0,
            connections_per_address: 0,
            connects_per_second: 0,
            connections: 0,
            handshakes: 16_384,
            publish_per_minute: 100,
            idle_close: "0s".into(),
            close_oldest: false,
        }
    }
}

/// `[history]`: how much of the past is kept.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct History {
    pub(crate) window: String,
    pub(crate) wal_bytes: String,
    pub(crate) max_bytes: String,
}

impl Default for History {
    fn default() -> Self {
        Self {
            window: "5m".into(),
            wal_bytes: "512MiB".into(),
            max_bytes: "256MiB".into(),
        }
    }
}

/// `[organization]`: how a row is told to belong to one.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Organization {
    pub(crate) columns: Vec<String>,
    pub(crate) identity_tables: Vec<String>,
    pub(crate) table: String,
    pub(crate) id: String,
}

impl Default for Organization {
    fn default() -> Self {
        let rules = replication::Rules::default();
        Self {
            columns: rules.organisation_columns,
            identity_tables: rules.identity_tables,
            table: String::new(),
            id: "id".into(),
        }
    }
}

/// `[payload]`: how rows are written.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Payload {
    pub(crate) numbers: String,
    pub(crate) timestamps: String,
    pub(crate) max_event_bytes: String,
}

impl Default for Payload {
    fn default() -> Self {
        Self {
            numbers: "string".into(),
            timestamps: "utc".into(),
            max_event_bytes: "1MiB".into(),
        }
    }
}

/// `[batch]`: when many changes become few events.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Batch {
    pub(crate) over: u32,
}

/// `[drain]`: how the node takes its leave.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Drain {
    pub(crate) notice: String,
    pub(crate) spread: String,
}

impl Default for Drain {
    fn default() -> Self {
        Self {
            notice: "5s".into(),
            spread: "20s".into(),
        }
    }
}

/// `[[stream]]`: a path on which streams are served.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Stream {
    pub(crate) path: String,
    #[serde(default = "Stream::default_format")]
    pub(crate) format: String,
    #[serde(default = "Stream::default_refusal")]
    pub(crate) refusal: String,
    #[serde(default)]
    pub(crate) close_oldest: bool,
}

impl Stream {
    fn default_format() -> String {
        "event".into()
    }

    fn default_refusal() -> String {
        "soft".into()
    }
}
