//! Hostile requests, each on a connection of its own: every one is answered once, as it deserves, and its
//! connection closed; after each a fresh request is answered. Then the same again, byte by byte.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use crate::crowd;
use crate::requests::{self, Answer, Case};
use crate::support::{Driver, World};

/// How long an answer may take in all: what never ends is ended by the node, which gives a head five
/// seconds, a body ten, and lingers for two.
const ANSWER_MAX: Duration = Duration::from_secs(30);

/// How long the request after it may take. It is answered at once, if the machine is not elsewhere.
const NEXT_MAX: Duration = Duration::from_secs(5);

/// The longest case that is sent byte by byte.
const CUT_MAX: usize = 2_000;

/// How many differences are told.
const TOLD_MAX: usize = 20;

#[test]
fn every_hostile_request_is_answered_once_and_harms_nobody() {
    for driver in [Driver::Uring, Driver::Epoll] {
        let mut world = World::new(driver);
        let sql = world.database.connect();
        sql.run(
            r#"INSERT INTO "User" VALUES ('user-0', 'U', 'x');
               INSERT INTO "OrganizationMember" ("organizationId", "userId") VALUES ('acme', 'user-0')"#,
        );
        let mut witness = world.node.open("acme", "alice");
        let cases = requests::all();
        let began = Instant::now();
        let mut wrong: Vec<String> = Vec::new();
        for case in &cases {
            wrong.extend(judge(
                case,
                exchange(world.node.address(), &case.bytes, usize::MAX),
            ));
            if case.bytes.len() <= CUT_MAX {
                let cut = judge(case, exchange(world.node.address(), &case.bytes, 1));
                wrong.extend(cut.map(|what| format!("byte by byte, {what}")));
            }
            if !crowd::is_answered(world.node.address(), NEXT_MAX) {
                wrong.push(format!("{}: the next request is not answered", case.name));
            }
        }
        println!(
            "{driver:?}: {} hostile requests, whole and byte by byte, in {:.1} s",
            cases.len(),
            began.elapsed().as_secs_f64()
        );
        wrong.truncate(TOLD_MAX);
        assert!(wrong.is_empty(), "{driver:?}:\n{}", wrong.join("\n"));
        // Who streamed before streams on, and saw none of it.
        sql.run(r#"INSERT INTO "Property" (id, "organizationId", name) VALUES ('p', 'acme', 'P')"#);
        assert_eq!(witness.event()["payload"]["record"]["id"], "p");
        assert!(world.node.process().is_running());
        let log = world.node.log();
        assert!(!log.contains("panicked"), "{log}");
    }
}

/// All of them, while the node may be killed, starved or cut off at any moment: what is answered is
/// answered as it deserves. Says what was not.
pub(crate) fn try_all_whatever_happens(address: SocketAddr) -> Vec<String> {
    let judged = requests::all().into_iter().filter_map(|case| {
        let outcome = exchange(address, &case.bytes, usize::MAX);
        match outcome.is_cut_off(&case) {
            true => None,
            false => judge(&case, outcome),
        }
    });
    judged.collect()
}

/// What came of a request.
#[derive(Debug)]
struct Outcome {
    received: Vec<u8>,
    end: End,
}

#[derive(Debug, PartialEq, Eq)]
enum End {
    Closed,
    Reset,
    /// Nothing ended it in time. Of a stream that is as it should be.
    Open,
    /// There was no connection.
    Never,
}

impl Outcome {
    /// Whether the node was away, or too slow for what it had to say in time, rather than wrong.
    fn is_cut_off(&self, case: &Case) -> bool {
        let text = String::from_utf8_lossy(&self.received);
        let is_late = ["HTTP/1.1 408 ", "HTTP/1.1 503 ", "event: refused"];
        self.received.is_empty()
            || is_late.iter().any(|late| text.contains(late))
            || (self.end == End::Reset && case.answer != Answer::Reset)
            || (case.answer == Answer::Reset && !text.contains("event: connected"))
    }
}

/// Sends bytes, so many at a time, and reads what is answered, to its end or the end of the first
/// events of a stream.
fn exchange(address: SocketAddr, bytes: &[u8], piece: usize) -> Outcome {
    let mut outcome = Outcome {
        received: Vec::new(),
        end: End::Never,
    };
    let Ok(mut socket) = TcpStream::connect_timeout(&address, ANSWER_MAX) else {
        return outcome;
    };
    let limit = Some(Duration::from_millis(500));
    let prepared = [
        socket.set_nodelay(true),
        socket.set_read_timeout(limit),
        socket.set_write_timeout(Some(ANSWER_MAX)),
    ];
    if prepared.iter().any(Result::is_err) {
        return outcome;
    }
    for part in bytes.chunks(piece.min(bytes.len())) {
        // The node may have refused and closed before the last byte.
        if socket.write_all(part).is_err() {
            break;
        }
    }
    let deadline = Instant::now() + ANSWER_MAX;
    let mut buffer = [0; 16 * 1024];
    outcome.end = loop {
        if has_first_events(&outcome.received) || Instant::now() >= deadline {
            break End::Open;
        }
        match socket.read(&mut buffer) {
            Ok(0) => break End::Closed,
            Ok(count) => outcome.received.extend_from_slice(&buffer[..count]),
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {}
            Err(_) => break End::Reset,
        }
    };
    outcome
}

/// Whether the first two events of a stream are there: `connected`, and whatever comes next.
fn has_first_events(received: &[u8]) -> bool {
    let text = String::from_utf8_lossy(received);
    let Some((_, events)) = text.split_once("event: connected\n") else {
        return false;
    };
    let Some((connected, next)) = events.split_once("\n\n") else {
        return false;
    };
    // A stream that begins now has no second event for long.
    connected.contains(r#""resume":"live""#) || next.contains("\n\n")
}

/// What is wrong with an outcome, if something is.
fn judge(case: &Case, outcome: Outcome) -> Option<String> {
    let text = String::from_utf8_lossy(&outcome.received).into_owned();
    let statuses = statuses(&outcome.received);
    let is_refusal = |status: &u16| (400..500).contains(status) || [501, 505].contains(status);
    let is_one_refusal = statuses.len() == 1 && statuses.iter().all(is_refusal);
    let is_right = match case.answer {
        Answer::Refused => is_one_refusal && outcome.end == End::Closed,
        Answer::RefusedOrReset => {
            (is_one_refusal || statuses.is_empty())
                && outcome.end != End::Open
                && (outcome.end == End::Reset || is_one_refusal)
        }
        Answer::Status(status) => statuses == [status] && outcome.end == End::Closed,
        Answer::Reset => {
            let is_told = text.contains(r#""resume":"reset""#) && text.contains("event: reset\n");
            (statuses == [200] && is_told) || statuses == [400]
        }
    };
    (!is_right).then(|| {
        let shown: String = text.chars().take(300).collect();
        format!("{}: {:?}, {statuses:?}: {shown}", case.name, outcome.end)
    })
}

/// The statuses of the responses that stand there one behind the other, each as long as its head says.
fn statuses(mut received: &[u8]) -> Vec<u16> {
    let mut statuses = Vec::new();
    while let Some(end) = received.windows(4).position(|four| four == b"\r\n\r\n") {
        let head = String::from_utf8_lossy(&received[..end]).into_owned();
        let status = head
            .strip_prefix("HTTP/1.1 ")
            .and_then(|rest| rest.get(..3));
        let Some(status) = status.and_then(|digits| digits.parse().ok()) else {
            // What is no head is no response: a number that no case expects.
            statuses.push(0);
            return statuses;
        };
        statuses.push(status);
        let length = head
            .lines()
            .find_map(|line| line.strip_prefix("content-length: "))
            .and_then(|digits| digits.trim().parse::<usize>().ok());
        let Some(length) = length else {
            return statuses;
        };
        received = &received[(end + 4 + length).min(received.len())..];
    }
    if !received.is_empty() {
        statuses.push(0);
    }
    statuses
}

#[test]
fn what_is_wrong_is_seen() {
    let refused = Case {
        name: "a case".into(),
        bytes: Vec::new(),
        answer: Answer::Refused,
    };
    let outcome = |text: &str, end| Outcome {
        received: text.into(),
        end,
    };
    let refusal = "HTTP/1.1 400 Bad Request\r\ncontent-length: 2\r\n\r\n{}";
    assert_eq!(judge(&refused, outcome(refusal, End::Closed)), None);
    let smuggled = refusal.repeat(2);
    let failed = refusal.replace("400", "500");
    for (text, end) in [
        (refusal, End::Open),
        (refusal, End::Reset),
        (smuggled.as_str(), End::Closed),
        (failed.as_str(), End::Closed),
        ("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n", End::Closed),
        ("", End::Closed),
        ("nonsense", End::Closed),
    ] {
        let wrong = judge(&refused, outcome(text, end));
        assert!(wrong.is_some(), "{text:?}");
    }
    // A stream that begins from now where it was asked to go on.
    let reset = Case {
        answer: Answer::Reset,
        ..refused
    };
    let head = "HTTP/1.1 200 OK\r\n\r\nretry: 2000\n\nevent: connected\n";
    let told = format!("{head}data: {{\"resume\":\"reset\"}}\n\nevent: reset\ndata: {{}}\n\n");
    assert_eq!(judge(&reset, outcome(&told, End::Open)), None);
    let untold = format!("{head}data: {{\"resume\":\"live\"}}\n\n");
    assert!(judge(&reset, outcome(&untold, End::Open)).is_some());
}
