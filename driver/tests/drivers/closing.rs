//! Ends: of connections, of listening, of the engines.

use std::net::TcpStream;

use driver::Kind;
use engine::{Command, Notice};
use wire::CloseReason;

use crate::for_both_drivers;
use crate::house::{Client, PATIENCE, Plan};

for_both_drivers!(
    all_streams_say_bye,
    stop_listening_takes_who_waits_and_keeps_streams,
    a_stop_ends_every_connection,
    slots_are_used_again,
);

fn all_streams_say_bye(kind: Kind) {
    let house = Plan::new(kind).open();
    let mut clients = house.open_streams(50);
    for port in house.engines.ports() {
        let command = Command::CloseAll {
            reason: CloseReason::Draining,
            spread_ms: 100,
        };
        port.try_command(command).unwrap();
    }
    for client in &mut clients {
        let rest = client.read_to_end();
        assert!(rest.contains("event: bye\n"), "{rest}");
    }
    // Of each, its opening and its end are told.
    let is_end = |notice: &Notice| {
        matches!(
            notice,
            Notice::Closed {
                reason: CloseReason::Draining,
                opened: true,
                is_page: false,
                ..
            }
        )
    };
    let ends = (0..100).filter(|_| is_end(&house.next_notice())).count();
    assert_eq!(ends, 50);
    drop(clients);
    house.await_total(0, |counters| counters.connections);
}

fn stop_listening_takes_who_waits_and_keeps_streams(kind: Kind) {
    let mut house = Plan::new(kind).open();
    let mut streams = house.open_streams(20);
    let mut waiting: Vec<Client> = (0..50).map(|_| house.connect()).collect();
    house.engines.stop_listening();
    for client in &mut waiting {
        client.say("GET /late HTTP/1.1\r\nhost: a\r\n\r\n");
    }
    for _ in 0..50 {
        house.grant_next();
    }
    for client in &mut waiting {
        client.expect_stream();
    }
    let end = std::time::Instant::now() + PATIENCE;
    while TcpStream::connect(house.engines.local_addr()).is_ok() {
        assert!(std::time::Instant::now() < end, "somebody still listens");
    }
    house.commit(7, 100);
    for client in streams.iter_mut().chain(&mut waiting) {
        client.expect_event(7);
    }
}

fn a_stop_ends_every_connection(kind: Kind) {
    let house = Plan::new(kind).open();
    let mut clients = house.open_streams(20);
    let address = house.engines.local_addr();
    house.engines.stop();
    for client in &mut clients {
        client.read_to_end();
    }
    assert!(TcpStream::connect(address).is_err());
}

fn slots_are_used_again(kind: Kind) {
    let house = Plan {
        threads: 1,
        ..Plan::new(kind)
    }
    .open();
    for round in 0..50 {
        let client = house.open_stream();
        let opened = house.next_notice();
        drop(client);
        let closed = house.next_notice();
        let (
            Notice::Opened { connection, .. },
            Notice::Closed {
                connection: same, ..
            },
        ) = (opened, closed)
        else {
            panic!("{opened:?} {closed:?}");
        };
        assert_eq!(connection, same);
        // The slot is free a moment after the notice: hardly ever are two in use.
        assert!(
            connection.slot < 3,
            "slot {} in round {round}",
            connection.slot
        );
    }
}
