//! Pages of history: from a position, a time or now, with both verdicts, and with a wait.

use bytes::Bytes;
use engine::{Close, limits};
use expect_test::expect;
use wire::{Batch, EventId, PageRequest, PageSince, Purpose};

use crate::script::{check, check_with_log};
use crate::world::{World, commit, frame, grant, organisation, position};

#[test]
fn a_page_holds_what_came_after_an_id_and_says_where_it_ends() {
    check(
        "
        commit 20 acme:one acme:two globex:one
        commit 30 alice@:inbox bob@:inbox *:news
        page a acme alice after=e.1.0.0
        page b acme alice after=e.1.20.1 limit=2
        page c acme alice after=e.1.30.1
        page d acme alice after=e.1.31.0
        page e acme alice
        page f acme alice limit=2 channel=one
        ",
        expect![[r#"
            commit 20 acme:one acme:two globex:one
            commit 30 alice@:inbox bob@:inbox *:news
            page a acme alice after=e.1.0.0
            < a HTTP/1.1 200 OK complete e.1.31.0: one e.1.20.1 two e.1.20.2 inbox e.1.30.1 news e.1.30.3
              a is finished
            page b acme alice after=e.1.20.1 limit=2
            < b HTTP/1.1 200 OK complete e.1.30.1: two e.1.20.2 inbox e.1.30.1
              b is finished
            page c acme alice after=e.1.30.1
            < c HTTP/1.1 200 OK complete e.1.31.0: news e.1.30.3
              c is finished
            page d acme alice after=e.1.31.0
            < d HTTP/1.1 200 OK complete e.1.31.0:
              d is finished
            page e acme alice
            < e HTTP/1.1 200 OK complete e.1.31.0: one e.1.20.1 two e.1.20.2 inbox e.1.30.1 news e.1.30.3
              e is finished
            page f acme alice limit=2 channel=one
            < f HTTP/1.1 200 OK complete e.1.31.0: one e.1.20.1
              f is finished
        "#]],
    );
}

#[test]
fn a_page_is_read_from_a_time_of_commit() {
    check(
        "
        commit 20 acme:one
        page a acme alice at=1001
        page b acme alice at=1000
        page c acme alice at=1999999999999 wait=5s
        commit 30 acme:two
        ",
        expect![[r#"
            commit 20 acme:one
            page a acme alice at=1001
            < a HTTP/1.1 200 OK complete e.1.21.0:
              a is finished
            page b acme alice at=1000
            < b HTTP/1.1 200 OK reset e.1.21.0: one e.1.20.1
              b is finished
            page c acme alice at=1999999999999 wait=5s
            commit 30 acme:two
            < c HTTP/1.1 200 OK complete e.1.31.0: two e.1.30.1
              c is finished
              closed: done, 1 events, 0 ms
        "#]],
    );
}

#[test]
fn a_page_says_reset_where_something_cannot_be_told() {
    check(
        "
        commit 20 acme:one
        page a acme alice unknown wait=10s
        page b acme alice after=d.1.20.1
        page c acme alice after=e.1.10.1 since=e.1.20.0
        page d acme alice after=e.1.10.1 since=e.1.30.0
        page e acme alice after=e.1.50.1
        flushed 40
        gap 60
        page f acme alice after=e.1.20.1
        ",
        expect![[r#"
            commit 20 acme:one
            page a acme alice unknown wait=10s
            < a HTTP/1.1 200 OK reset e.1.21.0: one e.1.20.1
              a is finished
              closed: done, 1 events, 0 ms
            page b acme alice after=d.1.20.1
            < b HTTP/1.1 200 OK reset e.1.21.0: one e.1.20.1
              b is finished
            page c acme alice after=e.1.10.1 since=e.1.20.0
            < c HTTP/1.1 200 OK reset e.1.21.0: one e.1.20.1
              c is finished
            page d acme alice after=e.1.10.1 since=e.1.30.0
            < d HTTP/1.1 200 OK reset e.1.21.0:
              d is finished
            page e acme alice after=e.1.50.1
              held
            flushed 40
            < e HTTP/1.1 200 OK reset e.1.21.0: one e.1.20.1
              e is finished
            gap 60
            page f acme alice after=e.1.20.1
            < f HTTP/1.1 200 OK reset e.1.60.0:
              f is finished
        "#]],
    );
}

#[test]
fn a_page_waits_for_its_first_event_and_no_longer_than_it_may() {
    check(
        "
        page a acme alice wait=10s
        page b acme alice wait=20s channel=two
        page c acme bob after=e.1.0.0 wait=5s
        tick 6s
        commit 20 acme:one
        commit 30 globex:two bob@acme:two
        commit 40 alice@acme:two
        page d acme alice after=e.1.41.0 wait=10s expires=4s
        tick 6s
        ",
        expect![[r#"
            page a acme alice wait=10s
            page b acme alice wait=20s channel=two
            page c acme bob after=e.1.0.0 wait=5s
            tick 6s
            < c HTTP/1.1 200 OK complete e.1.0.0:
              c is finished
              closed: done, 0 events, 5000 ms
            commit 20 acme:one
            < a HTTP/1.1 200 OK complete e.1.21.0: one e.1.20.1
              a is finished
              closed: done, 1 events, 6000 ms
            commit 30 globex:two bob@acme:two
            commit 40 alice@acme:two
            < b HTTP/1.1 200 OK complete e.1.41.0: two e.1.40.1
              b is finished
              closed: done, 1 events, 6000 ms
            page d acme alice after=e.1.41.0 wait=10s expires=4s
            tick 6s
              a is closed
              b is closed
              c is closed
            < d HTTP/1.1 200 OK complete e.1.41.0:
              d is closed
              closed: done, 0 events, 4000 ms
        "#]],
    );
}

#[test]
fn a_wait_ends_with_the_right_or_the_node_and_without_another_event() {
    check(
        "
        page a acme alice wait=60s
        page b acme bob wait=60s
        page c acme carol wait=60s
        revoke alice acme
        hangup b
        close-all draining 1s
        tick 2s
        commit 20 acme:one
        ",
        expect![[r#"
            page a acme alice wait=60s
            page b acme bob wait=60s
            page c acme carol wait=60s
            revoke alice acme
            < a HTTP/1.1 403 Forbidden {"error":{"code":"not_a_member","message":"the user is not a member of this organisation, or there is none"}}
              a is finished
              closed: membership_revoked, 0 events, 0 ms
            hangup b
              b is closed
              closed: client_gone, 0 events, 0 ms
            close-all draining 1s
            tick 2s
              a is closed
            < c HTTP/1.1 503 Service Unavailable {"error":{"code":"draining","message":"the node is about to stop"}}
              c is finished
              closed: draining, 0 events, 1000 ms
            commit 20 acme:one
        "#]],
    );
}

#[test]
fn a_page_that_is_ahead_of_the_node_is_held() {
    check(
        "
        page a acme alice after=e.1.30.1
        commit 30 acme:one acme:two
        page b acme alice after=e.1.50.1 wait=5s
        tick 6s
        page c acme alice after=e.1.50.1 wait=60s
        tick 20s
        ",
        expect![[r#"
            page a acme alice after=e.1.30.1
              held
            commit 30 acme:one acme:two
            < a HTTP/1.1 200 OK complete e.1.31.0: two e.1.30.2
              a is finished
            page b acme alice after=e.1.50.1 wait=5s
            tick 6s
              a is closed
            < b HTTP/1.1 200 OK complete e.1.50.1:
              b is finished
              closed: done, 0 events, 5000 ms
            page c acme alice after=e.1.50.1 wait=60s
            tick 20s
              b is closed
            < c HTTP/1.1 503 Service Unavailable {"error":{"code":"not_ready","message":"the node has not caught up with PostgreSQL yet"}}
              c is closed
              closed: lagging, 0 events, 15000 ms
        "#]],
    );
}

#[test]
fn a_page_waits_until_the_past_has_been_read() {
    check(
        "
        past 40
        commit 20 acme:one
        page a acme alice
        page b acme alice after=e.1.20.1 wait=10s
        page c acme alice after=e.1.10.1
        commit 30 acme:two
        progress 40
        ",
        expect![[r#"
            past 40
            commit 20 acme:one
            page a acme alice
            page b acme alice after=e.1.20.1 wait=10s
            page c acme alice after=e.1.10.1
            < c HTTP/1.1 200 OK complete e.1.21.0: one e.1.20.1
              c is finished
            commit 30 acme:two
            < b HTTP/1.1 200 OK complete e.1.31.0: two e.1.30.1
              b is finished
              closed: done, 1 events, 0 ms
            progress 40
            < a HTTP/1.1 200 OK complete e.1.40.0: one e.1.20.1 two e.1.30.1
              a is finished
        "#]],
    );
}

#[test]
fn a_page_whose_wait_ends_in_the_past_is_not_told_that_nothing_was_there() {
    check(
        "
        past 40
        page a acme alice wait=5s
        page b acme alice at=1 wait=5s
        page c acme alice unknown wait=5s
        tick 6s
        commit 20 acme:one
        ",
        expect![[r#"
            past 40
            page a acme alice wait=5s
            page b acme alice at=1 wait=5s
            page c acme alice unknown wait=5s
            tick 6s
            < a HTTP/1.1 503 Service Unavailable {"error":{"code":"not_ready","message":"the node has not caught up with PostgreSQL yet"}}
              a is finished
            < b HTTP/1.1 503 Service Unavailable {"error":{"code":"not_ready","message":"the node has not caught up with PostgreSQL yet"}}
              b is finished
            < c HTTP/1.1 503 Service Unavailable {"error":{"code":"not_ready","message":"the node has not caught up with PostgreSQL yet"}}
              c is finished
              closed: lagging, 0 events, 5000 ms
              closed: lagging, 0 events, 5000 ms
              closed: lagging, 0 events, 5000 ms
            commit 20 acme:one
        "#]],
    );
}

/// Lets a page wait on a connection of its own.
fn wait(world: &mut World, descriptor: i32, wait_ms: u32, expires_ms: Option<u64>) {
    world.accept(descriptor);
    let request = b"GET /api/realtime/history HTTP/1.1\r\nhost: tailrace.test\r\n\r\n";
    world.bytes(descriptor, request);
    let user = format!("user {descriptor}");
    let mut grant = grant(world.id_of(descriptor), "acme", &user);
    grant.head = Bytes::new();
    grant.expires_ms = expires_ms;
    grant.purpose = Purpose::Page(PageRequest {
        since: PageSince::Newest,
        limit: 50,
        wait_ms,
    });
    world.batch(Batch::Grant(Box::new(grant)));
}

/// The position that a page was told, and whether it was shown this event.
fn told(world: &World, descriptor: i32, id: EventId) -> (EventId, bool) {
    let received = &world.kernel.sockets[&descriptor].received;
    let text = std::str::from_utf8(received).unwrap();
    let position = text.split_once("x-tailrace-position: ").unwrap().1;
    let position = position.lines().next().unwrap().parse().unwrap();
    (position, text.contains(&format!("\"id\":\"{id}\"")))
}

#[test]
fn a_page_is_not_shown_what_comes_after_the_end_of_its_session_nor_told_that_it_was() {
    let mut world = World::new(1024 * 1024);
    let expires_ms = world.now.wall_ms + 1_500;
    wait(&mut world, 1, 60_000, Some(expires_ms));
    world.pass(1_000);
    // Nobody looks at deadlines before the next second.
    world.now.monotonic_ms += 700;
    let id = position(0x20, 1);
    let event = frame(organisation("acme"), "one", id, 1);
    world.batch(commit(0x20, vec![event]));
    world.settle();
    let before = EventId { index: 0, ..id };
    assert_eq!(told(&world, 1, id), (before, false));
}

/// More pages than a sweep takes at a time: some are not reached when their wait is over.
#[test]
fn a_page_whose_wait_ends_while_its_class_is_swept_is_not_told_more_than_it_was_shown() {
    let mut world = World::new(1024 * 1024);
    let waits = 2 * limits::GROUP_MAX as i32;
    for descriptor in 1..=waits {
        wait(&mut world, descriptor, 5_000, None);
    }
    world.pass(4_999);
    world.now.monotonic_ms += 2_000;
    let id = position(0x20, 1);
    let event = frame(organisation("acme"), "one", id, 1);
    world.batch(commit(0x20, vec![event]));
    world.settle();
    for descriptor in 1..=waits {
        let (position, is_shown) = told(&world, descriptor, id);
        assert!(is_shown || position < id, "{position}");
    }
}

/// What nobody looked far enough for is not said to be nowhere.
#[test]
fn a_page_of_the_newest_says_where_it_has_not_looked_at_all() {
    let many = limits::PAGE_SCAN_MAX;
    check_with_log(
        256 * 1024 * 1024,
        &format!(
            "
            commit 20 acme:quiet
            commit 30 acme:loud times={many}
            page a acme alice channel=quiet
            page b acme alice channel=loud limit=1
            "
        ),
        expect![[r#"
            commit 20 acme:quiet
            commit 30 acme:loud times=16384
            page a acme alice channel=quiet
            < a HTTP/1.1 200 OK reset e.1.31.0:
              a is finished
            page b acme alice channel=loud limit=1
            < b HTTP/1.1 200 OK complete e.1.31.0: loud e.1.30.4000
              b is finished
        "#]],
    );
}

#[test]
fn a_gap_answers_those_who_wait_with_a_reset_in_their_turn() {
    check(
        "
        page a acme alice wait=60s
        gap 50
        tick 11s
        ",
        expect![[r#"
            page a acme alice wait=60s
            gap 50
            tick 11s
            < a HTTP/1.1 200 OK reset e.1.50.0:
              a is finished
              closed: done, 0 events, 10000 ms
        "#]],
    );
}

#[test]
fn the_last_events_of_a_channel_outlive_the_log() {
    check_with_log(
        512 * 1024,
        "
        commit 20 acme:quiet
        commit 30 acme:loud times=300 bytes=300
        commit 40 acme:loud times=300 bytes=300
        page a acme alice channel=quiet
        page b acme alice after=e.1.20.1 limit=1
        page c acme alice after=e.1.40.12b
        page d globex bob
        stream e acme alice after=e.1.0.0
        ",
        expect![[r#"
            commit 20 acme:quiet
            commit 30 acme:loud times=300 bytes=300
            commit 40 acme:loud times=300 bytes=300
            page a acme alice channel=quiet
            < a HTTP/1.1 200 OK complete e.1.41.0: quiet e.1.20.1
              a is finished
            page b acme alice after=e.1.20.1 limit=1
            < b HTTP/1.1 200 OK reset e.1.40.39: loud e.1.40.39
              b is finished
            page c acme alice after=e.1.40.12b
            < c HTTP/1.1 200 OK complete e.1.41.0: loud e.1.40.12c
              c is finished
            page d globex bob
            < d HTTP/1.1 200 OK complete e.1.41.0:
              d is finished
            stream e acme alice after=e.1.0.0
            < e HTTP/1.1 200 OK
            < e connected reset e.1.41.0
            < e reset history e.1.41.0
        "#]],
    );
}

/// Asks for a page over a socket with this much room; the first line of what is answered.
fn ask(world: &mut World, descriptor: i32, room: Option<usize>) -> String {
    world.accept(descriptor);
    world.bytes(descriptor, b"GET /history HTTP/1.1\r\nhost: a\r\n\r\n");
    world.make_room(descriptor, room);
    let mut grant = grant(world.id_of(descriptor), "acme", "alice");
    grant.head = Bytes::new();
    grant.purpose = Purpose::Page(PageRequest {
        since: PageSince::Newest,
        limit: 50,
        wait_ms: 0,
    });
    world.batch(Batch::Grant(Box::new(grant)));
    world.settle();
    let received = String::from_utf8_lossy(&world.kernel.sockets[&descriptor].received);
    received.lines().next().unwrap_or_default().to_owned()
}

#[test]
fn pages_that_nobody_takes_have_one_bound_together() {
    const EVENT_BYTES: usize = 200_000;
    let mut world = World::new(1 << 24);
    let large = frame(organisation("acme"), "c", position(0x20, 1), EVENT_BYTES);
    world.batch(commit(0x20, vec![large]));
    let most = limits::RESPONSES_BYTES_MAX / EVENT_BYTES;
    let lines: Vec<String> = (1..=2 * most as i32)
        .map(|descriptor| ask(&mut world, descriptor, Some(1_000)))
        .collect();
    let answered = lines.iter().filter(|line| *line == "HTTP/1.1 200 OK");
    let answered = answered.count();
    assert!((most - 10..=most + 1).contains(&answered), "{answered}");
    let refused = "HTTP/1.1 503 Service Unavailable";
    assert!(lines[answered..].iter().all(|line| line == refused));
    // A page that is short is nobody's burden, and one that is long is answered as soon as there is room.
    world.pass(limits::RESPONSE_STALL_MS + 2_000);
    assert_eq!(ask(&mut world, 10_000, None), "HTTP/1.1 200 OK");
    // Those that nobody takes are closed in time.
    world.pass(limits::LAST_WORDS_MS + 2_000);
    let is_reset = |descriptor| world.kernel.sockets[&descriptor].closed == Some(Close::Reset);
    assert!((1..=answered as i32).all(is_reset));
}
