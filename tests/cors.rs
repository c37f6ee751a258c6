//! Other origins: exact ones are admitted, the rest is told which key would admit it.

use crate::support::config::ALLOWED_ORIGIN;
use crate::support::{Driver, Request, World, on_both_drivers};

on_both_drivers!(
    an_allowed_origin_reads_streams,
    a_preflight_is_answered,
    a_foreign_origin_is_403_and_told_why,
    the_same_origin_needs_no_entry,
);

const STREAM: &str = "/api/realtime/stream?organizationId=acme";

fn an_allowed_origin_reads_streams(driver: Driver) {
    let world = World::new(driver);
    let request = Request::get(STREAM)
        .user("alice")
        .field("origin", ALLOWED_ORIGIN)
        .field("sec-fetch-site", "cross-site");
    let mut stream = world.node.stream(&request);
    assert_eq!(
        stream.head.value("access-control-allow-origin"),
        Some(ALLOWED_ORIGIN)
    );
    assert_eq!(
        stream.head.value("access-control-allow-credentials"),
        Some("true")
    );
    let vary = stream
        .head
        .value("vary")
        .map(str::to_ascii_lowercase)
        .unwrap_or_default();
    assert!(vary.contains("origin") && vary.contains("cookie"), "{vary}");
    assert_eq!(stream.head.value("x-accel-buffering"), Some("no"));
    let cache = stream.head.value("cache-control").map(str::to_owned);
    assert_eq!(cache.as_deref(), Some("no-cache, no-store, no-transform"));
    assert_eq!(
        stream.head.value("transfer-encoding"),
        None,
        "the body ends with the connection"
    );
    world
        .database
        .connect()
        .run(r#"INSERT INTO "Property" ("organizationId", name) VALUES ('acme', 'P')"#);
    assert_eq!(stream.event()["type"], "property.insert");
    // A refusal is readable by the page too.
    let request = Request::get(STREAM).field("origin", ALLOWED_ORIGIN);
    let refused = request.send(world.node.address());
    assert_eq!(refused.head.status, 401);
    assert_eq!(
        refused.head.value("access-control-allow-origin"),
        Some(ALLOWED_ORIGIN)
    );
}

fn a_preflight_is_answered(driver: Driver) {
    let world = World::new(driver);
    let preflight = |origin: &str| {
        Request::new("OPTIONS", STREAM)
            .field("origin", origin)
            .field("access-control-request-method", "GET")
            .field(
                "access-control-request-headers",
                "last-event-id,authorization",
            )
            .send(world.node.address())
    };
    let allowed = preflight(ALLOWED_ORIGIN);
    assert_eq!(allowed.head.status, 204, "{allowed:?}");
    assert_eq!(
        allowed.head.value("access-control-allow-origin"),
        Some(ALLOWED_ORIGIN)
    );
    assert_eq!(
        allowed.head.value("access-control-allow-credentials"),
        Some("true")
    );
    let list = |name: &str| {
        allowed
            .head
            .value(name)
            .unwrap_or_default()
            .to_ascii_lowercase()
    };
    assert!(list("access-control-allow-methods").contains("get"));
    for field in ["last-event-id", "authorization"] {
        assert!(
            list("access-control-allow-headers").contains(field),
            "{field}"
        );
    }
    let foreign = preflight("https://evil.example");
    assert_eq!(foreign.head.value("access-control-allow-origin"), None);
    assert_eq!(foreign.head.status, 403);
}

fn a_foreign_origin_is_403_and_told_why(driver: Driver) {
    let world = World::new(driver);
    let foreign = [
        "https://evil.example",
        "https://app.example.evil.example",
        "https://app.example:8443",
        "http://app.example",
        "https://APP.EXAMPLE.",
        "null",
    ];
    for origin in foreign {
        let request = Request::get(STREAM).user("alice").field("origin", origin);
        let response = request
            .field("sec-fetch-site", "cross-site")
            .send(world.node.address());
        assert_eq!(response.head.status, 403, "{origin}: {response:?}");
        assert_eq!(response.head.value("access-control-allow-origin"), None);
        let (_, message) = response.refusal();
        assert!(message.contains("http.allowed_origins"), "{message}");
    }
}

fn the_same_origin_needs_no_entry(driver: Driver) {
    let world = World::new(driver);
    // The request names the host `app.example:3000`.
    let by_fetch_metadata = Request::get(STREAM)
        .user("alice")
        .field("sec-fetch-site", "same-origin");
    let by_host = Request::get(STREAM)
        .user("alice")
        .field("origin", "http://app.example:3000");
    for request in [by_fetch_metadata, by_host] {
        assert_eq!(world.node.stream(&request).verdict(), "live");
    }
}
