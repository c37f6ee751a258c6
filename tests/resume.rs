//! `Last-Event-ID`: a client that comes back goes on where it was, wherever and whenever it comes
//! back, or is told with `reset` that it cannot.

use std::time::Duration;

use serde_json::Value;

use crate::support::position::Position;
use crate::support::process::{Pid, Signal};
use crate::support::sql::Sql;
use crate::support::{Config, Database, Driver, End, Node, Request, Stream, World};
use crate::support::{on_both_drivers, wait_until};

on_both_drivers!(
    a_client_goes_on_after_its_last_event,
    a_client_goes_on_within_a_transaction,
    a_client_that_saw_no_event_yet_goes_on_from_its_start,
    a_client_goes_on_after_a_long_silence,
    the_query_says_it_too_and_the_header_wins,
    every_engine_resumes_what_another_sent,
    a_node_that_is_behind_holds_the_client,
    a_foreign_id_is_reset,
    an_id_beyond_the_log_of_the_server_is_reset,
    an_id_whose_events_are_gone_is_reset,
    an_id_from_before_the_window_is_reset,
    a_node_started_again_and_another_one_go_on_alike,
    anothers_eviction_is_no_reset,
);

/// The least that may be configured: a quarter of it, 4 MiB, is one organisation's share.
const LEAST_HISTORY: &str = "16MiB";

fn a_client_goes_on_after_its_last_event(driver: Driver) {
    let world = World::new(driver);
    let sql = world.database.connect();
    let mut alice = world.node.open("acme", "alice");
    assert_eq!(alice.verdict(), "live");
    insert(&sql, "seen");
    assert_eq!(key(&alice.event()), "seen");
    let id = alice.last_event_id.clone();
    drop(alice);
    for missed in ["missed-1", "missed-2", "missed-3"] {
        insert(&sql, missed);
    }
    let mut again = world.node.resume("acme", "alice", &id);
    assert_eq!(again.verdict(), "resumed");
    insert(&sql, "live");
    let keys: Vec<String> = again.events(4).iter().map(key).collect();
    assert_eq!(keys, ["missed-1", "missed-2", "missed-3", "live"]);
}

fn a_client_goes_on_within_a_transaction(driver: Driver) {
    let world = World::new(driver);
    let sql = world.database.connect();
    let mut alice = world.node.open("acme", "alice");
    sql.run(
        r#"INSERT INTO "Property" (id, "organizationId", name)
           VALUES ('1', 'acme', 'P'), ('2', 'acme', 'P'), ('3', 'acme', 'P')"#,
    );
    alice.event();
    let mut again = world.node.resume("acme", "alice", &alice.last_event_id);
    let keys: Vec<String> = again.events(2).iter().map(key).collect();
    assert_eq!(keys, ["2", "3"]);
}

fn a_client_that_saw_no_event_yet_goes_on_from_its_start(driver: Driver) {
    let world = World::new(driver);
    let sql = world.database.connect();
    insert(&sql, "before");
    let mut witness = world
        .node
        .stream(&Request::stream("organizationId=*").service());
    let alice = world.node.open("acme", "alice");
    let id = alice.last_event_id.clone();
    drop(alice);
    insert(&sql, "missed");
    assert_eq!(key(&last_of(&mut witness, "missed")), "missed");
    let mut again = world.node.resume("acme", "alice", &id);
    assert_eq!(again.verdict(), "resumed");
    assert_eq!(key(&last_of(&mut again, "missed")), "missed");
}

fn a_client_goes_on_after_a_long_silence(driver: Driver) {
    // So little history that what the client saw last is long gone when it comes back; the
    // heartbeats have moved its place along.
    let world = World::with(driver, |config| {
        config
            .text("http.heartbeat", "1s")
            .text("history.max_bytes", LEAST_HISTORY)
    });
    let sql = world.database.connect();
    let mut witness = world.node.open("globex", "bob");
    let mut alice = world.node.open("acme", "alice");
    insert(&sql, "seen");
    alice.event();
    let seen = alice.last_event_id.clone();
    flood(&sql, "globex", &mut witness);
    wait_until(
        "a heartbeat past the flood",
        Duration::from_secs(30),
        || {
            let id = alice
                .control("heartbeat")
                .id
                .expect("heartbeats carry an id");
            position(&id) >= position(&witness.last_event_id)
        },
    );
    let mut again = world.node.resume("acme", "alice", &alice.last_event_id);
    assert_eq!(again.verdict(), "resumed");
    insert(&sql, "next");
    assert_eq!(key(&again.event()), "next");
    // The place before the silence would not have done: an event of its own was evicted since.
    flood(&sql, "acme", &mut again);
    assert_eq!(world.node.resume("acme", "alice", &seen).verdict(), "reset");
}

fn the_query_says_it_too_and_the_header_wins(driver: Driver) {
    let world = World::new(driver);
    let sql = world.database.connect();
    let mut alice = world.node.open("acme", "alice");
    insert(&sql, "1");
    insert(&sql, "2");
    alice.event();
    let first = alice.last_event_id.clone();
    alice.event();
    let second = alice.last_event_id.clone();
    let query = format!("organizationId=acme&lastEventId={first}");
    let mut by_query = world.node.stream(&Request::stream(&query).user("alice"));
    assert_eq!(key(&by_query.event()), "2");
    let request = Request::stream(&query).user("alice").last_event_id(&second);
    let mut by_header = world.node.stream(&request);
    insert(&sql, "3");
    assert_eq!(key(&by_header.event()), "3");
}

fn every_engine_resumes_what_another_sent(driver: Driver) {
    let world = World::with(driver, |config| config.set("engine.threads", "4"));
    let sql = world.database.connect();
    let mut alice = world.node.open("acme", "alice");
    insert(&sql, "seen");
    alice.event();
    let mut engines = std::collections::BTreeSet::new();
    for round in 0..40 {
        insert(&sql, &format!("missed-{round}"));
        let mut again = world.node.resume("acme", "alice", &alice.last_event_id);
        assert_eq!(again.verdict(), "resumed");
        for earlier in 0..=round {
            assert_eq!(key(&again.event()), format!("missed-{earlier}"));
        }
        engines.insert(engine_of(&again));
    }
    // The kernel spreads connections by a hash of their ports: forty of them reach four engines.
    assert!(engines.len() > 1, "all of them on {engines:?}");
}

// Case: 43
fn a_node_that_is_behind_holds_the_client(driver: Driver) {
    let database = Database::new();
    let sql = database.connect();
    let config = Config::new(&database, driver);
    let ahead = Node::start(&config);
    let first = walsenders(&sql);
    let behind = Node::start(&config.clone().on_another_port());
    let mut at_the_first = ahead.open("acme", "alice");
    let of_the_second = Paused::new(walsenders(&sql).into_iter().find(|id| !first.contains(id)));
    insert(&sql, "early");
    assert_eq!(key(&at_the_first.event()), "early");

    // The client saw an event that the second node has not read. It is answered at once …
    let mut held = behind.resume("acme", "alice", &at_the_first.last_event_id);
    assert_eq!(held.verdict(), "resumed");
    assert_eq!(held.try_next(Duration::from_millis(500)), Err(End::Silent));
    insert(&sql, "late");
    of_the_second.go_on();
    // … and goes on where it was: no reset, and nothing twice.
    assert_eq!(key(&held.event()), "late");
    drop((ahead, behind));
}

// Case: 43
fn a_foreign_id_is_reset(driver: Driver) {
    let world = World::new(driver);
    let sql = world.database.connect();
    let alice = world.node.open("acme", "alice");
    let fields: Vec<&str> = alice.last_event_id.split('.').collect();
    let other_cluster = format!("1.{}.{}.{}", fields[1], fields[2], fields[3]);
    let other_timeline = format!("{}.7.{}.{}", fields[0], fields[2], fields[3]);
    let overlong = "9".repeat(2_000);
    let foreign = [
        other_cluster.as_str(),
        other_timeline.as_str(),
        "42",
        "a-ü.\u{1F600}",
        "0.0.0.0",
        &overlong,
    ];
    for (number, id) in foreign.into_iter().enumerate() {
        let mut again = world.node.resume("acme", "alice", id);
        assert_eq!(again.verdict(), "reset", "{id}");
        let reset = again.next();
        assert_eq!(reset.event.as_deref(), Some("reset"), "{id}");
        assert!(reset.json()["reason"].is_string(), "{reset:?}");
        // From there on it is a stream like any other.
        assert_eq!(reset.json()["position"].as_str(), reset.id.as_deref());
        insert(&sql, &format!("after-{number}"));
        assert_eq!(key(&again.event()), format!("after-{number}"));
    }
}

// Case: 43
fn an_id_beyond_the_log_of_the_server_is_reset(driver: Driver) {
    let world = World::new(driver);
    let alice = world.node.open("acme", "alice");
    let fields: Vec<&str> = alice.last_event_id.split('.').collect();
    let beyond = format!("{}.{}.ffffffffff.1", fields[0], fields[1]);
    let mut again = world.node.resume("acme", "alice", &beyond);
    assert_eq!(again.control("reset").json()["reason"], "unknown_position");
    insert(&world.database.connect(), "after");
    assert_eq!(key(&again.event()), "after");
}

// Case: 43
fn an_id_whose_events_are_gone_is_reset(driver: Driver) {
    let world = World::with(driver, |config| {
        config.text("history.max_bytes", LEAST_HISTORY)
    });
    let sql = world.database.connect();
    let mut alice = world.node.open("acme", "alice");
    insert(&sql, "seen");
    alice.event();
    let seen = alice.last_event_id.clone();
    flood(&sql, "acme", &mut alice);
    let mut again = world.node.resume("acme", "alice", &seen);
    assert_eq!(again.verdict(), "reset");
    assert_eq!(again.next().json()["reason"], "history");
    insert(&sql, "after");
    assert_eq!(key(&again.event()), "after");
}

// Case: 43
fn an_id_from_before_the_window_is_reset(driver: Driver) {
    let mut world = World::new(driver);
    let sql = world.database.connect();
    let mut alice = world.node.open("acme", "alice");
    insert(&sql, "seen");
    alice.event();
    world.node.process().kill();
    // The window is what the anchor holds; a new one begins now.
    let gone = "SELECT count(*) = 0 FROM pg_replication_slots WHERE active";
    sql.wait_for(gone, Duration::from_secs(10));
    sql.run(
        "SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots
          WHERE database = current_database()",
    );
    world.node.launch_again();
    world.node.wait_ready();
    let mut again = world.node.resume("acme", "alice", &alice.last_event_id);
    assert_eq!(again.verdict(), "reset");
    assert!(again.control("reset").json()["reason"].is_string());
    insert(&sql, "after");
    assert_eq!(key(&again.event()), "after");
}

// Case: 42
fn a_node_started_again_and_another_one_go_on_alike(driver: Driver) {
    let database = Database::new();
    let sql = database.connect();
    let config = Config::new(&database, driver);
    let mut first = Node::start(&config);
    let second = Node::start(&config.clone().on_another_port());
    let mut alice = first.open("acme", "alice");
    insert(&sql, "seen");
    alice.event();
    let missed = ["missed-1", "missed-2", "missed-3"];
    missed.iter().for_each(|id| insert(&sql, id));
    first.kill_and_launch();
    first.wait_ready();
    let resumed = |node: &Node| {
        let mut again = node.resume("acme", "alice", &alice.last_event_id);
        assert_eq!(again.verdict(), "resumed");
        again.events(missed.len())
    };
    let (at_first, at_second) = (resumed(&first), resumed(&second));
    assert!(at_first.iter().map(key).eq(missed));
    assert_eq!(at_first, at_second, "their ids as well");
    drop((first, second));
}

fn anothers_eviction_is_no_reset(driver: Driver) {
    let world = World::with(driver, |config| {
        config.text("history.max_bytes", LEAST_HISTORY)
    });
    let sql = world.database.connect();
    let mut witness = world.node.open("globex", "bob");
    let mut alice = world.node.open("acme", "alice");
    insert(&sql, "seen");
    alice.event();
    insert(&sql, "missed");
    flood(&sql, "globex", &mut witness);
    // globex' import evicted only its own past.
    let mut again = world.node.resume("acme", "alice", &alice.last_event_id);
    assert_eq!(again.verdict(), "resumed");
    assert_eq!(key(&again.event()), "missed");
}

/// A process that is stopped, and goes on at the latest when the test ends.
struct Paused(Pid);

impl Paused {
    fn new(process: Option<i32>) -> Self {
        let process = process
            .and_then(Pid::from_raw)
            .expect("the second node has a walsender");
        rustix::process::kill_process(process, Signal::STOP).expect("it is ours");
        Self(process)
    }

    fn go_on(self) {}
}

impl Drop for Paused {
    fn drop(&mut self) {
        if let Err(error) = rustix::process::kill_process(self.0, Signal::CONT) {
            eprintln!("the walsender cannot go on: {error}");
        }
    }
}

/// The processes that stream this database.
fn walsenders(sql: &Sql) -> Vec<i32> {
    let list = sql.optional(
        "SELECT string_agg(active_pid::text, ',') FROM pg_replication_slots
         WHERE active_pid IS NOT NULL AND database = current_database()",
    );
    let list = list.unwrap_or_default();
    list.split(',').filter_map(|id| id.parse().ok()).collect()
}

/// The engine that holds a stream: the second field of its connection id, after the boot's nonce.
fn engine_of(stream: &Stream) -> String {
    let id = stream.connected["connectionId"].as_str();
    id.and_then(|id| id.split('-').nth(1))
        .expect("four fields")
        .to_owned()
}

fn position(id: &str) -> Position {
    id.parse().expect("an id")
}

fn insert(sql: &Sql, id: &str) {
    sql.run(&format!(
        r#"INSERT INTO "Property" (id, "organizationId", name) VALUES ('{id}', 'acme', 'P')"#
    ));
}

/// Writes 4,000 rows of about a kilobyte for an organisation whose share of the log is less, with a
/// reader of that organisation that keeps up.
fn flood(sql: &Sql, organization: &str, reader: &mut Stream) {
    for _ in 0..40 {
        sql.run(&format!(
            r#"INSERT INTO "Client" ("organizationId", name)
               SELECT '{organization}', repeat('x', 1000) FROM generate_series(1, 100)"#
        ));
        reader.events(100);
    }
}

/// Reads on until the row of this id.
fn last_of(stream: &mut Stream, id: &str) -> Value {
    loop {
        let event = stream.event();
        if key(&event) == id {
            return event;
        }
    }
}

fn key(event: &Value) -> String {
    let id = event["payload"]["record"]["id"].as_str();
    id.unwrap_or_else(|| panic!("not about a row: {event}"))
        .to_owned()
}
