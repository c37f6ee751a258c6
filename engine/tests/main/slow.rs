//! Slow readers: they lose nothing while the log holds it, and delay nobody.

use engine::Notice;
use expect_test::expect;
use wire::Batch;

use crate::script::{check, check_with_log};
use crate::world::{World, commit, frame, grant, organisation, position};

#[test]
fn a_connection_that_takes_ten_bytes_goes_on_where_it_stopped() {
    check(
        "
        stream a acme alice
        stream b acme bob
        takes a 10
        commit 20 acme:one
        commit 30 acme:two
        takes a 200
        commit 40 acme:three
        takes a all
        commit 50 acme:four
        ",
        expect![[r#"
            stream a acme alice
            < a HTTP/1.1 200 OK
            < a connected live e.1.0.0
            stream b acme bob
            < b HTTP/1.1 200 OK
            < b connected live e.1.0.0
            takes a 10
            commit 20 acme:one
            < a … 10 bytes
            < b one e.1.20.1
            commit 30 acme:two
            < a … 10 bytes
            < b two e.1.30.1
            takes a 200
            < a one e.1.20.1
            < a … 71 bytes
            commit 40 acme:three
            < a … 71 bytes
            < b three e.1.40.1
            takes a all
            < a two e.1.30.1
            < a three e.1.40.1
            commit 50 acme:four
            < a four e.1.50.1
            < b four e.1.50.1
        "#]],
    );
}

#[test]
fn a_blocked_user_gets_own_frames_in_their_place() {
    check(
        "
        stream a acme alice
        takes a 0
        commit 20 acme:one alice@acme:two acme:three
        commit 30 alice@acme:four
        takes a all
        commit 40 acme:five
        ",
        expect![[r#"
            stream a acme alice
            < a HTTP/1.1 200 OK
            < a connected live e.1.0.0
            takes a 0
            commit 20 acme:one alice@acme:two acme:three
            commit 30 alice@acme:four
            takes a all
            < a one e.1.20.1
            < a two e.1.20.2
            < a three e.1.20.3
            < a four e.1.30.1
            commit 40 acme:five
            < a five e.1.40.1
        "#]],
    );
}

#[test]
fn who_takes_nothing_for_long_is_closed_however_it_is_reset_meanwhile() {
    check(
        "
        stream a acme alice
        takes a 10
        commit 20 acme:one
        tick 18s
        gap 30
        tick 11s
        tick 3s
        ",
        expect![[r#"
            stream a acme alice
            < a HTTP/1.1 200 OK
            < a connected live e.1.0.0
            takes a 10
            commit 20 acme:one
            < a … 10 bytes
            tick 18s
            < a … 10 bytes
            gap 30
            < a … 10 bytes
            tick 11s
            < a … 10 bytes
            tick 3s
            < a … 10 bytes
              a is reset
              closed: too_slow, 0 events, 30000 ms
        "#]],
    );
}

#[test]
fn who_takes_nothing_for_long_is_closed_though_never_writable() {
    check(
        "
        stream a acme alice
        stream b acme bob
        takes a 10
        commit 20 acme:one
        tick 29s
        tick 3s
        ",
        expect![[r#"
            stream a acme alice
            < a HTTP/1.1 200 OK
            < a connected live e.1.0.0
            stream b acme bob
            < b HTTP/1.1 200 OK
            < b connected live e.1.0.0
            takes a 10
            commit 20 acme:one
            < a … 10 bytes
            < b one e.1.20.1
            tick 29s
            < a … 10 bytes
            < b heartbeat e.1.21.0
            tick 3s
            < a … 10 bytes
              a is reset
              closed: too_slow, 0 events, 30000 ms
        "#]],
    );
}

#[test]
fn a_frame_evicted_half_sent_ends_the_connection_without_another_byte() {
    check_with_log(
        8192,
        "
        stream a acme alice
        stream b acme bob
        takes a 100
        commit 20 acme:one bytes=600
        commit 30 acme:two bytes=600
        commit 40 acme:three bytes=600
        commit 50 acme:four bytes=600
        takes a all
        ",
        expect![[r#"
            stream a acme alice
            < a HTTP/1.1 200 OK
            < a connected live e.1.0.0
            stream b acme bob
            < b HTTP/1.1 200 OK
            < b connected live e.1.0.0
            takes a 100
            commit 20 acme:one bytes=600
            < a … 100 bytes
            < b one e.1.20.1
            commit 30 acme:two bytes=600
            < a … 100 bytes
            < b two e.1.30.1
            commit 40 acme:three bytes=600
            < a … 100 bytes
            < b three e.1.40.1
            commit 50 acme:four bytes=600
            < a … 100 bytes
            < b four e.1.50.1
            takes a all
            < a … 100 bytes
              a is reset
              closed: too_slow, 0 events, 0 ms
        "#]],
    );
}

#[test]
fn whose_place_falls_out_of_the_log_is_closed_without_another_byte() {
    check_with_log(
        8192,
        "
        stream a acme alice
        stream b acme bob
        takes a 0
        commit 20 acme:one bytes=600
        commit 30 acme:two bytes=600
        commit 40 acme:three bytes=600
        commit 50 acme:four bytes=600
        takes a all
        commit 60 acme:five
        ",
        expect![[r#"
            stream a acme alice
            < a HTTP/1.1 200 OK
            < a connected live e.1.0.0
            stream b acme bob
            < b HTTP/1.1 200 OK
            < b connected live e.1.0.0
            takes a 0
            commit 20 acme:one bytes=600
            < b one e.1.20.1
            commit 30 acme:two bytes=600
            < b two e.1.30.1
            commit 40 acme:three bytes=600
            < b three e.1.40.1
            commit 50 acme:four bytes=600
            < b four e.1.50.1
            takes a all
              a is reset
              closed: too_slow, 0 events, 0 ms
            commit 60 acme:five
            < b five e.1.60.1
        "#]],
    );
}

#[test]
fn what_others_have_evicts_nothing_of_whoever_is_slow_within_its_share() {
    check_with_log(
        16384,
        "
        stream a acme alice
        takes a 100
        commit 20 acme:one bytes=600
        commit 30 globex:two bytes=600
        commit 40 globex:three bytes=600
        commit 50 globex:four bytes=600
        commit 60 globex:five bytes=600
        commit 70 globex:six bytes=600
        commit 80 globex:seven bytes=600
        takes a all
        ",
        expect![[r#"
            stream a acme alice
            < a HTTP/1.1 200 OK
            < a connected live e.1.0.0
            takes a 100
            commit 20 acme:one bytes=600
            < a … 100 bytes
            commit 30 globex:two bytes=600
            < a … 100 bytes
            commit 40 globex:three bytes=600
            < a … 100 bytes
            commit 50 globex:four bytes=600
            < a … 100 bytes
            commit 60 globex:five bytes=600
            < a … 100 bytes
            commit 70 globex:six bytes=600
            < a … 100 bytes
            commit 80 globex:seven bytes=600
            < a … 100 bytes
            takes a all
            < a one e.1.20.1
        "#]],
    );
}

#[test]
fn a_byte_now_and_then_is_progress_and_none_is_not() {
    check(
        "
        stream a acme alice
        takes a 10
        commit 20 acme:one bytes=600
        tick 20s
        takes a 10
        tick 20s
        takes a 10
        tick 29s
        tick 2s
        ",
        expect![[r#"
            stream a acme alice
            < a HTTP/1.1 200 OK
            < a connected live e.1.0.0
            takes a 10
            commit 20 acme:one bytes=600
            < a … 10 bytes
            tick 20s
            < a … 10 bytes
            takes a 10
            < a … 20 bytes
            tick 20s
            < a … 20 bytes
            takes a 10
            < a … 30 bytes
            tick 29s
            < a … 30 bytes
            tick 2s
            < a … 30 bytes
              a is reset
              closed: too_slow, 0 events, 70000 ms
        "#]],
    );
}

#[test]
fn a_broken_connection_is_closed_by_the_send_that_finds_it() {
    check(
        "
        stream a acme alice
        hangup a
        stream b acme bob
        commit 20 acme:one
        ",
        expect![[r#"
            stream a acme alice
            < a HTTP/1.1 200 OK
            < a connected live e.1.0.0
            hangup a
              a is closed
              closed: client_gone, 0 events, 0 ms
            stream b acme bob
            < b HTTP/1.1 200 OK
            < b connected live e.1.0.0
            commit 20 acme:one
            < b one e.1.20.1
        "#]],
    );
}

/// Its hang-up comes after the send, or was never told.
#[test]
fn a_send_that_finds_the_connection_broken_counts_no_event() {
    let mut world = World::new(1 << 20);
    for descriptor in [1, 2] {
        world.accept(descriptor);
        world.bytes(descriptor, b"GET /stream HTTP/1.1\r\nhost: a\r\n\r\n");
        let grant = grant(world.id_of(descriptor), "acme", "alice");
        world.batch(Batch::Grant(Box::new(grant)));
    }
    let one = |lsn| frame(organisation("acme"), "one", position(lsn, 1), 10);
    world.batch(commit(0x20, vec![one(0x20)]));
    world.settle();
    world.kernel.sockets.get_mut(&1).unwrap().is_broken = true;
    world.batch(commit(0x30, vec![one(0x30), one(0x31)]));
    world.settle();
    let counted = world.kernel.notices.iter().find_map(|notice| match notice {
        Notice::Closed { events, .. } => Some(*events),
        _ => None,
    });
    assert_eq!(counted, Some(1));
}
