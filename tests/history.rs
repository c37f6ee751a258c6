//! History: pages of what happened, by id, by time and from now, with a wait, and with both verdicts.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use crate::support::process::Signal;
use serde_json::Value;

use crate::support::http::Response;
use crate::support::sql::Sql;
use crate::support::{Driver, Pair, Request, World, on_both_drivers, wait_until};

on_both_drivers!(
    a_page_shows_what_a_stream_showed,
    a_page_begins_at_a_time,
    a_page_says_when_something_is_missing,
    a_filter_and_a_limit_make_a_page_shorter,
    pages_end_at_their_bytes_and_go_on_without_a_hole,
    a_wait_ends_with_the_first_event,
    a_wait_is_a_connection_of_its_user_and_a_page_is_none,
    a_wait_ends_with_the_membership,
    a_wait_ends_with_the_node,
    nobody_else_reads_a_page,
    a_notification_is_on_the_pages_of_its_user_alone,
);

fn page(query: &str) -> Request {
    Request::get(&format!(
        "/api/realtime/history?organizationId=acme&{query}"
    ))
}

/// A page that has to be there: its events, its verdict and its position.
fn read(address: SocketAddr, query: &str) -> (Vec<Value>, String, String) {
    let response = page(query).user("alice").send(address);
    assert_eq!(response.head.status, 200, "{query}: {}", response.body);
    (
        events(&response),
        field(&response, "x-tailrace-resume"),
        field(&response, "x-tailrace-position"),
    )
}

fn events(response: &Response) -> Vec<Value> {
    let page = response.json();
    page.as_array().expect("a page is an array").clone()
}

fn field(response: &Response, name: &str) -> String {
    let value = response.head.value(name);
    value.unwrap_or_else(|| panic!("no {name}")).to_owned()
}

fn insert(sql: &Sql, id: &str) {
    sql.run(&format!(
        r#"INSERT INTO "Client" (id, "organizationId", name) VALUES ('{id}', 'acme', 'C')"#
    ));
}

fn ids(events: &[Value]) -> Vec<&str> {
    events
        .iter()
        .map(|event| event["payload"]["record"]["id"].as_str().expect("a row"))
        .collect()
}

fn a_page_shows_what_a_stream_showed(driver: Driver) {
    let world = World::new(driver);
    let address = world.node.address();
    let mut stream = world.node.open("acme", "alice");
    let sql = world.database.connect();
    ["c1", "c2", "c3"].iter().for_each(|id| insert(&sql, id));
    sql.run(r#"INSERT INTO "Client" ("organizationId", name) VALUES ('globex', 'other')"#);
    let shown = stream.events(3);
    let first = shown[0]["id"].as_str().expect("an id");

    let (events, verdict, position) = read(address, &format!("since={first}"));
    assert_eq!(events, shown[1..], "the same events, whole");
    assert_eq!(verdict, "complete");
    let (events, verdict, _) = read(address, "");
    assert_eq!(
        (events.as_slice(), verdict.as_str()),
        (&shown[..], "complete")
    );
    let (events, _, _) = read(address, "limit=2");
    assert_eq!(events, shown[1..], "the newest, oldest first");
    let (events, verdict, again) = read(address, &format!("since={position}"));
    assert_eq!((events.len(), verdict.as_str()), (0, "complete"));
    insert(&sql, "c4");
    let (events, ..) = read(address, &format!("since={again}&wait=20"));
    assert_eq!(ids(&events), ["c4"]);
}

fn a_page_begins_at_a_time(driver: Driver) {
    let world = World::new(driver);
    let address = world.node.address();
    let mut stream = world.node.open("acme", "alice");
    let sql = world.database.connect();
    // Times of commits are told apart by milliseconds.
    for id in ["c1", "c2", "c3"] {
        std::thread::sleep(Duration::from_millis(20));
        insert(&sql, id);
    }
    let shown = stream.events(3);
    let ms = shown[1]["timestamp"].as_i64().expect("milliseconds");
    let iso = sql.value(&format!(
        "SELECT to_char(to_timestamp({ms} / 1000.0) AT TIME ZONE 'UTC', \
         'YYYY-MM-DD\"T\"HH24:MI:SS.MS\"Z\"')"
    ));
    for since in [ms.to_string(), iso] {
        let (events, verdict, _) = read(address, &format!("since={since}"));
        assert_eq!(ids(&events), ["c2", "c3"], "{since}");
        assert_eq!(verdict, "complete", "{since}");
    }
    let (events, ..) = read(address, &format!("since={}", ms + 1));
    assert_eq!(ids(&events), ["c3"]);
}

fn a_page_says_when_something_is_missing(driver: Driver) {
    let world = World::new(driver);
    let address = world.node.address();
    let mut stream = world.node.open("acme", "alice");
    insert(&world.database.connect(), "c1");
    let id = stream.event()["id"].as_str().expect("an id").to_owned();
    // Of another database, before this node began, and ahead of the server.
    let (epoch, rest) = id.split_once('.').expect("an id has fields");
    let (timeline, _) = rest.split_once('.').expect("an id has fields");
    for since in [
        "1.1.1.1".to_owned(),
        format!("{epoch}.{timeline}.1.1"),
        format!("{epoch}.{timeline}.ffffffff0000.1"),
        "1000".to_owned(),
        "2001-01-01T00:00:00Z".to_owned(),
    ] {
        let (events, verdict, position) = read(address, &format!("since={since}&wait=30"));
        assert_eq!(
            (ids(&events), verdict.as_str()),
            (vec!["c1"], "reset"),
            "{since}"
        );
        let (events, verdict, _) = read(address, &format!("since={position}"));
        assert_eq!((events.len(), verdict.as_str()), (0, "complete"), "{since}");
    }
    for query in ["since=yesterday", "limit=0", "wait=3600", "since=1.2.3"] {
        let response = page(query).user("alice").send(address);
        assert_eq!(response.refusal().0, "invalid_parameter", "{query}");
        assert_eq!(response.head.status, 400, "{query}");
    }
}

fn a_filter_and_a_limit_make_a_page_shorter(driver: Driver) {
    let world = World::new(driver);
    let address = world.node.address();
    let sql = world.database.connect();
    let mut stream = world.node.open("acme", "alice");
    insert(&sql, "c1");
    sql.run(
        r#"INSERT INTO "Property" (id, "organizationId", name) VALUES ('p1', 'acme', 'P');
           UPDATE "Property" SET name = 'Q';
           INSERT INTO "Property" (id, "organizationId", name) VALUES ('p2', 'acme', 'P');"#,
    );
    let shown = stream.events(4);
    let (events, ..) = read(address, "channel=property");
    assert_eq!(events, shown[1..]);
    let (events, ..) = read(address, "type=property.insert");
    assert_eq!(ids(&events), ["p1", "p2"]);
    let first = shown[0]["id"].as_str().expect("an id");
    let (events, verdict, position) = read(address, &format!("since={first}&limit=1"));
    assert_eq!((ids(&events), verdict.as_str()), (vec!["p1"], "complete"));
    assert_eq!(shown[1]["id"], position, "it goes on from its last event");
    let (events, ..) = read(address, &format!("since={position}&limit=10&type=*.insert"));
    assert!(events.is_empty(), "a star stands at the end alone");
    let (events, ..) = read(address, &format!("since={position}&type=property.*"));
    assert_eq!(events, shown[2..]);
}

fn pages_end_at_their_bytes_and_go_on_without_a_hole(driver: Driver) {
    let world = World::new(driver);
    let address = world.node.address();
    let sql = world.database.connect();
    let (_, _, mut position) = read(address, "");
    sql.run(
        r#"INSERT INTO "Client" (id, "organizationId", name)
           SELECT n, 'acme', repeat('x', 60000) FROM generate_series(1, 12) n"#,
    );
    let mut stream = world.node.resume("acme", "alice", &position);
    stream.events(12);
    let mut all = Vec::new();
    while all.len() < 12 {
        let response = page(&format!("since={position}&limit=500"))
            .user("alice")
            .send(address);
        assert!(
            response.body.len() <= 256 * 1024 + 2,
            "{}",
            response.body.len()
        );
        let events = events(&response);
        assert!((1..=4).contains(&events.len()), "{}", events.len());
        assert_eq!(field(&response, "x-tailrace-resume"), "complete");
        position = field(&response, "x-tailrace-position");
        all.extend(ids(&events).iter().map(|id| (*id).to_owned()));
    }
    let expected: Vec<String> = (1..=12).map(|n| n.to_string()).collect();
    assert_eq!(all, expected);
}

fn a_wait_ends_with_the_first_event(driver: Driver) {
    let world = World::new(driver);
    let address = world.node.address();
    let sql = world.database.connect();
    let (_, _, position) = read(address, "");
    let query = format!("since={position}&wait=30&channel=property");
    let waiting = std::thread::spawn(move || {
        let begun = Instant::now();
        (read(address, &query), begun.elapsed())
    });
    wait_for_streams(&world, 1.0);
    insert(&sql, "c1");
    sql.run(r#"INSERT INTO "Property" (id, "organizationId", name) VALUES ('p1', 'acme', 'P')"#);
    let ((events, verdict, next), elapsed) = waiting.join().expect("the page came");
    assert_eq!((ids(&events), verdict.as_str()), (vec!["p1"], "complete"));
    assert!(elapsed < Duration::from_secs(20), "{elapsed:?}");
    let begun = Instant::now();
    let (events, verdict, _) = read(address, &format!("since={next}&wait=1"));
    assert_eq!((events.len(), verdict.as_str()), (0, "complete"));
    assert!(begun.elapsed() >= Duration::from_millis(900), "it waited");
    wait_for_streams(&world, 0.0);
}

fn a_wait_is_a_connection_of_its_user_and_a_page_is_none(driver: Driver) {
    let world = World::with(driver, |config| {
        config.set("limits.connections_per_user", "1")
    });
    let address = world.node.address();
    let stream = world.node.open("acme", "alice");
    let (_, _, position) = read(address, "");
    let wait = page(&format!("since={position}&wait=20")).user("alice");
    let response = wait.send(address);
    assert_eq!(response.head.status, 429, "{}", response.body);
    assert_eq!(response.refusal().0, "too_many_connections");
    drop(stream);
    wait_for_streams(&world, 0.0);
    let (events, ..) = read(address, &format!("since={position}&wait=1"));
    assert!(events.is_empty());
    read(address, &format!("since={position}&wait=1"));
}

fn a_wait_ends_with_the_membership(driver: Driver) {
    let world = World::new(driver);
    let address = world.node.address();
    let sql = world.database.connect();
    let (_, _, position) = read(address, "");
    let request = page(&format!("since={position}&wait=30")).user("alice");
    let waiting = std::thread::spawn(move || request.send(address));
    wait_for_streams(&world, 1.0);
    sql.run(
        r#"DELETE FROM "OrganizationMember" WHERE "userId" = 'alice';
           INSERT INTO "Client" (id, "organizationId", name) VALUES ('late', 'acme', 'marker');"#,
    );
    let response = waiting.join().expect("the page came");
    assert_eq!(response.head.status, 403, "{}", response.body);
    assert_eq!(response.refusal().0, "not_a_member");
    let response = page("").user("alice").send(address);
    assert_eq!(response.head.status, 403, "{}", response.body);
}

fn a_wait_ends_with_the_node(driver: Driver) {
    let mut world = World::new(driver);
    let address = world.node.address();
    let (_, _, position) = read(address, "");
    let request = page(&format!("since={position}&wait=60")).user("alice");
    let waiting = std::thread::spawn(move || request.send(address));
    wait_for_streams(&world, 1.0);
    world.node.process().signal(Signal::TERM);
    let response = waiting.join().expect("the page came");
    assert_eq!(response.head.status, 503, "{}", response.body);
    assert_eq!(response.refusal().0, "draining");
    assert!(response.head.value("retry-after").is_some());
}

fn nobody_else_reads_a_page(driver: Driver) {
    let world = World::new(driver);
    let address = world.node.address();
    insert(&world.database.connect(), "marker-row");
    read(address, "wait=20");
    let status = |request: Request| {
        let response = request.send(address);
        assert!(!response.body.contains("marker-row"), "{}", response.body);
        response.head.status
    };
    assert_eq!(status(page("")), 401);
    assert_eq!(status(page("").user("bob")), 403);
    let evil = page("")
        .user("alice")
        .field("origin", "https://evil.example");
    assert_eq!(status(evil), 403);
    let wrong = Request::new("POST", "/api/realtime/history")
        .user("alice")
        .body("");
    assert_eq!(status(wrong), 405);

    let friend = page("")
        .user("alice")
        .field("origin", "https://app.example");
    let response = friend.send(address);
    assert_eq!(response.head.status, 200);
    assert_eq!(
        field(&response, "access-control-allow-origin"),
        "https://app.example"
    );
    let exposed = field(&response, "access-control-expose-headers");
    assert!(exposed.contains("x-tailrace-resume") && exposed.contains("x-tailrace-position"));
    let preflight = Request::new("OPTIONS", "/api/realtime/history")
        .field("origin", "https://app.example")
        .field("access-control-request-method", "GET");
    assert_eq!(status(preflight), 204);

    let everything = Request::get("/api/realtime/history?organizationId=*").service();
    let rows = events(&everything.send(address));
    assert_eq!(ids(&rows), ["marker-row"]);
}

fn a_notification_is_on_the_pages_of_its_user_alone(driver: Driver) {
    let route = "
[[route]]
table = \"Notification\"
type = \"notification.new\"
channel = \"notifications\"
user = \"userId\"
";
    let world = World::with(driver, |config| config.with(route));
    let address = world.node.address();
    let mut carol = world.node.open("acme", "carol");
    world.database.connect().run(
        r#"INSERT INTO "Notification" VALUES ('n', 'acme', 'alice', 'marker-for-alice');
           INSERT INTO "Client" (id, "organizationId", name) VALUES ('c1', 'acme', 'C');"#,
    );
    carol.event();
    let of = |user: &str| page("").user(user).send(address);
    assert_eq!(events(&of("alice")).len(), 2);
    assert_eq!(events(&of("alice"))[0]["channel"], "notifications");
    let other = of("carol");
    assert!(!other.body.contains("marker-for-alice"), "{}", other.body);
    assert_eq!(events(&other).len(), 1);
}

/// Waits until so many streams and waits are open.
fn wait_for_streams(world: &World, count: f64) {
    wait_until("streams to be open", Duration::from_secs(20), || {
        world.node.metrics().sum("tailrace_streams") == count
    });
}

/// A client without `EventSource` asks now here, now there, and misses nothing.
#[test]
fn a_poll_that_goes_from_node_to_node_has_every_event_once() {
    let pair = Pair::new();
    let (_, _, mut position) = read(pair.nodes[0].address(), "");
    let sql = pair.database.connect();
    let writer = std::thread::spawn(move || {
        for n in 0..300 {
            insert(&sql, &n.to_string());
        }
    });
    let mut seen = Vec::new();
    let deadline = Instant::now() + Duration::from_secs(60);
    while seen.len() < 300 {
        assert!(Instant::now() < deadline, "{} events came", seen.len());
        let node = &pair.nodes[seen.len() % 2];
        let (events, verdict, next) =
            read(node.address(), &format!("since={position}&wait=10&limit=7"));
        assert_eq!(verdict, "complete");
        seen.extend(ids(&events).iter().map(|id| (*id).to_owned()));
        position = next;
    }
    writer.join().expect("everything was written");
    let expected: Vec<String> = (0..300).map(|n: i32| n.to_string()).collect();
    assert_eq!(seen, expected);
}
