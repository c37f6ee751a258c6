//! The configuration as it is written: text, numbers and lists, with the defaults. Nothing here is
//! checked beyond its shape; `mod.rs` turns it into what the node uses, and `keys.rs` reads it.

use std::collections::BTreeMap;

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
    pub(crate) membership: Membership,
    pub(crate) organization: Organization,
    pub(crate) payload: Payload,
    pub(crate) batch: Batch,
    pub(crate) drain: Drain,
    pub(crate) stream: Vec<Stream>,
    pub(crate) route: Vec<Route>,
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
    pub(crate) publish_per_minute: u32,
    pub(crate) idle_close: String,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections_per_user: 3,
            connections_per_organization: 0,
            connections_per_address: 0,
            connects_per_second: 0,
            publish_per_minute: 100,
            idle_close: "0s".into(),
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

/// `[auth]`: how a session is recognised.
#[derive(Clone, PartialEq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Auth {
    pub(crate) secret: Vec<String>,
    pub(crate) cookie: String,
    pub(crate) user_claim: String,
    pub(crate) require_exp: bool,
}

impl Default for Auth {
    fn default() -> Self {
        Self {
            secret: Vec::new(),
            cookie: "session".into(),
            user_claim: "sub".into(),
            require_exp: true,
        }
    }
}

/// `[keys]`: the keys of the application's own servers and operators.
#[derive(Clone, Default, PartialEq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Keys {
    pub(crate) service: String,
    pub(crate) admin: String,
}

/// `[membership]`: the table that says who belongs to which organisation.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Membership {
    pub(crate) table: String,
    pub(crate) user: String,
    pub(crate) organization: String,
    pub(crate) role: String,
}

impl Default for Membership {
    fn default() -> Self {
        Self {
            table: String::new(),
            user: "userId".into(),
            organization: "organizationId".into(),
            role: "role".into(),
        }
    }
}

/// `[organization]`: how a row is told to belong to one.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Organization {
    pub(crate) columns: Vec<String>,
    pub(crate) identity_tables: Vec<String>,
}

impl Default for Organization {
    fn default() -> Self {
        let rules = replication::Rules::default();
        Self {
            columns: rules.organisation_columns,
            identity_tables: rules.identity_tables,
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
}

impl Stream {
    fn default_format() -> String {
        "event".into()
    }

    fn default_refusal() -> String {
        "soft".into()
    }
}

/// `[[route]]`: how the rows of a table leave.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Route {
    pub(crate) table: String,
    #[serde(rename = "type", skip_serializing_if = "Option::is_none")]
    pub(crate) event_type: Option<RouteType>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) channel: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) columns: Option<RouteColumns>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) organization: Option<RouteOrganization>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) user: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) roles: Option<Vec<String>>,
}

/// The types of a route's events: one template, or one for each action.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(untagged)]
pub(crate) enum RouteType {
    Uniform(String),
    PerAction(ActionTypes),
}

/// A template for each action; what is left out has the default.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ActionTypes {
    pub(crate) insert: Option<String>,
    pub(crate) update: Option<String>,
    pub(crate) delete: Option<String>,
    pub(crate) truncate: Option<String>,
}

/// The columns of a route: their names, or a table of name and name in the record.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(untagged)]
pub(crate) enum RouteColumns {
    Plain(Vec<String>),
    Renamed(BTreeMap<String, String>),
}

/// The organisation of a route: a column, or one name for all rows.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(untagged)]
pub(crate) enum RouteOrganization {
    Column(String),
    Constant(ConstantOrganization),
}

/// `{ constant = "acme" }`.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ConstantOrganization {
    pub(crate) constant: String,
}
