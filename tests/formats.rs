//! The formats `data` and `named`, and the paths that ship with them: code that was written for another
//! server of events reads these streams as they are.

use std::time::Duration;

use serde_json::{Value, json};

use crate::support::sse::Block;
use crate::support::{Driver, Request, Stream, World, on_both_drivers};

on_both_drivers!(
    the_path_of_activities_has_the_data_beside_the_type,
    the_path_of_events_names_each_by_its_type,
    a_delete_shows_the_old_row_in_every_format,
    every_format_goes_on_from_the_same_ids,
    a_path_that_says_so_refuses_with_the_true_status,
    a_row_larger_than_a_socket_arrives_whole_in_every_format,
);

const DATA: &str = "/api/activity/stream";
const NAMED: &str = "/api/realtime/events";

fn open(world: &World, path: &str, user: &str) -> Stream {
    let target = format!("{path}?organizationId=acme");
    world.node.stream(&Request::get(&target).user(user))
}

/// The next block that is no heartbeat.
fn block(stream: &mut Stream) -> Block {
    loop {
        let block = stream.next();
        if block.event.as_deref() != Some("heartbeat") {
            return block;
        }
    }
}

fn the_path_of_activities_has_the_data_beside_the_type(driver: Driver) {
    let world = World::new(driver);
    let mut stream = open(&world, DATA, "alice");
    let mut whole = world.node.open("acme", "alice");
    world.database.connect().run(
        r#"INSERT INTO "Activity" VALUES ('a', 'acme', 'signed', NULL);
           UPDATE "Activity" SET verb = 'read' WHERE id = 'a';"#,
    );
    for (kind, verb) in [("activity.insert", "signed"), ("activity.update", "read")] {
        let block = block(&mut stream);
        assert_eq!(block.event, None, "onmessage receives it");
        let event = block.json();
        let expected = whole.event();
        assert_eq!(
            event,
            json!({
                "id": block.id,
                "type": kind,
                "channel": "activity",
                "timestamp": expected["timestamp"],
                "data": expected["payload"]["record"],
            })
        );
        assert_eq!(event["data"]["verb"], verb);
        assert_eq!(event["id"], expected["id"]);
    }
}

fn the_path_of_events_names_each_by_its_type(driver: Driver) {
    let route = "
[[route]]
table = \"Activity\"
type = \"horses:{created|updated|deleted}\"
";
    let world = World::with(driver, |config| config.with(route));
    let mut stream = open(&world, NAMED, "alice");
    world.database.connect().run(
        r#"INSERT INTO "Activity" VALUES ('h7', 'acme', 'neighed', NULL);
           INSERT INTO "Client" (id, "organizationId", name) VALUES ('c1', 'acme', 'C');"#,
    );
    let first = block(&mut stream);
    assert_eq!(first.event.as_deref(), Some("horses:created"));
    let row: Value = first.json();
    assert_eq!(
        (&row["id"], &row["verb"]),
        (&json!("h7"), &json!("neighed"))
    );
    let second = block(&mut stream);
    assert_eq!(second.event.as_deref(), Some("client.insert"));
    assert_eq!(second.json()["id"], "c1");
    assert!(first.id.is_some() && second.id.is_some());
}

fn a_delete_shows_the_old_row_in_every_format(driver: Driver) {
    let world = World::new(driver);
    let (mut data, mut named) = (open(&world, DATA, "alice"), open(&world, NAMED, "alice"));
    world.database.connect().run(
        r#"INSERT INTO "Client" (id, "organizationId", name) VALUES ('c1', 'acme', 'C');
           DELETE FROM "Client";"#,
    );
    let old = json!({ "id": "c1", "organizationId": "acme" });
    block(&mut data);
    let deleted = block(&mut data).json();
    assert_eq!(
        (&deleted["type"], &deleted["data"]),
        (&json!("client.delete"), &old)
    );
    block(&mut named);
    let deleted = block(&mut named);
    assert_eq!(deleted.event.as_deref(), Some("client.delete"));
    assert_eq!(deleted.json(), old);
}

fn every_format_goes_on_from_the_same_ids(driver: Driver) {
    let world = World::new(driver);
    let sql = world.database.connect();
    let mut whole = world.node.open("acme", "alice");
    let insert = |id: &str| {
        sql.run(&format!(
            r#"INSERT INTO "Client" (id, "organizationId", name) VALUES ('{id}', 'acme', 'C')"#
        ));
    };
    insert("c1");
    insert("c2");
    let first = whole.event();
    whole.event();
    for path in [DATA, NAMED] {
        let target = format!("{path}?organizationId=acme");
        let id = first["id"].as_str().expect("an id");
        let request = Request::get(&target).user("alice").last_event_id(id);
        let mut stream = world.node.stream(&request);
        assert_eq!(stream.verdict(), "resumed");
        let event = block(&mut stream).json();
        let row = if path == DATA { &event["data"] } else { &event };
        assert_eq!(row["id"], "c2");
    }
}

fn a_path_that_says_so_refuses_with_the_true_status(driver: Driver) {
    let world = World::with(driver, |config| {
        config.set("limits.connections_per_user", "1")
    });
    let _first = world.node.open("acme", "alice");
    let refused = |path: &str| {
        let target = format!("{path}?organizationId=acme");
        Request::get(&target)
            .user("alice")
            .send(world.node.address())
    };
    let hard = refused(DATA);
    assert_eq!(hard.head.status, 429, "{}", hard.body);
    assert_eq!(hard.json()["error"]["code"], "too_many_connections");
    assert!(hard.head.value("retry-after").is_some());
    for path in [NAMED, "/api/stream", "/api/realtime/stream"] {
        let soft = refused(path);
        assert_eq!(soft.head.status, 200, "{path}");
        assert!(soft.body.contains("event: refused\n"), "{}", soft.body);
        assert!(soft.body.contains("too_many_connections"), "{}", soft.body);
    }
}

fn a_row_larger_than_a_socket_arrives_whole_in_every_format(driver: Driver) {
    let world = World::new(driver);
    let mut streams = [
        open(&world, DATA, "alice"),
        open(&world, NAMED, "alice"),
        world.node.open("acme", "alice"),
    ];
    let sql = world.database.connect();
    for (id, bytes) in [("small", 10), ("large", 300_000), ("last", 10)] {
        sql.run(&format!(
            r#"INSERT INTO "Client" (id, "organizationId", name)
               VALUES ('{id}', 'acme', repeat('ü', {bytes}))"#
        ));
    }
    // Nobody has read anything yet: the sockets are full by now.
    std::thread::sleep(Duration::from_millis(300));
    for stream in &mut streams {
        for (id, length) in [("small", 10), ("large", 300_000), ("last", 10)] {
            let block = block(stream);
            let event = block.json();
            let row = match (&block.event, event.get("data")) {
                (Some(_), _) => &event,
                (None, Some(data)) => data,
                (None, None) => &event["payload"]["record"],
            };
            assert_eq!(row["id"], id);
            let name = row["name"].as_str().expect("a name");
            assert_eq!(name.chars().count(), length);
        }
    }
}
