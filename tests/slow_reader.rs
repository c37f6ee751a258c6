//! Clients that stop reading: they cost themselves something, and nobody else.

use std::net::SocketAddr;
use std::time::Duration;

use rustix::net::{AddressFamily, SocketType, sockopt};
use serde_json::Value;

use crate::support::http::Connection;
use crate::support::sql::Sql;
use crate::support::{Driver, End, Request, Stream, World, on_both_drivers};

on_both_drivers!(
    a_stalled_client_delays_nobody_and_catches_up,
    a_client_that_falls_out_of_the_log_is_closed_and_reset,
);

/// More than the kernel holds for two sockets: what is beyond has to wait in the node's log.
const ROWS: usize = 4_000;

// Case: 70
fn a_stalled_client_delays_nobody_and_catches_up(driver: Driver) {
    let world = World::new(driver);
    let mut stalled = stalled_stream(&world);
    let mut healthy = world.node.open("acme", "alice");
    let mut other = world.node.open("globex", "bob");
    let sql = world.database.connect();
    // The others have everything while the stalled one has taken nothing.
    flood(&sql, &mut healthy);
    sql.run(r#"INSERT INTO "Client" ("organizationId", name) VALUES ('globex', 'C')"#);
    assert_eq!(other.event()["type"], "client.insert");
    assert!(world.node.metrics().value("tailrace_streams_behind") >= 1.0);
    // It reads on, and has everything too, each once and in order.
    assert_in_order(&stalled.events(ROWS), 1);
    sql.run(r#"INSERT INTO "Client" ("organizationId", name) VALUES ('acme', 'C')"#);
    assert_eq!(stalled.event()["type"], "client.insert");
}

fn a_client_that_falls_out_of_the_log_is_closed_and_reset(driver: Driver) {
    let world = World::with(driver, |config| config.text("history.max_bytes", "16MiB"));
    let mut stalled = stalled_stream(&world);
    let mut healthy = world.node.open("acme", "alice");
    let sql = world.database.connect();
    flood(&sql, &mut healthy);
    // What had left the node is there, whole and in order; then the connection breaks.
    let mut seen = Vec::new();
    let end = loop {
        match stalled.try_next(Duration::from_secs(60)) {
            Ok(block) if block.is_data() => seen.push(block.json()),
            Ok(_) => {}
            Err(end) => break end,
        }
    };
    assert_ne!(end, End::Silent, "it is told by a closed connection");
    assert!(seen.len() < ROWS);
    assert_in_order(&seen, 1);
    let reason = "tailrace_streams_closed_total{reason=\"too_slow\"}";
    crate::support::wait_until("it is counted", Duration::from_secs(20), || {
        world.node.metrics().value(reason) == 1.0
    });
    let mut again = world.node.resume("acme", "alice", &stalled.last_event_id);
    assert_eq!(again.verdict(), "reset");
    assert_eq!(again.next().json()["reason"], "history");
    sql.run(r#"INSERT INTO "Client" (id, "organizationId", name) VALUES ('c', 'acme', 'C')"#);
    assert_eq!(again.event()["payload"]["record"]["id"], "c");
    assert_eq!(healthy.event()["payload"]["record"]["id"], "c");
}

/// A stream over a socket with little room, of which only the beginning is read.
fn stalled_stream(world: &World) -> Stream {
    let socket = rustix::net::socket(AddressFamily::INET, SocketType::STREAM, None);
    let socket = socket.expect("there are descriptors left");
    // Before connecting, so that the window is announced small (tcp(7)).
    sockopt::set_socket_recv_buffer_size(&socket, 16 * 1024).expect("a small buffer is allowed");
    let address: SocketAddr = world.node.address();
    rustix::net::connect(&socket, &address).expect("the node takes connections");
    let connection = Connection::over(socket.into()).expect("a limit can be set");
    Stream::open_over(
        connection,
        &Request::stream("organizationId=acme").user("carol"),
    )
}

/// Rows of about a kilobyte, 100 to a transaction, with a reader that keeps up.
fn flood(sql: &Sql, reader: &mut Stream) {
    for first in (1..=ROWS).step_by(100) {
        let last = first + 99;
        sql.run(&format!(
            r#"INSERT INTO "Property" (id, "organizationId", name, notes)
               SELECT i::text, 'acme', 'P', repeat('x', 1000)
               FROM generate_series({first}, {last}) i"#
        ));
        assert_in_order(&reader.events(100), first);
    }
}

fn assert_in_order(events: &[Value], first: usize) {
    for (index, event) in events.iter().enumerate() {
        assert_eq!(
            event["payload"]["record"]["id"],
            (first + index).to_string()
        );
    }
}
