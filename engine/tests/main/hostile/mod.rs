//! Requests that are made to be read in two ways, to be too much, or to be something else than HTTP: each
//! gets one answer, the same one however it is cut, and its connection ends. The requests are in `cases`
//! and `refused`.

mod cases;
mod refused;

use bytes::Bytes;
use engine::{Command, limits};
use wire::http::{BODY_BYTES_MAX, Request};

use crate::world::World;
use cases::{Answer, cases};
use refused::SMUGGLED;

/// The client of the case, and another one who comes later.
const HOSTILE: i32 = 5;
const FRESH: i32 = 6;

/// Up to this length a case is cut at every byte; a longer one at every so many, and around its ends.
const SHORT_BYTES: usize = 1_000;

/// What became of a case.
#[derive(Debug, PartialEq, Eq)]
struct Outcome {
    /// The request that was handed over.
    forwarded: Option<(String, Vec<u8>)>,
    /// All that was written, without an invitation to continue.
    answer: String,
}

#[test]
fn every_hostile_request_has_one_answer_however_it_is_cut() {
    for case in cases() {
        let whole = outcome(&[&case.bytes]);
        let name = case.name;
        match case.answer {
            Answer::Refused(status) => {
                assert_eq!(whole.forwarded, None, "{name}");
                let begins = format!("HTTP/1.1 {status} ");
                assert!(whole.answer.starts_with(&begins), "{name}: {whole:?}");
                let followed = [&case.bytes, SMUGGLED.as_bytes()].concat();
                assert_eq!(outcome(&[&followed]), whole, "{name}, and a good one");
            }
            Answer::Forwarded { target, body } => {
                let forwarded = Some((target.to_owned(), body.to_vec()));
                assert_eq!(whole.forwarded, forwarded, "{name}");
            }
        }
        let bytes: Vec<&[u8]> = case.bytes.chunks(1).collect();
        assert_eq!(outcome(&bytes), whole, "{name}, byte by byte");
        for cut in cuts(case.bytes.len()) {
            let (one, other) = case.bytes.split_at(cut);
            assert_eq!(outcome(&[one, other]), whole, "{name}, cut at {cut}");
        }
    }
}

/// What becomes of a request that comes in these pieces: it is seen to have one answer, after which the
/// connection ends, and to keep nobody else from theirs.
fn outcome(pieces: &[&[u8]]) -> Outcome {
    let mut world = World::new(1 << 20);
    world.accept(HOSTILE);
    for piece in pieces {
        world.bytes(HOSTILE, piece);
    }
    let forwarded = world.kernel.requests.pop();
    assert!(
        world.kernel.requests.is_empty(),
        "one request is one request"
    );
    if let Some((connection, _)) = forwarded {
        world.command(Command::Respond {
            connection,
            response: Bytes::from_static(b"HTTP/1.1 204 No Content\r\nconnection: close\r\n\r\n"),
        });
    }
    world.settle();
    let socket = &world.kernel.sockets[&HOSTILE];
    assert!(socket.is_finished, "nothing follows an answer");
    let answer = String::from_utf8(socket.received.clone()).expect("answers are text");
    let answer = answer.replace("HTTP/1.1 100 Continue\r\n\r\n", "");
    assert!(answer.starts_with("HTTP/1.1 "), "{answer}");
    assert!(!answer.contains("\nHTTP/1.1 "), "{answer}");
    assert_eq!(
        answer.matches("connection: close\r\n").count(),
        1,
        "{answer}"
    );

    world.accept(FRESH);
    world.bytes(FRESH, b"GET /livez HTTP/1.1\r\nhost: a\r\n\r\n");
    let (_, fresh) = world.kernel.requests.pop().expect("it is served at once");
    assert_eq!(fresh.head.path(), "/livez");
    world.bytes(HOSTILE, b"");
    world.settle();
    assert!(world.kernel.sockets[&HOSTILE].is_released);
    Outcome {
        forwarded: forwarded.map(|(_, request)| (target(&request), request.body.to_vec())),
        answer,
    }
}

fn target(request: &Request) -> String {
    let head = &request.head;
    match head.query() {
        "" => head.path().to_owned(),
        query => format!("{}?{query}", head.path()),
    }
}

/// Where a case of this length is cut in two.
fn cuts(len: usize) -> Vec<usize> {
    if len <= SHORT_BYTES {
        return (1..len).collect();
    }
    let ends = (1..100).chain(len - 100..len);
    ends.chain((1..len).step_by(4_099)).collect()
}

#[test]
fn a_body_that_does_not_come_is_given_up_at_an_absolute_deadline() {
    let mut world = World::new(1 << 20);
    world.accept(HOSTILE);
    let head = b"POST /publish HTTP/1.1\r\nhost: a\r\ncontent-length: 60000\r\n\r\n";
    world.bytes(HOSTILE, head);
    // A byte now and then does not move the deadline.
    for _ in 0..limits::BODY_MS / 1_000 - 1 {
        world.pass(1_000);
        world.bytes(HOSTILE, b"x");
        assert!(world.kernel.sockets[&HOSTILE].received.is_empty());
    }
    world.pass(2_000);
    let answer = String::from_utf8_lossy(&world.kernel.sockets[&HOSTILE].received).into_owned();
    assert!(answer.starts_with("HTTP/1.1 408 "), "{answer}");
    assert!(world.kernel.requests.is_empty());
}

#[test]
fn a_head_that_comes_a_byte_a_second_is_given_up_at_an_absolute_deadline() {
    let mut world = World::new(1 << 20);
    world.accept(HOSTILE);
    for byte in b"GET / HTTP/1.1"
        .iter()
        .take(limits::HEAD_MS as usize / 1_000)
    {
        world.bytes(HOSTILE, &[*byte]);
        world.pass(1_000);
    }
    world.pass(1_000);
    let answer = String::from_utf8_lossy(&world.kernel.sockets[&HOSTILE].received).into_owned();
    assert!(answer.starts_with("HTTP/1.1 408 "), "{answer}");
}

#[test]
fn long_requests_in_pieces_have_a_bound_and_who_takes_longest_goes_first() {
    let each = BODY_BYTES_MAX - 1;
    // What is kept beside the bodies are their heads.
    let most = (limits::INPUTS_BYTES_MAX / (each + 100)) as i32;
    let head =
        format!("POST /publish HTTP/1.1\r\nhost: a\r\ncontent-length: {BODY_BYTES_MAX}\r\n\r\n");
    let begin = |world: &mut World, descriptor| {
        world.accept(descriptor);
        world.bytes(descriptor, head.as_bytes());
        world.bytes(descriptor, &vec![b'x'; each]);
        world.settle();
    };
    let mut world = World::new(1 << 20);
    for descriptor in 1..=most {
        begin(&mut world, descriptor);
    }
    let status = |world: &World, descriptor| {
        let answer = &world.kernel.sockets[&descriptor].received;
        String::from_utf8_lossy(answer)
            .split(' ')
            .nth(1)
            .map(str::to_owned)
    };
    let refused = |world: &World| {
        (1..=most)
            .filter(|descriptor| status(world, *descriptor).is_some())
            .collect::<Vec<_>>()
    };
    assert_eq!(refused(&world), [0; 0]);
    // One more is let in, for the one that has been at it for the longest time.
    begin(&mut world, most + 1);
    assert_eq!(refused(&world), [1]);
    assert_eq!(status(&world, 1).as_deref(), Some("503"));
    world.bytes(most + 1, b"x");
    let (_, request) = world.kernel.requests.pop().expect("it is whole");
    assert_eq!(request.body.len(), BODY_BYTES_MAX);
    // A request of the usual length needs no room of theirs.
    world.accept(most + 2);
    world.bytes(most + 2, b"GET /livez HTTP/1.1\r\n");
    world.bytes(most + 2, b"host: a\r\n\r\n");
    assert_eq!(world.kernel.requests.len(), 1);
    assert_eq!(refused(&world), [1]);
}

#[test]
fn who_may_have_asked_for_a_stream_is_never_refused_for_good_where_room_is_short() {
    let cookies = vec![b'c'; 16 * 1024];
    let head = [b"GET /stream HTTP/1.1\r\nhost: a\r\ncookie: ", &cookies[..]].concat();
    let most = (limits::INPUTS_BYTES_MAX / head.len()) as i32;
    let mut world = World::new(1 << 20);
    for descriptor in 1..=most + 1 {
        world.accept(descriptor);
        world.bytes(descriptor, &head);
    }
    world.settle();
    // No status, which would end an `EventSource`: the connection is lost, and it comes again.
    let first = &world.kernel.sockets[&1];
    assert!(first.closed.is_some() && first.received.is_empty());
    world.bytes(most + 1, b"\r\n\r\n");
    assert_eq!(world.kernel.requests.len(), 1);
}
