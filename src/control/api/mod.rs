//! What servers and operators ask for, by their keys: publishing, revoking, figures. Nothing here is
//! for browsers, so there is no session and no CORS.
//!
//! `publish` and `revoke` are written to PostgreSQL by `writer`, and answered once the stream has shown
//! them; `stats` only reads.

mod publish;
mod revoke;
mod stats;
mod writer;

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::Body;
use axum::http::header::{
    AUTHORIZATION, CACHE_CONTROL, CONTENT_ENCODING, CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE,
};
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::response::Response;
use axum::routing::{get, post};
use tokio::sync::{Semaphore, SemaphorePermit, mpsc};
use wire::http::{Refusal, RefusalCode};
use wire::{Key, Keys};

use super::Shared;
use super::rate::Buckets;
use crate::config::{Config, Rights};
use writer::{Job, Writer};

/// How long a call waits: for PostgreSQL to write, and for the stream to show what was written.
const ANSWER_WITHIN: Duration = Duration::from_secs(5);

/// How many calls are being written or waited for; beyond it they are refused for now. Fewer than all
/// requests of the router, so that a database that hangs does not take the place of `/readyz`.
const CALLS_MAX: usize = 128;

const _: () = assert!(CALLS_MAX * 2 <= super::ROUTED_MAX);

/// The interval of `limits.publish_per_minute`.
const MINUTE_MS: u64 = 60_000;

/// What the handlers share.
pub(super) struct Api {
    config: Arc<Config>,
    keys: Keys,
    shared: Arc<Shared>,
    writer: mpsc::Sender<Job>,
    calls: Semaphore,
    /// How much may yet be published of each channel of each audience.
    flows: Mutex<Buckets<Key>>,
    begun: Instant,
}

/// Why a call is refused, and after which time it may be made again, where that is known.
struct Refused {
    refusal: Refusal,
    retry_s: Option<u64>,
}

/// The paths. Call it within the runtime, on which the writer runs until the last handler is gone.
pub(super) fn router(config: Arc<Config>, keys: Keys, shared: Arc<Shared>) -> Router {
    let (writer, jobs) = mpsc::channel(CALLS_MAX);
    let database = &config.database;
    let write = Writer::new(database.connect.clone(), database.publication.clone());
    tokio::spawn(write.run(jobs));
    let flows = Buckets::new(config.limits.publish_per_minute, MINUTE_MS);
    let api = Arc::new(Api {
        config,
        keys,
        shared,
        writer,
        calls: Semaphore::new(CALLS_MAX),
        flows: Mutex::new(flows),
        begun: Instant::now(),
    });
    Router::new()
        .route("/api/realtime/publish", post(publish::publish))
        .route("/api/realtime/revoke", post(revoke::revoke))
        .route("/api/realtime/stats", get(stats::stats))
        .with_state(api)
}

impl Api {
    /// Whether the caller's key has a right.
    fn authorize(
        &self,
        fields: &HeaderMap,
        right: &str,
        has: fn(Rights) -> bool,
    ) -> Result<(), Refused> {
        let mut all = fields.get_all(AUTHORIZATION).iter();
        let presented = match (all.next(), all.next()) {
            (Some(field), None) => field.to_str().ok().and_then(bearer),
            _ => None,
        };
        match presented.and_then(|key| self.config.keys.rights_of(key)) {
            Some(rights) if has(rights) => Ok(()),
            Some(_) => {
                let message = format!("this key does not have the right \"{right}\" ([[key]])");
                Err(Refusal::new(RefusalCode::Forbidden, message).into())
            }
            None => {
                let message = "send Authorization: Bearer and one of the keys that the node knows \
                               ([[key]], keys.service, keys.admin)";
                Err(Refusal::new(RefusalCode::Unauthenticated, message).into())
            }
        }
    }

    /// The place of a call that waits, for as long as it does.
    fn place(&self) -> Result<SemaphorePermit<'_>, Refused> {
        self.calls.try_acquire().map_err(|_| overloaded())
    }

    /// Hands a job to the writer.
    fn write(&self, job: Job) -> Result<(), Refused> {
        self.writer.try_send(job).map_err(|_| overloaded())
    }

    fn now_ms(&self) -> u64 {
        u64::try_from(self.begun.elapsed().as_millis()).unwrap_or(u64::MAX)
    }
}

impl From<Refusal> for Refused {
    fn from(refusal: Refusal) -> Self {
        let retry_s = refusal
            .code
            .retry_ms()
            .map(|(least_ms, _)| u64::from(least_ms) / 1_000);
        Self { refusal, retry_s }
    }
}

impl From<Refused> for Response {
    fn from(Refused { refusal, retry_s }: Refused) -> Self {
        let mut response = json(refusal.code.status(), Body::from(refusal.json()));
        if refusal.code == RefusalCode::Unauthenticated {
            // A 401 must name a way in (RFC 9110, section 11.6.1).
            let way = HeaderValue::from_static("Bearer");
            response.headers_mut().insert(WWW_AUTHENTICATE, way);
        }
        if let Some(retry_s) = retry_s {
            let seconds = HeaderValue::from(retry_s);
            response.headers_mut().insert(RETRY_AFTER, seconds);
        }
        // For the count of refusals.
        response.extensions_mut().insert(refusal.code);
        response
    }
}

fn overloaded() -> Refused {
    let message = "too many calls wait for PostgreSQL; nothing was written";
    Refusal::new(RefusalCode::Overloaded, message).into()
}

/// A call's body is JSON, written plainly.
fn check_content(fields: &HeaderMap) -> Result<(), Refused> {
    let unsupported = |message: &'static str| {
        Err(Refusal::new(RefusalCode::UnsupportedMediaType, message).into())
    };
    let is_plain = |value: &HeaderValue| value.as_bytes().eq_ignore_ascii_case(b"identity");
    if !fields.get_all(CONTENT_ENCODING).iter().all(is_plain) {
        return unsupported("send the body without Content-Encoding");
    }
    let is_json = |value: &HeaderValue| {
        let media_type = value.to_str().unwrap_or_default().split(';').next();
        let media_type = media_type.unwrap_or_default().trim();
        media_type.eq_ignore_ascii_case("application/json")
    };
    match fields.get_all(CONTENT_TYPE).iter().all(is_json) {
        true => Ok(()),
        false => unsupported("send Content-Type: application/json, or none"),
    }
}

fn json(status: u16, body: Body) -> Response {
    let mut response = Response::new(body);
    *response.status_mut() = StatusCode::from_u16(status).expect("our statuses are statuses");
    let fields = response.headers_mut();
    fields.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    fields.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

/// What a field `Authorization` presents by the scheme `Bearer` (RFC 6750, section 2.1).
fn bearer(field: &str) -> Option<&str> {
    let (scheme, key) = field.split_once(' ')?;
    scheme
        .eq_ignore_ascii_case("bearer")
        .then(|| key.trim_matches(' '))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn status_of(name: &str, value: &'static str) -> u16 {
        let mut fields = HeaderMap::new();
        let name: axum::http::HeaderName = name.parse().unwrap();
        fields.insert(name, HeaderValue::from_static(value));
        let checked = check_content(&fields);
        checked.map_or_else(|refused| refused.refusal.code.status(), |()| 200)
    }

    #[test]
    fn a_body_is_plain_json() {
        assert_eq!(status_of("content-type", "application/json"), 200);
        assert_eq!(
            status_of("content-type", "Application/JSON; charset=utf-8"),
            200
        );
        assert_eq!(status_of("content-encoding", "identity"), 200);
        assert_eq!(status_of("accept", "*/*"), 200, "none is JSON");
        for value in ["text/plain", "application/jsonp", "", "multipart/form-data"] {
            assert_eq!(status_of("content-type", value), 415, "{value}");
        }
        assert_eq!(status_of("content-encoding", "gzip"), 415);
    }

    #[test]
    fn a_key_is_presented_as_a_bearer() {
        assert_eq!(bearer("Bearer abc"), Some("abc"));
        assert_eq!(bearer("bearer  abc "), Some("abc"));
        assert_eq!(bearer("Basic abc"), None);
        assert_eq!(bearer("abc"), None);
    }
}
