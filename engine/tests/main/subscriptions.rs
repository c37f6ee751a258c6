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
fn a_stream_names_only_so_many_channels_however_often_some_are_added() {
    let names = |from: usize| {
        let names: Vec<String> = (from..from + 60).map(|at| format!("c{at}")).collect();
        names.join(",")
    };
    let (first, second) = (names(0), names(60));
    check(
        &format!(
            "
            stream a acme alice channel=one
            add a alice {first}
            add a alice {second}
            commit 20 acme:c59 acme:c60
            "
        ),
        expect![[r#"
            stream a acme alice channel=one
            < a HTTP/1.1 200 OK
            < a connected live e.1.0.0
            add a alice c0,c1,c2,c3,c4,c5,c6,c7,c8,c9,c10,c11,c12,c13,c14,c15,c16,c17,c18,c19,c20,c21,c22,c23,c24,c25,c26,c27,c28,c29,c30,c31,c32,c33,c34,c35,c36,c37,c38,c39,c40,c41,c42,c43,c44,c45,c46,c47,c48,c49,c50,c51,c52,c53,c54,c55,c56,c57,c58,c59
            < a subscription
              ticket 1: Done
            add a alice c60,c61,c62,c63,c64,c65,c66,c67,c68,c69,c70,c71,c72,c73,c74,c75,c76,c77,c78,c79,c80,c81,c82,c83,c84,c85,c86,c87,c88,c89,c90,c91,c92,c93,c94,c95,c96,c97,c98,c99,c100,c101,c102,c103,c104,c105,c106,c107,c108,c109,c110,c111,c112,c113,c114,c115,c116,c117,c118,c119
              ticket 1: TooMany
            commit 20 acme:c59 acme:c60
            < a c59 e.1.20.1
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
