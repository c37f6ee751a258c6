//! Proxies in front of a node, and the HTTP/1.0 that a bare nginx speaks.

use crate::support::http::Connection;
use crate::support::nginx::Nginx;
use crate::support::{Driver, End, Node, Request, Stream, World, on_both_drivers};

on_both_drivers!(
    http_1_0_is_served_like_1_1,
    a_bare_proxy_pass_of_nginx_streams,
    the_documented_block_of_nginx_streams,
);

/// The block that applications with a stream already have in their nginx, word for word.
const DOCUMENTED_BLOCK: &str = "
location /api/activity/stream {
    proxy_pass http://nextjs_backend;
    proxy_set_header Connection '';
    proxy_http_version 1.1;
    chunked_transfer_encoding off;
    proxy_buffering off;
    proxy_cache off;
}
";

fn http_1_0_is_served_like_1_1(driver: Driver) {
    let world = World::new(driver);
    let request =
        Request::line("GET /api/realtime/stream?organizationId=acme HTTP/1.0").user("alice");
    let mut stream = world.node.stream(&request);
    insert(&world, "p");
    assert_eq!(stream.event()["payload"]["record"]["id"], "p");
    let response = Request::line("GET /livez HTTP/1.0").send(world.node.address());
    assert_eq!(response.head.status, 200);
    let response = Request::line("GET /nothing HTTP/1.0").send(world.node.address());
    assert_eq!(response.head.status, 404);
}

fn a_bare_proxy_pass_of_nginx_streams(driver: Driver) {
    let world = World::new(driver);
    let nginx = Nginx::start(
        world.node.address(),
        "location / { proxy_pass http://$node; }",
    );
    streams_through(&world, &nginx, "/api/realtime/stream");
    // What is not a stream goes through as well.
    assert_eq!(
        Request::get("/livez").send(nginx.address()).head.status,
        200
    );
    let missing = Request::get("/nothing").send(nginx.address());
    assert_eq!(missing.head.status, 404);
    missing.refusal();
}

fn the_documented_block_of_nginx_streams(driver: Driver) {
    let path = "
[[stream]]
path = \"/api/activity/stream\"
refusal = \"status\"
";
    let world = World::with(driver, |config| config.with(path));
    let nginx = Nginx::start(world.node.address(), DOCUMENTED_BLOCK);
    streams_through(&world, &nginx, "/api/activity/stream");
}

/// Events arrive one by one and not when a buffer is full; a client that leaves is noticed; and
/// `Last-Event-ID` goes through.
fn streams_through(world: &World, nginx: &Nginx, path: &str) {
    let request = Request::get(&format!("{path}?organizationId=acme")).user("alice");
    let open = |request: &Request| {
        let connection = Connection::open(nginx.address()).expect("nginx takes connections");
        Stream::open_over(connection, request)
    };
    let mut stream = open(&request);
    for round in 0..5 {
        insert(world, &format!("p{round}"));
        assert_eq!(
            stream.event()["payload"]["record"]["id"],
            format!("p{round}")
        );
    }
    let id = stream.last_event_id.clone();
    drop(stream);
    let limit = std::time::Duration::from_secs(20);
    crate::support::wait_until("the node misses the client", limit, || {
        streams(&world.node) == 0.0
    });
    insert(world, "missed");
    let mut again = open(&request.clone().last_event_id(&id));
    assert_eq!(again.event()["payload"]["record"]["id"], "missed");
    let silence = again.try_next(std::time::Duration::from_millis(200));
    assert_eq!(silence, Err(End::Silent), "the stream stays open");
}

fn streams(node: &Node) -> f64 {
    node.metrics().sum("tailrace_streams")
}

fn insert(world: &World, id: &str) {
    world.database.connect().run(&format!(
        r#"INSERT INTO "Property" (id, "organizationId", name) VALUES ('{id}', 'acme', 'P')"#
    ));
}
