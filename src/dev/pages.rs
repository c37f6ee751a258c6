//! What `dev` serves beside the node: the page, the sign-in, and the rows behind its buttons.
//!
//! The page itself is in `page/`, embedded in the binary.

use super::rows::{Action, Rows, RowsError};
use crate::config::OwnTokens;
use crate::token;
use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::header::{
    CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, HOST, REFERRER_POLICY, SET_COOKIE,
    X_CONTENT_TYPE_OPTIONS,
};
use axum::http::{HeaderMap, HeaderName, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::{MethodRouter, get, post};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

/// How long a session of the page lasts.
const SESSION: Duration = Duration::from_secs(24 * 60 * 60);

/// The longest name of a user or an organisation that the page's requests may carry.
const NAME_BYTES_MAX: usize = 128;

/// Nothing from anywhere but this node, and nobody may frame it.
const POLICY: &str = "default-src 'self'; base-uri 'none'; form-action 'none'; \
                      frame-ancestors 'none'; object-src 'none'";

/// The head of every answer that is not part of the page.
const JSON: [(HeaderName, &str); 2] = [
    (CONTENT_TYPE, "application/json"),
    (CACHE_CONTROL, "no-store"),
];

/// What the handlers need.
pub(crate) struct Pages {
    /// How sessions are made, and what their cookie is called.
    pub(crate) own: OwnTokens,
    /// Where the node was asked to listen: decides under which names it may be called.
    pub(crate) listen: SocketAddr,
    /// The application's connection to its database.
    pub(crate) rows: Rows,
}

/// The routes, for `node::start`.
pub(crate) fn router(pages: Pages) -> Router {
    const HTML: &str = "text/html; charset=utf-8";
    const STYLE: &str = "text/css; charset=utf-8";
    const SCRIPT: &str = "text/javascript; charset=utf-8";
    const ICON: &str = "image/svg+xml";
    Router::new()
        .route("/", asset(HTML, include_str!("page/index.html")))
        .route("/dev/page.css", asset(STYLE, include_str!("page/page.css")))
        .route("/dev/page.js", asset(SCRIPT, include_str!("page/page.js")))
        .route("/dev/icon.svg", asset(ICON, include_str!("page/icon.svg")))
        .route("/dev/session", post(sign_in))
        .route("/dev/rows", post(change_row))
        .with_state(Arc::new(pages))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct SignIn {
    user: String,
}

/// Sets the session cookie of any user: there are no passwords under `dev`.
async fn sign_in(
    State(pages): State<Arc<Pages>>,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Response, Refusal> {
    let SignIn { user } = pages.accept(&headers, &body)?;
    if user.is_empty() || user.len() > NAME_BYTES_MAX {
        return Err(Refusal::new(
            StatusCode::BAD_REQUEST,
            "bad_request",
            "no such user",
        ));
    }
    let session = token::sign(&pages.own, &user, SESSION);
    // Not `Secure`: the page is served over plain HTTP on this machine.
    let cookie = format!(
        "{}={session}; Path=/; Max-Age={}; HttpOnly; SameSite=Lax",
        pages.own.cookie,
        SESSION.as_secs()
    );
    let headers = [(SET_COOKIE, cookie), (CACHE_CONTROL, "no-store".to_owned())];
    Ok((StatusCode::NO_CONTENT, headers).into_response())
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ChangeRow {
    organization: String,
    user: String,
    action: Action,
}

async fn change_row(
    State(pages): State<Arc<Pages>>,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Response, Refusal> {
    let ChangeRow {
        organization,
        user,
        action,
    } = pages.accept(&headers, &body)?;
    if organization.len() > NAME_BYTES_MAX || user.len() > NAME_BYTES_MAX {
        return Err(Refusal::new(
            StatusCode::BAD_REQUEST,
            "bad_request",
            "no such organisation or user",
        ));
    }
    let id = pages.rows.change(&organization, &user, action).await?;
    Ok((JSON, serde_json::json!({ "id": id }).to_string()).into_response())
}

impl Pages {
    /// Reads a request of the page. One that another site's page sent is refused: it cannot send
    /// JSON without asking first, and a name that was pointed at this machine by its owner is not
    /// one of ours.
    fn accept<T: DeserializeOwned>(&self, headers: &HeaderMap, body: &[u8]) -> Result<T, Refusal> {
        let text = |name: HeaderName| headers.get(name).and_then(|value| value.to_str().ok());
        let is_json = text(CONTENT_TYPE).is_some_and(|value| {
            value
                .split(';')
                .next()
                .is_some_and(|kind| kind.trim() == "application/json")
        });
        if !is_json {
            let status = StatusCode::UNSUPPORTED_MEDIA_TYPE;
            return Err(Refusal::new(status, "unsupported", "send application/json"));
        }
        let site = text(HeaderName::from_static("sec-fetch-site"));
        let is_foreign = site.is_some_and(|site| site != "same-origin");
        let is_called_ours =
            !self.listen.ip().is_loopback() || is_local(text(HOST).unwrap_or_default());
        if is_foreign || !is_called_ours {
            let message = "only the page of this node, called by localhost or its address, may ask";
            return Err(Refusal::new(StatusCode::FORBIDDEN, "foreign", message));
        }
        serde_json::from_slice(body).map_err(|error| {
            let message = format!("not as expected: {error}");
            Refusal::new(StatusCode::BAD_REQUEST, "bad_request", message)
        })
    }
}

/// A refusal, in the shape of all refusals of the node.
#[derive(Debug)]
struct Refusal {
    status: StatusCode,
    code: &'static str,
    message: String,
}

impl Refusal {
    fn new(status: StatusCode, code: &'static str, message: impl Into<String>) -> Self {
        Self {
            status,
            code,
            message: message.into(),
        }
    }
}

impl From<RowsError> for Refusal {
    fn from(error: RowsError) -> Self {
        let unavailable = StatusCode::SERVICE_UNAVAILABLE;
        let conflict = StatusCode::CONFLICT;
        match error {
            RowsError::Busy => Self::new(
                unavailable,
                "busy",
                "Too many changes at once: wait a moment.",
            ),
            RowsError::Away => Self::new(
                unavailable,
                "database_away",
                "PostgreSQL does not answer. Its log is postgresql.log in the data directory.",
            ),
            RowsError::NoRow => Self::new(
                conflict,
                "no_row",
                "There is no such row left: insert one first.",
            ),
            RowsError::Full => Self::new(
                conflict,
                "full",
                "There are enough rows: delete some first.",
            ),
            RowsError::Refused(words) => {
                Self::new(conflict, "refused", format!("PostgreSQL refused: {words}"))
            }
        }
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let error = serde_json::json!({ "code": self.code, "message": self.message });
        let body = serde_json::json!({ "error": error }).to_string();
        (self.status, JSON, body).into_response()
    }
}

/// Whether a `Host` names this machine itself.
fn is_local(host: &str) -> bool {
    let name = match host.strip_prefix('[') {
        Some(rest) => rest.split(']').next().unwrap_or_default(),
        None => host.split(':').next().unwrap_or_default(),
    };
    name.eq_ignore_ascii_case("localhost")
        || name
            .parse::<IpAddr>()
            .is_ok_and(|address| address.is_loopback())
}

fn asset(kind: &'static str, text: &'static str) -> MethodRouter<Arc<Pages>> {
    let headers = [
        (CONTENT_TYPE, kind),
        // A new binary serves a new page.
        (CACHE_CONTROL, "no-cache"),
        (CONTENT_SECURITY_POLICY, POLICY),
        (X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (REFERRER_POLICY, "no-referrer"),
    ];
    get(async move || (headers, text))
}

#[cfg(test)]
mod tests {
    use super::*;
    use auth::Secret;

    fn pages() -> Pages {
        Pages {
            own: OwnTokens {
                secret: Secret::new("0123456789abcdef0123456789abcdef"),
                user_claim: "sub".to_owned(),
                cookie: "session".to_owned(),
            },
            listen: "127.0.0.1:4000".parse().expect("an address"),
            rows: Rows::new(tokio_postgres::Config::new()),
        }
    }

    fn accept(headers: &[(&'static str, &str)], body: &str) -> Result<String, StatusCode> {
        let header = |(name, value): &(&'static str, &str)| {
            (
                HeaderName::from_static(name),
                value.parse().expect("a value"),
            )
        };
        let headers: HeaderMap = headers.iter().map(header).collect();
        let read = pages().accept::<SignIn>(&headers, body.as_bytes());
        read.map(|request| request.user)
            .map_err(|refusal| refusal.status)
    }

    #[test]
    fn only_the_page_itself_may_sign_in() {
        let json = ("content-type", "application/json");
        let body = r#"{"user":"alice"}"#;
        let host = ("host", "localhost:4000");
        assert_eq!(accept(&[json, host], body), Ok("alice".to_owned()));
        let own = ("sec-fetch-site", "same-origin");
        assert_eq!(accept(&[json, host, own], body), Ok("alice".to_owned()));

        let form = ("content-type", "text/plain");
        assert_eq!(
            accept(&[form, host], body),
            Err(StatusCode::UNSUPPORTED_MEDIA_TYPE)
        );
        assert_eq!(
            accept(&[host], body),
            Err(StatusCode::UNSUPPORTED_MEDIA_TYPE)
        );
        let foreign = ("sec-fetch-site", "cross-site");
        assert_eq!(
            accept(&[json, host, foreign], body),
            Err(StatusCode::FORBIDDEN)
        );
        let rebound = ("host", "evil.example:4000");
        assert_eq!(accept(&[json, rebound], body), Err(StatusCode::FORBIDDEN));
        for body in ["", "{}", "[]", r#"{"user":1}"#, r#"{"user":"a","more":1}"#] {
            assert_eq!(
                accept(&[json, host], body),
                Err(StatusCode::BAD_REQUEST),
                "{body}"
            );
        }
    }

    #[test]
    fn only_this_machine_is_local() {
        for host in [
            "localhost",
            "localhost:4000",
            "LOCALHOST:1",
            "127.0.0.1:4000",
            "[::1]:4000",
        ] {
            assert!(is_local(host), "{host}");
        }
        for host in [
            "",
            "evil.example",
            "localhost.evil.example:4000",
            "10.0.0.1",
            "[fe80::1]:1",
        ] {
            assert!(!is_local(host), "{host}");
        }
    }
}
