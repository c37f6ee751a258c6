//! Every status with which a request is refused, and the word that goes with it; on both drivers. What
//! it takes more to bring about stands elsewhere: 429 and the 503 of an overloaded node in `limits`, of
//! one that is not ready in `operations`, of one that stops in `drain`, of one without its database in
//! `outage`, and 504 in `publish`.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use serde_json::{Value, json};

use crate::support::{Pair, Request};

/// How long an answer may take: a head has five seconds, a body ten.
const LIMIT: Duration = Duration::from_secs(30);

#[test]
fn every_refusal_has_its_status_and_its_word() {
    let pair = Pair::new();
    let nodes = [&pair.nodes[0], &pair.nodes[1]];
    for (node, other) in [(nodes[0], nodes[1]), (nodes[1], nodes[0])] {
        let stream = node.open("acme", "alice");
        let id = json!({ "connectionId": stream.connected["connectionId"] });
        let renew = |origin: &str| {
            let request = Request::new("POST", "/api/realtime/renew").user("alice");
            request.field("origin", origin)
        };
        let user = |target: &str| Request::get(target).user("alice");
        let text = Request::new("POST", "/api/realtime/publish").service();
        let refused: [(u16, &str, Vec<u8>); 19] = [
            (400, "malformed_request", b"GET / HTTP/1.1\r\n\r\n".to_vec()),
            (
                400,
                "invalid_parameter",
                user("/api/realtime/stream?organizationId=a&tenantId=b").bytes(),
            ),
            (
                400,
                "organization_required",
                Request::get("/api/realtime/stream").user("carol").bytes(),
            ),
            (
                401,
                "unauthenticated",
                Request::stream("organizationId=acme").bytes(),
            ),
            (
                403,
                "not_a_member",
                user("/api/realtime/stream?organizationId=globex").bytes(),
            ),
            (
                403,
                "origin_not_allowed",
                renew("https://evil.example").with_json(&id).bytes(),
            ),
            (
                403,
                "forbidden",
                Request::get("/api/realtime/stats").service().bytes(),
            ),
            (404, "not_found", user("/api/realtime").bytes()),
            (
                405,
                "method_not_allowed",
                Request::new("PATCH", "/api/realtime/stream").bytes(),
            ),
            (
                408,
                "request_timeout",
                b"GET /livez HTTP/1.1\r\nhost:".to_vec(),
            ),
            (
                408,
                "request_timeout",
                text.clone().field("content-length", "9").bytes(),
            ),
            (
                411,
                "length_required",
                text.clone().field("transfer-encoding", "chunked").bytes(),
            ),
            (
                413,
                "body_too_large",
                text.clone().field("content-length", "65537").bytes(),
            ),
            (
                414,
                "uri_too_long",
                user(&format!("/{}", "x".repeat(9_000))).bytes(),
            ),
            (
                415,
                "unsupported_media_type",
                text.field("content-type", "text/plain").body("{}").bytes(),
            ),
            (
                431,
                "head_too_large",
                user("/livez").field("x-large", &"x".repeat(17_000)).bytes(),
            ),
            (
                501,
                "not_implemented",
                b"BREW / HTTP/1.1\r\nhost: a\r\n\r\n".to_vec(),
            ),
            (501, "not_implemented", revocation().bytes()),
            (
                505,
                "version_not_supported",
                b"GET /livez HTTP/2.0\r\nhost: a\r\n\r\n".to_vec(),
            ),
        ];
        for (status, code, request) in refused {
            let (found, answer) = answer(node.address(), &request);
            let said = String::from_utf8_lossy(&request[..request.len().min(120)]);
            assert_eq!(found, status, "{said}: {answer}");
            assert_eq!(answer["error"]["code"], code, "{said}: {answer}");
            let message = answer["error"]["message"].as_str();
            assert!(
                message.is_some_and(|message| !message.is_empty()),
                "{answer}"
            );
        }
        let mine = Request::new("POST", "/api/realtime/renew")
            .user("alice")
            .with_json(&id);
        let (status, refusal) = answer(other.address(), &mine.bytes());
        assert_eq!(
            (status, &refusal["error"]["code"]),
            (409, &json!("elsewhere"))
        );
    }
}

/// Revokes somebody, where nobody has run `tailrace init`.
fn revocation() -> Request {
    let body = json!({ "user": "alice", "until": "2100-01-01T00:00:00Z" });
    let request = Request::new("POST", "/api/realtime/revoke").service();
    request.with_json(&body)
}

/// The status and the body of the one answer to these bytes.
fn answer(address: std::net::SocketAddr, request: &[u8]) -> (u16, Value) {
    let mut connection = TcpStream::connect(address).expect("the node takes connections");
    connection
        .set_read_timeout(Some(LIMIT))
        .expect("it is not zero");
    // The node may have refused and closed before the last byte.
    let _ = connection.write_all(request);
    let mut answer = Vec::new();
    let _ = connection.read_to_end(&mut answer);
    let answer = String::from_utf8(answer).expect("refusals are UTF-8");
    let heads = answer.lines().filter(|line| line.starts_with("HTTP/1.1 "));
    assert_eq!(heads.count(), 1, "one answer: {answer}");
    let status = answer.get(9..12).and_then(|digits| digits.parse().ok());
    let body = answer.split("\r\n\r\n").nth(1).unwrap_or_default();
    let body = serde_json::from_str(body).unwrap_or_else(|error| panic!("{error}: {answer}"));
    (status.expect("it has a status"), body)
}
