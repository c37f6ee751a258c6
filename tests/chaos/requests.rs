//! Hostile requests, class by class of the matrix: D are attacks on HTTP/1; those that are no requests at
//! all stand in `refused`, where the core is tried with them, and what streams are asked for and bodies hold
//! in `asked`. Bytes and what has to come of them; who sends them is `hostile`.

use crate::asked;
use crate::refused::{REFUSED, SMUGGLED};

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
    /// This status, once, however often the bytes ask.
    Status(u16),
    /// The same, or a reset: it is longer than what is read of it.
    StatusOrReset(u16),
    /// A stream that says first that it does not go on from there.
    Reset,
    /// A stream as everybody gets it, from now on.
    Live,
}

/// Every case.
pub(crate) fn all() -> Vec<Case> {
    let mut cases = refused();
    cases.extend(targets());
    cases.extend(sizes());
    cases.extend(served_once());
    cases.extend(asked::all());
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

/// D7, D10, D12: targets that lead astray, and methods that a path does not have.
fn targets() -> Vec<Case> {
    let lines = [
        (404, "GET //livez"),
        (404, "GET /livez/"),
        (404, "GET /./livez"),
        (404, "GET /x/../livez"),
        (404, "GET /..;/livez"),
        (404, "GET /livez;x=1"),
        (404, "GET /livez%00"),
        (404, "GET /%6civez"),
        (404, "GET /livez%0d%0aset-cookie:%20a=b"),
        (404, "GET /%c0%afetc"),
        (404, "GET /%e0%80%af"),
        (404, "GET /%"),
        (404, "GET /%zz"),
        (404, "GET //evil.example/api/realtime/stream"),
        (405, "PATCH /livez"),
        (405, "DELETE /livez"),
        (405, "PUT /livez"),
        (405, "POST /livez"),
        (200, "HEAD /livez"),
        (405, "HEAD /api/realtime/stream?organizationId=acme"),
    ];
    let mut cases: Vec<Case> = lines
        .map(|(status, line)| Case {
            name: format!("D7, D10, D12 {line:?}"),
            bytes: format!("{line} HTTP/1.1\r\nhost: a\r\ncontent-length: 0\r\n\r\n").into_bytes(),
            answer: Answer::Status(status),
        })
        .into();
    let preflight = "OPTIONS /api/realtime/stream?organizationId=acme HTTP/1.1\r\nhost: a\r\n\
                     origin: https://evil.example\r\naccess-control-request-method: GET\r\n\r\n";
    cases.push(Case {
        name: "D12 leave asked from a foreign origin".into(),
        bytes: preflight.into(),
        answer: Answer::Status(403),
    });
    cases
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
    let (refused, reset) = (Answer::Status(431), Answer::StatusOrReset(431));
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
            Answer::StatusOrReset(414),
        ),
        case(
            "D7 a target of 9,000",
            format!("GET /{} HTTP/1.1\r\n\r\n", x(9_000)),
            Answer::Status(414),
        ),
        case("D7 an endless line", x(200_000), Answer::StatusOrReset(414)),
        case(
            "D10 a long method",
            format!("{} / HTTP/1.1\r\n\r\n", x(9_000)),
            Answer::Status(414),
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
