//! Hostile requests for streams, and hostile bodies: D12 to D14, F and G8 of the matrix.

use crate::clients::request;
use crate::requests::{Answer, Case};
use crate::support::Request;
use crate::support::config::SERVICE_KEY;

/// Every case.
pub(crate) fn all() -> Vec<Case> {
    let mut cases = unknown_ids();
    cases.extend(refused_ids());
    cases.extend(unheeded());
    cases.extend(queries());
    cases.extend(bodies());
    cases
}

/// A request for a stream of acme with this field, in bytes that need not be text.
fn stream_after(id: &[u8]) -> Vec<u8> {
    let bytes = request("acme", "user-0").last_event_id("PLACE").bytes();
    let mut places = bytes.windows(5);
    let place = places.position(|five| five == b"PLACE");
    let (before, after) = bytes.split_at(place.expect("it is there"));
    [before, id, &after[5..]].concat()
}

/// F5: ids of no place that there is, however they are spelt: told so, and never "from now on".
fn unknown_ids() -> Vec<Case> {
    let long = "1".repeat(4_000);
    let ids: [(&str, &str); 22] = [
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
        .map(|(name, id)| (name.to_string(), stream_after(id.as_bytes())))
        .chain([(
            "bytes that are no text".into(),
            stream_after(b"\xff\xfe1.1"),
        )])
        .map(|(name, bytes)| Case {
            name: format!("F5 {name}"),
            bytes,
            answer: Answer::Reset,
        })
        .collect();
    let in_the_url = [
        "garbage",
        "1.1.1",
        "1.1.1.1%0a",
        "1%00.1.1.1",
        "%ff",
        "0.0.0.0",
    ];
    cases.extend(in_the_url.map(|id| Case {
        name: format!("F5 {id} in the URL"),
        bytes: with_query(&format!("organizationId=acme&lastEventId={id}")).into_bytes(),
        answer: Answer::Reset,
    }));
    cases
}

/// F5: ids that cannot be read in one way, or not be sent.
fn refused_ids() -> Vec<Case> {
    let twice = request("acme", "user-0")
        .last_event_id("1.1.1.1")
        .last_event_id("1.1.1.2");
    let in_the_url = with_query("organizationId=acme&lastEventId=1.1.1.1&lastEventId=2");
    let megabyte = stream_after("1".repeat(1 << 20).as_bytes());
    let (refused, reset) = (Answer::Status(400), Answer::StatusOrReset(431));
    let cases = [
        ("two of them", twice.bytes(), refused),
        ("two of them in the URL", in_the_url.into_bytes(), refused),
        ("NUL", stream_after(b"1\0.1.1.1"), refused),
        ("a carriage return", stream_after(b"1.1\r.1.1"), refused),
        ("a line feed", stream_after(b"1.1\n.1.1"), refused),
        ("a megabyte", megabyte, reset),
    ];
    let case = |(name, bytes, answer)| Case {
        name: format!("F5 {name}"),
        bytes,
        answer,
    };
    cases.map(case).into()
}

/// D13, F8, F10: what a stream does not heed.
fn unheeded() -> Vec<Case> {
    let stream = |fields: &[(&str, &str)]| {
        let request = request("acme", "user-0");
        let with = fields
            .iter()
            .fold(request, |request, (name, value)| request.field(name, value));
        with.bytes()
    };
    let cases = [
        (
            "D13 ranges and conditions",
            stream(&[
                ("range", "bytes=0-0"),
                ("if-none-match", "*"),
                ("if-modified-since", "Thu, 01 Jan 1970 00:00:00 GMT"),
            ]),
        ),
        ("F8 an empty id", stream_after(b"")),
        (
            "F10 compression",
            stream(&[("accept-encoding", "gzip, br, zstd, *;q=0.1")]),
        ),
        (
            "F10 nothing but compression",
            stream(&[("accept-encoding", "gzip, identity;q=0")]),
        ),
    ];
    let case = |(name, bytes): (&str, Vec<u8>)| Case {
        name: name.into(),
        bytes,
        answer: Answer::Live,
    };
    cases.map(case).into()
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
    ];
    let of_others = [
        ("F7 of others", "organizationId=globex".to_owned()),
        ("F7 of nobody", "organizationId=nobody".into()),
        ("F7 of everybody", "organizationId=*".into()),
    ];
    let case = |(name, query): (&str, String), status| Case {
        name: name.into(),
        bytes: with_query(&query).into_bytes(),
        answer: Answer::Status(status),
    };
    let mut cases: Vec<Case> = queries.map(|query| case(query, 400)).into();
    cases.extend(of_others.map(|query| case(query, 403)));
    let long = with_query(&format!("organizationId={}", "a".repeat(1 << 20)));
    cases.push(Case {
        name: "F7 a query of a megabyte".into(),
        bytes: long.into_bytes(),
        answer: Answer::StatusOrReset(414),
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
        answer: Answer::Status(match name {
            "D14 gzip" | "G8 a form" => 415,
            _ => 400,
        }),
        name: name.into(),
        bytes,
    };
    let mut cases: Vec<Case> = cases.map(case).into();
    let announced = Request::new("POST", "/api/realtime/publish").service();
    let announced = announced
        .field("content-length", "65537")
        .field("expect", "100-continue");
    cases.push(Case {
        name: "D11 a body too large, announced".into(),
        bytes: announced.bytes(),
        answer: Answer::Status(413),
    });
    cases
}
