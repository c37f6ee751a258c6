//! Streams: grants, commits, slow readers, heartbeats.

use std::time::Duration;

use driver::Kind;
use engine::{Notice, Verdict};
use wire::CloseReason;

use crate::for_both_drivers;
use crate::house::Plan;

for_both_drivers!(
    commits_reach_every_stream_in_order,
    a_reader_that_stops_delays_nobody_and_catches_up,
    a_reader_that_falls_out_of_the_log_is_reset,
    a_peer_that_closes_is_noticed,
    a_silent_stream_has_a_heartbeat,
    an_event_larger_than_every_buffer_arrives,
);

fn commits_reach_every_stream_in_order(kind: Kind) {
    const STREAMS: usize = 600;
    const COMMITS: usize = 50;
    let mut house = Plan {
        threads: 3,
        ..Plan::new(kind)
    }
    .open();
    let mut clients = house.open_streams(STREAMS);
    for _ in 0..STREAMS {
        let notice = house.next_notice();
        assert!(
            matches!(
                notice,
                Notice::Opened {
                    verdict: Verdict::Live,
                    ..
                }
            ),
            "{notice:?}"
        );
    }
    for number in 0..COMMITS {
        house.commit(number, 200);
    }
    for client in &mut clients {
        for number in 0..COMMITS {
            client.expect_event(number);
        }
    }
    house.await_total(STREAMS as u64, |counters| counters.streams);
    house.await_total((STREAMS * COMMITS) as u64, |counters| counters.deliveries);
    let ports = house.engines.ports();
    assert!(
        ports.iter().all(|port| port.counters().streams > 0),
        "every engine accepts"
    );
}

fn a_reader_that_stops_delays_nobody_and_catches_up(kind: Kind) {
    const COMMITS: usize = 1_000;
    let mut house = Plan::new(kind).open();
    let mut clients = house.open_streams(20);
    let mut stopped = house.open_narrow_stream();
    // Some 8 MB, far more than the buffers of both ends hold.
    for number in 0..COMMITS {
        house.commit(number, 8_000);
        for client in &mut clients {
            client.expect_event(number);
        }
    }
    assert_eq!(house.total(|counters| counters.behind), 1);
    for number in 0..COMMITS {
        stopped.expect_event(number);
    }
    house.commit(COMMITS, 10);
    stopped.expect_event(COMMITS);
    house.await_total(0, |counters| counters.behind);
}

fn a_reader_that_falls_out_of_the_log_is_reset(kind: Kind) {
    let mut house = Plan {
        log_bytes_max: 4 << 20,
        threads: 1,
        ..Plan::new(kind)
    }
    .open();
    let mut stopped = house.open_narrow_stream();
    let mut reader = house.open_stream();
    for _ in 0..2 {
        assert!(matches!(house.next_notice(), Notice::Opened { .. }));
    }
    // The log moves on past what the stopped one has not taken, which shows when it reads again.
    for number in 0..200 {
        house.commit(number, 60_000);
        reader.expect_event(number);
    }
    stopped.expect_reset();
    match house.next_notice() {
        Notice::Closed { reason, .. } => assert_eq!(reason, CloseReason::TooSlow),
        notice => panic!("{notice:?}"),
    }
    house.commit(200, 10);
    reader.expect_event(200);
}

fn a_peer_that_closes_is_noticed(kind: Kind) {
    let house = Plan::new(kind).open();
    for is_reset in [false, true] {
        let client = house.open_stream();
        assert!(matches!(house.next_notice(), Notice::Opened { .. }));
        if is_reset {
            socket2::SockRef::from(&client.stream)
                .set_linger(Some(Duration::ZERO))
                .unwrap();
        }
        drop(client);
        match house.next_notice() {
            Notice::Closed { reason, opened, .. } => {
                assert_eq!((reason, opened), (CloseReason::ClientGone, true));
            }
            notice => panic!("{notice:?}"),
        }
    }
    house.await_total(0, |counters| counters.connections);
}

fn a_silent_stream_has_a_heartbeat(kind: Kind) {
    let house = Plan {
        heartbeat_ms: 1_000,
        ..Plan::new(kind)
    }
    .open();
    let mut clients = house.open_streams(3);
    for client in &mut clients {
        for _ in 0..2 {
            let block = client.read_event();
            assert!(
                block.starts_with(':') || block.contains("heartbeat"),
                "{block:?}"
            );
        }
    }
}

fn an_event_larger_than_every_buffer_arrives(kind: Kind) {
    let mut house = Plan::new(kind).open();
    let mut clients = house.open_streams(10);
    house.commit(0, 1 << 20);
    house.commit(1, 10);
    for client in &mut clients {
        client.expect_event(0);
        client.expect_event(1);
    }
}
