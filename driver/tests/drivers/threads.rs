//! Between threads: wake-ups, full channels, counters.

use driver::Kind;

use crate::for_both_drivers;
use crate::house::Plan;

for_both_drivers!(
    a_sleeping_engine_is_woken_each_time,
    every_thread_count_works
);

/// Were wake-ups lost, each of these would wait for the next second: an hour in all, and the
/// patience of the house would run out.
fn a_sleeping_engine_is_woken_each_time(kind: Kind) {
    let mut house = Plan {
        threads: 1,
        ..Plan::new(kind)
    }
    .open();
    let mut client = house.open_stream();
    let end = std::time::Instant::now() + 2 * crate::house::PATIENCE;
    for number in 0..3_000 {
        house.commit(number, 10);
        client.expect_event(number);
        assert!(
            std::time::Instant::now() < end,
            "woken by time, not by the port"
        );
    }
}

fn every_thread_count_works(kind: Kind) {
    for threads in [0, 1, 8] {
        let mut house = Plan {
            threads,
            ..Plan::new(kind)
        }
        .open();
        let mut clients = house.open_streams(40);
        house.commit(1, 10);
        for client in &mut clients {
            client.expect_event(1);
        }
        house.engines.stop();
    }
}
