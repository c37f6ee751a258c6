//! Who somebody is and where they belong, as it is written: `[auth]` and its rooms, `[keys]`, `[[key]]`,
//! `[session]`, `[user]` and `[membership]`. None of these types can be shown: some hold secrets.

use serde::{Deserialize, Serialize};

/// `[auth]`: how a session is recognised.
#[derive(Clone, PartialEq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Auth {
    pub(crate) mode: Vec<String>,
    pub(crate) secret: Vec<String>,
    pub(crate) cookie: String,
    pub(crate) issuer: String,
    pub(crate) audience: Vec<String>,
    pub(crate) user_claim: Vec<String>,
    pub(crate) require_exp: bool,
    pub(crate) grace: String,
    pub(crate) nextauth: CookieSecrets,
    pub(crate) authjs: CookieSecrets,
    pub(crate) auth0: CookieSecrets,
    pub(crate) better_auth: BetterAuth,
    pub(crate) jwks: Jwks,
    pub(crate) introspection: Introspection,
}

impl Default for Auth {
    fn default() -> Self {
        Self {
            mode: vec!["auto".into()],
            secret: Vec::new(),
            cookie: "session".into(),
            issuer: String::new(),
            audience: Vec::new(),
            user_claim: vec!["sub".into()],
            require_exp: true,
            grace: "5m".into(),
            nextauth: CookieSecrets::default(),
            authjs: CookieSecrets::default(),
            auth0: CookieSecrets::default(),
            better_auth: BetterAuth::default(),
            jwks: Jwks::default(),
            introspection: Introspection::default(),
        }
    }
}

/// `[auth.nextauth]`, `[auth.authjs]` and `[auth.auth0]`: an encrypted cookie.
#[derive(Clone, Default, PartialEq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct CookieSecrets {
    pub(crate) secret: Vec<String>,
    pub(crate) cookie: String,
}

/// `[auth.better_auth]`: the signed cookie of Better Auth.
#[derive(Clone, Default, PartialEq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct BetterAuth {
    pub(crate) secret: Vec<String>,
    pub(crate) cookie: String,
    pub(crate) accept_previous_secrets: bool,
}

/// `[auth.jwks]`: tokens that somebody else signs.
#[derive(Clone, Default, PartialEq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Jwks {
    pub(crate) url: String,
    pub(crate) file: String,
    pub(crate) issuer: String,
    pub(crate) audience: Vec<String>,
    pub(crate) authorized_parties: Vec<String>,
    pub(crate) cookie: String,
}

/// `[auth.introspection]`: the application is asked who its visitor is.
#[derive(Clone, PartialEq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Introspection {
    pub(crate) url: String,
    pub(crate) cookies: Vec<String>,
    pub(crate) user: Vec<String>,
    pub(crate) session: Vec<String>,
    pub(crate) expires: Vec<String>,
    pub(crate) organization: String,
    pub(crate) ttl: String,
    pub(crate) timeout: String,
}

impl Default for Introspection {
    fn default() -> Self {
        let words = |list: &[&str]| list.iter().map(|word| (*word).to_owned()).collect();
        Self {
            url: String::new(),
            cookies: Vec::new(),
            user: words(&["user.id"]),
            session: words(&["session.id"]),
            expires: words(&["expires", "session.expiresAt"]),
            organization: "session.activeOrganizationId".into(),
            ttl: "30s".into(),
            timeout: "5s".into(),
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

/// `[[key]]`: one more key, and what it may do.
#[derive(Clone, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Key {
    pub(crate) secret: String,
    pub(crate) rights: Vec<String>,
}

/// `[session]`: the table of sessions. Empty names have the default of the mode.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Session {
    pub(crate) table: String,
    pub(crate) id: String,
    pub(crate) token: String,
    pub(crate) user: String,
    pub(crate) expires: String,
    pub(crate) active_organization: String,
}

/// `[user]`: the table of users, whose deletes and bans are revocations.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct User {
    pub(crate) table: String,
    pub(crate) id: String,
    pub(crate) banned: String,
    pub(crate) banned_until: String,
}

impl Default for User {
    fn default() -> Self {
        Self {
            table: String::new(),
            id: "id".into(),
            banned: String::new(),
            banned_until: String::new(),
        }
    }
}

/// `[membership]`: what says who belongs to which organisation.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Membership {
    pub(crate) table: String,
    pub(crate) user: String,
    pub(crate) organization: String,
    pub(crate) role: String,
    pub(crate) active: String,
    pub(crate) max: u32,
    pub(crate) claim: String,
    pub(crate) role_claim: String,
    /// `membership = "none"` is this.
    pub(crate) none: bool,
}

impl Default for Membership {
    fn default() -> Self {
        Self {
            table: String::new(),
            user: "userId".into(),
            organization: "organizationId".into(),
            role: "role".into(),
            active: String::new(),
            max: 1_000_000,
            claim: String::new(),
            role_claim: String::new(),
            none: false,
        }
    }
}
