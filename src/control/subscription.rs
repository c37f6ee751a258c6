//! `POST`, `PUT` and `DELETE` on a stream path: add to the subscription of an open stream, replace it, or
//! close the stream. Pure: from a request to which stream and whose credentials, or to an answer.

use std::net::IpAddr;

use engine::SubscriptionChange;
use serde::Deserialize;
use wire::http::{Head, Method, Query, Refusal, RefusalCode, Request};
use wire::{ConnectionId, Name, TypePattern};

use super::named;
use super::request::{Answered, Caller, Manner, caller, origin};
use crate::config::Config;

/// The longest body: a connection's name, and as many channels and types as a URL may name.
const BODY_BYTES_MAX: usize = 32 * 1024;

/// The most channels, and the most types, as in a URL.
const NAMES_MAX: usize = wire::http::QUERY_NAMES_MAX;

/// What is wanted of an open stream.
pub(super) struct StreamChange {
    pub(super) stream: ConnectionId,
    pub(super) action: Action,
    pub(super) manner: Manner,
}

/// What is to be done to it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Action {
    /// Another subscription.
    Subscribe(SubscriptionChange),
    /// The end.
    Close,
}

#[derive(Default, Deserialize)]
struct Body {
    #[serde(rename = "connectionId", alias = "clientId")]
    connection_id: Option<String>,
    #[serde(default)]
    channels: Vec<String>,
    #[serde(default)]
    types: Vec<String>,
}

/// Judges a request to change a stream of this node, whose boot and number of engines these are.
///
/// # Errors
///
/// The answer, where there is nothing to be changed.
pub(super) fn judge(
    request: &Request,
    peer: Option<IpAddr>,
    config: &Config,
    boot: u32,
    engines: usize,
) -> Result<(Caller, StreamChange), Answered> {
    let head = &request.head;
    let origin = origin(head, peer, config)?;
    let manner = Manner::plain(origin.fields());
    let judged = wanted(head, &request.body)
        .and_then(|(stream, action)| Ok((named::here(stream, boot, engines)?, action)))
        .and_then(|wanted| Ok((caller(head, config)?, wanted)));
    match judged {
        Ok((caller, (stream, action))) => {
            let change = StreamChange {
                stream,
                action,
                manner,
            };
            Ok((caller, change))
        }
        Err(refusal) => Err((refusal.response(manner.fields.as_str()), Some(refusal.code))),
    }
}

fn wanted(head: &Head, body: &[u8]) -> Result<(ConnectionId, Action), Refusal> {
    let invalid = |message: &'static str| Refusal::new(RefusalCode::InvalidParameter, message);
    let query = Query::parse(head.query()).map_err(|error| error.refusal())?;
    let body = body_of(head, body)?;
    let named = query
        .text("connectionId")
        .map_err(|error| error.refusal())?;
    let name = match (body.connection_id.as_deref(), named) {
        (Some(_), Some(_)) => return Err(invalid("connectionId is named twice")),
        (Some(name), None) | (None, Some(name)) => name,
        (None, None) => return Err(invalid("name the stream: connectionId, as `connected` did")),
    };
    let stream = named::stream(name)?;
    let mut channels = query.names("channel").map_err(|error| error.refusal())?;
    let mut types = query.patterns("type").map_err(|error| error.refusal())?;
    channels.extend(names(&body.channels)?);
    types.extend(names(&body.types)?.into_iter().map(TypePattern::new));
    if channels.len() > NAMES_MAX || types.len() > NAMES_MAX {
        return Err(invalid("too many channels or types are named"));
    }
    let action = match head.method() {
        Method::Delete => Action::Close,
        Method::Put => Action::Subscribe(SubscriptionChange::Replace { channels, types }),
        _ if channels.is_empty() && types.is_empty() => {
            return Err(invalid("name channels or types that are to be added"));
        }
        _ => Action::Subscribe(SubscriptionChange::Add { channels, types }),
    };
    Ok((stream, action))
}

/// What the body says: JSON, or nothing where the query says it.
fn body_of(head: &Head, body: &[u8]) -> Result<Body, Refusal> {
    if body.is_empty() {
        return Ok(Body::default());
    }
    let longer = "the body names more than a subscription can hold";
    let other = "the body is {\"connectionId\": \"…\", \"channels\": [\"…\"], \"types\": [\"…\"]}";
    named::json_body(head, body, BODY_BYTES_MAX, longer, other)
}

fn names(texts: &[String]) -> Result<Vec<Name>, Refusal> {
    let name = |text: &String| {
        Name::new(text).map_err(|why| {
            let message = format!("a channel or type is no name: {why}");
            Refusal::new(RefusalCode::InvalidParameter, message)
        })
    };
    texts.iter().map(name).collect()
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::config::Environment;

    fn judged(line: &str, fields: &str, body: &str) -> Result<Action, String> {
        let text = "[database]\nurl = \"postgres://h/d\"\n[keys]\nservice = \"service-key-of-16\"\n\
                    [http]\nallowed_origins = [\"https://good.example\"]\n";
        let config = Config::from_text(text, &Environment::default())
            .map_err(|error| error.to_string())
            .unwrap();
        let head = format!("{line} HTTP/1.1\r\nHost: app.example\r\n{fields}\r\n");
        let request = Request {
            head: Head::parse(head.as_bytes()).unwrap().unwrap(),
            body: Bytes::copy_from_slice(body.as_bytes()),
        };
        judge(&request, None, &config, 0x1a2b, 2)
            .map(|(_, change)| change.action)
            .map_err(|(answer, _)| {
                let text = String::from_utf8(answer.to_vec()).unwrap();
                text.lines().next().unwrap_or_default().to_owned()
            })
    }

    const STREAM: &str = "00001a2b-1-4d2-7";

    fn name(text: &str) -> Name {
        Name::new(text).unwrap()
    }

    #[test]
    fn a_change_is_read_from_the_body_or_from_the_query() {
        let body = format!(r#"{{"connectionId":"{STREAM}","channels":["a"],"types":["x.*"]}}"#);
        let types = vec![TypePattern::new(name("x.*"))];
        let added = SubscriptionChange::Add {
            channels: vec![name("a")],
            types: types.clone(),
        };
        assert_eq!(
            judged("POST /s", "", &body),
            Ok(Action::Subscribe(added.clone()))
        );
        let query = format!("POST /s?connectionId={STREAM}&channel=a&type=x.*");
        assert_eq!(judged(&query, "", ""), Ok(Action::Subscribe(added)));
        let replaced = SubscriptionChange::Replace {
            channels: Vec::new(),
            types: Vec::new(),
        };
        let body = format!(r#"{{"connectionId":"{STREAM}"}}"#);
        assert_eq!(judged("PUT /s", "", &body), Ok(Action::Subscribe(replaced)));
        let query = format!("DELETE /s?connectionId={STREAM}");
        assert_eq!(judged(&query, "", ""), Ok(Action::Close));
    }

    #[test]
    fn everything_else_is_refused_with_its_own_status() {
        let one = format!(r#"{{"connectionId":"{STREAM}","channels":["a"]}}"#);
        let nothing = format!(r#"{{"connectionId":"{STREAM}"}}"#);
        let twice = format!("POST /s?connectionId={STREAM}&channel=a");
        let long = format!("{}{one}", " ".repeat(BODY_BYTES_MAX));
        let comma = format!(r#"{{"connectionId":"{STREAM}","channels":["a,b"]}}"#);
        let other = r#"{"connectionId":"00001a2c-1-1-1","channels":["a"]}"#;
        let evil = "Origin: https://evil.example\r\n";
        for (status, line, fields, body) in [
            ("403 Forbidden", "POST /s", evil, one.as_str()),
            ("400 Bad Request", "POST /s", "", ""),
            ("400 Bad Request", "POST /s", "", "{"),
            ("400 Bad Request", "POST /s", "", &nothing),
            ("400 Bad Request", "POST /s", "", &comma),
            ("400 Bad Request", "PUT /s?connectionId=7", "", ""),
            ("400 Bad Request", &twice, "", &one),
            ("409 Conflict", "POST /s", "", other),
            ("413 Content Too Large", "POST /s", "", &long),
            (
                "415 Unsupported Media Type",
                "POST /s",
                "Content-Type: text/plain\r\n",
                &one,
            ),
        ] {
            let expected = Some(format!("HTTP/1.1 {status}"));
            assert_eq!(judged(line, fields, body).err(), expected, "{line} {body}");
        }
    }
}
