//! What happens to the slot and the publication while a node runs, as its clients and its operator see it.

use std::time::Duration;

use crate::support::sql::Sql;
use crate::support::{Config, Database, Driver, Node, World, on_both_drivers, wait_until};

on_both_drivers!(
    a_slot_that_is_dropped_is_made_anew_and_resets_nobody,
    a_table_that_is_made_anew_resets_every_stream_and_fails_the_check,
    without_a_slot_a_restart_is_a_reset,
);

/// A visit every quarter of a minute, and resets over ten seconds.
const LIMIT: Duration = Duration::from_secs(60);

const ANCHORS: &str = "SELECT count(*) FROM pg_replication_slots
                        WHERE database = current_database() AND NOT temporary";

fn a_slot_that_is_dropped_is_made_anew_and_resets_nobody(driver: Driver) {
    let world = World::new(driver);
    let sql = world.database.connect();
    let mut alice = world.node.open("acme", "alice");
    sql.run(
        "SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots
          WHERE database = current_database() AND NOT temporary",
    );
    sql.wait_for(&format!("SELECT ({ANCHORS}) = 1"), LIMIT);
    insert(&sql, "after");
    assert_eq!(alice.event()["payload"]["record"]["id"], "after");
    wait_until("counted", LIMIT, || {
        world.node.metrics().value("tailrace_anchors_lost_total") == 1.0
    });
    assert!(world.node.log().contains("anchor=lost"));
    let metrics = world.node.metrics();
    assert_eq!(metrics.sum("tailrace_resets_total"), 0.0);
    assert_eq!(metrics.sum("tailrace_ready"), 1.0);
}

fn a_table_that_is_made_anew_resets_every_stream_and_fails_the_check(driver: Driver) {
    let world = World::new(driver);
    let sql = world.database.connect();
    let mut alice = world.node.open("acme", "alice");
    sql.run(
        r#"CREATE TABLE copy (LIKE "Client" INCLUDING ALL);
           DROP TABLE "Client" CASCADE;
           ALTER TABLE copy RENAME TO "Client""#,
    );
    // Seen on a visit, and said to the streams a few at a time.
    world.node.wait_for_log("publication=lacks");
    assert_eq!(
        alice.control("reset").json()["reason"],
        "publication_changed"
    );
    let readiness = world.node.readiness();
    assert_eq!(readiness["ready"], false);
    let reason = readiness["reason"].as_str().expect("it says why");
    let mend = reason.find("ALTER PUBLICATION").expect("it says how");
    assert_eq!(
        world.node.metrics().value("tailrace_unpublished_tables"),
        1.0
    );
    // The stream is still open, and what is published still comes.
    insert(&sql, "still");
    assert_eq!(alice.event()["payload"]["record"]["id"], "still");
    sql.run(&reason[mend..]);
    world.node.wait_for_log("publication=back");
    assert_eq!(
        alice.control("reset").json()["reason"],
        "publication_changed"
    );
    wait_until("ready", LIMIT, || world.node.readiness()["ready"] == true);
}

fn without_a_slot_a_restart_is_a_reset(driver: Driver) {
    let database = Database::new();
    let sql = database.connect();
    let config = Config::new(&database, driver).text("slot.mode", "temporary");
    let mut node = Node::start(&config);
    let mut alice = node.open("acme", "alice");
    insert(&sql, "seen");
    alice.event();
    let mut again = node.resume("acme", "alice", &alice.last_event_id);
    assert_eq!(again.verdict(), "resumed", "as long as the node lives");
    assert_eq!(sql.value(ANCHORS), "0");
    insert(&sql, "missed");
    assert_eq!(again.event()["payload"]["record"]["id"], "missed");
    node.kill_and_launch();
    node.wait_ready();
    let mut late = node.resume("acme", "alice", &alice.last_event_id);
    assert_eq!(late.verdict(), "reset");
    assert_eq!(late.next().json()["reason"], "history");
    insert(&sql, "after");
    assert_eq!(late.event()["payload"]["record"]["id"], "after");
    drop(node);
}

fn insert(sql: &Sql, id: &str) {
    sql.run(&format!(
        r#"INSERT INTO "Property" (id, "organizationId", name) VALUES ('{id}', 'acme', 'P')"#
    ));
}
