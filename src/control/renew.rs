//! `POST /api/realtime/renew`: an open stream is to go on under the fresh session that comes with the
//! request. Pure: from a request to which stream and whose credentials, or to an answer.

use std::net::IpAddr;

use serde::Deserialize;
use wire::ConnectionId;
use wire::http::{Head, Method, Refusal, RefusalCode, Request};

use super::named;
use super::request::{
    Answered, Caller, Credentials, Manner, caller, origin, preflight, wrong_method,
};
use crate::config::Config;

/// Where it is asked for.
pub(super) const PATH: &str = "/api/realtime/renew";

/// The longest body: a connection's name, and whatever else a client thinks fit.
const BODY_BYTES_MAX: usize = 4096;

/// What is wanted.
pub(super) struct Renewal {
    pub(super) stream: ConnectionId,
    pub(super) credentials: Credentials,
    pub(super) manner: Manner,
}

#[derive(Deserialize)]
struct Body {
    #[serde(rename = "connectionId")]
    connection_id: String,
}

/// Judges a request for a renewal at this node, whose boot and number of engines these are.
///
/// # Errors
///
/// The answer, where there is nothing to be renewed.
pub(super) fn judge(
    request: &Request,
    peer: Option<IpAddr>,
    config: &Config,
    boot: u32,
    engines: usize,
) -> Result<Renewal, Answered> {
    let head = &request.head;
    let origin = origin(head, peer, config)?;
    match head.method() {
        Method::Post => {}
        Method::Options => return Err(preflight(&origin)),
        _ => {
            let message = "a stream is renewed with POST";
            return Err(wrong_method(&origin, "POST, OPTIONS", message));
        }
    }
    let manner = Manner::plain(origin.fields());
    let judged = stream(head, &request.body)
        .and_then(|stream| named::here(stream, boot, engines))
        .and_then(|stream| Ok((stream, user(head, config)?)));
    match judged {
        Ok((stream, credentials)) => Ok(Renewal {
            stream,
            credentials,
            manner,
        }),
        Err(refusal) => Err((refusal.response(manner.fields.as_str()), Some(refusal.code))),
    }
}

fn stream(head: &Head, body: &[u8]) -> Result<ConnectionId, Refusal> {
    let longer = "the body names one connection, and is longer than that takes";
    let other = "the body is {\"connectionId\": \"…\"}, as `connected` named it";
    let Body { connection_id } = named::json_body(head, body, BODY_BYTES_MAX, longer, other)?;
    named::stream(&connection_id)
}

fn user(head: &Head, config: &Config) -> Result<Credentials, Refusal> {
    match caller(head, config)? {
        Caller::User(credentials) => Ok(credentials),
        Caller::Service => {
            let message = "the stream of a service key has no session that ends";
            Err(Refusal::new(RefusalCode::Forbidden, message))
        }
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::config::Environment;

    fn judged(method: &str, fields: &str, body: &str) -> Result<Renewal, String> {
        let text = "[database]\nurl = \"postgres://h/d\"\n[keys]\nservice = \"service-key-of-16\"\n\
                    [http]\nallowed_origins = [\"https://good.example\"]\n";
        let config = Config::from_text(text, &Environment::default())
            .map_err(|error| error.to_string())
            .unwrap();
        let head = format!("{method} {PATH} HTTP/1.1\r\nHost: app.example\r\n{fields}\r\n");
        let request = Request {
            head: Head::parse(head.as_bytes()).unwrap().unwrap(),
            body: Bytes::copy_from_slice(body.as_bytes()),
        };
        judge(&request, None, &config, 0x1a2b, 2).map_err(|(answer, _)| {
            let text = String::from_utf8(answer.to_vec()).unwrap();
            text.lines().next().unwrap_or_default().to_owned()
        })
    }

    const STREAM: &str = r#"{"connectionId":"00001a2b-1-4d2-7"}"#;

    #[test]
    fn a_stream_of_this_node_is_wanted_by_whoever_the_cookie_belongs_to() {
        let fields = "Content-Type: application/json; charset=utf-8\r\nCookie: a=b\r\n";
        let Ok(renewal) = judged("POST", fields, STREAM) else {
            panic!("refused");
        };
        assert_eq!(renewal.stream.to_string(), "00001a2b-1-4d2-7");
        assert_eq!(renewal.credentials.cookies, "a=b");
        assert!(judged("POST", "", STREAM).is_ok());
    }

    #[test]
    fn everything_else_is_refused_with_its_own_status() {
        let refused = |method, fields, body| judged(method, fields, body).err().unwrap();
        let evil = "Origin: https://evil.example\r\n";
        let key = "Authorization: Bearer service-key-of-16\r\n";
        let form = "Content-Type: text/plain\r\n";
        let long = format!("{}{STREAM}", " ".repeat(BODY_BYTES_MAX));
        for (status, method, fields, body) in [
            ("403 Forbidden", "POST", evil, STREAM),
            ("403 Forbidden", "POST", key, STREAM),
            ("405 Method Not Allowed", "GET", "", ""),
            ("204 No Content", "OPTIONS", "", ""),
            ("415 Unsupported Media Type", "POST", form, STREAM),
            ("413 Content Too Large", "POST", "", &long),
            ("400 Bad Request", "POST", "", ""),
            ("400 Bad Request", "POST", "", r#"{"connectionId":7}"#),
            ("400 Bad Request", "POST", "", r#"{"connectionId":"x"}"#),
            (
                "404 Not Found",
                "POST",
                "",
                r#"{"connectionId":"00001a2b-2-1-1"}"#,
            ),
            (
                "409 Conflict",
                "POST",
                "",
                r#"{"connectionId":"00001a2c-1-1-1"}"#,
            ),
        ] {
            assert_eq!(
                refused(method, fields, body),
                format!("HTTP/1.1 {status}"),
                "{body}"
            );
        }
    }
}
