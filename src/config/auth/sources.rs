//! `[auth.jwks]` and `[auth.introspection]`: whom a node asks, and for how long it takes their word.

use std::net::IpAddr;
use std::time::Duration;

use axum::http::Uri;

use super::super::{ConfigError, duration, raw};

/// The longest that an answer of the application is remembered: so long may somebody who signed out
/// still open a stream.
const INTROSPECTION_TTL_MAX: Duration = Duration::from_millis(::auth::limits::CACHE_MS_MAX);

/// The longest that the application may take for an answer; the engines wait no longer than that.
const INTROSPECTION_TIMEOUT_MAX: Duration = Duration::from_secs(20);

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
    /// How long an answer is remembered.
    pub(crate) ttl: Duration,
    /// How long the application may take.
    pub(crate) timeout: Duration,
}

pub(super) fn jwks(
    raw: &raw::Jwks,
    warnings: &mut Vec<String>,
) -> Result<Option<JwksSource>, ConfigError> {
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

pub(super) fn introspection(
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
    let organization: Vec<String> = match raw.organization.as_str() {
        "" => Vec::new(),
        place => vec![place.to_owned()],
    };
    let paths = [
        ("user", &raw.user),
        ("session", &raw.session),
        ("expires", &raw.expires),
        ("organization", &organization),
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
        "write at most \"60s\": so long may somebody who signed out still open a stream",
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
    // A name without a dot is one of this machine or of its containers.
    let is_near = match host.trim_matches(['[', ']']).parse::<IpAddr>() {
        Ok(IpAddr::V4(v4)) => v4.is_loopback() || v4.is_private(),
        Ok(IpAddr::V6(v6)) => v6.is_loopback() || v6.is_unique_local(),
        Err(_) => !host.contains('.'),
    };
    if url.scheme_str() == Some("http") && !is_near {
        warnings.push(format!(
            "{key}: http:// is neither secret nor certain on its way to {host}: write https://"
        ));
    }
    Ok(url)
}
