//! Coalescing: what arrives while a class is swept goes out together in its next sweep, to everybody once
//! and in order, whatever the sockets take.

use crate::world::{World, commit, frame, grant, organisation, position};
use wire::Batch;

/// Three groups, and some more.
const STREAMS: i32 = 800;
const GROUPS: usize = 4;

fn world() -> World {
    let mut world = World::new(1 << 24);
    for descriptor in 0..STREAMS {
        world.accept(descriptor);
        world.bytes(descriptor, b"GET /stream HTTP/1.1\r\nhost: a\r\n\r\n");
        let user = descriptor.to_string();
        let grant = grant(world.id_of(descriptor), "large", &user);
        world.batch(Batch::Grant(Box::new(grant)));
        world.settle();
    }
    world.kernel.groups.clear();
    world.kernel.largest_send = 0;
    world
}

/// A transaction of one event, whose channel is a letter for its place.
fn event(world: &mut World, lsn: u64, bytes: usize) {
    let channel = char::from(b'a' + (lsn % 26) as u8).to_string();
    let frame = frame(organisation("large"), &channel, position(lsn, 1), bytes);
    world
        .engine
        .handle_batch(world.now, commit(lsn, vec![frame]), &mut world.kernel);
}

/// The LSNs of the events that a client received.
fn received(world: &World, descriptor: i32) -> Vec<u64> {
    let text = std::str::from_utf8(&world.kernel.sockets[&descriptor].received).unwrap();
    let ids = text.lines().filter_map(|line| line.strip_prefix("id: "));
    let lsns = ids.map(|id| id.split('.').nth(2).unwrap());
    let lsns = lsns.map(|lsn| u64::from_str_radix(lsn, 16).unwrap());
    // Without `connected`, whose id is where the stream began.
    lsns.skip(1).collect()
}

#[test]
fn what_arrives_during_a_sweep_goes_out_as_one_slice_of_the_next() {
    let mut world = world();
    event(&mut world, 10, 50);
    world.turn();
    assert_eq!(world.kernel.groups.len(), 1, "the sweep is under way");
    let lone = world.kernel.largest_send;
    for lsn in 11..21 {
        event(&mut world, lsn, 50);
        world.turn();
    }
    world.settle();
    // The first event came alone; of the others, as many together as came during the sweep before.
    let expected: Vec<u64> = (10..21).collect();
    for descriptor in 0..STREAMS {
        assert_eq!(received(&world, descriptor), expected, "{descriptor}");
    }
    let sweeps = world.kernel.groups.len().div_ceil(GROUPS);
    assert!(sweeps <= 4, "{sweeps} sweeps for 11 events");
    assert!(world.kernel.largest_send >= 4 * lone);
    let deliveries = world.engine.counters().deliveries;
    assert_eq!(deliveries, 11 * STREAMS as u64);
}

#[test]
fn an_idle_class_sends_at_once_and_waits_for_no_company() {
    let mut world = world();
    for lsn in 10..13 {
        event(&mut world, lsn, 50);
        world.settle();
    }
    assert_eq!(world.kernel.groups.len(), 3 * GROUPS, "a sweep for each");
}

#[test]
fn a_slice_has_a_bound_beyond_which_the_next_sweep_begins() {
    const EVENTS: u64 = 80;
    let mut world = world();
    for lsn in 10..10 + EVENTS {
        event(&mut world, lsn, 2_000);
    }
    world.settle();
    assert!(world.kernel.largest_send <= engine::limits::SLICE_BYTES_MAX);
    assert!(world.kernel.largest_send > engine::limits::SLICE_BYTES_MAX - 3_000);
    let expected: Vec<u64> = (10..10 + EVENTS).collect();
    for descriptor in 0..STREAMS {
        assert_eq!(received(&world, descriptor), expected, "{descriptor}");
    }
}

#[test]
fn who_takes_part_of_a_slice_goes_on_within_it_and_delays_nobody() {
    let mut world = world();
    // Every fifth takes something that ends within some frame, and each something else.
    let slow = |descriptor: &i32| descriptor % 5 == 0;
    for descriptor in (0..STREAMS).filter(slow) {
        world.make_room(descriptor, Some(descriptor as usize * 7));
    }
    for lsn in 10..16 {
        event(&mut world, lsn, 300);
    }
    world.settle();
    let expected: Vec<u64> = (10..16).collect();
    for descriptor in (0..STREAMS).filter(|descriptor| !slow(descriptor)) {
        assert_eq!(received(&world, descriptor), expected, "{descriptor}");
    }
    assert!(world.engine.counters().behind > 0);
    // They come on while the class is swept again: never ahead of it, and never twice the same.
    event(&mut world, 16, 300);
    world.turn();
    for descriptor in (0..STREAMS).filter(slow) {
        world.make_room(descriptor, None);
        world.turn();
    }
    event(&mut world, 17, 300);
    world.settle();
    let expected: Vec<u64> = (10..18).collect();
    for descriptor in 0..STREAMS {
        assert_eq!(received(&world, descriptor), expected, "{descriptor}");
    }
    assert_eq!(world.engine.counters().behind, 0, "all are in step again");
}

#[test]
fn who_leaves_during_a_sweep_leaves_the_others_as_they_are() {
    let mut world = world();
    event(&mut world, 10, 50);
    world.turn();
    // Before the place of the sweep, and behind it.
    for descriptor in [3, 100, 500, STREAMS - 1] {
        world.hang_up(descriptor);
    }
    event(&mut world, 11, 50);
    world.settle();
    let gone = [3, 100, 500, STREAMS - 1];
    for descriptor in (0..STREAMS).filter(|descriptor| !gone.contains(descriptor)) {
        assert_eq!(received(&world, descriptor), [10, 11], "{descriptor}");
    }
}
