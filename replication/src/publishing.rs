//! Publications: the body of a request, read into the messages that are written to the log.
//!
//! What is accepted here is what the reader takes: both go by `application`. The bytes of an entry are
//! passed on as they came; only an id is put in front where it has none, so that whoever waits can
//! find its event.

use std::fmt;

use serde_json::value::RawValue;
use simd_json::prelude::*;
use wire::{Key, Keys};

use crate::application::{Application, Objection, Refused};
use crate::limits::PUBLICATION_EVENTS_MAX;

/// The statement that writes the contents of entries, `$1`, in their order, in one transaction. As bytes: a
/// text would be converted to the encoding of the database, and events are UTF-8. Counted, so that the
/// answer is one row.
pub const EMIT: &str = "SELECT count(pg_logical_emit_message(true, 'tailrace', message)) \
                        FROM unnest($1::bytea[]) AS message";

/// One event of a publication.
#[derive(Debug)]
pub struct Entry {
    /// What `pg_logical_emit_message` is given.
    pub content: Vec<u8>,
    /// By which [`crate::Reader::published`] finds its event.
    pub key: Key,
    /// What shares a limit with it: its audience's channel.
    pub flow: Key,
}

/// Why a publication is refused. Nothing of it was written then.
#[derive(Debug, PartialEq, Eq)]
pub enum PublishError {
    /// It is no JSON, or neither an object nor an array of them.
    Malformed(String),
    /// An event is not what it must be, or too many are.
    Invalid(String),
    /// An event is longer than the log's reader takes.
    TooLong(String),
}

impl fmt::Display for PublishError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Malformed(message) | Self::Invalid(message) | Self::TooLong(message) => {
                f.write_str(message)
            }
        }
    }
}

impl std::error::Error for PublishError {}

/// Reads a body: one event, or an array of up to [`PUBLICATION_EVENTS_MAX`]. `id` is the request's: that
/// of its event where it says none itself, and with the event's place behind it where there are several.
///
/// # Errors
///
/// What is wrong with the body, or with the first event that is not as it must be.
pub fn entries(body: &[u8], id: &str, keys: &Keys) -> Result<Vec<Entry>, PublishError> {
    match count(body)? {
        None => {
            let raw: &RawValue = sliced(body)?;
            Ok(vec![entry(raw, id, keys).map_err(|it| refused(None, it))?])
        }
        Some(count) if !(1..=PUBLICATION_EVENTS_MAX).contains(&count) => {
            let message = format!("{count} events in one call: send 1 to {PUBLICATION_EVENTS_MAX}");
            Err(PublishError::Invalid(message))
        }
        Some(_) => {
            let raw: Vec<&RawValue> = sliced(body)?;
            let numbered = raw.iter().zip(1_usize..);
            let entries = numbered.map(|(raw, at)| {
                entry(raw, &format!("{id}:{at}"), keys).map_err(|it| refused(Some(at), it))
            });
            entries.collect()
        }
    }
}

/// How many events the array has; `None` where the body is one object. Every byte of it is looked at,
/// and nothing is called once for each level of what it nests.
fn count(body: &[u8]) -> Result<Option<usize>, PublishError> {
    let mut copy = body.to_vec();
    let tape = simd_json::to_tape(&mut copy)
        .map_err(|error| PublishError::Malformed(format!("the body is no JSON: {error}")))?;
    let root = tape.as_value();
    match (root.as_array(), root.is_object()) {
        (Some(array), _) => Ok(Some(array.len())),
        (None, true) => Ok(None),
        (None, false) => {
            let message = "the body is neither an object nor an array of objects";
            Err(PublishError::Malformed(message.to_owned()))
        }
    }
}

/// The body's parts, as the bytes that they are.
fn sliced<'a, T: serde::Deserialize<'a>>(body: &'a [u8]) -> Result<T, PublishError> {
    let malformed = |error| PublishError::Malformed(format!("the body is no JSON: {error}"));
    serde_json::from_slice(body).map_err(malformed)
}

fn entry(raw: &RawValue, id: &str, keys: &Keys) -> Result<Entry, Objection> {
    let said = raw.get().as_bytes();
    let key = Application::parse(said)?.key(keys);
    let content = match key {
        Some(_) => said.to_vec(),
        None => with_id(said, id),
    };
    // Once more with its id, which may be one too many bytes.
    let application = Application::parse(&content)?;
    let key = application.key(keys).expect("it has an id by now");
    let flow = application.key_of(keys, application.channel.as_str());
    Ok(Entry { key, flow, content })
}

/// The object with an id in front, which has members of its own.
fn with_id(object: &[u8], id: &str) -> Vec<u8> {
    let rest = object.strip_prefix(b"{").expect("it was read as an object");
    let mut content = Vec::with_capacity(object.len() + id.len() + 10);
    content.extend_from_slice(b"{\"id\":");
    wire::json::escape_into(&mut content, id);
    content.push(b',');
    content.extend_from_slice(rest);
    content
}

fn refused(at: Option<usize>, objection: Objection) -> PublishError {
    let Objection { reason, message } = objection;
    let message = match at {
        Some(at) => format!("event {at} of the array: {message}"),
        None => message,
    };
    match reason {
        Refused::TooLong => PublishError::TooLong(message),
        _ => PublishError::Invalid(message),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::limits::APPLICATION_BYTES_MAX;

    fn keys() -> Keys {
        Keys::new([1; 16])
    }

    fn read(body: &str) -> Result<Vec<Entry>, PublishError> {
        entries(body.as_bytes(), "key", &keys())
    }

    fn contents(body: &str) -> Vec<String> {
        let text = |entry: Entry| String::from_utf8(entry.content).unwrap();
        read(body).unwrap().into_iter().map(text).collect()
    }

    #[test]
    fn an_event_is_passed_on_as_the_bytes_it_came_in() {
        let event = "{ \"type\":\"a.b\",\r\n\"data\": {\"price\": 1.50, \"n\":1e2, \"é\":\"\\u00e9\"},\
                     \"organizationId\":\"o\" }";
        let rest = &event[1..];
        let one = contents(&format!("\n{event} "));
        assert_eq!(one, [format!("{{\"id\":\"key\",{rest}")]);
        let two = contents(&format!("[{event} ,{event}]"));
        assert_eq!(
            two,
            [1, 2].map(|at| format!("{{\"id\":\"key:{at}\",{rest}"))
        );
        let own = r#"{"id":"mine","type":"a","global":true}"#;
        assert_eq!(contents(own), [own]);
    }

    #[test]
    fn it_is_written_under_the_prefix_that_is_read() {
        assert!(EMIT.contains(&format!("'{}'", crate::application::PREFIX)));
    }

    #[test]
    fn a_message_is_found_by_its_id_and_limited_by_its_channel() {
        let entry = |members: &str| {
            let body = format!(r#"{{"type":"a:b","organizationId":"o"{members}}}"#);
            read(&body).unwrap().remove(0)
        };
        let (one, two) = (entry(r#","id":"1""#), entry(r#","id":"2","data":{}"#));
        assert!(one.key != two.key && one.flow == two.flow);
        assert_eq!(one.key, entry(r#","id":"1","data":5"#).key);
        assert_ne!(one.flow, entry(r#","channel":"c""#).flow);
        assert_eq!(one.flow, entry(r#","channel":"a""#).flow);
    }

    #[test]
    fn what_is_wrong_is_said_with_its_place() {
        let said = |body: &str| read(body).unwrap_err();
        for body in [
            "",
            "nul",
            "7",
            "\"a\"",
            "[1",
            "{\"type\":\"a\",}",
            "{}{}",
            "[]x",
        ] {
            assert!(matches!(said(body), PublishError::Malformed(_)), "{body}");
        }
        assert!(matches!(said("[]"), PublishError::Invalid(_)));
        let good = r#"{"type":"a","global":true}"#;
        let error = said(&format!(
            r#"[{good},{{"type":"a","global":true,"extra":1}}]"#
        ));
        let PublishError::Invalid(message) = error else {
            panic!("{error:?}")
        };
        assert!(message.starts_with("event 2 of the array: ") && message.contains("`extra`"));
        assert!(matches!(said("[7]"), PublishError::Invalid(_)));
        let events = |count: usize| format!("[{}]", vec![good; count].join(","));
        assert_eq!(read(&events(PUBLICATION_EVENTS_MAX)).unwrap().len(), 100);
        assert!(matches!(
            said(&events(PUBLICATION_EVENTS_MAX + 1)),
            PublishError::Invalid(_)
        ));
    }

    #[test]
    fn an_event_is_as_long_as_the_reader_takes_with_its_id() {
        let of_bytes = |bytes: usize| {
            let head = r#"{"type":"a","global":true,"data":""#;
            format!("{head}{}\"}}", "x".repeat(bytes - head.len() - 2))
        };
        let id = r#""id":"key","#.len();
        let longest = contents(&of_bytes(APPLICATION_BYTES_MAX - id));
        assert_eq!(longest[0].len(), APPLICATION_BYTES_MAX);
        let error = read(&of_bytes(APPLICATION_BYTES_MAX - id + 1)).unwrap_err();
        assert!(matches!(error, PublishError::TooLong(_)), "{error:?}");
    }

    #[test]
    fn deep_nesting_is_no_deep_recursion() {
        let data = format!("{}{}", "[".repeat(30_000), "]".repeat(30_000));
        let body = format!(r#"{{"type":"a","global":true,"data":{data}}}"#);
        assert!(contents(&body)[0].contains(&data));
        assert!(read(&"[".repeat(60_000)).is_err());
    }

    /// Text with what has a meaning in JSON, in a stream or in SQL.
    fn text() -> impl Strategy<Value = String> {
        let special = prop::sample::select(
            "\r\n\0\u{85}\u{2028}\u{feff}\"\\:,{}[]'$*é🐎 \t"
                .chars()
                .collect::<Vec<_>>(),
        );
        let character = prop_oneof![special, any::<char>(), prop::char::range('a', 'z')];
        prop::collection::vec(character, 0..12).prop_map(|all| all.into_iter().collect())
    }

    fn event() -> impl Strategy<Value = serde_json::Value> {
        let names = ["type", "channel", "organizationId", "userId", "id", "data"];
        let member = (prop::sample::select(names.to_vec()), text());
        let members = prop::collection::vec(member, 0..4);
        (members, "[a-z.:]{1,8}").prop_map(|(members, event_type)| {
            let mut event = serde_json::json!({"type": event_type, "organizationId": "o"});
            for (name, text) in members {
                event[name] = text.into();
            }
            event
        })
    }

    proptest! {
        #[test]
        fn whatever_is_said_is_read_back_or_refused(events in prop::collection::vec(event(), 1..4)) {
            let body = serde_json::to_string_pretty(&events).unwrap();
            crate::fuzzing::publication(body.as_bytes());
            if let Ok(entries) = read(&body) {
                for (entry, event) in entries.iter().zip(&events) {
                    let mut read: serde_json::Value = serde_json::from_slice(&entry.content).unwrap();
                    if event.get("id").is_none() {
                        read.as_object_mut().unwrap().remove("id");
                    }
                    prop_assert_eq!(&read, event);
                }
            }
        }

        #[test]
        fn no_body_panics(event in event(), at in any::<prop::sample::Index>(), byte: u8) {
            let mut body = event.to_string().into_bytes();
            let at = at.index(body.len());
            body[at] = byte;
            crate::fuzzing::publication(&body);
            body.truncate(at);
            crate::fuzzing::publication(&body);
        }
    }
}
