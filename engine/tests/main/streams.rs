//! What streams receive, and in which order.

use expect_test::expect;

use crate::script::check;

#[test]
fn a_stream_begins_with_its_position_and_goes_on_live() {
    check(
        "
        progress 10
        accept a
        > a GET /stream
        grant a acme alice
        commit 20 acme:property
        commit 30 acme:property acme:client
        ",
        expect![[r#"
            progress 10
            accept a
            > a GET /stream
            grant a acme alice
            < a HTTP/1.1 200 OK
            < a connected live e.1.10.0
            commit 20 acme:property
            < a property e.1.20.1
            commit 30 acme:property acme:client
            < a property e.1.30.1
            < a client e.1.30.2
        "#]],
    );
}

#[test]
fn tenants_never_meet() {
    check(
        "
        stream a acme alice
        stream b globex bob
        commit 20 acme:property globex:client
        commit 30 *:news
        ",
        expect![[r#"
            stream a acme alice
            < a HTTP/1.1 200 OK
            < a connected live e.1.0.0
            stream b globex bob
            < b HTTP/1.1 200 OK
            < b connected live e.1.0.0
            commit 20 acme:property globex:client
            < a property e.1.20.1
            < b client e.1.20.2
            commit 30 *:news
            < a news e.1.30.1
            < b news e.1.30.1
        "#]],
    );
}

#[test]
fn a_users_own_frames_come_in_order_with_the_others() {
    check(
        "
        stream a acme alice
        stream b acme bob
        commit 20 acme:one alice@acme:two acme:three alice@:four bob@globex:five
        ",
        expect![[r#"
            stream a acme alice
            < a HTTP/1.1 200 OK
            < a connected live e.1.0.0
            stream b acme bob
            < b HTTP/1.1 200 OK
            < b connected live e.1.0.0
            commit 20 acme:one alice@acme:two acme:three alice@:four bob@globex:five
            < a one e.1.20.1
            < a two e.1.20.2
            < a three e.1.20.3
            < a four e.1.20.4
            < b one e.1.20.1
            < b three e.1.20.3
        "#]],
    );
}

#[test]
fn a_filter_lets_only_its_channels_pass() {
    check(
        "
        stream a acme alice channel=property
        commit 20 acme:property acme:client alice@acme:inbox
        commit 30 acme:client
        commit 40 acme:property
        ",
        expect![[r#"
            stream a acme alice channel=property
            < a HTTP/1.1 200 OK
            < a connected live e.1.0.0
            commit 20 acme:property acme:client alice@acme:inbox
            < a property e.1.20.1
            commit 30 acme:client
            commit 40 acme:property
            < a property e.1.40.1
        "#]],
    );
}

#[test]
fn a_subscription_changes_at_its_exact_place() {
    check(
        "
        stream a acme alice channel=one
        commit 20 acme:one acme:two
        subscribe a alice two
        commit 30 acme:one acme:two
        ",
        expect![[r#"
            stream a acme alice channel=one
            < a HTTP/1.1 200 OK
            < a connected live e.1.0.0
            commit 20 acme:one acme:two
            < a one e.1.20.1
            subscribe a alice two
            < a subscription
              ticket 1: Done
            commit 30 acme:one acme:two
            < a two e.1.30.2
        "#]],
    );
}

#[test]
fn a_service_sees_every_organisation_and_no_user() {
    check(
        "
        stream a - - *
        commit 20 acme:one globex:two alice@acme:inbox *:news
        hangup a
        ",
        expect![[r#"
            stream a - - *
            < a HTTP/1.1 200 OK
            < a connected live e.1.0.0
            commit 20 acme:one globex:two alice@acme:inbox *:news
            < a one e.1.20.1
            < a two e.1.20.2
            < a news e.1.20.4
            hangup a
              a is closed
              closed: client_gone, 3 events, 0 ms
        "#]],
    );
}
