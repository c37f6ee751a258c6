//! Where a client goes on that comes back with an id.

use expect_test::expect;

use crate::script::{check, check_with_log};

#[test]
fn an_id_in_the_log_resumes_after_it() {
    check(
        "
        commit 20 acme:one acme:two
        commit 30 globex:other alice@acme:three
        stream a acme alice after=e.1.20.1
        stream b acme bob after=e.1.10.0
        stream c acme carol after=e.1.31.0
        commit 40 acme:four
        ",
        expect![[r#"
            commit 20 acme:one acme:two
            commit 30 globex:other alice@acme:three
            stream a acme alice after=e.1.20.1
            < a HTTP/1.1 200 OK
            < a connected resumed e.1.20.1
            < a two e.1.20.2
            < a three e.1.30.2
            stream b acme bob after=e.1.10.0
            < b HTTP/1.1 200 OK
            < b connected resumed e.1.10.0
            < b one e.1.20.1
            < b two e.1.20.2
            stream c acme carol after=e.1.31.0
            < c HTTP/1.1 200 OK
            < c connected resumed e.1.31.0
            commit 40 acme:four
            < a four e.1.40.1
            < b four e.1.40.1
            < c four e.1.40.1
        "#]],
    );
}

#[test]
fn an_id_of_another_cluster_or_no_id_at_all_is_told_so() {
    check(
        "
        commit 20 acme:one
        stream a acme alice after=f.1.20.1
        stream b acme bob after=e.2.20.1
        stream c acme carol unknown
        commit 30 acme:two
        ",
        expect![[r#"
            commit 20 acme:one
            stream a acme alice after=f.1.20.1
            < a HTTP/1.1 200 OK
            < a connected reset e.1.21.0
            < a reset unknown_position e.1.21.0
            stream b acme bob after=e.2.20.1
            < b HTTP/1.1 200 OK
            < b connected reset e.1.21.0
            < b reset unknown_position e.1.21.0
            stream c acme carol unknown
            < c HTTP/1.1 200 OK
            < c connected reset e.1.21.0
            < c reset unknown_position e.1.21.0
            commit 30 acme:two
            < a two e.1.30.1
            < b two e.1.30.1
            < c two e.1.30.1
        "#]],
    );
}

#[test]
fn the_least_and_the_greatest_ids_are_told_so() {
    check(
        "
        commit 20 acme:one
        stream a acme alice after=0.0.0.0
        stream b acme bob after=e.0.20.1
        stream c acme carol after=ffffffff.ffffffff.ffffffffffffffff.ffffffff
        stream d acme dave after=e.1.ffffffffffffffff.ffffffff
        flushed fffffffffffffffe
        commit 30 acme:two
        ",
        expect![[r#"
            commit 20 acme:one
            stream a acme alice after=0.0.0.0
            < a HTTP/1.1 200 OK
            < a connected reset e.1.21.0
            < a reset unknown_position e.1.21.0
            stream b acme bob after=e.0.20.1
            < b HTTP/1.1 200 OK
            < b connected reset e.1.21.0
            < b reset unknown_position e.1.21.0
            stream c acme carol after=ffffffff.ffffffff.ffffffffffffffff.ffffffff
            < c HTTP/1.1 200 OK
            < c connected reset e.1.21.0
            < c reset unknown_position e.1.21.0
            stream d acme dave after=e.1.ffffffffffffffff.ffffffff
            < d HTTP/1.1 200 OK
              held
            flushed fffffffffffffffe
            < d connected reset e.1.21.0
            < d reset unknown_position e.1.21.0
            commit 30 acme:two
            < a two e.1.30.1
            < b two e.1.30.1
            < c two e.1.30.1
            < d two e.1.30.1
        "#]],
    );
}

#[test]
fn an_id_whose_frames_were_evicted_is_told_so() {
    check_with_log(
        4096,
        "
        commit 20 acme:one bytes=300
        commit 30 acme:two bytes=300
        commit 40 acme:three bytes=300
        stream a acme alice after=e.1.10.0
        stream b globex bob after=e.1.10.0
        ",
        expect![[r#"
            commit 20 acme:one bytes=300
            commit 30 acme:two bytes=300
            commit 40 acme:three bytes=300
            stream a acme alice after=e.1.10.0
            < a HTTP/1.1 200 OK
            < a connected reset e.1.41.0
            < a reset history e.1.41.0
            stream b globex bob after=e.1.10.0
            < b HTTP/1.1 200 OK
            < b connected resumed e.1.10.0
        "#]],
    );
}

#[test]
fn an_id_from_before_the_membership_is_told_so() {
    check(
        "
        commit 20 acme:one
        stream a acme alice after=e.1.20.1 since=e.1.25.0
        stream b acme alice after=e.1.20.1 since=e.1.20.0
        ",
        expect![[r#"
            commit 20 acme:one
            stream a acme alice after=e.1.20.1 since=e.1.25.0
            < a HTTP/1.1 200 OK
            < a connected reset e.1.21.0
            < a reset history e.1.21.0
            stream b acme alice after=e.1.20.1 since=e.1.20.0
            < b HTTP/1.1 200 OK
            < b connected resumed e.1.20.1
        "#]],
    );
}

#[test]
fn an_id_ahead_is_held_until_the_log_gets_there() {
    check(
        "
        progress 10
        stream a acme alice after=e.1.30.1
        flushed 40
        commit 20 acme:one
        commit 30 acme:two acme:three
        commit 40 acme:four
        ",
        expect![[r#"
            progress 10
            stream a acme alice after=e.1.30.1
            < a HTTP/1.1 200 OK
              held
            flushed 40
            < a connected resumed e.1.30.1
            commit 20 acme:one
            commit 30 acme:two acme:three
            < a three e.1.30.2
            commit 40 acme:four
            < a four e.1.40.1
        "#]],
    );
}

#[test]
fn an_id_beyond_the_servers_wal_is_reset() {
    check(
        "
        progress 10
        stream a acme alice after=e.1.30.1
        flushed 2f
        commit 30 acme:one
        ",
        expect![[r#"
            progress 10
            stream a acme alice after=e.1.30.1
            < a HTTP/1.1 200 OK
              held
            flushed 2f
            < a connected reset e.1.10.0
            < a reset unknown_position e.1.10.0
            commit 30 acme:one
            < a one e.1.30.1
        "#]],
    );
}

#[test]
fn a_held_client_is_let_go_when_the_node_does_not_get_there() {
    check(
        "
        progress 10
        stream a acme alice after=e.1.30.1
        flushed 40
        tick 17s
        ",
        expect![[r#"
            progress 10
            stream a acme alice after=e.1.30.1
            < a HTTP/1.1 200 OK
              held
            flushed 40
            < a connected resumed e.1.30.1
            tick 17s
            < a bye lagging
              a is closed
              closed: lagging, 0 events, 15000 ms
        "#]],
    );
}

#[test]
fn after_a_gap_every_stream_is_reset_before_anything_else() {
    check(
        "
        stream a acme alice
        commit 20 acme:one
        gap 100
        commit 110 acme:two
        tick 1s
        stream b acme bob after=e.1.20.1
        tick 10s
        commit 120 acme:three
        ",
        expect![[r#"
            stream a acme alice
            < a HTTP/1.1 200 OK
            < a connected live e.1.0.0
            commit 20 acme:one
            < a one e.1.20.1
            gap 100
            commit 110 acme:two
            tick 1s
            stream b acme bob after=e.1.20.1
            < b HTTP/1.1 200 OK
            < b connected reset e.1.111.0
            < b reset history e.1.111.0
            tick 10s
            < a reset slot_lost e.1.111.0
            commit 120 acme:three
            < a three e.1.120.1
            < b three e.1.120.1
        "#]],
    );
}

#[test]
fn after_a_gap_a_held_stream_begins_like_every_other() {
    check(
        "
        progress 10
        stream a acme alice after=e.1.30.1
        stream b acme bob after=e.1.30.1
        gap 100
        commit 110 acme:one
        ",
        expect![[r#"
            progress 10
            stream a acme alice after=e.1.30.1
            < a HTTP/1.1 200 OK
              held
            stream b acme bob after=e.1.30.1
            < b HTTP/1.1 200 OK
            gap 100
            < a connected reset e.1.100.0
            < a reset slot_lost e.1.100.0
            < b connected reset e.1.100.0
            < b reset slot_lost e.1.100.0
            commit 110 acme:one
            < a one e.1.110.1
            < b one e.1.110.1
        "#]],
    );
}

#[test]
fn nothing_from_before_the_position_of_a_reset_follows_it() {
    check(
        "
        stream a acme alice
        takes a 0
        tick 26s
        gap 100
        tick 10s
        commit 110 acme:one
        takes a all
        commit 120 acme:two
        ",
        expect![[r#"
            stream a acme alice
            < a HTTP/1.1 200 OK
            < a connected live e.1.0.0
            takes a 0
            tick 26s
            gap 100
            tick 10s
            commit 110 acme:one
            takes a all
            < a heartbeat e.1.0.0
            < a reset slot_lost e.1.111.0
            commit 120 acme:two
            < a two e.1.120.1
        "#]],
    );
}

#[test]
fn while_the_past_is_read_only_who_goes_on_from_it_receives_it() {
    check(
        "
        past 40
        commit 20 acme:one
        stream a acme alice
        stream b acme bob after=e.1.20.1
        stream c acme carol after=f.1.20.1
        stream d acme dan after=e.1.30.1
        commit 30 acme:two
        progress 40
        commit 50 acme:three
        ",
        expect![[r#"
            past 40
            commit 20 acme:one
            stream a acme alice
            < a HTTP/1.1 200 OK
            stream b acme bob after=e.1.20.1
            < b HTTP/1.1 200 OK
            < b connected resumed e.1.20.1
            stream c acme carol after=f.1.20.1
            < c HTTP/1.1 200 OK
            stream d acme dan after=e.1.30.1
            < d HTTP/1.1 200 OK
              held
            commit 30 acme:two
            < b two e.1.30.1
            < d connected resumed e.1.30.1
            progress 40
            < a connected live e.1.40.0
            < c connected reset e.1.40.0
            < c reset unknown_position e.1.40.0
            commit 50 acme:three
            < a three e.1.50.1
            < b three e.1.50.1
            < c three e.1.50.1
            < d three e.1.50.1
        "#]],
    );
}

#[test]
fn a_past_that_takes_too_long_sends_who_waits_elsewhere() {
    check(
        "
        past 40
        stream a acme alice
        tick 16s
        ",
        expect![[r#"
            past 40
            stream a acme alice
            < a HTTP/1.1 200 OK
            tick 16s
            < a bye lagging
              a is finished
              closed: lagging, 0 events, 15000 ms
        "#]],
    );
}
