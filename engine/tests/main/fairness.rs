//! A small organisation waits for one group of a large one, and load becomes lag.

use wire::Batch;

use crate::world::{World, commit, frame, grant, organisation, position};

fn open(world: &mut World, descriptor: i32, organisation: &str) {
    world.accept(descriptor);
    world.bytes(descriptor, b"GET /stream HTTP/1.1\r\nhost: a\r\n\r\n");
    let grant = grant(
        world.id_of(descriptor),
        organisation,
        &descriptor.to_string(),
    );
    world.batch(Batch::Grant(Box::new(grant)));
    world.settle();
}

#[test]
fn a_small_class_is_swept_between_two_groups_of_a_large_one() {
    let mut world = World::new(1 << 24);
    for descriptor in 0..2000 {
        open(&mut world, descriptor, "large");
    }
    open(&mut world, 5000, "small");
    world.batch(commit(
        10,
        vec![frame(organisation("large"), "c", position(10, 1), 10)],
    ));
    world.turn();
    world.kernel.groups.clear();
    world.batch(commit(
        20,
        vec![frame(organisation("small"), "c", position(20, 1), 10)],
    ));
    world.turn();
    assert_eq!(world.kernel.groups[0], [5000]);
    assert_eq!(world.kernel.groups[1].len(), engine::limits::GROUP_MAX);
}

#[test]
fn a_sweep_goes_through_its_members_in_the_order_of_their_slots() {
    let mut world = World::new(1 << 24);
    for descriptor in 0..600 {
        open(&mut world, descriptor, "large");
    }
    for descriptor in (0..600).step_by(3) {
        world.hang_up(descriptor);
        world.settle();
        open(&mut world, descriptor, "large");
    }
    world.kernel.groups.clear();
    world.batch(commit(
        10,
        vec![frame(organisation("large"), "c", position(10, 1), 10)],
    ));
    world.settle();
    let order: Vec<i32> = world.kernel.groups.concat();
    assert_eq!(order.len(), 600);
    let slots: Vec<u32> = order
        .iter()
        .map(|socket| world.kernel.sockets[socket].handle.unwrap().slot)
        .collect();
    assert!(slots.is_sorted());
}

#[test]
fn the_intake_closes_before_the_log_could_lose_what_a_class_has_not_been_offered() {
    let mut world = World::new(1 << 20);
    for descriptor in 0..1000 {
        open(&mut world, descriptor, "large");
    }
    let mut taken = 0;
    while world.engine.wants_batch() {
        taken += 1;
        let frame = frame(organisation("large"), "c", position(taken, 1), 1000);
        world
            .engine
            .handle_batch(world.now, commit(taken, vec![frame]), &mut world.kernel);
    }
    assert!(
        (50..200).contains(&taken),
        "{taken} frames are half of a quarter of the log"
    );
    world.settle();
    assert!(world.engine.wants_batch());
    assert_eq!(world.engine.counters().deliveries, 1000 * taken);
}
