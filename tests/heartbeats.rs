//! Heartbeats: an event with an id after a silence, and none while there is something to say.

use std::time::{Duration, Instant};

use crate::support::{Driver, World, on_both_drivers};

on_both_drivers!(
    a_silent_stream_has_heartbeats,
    a_heartbeat_moves_the_resume_point
);

fn a_silent_stream_has_heartbeats(driver: Driver) {
    let world = World::with(driver, |config| config.text("http.heartbeat", "1s"));
    let mut alice = world.node.open("acme", "alice");
    assert_eq!(alice.connected["heartbeatMs"], 1_000);
    let start = Instant::now();
    for _ in 0..3 {
        let block = alice.next();
        assert_eq!(block.event.as_deref(), Some("heartbeat"));
        assert!(block.id.is_some());
        assert!(block.json()["timestamp"].is_u64());
    }
    // A lower bound only: a loaded machine may be late, a node must not be early.
    assert!(
        start.elapsed() > Duration::from_millis(1_500),
        "three in {:?}",
        start.elapsed()
    );
}

fn a_heartbeat_moves_the_resume_point(driver: Driver) {
    let world = World::with(driver, |config| config.text("http.heartbeat", "1s"));
    let mut alice = world.node.open("acme", "alice");
    let at_the_start = alice.last_event_id.clone();
    // The other organisation's events move the log but are not shown to alice.
    let sql = world.database.connect();
    sql.run(r#"INSERT INTO "Property" ("organizationId", name) VALUES ('globex', 'P')"#);
    let mut beat = String::new();
    crate::support::wait_until(
        "a heartbeat past the commit",
        Duration::from_secs(20),
        || {
            beat = alice
                .control("heartbeat")
                .id
                .expect("heartbeats carry an id");
            beat != at_the_start
        },
    );
    let mut again = world.node.resume("acme", "alice", &beat);
    assert_eq!(again.verdict(), "resumed");
    sql.run(r#"INSERT INTO "Property" (id, "organizationId", name) VALUES ('p', 'acme', 'P')"#);
    assert_eq!(again.event()["payload"]["record"]["id"], "p");
}
