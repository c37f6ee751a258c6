//! SIGTERM and its kin: the node says so first, sends everybody away in order, and ends with success.

use std::net::TcpStream;
use std::thread;
use std::time::{Duration, Instant};

use crate::support::process::Signal;
use crate::support::{
    Config, Database, Driver, End, Node, Request, World, on_both_drivers, wait_until,
};

on_both_drivers!(
    a_drain_is_announced_and_orderly,
    a_node_that_has_just_begun_to_listen_drains,
    a_client_that_was_sent_away_goes_on_elsewhere,
    a_second_signal_ends_at_once,
);

const LIMIT: Duration = Duration::from_secs(20);

/// The notice and the spread of the first test, and what a node waits for who does not leave.
const ALL: Duration = Duration::from_millis(2_500 + 10_000);

fn a_drain_is_announced_and_orderly(driver: Driver) {
    let mut world = World::with(driver, |config| {
        config
            .text("drain.notice", "2s")
            .text("drain.spread", "500ms")
    });
    let mut streams: Vec<_> = (0..20).map(|_| world.node.open("acme", "alice")).collect();
    world.node.process().signal(Signal::TERM);
    let signalled = Instant::now();
    let address = world.node.address();
    // During the notice: not ready any more, alive, and new streams are refused softly.
    wait_until("/readyz says so", LIMIT, || {
        world.node.get("/readyz").head.status == 503
    });
    assert_eq!(world.node.get("/livez").head.status, 200);
    let id = streams[0].last_event_id.clone();
    let request = Request::stream("organizationId=acme")
        .user("alice")
        .last_event_id(&id);
    let refused = request.send(address);
    assert_eq!(refused.head.status, 200, "{refused:?}");
    assert!(refused.body.starts_with("retry: "), "{refused:?}");
    assert!(refused.body.contains("event: refused\n"), "{refused:?}");
    assert!(refused.body.contains("draining"), "{refused:?}");
    assert!(
        refused.body.contains(&format!("id: {id}\n")),
        "its place is kept: {refused:?}"
    );
    // The open ones still get what is committed now …
    world
        .database
        .connect()
        .run(r#"INSERT INTO "Property" (id, "organizationId", name) VALUES ('p', 'acme', 'P')"#);
    for stream in &mut streams {
        assert_eq!(stream.event()["payload"]["record"]["id"], "p");
    }
    // … and are then sent away one by one, after a whole block.
    for stream in &mut streams {
        let bye = stream.control("bye");
        assert_eq!(bye.json()["reason"], "draining");
        assert_eq!(bye.json()["retry"], true);
        assert!(
            bye.retry.is_some_and(|ms| (1_000..=10_000).contains(&ms)),
            "{bye:?}"
        );
        assert_eq!(stream.try_next(LIMIT), Err(End::Closed));
    }
    let status = world.node.process().wait(LIMIT);
    assert!(status.success(), "{status}: {}", world.node.log());
    assert!(signalled.elapsed() < ALL, "{}", world.node.log());
    assert!(
        Request::get("/livez").try_send(address).is_err(),
        "nobody listens any more"
    );
    // Nothing but the anchor is left at PostgreSQL.
    let sql = world.database.connect();
    let streaming = "SELECT count(*) = 0 FROM pg_replication_slots
                     WHERE database = current_database() AND (active OR temporary)";
    sql.wait_for(streaming, LIMIT);
}

fn a_node_that_has_just_begun_to_listen_drains(driver: Driver) {
    let database = Database::new();
    let mut node = Node::launch(&Config::new(&database, driver));
    // In the very moment from which on a client may be there.
    while TcpStream::connect(node.address()).is_err() {
        assert!(node.process().is_running(), "{}", node.log());
        thread::sleep(Duration::from_micros(100));
    }
    // From the terminal: as SIGTERM.
    node.process().signal(Signal::INT);
    let status = node.process().wait(LIMIT);
    assert!(status.success(), "{status}: {}", node.log());
    assert!(node.log().contains("draining"), "{}", node.log());
}

fn a_client_that_was_sent_away_goes_on_elsewhere(driver: Driver) {
    let mut world = World::new(driver);
    let mut alice = world.node.open("acme", "alice");
    let sql = world.database.connect();
    let insert = |id: &str| {
        sql.run(&format!(
            r#"INSERT INTO "Property" (id, "organizationId", name) VALUES ('{id}', 'acme', 'P')"#
        ));
    };
    insert("seen");
    alice.event();
    world.node.process().signal(Signal::TERM);
    alice.control("bye");
    world.node.process().wait(LIMIT);
    insert("between");
    world.node.kill_and_launch();
    world.node.wait_ready();
    let mut again = world.node.resume("acme", "alice", &alice.last_event_id);
    assert_eq!(again.verdict(), "resumed");
    assert_eq!(again.event()["payload"]["record"]["id"], "between");
}

fn a_second_signal_ends_at_once(driver: Driver) {
    let mut world = World::with(driver, |config| {
        config.text("drain.notice", "1h").text("drain.spread", "1h")
    });
    let _stream = world.node.open("acme", "alice");
    // The terminal goes away: as SIGTERM.
    world.node.process().signal(Signal::HUP);
    wait_until("/readyz says so", LIMIT, || {
        world.node.get("/readyz").head.status == 503
    });
    world.node.process().signal(Signal::TERM);
    world.node.process().wait(LIMIT);
}
