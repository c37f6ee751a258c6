//! Hostile requests, class by class of the matrix: D are attacks on HTTP/1, F what a stream is asked for
//! and told. Bytes and what has to come of them; who sends them is `hostile`.

use crate::clients::request;
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

/// A good request, by which a smuggled one would be seen.
const SMUGGLED: &str = "GET /livez HTTP/1.1\r\nhost: a\r\n\r\n";

/// Every case.
pub(crate) fn all() -> Vec<Case> {
    let mut cases = Vec::new();
    let mut refuse = |name: &str, text: &str| {
        cases.push(Case {
            name: name.into(),
            bytes: text.as_bytes().to_vec(),
            answer: Answer::Refused,
        });
    };
    lengths(&mut refuse);
    codings(&mut refuse);
    line_ends(&mut refuse);
    chunks(&mut refuse);
    hosts(&mut refuse);
    versions_and_methods(&mut refuse);
    targets(&mut refuse);
    cases.extend(sizes());
    cases.extend(served_once());
    cases.extend(last_event_ids());
    cases.extend(queries());
    cases.extend(bodies());
    cases
}

/// D1: `Content-Length` in every way but one number.
fn lengths(refuse: &mut impl FnMut(&str, &str)) {
    let post = |fields: &str| {
        format!("POST /api/realtime/publish HTTP/1.1\r\nhost: a\r\n{fields}\r\n\r\n{SMUGGLED}")
    };
    let chunked = "transfer-encoding: chunked";
    refuse(
        "D1 both, length first",
        &post(&format!("content-length: 4\r\n{chunked}")),
    );
    refuse(
        "D1 both, coding first",
        &post(&format!("{chunked}\r\ncontent-length: 4")),
    );
    refuse(
        "D1 twice, different",
        &post("content-length: 4\r\ncontent-length: 5"),
    );
    refuse(
        "D1 twice, the same",
        &post("content-length: 4\r\ncontent-length: 4"),
    );
    for value in [
        "4, 4",
        "4,5",
        "+5",
        "-1",
        "0x5",
        "5 5",
        "5;",
        "1e1",
        "",
        "\u{664}",
        "4\u{b}",
        "5.0",
        "'5'",
        "4294967297",
        "18446744073709551616",
        "99999999999999999999999999999999",
    ] {
        refuse(
            &format!("D1 length {value:?}"),
            &post(&format!("content-length: {value}")),
        );
    }
    refuse(
        "D1 length with a space before its colon",
        &post("content-length : 4"),
    );
    refuse(
        "D1 length with a tab before its colon",
        &post("content-length\t: 4"),
    );
    refuse("D1 length behind a NUL", &post("content-length\0: 4"));
}

/// D2: transfer codings that two readers could read in two ways, or not at all.
fn codings(refuse: &mut impl FnMut(&str, &str)) {
    let post = |field: &str| {
        format!(
            "POST /api/realtime/publish HTTP/1.1\r\nhost: a\r\n{field}\r\n\r\n0\r\n\r\n{SMUGGLED}"
        )
    };
    for field in [
        "transfer-encoding: chunked",
        "transfer-encoding: xchunked",
        "transfer-encoding: \u{b}chunked",
        "transfer-encoding: chunked, identity",
        "transfer-encoding: identity, chunked",
        "transfer-encoding: chunked, chunked",
        "transfer-encoding: gzip, chunked",
        "transfer-encoding: \"chunked\"",
        "transfer-encoding: chunked;x=1",
        "transfer-encoding: identity",
        "transfer-encoding:",
        "transfer-encoding: chunked\r\ntransfer-encoding: identity",
        "transfer-encoding: identity\r\ntransfer-encoding: chunked",
        "transfer-encoding : chunked",
        "transfer-encoding\n: chunked",
        " transfer-encoding: chunked",
        "x: y\r\n transfer-encoding: chunked",
        "x: y\ntransfer-encoding: chunked",
        "x: y\rtransfer-encoding: chunked",
        "transfer-encoding:\r\n chunked",
        "transfer-encoding: chun\0ked",
        "transfer-encoding: CHUNKED",
    ] {
        refuse(&format!("D2 {field:?}"), &post(field));
    }
    let old = "POST / HTTP/1.0\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n";
    refuse("D2 chunked in HTTP/1.0", &format!("{old}{SMUGGLED}"));
}

/// D3: line ends, folding, and bytes that have no place in a head.
fn line_ends(refuse: &mut impl FnMut(&str, &str)) {
    for text in [
        "GET /livez HTTP/1.1\nhost: a\n\n",
        "GET /livez HTTP/1.1\r\nhost: a\n\r\n",
        "GET /livez HTTP/1.1\r\nhost: a\r\n\n",
        "GET /livez HTTP/1.1\rhost: a\r\r",
        "GET /livez HTTP/1.1\r\r\nhost: a\r\n\r\n",
        "GET /livez HTTP/1.1\r\nhost: a\r\nx: 1\r\n 2\r\n\r\n",
        "GET /livez HTTP/1.1\r\nhost: a\r\nx: 1\r\n\t2\r\n\r\n",
        "GET /livez HTTP/1.1\r\n host: a\r\n\r\n",
        "GET /livez HTTP/1.1\r\nhost : a\r\n\r\n",
        "GET /livez HTTP/1.1\r\nhost: a\r\nx\r\n\r\n",
        "GET /livez HTTP/1.1\r\nhost: a\r\n: x\r\n\r\n",
        "GET /livez HTTP/1.1\r\nhost: a\r\nx y: z\r\n\r\n",
        "GET /livez HTTP/1.1\r\nhost: a\r\nx(): z\r\n\r\n",
        "GET /livez HTTP/1.1\r\nhost: a\r\n\u{e9}: z\r\n\r\n",
        "GET /livez HTTP/1.1\r\nhost: a\r\nx: \0\r\n\r\n",
        "GET /livez HTTP/1.1\r\nhost: a\r\nx: \x01\r\n\r\n",
        "GET /livez HTTP/1.1\r\nhost: a\r\nx: \x7f\r\n\r\n",
        "GET /livez HTTP/1.1\r\nhost: a\r\nx: \x1b[31m\r\n\r\n",
        "\r\nGET /livez HTTP/1.1\r\nhost: a\r\n\r\n",
        "\n\nGET /livez HTTP/1.1\r\nhost: a\r\n\r\n",
        " GET /livez HTTP/1.1\r\nhost: a\r\n\r\n",
        "GET  /livez HTTP/1.1\r\nhost: a\r\n\r\n",
        "GET /livez  HTTP/1.1\r\nhost: a\r\n\r\n",
        "GET /livez HTTP/1.1 \r\nhost: a\r\n\r\n",
        "GET\t/livez\tHTTP/1.1\r\nhost: a\r\n\r\n",
        "GET /li\0vez HTTP/1.1\r\nhost: a\r\n\r\n",
    ] {
        refuse(&format!("D3 {text:?}"), text);
    }
}

/// D4: bodies in chunks, well formed and not. None is taken, so none can be misread.
fn chunks(refuse: &mut impl FnMut(&str, &str)) {
    let head =
        "POST /api/realtime/publish HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n";
    let long = "x".repeat(9_000);
    for (name, body) in [
        ("good", "4\r\nabcd\r\n0\r\n\r\n".to_owned()),
        (
            "a size that overflows",
            "fffffffffffffffff\r\nabcd\r\n0\r\n\r\n".into(),
        ),
        ("a negative size", "-1\r\nabcd\r\n0\r\n\r\n".into()),
        ("a size with 0x", "0x4\r\nabcd\r\n0\r\n\r\n".into()),
        ("a huge extension", format!("4;{long}\r\nabcd\r\n0\r\n\r\n")),
        (
            "an extension with a line feed",
            format!("4;a\nb\r\nabcd\r\n0\r\n\r\n{SMUGGLED}"),
        ),
        (
            "an extension with a NUL",
            "4;\0\r\nabcd\r\n0\r\n\r\n".into(),
        ),
        ("no line end after its data", "4\r\nabcd0\r\n\r\n".into()),
        ("a trailer", "0\r\ncontent-length: 4\r\n\r\n".into()),
        ("a bad trailer", "0\r\n : \r\n\r\n".into()),
        ("no end", "4\r\nabcd\r\n0\r\n".into()),
    ] {
        refuse(&format!("D4 chunks: {name}"), &format!("{head}{body}"));
    }
}

/// D5: whose host it is.
fn hosts(refuse: &mut impl FnMut(&str, &str)) {
    let host = |fields: &str| format!("GET /livez HTTP/1.1\r\n{fields}\r\n");
    for fields in [
        "",
        "host: a\r\nhost: b\r\n",
        "host: a\r\nhost: a\r\n",
        "host:\r\nhost: a\r\n",
        "host: a b\r\n",
        "host: a,b\r\n",
        "host: a/b\r\n",
        "host: a@b\r\n",
        "host: a:b\r\n",
        "host: a:99999999\r\n",
        "host: http://a\r\n",
        "host: [::1\r\n",
        "host: a\\b\r\n",
        "host: <script>\r\n",
    ] {
        refuse(&format!("D5 {fields:?}"), &host(fields));
    }
    let absolute = "GET http://other/livez HTTP/1.1\r\nhost: a\r\n\r\n";
    refuse("D5 an absolute target of another host", absolute);
    let userinfo = "GET http://a@b/livez HTTP/1.1\r\nhost: a@b\r\n\r\n";
    refuse("D5 an absolute target with a user", userinfo);
}

/// D9, D10: other versions, other protocols, other methods.
fn versions_and_methods(refuse: &mut impl FnMut(&str, &str)) {
    for line in [
        "GET /livez",
        "GET /livez HTTP/0.9",
        "GET /livez HTTP/1.2",
        "GET /livez HTTP/2.0",
        "GET /livez HTTP/3",
        "GET /livez HTTP/11",
        "GET /livez http/1.1",
        "GET /livez HTTP/1.1x",
        "GET /livez HTTP/ 1.1",
        "GET /livez HTTPS/1.1",
        "GET /livez SPDY/3",
    ] {
        refuse(
            &format!("D9 {line:?}"),
            &format!("{line}\r\nhost: a\r\n\r\n"),
        );
    }
    refuse("D9 preface of HTTP/2", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n");
    refuse(
        "D9 client hello",
        "\x16\x03\x01\x02\0\x01\0\x01\u{7f}\x03\x03 and so on\r\n\r\n",
    );
    for method in [
        "CONNECT",
        "TRACE",
        "BREW",
        "get",
        "Get",
        "PROPFIND",
        "G E T",
        "GET\u{e9}",
        "",
    ] {
        let line = format!("{method} /livez HTTP/1.1\r\nhost: a\r\n\r\n");
        refuse(&format!("D10 {method:?}"), &line);
    }
    refuse(
        "D10 CONNECT to a host",
        "CONNECT a:443 HTTP/1.1\r\nhost: a:443\r\n\r\n",
    );
    for method in ["PATCH", "DELETE", "PUT", "POST"] {
        let line = format!("{method} /livez HTTP/1.1\r\nhost: a\r\ncontent-length: 0\r\n\r\n");
        refuse(&format!("D10 {method} of what is read"), &line);
    }
}

/// D7: targets that lead astray.
fn targets(refuse: &mut impl FnMut(&str, &str)) {
    for target in [
        "livez",
        "*",
        "//livez",
        "/livez/",
        "/./livez",
        "/x/../livez",
        "/..;/livez",
        "/livez;x=1",
        "\\livez",
        "/\\livez",
        "/livez\\",
        "/livez%00",
        "/%6civez",
        "/livez%0d%0aset-cookie:%20a=b",
        "/%c0%afetc",
        "/%e0%80%af",
        "/%",
        "/%zz",
        "/livez#x",
        "/<script>",
        "/\"",
        "/\u{e9}",
        "http://",
        "http:///livez",
        "ftp://a/livez",
        "//evil.example/api/realtime/stream",
    ] {
        let line = format!("GET {target} HTTP/1.1\r\nhost: a\r\n\r\n");
        refuse(&format!("D7 {target:?}"), &line);
    }
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
    let megabyte = stream(&"1".repeat(1 << 20));
    cases.push(Case {
        name: "F5 a megabyte".into(),
        bytes: megabyte,
        answer: Answer::RefusedOrReset,
    });
    cases
}

/// F2, F7: queries that no stream has.
fn queries() -> Vec<Case> {
    let user = |query: &str| {
        let line = format!("GET /api/realtime/stream?{query} HTTP/1.1");
        let cookie = request("acme", "user-0");
        let fields = String::from_utf8(cookie.bytes()).expect("a request is text");
        let (_, fields) = fields.split_once("\r\n").expect("it has a first line");
        format!("{line}\r\n{fields}")
    };
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
        bytes: user(&query).into_bytes(),
        answer: Answer::Refused,
    };
    let mut cases: Vec<Case> = queries.map(case).into();
    let long = user(&format!("organizationId={}", "a".repeat(1 << 20)));
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
