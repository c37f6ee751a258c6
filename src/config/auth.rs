//! `[auth]` and its rooms: by which methods a session is recognised, and what each of them needs.

use std::time::Duration;

use auth::{Policy, Secret};
use axum::http::Uri;

use super::raw::{self, Raw};
use super::{ConfigError, Environment, duration};

/// The shortest secret that is taken: whoever has seen one token can try all that are shorter.
const SECRET_BYTES_MIN: usize = 16;

/// The shortest secret for HS256 that is as strong as its hash (RFC 7518, 3.2).
const SECRET_BYTES_STRONG: usize = 32;

/// The longest that an answer of the application is remembered: so long may somebody who signed out
/// still open a stream.
const INTROSPECTION_TTL_MAX: Duration = Duration::from_secs(300);

/// The longest that the application may take for an answer; the engines wait no longer than that.
const INTROSPECTION_TIMEOUT_MAX: Duration = Duration::from_secs(20);

/// A way in which a session is recognised.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Mode {
    /// The encrypted cookie of NextAuth.js 4.
    NextAuth,
    /// The encrypted cookie of Auth.js 5.
    AuthJs,
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
    const ALL: [Self; 7] = [
        Self::NextAuth,
        Self::AuthJs,
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
            Self::BetterAuth => "better-auth",
            Self::Session => "session",
            Self::Jwt => "jwt",
            Self::Jwks => "jwks",
            Self::Introspection => "introspection",
        }
    }

    fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|mode| mode.name() == name)
    }
}

/// `[auth]`.
#[derive(Clone)]
pub(crate) struct Auth {
    /// The methods that are tried, in this order; none where only keys open streams.
    pub(crate) modes: Vec<Mode>,
    /// Which of the application's own tokens are accepted; without a secret, none.
    pub(crate) policy: Policy,
    /// The name of the cookie of the application's own tokens.
    pub(crate) cookie: String,
    /// How long streams live on without news of who may see them.
    pub(crate) grace: Duration,
    /// Where the keys of `jwks` come from.
    pub(crate) jwks: Option<JwksSource>,
    /// How the application is asked.
    pub(crate) introspection: Option<Introspection>,
}

/// Where a set of keys comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum JwksSource {
    /// From the network, now and then.
    Url(Uri),
    /// From a file, read at the start and as often as a URL would be.
    File(std::path::PathBuf),
}

/// `[auth.introspection]`: the URL that says who a cookie is.
#[derive(Clone, Debug)]
pub(crate) struct Introspection {
    /// Where to ask.
    pub(crate) url: Uri,
    /// The cookies that are passed on; all where it is empty.
    pub(crate) cookies: Vec<String>,
    /// How long an answer is remembered.
    pub(crate) ttl: Duration,
    /// How long the application may take.
    pub(crate) timeout: Duration,
}

/// Checks `[auth]`, with the secrets that the application's own variables name.
pub(super) fn auth(
    raw: &Raw,
    environment: &Environment,
    warnings: &mut Vec<String>,
) -> Result<Auth, ConfigError> {
    let mut found = raw.auth.clone();
    let modes = modes(raw, &mut found, environment)?;
    check_secrets(&found, warnings)?;
    check_cookies(&found)?;
    let claims = &found.user_claim;
    if claims.is_empty() || claims.iter().any(String::is_empty) {
        let mend = "write the claim that names the user, usually \"sub\"";
        return Err(ConfigError::new("auth.user_claim", claims.join(", "), mend));
    }
    let jwks = jwks(&found.jwks, warnings)?;
    let introspection = introspection(&found.introspection, warnings)?;
    let is_on = |mode| modes.contains(&mode);
    Ok(Auth {
        policy: Policy {
            secrets: match is_on(Mode::Jwt) {
                true => found.secret.iter().map(|text| Secret::new(text)).collect(),
                false => Vec::new(),
            },
            user_claim: claims[0].clone(),
            require_exp: found.require_exp,
        },
        cookie: found.cookie,
        grace: duration("auth.grace", &found.grace)?,
        jwks: jwks.filter(|_| is_on(Mode::Jwks)),
        introspection: introspection.filter(|_| is_on(Mode::Introspection)),
        modes,
    })
}

/// The methods that are meant. Secrets that only the application's variables name are put into
/// `found`.
fn modes(
    raw: &Raw,
    found: &mut raw::Auth,
    environment: &Environment,
) -> Result<Vec<Mode>, ConfigError> {
    if raw.auth.mode == ["auto"] {
        return Ok(configured(raw, found, environment));
    }
    let mut modes = Vec::new();
    for name in &raw.auth.mode {
        let Some(mode) = Mode::named(name).filter(|mode| !modes.contains(mode)) else {
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

/// The methods of `auto`: those that are configured; where none is, those whose secret the
/// application's own variables name, if it is said as well who belongs where.
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
    if !modes.is_empty() || !is_said {
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

fn check_secrets(auth: &raw::Auth, warnings: &mut Vec<String>) -> Result<(), ConfigError> {
    let lists = [
        ("auth.secret", &auth.secret),
        ("auth.nextauth.secret", &auth.nextauth.secret),
        ("auth.authjs.secret", &auth.authjs.secret),
        ("auth.better_auth.secret", &auth.better_auth.secret),
    ];
    for (key, secrets) in lists {
        let Some(shortest) = secrets.iter().map(String::len).min() else {
            continue;
        };
        if shortest < SECRET_BYTES_MIN {
            let mend = "too short: whoever has a token of theirs can guess it. Write the \
                        application's own, of at least 16 characters (`openssl rand -hex 32` makes \
                        one), in both places";
            return Err(ConfigError::about(key, mend));
        }
        if shortest < SECRET_BYTES_STRONG {
            warnings.push(format!(
                "{key}: shorter than 32 bytes, so it is weaker than the cryptography itself"
            ));
        }
    }
    Ok(())
}

fn check_cookies(auth: &raw::Auth) -> Result<(), ConfigError> {
    let is_name = ::auth::cookie::is_name;
    // Only the first must be there: the others have the names of their libraries.
    let cookies = [
        ("auth.cookie", &auth.cookie, true),
        ("auth.nextauth.cookie", &auth.nextauth.cookie, false),
        ("auth.authjs.cookie", &auth.authjs.cookie, false),
        ("auth.better_auth.cookie", &auth.better_auth.cookie, false),
        ("auth.jwks.cookie", &auth.jwks.cookie, false),
    ];
    let cookies = cookies.into_iter().chain(
        auth.introspection
            .cookies
            .iter()
            .map(|cookie| ("auth.introspection.cookies", cookie, true)),
    );
    for (key, cookie, must_be) in cookies {
        if (must_be || !cookie.is_empty()) && !is_name(cookie) {
            let mend = "write the name of a cookie: letters, digits, '-', '_', '.'";
            return Err(ConfigError::new(key, cookie, mend));
        }
    }
    Ok(())
}

fn jwks(raw: &raw::Jwks, warnings: &mut Vec<String>) -> Result<Option<JwksSource>, ConfigError> {
    let source = match (raw.url.as_str(), raw.file.as_str()) {
        ("", "") => return Ok(None),
        ("", file) => JwksSource::File(file.into()),
        (url, "") => JwksSource::Url(http_url("auth.jwks.url", url, warnings)?),
        (_, file) => {
            let mend = "the keys come from one place: remove this or auth.jwks.url";
            return Err(ConfigError::new("auth.jwks.file", file, mend));
        }
    };
    if raw.issuer.is_empty() && raw.audience.is_empty() && raw.authorized_parties.is_empty() {
        warnings.push(
            "auth.jwks: every token that these keys signed is accepted, for whatever it was made: \
             name issuer, and audience or authorized_parties"
                .to_owned(),
        );
    }
    Ok(Some(source))
}

fn introspection(
    raw: &raw::Introspection,
    warnings: &mut Vec<String>,
) -> Result<Option<Introspection>, ConfigError> {
    if raw.url.is_empty() {
        return Ok(None);
    }
    if raw.user.is_empty() {
        let mend = "write where the answer has the user, such as \"user.id\"";
        return Err(ConfigError::about("auth.introspection.user", mend));
    }
    let paths = [
        ("user", &raw.user),
        ("session", &raw.session),
        ("expires", &raw.expires),
        ("organization", &raw.organization),
    ];
    for (name, paths) in paths {
        if let Some(path) = paths.iter().find(|path| path.split('.').any(str::is_empty)) {
            let mend = "write the names on the way to it with dots between, such as \"user.id\"";
            return Err(ConfigError::new(
                format!("auth.introspection.{name}"),
                path,
                mend,
            ));
        }
    }
    let within = |key: &str, text: &str, max: Duration, said: &str| {
        let key = format!("auth.introspection.{key}");
        let time = duration(&key, text)?;
        match time <= max {
            true => Ok(time),
            false => Err(ConfigError::new(key, text, said)),
        }
    };
    let ttl = within(
        "ttl",
        &raw.ttl,
        INTROSPECTION_TTL_MAX,
        "write at most \"5m\": so long may somebody who signed out still open a stream",
    )?;
    let timeout = within(
        "timeout",
        &raw.timeout,
        INTROSPECTION_TIMEOUT_MAX,
        "write at most \"20s\": a browser waits meanwhile",
    )?;
    if timeout.is_zero() {
        let mend = "write how long the application may take, such as \"5s\"";
        return Err(ConfigError::new(
            "auth.introspection.timeout",
            &raw.timeout,
            mend,
        ));
    }
    Ok(Some(Introspection {
        url: http_url("auth.introspection.url", &raw.url, warnings)?,
        cookies: raw.cookies.clone(),
        ttl,
        timeout,
    }))
}

/// A URL that can be asked. A password in it would be shown in errors, and is refused unseen.
fn http_url(key: &str, text: &str, warnings: &mut Vec<String>) -> Result<Uri, ConfigError> {
    let url: Option<Uri> = text.parse().ok().filter(|url: &Uri| {
        matches!(url.scheme_str(), Some("http" | "https")) && url.host().is_some()
    });
    let has_password = |url: &Uri| {
        url.authority()
            .is_some_and(|who| who.as_str().contains('@'))
    };
    let Some(url) = url.filter(|url| !has_password(url)) else {
        let mend = "write a URL such as \"https://app.example.com/api/auth/session\", without user \
                    and password";
        return Err(ConfigError::about(key, mend));
    };
    let host = url.host().unwrap_or_default();
    let is_near = !host.contains('.') || host.starts_with("127.") || host.contains(':');
    if url.scheme_str() == Some("http") && !is_near {
        warnings.push(format!(
            "{key}: http:// is neither secret nor certain on its way to {host}: write https://"
        ));
    }
    Ok(url)
}
