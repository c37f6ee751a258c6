//! PostgreSQL is killed, and stopped in its two hasty ways, under a writer; the node is killed with -9.
//! Nothing is lost, nothing comes twice, and nobody is told to start anew.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use crate::support::postgres::Cluster;
use crate::support::process::Signal;
use crate::support::{Config, Driver, Node, Stream, World, on_both_drivers};

on_both_drivers!(
    postgresql_stops_fast_while_nodes_stream,
    streams_outlive_a_killed_postgresql,
    a_killed_node_resumes_its_clients,
);

const LIMIT: Duration = Duration::from_secs(60);

/// How long a fast shutdown may take. A server that waits for a node waits for ever.
const STOP_MAX: Duration = Duration::from_secs(2);

// Case: 45
fn postgresql_stops_fast_while_nodes_stream(driver: Driver) {
    let cluster = Arc::new(Cluster::start());
    let database = cluster.create_database();
    let nodes = [(); 2].map(|()| Node::start(&Config::new(&database, driver)));
    let mut streams = [
        nodes[0].open("acme", "alice"),
        nodes[1].open("acme", "carol"),
    ];
    let insert = |id: &str| {
        database.connect().run(&format!(
            r#"INSERT INTO "Client" (id, "organizationId", name) VALUES ('{id}', 'acme', 'C')"#
        ));
    };
    let mut expect = |id: &str| {
        for stream in &mut streams {
            assert_eq!(stream.event()["payload"]["record"]["id"], id);
        }
    };
    for id in ["a", "b"] {
        insert(id);
        expect(id);
        // What is confirmed once a second, and taken back, is not what is left standing.
        thread::sleep(Duration::from_millis(1_200));
        let stopped = cluster.stop(Signal::INT);
        assert!(stopped < STOP_MAX, "{stopped:?}");
        cluster.restart();
    }
    insert("c");
    expect("c");
}

fn streams_outlive_a_killed_postgresql(driver: Driver) {
    let cluster = Arc::new(Cluster::start());
    let database = cluster.create_database();
    let config = Config::new(&database, driver).text("http.heartbeat", "1s");
    let node = Node::start(&config);
    let mut streams = [node.open("acme", "alice"), node.open("acme", "carol")];

    let stop = Arc::new(AtomicBool::new(false));
    let writer = thread::spawn({
        let stop = Arc::clone(&stop);
        move || {
            let written = write_until(&stop, || database.try_connect().ok());
            (written, database)
        }
    });
    for end in [None, Some(Signal::QUIT), Some(Signal::INT)] {
        thread::sleep(Duration::from_secs(1));
        match end {
            None => cluster.kill(),
            Some(signal) => drop(cluster.stop(signal)),
        }
        // The node meets a closed port first, then a server in recovery.
        thread::sleep(Duration::from_millis(700));
        cluster.restart();
        let walsenders = "SELECT count(*) > 0 FROM pg_replication_slots WHERE active";
        // The writer has gone on by now: commits of the first second, before the node is back.
        cluster.sql().wait_for(walsenders, LIMIT);
    }
    thread::sleep(Duration::from_secs(1));
    stop.store(true, Ordering::Relaxed);
    let (written, database) = writer.join().expect("the writer does not fail");
    assert!(written.len() > 100, "{} rows", written.len());

    // The table itself is the oracle: a commit whose answer was lost with the server may be there.
    let committed = rows_of_acme(&database);
    assert!(written.iter().all(|row| committed.contains(row)));
    for stream in &mut streams {
        for row in &committed {
            let event = stream.event();
            assert_eq!(
                event["payload"]["record"]["rooms"], *row,
                "in order, once, no reset"
            );
        }
    }
    // The same streams, still open, go on.
    database
        .connect()
        .run(r#"INSERT INTO "Client" (id, "organizationId", name) VALUES ('c', 'acme', 'C')"#);
    for stream in &mut streams {
        assert_eq!(stream.event()["payload"]["record"]["id"], "c");
    }
    assert!(
        !streams[0].has_received("globex"),
        "recovery mixes nobody up"
    );
    assert_eq!(node.metrics().sum("tailrace_resets_total"), 0.0);
    assert_eq!(node.metrics().value("tailrace_streams"), 2.0);
    drop(node);
}

fn a_killed_node_resumes_its_clients(driver: Driver) {
    let mut world = World::new(driver);
    let stop = Arc::new(AtomicBool::new(false));
    let connection = world.database.connect();
    let writer = thread::spawn({
        let stop = Arc::clone(&stop);
        let mut connection = Some(connection);
        move || write_until(&stop, || connection.take())
    });
    let mut alice = world.node.open("acme", "alice");
    let mut seen: Vec<u64> = Vec::new();
    for round in 0..3 {
        let enough = seen.len() + 50;
        while seen.len() < enough {
            seen.push(row_of(&mut alice));
        }
        world.node.kill_and_launch();
        world.node.wait_ready();
        alice = world.node.resume("acme", "alice", &alice.last_event_id);
        assert_eq!(alice.verdict(), "resumed", "round {round}");
    }
    stop.store(true, Ordering::Relaxed);
    let written = writer.join().expect("the writer does not fail");
    // Each row is waited for; the first that is missing ends the test.
    while seen.last() != written.last() {
        seen.push(row_of(&mut alice));
    }
    // The first may have been committed before alice came; from there on each is there, once.
    let first = written
        .iter()
        .position(|row| *row == seen[0])
        .expect("it was written");
    assert_eq!(seen, written[first..]);
}

/// Commits one row after the other, numbered, some to the other organisation, until it is told to
/// stop; connects again whenever the server is gone. Returns acme's rows whose commit was answered.
fn write_until(
    stop: &AtomicBool,
    mut connect: impl FnMut() -> Option<crate::support::sql::Sql>,
) -> Vec<u64> {
    let mut written = Vec::new();
    let mut number = 0;
    while !stop.load(Ordering::Relaxed) {
        let Some(sql) = connect() else {
            thread::sleep(Duration::from_millis(5));
            continue;
        };
        let began = Instant::now();
        while !stop.load(Ordering::Relaxed) {
            number += 1;
            let statement = format!(
                r#"BEGIN;
                   INSERT INTO "Property" ("organizationId", name, rooms)
                   VALUES ('acme', 'P', {number});
                   INSERT INTO "Property" ("organizationId", name, rooms)
                   VALUES ('globex', 'marker-of-globex', {number});
                   COMMIT;"#
            );
            if sql.try_run(&statement).is_err() {
                break;
            }
            written.push(number);
            // At first as fast as the server takes it: before the node is back.
            if began.elapsed() > Duration::from_secs(1) {
                thread::sleep(Duration::from_millis(2));
            }
        }
    }
    written
}

fn rows_of_acme(database: &crate::support::Database) -> Vec<u64> {
    let rows = database.connect().value(
        r#"SELECT string_agg(rooms::text, ',' ORDER BY rooms) FROM "Property"
           WHERE "organizationId" = 'acme'"#,
    );
    rows.split(',')
        .map(|row| row.parse().expect("rooms are numbers"))
        .collect()
}

fn row_of(stream: &mut Stream) -> u64 {
    let event = stream.event();
    event["payload"]["record"]["rooms"]
        .as_u64()
        .expect("rooms are numbers")
}
