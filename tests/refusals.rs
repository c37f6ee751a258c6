//! Requests that are refused: each with its true status, as JSON that says why, and none of them
//! takes the node's attention from the next.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use crate::support::config::{SECRET, SERVICE_KEY};
use crate::support::session;
use crate::support::{Driver, Request, World, on_both_drivers};

on_both_drivers!(
    a_malformed_request_is_400,
    a_missing_or_wrong_parameter_is_400,
    no_session_is_401,
    no_session_that_holds_is_401,
    the_session_cookie_has_the_name_that_is_configured,
    no_membership_is_403,
    an_unknown_path_is_404,
    another_method_is_405,
    a_long_request_line_is_414,
    large_fields_are_431,
    large_cookies_are_not,
    a_large_body_is_413,
    another_version_is_505,
    a_head_that_does_not_come_is_closed,
    a_head_in_single_bytes_is_served,
    no_refusal_takes_the_node_down,
);

fn a_malformed_request_is_400(driver: Driver) {
    let world = World::new(driver);
    let malformed = [
        "GET / HTTP/1.1\r\n\r\n",
        "GET / HTTP/1.1\r\nhost: a\r\nhost: b\r\n\r\n",
        "GET / HTTP/1.1\r\nhost: a b\r\n\r\n",
        "GET / HTTP/1.1\nhost: a\n\n",
        "GET / HTTP/1.1\r\nhost: a\r\nx: 1\r\n 2\r\n\r\n",
        "GET / HTTP/1.1\r\nhost: a\r\nx : 1\r\n\r\n",
        "GET / HTTP/1.1\r\nhost: a\r\nx: \0\r\n\r\n",
        "GET nothing HTTP/1.1\r\nhost: a\r\n\r\n",
        "POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 1\r\ncontent-length: 1\r\n\r\nx",
        "POST / HTTP/1.1\r\nhost: a\r\ncontent-length: +1\r\n\r\nx",
        "POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 1\r\ntransfer-encoding: chunked\r\n\r\nx",
        "\x16\x03\x01\x02\x00\x01\x00\x01\u{fc}\x03\x03 a client of TLS on a plain port\r\n\r\n",
    ];
    for request in malformed {
        let response = raw(&world, request.as_bytes());
        assert!(
            response.starts_with("HTTP/1.1 400 "),
            "{request:?}: {response}"
        );
        assert!(
            response.contains("{\"error\":{\"code\":"),
            "{request:?}: {response}"
        );
        assert_eq!(
            response.matches("HTTP/1.1 4").count(),
            1,
            "one answer to {request:?}"
        );
    }
}

fn a_missing_or_wrong_parameter_is_400(driver: Driver) {
    let world = World::new(driver);
    // carol belongs to two organisations: which one is hers to say.
    let request = Request::get("/api/realtime/stream").user("carol");
    let response = request.send(world.node.address());
    assert_eq!(response.head.status, 400);
    assert_eq!(response.refusal().0, "organization_required");
    for query in [
        "organizationId=a&organizationId=b",
        "organizationId=%zz",
        "organizationId=%00",
    ] {
        let response = Request::stream(query)
            .user("carol")
            .send(world.node.address());
        assert_eq!(response.head.status, 400, "{query}: {response:?}");
        response.refusal();
    }
    // alice belongs to one, and an alias names it.
    let without = Request::get("/api/realtime/stream").user("alice");
    assert_eq!(
        world.node.stream(&without).connected["organizationId"],
        "acme"
    );
    let alias = Request::stream("tenantId=acme").user("alice");
    assert_eq!(
        world.node.stream(&alias).connected["organizationId"],
        "acme"
    );
}

fn no_session_is_401(driver: Driver) {
    let world = World::new(driver);
    let response = Request::stream("organizationId=acme").send(world.node.address());
    assert_eq!(response.head.status, 401);
    response.refusal();
    // A refused stream is no stream: a native EventSource must give up for good.
    assert_eq!(
        response.head.value("content-type"),
        Some("application/json")
    );
    assert_eq!(response.head.value("cache-control"), Some("no-store"));
}

fn no_session_that_holds_is_401(driver: Driver) {
    let world = World::new(driver);
    let now = session::seconds_since_1970();
    let good = session::token("alice");
    let (head, rest) = good.split_once('.').expect("three parts");
    let claims = rest.split('.').next().expect("three parts");
    let expired = serde_json::json!({ "sub": "alice", "iat": now - 7_200, "exp": now - 3_600 });
    let endless = serde_json::json!({ "sub": "alice", "iat": now });
    let nobody = serde_json::json!({ "iat": now, "exp": now + 3_600 });
    let valid = serde_json::json!({ "sub": "alice", "iat": now, "exp": now + 3_600 });
    let refused = [
        session::signed(&expired, SECRET),
        session::signed(&endless, SECRET),
        session::signed(&nobody, SECRET),
        session::signed(&valid, "another secret of 32 bytes and some more"),
        // {"alg":"none","typ":"JWT"}
        format!("eyJhbGciOiJub25lIiwidHlwIjoiSldUIn0.{claims}."),
        format!("{head}.{claims}"),
        format!("{good}x"),
        "garbage".to_owned(),
        String::new(),
        "x".repeat(20_000),
    ];
    for token in refused {
        for (name, value) in [
            ("cookie", format!("session={token}")),
            ("authorization", format!("Bearer {token}")),
        ] {
            let request = Request::stream("organizationId=acme").field(name, &value);
            // Longer than fields other than cookies may be, this one may be 431 as well.
            let status = request.send(world.node.address()).head.status;
            assert!(
                status == 401 || (status == 431 && name != "cookie"),
                "{status} for {token}"
            );
        }
    }
    let bearer = format!("Bearer {good}");
    let request = Request::stream("organizationId=acme").field("authorization", &bearer);
    assert_eq!(world.node.stream(&request).connected["userId"], "alice");
    let wrong_key =
        Request::stream("organizationId=*").field("authorization", "Bearer service-key");
    assert_eq!(wrong_key.send(world.node.address()).head.status, 401);
}

fn the_session_cookie_has_the_name_that_is_configured(driver: Driver) {
    let name = "next-auth.session-token";
    let world = World::with(driver, |config| config.text("auth.cookie", name));
    let cookie = format!("{name}={}", session::token("alice"));
    let request = Request::stream("organizationId=acme").field("cookie", &cookie);
    assert_eq!(world.node.stream(&request).connected["userId"], "alice");
    let other = Request::stream("organizationId=acme").user("alice");
    assert_eq!(other.send(world.node.address()).head.status, 401);
}

fn no_membership_is_403(driver: Driver) {
    let world = World::new(driver);
    let refused = |organization: &str| {
        let request = Request::stream(&format!("organizationId={organization}")).user("alice");
        let response = request.send(world.node.address());
        assert_eq!(response.head.status, 403, "{organization}: {response:?}");
        response.refusal()
    };
    // An organisation that is not hers and one that does not exist are told apart by nobody.
    assert_eq!(refused("globex"), refused("nothing-of-this-name"));
    refused("*");
    refused("acme%20");
    refused("ACME");
    let nobody = Request::get("/api/realtime/stream").user("dave");
    assert_eq!(nobody.send(world.node.address()).head.status, 403);
}

fn an_unknown_path_is_404(driver: Driver) {
    let world = World::new(driver);
    for path in [
        "/nothing",
        "/api/realtime",
        "/api/realtime/stream/",
        "//",
        "/%2e%2e/etc/passwd",
    ] {
        let response = world.node.get(path);
        assert_eq!(response.head.status, 404, "{path}");
        response.refusal();
    }
}

fn another_method_is_405(driver: Driver) {
    let world = World::new(driver);
    for (method, target) in [
        ("PATCH", "/api/realtime/stream?organizationId=acme"),
        ("DELETE", "/livez"),
    ] {
        let response = Request::new(method, target)
            .user("alice")
            .send(world.node.address());
        assert_eq!(response.head.status, 405, "{method} {target}: {response:?}");
        assert!(
            response
                .head
                .value("allow")
                .is_some_and(|allow| allow.contains("GET"))
        );
        response.refusal();
    }
}

fn a_long_request_line_is_414(driver: Driver) {
    let world = World::new(driver);
    let target = format!("/{}", "x".repeat(8 * 1024));
    let response = world.node.get(&target);
    assert_eq!(response.head.status, 414);
    response.refusal();
    let endless = format!("GET /{}", "x".repeat(100_000));
    assert!(raw(&world, endless.as_bytes()).starts_with("HTTP/1.1 414 "));
}

fn large_fields_are_431(driver: Driver) {
    let world = World::new(driver);
    let large = Request::get("/livez").field("x-large", &"x".repeat(17 * 1024));
    let many = (0..65).fold(Request::get("/livez"), |request, index| {
        request.field(&format!("x-{index}"), "1")
    });
    for request in [large, many] {
        let response = request.send(world.node.address());
        assert_eq!(response.head.status, 431);
        response.refusal();
    }
}

fn large_cookies_are_not(driver: Driver) {
    let world = World::new(driver);
    // A session in pieces, and what else lies on the host.
    let other = format!("other={}", "x".repeat(40_000));
    let request = Request::stream("organizationId=acme")
        .field("cookie", &other)
        .user("alice");
    assert_eq!(world.node.stream(&request).connected["userId"], "alice");
    let beyond = Request::get("/livez").field("cookie", &"x".repeat(70_000));
    assert_eq!(beyond.send(world.node.address()).head.status, 431);
}

fn a_large_body_is_413(driver: Driver) {
    let world = World::new(driver);
    let request = Request::new("POST", "/api/realtime/publish")
        .field("content-length", &(64 * 1024 + 1).to_string());
    assert_eq!(request.send(world.node.address()).head.status, 413);
}

fn another_version_is_505(driver: Driver) {
    let world = World::new(driver);
    let response = raw(&world, b"GET /livez HTTP/2.0\r\nhost: a\r\n\r\n");
    assert!(response.starts_with("HTTP/1.1 505 ") || response.starts_with("HTTP/1.1 400 "));
    let preface = raw(&world, b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n");
    assert!(preface.starts_with("HTTP/1.1 505 ") || preface.starts_with("HTTP/1.1 400 "));
}

fn a_head_that_does_not_come_is_closed(driver: Driver) {
    let world = World::new(driver);
    let mut silent = connect(&world);
    let mut slow = connect(&world);
    slow.write_all(b"GET /livez HTTP/1.1\r\nhost:")
        .expect("a fresh connection takes bytes");
    // The deadline is absolute: it is not moved by bytes that trickle in.
    let mut slow_answer = Vec::new();
    let mut trickle = slow.try_clone().expect("a socket can be cloned");
    let dripping = std::thread::spawn(move || {
        while trickle.write_all(b"x").is_ok() {
            std::thread::sleep(Duration::from_millis(200));
        }
    });
    let closed = slow.read_to_end(&mut slow_answer);
    let text = String::from_utf8_lossy(&slow_answer);
    assert!(
        closed.is_err() || text.is_empty() || text.starts_with("HTTP/1.1 408 "),
        "{text}"
    );
    dripping.join().expect("it ends when the connection does");
    let mut silent_answer = Vec::new();
    // Nothing was asked; what ends the connection is not the point, that it ends is.
    let _ = silent.read_to_end(&mut silent_answer);
}

fn a_head_in_single_bytes_is_served(driver: Driver) {
    let world = World::new(driver);
    let mut connection = crate::support::http::Connection::open(world.node.address());
    let connection = connection.as_mut().expect("the node takes connections");
    connection
        .socket()
        .set_nodelay(true)
        .expect("a TCP socket has it");
    for byte in Request::get("/livez").bytes() {
        connection
            .send(&[byte])
            .expect("the head may arrive in pieces");
    }
    assert_eq!(connection.read_head().expect("it is answered").status, 200);
}

fn no_refusal_takes_the_node_down(driver: Driver) {
    let mut world = World::new(driver);
    let mut alice = world.node.open("acme", "alice");
    let service = format!("Bearer {SERVICE_KEY}");
    for _ in 0..200 {
        let mut connection = connect(&world);
        // It ends in whatever way; the others must not notice.
        let _ = connection.write_all(b"GET /\xff\xfe\r\n\x00 nonsense \r\r\n\n\r\n");
        drop(connection);
        let mut abandoned = connect(&world);
        let request = Request::stream("organizationId=*").field("authorization", &service);
        let _ = abandoned.write_all(&request.bytes());
    }
    world
        .database
        .connect()
        .run(r#"INSERT INTO "Property" (id, "organizationId", name) VALUES ('p', 'acme', 'P')"#);
    assert_eq!(alice.event()["payload"]["record"]["id"], "p");
    assert!(world.node.process().is_running());
    assert!(
        !world.node.log().contains("panicked"),
        "{}",
        world.node.log()
    );
}

/// Sends bytes as they are and returns everything that is answered.
fn raw(world: &World, bytes: &[u8]) -> String {
    let mut connection = connect(world);
    // The node may have refused and closed before the last byte.
    let _ = connection.write_all(bytes);
    let mut answer = Vec::new();
    let _ = connection.read_to_end(&mut answer);
    String::from_utf8_lossy(&answer).into_owned()
}

fn connect(world: &World) -> TcpStream {
    let connection = TcpStream::connect(world.node.address()).expect("the node takes connections");
    let limit = Some(Duration::from_secs(20));
    connection
        .set_read_timeout(limit)
        .expect("the limit is not zero");
    connection
}
