//! The requests: rows D1 to D14 of the matrix of faults, and what is to become of each. What a path
//! means is not the engine's matter, so what is no attack on the framing is handed over as it came. What is
//! refused whatever the path is in `refused`.

use wire::http::BODY_BYTES_MAX;

use super::refused::REFUSED;

/// A request.
pub(super) struct Case {
    pub(super) name: String,
    pub(super) bytes: Vec<u8>,
    pub(super) answer: Answer,
}

/// What becomes of it.
pub(super) enum Answer {
    /// It is refused with this status.
    Refused(u16),
    /// It is one request for this path and query with this body, whatever comes behind it.
    Forwarded {
        target: &'static str,
        body: &'static [u8],
    },
}

/// All of them.
pub(super) fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    for (name, status, requests) in REFUSED {
        for request in *requests {
            cases.push(refused(name, *status, request.as_bytes()));
        }
    }
    for (name, target, body, request) in FORWARDED {
        cases.push(Case {
            name: format!("{name}: {request:?}"),
            bytes: request.as_bytes().to_vec(),
            answer: Answer::Forwarded {
                target,
                body: body.as_bytes(),
            },
        });
    }
    cases.extend(large());
    cases.extend(binary());
    cases
}

fn refused(name: &str, status: u16, bytes: &[u8]) -> Case {
    let shown = String::from_utf8_lossy(&bytes[..bytes.len().min(200)]);
    Case {
        name: format!("{name}: {shown:?}"),
        bytes: bytes.to_vec(),
        answer: Answer::Refused(status),
    }
}

/// Those that are too much: each ends long before it has all come.
fn large() -> Vec<Case> {
    let head = "GET / HTTP/1.1\r\nhost: a\r\n";
    let long = "a".repeat(100_000);
    let cases = [
        (
            "D6 10,000 fields",
            431,
            format!("{head}{}\r\n", "a: b\r\n".repeat(10_000)),
        ),
        ("D6 a long name", 431, format!("{head}{long}: b\r\n\r\n")),
        ("D6 a long value", 431, format!("{head}a: {long}\r\n\r\n")),
        (
            "D6 a long cookie",
            431,
            format!("{head}cookie: {long}\r\n\r\n"),
        ),
        (
            "D6 a megabyte",
            431,
            format!(
                "{head}{}\r\n",
                format!("a: {}\r\n", "b".repeat(20_000)).repeat(50)
            ),
        ),
        (
            "D7 a long target",
            414,
            format!("GET /{long} HTTP/1.1\r\nhost: a\r\n\r\n"),
        ),
        (
            "D10 a long method",
            414,
            format!("{long} / HTTP/1.1\r\nhost: a\r\n\r\n"),
        ),
    ];
    let mut large: Vec<Case> = cases
        .iter()
        .map(|(name, status, text)| refused(name, *status, text.as_bytes()))
        .collect();
    let pipelined = "GET /one HTTP/1.1\r\nhost: a\r\n\r\n".repeat(1_000);
    large.push(Case {
        name: "D8 1,000 requests at once".to_owned(),
        bytes: pipelined.into_bytes(),
        answer: Answer::Forwarded {
            target: "/one",
            body: b"",
        },
    });
    let body = "x".repeat(BODY_BYTES_MAX + 1);
    let length = body.len();
    let text = format!("POST / HTTP/1.1\r\nhost: a\r\ncontent-length: {length}\r\n\r\n{body}");
    large.push(refused("G8 a body that is too long", 413, text.as_bytes()));
    large
}

/// Those that are no text.
fn binary() -> Vec<Case> {
    let cases: [(&str, u16, &[u8]); 6] = [
        (
            "D9 a ClientHello of TLS",
            400,
            b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        ),
        (
            "D7 overlong UTF-8",
            400,
            b"GET /\xc0\xaf HTTP/1.1\r\nhost: a\r\n\r\n",
        ),
        (
            "D3 a name in Latin-1",
            400,
            b"GET / HTTP/1.1\r\nhost: a\r\nx\xe9: b\r\n\r\n",
        ),
        (
            "D5 a host in Latin-1",
            400,
            b"GET / HTTP/1.1\r\nhost: \xe9\r\n\r\n",
        ),
        (
            "D1 a length in other digits",
            400,
            b"POST / HTTP/1.1\r\nhost: a\r\ncontent-length: \xb2\r\n\r\n",
        ),
        (
            "D2 a coding in Latin-1",
            400,
            b"POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\xa0\r\n\r\n",
        ),
    ];
    cases
        .iter()
        .map(|(name, status, bytes)| refused(name, *status, bytes))
        .collect()
}

/// What is one request, by row: its target, its body, and all that came.
const FORWARDED: &[(&str, &str, &str, &str)] = &[
    (
        "D1 a length with zeros",
        "/publish",
        "body",
        "POST /publish HTTP/1.1\r\nhost: a\r\ncontent-length: 0004\r\n\r\nbody",
    ),
    (
        "D1 a field that only looks like a length",
        "/publish",
        "",
        "POST /publish HTTP/1.1\r\nhost: a\r\ncontent_length: 4\r\n\r\nbody",
    ),
    (
        "D2 a field that only looks like a coding",
        "/publish",
        "",
        "POST /publish HTTP/1.1\r\nhost: a\r\ntransfer_encoding: chunked\r\n\r\n0\r\n\r\n",
    ),
    (
        "D7 escaped slashes, dots and ends of lines",
        "/a/%2e%2e/%2f/%00/%0d%0aGET%20/b",
        "",
        "GET /a/%2e%2e/%2f/%00/%0d%0aGET%20/b HTTP/1.1\r\nhost: a\r\n\r\n",
    ),
    (
        "D7 empty and odd segments",
        "//a//..;/%c0%af/.",
        "",
        "GET //a//..;/%c0%af/. HTTP/1.1\r\nhost: a\r\n\r\n",
    ),
    (
        "D8 a second request",
        "/one",
        "",
        "GET /one HTTP/1.1\r\nhost: a\r\n\r\nGET /two HTTP/1.1\r\nhost: a\r\n\r\n",
    ),
    (
        "D8 a second request behind a body",
        "/publish",
        "body",
        "POST /publish HTTP/1.1\r\nhost: a\r\ncontent-length: 4\r\n\r\nbodyGET /two HTTP/1.1\r\nhost: a\r\n\r\n",
    ),
    (
        "D11 who waits to be let continue",
        "/publish",
        "body",
        "POST /publish HTTP/1.1\r\nhost: a\r\nexpect: 100-continue\r\ncontent-length: 4\r\n\r\nbody",
    ),
    (
        "D11 who expects something else",
        "/publish",
        "body",
        "POST /publish HTTP/1.1\r\nhost: a\r\nexpect: 200-ok\r\ncontent-length: 4\r\n\r\nbody",
    ),
    (
        "D11 an upgrade to HTTP/2",
        "/livez",
        "",
        "GET /livez HTTP/1.1\r\nhost: a\r\nconnection: upgrade, http2-settings\r\nupgrade: h2c\r\n\
         http2-settings: AAMAAABkAAQCAAAAAAIAAAAA\r\n\r\n",
    ),
    (
        "D11 an upgrade to a WebSocket",
        "/livez",
        "",
        "GET /livez HTTP/1.1\r\nhost: a\r\nconnection: upgrade\r\nupgrade: websocket\r\n\
         sec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
    ),
    (
        "D12 a body of GET",
        "/livez",
        "GET /two HTTP/1.1\r\n\r\n",
        "GET /livez HTTP/1.1\r\nhost: a\r\ncontent-length: 21\r\n\r\nGET /two HTTP/1.1\r\n\r\n",
    ),
    (
        "D12 HEAD",
        "/livez",
        "",
        "HEAD /livez HTTP/1.1\r\nhost: a\r\n\r\n",
    ),
    (
        "D12 a preflight of another origin",
        "/stream",
        "",
        "OPTIONS /stream HTTP/1.1\r\nhost: a\r\norigin: https://evil.example\r\n\
         access-control-request-method: GET\r\n\r\n",
    ),
    (
        "D13 a range and conditions",
        "/stream?organizationId=acme",
        "",
        "GET /stream?organizationId=acme HTTP/1.1\r\nhost: a\r\nrange: bytes=0-1\r\n\
         if-none-match: *\r\nif-modified-since: Sat, 21 Nov 2026 00:00:00 GMT\r\n\r\n",
    ),
    (
        "a proxy that keeps its connection",
        "/livez",
        "",
        "GET /livez HTTP/1.0\r\nconnection: keep-alive\r\n\r\nGET /two HTTP/1.0\r\n\r\n",
    ),
];
