//! A row changes, and the streams of its organisation show it: as the JSON that the design
//! promises, in the order of the transaction, and only once it is committed.

use std::time::{SystemTime, UNIX_EPOCH};

use serde_json::{Value, json};

use crate::support::{Driver, Request, World, on_both_drivers};

on_both_drivers!(
    an_insert_arrives_as_the_row_that_was_committed,
    an_update_shows_the_new_row,
    a_delete_shows_the_old_key,
    a_row_that_moves_is_deleted_here_and_inserted_there,
    a_transaction_arrives_in_its_order,
    a_large_transaction_arrives_whole,
    many_changes_of_a_type_arrive_in_batches_where_that_is_wanted,
    a_table_that_is_emptied_is_told_to_every_organisation,
    memberships_that_are_emptied_close_every_stream,
    nothing_of_a_rolled_back_transaction_arrives,
    the_node_reads_over_a_unix_socket_too,
);

fn an_insert_arrives_as_the_row_that_was_committed(driver: Driver) {
    let world = World::new(driver);
    let mut alice = world.node.open("acme", "alice");
    let before = now_ms();
    world.database.connect().run(
        r#"INSERT INTO "Property" VALUES ('p1', 'acme', E'Mill\nwith "view" – ü', 1250000.50, 7, true,
           NULL, '{"pool": [1, 2.50]}', '2025-03-01 12:30:00.5', '2025-03-02 12:30:00+02')"#,
    );
    let event = alice.event();

    let timestamp = event["timestamp"]
        .as_i64()
        .expect("a number of milliseconds");
    assert!(
        (before..=now_ms()).contains(&timestamp),
        "{timestamp} is the commit's time"
    );
    let expected = json!({
        "id": alice.last_event_id,
        "type": "property.insert",
        "channel": "property",
        "timestamp": timestamp,
        "source": "postgres",
        "version": "1",
        "payload": {
            "organizationId": "acme",
            "table": "Property",
            "action": "insert",
            "record": {
                "id": "p1",
                "organizationId": "acme",
                "name": "Mill\nwith \"view\" – ü",
                "price": "1250000.50",
                "rooms": 7,
                "isListed": true,
                "notes": null,
                "details": { "pool": [1, 2.50] },
                "listedAt": "2025-03-01T12:30:00.5Z",
                "soldAt": "2025-03-02T10:30:00+00:00",
            },
            "old": null,
        },
    });
    assert_eq!(event, expected);
}

fn an_update_shows_the_new_row(driver: Driver) {
    let world = World::new(driver);
    let sql = world.database.connect();
    let mut alice = world.node.open("acme", "alice");
    sql.run(r#"INSERT INTO "Property" (id, "organizationId", name) VALUES ('p1', 'acme', 'Mill')"#);
    assert_eq!(alice.event()["type"], "property.insert");
    sql.run(r#"UPDATE "Property" SET price = 10, notes = 'new' WHERE id = 'p1'"#);
    let event = alice.event();
    assert_eq!(event["type"], "property.update");
    let payload = &event["payload"];
    assert_eq!(payload["action"], "update");
    assert_eq!(payload["record"]["price"], "10");
    assert_eq!(payload["record"]["notes"], "new");
    assert_eq!(payload["record"]["name"], "Mill");
    // The old row is not known: the replica identity is an index whose columns did not change.
    assert_eq!(payload.get("changed"), None, "{payload}");
}

fn a_delete_shows_the_old_key(driver: Driver) {
    let world = World::new(driver);
    let sql = world.database.connect();
    // Opened first: how soon the node has read the insert is not known.
    let mut alice = world.node.open("acme", "alice");
    sql.run(r#"INSERT INTO "Property" (id, "organizationId", name) VALUES ('p1', 'acme', 'Mill')"#);
    assert_eq!(alice.event()["type"], "property.insert");
    sql.run(r#"DELETE FROM "Property" WHERE id = 'p1'"#);
    let event = alice.event();
    assert_eq!(event["type"], "property.delete");
    let payload = &event["payload"];
    assert_eq!(payload["action"], "delete");
    assert_eq!(payload["organizationId"], "acme");
    assert_eq!(payload["record"], Value::Null);
    assert_eq!(
        payload["old"],
        json!({ "id": "p1", "organizationId": "acme" })
    );
}

fn a_row_that_moves_is_deleted_here_and_inserted_there(driver: Driver) {
    let world = World::new(driver);
    let sql = world.database.connect();
    let mut acme = world.node.open("acme", "alice");
    sql.run(r#"INSERT INTO "Property" (id, "organizationId", name) VALUES ('p1', 'acme', 'Mill')"#);
    assert_eq!(acme.event()["type"], "property.insert");
    let mut globex = world.node.open("globex", "bob");
    sql.run(
        r#"UPDATE "Property" SET "organizationId" = 'globex', notes = 'marker-of-globex'
           WHERE id = 'p1'"#,
    );
    let (left, entered) = (acme.event(), globex.event());
    assert_eq!(left["type"], "property.delete");
    assert_eq!(
        left["payload"]["old"],
        json!({ "id": "p1", "organizationId": "acme" })
    );
    assert_eq!(entered["type"], "property.insert");
    assert_eq!(entered["payload"]["record"]["notes"], "marker-of-globex");
    assert!(
        !acme.has_received("globex"),
        "the old tenant is not told where the row went"
    );
}

fn a_transaction_arrives_in_its_order(driver: Driver) {
    let world = World::new(driver);
    let mut alice = world.node.open("acme", "alice");
    world.database.connect().run(
        r#"BEGIN;
           INSERT INTO "Property" (id, "organizationId", name) VALUES ('a', 'acme', 'A');
           INSERT INTO "Client" (id, "organizationId", name) VALUES ('b', 'acme', 'B');
           UPDATE "Property" SET name = 'A2' WHERE id = 'a';
           DELETE FROM "Client" WHERE id = 'b';
           COMMIT;"#,
    );
    let events = alice.events(4);
    let types: Vec<&str> = events
        .iter()
        .filter_map(|event| event["type"].as_str())
        .collect();
    assert_eq!(
        types,
        [
            "property.insert",
            "client.insert",
            "property.update",
            "client.delete"
        ]
    );
    // One commit: the ids differ in their last field only, and it grows.
    let id = |event: &Value| event["id"].as_str().expect("an id").to_owned();
    let commits: Vec<String> = events
        .iter()
        .map(|event| {
            id(event)
                .rsplit_once('.')
                .expect("four fields")
                .0
                .to_owned()
        })
        .collect();
    assert!(
        commits.iter().all(|commit| *commit == commits[0]),
        "{commits:?}"
    );
    assert!(
        events
            .iter()
            .all(|event| event["timestamp"] == events[0]["timestamp"])
    );
}

fn a_large_transaction_arrives_whole(driver: Driver) {
    let world = World::new(driver);
    let mut alice = world.node.open("acme", "alice");
    // Several batches of 256 KiB, many slices of 60 KiB, and more than a socket takes at once.
    world.database.connect().run(
        r#"INSERT INTO "Property" (id, "organizationId", name, notes)
           SELECT i::text, 'acme', 'P', repeat('x', 1000) FROM generate_series(1, 5000) i"#,
    );
    for (index, event) in alice.events(5_000).iter().enumerate() {
        assert_eq!(event["payload"]["record"]["id"], (index + 1).to_string());
    }
}

fn many_changes_of_a_type_arrive_in_batches_where_that_is_wanted(driver: Driver) {
    let world = World::with(driver, |config| config.set("batch.over", "50"));
    let path = "/api/realtime/stream?organizationId=acme&type=property.insert";
    let mut alice = world.node.stream(&Request::get(path).user("alice"));
    world.database.connect().run(
        r#"INSERT INTO "Property" (id, "organizationId", name)
           SELECT i::text, 'acme', 'P' FROM generate_series(1, 2000) i"#,
    );
    let mut seen = 0;
    while seen < 2_000 {
        let event = alice.event();
        assert_eq!(event["type"], "property.insert.batch");
        let changes = event["payload"]["changes"].as_array().expect("a batch");
        assert_eq!(changes.last().expect("some")["id"], event["id"]);
        for change in changes {
            seen += 1;
            assert_eq!(change["record"]["id"], seen.to_string());
        }
    }
}

// Case: 26
fn a_table_that_is_emptied_is_told_to_every_organisation(driver: Driver) {
    let world = World::new(driver);
    let mut streams = [("acme", "alice"), ("globex", "bob")]
        .map(|(organization, user)| world.node.open(organization, user));
    let path = "/api/realtime/stream?organizationId=acme&channel=client";
    let mut elsewhere = world.node.stream(&Request::get(path).user("alice"));
    let sql = world.database.connect();
    sql.run(r#"TRUNCATE "Property" CASCADE"#);
    sql.run(r#"INSERT INTO "Client" ("organizationId", name) VALUES ('acme', 'Ann')"#);
    for stream in &mut streams {
        let event = stream.event();
        assert_eq!(event["type"], "property.truncated");
        let expected = json!({
            "organizationId": null, "table": "Property", "action": "truncate",
            "record": null, "old": null,
        });
        assert_eq!(event["payload"], expected);
    }
    assert_eq!(elsewhere.event()["type"], "client.insert");
}

// Case: 26
fn memberships_that_are_emptied_close_every_stream(driver: Driver) {
    let world = World::new(driver);
    let mut streams = [("acme", "alice"), ("globex", "bob"), ("globex", "carol")]
        .map(|(organization, user)| world.node.open(organization, user));
    world.database.connect().run(
        r#"BEGIN; TRUNCATE "OrganizationMember";
           INSERT INTO "Property" ("organizationId", name) VALUES ('acme', 'marker-late'); COMMIT"#,
    );
    for stream in &mut streams {
        let bye = stream.control("bye").json();
        assert_eq!(bye["reason"], "membership_revoked");
        assert!(!stream.has_received("marker-late"));
    }
}

fn nothing_of_a_rolled_back_transaction_arrives(driver: Driver) {
    let world = World::new(driver);
    let mut alice = world.node.open("acme", "alice");
    world.database.connect().run(
        r#"BEGIN;
           INSERT INTO "Property" ("organizationId", name) VALUES ('acme', 'marker-rolled-back');
           ROLLBACK;
           BEGIN;
           SAVEPOINT before;
           INSERT INTO "Property" ("organizationId", name) VALUES ('acme', 'marker-rolled-back');
           ROLLBACK TO before;
           INSERT INTO "Property" (id, "organizationId", name) VALUES ('kept', 'acme', 'Kept');
           COMMIT;"#,
    );
    assert_eq!(alice.event()["payload"]["record"]["id"], "kept");
    assert!(!alice.has_received("marker-rolled-back"));
}

fn the_node_reads_over_a_unix_socket_too(driver: Driver) {
    let database = crate::support::Database::new();
    let config = crate::support::Config::new(&database, driver);
    let node = crate::support::Node::start(&config.text("database.url", &database.socket_url()));
    let mut alice = node.open("acme", "alice");
    database
        .connect()
        .run(r#"INSERT INTO "Property" (id, "organizationId", name) VALUES ('p', 'acme', 'P')"#);
    assert_eq!(alice.event()["payload"]["record"]["id"], "p");
    // The node lets go of its slot before the database goes.
    drop(node);
}

fn now_ms() -> i64 {
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .expect("the clock is past 1970");
    i64::try_from(now.as_millis()).expect("the clock is this side of the year 200,000,000")
}
