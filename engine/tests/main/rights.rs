//! Revocation, expiry, and grants that come too late.

use expect_test::expect;

use crate::script::check;

#[test]
fn nothing_committed_after_a_revocation_reaches_the_revoked() {
    check(
        "
        stream a acme alice
        stream b globex alice
        stream c acme carol
        commit 20 acme:one
        revoke alice acme
        commit 30 acme:two globex:three
        ",
        expect![[r#"
            stream a acme alice
            < a HTTP/1.1 200 OK
            < a connected live e.1.0.0
            stream b globex alice
            < b HTTP/1.1 200 OK
            < b connected live e.1.0.0
            stream c acme carol
            < c HTTP/1.1 200 OK
            < c connected live e.1.0.0
            commit 20 acme:one
            < a one e.1.20.1
            < c one e.1.20.1
            revoke alice acme
            < a bye membership_revoked
              a is finished
              closed: membership_revoked, 1 events, 0 ms
            commit 30 acme:two globex:three
            < b three e.1.30.2
            < c two e.1.30.1
        "#]],
    );
}

#[test]
fn who_is_revoked_in_the_middle_of_a_frame_finishes_that_frame_alone() {
    check(
        "
        stream a acme alice
        takes a 10
        commit 20 acme:one acme:two
        revoke alice acme
        commit 30 acme:three
        takes a all
        ",
        expect![[r#"
            stream a acme alice
            < a HTTP/1.1 200 OK
            < a connected live e.1.0.0
            takes a 10
            commit 20 acme:one acme:two
            < a … 10 bytes
            revoke alice acme
            < a … 10 bytes
            commit 30 acme:three
            < a … 10 bytes
            takes a all
            < a one e.1.20.1
            < a bye membership_revoked
              a is finished
              closed: membership_revoked, 1 events, 0 ms
        "#]],
    );
}

#[test]
fn a_grant_that_comes_too_late_gives_its_count_back() {
    check(
        "
        accept a
        > a GET /stream
        tick 32s
        eof a
        grant a acme alice
        ",
        expect![[r#"
            accept a
            > a GET /stream
            tick 32s
            < a HTTP/1.1 200 OK
            < a refused
              a is closed
            eof a
            grant a acme alice
              closed: client_gone, 0 events, 0 ms
        "#]],
    );
}

#[test]
fn a_stream_ends_with_its_session() {
    check(
        "
        stream a acme alice expires=60s
        commit 20 acme:one
        tick 59s
        tick 3s
        ",
        expect![[r#"
            stream a acme alice expires=60s
            < a HTTP/1.1 200 OK
            < a connected live e.1.0.0
            commit 20 acme:one
            < a one e.1.20.1
            tick 59s
            < a auth
            < a heartbeat e.1.21.0
            < a heartbeat e.1.21.0
            tick 3s
            < a bye session_expired
              a is closed
              closed: session_expired, 1 events, 60000 ms
        "#]],
    );
}
