//! An idle connection holds no allocation of its own: it is an entry in tables that all share.

use wire::Topic;

use crate::house::{House, Terms, organisation, user};
use crate::{LOG_BYTES_MAX, allocations, house_of};

const STREAMS: usize = 10_000;

#[test]
fn no_connection_holds_an_allocation_of_its_own() {
    let mut house = House::new(LOG_BYTES_MAX);
    let held = allocation_counter::measure(|| {
        for number in 0..STREAMS {
            // Every stream a user of its own; a hundred share an organisation.
            let organisation = organisation(&(number / 100).to_string());
            house.open(Terms::of(organisation, user(number)));
        }
        house.pass(5_000);
    });
    // An organisation has some: its topic's classes, its members.
    let per_stream = held.count_current as f64 / STREAMS as f64;
    assert!(per_stream < 0.05, "{per_stream} allocations a stream");
    let bytes = held.bytes_current as f64 / STREAMS as f64;
    assert!(bytes < 160.0, "{bytes} bytes a stream");
}

#[test]
fn no_time_that_passes_allocates_for_an_idle_connection() {
    let spent = |streams| {
        let mut house = house_of(streams, |_, terms| terms);
        house.pass(60_000);
        house.sockets.sends = 0;
        let spent = allocations(|| house.pass(50_000));
        assert_eq!(house.sockets.sends, 2 * streams, "everybody's heartbeats");
        spent
    };
    let (few, many) = (spent(300), spent(3_000));
    assert_eq!(few, many, "allocations for 300, and for 3,000");
}

#[test]
fn what_a_burst_needed_is_given_back() {
    const STREAMS: usize = 3_000;
    // A log that is full before the burst is as large after it.
    let mut house = House::new(1 << 16);
    for number in 0..STREAMS {
        let organisation = organisation(&(number / 100).to_string());
        house.open(Terms::of(organisation, user(number)));
    }
    let burst = |house: &mut House| {
        for _ in 0..300 {
            let batch = house.commit(Topic::Global, 1, 100);
            house.take(batch);
        }
    };
    burst(&mut house);
    house.pass(2_000);
    house.sockets.blocked.reserve(STREAMS);
    let held = allocation_counter::measure(|| {
        burst(&mut house);
        // Everybody is behind, and catches up.
        house.sockets.takes_at_most = Some(10);
        let batch = house.commit(Topic::Global, 1, 100);
        house.take(batch);
        assert_eq!(house.engine.counters().behind, STREAMS as u64);
        house.sockets.takes_at_most = None;
        house.unblock();
        house.settle();
        assert_eq!(house.engine.counters().behind, 0);
        house.pass(2_000);
    });
    assert!(held.bytes_max > 100_000, "{held:?}: it needed something");
    let more = held.bytes_current / STREAMS as i64;
    assert!(more <= 8, "{more} bytes a stream: {held:?}");
}
