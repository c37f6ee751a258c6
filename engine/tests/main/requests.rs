//! Requests in pieces, refused, unanswered.

use engine::Command;
use expect_test::expect;

use crate::script::check;
use crate::world::World;

#[test]
fn a_malformed_request_is_refused_and_its_connection_closed_in_order() {
    check(
        "
        accept a
        > a G@T /stream
        eof a
        ",
        expect![[r#"
            accept a
            > a G@T /stream
            < a HTTP/1.1 400 Bad Request {"error":{"code":"malformed_request","message":"the request line must be `METHOD target HTTP/1.1`"}}
              a is finished
            eof a
              a is closed
        "#]],
    );
}

#[test]
fn a_request_that_does_not_arrive_is_given_up_at_an_absolute_deadline() {
    check(
        "
        accept a
        tick 4s
        tick 3s
        ",
        expect![[r#"
            accept a
            tick 4s
            tick 3s
              a is closed
        "#]],
    );
}

#[test]
fn a_control_thread_without_room_means_a_soft_refusal_for_streams_alone() {
    check(
        "
        overloaded
        accept a
        > a GET /stream
        accept b
        > b GET /metrics
        ",
        expect![[r#"
            overloaded
            accept a
            > a GET /stream
            < a HTTP/1.1 200 OK
            < a refused
              a is finished
            accept b
            > b GET /metrics
            < b HTTP/1.1 503 Service Unavailable {"error":{"code":"overloaded","message":"the node has more requests than it can answer; come back in some seconds"}}
              b is finished
        "#]],
    );
}

#[test]
fn a_request_nobody_answers_is_answered_anyway() {
    check(
        "
        accept a
        > a GET /metrics
        tick 32s
        eof a
        ",
        expect![[r#"
            accept a
            > a GET /metrics
            tick 32s
            < a HTTP/1.1 503 Service Unavailable {"error":{"code":"unavailable","message":"the node did not find an answer in time; come back in some seconds"}}
              a is closed
            eof a
        "#]],
    );
}

#[test]
fn a_stream_nobody_answers_is_refused_softly() {
    check(
        "
        accept a
        > a GET /stream
        tick 31s
        ",
        expect![[r#"
            accept a
            > a GET /stream
            tick 31s
            < a HTTP/1.1 200 OK
            < a refused
              a is finished
        "#]],
    );
}

#[test]
fn a_request_is_the_same_however_it_is_cut() {
    let request =
        b"POST /api/realtime/publish HTTP/1.1\r\nhost: a\r\ncontent-length: 4\r\n\r\nbody";
    for cut in 0..=request.len() {
        for second in cut..=request.len() {
            let mut world = World::new(1 << 24);
            world.accept(5);
            for piece in [&request[..cut], &request[cut..second], &request[second..]] {
                if !piece.is_empty() {
                    world.bytes(5, piece);
                }
            }
            let (_, request) = world.kernel.requests.pop().expect("it arrived whole");
            assert_eq!(
                (request.head.path(), &request.body[..]),
                ("/api/realtime/publish", &b"body"[..])
            );
        }
    }
}

#[test]
fn a_response_is_written_whole_before_the_connection_ends() {
    let mut world = World::new(1 << 24);
    world.accept(5);
    world.bytes(5, b"GET / HTTP/1.1\r\nhost: a\r\n\r\n");
    world.make_room(5, Some(1000));
    let response = vec![b'x'; 5000];
    let connection = world.id_of(5);
    world.command(Command::Respond {
        connection,
        response: response.clone().into(),
    });
    world.settle();
    assert!(!world.kernel.sockets[&5].is_finished);
    world.make_room(5, None);
    world.settle();
    assert!(world.kernel.sockets[&5].is_finished);
    assert_eq!(world.kernel.sockets[&5].received, response);
    world.bytes(5, b"");
    world.settle();
    assert!(world.kernel.sockets[&5].is_released);
    assert_eq!(world.engine.counters().connections, 0);
}

#[test]
fn what_the_engine_refuses_itself_is_counted() {
    let mut world = World::new(1 << 24);
    world.accept(5);
    world.bytes(5, b"GET / HTTP/9.9\r\nhost: a\r\n\r\n");
    let code = wire::http::RefusalCode::VersionNotSupported;
    assert_eq!(world.engine.counters().refusals[code.index()], 1);
}

/// Asks for something over a socket with little room, and is answered by so many bytes; nobody looks whether
/// it takes them.
fn answer(world: &mut World, descriptor: i32, bytes: usize) {
    world.accept(descriptor);
    world.bytes(descriptor, b"GET /metrics HTTP/1.1\r\nhost: a\r\n\r\n");
    world.make_room(descriptor, Some(1_000));
    let connection = world.id_of(descriptor);
    let response = vec![b'x'; bytes].into();
    world.command(Command::Respond {
        connection,
        response,
    });
}

const LONG_BYTES: usize = 1024 * 1024;

/// As many long responses as there may be.
const LONG_MOST: i32 = (engine::limits::RESPONSES_BYTES_MAX / LONG_BYTES) as i32;

/// Those who are closed, of so many.
fn closed(world: &World, most: i32) -> Vec<i32> {
    let is_closed = |descriptor: &i32| world.kernel.sockets[descriptor].closed.is_some();
    (1..=most).filter(is_closed).collect()
}

#[test]
fn long_responses_that_nobody_takes_have_a_bound() {
    let mut world = World::new(1 << 24);
    for descriptor in 1..=LONG_MOST + 1 {
        answer(&mut world, descriptor, LONG_BYTES);
    }
    // A short one is nobody's burden.
    answer(&mut world, 1_000, engine::limits::RESPONSE_BYTES_EACH);
    world.settle();
    let received = |world: &World, descriptor: i32| {
        let socket = &world.kernel.sockets[&descriptor];
        (socket.received.len(), socket.received.starts_with(b"x"))
    };
    assert_eq!(received(&world, LONG_MOST), (1_000, true));
    assert_eq!(received(&world, 1_000), (1_000, true));
    let refused = &world.kernel.sockets[&(LONG_MOST + 1)].received;
    assert!(refused.starts_with(b"HTTP/1.1 503 "));
    // Half of those that took nothing are gone soon, the first ones first, and there is room again.
    world.pass(engine::limits::RESPONSE_STALL_MS + 2_000);
    let gone = closed(&world, LONG_MOST);
    assert_eq!(gone, (1..=LONG_MOST / 2 + 1).collect::<Vec<_>>());
    assert_eq!(
        world.engine.counters().responses_given_up,
        gone.len() as u64
    );
    answer(&mut world, 2_000, LONG_BYTES);
    world.make_room(2_000, None);
    world.settle();
    assert_eq!(received(&world, 2_000), (LONG_BYTES, true));
    assert!(world.kernel.sockets[&2_000].is_finished);
}

#[test]
fn who_takes_a_long_response_slowly_is_not_closed_for_others() {
    let mut world = World::new(1 << 24);
    for descriptor in 1..=LONG_MOST {
        answer(&mut world, descriptor, LONG_BYTES);
    }
    world.settle();
    // Much longer than somebody may take nothing for.
    for _ in 0..6 {
        for descriptor in 2..=LONG_MOST {
            world.make_room(descriptor, Some(1_000));
        }
        world.pass(1_000);
        answer(&mut world, 1_000, LONG_BYTES);
        world.settle();
        world.make_room(1_000, None);
        world.bytes(1_000, b"");
        world.settle();
        world.kernel.sockets.remove(&1_000);
    }
    assert_eq!(closed(&world, LONG_MOST), [1]);
}
