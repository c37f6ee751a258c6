//! Changes of what a stream receives: by its owner alone, at an exact place, whatever the stream is
//! doing at that moment.

use expect_test::expect;

use crate::script::check;

#[test]
fn what_is_added_joins_what_was_there() {
    check(
        "
        stream a acme alice channel=one
        add a alice two
        commit 20 acme:one acme:two acme:three
        ",
        expect![[r#"
            stream a acme alice channel=one
            < a HTTP/1.1 200 OK
            < a connected live e.1.0.0
            add a alice two
            < a subscription
              ticket 1: Done
            commit 20 acme:one acme:two acme:three
            < a one e.1.20.1
            < a two e.1.20.2
        "#]],
    );
}

#[test]
fn nobody_changes_or_ends_the_stream_of_another() {
    check(
        "
        stream a acme alice channel=one
        subscribe a bob two
        end a bob
        commit 20 acme:one acme:two
        end a alice
        subscribe a alice two
        end a alice
        ",
        expect![[r#"
            stream a acme alice channel=one
            < a HTTP/1.1 200 OK
            < a connected live e.1.0.0
            subscribe a bob two
              ticket 1: Foreign
            end a bob
              ticket 2: Foreign
            commit 20 acme:one acme:two
            < a one e.1.20.1
            end a alice
            < a bye done
              a is finished
              ticket 2: Done
              closed: done, 1 events, 0 ms
            subscribe a alice two
              ticket 1: NotFound
            end a alice
              ticket 2: NotFound
        "#]],
    );
}

#[test]
fn a_stream_that_is_in_the_middle_of_a_frame_ends_it_before_the_change() {
    check(
        "
        stream a acme alice channel=one
        takes a 100
        commit 20 acme:one acme:two
        commit 30 acme:one acme:two
        subscribe a alice two
        takes a all
        commit 40 acme:one acme:two
        ",
        expect![[r#"
            stream a acme alice channel=one
            < a HTTP/1.1 200 OK
            < a connected live e.1.0.0
            takes a 100
            commit 20 acme:one acme:two
            < a … 100 bytes
            commit 30 acme:one acme:two
            < a … 100 bytes
            subscribe a alice two
            < a … 100 bytes
              ticket 1: Done
            takes a all
            < a one e.1.20.1
            < a subscription
            < a two e.1.20.2
            < a two e.1.30.2
            commit 40 acme:one acme:two
            < a two e.1.40.2
        "#]],
    );
}

#[test]
fn a_stream_that_is_held_has_the_new_filter_from_its_beginning() {
    check(
        "
        stream a acme alice after=e.1.20.1 channel=one
        subscribe a alice two
        commit 20 acme:one acme:one acme:two
        ",
        expect![[r#"
            stream a acme alice after=e.1.20.1 channel=one
            < a HTTP/1.1 200 OK
              held
            subscribe a alice two
              ticket 1: Done
            commit 20 acme:one acme:one acme:two
            < a connected resumed e.1.20.1
            < a subscription
            < a two e.1.20.3
        "#]],
    );
}

#[test]
fn a_stream_that_waits_for_its_reset_has_the_new_filter_after_it() {
    check(
        "
        stream a acme alice channel=one
        gap 50
        subscribe a alice two
        tick 11s
        commit 60 acme:one acme:two
        ",
        expect![[r#"
            stream a acme alice channel=one
            < a HTTP/1.1 200 OK
            < a connected live e.1.0.0
            gap 50
            subscribe a alice two
            < a subscription
              ticket 1: Done
            tick 11s
            < a reset slot_lost e.1.50.0
            commit 60 acme:one acme:two
            < a two e.1.60.2
        "#]],
    );
}
