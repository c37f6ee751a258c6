//! The bodies of the fuzz targets: what must hold for every input. Compiled with the crate, so that
//! they cannot rot; run by `fuzz/`, and over its corpora by the tests.
//!
//! A finding is a panic. No product code calls anything here.

pub mod sse_reader;

use crate::http::{
    BODY_BYTES_MAX, HEAD_BYTES_MAX, Head, HeadError, HeadScan, OriginPolicy, OriginVerdict, Query,
};
use crate::{
    Audience, EventId, Format, FrameWriter, Lsn, Name, Source, Topic, TypePattern, json, sse,
};
use sse_reader::{Event, Reading};

/// Request heads: the verdict is the same however the input is cut, a head is in the strict grammar,
/// and whatever can be made of it is in order too.
pub fn head(input: &[u8]) {
    let verdict = Head::parse(input);
    let step = 1 + input.len() % 17;
    assert_eq!(
        in_pieces(input, step),
        describe(&verdict),
        "in pieces of {step} bytes"
    );
    match verdict {
        Ok(None) => {}
        Err(error) => assert!(error.refusal().response("").starts_with(b"HTTP/1.1 ")),
        Ok(Some(head)) => {
            check_grammar(&head, input);
            check_again(&head);
            check_origin(&head);
            query(head.query().as_bytes());
        }
    }
}

/// Queries: what was decoded can be encoded and decoded again, and no accessor panics.
pub fn query(input: &[u8]) {
    let Ok(text) = std::str::from_utf8(input) else {
        return;
    };
    let query = match Query::parse(text) {
        Ok(query) => query,
        Err(error) => {
            assert!((400..500).contains(&error.refusal().code.status()));
            return;
        }
    };
    assert!(
        query
            .pairs()
            .all(|(key, value)| !(key.to_owned() + value).contains(char::is_control))
    );
    let encoded: Vec<String> = query
        .pairs()
        .map(|(key, value)| format!("{}={}", encode(key), encode(value)))
        .collect();
    assert_eq!(Query::parse(&encoded.join("&")).as_ref(), Ok(&query));
    for key in ["organizationId", "channel", "type", "limit", "lastEventId"] {
        let sent = query.pairs().filter(|(sent, _)| *sent == key).count();
        assert_eq!(query.text(key).is_err(), sent > 1);
        assert_eq!(query.has(key), sent > 0);
        let patterns = query
            .names(key)
            .map(|names| names.into_iter().map(TypePattern::new));
        assert_eq!(query.patterns(key), patterns.map(Iterator::collect));
        assert!(
            query
                .number(key, 1_000)
                .is_ok_and(|number| number <= Some(1_000))
                || sent > 0
        );
    }
    assert!(query.text_or_alias("organizationId", "tenantId").is_ok() || query.pairs().count() > 1);
}

/// Server-Sent Events: an independent reader of the format reads exactly what was written, whatever
/// the data are.
///
/// The input is a list of parts, separated by the byte 0xff, which UTF-8 does not have. The first
/// byte of a part says what is written of the rest.
pub fn sse_round_trip(input: &[u8]) {
    let mut stream = Vec::new();
    let mut expected = Reading::default();
    for part in input.split(|byte| *byte == 0xff) {
        let Some((kind, rest)) = part.split_first() else {
            continue;
        };
        let text = String::from_utf8_lossy(rest);
        match kind {
            b'r' => write_retry(&mut stream, &mut expected, &text),
            b'n' => write_named(&mut stream, &mut expected, &text),
            b'f' => write_frame(&mut stream, &mut expected, &text),
            b'j' => write_string(&mut stream, &mut expected, &text),
            _ => write_event(&mut stream, &mut expected, None, None, &text),
        }
    }
    let stream = std::str::from_utf8(&stream).expect("text and nothing else was written");
    assert_eq!(sse_reader::read(stream), expected);
}

fn in_pieces(input: &[u8], step: usize) -> Result<Option<Vec<String>>, HeadError> {
    let mut scan = HeadScan::default();
    let ends = (0..input.len()).step_by(step).chain([input.len()]);
    for end in ends {
        match scan.advance(&input[..end]) {
            Ok(None) => {}
            verdict => return describe(&verdict),
        }
    }
    Ok(None)
}

/// Everything a head says, in a form that can be compared.
fn describe(verdict: &Result<Option<Head>, HeadError>) -> Result<Option<Vec<String>>, HeadError> {
    let head = match verdict {
        Ok(Some(head)) => head,
        Ok(None) => return Ok(None),
        Err(error) => return Err(*error),
    };
    let mut parts = vec![
        format!(
            "{:?} {:?} {}",
            head.method(),
            head.version(),
            head.expects_continue()
        ),
        format!("{} ? {}", head.path(), head.query()),
        format!("{} + {}", head.len_bytes(), head.body_bytes()),
    ];
    parts.extend(
        head.all_fields()
            .map(|(name, value)| format!("{name}: {value}")),
    );
    Ok(Some(parts))
}

/// Holds the bytes of a head against the strict grammar, read in another way than the parser does.
fn check_grammar(head: &Head, input: &[u8]) {
    let bytes = &input[..head.len_bytes()];
    let lines = bytes
        .strip_suffix(b"\r\n\r\n")
        .expect("a head ends with a blank line");
    let lines: Vec<&[u8]> = lines.split(|byte| *byte == b'\n').collect();
    for (index, line) in lines.iter().enumerate() {
        let line = if index + 1 < lines.len() {
            line.strip_suffix(b"\r")
        } else {
            Some(*line)
        };
        let line = line.expect("every line ends with CR LF");
        assert!(!line.is_empty() && !line.starts_with(b" ") && !line.starts_with(b"\t"));
        assert!(
            line.iter()
                .all(|byte| *byte == b'\t' || (*byte >= 0x20 && *byte != 0x7f))
        );
    }
    assert_eq!(
        head.all_fields().count(),
        lines.len() - 1,
        "a field for each line"
    );
    assert!(head.fields("host").count() <= 1 && head.fields("transfer-encoding").count() == 0);
    assert!(head.body_bytes() <= BODY_BYTES_MAX);
    assert!(head.path().starts_with('/') || head.path() == "*");
    assert!(!head.path().contains('?'));
}

/// What was read of a head, written as a head, is read as the same.
fn check_again(head: &Head) {
    let version = format!("{:?}", head.version()).replace("Http1", "HTTP/1.");
    let target = match head.query() {
        "" => head.path().to_owned(),
        query => format!("{}?{query}", head.path()),
    };
    let mut text = format!("{} {target} {version}\r\n", head.method().as_str());
    for (name, value) in head.all_fields() {
        text.push_str(&format!("{name}: {value}\r\n"));
    }
    text.push_str("\r\n");
    // A space after each colon may take a head that just fitted beyond the limit of its bytes.
    let again = match Head::parse(text.as_bytes()) {
        Err(HeadError::TooLarge) if text.len() > HEAD_BYTES_MAX => return,
        again => again.expect("what was read can be read again"),
    };
    let again = again.expect("a head ends with a blank line");
    assert_eq!((again.path(), again.query()), (head.path(), head.query()));
    assert!(again.all_fields().eq(head.all_fields()));
    assert_eq!(again.body_bytes(), head.body_bytes());
}

/// An origin from outside can be judged and answered.
fn check_origin(head: &Head) {
    let allowed = [
        "http://localhost:*".to_owned(),
        "https://app.example".to_owned(),
    ];
    let policy = OriginPolicy::new(&allowed, &[]).expect("both are origins");
    let verdict = policy.judge(head, None);
    let fields = verdict.fields();
    let is_exposed = fields.as_str().contains("access-control");
    assert_eq!(is_exposed, matches!(verdict, OriginVerdict::Allowed(_)));
    if let OriginVerdict::Allowed(origin) = verdict {
        let origin = origin.to_ascii_lowercase();
        let is_app = ["https://app.example", "https://app.example:443"].contains(&origin.as_str());
        assert!(is_app || origin == "http://localhost" || origin.starts_with("http://localhost:"));
    }
    let refusal = verdict
        .refusal()
        .map(|refusal| refusal.response(fields.as_str()));
    assert_eq!(
        refusal.is_some(),
        matches!(verdict, OriginVerdict::Refused(_))
    );
    assert!(!verdict.preflight_fields().as_str().contains("\r\n\r\n"));
}

/// Every byte as `%XX`.
fn encode(text: &str) -> String {
    text.bytes().map(|byte| format!("%{byte:02x}")).collect()
}

fn write_retry(stream: &mut Vec<u8>, expected: &mut Reading, text: &str) {
    let ms = text
        .bytes()
        .fold(0u32, |sum, byte| sum.rotate_left(5) ^ u32::from(byte));
    sse::retry(stream, ms);
    expected.retry_ms.push(u64::from(ms));
}

/// `name:data`, where the name is acceptable; with an id made of the length of both.
fn write_named(stream: &mut Vec<u8>, expected: &mut Reading, text: &str) {
    let (name, data) = text.split_once(':').unwrap_or(("bye", text));
    if let Ok(name) = Name::new(name) {
        let id = id_of(text);
        write_event(stream, expected, Some(name.as_str()), Some(id), data);
    }
}

fn write_event(
    stream: &mut Vec<u8>,
    expected: &mut Reading,
    name: Option<&str>,
    id: Option<EventId>,
    data: &str,
) {
    sse::event(stream, name, id, data);
    if let Some(id) = id {
        expected.last_event_id = id.to_string();
    }
    expected.events.push(Event {
        event_type: name.unwrap_or("message").to_owned(),
        data: data.replace("\r\n", "\n").replace('\r', "\n"),
        last_event_id: expected.last_event_id.clone(),
    });
}

/// A frame around the text as its payload, in every format.
fn write_frame(stream: &mut Vec<u8>, expected: &mut Reading, payload: &str) {
    let name = |text| Name::new(text).expect("a plain word");
    let id = id_of(payload);
    let (event_type, channel) = (name("property.insert"), name("property"));
    let mut writer = FrameWriter::new(id, &event_type, &channel, 7, Source::Postgres);
    let start = writer.json().len();
    writer.json().extend_from_slice(payload.as_bytes());
    writer.mark_data(start);
    let frame = writer.finish(Audience::of(Topic::Global));
    for format in [Format::Event, Format::Data, Format::Named] {
        frame.write(format, stream);
        let head = format!(
            "{{\"id\":\"{id}\",\"type\":\"property.insert\",\"channel\":\"property\",\"timestamp\":7"
        );
        let payload = payload.replace(['\r', '\n'], " ");
        let (event_type, data) = match format {
            Format::Event => {
                let rest = "\"source\":\"postgres\",\"version\":\"1\",\"payload\"";
                ("message", format!("{head},{rest}:{payload}}}"))
            }
            Format::Data => ("message", format!("{head},\"data\":{payload}}}")),
            Format::Named => ("property.insert", payload),
        };
        let (event_type, last_event_id) = (event_type.to_owned(), id.to_string());
        expected.events.push(Event {
            event_type,
            data,
            last_event_id,
        });
    }
    expected.last_event_id = id.to_string();
}

/// The text as a JSON string, which is one line whatever it holds.
fn write_string(stream: &mut Vec<u8>, expected: &mut Reading, text: &str) {
    let mut string = Vec::new();
    json::escape_into(&mut string, text);
    assert!(string.iter().all(|byte| *byte >= 0x20));
    let string = String::from_utf8(string).expect("an escaped text is UTF-8");
    write_event(stream, expected, None, None, &string);
}

fn id_of(text: &str) -> EventId {
    let length = u32::try_from(text.len()).expect("an input is short");
    EventId {
        epoch: !length,
        timeline: 1,
        lsn: Lsn(u64::from(length) << 20),
        index: length,
    }
}
