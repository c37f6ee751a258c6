//! `GET /api/realtime/stats`: figures for operators, by their key and no other's.

use std::time::Duration;

use serde_json::{Value, json};

use crate::support::config::{ADMIN_KEY, SERVICE_KEY};
use crate::support::{Driver, Node, Request, World, on_both_drivers, wait_until};

on_both_drivers!(
    figures_follow_who_comes_and_goes,
    figures_are_for_operators_alone,
    a_key_of_ones_own_has_the_rights_it_was_given,
);

const LIMIT: Duration = Duration::from_secs(20);

fn request(query: &str, key: &str) -> Request {
    Request::get(&format!("/api/realtime/stats{query}"))
        .field("authorization", &format!("Bearer {key}"))
}

fn stats(node: &Node, query: &str) -> Value {
    let response = request(query, ADMIN_KEY).send(node.address());
    assert_eq!(response.head.status, 200, "{response:?}");
    assert_eq!(response.head.value("cache-control"), Some("no-store"));
    response.json()
}

fn figures_follow_who_comes_and_goes(driver: Driver) {
    let world = World::new(driver);
    let node = &world.node;
    let before = stats(node, "");
    assert_eq!(before["connectedClients"], 0);
    assert_eq!(before["organizations"], json!([]));
    let mut alice = node.open("acme", "alice");
    let (carol, bob) = (node.open("acme", "carol"), node.open("globex", "bob"));
    let service = node.stream(&Request::stream("organizationId=*").service());
    world.database.connect().run(
        r#"INSERT INTO "Property" ("organizationId", name) VALUES ('acme', 'marker-payload');
           SELECT pg_logical_emit_message(true, 'tailrace',
             '{"type": "horses:fed", "organizationId": "globex"}');
           SELECT pg_logical_emit_message(true, 'tailrace', '{"type": "note", "userId": "bob"}');"#,
    );
    alice.event();
    let organization =
        |name: &str, clients: u32| json!({"organizationId": name, "connectedClients": clients});
    // Engines and the thread that reads tell theirs each for itself, a moment later.
    wait_until("the figures follow", LIMIT, || {
        let stats = stats(node, "");
        let channels = stats["channels"].as_array().map_or(0, Vec::len);
        stats["connectedClients"] == 4 && stats["eventHistorySize"] == 3 && channels >= 3
    });
    let now = stats(node, "");
    let listed = json!([organization("acme", 2), organization("globex", 1)]);
    assert_eq!(
        (&now["organizations"], &now["organizationCount"]),
        (&listed, &json!(2))
    );
    assert_eq!(now["events"], 3);
    assert_eq!(now["ready"], true);
    let channels = now["channels"].as_array().expect("a list");
    for channel in ["horses", "property", "user"] {
        assert!(
            channels.contains(&json!(channel)),
            "{channel}: {channels:?}"
        );
    }
    // The names of users are no channels of their own here.
    let text = now.to_string();
    assert!(
        !text.contains("bob") && !text.contains("marker-payload"),
        "{text}"
    );
    let one = stats(node, "?organizationId=globex");
    assert_eq!(one["organizations"], json!([organization("globex", 1)]));
    let none = stats(node, "?tenantId=initech");
    assert_eq!(none["organizations"], json!([organization("initech", 0)]));
    drop((alice, carol, bob, service));
    wait_until("they have left", LIMIT, || {
        let stats = stats(node, "");
        stats["connectedClients"] == 0 && stats["organizationCount"] == 0
    });
}

fn figures_are_for_operators_alone(driver: Driver) {
    let world = World::new(driver);
    let _alice = world.node.open("acme", "alice");
    let status = |request: Request| {
        let response = request.send(world.node.address());
        assert!(!response.body.contains("acme"), "{response:?}");
        (response.head.status, response.refusal().0)
    };
    let path = "/api/realtime/stats";
    let refused = |status: u16, code: &str| (status, code.to_owned());
    let unknown = refused(401, "unauthenticated");
    assert_eq!(status(Request::get(path)), unknown);
    assert_eq!(status(Request::get(path).user("alice")), unknown);
    assert_eq!(status(request("", &ADMIN_KEY[1..])), unknown);
    assert_eq!(status(request("", "")), unknown);
    let basic = format!("Basic {ADMIN_KEY}");
    assert_eq!(
        status(Request::get(path).field("authorization", &basic)),
        unknown
    );
    assert_eq!(status(request("", SERVICE_KEY)), refused(403, "forbidden"));
    let posted = Request::new("POST", path).field("authorization", &format!("Bearer {ADMIN_KEY}"));
    assert_eq!(status(posted.body("")).0, 405);
    // What is open to everybody has no tenant's name.
    let metrics = world.node.get("/metrics");
    assert_eq!(metrics.head.status, 200);
    assert!(!metrics.body.contains("acme") && !metrics.body.contains("alice"));
}

fn a_key_of_ones_own_has_the_rights_it_was_given(driver: Driver) {
    let (publisher, operator) = ("0123456789abcdef-publisher", "0123456789abcdef-operator");
    let keys = format!(
        "\n[[key]]\nsecret = \"{publisher}\"\nrights = [\"publish\"]\n\
         [[key]]\nsecret = \"{operator}\"\nrights = [\"admin\"]\n"
    );
    let world = World::with(driver, |config| config.with(&keys));
    let status = |request: &Request| request.send(world.node.address()).head.status;
    let bearer =
        |request: Request, key: &str| request.field("authorization", &format!("Bearer {key}"));
    let body = json!({"type": "a", "organizationId": "acme"});
    let publish = |key| bearer(Request::new("POST", "/api/realtime/publish"), key).with_json(&body);
    let read = |key| bearer(Request::stream("organizationId=acme"), key);
    assert_eq!(status(&publish(publisher)), 202);
    assert_eq!(status(&request("", operator)), 200);
    assert_eq!(status(&publish(operator)), 403);
    assert_eq!(status(&request("", publisher)), 403);
    // Neither may read, and to whom it is no key for streams it is no session either.
    for key in [publisher, operator] {
        assert!([401, 403].contains(&status(&read(key))), "{key}");
    }
}
