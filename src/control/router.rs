//! Every request that is for no stream: answered by an `axum::Router` in process, without a socket, in
//! bounded time.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::extract::State;
use axum::http::header::{ALLOW, CONNECTION, CONTENT_LENGTH, CONTENT_TYPE, TRANSFER_ENCODING};
use axum::http::{self, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use bytes::Bytes;
use tower::ServiceExt as _;
use wire::http::{
    Fields, Method, Refusal, RefusalCode, Request, is_field_value, response, response_to_head,
};

use super::Shared;

/// How long an answer may take.
const ANSWER_MS: u64 = 10_000;

/// The longest body of an answer.
const BODY_BYTES_MAX: usize = 4 << 20;

/// The node's own pages, with `pages` beside them.
pub(super) fn router(shared: Arc<Shared>, pages: Router) -> Router {
    Router::new()
        .route("/livez", get(livez))
        .route("/readyz", get(readyz))
        .route("/metrics", get(metrics))
        .with_state(shared)
        .merge(pages)
}

/// Answers a request, whole.
pub(super) async fn answer(router: Router, request: Request) -> (Bytes, Option<RefusalCode>) {
    let is_head = request.head.method() == Method::Head;
    let limit = Duration::from_millis(ANSWER_MS);
    let written = tokio::time::timeout(limit, routed(router, request, is_head)).await;
    let refusal = match written {
        Ok(Ok(answer)) => return answer,
        Ok(Err(refusal)) => refusal,
        Err(_) => Refusal::new(
            RefusalCode::Unavailable,
            "the answer took too long; try again later",
        ),
    };
    (refusal.response(""), Some(refusal.code))
}

async fn routed(
    router: Router,
    request: Request,
    is_head: bool,
) -> Result<(Bytes, Option<RefusalCode>), Refusal> {
    let path = request.head.path().to_owned();
    let request = translated(request)
        .map_err(|_| Refusal::new(RefusalCode::MalformedRequest, "the URL cannot be read"))?;
    let Ok(found) = router.oneshot(request).await;
    let (parts, body) = found.into_parts();
    // A body that was left out for `HEAD` has its length in the head alone.
    let body_bytes = parts
        .headers
        .get(CONTENT_LENGTH)
        .and_then(|value| value.to_str().ok()?.parse().ok());
    let body = to_bytes(body, BODY_BYTES_MAX)
        .await
        .map_err(|_| Refusal::new(RefusalCode::Unavailable, "the answer could not be made"))?;
    let body_bytes = body_bytes.unwrap_or(body.len());
    let code = parts.extensions.get::<RefusalCode>().copied();
    let mut fields = Fields::new();
    for (name, value) in &parts.headers {
        let is_ours = [CONTENT_LENGTH, CONNECTION, TRANSFER_ENCODING].contains(name);
        if let Some(value) = value
            .to_str()
            .ok()
            .filter(|value| !is_ours && is_field_value(value))
        {
            fields.push(name.as_str(), value);
        }
    }
    let status = parts.status.as_u16();
    // The router's own words for these are an empty body.
    let refusal = match parts.status {
        StatusCode::NOT_FOUND if body.is_empty() => {
            let message = format!("nothing is served at {}", path.escape_debug());
            Some(Refusal::new(RefusalCode::NotFound, message))
        }
        StatusCode::METHOD_NOT_ALLOWED if body.is_empty() => {
            let message = "this path is served, but not by this method";
            Some(Refusal::new(RefusalCode::MethodNotAllowed, message))
        }
        _ => None,
    };
    if let Some(refusal) = refusal {
        let mut kept = Fields::new();
        if let Some(allow) = parts
            .headers
            .get(ALLOW)
            .and_then(|value| value.to_str().ok())
        {
            kept.push("allow", allow);
        }
        return Ok((refusal.response(kept.as_str()), Some(refusal.code)));
    }
    Ok(match is_head {
        true => (response_to_head(status, fields.as_str(), body_bytes), code),
        false => (response(status, fields.as_str(), &body), code),
    })
}

/// The same request, as axum takes it.
fn translated(request: Request) -> Result<http::Request<Body>, http::Error> {
    let head = &request.head;
    let target = match head.query() {
        "" => head.path().to_owned(),
        query => format!("{}?{query}", head.path()),
    };
    let mut builder = http::Request::builder()
        .method(head.method().as_str())
        .uri(target);
    for (name, value) in head.all_fields() {
        builder = builder.header(name, value);
    }
    builder.body(Body::from(request.body))
}

async fn livez() -> &'static str {
    "alive\n"
}

async fn readyz(State(shared): State<Arc<Shared>>) -> Response {
    let driver = shared.kind.as_str();
    let (status, body) = match shared.readiness() {
        Ok(()) => {
            let body = serde_json::json!({"ready": true, "driver": driver, "state": "streaming"});
            (StatusCode::OK, body)
        }
        Err(reason) => {
            let body = serde_json::json!({"ready": false, "driver": driver, "reason": reason});
            (StatusCode::SERVICE_UNAVAILABLE, body)
        }
    };
    (
        status,
        [(CONTENT_TYPE, "application/json")],
        body.to_string(),
    )
        .into_response()
}

async fn metrics(State(shared): State<Arc<Shared>>) -> Response {
    (
        [(CONTENT_TYPE, "text/plain; version=0.0.4")],
        shared.metrics(),
    )
        .into_response()
}

#[cfg(test)]
mod tests {
    use axum::routing::post;
    use wire::http::Head;

    use super::*;

    /// What a request is answered, whole.
    fn answered(line: &str) -> String {
        let text = format!("{line} HTTP/1.1\r\nHost: app.example\r\n\r\n");
        let head = Head::parse(text.as_bytes()).unwrap().unwrap();
        let router = Router::new()
            .route("/livez", get(livez))
            .route("/publish", post(livez));
        let request = Request {
            head,
            body: Bytes::new(),
        };
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .build()
            .unwrap();
        let (answer, _) = runtime.block_on(answer(router, request));
        String::from_utf8(answer.to_vec()).unwrap()
    }

    fn status(line: &str) -> String {
        answered(line).split(' ').nth(1).unwrap().to_owned()
    }

    #[test]
    fn a_path_is_what_was_sent_and_nothing_that_it_could_mean() {
        assert_eq!(status("GET /livez"), "200");
        assert_eq!(status("GET /livez?a=b"), "200");
        for path in [
            "/LIVEZ",
            "/livez/",
            "//livez",
            "/./livez",
            "/x/../livez",
            "/x/..;/livez",
            "/livez;a=b",
            "/%6civez",
            "/livez%00",
            "/livez%2f",
            "/livez%0d%0aset-cookie:a=b",
            "/livez%20",
            "*",
            "/..%c0%af",
            "/{livez}",
            "/livez:80",
            "/",
        ] {
            let method = if path == "*" { "OPTIONS" } else { "GET" };
            let answer = answered(&format!("{method} {path}"));
            assert!(answer.starts_with("HTTP/1.1 404 "), "{path}: {answer}");
            assert!(
                !answer.to_ascii_lowercase().contains("\r\nset-cookie"),
                "{answer}"
            );
        }
    }

    #[test]
    fn another_method_is_told_which_one_and_head_has_no_body() {
        let refused = answered("GET /publish");
        assert!(refused.starts_with("HTTP/1.1 405 "), "{refused}");
        assert!(refused.contains("\r\nallow: POST\r\n"), "{refused}");
        assert_eq!(status("PATCH /livez"), "405");
        let head = answered("HEAD /livez");
        assert!(head.starts_with("HTTP/1.1 200 "), "{head}");
        assert!(
            head.contains("\r\ncontent-length: 6\r\n") && head.ends_with("\r\n\r\n"),
            "{head}"
        );
        assert_eq!(head.matches("connection: close\r\n").count(), 1, "{head}");
    }
}
