//! `[auth]` and its rooms: by which methods a session is recognised, and what each of them needs.
//!
//! `modes` says which methods are meant, `methods` makes of them what the crate `auth` takes, `sources`
//! is whom the node has to ask.

mod methods;
mod modes;
mod sources;

use std::time::Duration;

use ::auth::{Secret, Settings};

use super::raw::Raw;
use super::{ConfigError, Environment, duration};

pub(crate) use modes::Mode;
pub(crate) use sources::{Introspection, JwksSource};

/// `[auth]`.
#[derive(Clone)]
pub(crate) struct Auth {
    /// The methods that are tried, in this order; none where only keys open streams.
    pub(crate) modes: Vec<Mode>,
    /// The same, with their secrets.
    pub(crate) settings: Settings,
    /// How the application signs tokens of its own, where it does: for the commands that make one.
    pub(crate) own: Option<OwnTokens>,
    /// How long streams live on without news of who may see them.
    pub(crate) grace: Duration,
    /// Where the keys of `jwks` come from; they are the issuer with the number 0.
    pub(crate) jwks: Option<JwksSource>,
    /// How the application is asked.
    pub(crate) introspection: Option<Introspection>,
}

/// How a token of the application's own is made.
#[derive(Clone)]
pub(crate) struct OwnTokens {
    /// What signs it: the first of `auth.secret`.
    pub(crate) secret: Secret,
    /// The claim that names the user.
    pub(crate) user_claim: String,
    /// The cookie that it stands in.
    pub(crate) cookie: String,
}

impl Auth {
    /// What is asked of the table of sessions, where there is one.
    pub(crate) fn asks_of_sessions(&self) -> SessionRows {
        let is_on = |mode: &Mode| self.modes.contains(mode);
        if [Mode::BetterAuth, Mode::Session].iter().any(is_on) {
            return SessionRows::Whole;
        }
        // The encrypted tokens of libraries have a `jti` of their own, which is no row's.
        let has_others = [Mode::NextAuth, Mode::AuthJs, Mode::Auth0]
            .iter()
            .any(is_on);
        match [Mode::Jwt, Mode::Jwks].iter().any(is_on) && !has_others {
            true => SessionRows::Existence,
            false => SessionRows::Nothing,
        }
    }
}

/// What is asked of the table of sessions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum SessionRows {
    /// Who a session is, by what its cookie presents.
    Whole,
    /// Whether the session that a token names, as its `jti`, has not been ended.
    Existence,
    /// Nothing: the log tells which session was ended.
    Nothing,
}

/// Checks `[auth]`, with the secrets that the application's own variables name.
pub(super) fn auth(
    raw: &Raw,
    environment: &Environment,
    warnings: &mut Vec<String>,
) -> Result<Auth, ConfigError> {
    let mut found = raw.auth.clone();
    let modes = modes::modes(raw, &mut found, environment)?;
    methods::check_secrets(&found, warnings)?;
    let settings = methods::settings(raw, &found, &modes)?;
    let jwks = sources::jwks(&found.jwks, warnings)?;
    let introspection = sources::introspection(&found.introspection, warnings)?;
    let is_on = |mode| modes.contains(&mode);
    Ok(Auth {
        own: found
            .secret
            .first()
            .filter(|_| is_on(Mode::Jwt))
            .map(|secret| OwnTokens {
                secret: Secret::new(secret),
                user_claim: found.user_claim[0].clone(),
                cookie: found.cookie.clone(),
            }),
        grace: duration("auth.grace", &found.grace)?,
        jwks: jwks.filter(|_| is_on(Mode::Jwks)),
        introspection: introspection.filter(|_| is_on(Mode::Introspection)),
        settings,
        modes,
    })
}
