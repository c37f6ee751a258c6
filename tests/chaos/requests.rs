//! Hostile requests, class by class of the matrix: D are attacks on HTTP/1 (those that are no requests at
//! all stand in `refused`, where the core is tried with them), F what a stream is asked for and told. Bytes and what has to come of them; who
//! sends them is `hostile`.

use crate::clients::request;
use crate::refused::{REFUSED, SMUGGLED};
use crate::support::Request;
use crate::support::config::SERVICE_KEY;

/// A hostile request.
pub(crate) struct Case {
    /// Its class in the matrix, and what it is.
    pub(crate) name: String,
    pub(crate) bytes: Vec<u8>,
    pub(crate) answer: Answer,
}

/// What has to come of it: one response, and the end of the connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Answer {
    /// A refusal: 4xx, or one of the two statuses that say that we are not what is sought (501, 505).
    Refused,
    /// The same, or a reset: it is longer than what is read of it.
    RefusedOrReset,
    /// This status, once, however often the bytes ask.
    Status(u16),
    /// A stream that says first that it does not go on from there.
    Reset,
}

/// Every case.
pub(crate) fn all() -> Vec<Case> {
    let mut cases = refused();
    cases.extend(targets());
    cases.extend(sizes());
    cases.extend(served_once());
    cases.extend(last_event_ids());
    cases.extend(queries());
    cases.extend(bodies());
    cases
}

/// What no reader of heads may take for a request, each with a good one behind it.
fn refused() -> Vec<Case> {
    let mut cases = Vec::new();
    for (row, status, requests) in REFUSED {
        cases.extend(requests.iter().map(|request| Case {
            name: format!("{row}: {request:?}"),
            bytes: format!("{request}{SMUGGLED}").into_bytes(),
            answer: Answer::Status(*status),
        }));
    }
    cases
}

/// D7, D10: targets that lead astray, and methods that a path does not have.
fn targets() -> Vec<Case> {
    let astray = [
        "//livez",
        "/livez/",
        "/./livez",
        "/x/../livez",
        "/..;/livez",
        "/livez;x=1",
        "/livez%00",
        "/%6civez",
        "/livez%0d%0aset-cookie:%20a=b",
        "/%c0%afetc",
        "/%e0%80%af",
        "/%",
        "/%zz",
        "//evil.example/api/realtime/stream",
    ];
    let lines = astray.iter().map(|target| format!("GET {target}"));
    let others = ["PATCH", "DELETE", "PUT", "POST"].map(|method| format!("{method} /livez"));
    lines
        .chain(others)
        .map(|line| Case {
            name: format!("D7, D10 {line:?}"),
            bytes: format!("{line} HTTP/1.1\r\nhost: a\r\ncontent-length: 0\r\n\r\n").into_bytes(),
            answer: Answer::Refused,
        })
        .collect()
}

/// D6, D7: more than fits.
fn sizes() -> Vec<Case> {
    let x = |count| "x".repeat(count);
    let head = "GET /livez HTTP/1.1\r\nhost: a\r\n";
    let many: String = (0..10_000).map(|n| format!("x-{n}: y\r\n")).collect();
    let case = |name: &str, text: String, answer| Case {
        name: name.into(),
        bytes: text.into_bytes(),
        answer,
    };
    let (refused, reset) = (Answer::Refused, Answer::RefusedOrReset);
    vec![
        case(
            "D6 65 fields",
            format!("{head}{}\r\n", "a: b\r\n".repeat(65)),
            refused,
        ),
        case("D6 10,000 fields", format!("{head}{many}\r\n"), reset),
        case(
            "D6 a long name",
            format!("{head}{}: y\r\n\r\n", x(100_000)),
            reset,
        ),
        case(
            "D6 a long value",
            format!("{head}x: {}\r\n\r\n", x(100_000)),
            reset,
        ),
        case(
            "D6 cookies of a megabyte",
            format!("{head}cookie: {}\r\n\r\n", x(1 << 20)),
            reset,
        ),
        case(
            "D7 a long target",
            format!("GET /{} HTTP/1.1\r\n\r\n", x(100_000)),
            reset,
        ),
        case(
            "D7 a target of 9,000",
            format!("GET /{} HTTP/1.1\r\n\r\n", x(9_000)),
            refused,
        ),
        case("D7 an endless line", x(200_000), reset),
        case(
            "D10 a long method",
            format!("{} / HTTP/1.1\r\n\r\n", x(9_000)),
            refused,
        ),
    ]
}

/// D8, D11, D12, D13: what is in order, once.
fn served_once() -> Vec<Case> {
    let livez = |fields: &str| format!("GET /livez HTTP/1.1\r\nhost: a\r\n{fields}\r\n");
    let case = |name: &str, text: String, status| Case {
        name: name.into(),
        bytes: text.into_bytes(),
        answer: Answer::Status(status),
    };
    vec![
        case(
            "D8 1,000 requests in a segment",
            livez("").repeat(1_000),
            200,
        ),
        case("D8 another behind it", livez("") + SMUGGLED, 200),
        case(
            "D11 upgrade to h2c",
            livez(
                "connection: upgrade, http2-settings\r\nupgrade: h2c\r\nhttp2-settings: AAMAAABkAAQAAP__\r\n",
            ),
            200,
        ),
        case(
            "D11 upgrade to a WebSocket",
            livez(
                "connection: upgrade\r\nupgrade: websocket\r\nsec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n",
            ),
            200,
        ),
        case(
            "D12 a body of a GET",
            livez(&format!("content-length: {}\r\n", SMUGGLED.len())) + SMUGGLED,
            200,
        ),
        case(
            "D13 ranges",
            livez("range: bytes=0-0\r\nif-none-match: *\r\nif-modified-since: 0\r\n"),
            200,
        ),
        case("D6 64 fields", livez(&"a: b\r\n".repeat(63)), 200),
    ]
}

/// F5: every malformed `Last-Event-ID`, and well-formed ones of no place that there is.
fn last_event_ids() -> Vec<Case> {
    let stream = |id: &str| request("acme", "user-0").last_event_id(id).bytes();
    let long = "1".repeat(4_000);
    let ids = [
        ("garbage", "garbage"),
        ("a number", "17"),
        ("NULL", "null"),
        ("negative", "-1.-1.-1.-1"),
        ("three parts", "1.1.1"),
        ("five parts", "1.1.1.1.1"),
        ("empty parts", "..."),
        ("blanks", "1. 1.1.1"),
        ("capitals", "A.B.C.D"),
        ("leading zeros", "01.1.1.1"),
        ("plus", "+1.1.1.1"),
        ("hexadecimal marks", "0x1.0x1.0x1.0x1"),
        ("long", &long),
        ("zero", "0.0.0.0"),
        (
            "the greatest",
            "ffffffffffffffff.ffffffff.ffffffffffffffff.ffffffff",
        ),
        ("beyond it", "ffffffffffffffffff.1.1.1"),
        ("of another history", "1.1.16b3748.1"),
        ("percent", "%31.1.1.1"),
        ("of a file", "../../etc/passwd"),
        ("of SQL", "' OR 1=1 --"),
        ("a field of a stream", "1\\nevent: reset"),
        ("a comma", "1.1.1.1,1.1.1.2"),
    ];
    let mut cases: Vec<Case> = ids
        .iter()
        .map(|(name, id)| Case {
            name: format!("F5 {name}"),
            bytes: stream(id),
            answer: Answer::Reset,
        })
        .collect();
    let twice = request("acme", "user-0")
        .last_event_id("1.1.1.1")
        .last_event_id("1.1.1.2");
    let latin = {
        let mut bytes = stream("LATIN");
        let place = bytes
            .windows(5)
            .position(|five| five == b"LATIN")
            .expect("it is there");
        bytes[place..place + 5].copy_from_slice(b"\xff\xfe1.1");
        bytes
    };
    cases.push(Case {
        name: "F5 bytes that are no text".into(),
        bytes: latin,
        answer: Answer::Reset,
    });
    cases.push(Case {
        name: "F5 two of them".into(),
        bytes: twice.bytes(),
        answer: Answer::Refused,
    });
    let control = |id: &str| stream(id);
    for (name, id) in [
        ("NUL", "1\0.1.1.1"),
        ("a carriage return", "1.1\r.1.1"),
        ("a line feed", "1.1\n.1.1"),
    ] {
        cases.push(Case {
            name: format!("F5 {name}"),
            bytes: control(id),
            answer: Answer::Refused,
        });
    }
    for id in [
        "garbage",
        "1.1.1",
        "1.1.1.1%0a",
        "1%00.1.1.1",
        "%ff",
        "0.0.0.0",
        "1.1.1.1&lastEventId=2",
    ] {
        cases.push(Case {
            name: format!("F5 {id} in the URL"),
            bytes: with_query(&format!("organizationId=acme&lastEventId={id}")).into_bytes(),
            answer: Answer::Reset,
        });
    }
    let megabyte = stream(&"1".repeat(1 << 20));
    cases.push(Case {
        name: "F5 a megabyte".into(),
        bytes: megabyte,
        answer: Answer::RefusedOrReset,
    });
    cases
}

/// A request for a stream with this query, by a user of acme.
fn with_query(query: &str) -> String {
    let line = format!("GET /api/realtime/stream?{query} HTTP/1.1");
    let other = String::from_utf8(request("acme", "user-0").bytes()).expect("a request is text");
    let (_, fields) = other.split_once("\r\n").expect("it has a first line");
    format!("{line}\r\n{fields}")
}

/// F2, F7: queries that no stream has.
fn queries() -> Vec<Case> {
    let many: Vec<String> = (0..1_000).map(|n| format!("c{n}")).collect();
    let (many, same) = (many.join(","), vec!["a"; 1_000].join(","));
    let regular = format!("({}", "a*)*".repeat(500));
    let queries = [
        (
            "F7 1,000 channels",
            format!("organizationId=acme&channel={many}"),
        ),
        (
            "F7 the same channel 1,000 times",
            format!("organizationId=acme&channel={same}"),
        ),
        (
            "F7 like a regular expression",
            format!("organizationId=acme&type={regular}"),
        ),
        (
            "F7 twice",
            "organizationId=acme&organizationId=globex".into(),
        ),
        (
            "F7 both names",
            "organizationId=acme&tenantId=globex".into(),
        ),
        (
            "F2 a line feed in a channel",
            "organizationId=acme&channel=a%0Aevent:%20reset".into(),
        ),
        (
            "F2 a carriage return in a type",
            "organizationId=acme&type=a%0Dx".into(),
        ),
        (
            "F2 NUL in a channel",
            "organizationId=acme&channel=a%00".into(),
        ),
        ("F2 NUL in an organisation", "organizationId=acme%00".into()),
        ("F7 not UTF-8", "organizationId=%ff%fe".into()),
        ("F7 half an escape", "organizationId=%4".into()),
        ("F7 of others", "organizationId=globex".into()),
        ("F7 of nobody", "organizationId=nobody".into()),
        ("F7 of everybody", "organizationId=*".into()),
    ];
    let case = |(name, query): (&str, String)| Case {
        name: name.into(),
        bytes: with_query(&query).into_bytes(),
        answer: Answer::Refused,
    };
    let mut cases: Vec<Case> = queries.map(case).into();
    let long = with_query(&format!("organizationId={}", "a".repeat(1 << 20)));
    cases.push(Case {
        name: "F7 a query of a megabyte".into(),
        bytes: long.into_bytes(),
        answer: Answer::RefusedOrReset,
    });
    cases
}

/// D14, G8, F2: bodies of what is published.
fn bodies() -> Vec<Case> {
    let post = |fields: &str, body: &str| {
        let head = format!(
            "POST /api/realtime/publish HTTP/1.1\r\nhost: a\r\nauthorization: Bearer {SERVICE_KEY}\r\n\
             {fields}content-length: {}\r\n\r\n{body}",
            body.len()
        );
        head.into_bytes()
    };
    let json = "content-type: application/json\r\n";
    let deep = "[".repeat(30_000);
    let event =
        |event_type: &str| format!(r#"{{"type":{event_type},"organizationId":"acme","data":1}}"#);
    let cases = [
        (
            "D14 gzip",
            post(
                &format!("{json}content-encoding: gzip\r\n"),
                "\x1f\u{8} and so on",
            ),
        ),
        ("G8 no JSON", post(json, "{")),
        ("G8 nothing", post(json, "")),
        ("G8 a number", post(json, "17")),
        ("G8 nested 30,000 deep", post(json, &deep)),
        ("G8 no type", post(json, r#"{"organizationId":"acme"}"#)),
        (
            "G8 a form",
            post("content-type: application/x-www-form-urlencoded\r\n", "a=b"),
        ),
        (
            "G8 JSON twice",
            post(json, r#"{"type":"a.b"}{"type":"a.b"}"#),
        ),
        (
            "F2 a line feed in a type",
            post(json, &event(r#""a.b\nevent: reset""#)),
        ),
        (
            "F2 a carriage return in a type",
            post(json, &event(r#""a.b\rx""#)),
        ),
        ("F2 NUL in a type", post(json, &event(r#""a.b\u0000""#))),
        ("F2 a type of ours", post(json, &event(r#""reset""#))),
        (
            "F2 half a surrogate in a type",
            post(json, &event(r#""\ud800""#)),
        ),
        ("F2 an empty type", post(json, &event(r#""""#))),
        ("F2 a type that is no text", post(json, &event("7"))),
    ];
    let case = |(name, bytes): (&str, Vec<u8>)| Case {
        name: name.into(),
        bytes,
        answer: Answer::Refused,
    };
    let mut cases: Vec<Case> = cases.map(case).into();
    let announced = Request::new("POST", "/api/realtime/publish").service();
    let announced = announced
        .field("content-length", "65537")
        .field("expect", "100-continue");
    cases.push(Case {
        name: "D11 a body too large, announced".into(),
        bytes: announced.bytes(),
        answer: Answer::Refused,
    });
    cases
}
