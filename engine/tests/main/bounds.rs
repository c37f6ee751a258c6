//! What no client can stretch: memory that does not grow with those who came and went, deadlines
//! that no byte moves, and pieces of large frames.

use engine::limits::SLICE_BYTES_MAX;
use engine::{Close, Command};
use expect_test::expect;
use wire::{Batch, CloseReason, Filter, Revocation, RevocationScope};

use crate::script::{check, check_with_log};
use crate::world::{World, commit, frame, grant, key, name, organisation, position};

fn open(world: &mut World, descriptor: i32, user: &str) {
    world.accept(descriptor);
    world.bytes(descriptor, b"GET /stream HTTP/1.1\r\nhost: a\r\n\r\n");
    let grant = grant(world.id_of(descriptor), "acme", user);
    world.batch(Batch::Grant(Box::new(grant)));
    world.settle();
}

#[test]
fn an_organisation_without_events_does_not_remember_who_left() {
    let mut world = World::new(1 << 20);
    open(&mut world, 1, "alice");
    // All there is to see of an engine is how it prints; with `#`, the `slab` crate prints entries.
    let size = |world: &World| format!("{:#?}", world.engine).lines().count();
    let before = size(&world);
    for _ in 0..1000 {
        open(&mut world, 2, "bob");
        world.hang_up(2);
        world.settle();
    }
    assert!(size(&world) < before + 100, "tombstones stay");
}

#[test]
fn who_takes_a_response_byte_by_byte_is_closed_at_its_deadline() {
    let mut world = World::new(1 << 20);
    world.accept(5);
    world.bytes(5, b"GET / HTTP/1.1\r\nhost: a\r\n\r\n");
    world.make_room(5, Some(10));
    let (connection, response) = (world.id_of(5), vec![b'x'; 5000].into());
    world.command(Command::Respond {
        connection,
        response,
    });
    world.settle();
    for _ in 0..12 {
        world.pass(1_000);
        world.make_room(5, Some(10));
    }
    assert!(world.kernel.sockets[&5].closed.is_some());
}

#[test]
fn who_takes_its_last_frame_byte_by_byte_is_closed_at_its_deadline() {
    let mut world = World::new(1 << 20);
    open(&mut world, 5, "alice");
    world.make_room(5, Some(10));
    let large = frame(organisation("acme"), "c", position(0x20, 1), 5000);
    world.batch(commit(0x20, vec![large]));
    world.settle();
    let (scope, reason) = (
        RevocationScope::User(key("alice")),
        CloseReason::SessionRevoked,
    );
    world.batch(Batch::Revoke(Revocation { scope, reason }));
    for _ in 0..12 {
        world.pass(1_000);
        world.make_room(5, Some(10));
    }
    assert!(world.kernel.sockets[&5].closed.is_some());
}

#[test]
fn a_held_stream_that_is_slow_is_let_go_in_time() {
    check(
        "
        progress 10
        accept a
        > a GET /stream
        takes a 10
        grant a acme alice after=e.1.30.1
        tick 14s
        takes a all
        tick 3s
        ",
        expect![[r#"
            progress 10
            accept a
            > a GET /stream
            takes a 10
            grant a acme alice after=e.1.30.1
            < a … 10 bytes
              held
            tick 14s
            < a … 10 bytes
            takes a all
            < a HTTP/1.1 200 OK
            tick 3s
            < a bye lagging
              a is closed
              closed: lagging, 0 events, 15000 ms
        "#]],
    );
}

#[test]
fn a_change_larger_than_the_log_ends_the_streams_that_cannot_have_it() {
    check_with_log(
        8192,
        "
        stream a acme alice
        stream b globex bob
        commit 20 acme:1 acme:2 acme:3 globex:1 acme:4 bytes=900
        stream c acme carol after=e.1.20.1
        commit 30 acme:5 globex:2
        ",
        expect![[r#"
            stream a acme alice
            < a HTTP/1.1 200 OK
            < a connected live e.1.0.0
            stream b globex bob
            < b HTTP/1.1 200 OK
            < b connected live e.1.0.0
            commit 20 acme:1 acme:2 acme:3 globex:1 acme:4 bytes=900
              a is reset
            < b 1 e.1.20.4
              closed: too_slow, 0 events, 0 ms
            stream c acme carol after=e.1.20.1
            < c HTTP/1.1 200 OK
            < c connected reset e.1.21.0
            < c reset history e.1.21.0
            commit 30 acme:5 globex:2
            < b 2 e.1.30.2
            < c 5 e.1.30.1
        "#]],
    );
}

#[test]
fn what_came_and_went_while_a_sweep_ran_is_no_silent_loss() {
    let mut world = World::new(8192);
    world.engine.set_group(1);
    open(&mut world, 1, "alice");
    open(&mut world, 2, "bob");
    let event = |of: &str, lsn, index| {
        let bytes = if lsn == 0x30 { 900 } else { 10 };
        frame(organisation(of), "c", position(lsn, index), bytes)
    };
    world.batch(commit(0x20, vec![event("acme", 0x20, 1)]));
    world.turn();
    // One of the two has been offered the first event. The second is driven out by what others have, each
    // within its share.
    let others = (2..12).map(|index| event(&format!("other {index}"), 0x30, index));
    let second = std::iter::once(event("acme", 0x30, 1)).chain(others);
    world.batch(commit(0x30, second.collect()));
    world.settle();
    world.batch(commit(0x40, vec![event("acme", 0x40, 1)]));
    world.settle();
    for descriptor in [1, 2] {
        let socket = &world.kernel.sockets[&descriptor];
        let text = String::from_utf8_lossy(&socket.received);
        assert!(text.contains("e.1.20.1"), "{text}");
        assert!(!text.contains("e.1.40.1"), "the second is missing: {text}");
        assert_eq!(socket.closed, Some(Close::Reset));
    }
}

#[test]
fn a_large_frame_goes_to_who_is_behind_in_pieces() {
    let mut world = World::new(1 << 24);
    open(&mut world, 5, "alice");
    world.make_room(5, Some(10));
    let frames = (1..=3).map(|index| {
        let bytes = if index == 2 { 1_000_000 } else { 10 };
        frame(organisation("acme"), "c", position(0x20, index), bytes)
    });
    let frames: Vec<_> = frames.collect();
    let expected: Vec<u8> = frames
        .iter()
        .flat_map(|frame| frame.bytes().to_vec())
        .collect();
    world.kernel.sockets.get_mut(&5).unwrap().received.clear();
    world.batch(commit(0x20, frames));
    world.settle();
    world.kernel.largest_send = 0;
    for room in [1, 70_000, 130_000, SLICE_BYTES_MAX - 1, SLICE_BYTES_MAX] {
        world.make_room(5, Some(room));
        world.settle();
    }
    world.make_room(5, None);
    world.settle();
    assert!(world.kernel.sockets[&5].received == expected);
    assert!(world.kernel.largest_send <= SLICE_BYTES_MAX);
    assert_eq!(world.engine.counters().deliveries, 3);
    assert_eq!(world.engine.counters().behind, 0);
}

#[test]
fn a_stream_for_which_nothing_is_hears_heartbeats_however_busy_its_organisation_is() {
    let mut world = World::new(1 << 20);
    for descriptor in 0..600 {
        world.accept(descriptor);
        world.bytes(descriptor, b"GET /stream HTTP/1.1\r\nhost: a\r\n\r\n");
        let mut grant = grant(world.id_of(descriptor), "acme", &descriptor.to_string());
        grant.filter = Filter::new(vec![name("x")], Vec::new(), Vec::new());
        world.batch(Batch::Grant(Box::new(grant)));
    }
    world.settle();
    for second in 0..60_u64 {
        for turn in 0..10 {
            let lsn = 0x20 + 10 * second + turn;
            let channel = if lsn == 0x20 { "x" } else { "y" };
            let frame = frame(organisation("acme"), channel, position(lsn, 1), 10);
            world.batch(commit(lsn, vec![frame]));
            world.turn();
            world.now.monotonic_ms += 100;
        }
    }
    let text = String::from_utf8_lossy(&world.kernel.sockets[&300].received).into_owned();
    assert!(text.contains("event: heartbeat"), "{text}");
}
