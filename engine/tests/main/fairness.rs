//! A small organisation waits for one group of a large one, and load becomes lag. How long it waits is
//! in `delays`.

use std::collections::VecDeque;

use wire::{Batch, Frame, Grant};

use crate::world::{World, commit, frame, grant, organisation, position};

/// Opens a stream of an organisation.
pub(crate) fn open(world: &mut World, descriptor: i32, organisation: &str) {
    let grant = ask(world, descriptor, organisation);
    world.batch(Batch::Grant(Box::new(grant)));
    world.settle();
}

/// Asks for one. Returns what lets it in.
fn ask(world: &mut World, descriptor: i32, organisation: &str) -> Grant {
    world.accept(descriptor);
    world.bytes(descriptor, b"GET /stream HTTP/1.1\r\nhost: a\r\n\r\n");
    let user = descriptor.to_string();
    grant(world.id_of(descriptor), organisation, &user)
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
    world.turn();
    assert_eq!(world.kernel.groups[0], [5000]);
    assert_eq!(world.kernel.groups[1].len(), engine::limits::GROUP_MAX);
}

#[test]
fn a_group_of_long_slices_is_of_fewer_sends() {
    let mut world = World::new(1 << 24);
    for descriptor in 0..200 {
        open(&mut world, descriptor, "large");
    }
    open(&mut world, 5000, "small");
    for descriptor in 6000..6020 {
        open(&mut world, descriptor, "other");
    }
    world.kernel.groups.clear();
    // Some 55 KiB for each member, which count as fourteen sends.
    let long = |name, lsn| {
        let frame = move |index| frame(organisation(name), "c", position(lsn, index), 1000);
        (1..=50).map(frame)
    };
    world.batch(commit(10, long("large", 10).collect()));
    world.turn();
    world.batch(event(20, "small"));
    world.settle();
    let sends: Vec<usize> = world.kernel.groups.iter().map(Vec::len).collect();
    let most = engine::limits::GROUP_MAX / 14;
    assert_eq!(sends[..3], [most, 1, most], "the small one is second");
    assert_eq!(world.kernel.groups[1], [5000]);
    assert!(sends[3..].iter().all(|sends| *sends <= most), "{sends:?}");
    assert_eq!(world.engine.counters().deliveries, 200 * 50 + 1);

    // However few they are, they do not go together with others.
    world.kernel.groups.clear();
    let other = long("other", 30).chain([frame_of(30, "small")]);
    world.batch(commit(30, other.collect()));
    world.settle();
    let sends: Vec<usize> = world.kernel.groups.iter().map(Vec::len).collect();
    assert_eq!(sends, [1, most, 2]);
}

#[test]
fn small_classes_share_groups_and_a_large_one_waits_for_all_that_were_there() {
    let mut world = World::new(1 << 24);
    for descriptor in 0..600 {
        open(&mut world, descriptor, "large");
    }
    for descriptor in 1000..1300 {
        open(&mut world, descriptor, &descriptor.to_string());
    }
    world.kernel.groups.clear();
    world.batch(event(10, "large"));
    let all = (1000..1300).map(|name| frame_of(20, &name.to_string()));
    world.batch(commit(20, all.collect()));
    world.turn();
    assert_eq!(
        world.kernel.groups,
        [(1000..1256).collect::<Vec<i32>>()],
        "a turn is one group"
    );
    // It has begun its round without them, and the large one does not wait for ever.
    world.batch(event(30, "1000"));
    for _ in 0..3 {
        world.turn();
    }
    assert_eq!(
        world.kernel.groups[1..],
        [
            (1256..1300).collect::<Vec<i32>>(),
            (0..256).collect(),
            vec![1000]
        ]
    );
}

#[test]
fn what_is_left_of_a_large_class_goes_with_the_small_ones() {
    let mut world = World::new(1 << 24);
    for descriptor in 0..600 {
        open(&mut world, descriptor, "larger");
    }
    for descriptor in 1000..1300 {
        open(&mut world, descriptor, "large");
    }
    open(&mut world, 5000, "small");
    world.kernel.groups.clear();
    world.batch(event(10, "large"));
    world.turn();
    world.batch(event(20, "larger"));
    world.batch(event(30, "small"));
    world.settle();
    assert_eq!(
        world.kernel.groups,
        [
            (1000..1256).collect::<Vec<i32>>(),
            (1256..1300).chain([5000]).collect(),
            (0..256).collect(),
            (256..512).collect(),
            (512..600).collect(),
        ]
    );
    assert_eq!(world.engine.counters().deliveries, 300 + 600 + 1);
}

#[test]
fn newcomers_come_a_group_to_a_turn() {
    const GROUP: i32 = engine::limits::GROUP_MAX as i32;
    let mut world = World::new(1 << 24);
    open(&mut world, 5000, "small");
    let mut waiting = VecDeque::from([event(10, "small")]);
    for first in [0, GROUP, 2 * GROUP] {
        let grants = (first..first + GROUP).map(|descriptor| ask(&mut world, descriptor, "large"));
        waiting.push_back(Batch::Grants(grants.collect()));
    }
    world.kernel.groups.clear();
    let mut taken = Vec::new();
    while !waiting.is_empty() {
        let before = waiting.len();
        while world.engine.wants_batch()
            && let Some(batch) = waiting.pop_front()
        {
            world
                .engine
                .handle_batch(world.now, batch, &mut world.kernel);
        }
        taken.push(before - waiting.len());
        world.turn();
    }
    assert_eq!(
        taken,
        [2, 1, 1],
        "all at once would keep the small one waiting"
    );
    assert_eq!(world.kernel.groups[0], [5000]);
    world.settle();
    assert_eq!(world.engine.counters().streams, 1 + 3 * GROUP as u64);
}

#[test]
fn a_class_that_goes_while_it_waits_leaves_its_turn_to_nobody() {
    let mut world = World::new(1 << 24);
    for descriptor in 0..300 {
        open(&mut world, descriptor, &descriptor.to_string());
    }
    world.kernel.groups.clear();
    let all = (0..300).map(|name| frame_of(10, &name.to_string()));
    world.batch(commit(10, all.collect()));
    world.turn();
    for descriptor in 256..300 {
        world.hang_up(descriptor);
    }
    // Their places are others' by now, of whom some have something else to be sent.
    let grants =
        (1000..1040).map(|descriptor| ask(&mut world, descriptor, &descriptor.to_string()));
    let grants = Batch::Grants(grants.collect());
    world.batch(grants);
    let some = (1000..1010).map(|name| frame_of(20, &name.to_string()));
    world.batch(commit(20, some.collect()));
    world.settle();
    assert_eq!(world.engine.counters().deliveries, 256 + 10);
    assert_eq!(world.engine.counters().behind, 0);
}

#[test]
fn two_large_classes_are_swept_a_group_each_in_turn() {
    let mut world = World::new(1 << 24);
    for descriptor in 0..1024 {
        let name = if descriptor < 512 { "one" } else { "other" };
        open(&mut world, descriptor, name);
    }
    world.kernel.groups.clear();
    world.batch(event(10, "one"));
    world.batch(event(20, "other"));
    world.settle();
    let firsts: Vec<i32> = world.kernel.groups.iter().map(|group| group[0]).collect();
    assert_eq!(
        firsts,
        [0, 256, 512, 768],
        "the last of them are few, and go first"
    );
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
    let taken = take_while_wanted(&mut world, 1);
    assert!(
        (50..200).contains(&taken),
        "{taken} frames are half of a quarter of the log"
    );
    world.settle();
    assert!(world.engine.wants_batch());
    assert_eq!(world.engine.counters().deliveries, 1000 * taken);
    assert_eq!(take_while_wanted(&mut world, 1000), taken, "the same again");
}

#[test]
fn the_intake_opens_again_as_soon_as_the_last_of_many_classes_has_moved_on() {
    let mut world = World::new(1 << 20);
    for descriptor in 0..1000 {
        open(&mut world, descriptor, "large");
    }
    for descriptor in 1000..1100 {
        open(&mut world, descriptor, &descriptor.to_string());
    }
    let taken = take_while_wanted(&mut world, 1);
    let all = (1000..1100).map(|name| frame_of(500, &name.to_string()));
    world
        .engine
        .handle_batch(world.now, commit(500, all.collect()), &mut world.kernel);
    // The small ones are swept at once, and then a first group of the large one.
    while world.engine.counters().deliveries <= 100 {
        assert!(!world.engine.wants_batch());
        world.turn();
    }
    world.turn();
    assert!(world.engine.wants_batch());
    let more = take_while_wanted(&mut world, 1000);
    assert!((1..taken).contains(&more), "{more} after {taken}");
}

/// Events of the large organisation until the intake closes. Returns how many.
fn take_while_wanted(world: &mut World, first_lsn: u64) -> u64 {
    let mut taken = 0;
    while world.engine.wants_batch() {
        let lsn = first_lsn + taken;
        let frame = frame(organisation("large"), "c", position(lsn, 1), 1000);
        world
            .engine
            .handle_batch(world.now, commit(lsn, vec![frame]), &mut world.kernel);
        taken += 1;
    }
    taken
}

/// One event of an organisation.
pub(crate) fn event(lsn: u64, name: &str) -> Batch {
    commit(lsn, vec![frame_of(lsn, name)])
}

fn frame_of(lsn: u64, name: &str) -> Frame {
    frame(organisation(name), "c", position(lsn, 1), 10)
}
