//! `auth.mode`: which methods are meant, and whether each has what it needs.

use super::super::raw::{self, Raw};
use super::super::{ConfigError, Environment};

/// A way in which a session is recognised.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Mode {
    /// The encrypted cookie of NextAuth.js 4.
    NextAuth,
    /// The encrypted cookie of Auth.js 5.
    AuthJs,
    /// The encrypted cookie of Auth0's library for Next.js.
    Auth0,
    /// The signed cookie of Better Auth, and its row.
    BetterAuth,
    /// The row of Auth.js' database strategy.
    Session,
    /// The application's own token, signed with HS256.
    Jwt,
    /// A token that somebody else signed, by their published keys.
    Jwks,
    /// The application is asked.
    Introspection,
}

impl Mode {
    /// All, in the order in which they are tried.
    const ALL: [Self; 8] = [
        Self::NextAuth,
        Self::AuthJs,
        Self::Auth0,
        Self::BetterAuth,
        Self::Session,
        Self::Jwt,
        Self::Jwks,
        Self::Introspection,
    ];

    /// As `auth.mode` has it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::NextAuth => "nextauth",
            Self::AuthJs => "authjs",
            Self::Auth0 => "auth0",
            Self::BetterAuth => "better-auth",
            Self::Session => "session",
            Self::Jwt => "jwt",
            Self::Jwks => "jwks",
            Self::Introspection => "introspection",
        }
    }

    fn called(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|mode| mode.name() == name)
    }
}

/// The methods that are meant. Secrets that only the application's variables name are put into
/// `found`.
pub(super) fn modes(
    raw: &Raw,
    found: &mut raw::Auth,
    environment: &Environment,
) -> Result<Vec<Mode>, ConfigError> {
    if raw.auth.mode == ["auto"] {
        return Ok(configured(raw, found, environment));
    }
    let mut modes = Vec::new();
    for name in &raw.auth.mode {
        let Some(mode) = Mode::called(name).filter(|mode| !modes.contains(mode)) else {
            let names: Vec<&str> = Mode::ALL.iter().map(|mode| mode.name()).collect();
            let mend = format!(
                "write \"auto\" alone, or each of these at most once: {}",
                names.join(", ")
            );
            return Err(ConfigError::new("auth.mode", name, mend));
        };
        take_variables(mode, found, environment);
        if let Some((key, mend)) = missing(mode, found) {
            let mode = mode.name();
            return Err(ConfigError::about(
                key,
                format!("auth.mode has \"{mode}\", which needs it: {mend}"),
            ));
        }
        modes.push(mode);
    }
    if modes.is_empty() {
        let mend = "write \"auto\", or the methods by which your application knows its visitors";
        return Err(ConfigError::about("auth.mode", mend));
    }
    if modes.contains(&Mode::BetterAuth) && modes.contains(&Mode::Session) {
        let mend =
            "\"better-auth\" and \"session\" both read [session], which is one table: choose one";
        return Err(ConfigError::new(
            "auth.mode",
            raw.auth.mode.join(", "),
            mend,
        ));
    }
    modes.sort_unstable();
    Ok(modes)
}

/// The methods of `auto`: those that are configured; where that is none, or rows alone, those whose
/// secret the application's own variables name, if it is said as well who belongs where.
fn configured(raw: &Raw, found: &mut raw::Auth, environment: &Environment) -> Vec<Mode> {
    let is_configured = |auth: &raw::Auth, mode: &Mode| match mode {
        Mode::Session => !raw.session.table.is_empty() && auth.better_auth.secret.is_empty(),
        mode => missing(*mode, auth).is_none(),
    };
    let of = |auth: &raw::Auth| -> Vec<Mode> {
        let all = Mode::ALL.into_iter();
        all.filter(|mode| is_configured(auth, mode)).collect()
    };
    let modes = of(found);
    let membership = &raw.membership;
    let is_said = membership.none || !membership.table.is_empty() || !membership.claim.is_empty();
    // A table of sessions alone does not say whether the application uses it: the adapters of Auth.js
    // come with one, and its sessions may be tokens all the same.
    if !modes.iter().all(|mode| *mode == Mode::Session) || !is_said {
        return modes;
    }
    for mode in Mode::ALL {
        // Auth.js 5 takes NextAuth's variable as well; by itself it speaks of version 4.
        if mode != Mode::AuthJs || environment.get("NEXTAUTH_SECRET").is_none() {
            take_variables(mode, found, environment);
        }
    }
    of(found)
}

/// The key that a method cannot do without, and what to write, where it is missing.
fn missing(mode: Mode, auth: &raw::Auth) -> Option<(&'static str, &'static str)> {
    let (has, key, mend) = match mode {
        Mode::NextAuth => (
            !auth.nextauth.secret.is_empty(),
            "auth.nextauth.secret",
            "the application's NEXTAUTH_SECRET, here or in that variable",
        ),
        Mode::AuthJs => (
            !auth.authjs.secret.is_empty(),
            "auth.authjs.secret",
            "the application's AUTH_SECRET, here or in that variable",
        ),
        Mode::Auth0 => (
            !auth.auth0.secret.is_empty(),
            "auth.auth0.secret",
            "the application's AUTH0_SECRET, here or in that variable",
        ),
        Mode::BetterAuth => (
            !auth.better_auth.secret.is_empty(),
            "auth.better_auth.secret",
            "the application's BETTER_AUTH_SECRET, here or in that variable",
        ),
        // Its table has a default.
        Mode::Session => (true, "session.table", ""),
        Mode::Jwt => (
            !auth.secret.is_empty(),
            "auth.secret",
            "what your application signs its tokens with",
        ),
        Mode::Jwks => (
            !auth.jwks.url.is_empty() || !auth.jwks.file.is_empty(),
            "auth.jwks.url",
            "where the keys are published, or auth.jwks.file",
        ),
        Mode::Introspection => (
            !auth.introspection.url.is_empty(),
            "auth.introspection.url",
            "the URL of your application that says who its visitor is",
        ),
    };
    (!has).then_some((key, mend))
}

/// Takes a method's secrets from the application's own variables, where the configuration has none.
fn take_variables(mode: Mode, auth: &mut raw::Auth, environment: &Environment) {
    let (secrets, names): (&mut Vec<String>, &[&str]) = match mode {
        Mode::NextAuth => (&mut auth.nextauth.secret, &["NEXTAUTH_SECRET"]),
        Mode::AuthJs => (
            &mut auth.authjs.secret,
            // As Auth.js orders them: the first encrypts, all decrypt.
            &[
                "AUTH_SECRET_3",
                "AUTH_SECRET_2",
                "AUTH_SECRET_1",
                "AUTH_SECRET",
            ],
        ),
        Mode::Auth0 => (&mut auth.auth0.secret, &["AUTH0_SECRET"]),
        Mode::BetterAuth => (&mut auth.better_auth.secret, &["BETTER_AUTH_SECRET"]),
        _ => return,
    };
    if !secrets.is_empty() {
        return;
    }
    secrets.extend(
        names
            .iter()
            .filter_map(|name| environment.get(name))
            .map(str::to_owned),
    );
    if mode == Mode::AuthJs && secrets.is_empty() {
        secrets.extend(environment.get("NEXTAUTH_SECRET").map(str::to_owned));
    }
}
