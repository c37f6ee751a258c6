//! Heartbeats, drain, and time in which this process stood still.

use expect_test::expect;

use crate::script::check;
use crate::world::{World, commit, frame, grant, organisation, position};

#[test]
fn a_silent_stream_gets_heartbeats_that_move_its_resume_point() {
    check(
        "
        stream a acme alice
        progress 20
        tick 26s
        progress 30
        commit 31 globex:other
        tick 26s
        ",
        expect![[r#"
            stream a acme alice
            < a HTTP/1.1 200 OK
            < a connected live e.1.0.0
            progress 20
            tick 26s
            < a heartbeat e.1.20.0
            progress 30
            commit 31 globex:other
            tick 26s
            < a heartbeat e.1.32.0
        "#]],
    );
}

#[test]
fn a_stream_that_hears_of_events_needs_no_heartbeat() {
    check(
        "
        stream a acme alice
        tick 20s
        commit 20 acme:one
        tick 20s
        tick 6s
        ",
        expect![[r#"
            stream a acme alice
            < a HTTP/1.1 200 OK
            < a connected live e.1.0.0
            tick 20s
            commit 20 acme:one
            < a one e.1.20.1
            tick 20s
            tick 6s
            < a heartbeat e.1.21.0
        "#]],
    );
}

#[test]
fn a_blocked_stream_gets_no_heartbeat_ahead_of_its_frames() {
    check(
        "
        stream a acme alice
        takes a 10
        commit 20 acme:one
        tick 27s
        takes a all
        ",
        expect![[r#"
            stream a acme alice
            < a HTTP/1.1 200 OK
            < a connected live e.1.0.0
            takes a 10
            commit 20 acme:one
            < a … 10 bytes
            tick 27s
            < a … 10 bytes
            takes a all
            < a one e.1.20.1
        "#]],
    );
}

#[test]
fn a_drain_says_bye_to_everybody_over_its_time() {
    check(
        "
        stream a acme alice
        stream b acme bob
        close-all draining 10s
        tick 1s
        tick 10s
        eof a
        ",
        expect![[r#"
            stream a acme alice
            < a HTTP/1.1 200 OK
            < a connected live e.1.0.0
            stream b acme bob
            < b HTTP/1.1 200 OK
            < b connected live e.1.0.0
            close-all draining 10s
            tick 1s
            tick 10s
            < a bye draining
              a is closed
            < b bye draining
              b is finished
              closed: draining, 0 events, 5000 ms
              closed: draining, 0 events, 10000 ms
            eof a
        "#]],
    );
}

#[test]
fn a_second_drain_gives_nobody_more_time() {
    check(
        "
        stream a acme alice
        close-all draining 10s
        tick 4s
        stream b acme bob
        close-all draining 60s
        tick 7s
        ",
        expect![[r#"
            stream a acme alice
            < a HTTP/1.1 200 OK
            < a connected live e.1.0.0
            close-all draining 10s
            tick 4s
            stream b acme bob
            < b HTTP/1.1 200 OK
            < b connected live e.1.0.0
            close-all draining 60s
            tick 7s
            < a bye draining
              a is closed
            < b bye draining
              b is finished
              closed: draining, 0 events, 7000 ms
              closed: draining, 0 events, 6000 ms
        "#]],
    );
}

#[test]
fn a_stream_that_comes_while_others_are_closed_is_reset_after_them() {
    check(
        "
        stream a acme alice
        close-all draining 10s
        stream b acme bob
        gap 50
        tick 11s
        commit 60 acme:one
        tick 11s
        commit 70 acme:one
        ",
        expect![[r#"
            stream a acme alice
            < a HTTP/1.1 200 OK
            < a connected live e.1.0.0
            close-all draining 10s
            stream b acme bob
            < b HTTP/1.1 200 OK
            < b connected live e.1.0.0
            gap 50
            tick 11s
            < a bye draining
              a is finished
              closed: draining, 0 events, 10000 ms
            commit 60 acme:one
            tick 11s
              a is closed
            < b reset slot_lost e.1.61.0
            commit 70 acme:one
            < b one e.1.70.1
        "#]],
    );
}

/// Nobody turns the engine for 40 s, which is longer than any patience it has with a client.
fn stand_still(world: &mut World) {
    world.now.monotonic_ms += 40_000;
    world.now.wall_ms += 40_000;
    world.turn();
}

#[test]
fn time_in_which_we_stood_still_is_not_held_against_a_stream() {
    let mut world = World::new(1 << 24);
    world.accept(5);
    world.bytes(5, b"GET /stream HTTP/1.1\r\nhost: a\r\n\r\n");
    let connection = world.id_of(5);
    world.batch(wire::Batch::Grant(
        grant(connection, "acme", "alice").into(),
    ));
    world.settle();
    world.make_room(5, Some(0));
    let event = frame(organisation("acme"), "one", position(20, 1), 10);
    world.batch(commit(20, vec![event]));
    world.settle();
    stand_still(&mut world);
    // Its socket has had room all the while.
    world.make_room(5, None);
    world.settle();
    let received = &world.kernel.sockets[&5].received;
    assert!(String::from_utf8_lossy(received).contains("one.insert"));
    // And who takes nothing afterwards either is slow.
    world.make_room(5, Some(0));
    let event = frame(organisation("acme"), "two", position(30, 1), 10);
    world.batch(commit(30, vec![event]));
    world.pass(32_000);
    assert!(world.kernel.sockets[&5].closed.is_some());
}

#[test]
fn who_is_stopped_again_and_again_has_deadlines_too() {
    let mut world = World::new(1 << 24);
    world.accept(5);
    world.bytes(5, b"GET /livez HTTP/1.1\r\n");
    for _ in 0..4 {
        stand_still(&mut world);
        world.settle();
    }
    let answer = String::from_utf8_lossy(&world.kernel.sockets[&5].received).into_owned();
    assert!(answer.starts_with("HTTP/1.1 408 "), "{answer}");
}

#[test]
fn time_in_which_we_stood_still_is_not_held_against_a_request() {
    let mut world = World::new(1 << 24);
    for descriptor in [5, 6] {
        world.accept(descriptor);
        world.bytes(descriptor, b"GET /livez HTTP/1.1\r\n");
    }
    stand_still(&mut world);
    world.bytes(5, b"host: a\r\n\r\n");
    assert_eq!(world.kernel.requests.len(), 1);
    world.pass(2_000);
    let answer = String::from_utf8_lossy(&world.kernel.sockets[&6].received).into_owned();
    assert!(answer.starts_with("HTTP/1.1 408 "), "{answer}");
}
