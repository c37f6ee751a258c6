//! Who somebody is and where they belong, as it is written: `[auth]`, `[keys]` and `[membership]`.

use serde::{Deserialize, Serialize};

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
