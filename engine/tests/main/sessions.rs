//! How long a stream lives: the `auth` event before the end of its session, renewals, sessions that
//! last longer, and streams that are idle.

use expect_test::expect;
use wire::Batch;

use crate::script::{check, check_closing_idle};
use crate::world::{World, commit, frame, grant, organisation, position};

#[test]
fn a_renewal_moves_the_end_and_is_warned_of_anew() {
    check(
        "
        stream a acme alice expires=90s
        tick 25s
        tick 10s
        renew a alice fresh 100s
        tick 38s
        tick 4s
        tick 58s
        tick 4s
        ",
        expect![[r#"
            stream a acme alice expires=90s
            < a HTTP/1.1 200 OK
            < a connected live e.1.0.0
            tick 25s
            < a heartbeat e.1.0.0
            tick 10s
            < a auth
            renew a alice fresh 100s
              ticket 3: Done
            tick 38s
            < a heartbeat e.1.0.0
            tick 4s
            < a auth
            tick 58s
            < a heartbeat e.1.0.0
            < a heartbeat e.1.0.0
            < a bye session_expired
              a is finished
              closed: session_expired, 0 events, 135000 ms
            tick 4s
              a is closed
        "#]],
    );
}

#[test]
fn nobody_renews_the_stream_of_another() {
    check(
        "
        stream a acme alice expires=90s
        renew a bob fresh 3600s
        tick 92s
        renew a alice fresh 3600s
        ",
        expect![[r#"
            stream a acme alice expires=90s
            < a HTTP/1.1 200 OK
            < a connected live e.1.0.0
            renew a bob fresh 3600s
              ticket 3: Foreign
            tick 92s
            < a heartbeat e.1.0.0
            < a auth
            < a heartbeat e.1.0.0
            < a heartbeat e.1.0.0
            < a bye session_expired
              a is closed
              closed: session_expired, 0 events, 90000 ms
            renew a alice fresh 3600s
              ticket 3: NotFound
        "#]],
    );
}

#[test]
fn a_stream_is_renewed_for_what_the_fresh_session_claims_alone() {
    check(
        "
        stream a acme alice expires=90s
        renew a alice fresh 3600s globex
        renew a alice fresh 3600s acme:owner
        renew a alice fresh 100s globex:owner acme
        sign-out alice
        tick 102s
        ",
        expect![[r#"
            stream a acme alice expires=90s
            < a HTTP/1.1 200 OK
            < a connected live e.1.0.0
            renew a alice fresh 3600s globex
              ticket 3: NotAMember
            renew a alice fresh 3600s acme:owner
              ticket 3: NotAMember
            renew a alice fresh 100s globex:owner acme
              ticket 3: Done
            sign-out alice
            tick 102s
            < a heartbeat e.1.0.0
            < a auth
            < a heartbeat e.1.0.0
            < a heartbeat e.1.0.0
            < a bye session_expired
              a is closed
              closed: session_expired, 0 events, 100000 ms
        "#]],
    );
}

#[test]
fn a_renewed_stream_is_revoked_with_its_new_session() {
    check(
        "
        stream a acme alice expires=90s
        renew a alice fresh 3600s
        sign-out alice
        commit 20 acme:one
        sign-out-of fresh
        commit 30 acme:one
        ",
        expect![[r#"
            stream a acme alice expires=90s
            < a HTTP/1.1 200 OK
            < a connected live e.1.0.0
            renew a alice fresh 3600s
              ticket 3: Done
            sign-out alice
            commit 20 acme:one
            < a one e.1.20.1
            sign-out-of fresh
            < a bye session_revoked
              a is finished
              closed: session_revoked, 1 events, 0 ms
            commit 30 acme:one
        "#]],
    );
}

#[test]
fn a_session_that_lasts_longer_is_told_of_nowhere() {
    check(
        "
        stream a acme alice expires=90s
        stream b acme bob expires=90s
        extend alice 300s
        tick 92s
        tick 150s
        extend alice 10s
        tick 12s
        ",
        expect![[r#"
            stream a acme alice expires=90s
            < a HTTP/1.1 200 OK
            < a connected live e.1.0.0
            stream b acme bob expires=90s
            < b HTTP/1.1 200 OK
            < b connected live e.1.0.0
            extend alice 300s
            tick 92s
            < a heartbeat e.1.0.0
            < a heartbeat e.1.0.0
            < a heartbeat e.1.0.0
            < b heartbeat e.1.0.0
            < b auth
            < b heartbeat e.1.0.0
            < b heartbeat e.1.0.0
            < b bye session_expired
              b is closed
              closed: session_expired, 0 events, 90000 ms
            tick 150s
            < a heartbeat e.1.0.0
            < a heartbeat e.1.0.0
            < a heartbeat e.1.0.0
            < a heartbeat e.1.0.0
            < a heartbeat e.1.0.0
            < a heartbeat e.1.0.0
            < a auth
            extend alice 10s
            tick 12s
            < a auth
            < a bye session_expired
              a is closed
              closed: session_expired, 0 events, 252000 ms
        "#]],
    );
}

#[test]
fn a_session_that_ends_while_the_socket_is_full_sends_nothing_more() {
    check(
        "
        stream a acme alice expires=20s
        takes a 0
        commit 20 acme:one
        tick 15s
        takes a 10
        tick 6s
        takes a all
        tick 12s
        ",
        expect![[r#"
            stream a acme alice expires=20s
            < a HTTP/1.1 200 OK
            < a connected live e.1.0.0
            takes a 0
            commit 20 acme:one
            tick 15s
            takes a 10
            < a … 10 bytes
            tick 6s
            < a … 10 bytes
            takes a all
            < a auth
            < a bye session_expired
              a is finished
              closed: session_expired, 0 events, 21000 ms
            tick 12s
              a is closed
        "#]],
    );
}

#[test]
fn a_warning_does_not_end_the_patience_with_a_slow_reader() {
    check(
        "
        stream a acme alice expires=70s
        takes a 0
        commit 20 acme:one
        tick 12s
        takes a all
        ",
        expect![[r#"
            stream a acme alice expires=70s
            < a HTTP/1.1 200 OK
            < a connected live e.1.0.0
            takes a 0
            commit 20 acme:one
            tick 12s
            takes a all
            < a auth
            < a one e.1.20.1
        "#]],
    );
}

#[test]
fn a_stream_without_events_is_closed_however_many_heartbeats_it_has() {
    check_closing_idle(
        60,
        "
        stream a acme alice
        stream b acme bob channel=one
        stream c acme carol channel=two
        tick 40s
        commit 20 acme:one
        tick 15s
        commit 30 carol@acme:two
        tick 10s
        page d acme dora after=e.1.31.0 wait=60s
        tick 30s
        commit 40 acme:one
        tick 30s
        ",
        expect![[r#"
            stream a acme alice
            < a HTTP/1.1 200 OK
            < a connected live e.1.0.0
            stream b acme bob channel=one
            < b HTTP/1.1 200 OK
            < b connected live e.1.0.0
            stream c acme carol channel=two
            < c HTTP/1.1 200 OK
            < c connected live e.1.0.0
            tick 40s
            < a heartbeat e.1.0.0
            < b heartbeat e.1.0.0
            < c heartbeat e.1.0.0
            commit 20 acme:one
            < a one e.1.20.1
            < b one e.1.20.1
            tick 15s
            < c heartbeat e.1.21.0
            commit 30 carol@acme:two
            < c two e.1.30.1
            tick 10s
            < a heartbeat e.1.31.0
            < b heartbeat e.1.31.0
            page d acme dora after=e.1.31.0 wait=60s
            tick 30s
            < a heartbeat e.1.31.0
            < b heartbeat e.1.31.0
            < c heartbeat e.1.31.0
            commit 40 acme:one
            < a one e.1.40.1
            < b one e.1.40.1
            < d HTTP/1.1 200 OK complete e.1.41.0: one e.1.40.1
              d is finished
              closed: done, 1 events, 30000 ms
            tick 30s
            < a heartbeat e.1.41.0
            < b heartbeat e.1.41.0
            < c heartbeat e.1.41.0
            < c bye idle
              c is closed
              d is closed
              closed: idle, 1 events, 115000 ms
        "#]],
    );
}

#[test]
fn what_another_class_was_sent_does_not_keep_a_stream() {
    check_closing_idle(
        60,
        "
        stream a acme alice channel=one
        stream b acme bob channel=two
        tick 30s
        commit 20 acme:two
        tick 1s
        subscribe a alice two
        tick 31s
        tick 30s
        ",
        expect![[r#"
            stream a acme alice channel=one
            < a HTTP/1.1 200 OK
            < a connected live e.1.0.0
            stream b acme bob channel=two
            < b HTTP/1.1 200 OK
            < b connected live e.1.0.0
            tick 30s
            < a heartbeat e.1.0.0
            < b heartbeat e.1.0.0
            commit 20 acme:two
            < b two e.1.20.1
            tick 1s
            subscribe a alice two
            < a subscription
              ticket 1: Done
            tick 31s
            < a heartbeat e.1.21.0
            < a bye idle
              a is closed
            < b heartbeat e.1.21.0
              closed: idle, 0 events, 60000 ms
            tick 30s
            < b heartbeat e.1.21.0
            < b bye idle
              b is closed
              closed: idle, 1 events, 90000 ms
        "#]],
    );
}

#[test]
fn nothing_is_sent_after_the_end_of_a_session_though_nobody_has_looked_at_it_yet() {
    let mut world = World::new(1 << 20);
    for descriptor in [1, 2] {
        world.accept(descriptor);
        world.bytes(descriptor, b"GET /stream HTTP/1.1\r\nhost: a\r\n\r\n");
        let mut grant = grant(world.id_of(descriptor), "acme", &descriptor.to_string());
        grant.expires_ms = (descriptor == 1).then_some(world.now.wall_ms + 10_200);
        world.batch(Batch::Grant(Box::new(grant)));
        world.settle();
    }
    // Deadlines are looked at once a second, and not between these two.
    for (ms, lsn) in [(10_100, 0x20), (200, 0x30)] {
        world.pass(ms);
        let frame = frame(organisation("acme"), "one", position(lsn, 1), 1);
        world.batch(commit(lsn, vec![frame]));
        world.settle();
    }
    let received = |descriptor| {
        let socket = &world.kernel.sockets[&descriptor];
        String::from_utf8(socket.received.clone()).unwrap()
    };
    let (ended, other) = (received(1), received(2));
    assert!(
        ended.contains("e.1.20.1") && !ended.contains("e.1.30.1"),
        "{ended}"
    );
    assert!(
        ended.ends_with("{\"reason\":\"session_expired\",\"retry\":false}\n\n"),
        "{ended}"
    );
    assert!(other.contains("e.1.20.1") && other.contains("e.1.30.1"));
}
