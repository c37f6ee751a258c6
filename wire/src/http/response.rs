//! Responses, written: the head of a stream, and whole responses. What they say is decided
//! elsewhere.

use bytes::Bytes;

/// What the answer to a request of a browser depends on.
pub const STREAM_VARY: &str = "origin, cookie";

/// Response fields that cannot break the head they stand in: each a line `name: value`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Fields(String);

impl Fields {
    /// No fields.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a field.
    ///
    /// # Panics
    ///
    /// Where the name is no token, or the value has a control character: a value from outside must
    /// have been checked or escaped before it comes here. [`is_field_value`] tells.
    pub fn push(&mut self, name: &str, value: &str) {
        assert!(is_field_name(name), "a response field needs a name");
        assert!(
            is_field_value(value),
            "a response field must not break its line"
        );
        for part in [name, ": ", value, "\r\n"] {
            self.0.push_str(part);
        }
    }

    /// Adds fields that were written before.
    ///
    /// # Panics
    ///
    /// Where they are not lines `name: value\r\n`.
    pub fn append(&mut self, fields: &str) {
        assert_fields(fields);
        self.0.push_str(fields);
    }

    /// The lines, each `name: value\r\n`.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Whether a text can be the value of a response field: no control character but the tab.
pub fn is_field_value(value: &str) -> bool {
    !value
        .bytes()
        .any(|byte| (byte < 0x20 && byte != b'\t') || byte == 0x7f)
}

/// The head of an event stream, complete with its blank line. `fields` are further response fields
/// (CORS), as [`Fields`] makes them.
///
/// The body ends with the connection, which a proxy must be told (RFC 9112, section 9.6), and may
/// neither be stored nor be held back by one.
pub fn stream_head(fields: &str) -> Bytes {
    assert_fields(fields);
    let parts = [
        "HTTP/1.1 200 OK\r\n\
         content-type: text/event-stream; charset=utf-8\r\n\
         cache-control: no-cache, no-store, no-transform\r\n\
         x-accel-buffering: no\r\n\
         vary: ",
        STREAM_VARY,
        "\r\n",
        fields,
        "connection: close\r\n\r\n",
    ];
    Bytes::from(parts.concat())
}

/// A whole response; the connection is closed after it. `fields` are lines as [`Fields`] makes
/// them, without `content-length` and `connection`.
pub fn response(status: u16, fields: &str, body: &[u8]) -> Bytes {
    // These have no body, whatever their fields say (RFC 9112, section 6.3).
    let is_bare = matches!(status, 100..=199 | 204 | 304);
    assert!(
        !is_bare || body.is_empty(),
        "a response {status} has no body"
    );
    let mut out = head(status, fields, (!is_bare).then_some(body.len()));
    out.extend_from_slice(body);
    Bytes::from(out)
}

/// The response to `HEAD`: that of `GET`, without its body.
pub fn response_to_head(status: u16, fields: &str, body_bytes: usize) -> Bytes {
    Bytes::from(head(status, fields, Some(body_bytes)))
}

fn head(status: u16, fields: &str, body_bytes: Option<usize>) -> Vec<u8> {
    assert!((100..=999).contains(&status), "a status has three digits");
    assert_fields(fields);
    let mut number = itoa::Buffer::new();
    let mut out = Vec::with_capacity(256);
    let mut put = |parts: &[&str]| parts.iter().for_each(|part| out.extend(part.as_bytes()));
    put(&[
        "HTTP/1.1 ",
        number.format(status),
        " ",
        reason(status),
        "\r\n",
        fields,
    ]);
    if let Some(length) = body_bytes {
        put(&["content-length: ", number.format(length), "\r\n"]);
    }
    put(&["connection: close\r\n\r\n"]);
    out
}

/// Response fields are ours: one that could end its line early is a mistake of ours.
fn assert_fields(fields: &str) {
    for line in fields.split_inclusive("\r\n") {
        let field = line
            .strip_suffix("\r\n")
            .and_then(|line| line.split_once(": "));
        let is_field =
            field.is_some_and(|(name, value)| is_field_name(name) && is_field_value(value));
        assert!(is_field, "response fields are lines `name: value`");
    }
}

fn is_field_name(name: &str) -> bool {
    !name.is_empty()
        && name
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
}

/// The reason phrase, which is for people (RFC 9112, section 4).
fn reason(status: u16) -> &'static str {
    match status {
        200 => "OK",
        202 => "Accepted",
        204 => "No Content",
        304 => "Not Modified",
        400 => "Bad Request",
        401 => "Unauthorized",
        403 => "Forbidden",
        404 => "Not Found",
        405 => "Method Not Allowed",
        408 => "Request Timeout",
        409 => "Conflict",
        411 => "Length Required",
        413 => "Content Too Large",
        414 => "URI Too Long",
        415 => "Unsupported Media Type",
        429 => "Too Many Requests",
        431 => "Request Header Fields Too Large",
        500 => "Internal Server Error",
        501 => "Not Implemented",
        503 => "Service Unavailable",
        504 => "Gateway Timeout",
        505 => "HTTP Version Not Supported",
        _ => "",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_head_of_a_stream_is_as_documented() {
        let mut fields = Fields::new();
        fields.push("access-control-allow-origin", "https://app.example");
        let head = stream_head(fields.as_str());
        assert_eq!(
            std::str::from_utf8(&head).unwrap(),
            "HTTP/1.1 200 OK\r\n\
             content-type: text/event-stream; charset=utf-8\r\n\
             cache-control: no-cache, no-store, no-transform\r\n\
             x-accel-buffering: no\r\n\
             vary: origin, cookie\r\n\
             access-control-allow-origin: https://app.example\r\n\
             connection: close\r\n\r\n"
        );
    }

    #[test]
    fn a_whole_response_says_how_long_it_is() {
        let text = |bytes: Bytes| String::from_utf8(bytes.to_vec()).unwrap();
        assert_eq!(
            text(response(200, "content-type: text/plain\r\n", b"ok\n")),
            "HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\ncontent-length: 3\r\n\
             connection: close\r\n\r\nok\n"
        );
        assert_eq!(
            text(response(204, "", b"")),
            "HTTP/1.1 204 No Content\r\nconnection: close\r\n\r\n"
        );
        assert_eq!(
            text(response_to_head(200, "", 7)),
            "HTTP/1.1 200 OK\r\ncontent-length: 7\r\nconnection: close\r\n\r\n"
        );
    }

    #[test]
    fn every_status_of_a_refusal_has_a_reason() {
        for code in crate::http::RefusalCode::ALL {
            assert_ne!(reason(code.status()), "", "{code:?}");
        }
    }

    #[test]
    fn a_value_with_a_line_end_is_no_value() {
        assert!(is_field_value("a\tb ü"));
        for value in ["a\r", "\nb", "a\r\nset-cookie: b", "\0", "\u{7f}"] {
            assert!(!is_field_value(value), "{value:?}");
            let pushed = std::panic::catch_unwind(|| Fields::new().push("a", value));
            assert!(pushed.is_err(), "{value:?}");
        }
        for fields in [
            "a",
            "a: b",
            "a: b\n",
            "a: b\r\n\r\n",
            ": b\r\n",
            "a b: c\r\n",
        ] {
            assert!(
                std::panic::catch_unwind(|| stream_head(fields)).is_err(),
                "{fields:?}"
            );
        }
    }
}
