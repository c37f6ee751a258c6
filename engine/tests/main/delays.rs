//! How long events take within the engine, by a clock made by hand: ten microseconds a send.

use engine::{DELAY_BOUNDS_US, Delays};

use crate::fairness::{event, open};
use crate::world::World;

fn world(large: i32) -> World {
    let mut world = World::new(1 << 24);
    for descriptor in 0..large {
        open(&mut world, descriptor, "large");
    }
    open(&mut world, 50_000, "small");
    open(&mut world, 50_001, "small");
    world.kernel.send_us = 10;
    world
}

/// What was counted: the bound of each bucket that is not empty, and how many events fell into it.
fn counted(delays: &Delays) -> Vec<(u64, u64)> {
    let bounds = DELAY_BOUNDS_US.iter().copied().chain([u64::MAX]);
    bounds
        .zip(delays.counts)
        .filter(|(_, count)| *count > 0)
        .collect()
}

#[test]
fn a_delay_ends_with_the_last_send_of_the_sweep() {
    let mut world = world(2000);
    world.batch(event(10, "large"));
    world.settle();
    world.pass_us(777);
    world.batch(event(20, "small"));
    world.turn();
    // Whatever comes before the next turn is no part of it.
    world.pass_us(1_000_000);
    world.settle();
    let counters = world.engine.counters();
    assert_eq!(counted(&counters.delays_large), [(25_000, 1)]);
    assert_eq!(counters.delays_large.sum_us, 2000 * 10);
    assert_eq!(counted(&counters.delays_small), [(100, 1)]);
    assert_eq!(counters.delays_small.sum_us, 2 * 10);
}

#[test]
fn a_small_class_waits_for_no_more_than_a_group_of_a_large_one() {
    let mut world = world(2000);
    let mut lsn = 10;
    world.batch(event(lsn, "large"));
    for _ in 0..50 {
        // At whatever moment of the large one's sweeps it comes.
        lsn += 10;
        world.batch(event(lsn, "small"));
        world.turn();
        lsn += 10;
        world.batch(event(lsn, "large"));
        world.turn();
        world.turn();
    }
    world.settle();
    let counters = world.engine.counters();
    let slowest = counted(&counters.delays_small).pop().unwrap();
    assert!(slowest.0 <= 3_000, "one group takes 2,560 us: {slowest:?}");
    assert_eq!(counters.delays_small.counts.iter().sum::<u64>(), 50);
    let (fastest, _) = counted(&counters.delays_large)[0];
    assert!(fastest >= 20_000, "all its groups: {fastest}");
}

#[test]
fn events_of_one_sweep_are_counted_with_the_first() {
    let mut world = world(2000);
    world.batch(event(10, "large"));
    world.turn();
    // These arrive during the sweep of the first, and go down together after it.
    world.batch(event(20, "large"));
    world.pass_us(5_000);
    world.batch(event(30, "large"));
    world.settle();
    let delays = &world.engine.counters().delays_large;
    let first = 20_000 + 5_000;
    let together = (20_000 - 2_560) + 5_000 + 20_000;
    assert_eq!(counted(delays), [(25_000, 1), (50_000, 2)]);
    assert_eq!(delays.sum_us, first + 2 * together);
}

#[test]
fn what_is_counted_says_how_large_the_class_was() {
    let mut world = world(257);
    world.batch(event(10, "large"));
    world.settle();
    world.hang_up(0);
    world.settle();
    world.batch(event(20, "large"));
    world.settle();
    let counters = world.engine.counters();
    assert_eq!(counters.delays_large.sum_us, 257 * 10);
    assert_eq!(counters.delays_small.sum_us, 256 * 10);
}
