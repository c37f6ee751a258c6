//! Refusals: every reason for which a request is not served, with its status and its words.
//!
//! Whether a refusal is written with its true status or softly is the caller's choice: it depends
//! on the path and on the client. That a connection is closed afterwards is the engine's part.

use std::borrow::Cow;

use bytes::Bytes;

use super::response::{Fields, STREAM_VARY, response, stream_head};
use crate::{EventId, json, sse};

/// Why a request is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum RefusalCode {
    /// 400: the request cannot be read, or can be read in two ways.
    MalformedRequest,
    /// 400: the user has several organisations, and the request names none.
    OrganizationRequired,
    /// 400: a parameter is missing, repeated or not what it must be.
    InvalidParameter,
    /// 401: no session, or one that is not valid.
    Unauthenticated,
    /// 403: the user is not a member of the organisation, or there is none of that name.
    NotAMember,
    /// 403: the page that asks comes from an origin that is not allowed.
    OriginNotAllowed,
    /// 403: the caller may not do this.
    Forbidden,
    /// 404: nothing is served at this path.
    NotFound,
    /// 405: the path is served, but not by this method.
    MethodNotAllowed,
    /// 408: the request took too long to arrive.
    RequestTimeout,
    /// 409: the connection belongs to another node, or to an earlier start of this one.
    Elsewhere,
    /// 411: a body must have a `Content-Length`.
    LengthRequired,
    /// 413: the body is too long.
    BodyTooLarge,
    /// 414: the request line is too long.
    UriTooLong,
    /// 415: the body is of a type that is not taken.
    UnsupportedMediaType,
    /// 429: the user, organisation or address holds as many connections as it may.
    TooManyConnections,
    /// 429: too many requests in too short a time.
    RateLimited,
    /// 431: the head is too long, or has too many fields.
    HeadTooLarge,
    /// 501: the method, or what it asks, is not built or not set up.
    NotImplemented,
    /// 503: the node has no room for now.
    Overloaded,
    /// 503: the node is about to stop.
    Draining,
    /// 503: the node has not caught up with PostgreSQL yet, or has lost it for too long.
    NotReady,
    /// 503: something the answer depends on cannot be reached.
    Unavailable,
    /// 504: whether it was done could not be learnt in time.
    OutcomeUnknown,
    /// 505: another version of HTTP than 1.0 and 1.1.
    VersionNotSupported,
}

impl RefusalCode {
    /// Every code, in the order of the metrics page.
    pub const ALL: [Self; 25] = [
        Self::MalformedRequest,
        Self::OrganizationRequired,
        Self::InvalidParameter,
        Self::Unauthenticated,
        Self::NotAMember,
        Self::OriginNotAllowed,
        Self::Forbidden,
        Self::NotFound,
        Self::MethodNotAllowed,
        Self::RequestTimeout,
        Self::Elsewhere,
        Self::LengthRequired,
        Self::BodyTooLarge,
        Self::UriTooLong,
        Self::UnsupportedMediaType,
        Self::TooManyConnections,
        Self::RateLimited,
        Self::HeadTooLarge,
        Self::NotImplemented,
        Self::Overloaded,
        Self::Draining,
        Self::NotReady,
        Self::Unavailable,
        Self::OutcomeUnknown,
        Self::VersionNotSupported,
    ];

    /// The word for it in answers and metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::MalformedRequest => "malformed_request",
            Self::OrganizationRequired => "organization_required",
            Self::InvalidParameter => "invalid_parameter",
            Self::Unauthenticated => "unauthenticated",
            Self::NotAMember => "not_a_member",
            Self::OriginNotAllowed => "origin_not_allowed",
            Self::Forbidden => "forbidden",
            Self::NotFound => "not_found",
            Self::MethodNotAllowed => "method_not_allowed",
            Self::RequestTimeout => "request_timeout",
            Self::Elsewhere => "elsewhere",
            Self::LengthRequired => "length_required",
            Self::BodyTooLarge => "body_too_large",
            Self::UriTooLong => "uri_too_long",
            Self::UnsupportedMediaType => "unsupported_media_type",
            Self::TooManyConnections => "too_many_connections",
            Self::RateLimited => "rate_limited",
            Self::HeadTooLarge => "head_too_large",
            Self::NotImplemented => "not_implemented",
            Self::Overloaded => "overloaded",
            Self::Draining => "draining",
            Self::NotReady => "not_ready",
            Self::Unavailable => "unavailable",
            Self::OutcomeUnknown => "outcome_unknown",
            Self::VersionNotSupported => "version_not_supported",
        }
    }

    /// The status of the response (RFC 9110, section 15; RFC 6585 for 429 and 431).
    pub fn status(self) -> u16 {
        match self {
            Self::MalformedRequest | Self::OrganizationRequired | Self::InvalidParameter => 400,
            Self::Unauthenticated => 401,
            Self::NotAMember | Self::OriginNotAllowed | Self::Forbidden => 403,
            Self::NotFound => 404,
            Self::MethodNotAllowed => 405,
            Self::RequestTimeout => 408,
            Self::Elsewhere => 409,
            Self::LengthRequired => 411,
            Self::BodyTooLarge => 413,
            Self::UriTooLong => 414,
            Self::UnsupportedMediaType => 415,
            Self::TooManyConnections | Self::RateLimited => 429,
            Self::HeadTooLarge => 431,
            Self::NotImplemented => 501,
            Self::Overloaded | Self::Draining | Self::NotReady | Self::Unavailable => 503,
            Self::OutcomeUnknown => 504,
            Self::VersionNotSupported => 505,
        }
    }

    /// Its place in [`Self::ALL`], for a column of counters.
    pub fn index(self) -> usize {
        self as usize
    }

    /// For a refusal that passes by itself: the least and the greatest time after which a client
    /// does well to come back, in milliseconds. Each gets its own, so that they do not all come
    /// back at one instant. A stream is refused softly for these reasons, and for no other.
    pub fn retry_ms(self) -> Option<(u32, u32)> {
        match self {
            Self::Overloaded | Self::NotReady | Self::Unavailable => Some((5_000, 15_000)),
            Self::Draining => Some((1_000, 10_000)),
            Self::TooManyConnections | Self::RateLimited => Some((60_000, 60_000)),
            _ => None,
        }
    }

    /// Whether it passes by itself, so that a stream is refused softly.
    pub fn is_temporary(self) -> bool {
        self.retry_ms().is_some()
    }
}

/// A refusal, before it is written.
#[derive(Clone, Debug)]
pub struct Refusal {
    /// Why.
    pub code: RefusalCode,
    /// What is wrong and how it is mended, for a person.
    pub message: Cow<'static, str>,
}

impl Refusal {
    /// A refusal.
    pub fn new(code: RefusalCode, message: impl Into<Cow<'static, str>>) -> Self {
        Self {
            code,
            message: message.into(),
        }
    }

    /// The body of its response: `{"error":{"code","message"}}`.
    pub fn json(&self) -> Vec<u8> {
        let mut out = b"{\"error\":".to_vec();
        self.write_members(&mut out);
        out.push(b'}');
        out
    }

    /// The whole response with its true status; `fields` are further response fields (CORS), each
    /// `name: value\r\n`, as [`Fields`] makes them.
    pub fn response(&self, fields: &str) -> Bytes {
        let mut all = Fields::new();
        all.push("content-type", "application/json");
        all.push("cache-control", "no-store");
        all.push("vary", STREAM_VARY);
        if self.code == RefusalCode::Unauthenticated {
            // A 401 must name a way in (RFC 9110, section 11.6.1).
            all.push("www-authenticate", "Bearer");
        }
        if let Some((least_ms, _)) = self.code.retry_ms() {
            all.push("retry-after", &(least_ms / 1000).to_string());
        }
        all.append(fields);
        response(self.code.status(), all.as_str(), &self.json())
    }

    /// The whole response as a short event stream with status 200: `retry:`, one `refused` event,
    /// the end. A native `EventSource` gives up for good on any other status.
    ///
    /// The client's own id goes back to it, where it sent one that was well formed: an event
    /// without an id would leave it as it is in the browser, but not in every client.
    pub fn soft_response(
        &self,
        fields: &str,
        retry_ms: u32,
        last_event_id: Option<EventId>,
    ) -> Bytes {
        let mut out = stream_head(fields).to_vec();
        let mut data = Vec::new();
        self.write_members(&mut data);
        let data = String::from_utf8(data).expect("an escaped text is UTF-8");
        sse::retry(&mut out, retry_ms);
        sse::event(&mut out, Some("refused"), last_event_id, &data);
        Bytes::from(out)
    }

    fn write_members(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(b"{\"code\":");
        json::escape_into(out, self.code.as_str());
        out.extend_from_slice(b",\"message\":");
        json::escape_into(out, &self.message);
        out.push(b'}');
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_index_of_a_code_is_its_place_in_the_list() {
        for (index, code) in RefusalCode::ALL.into_iter().enumerate() {
            assert_eq!(code.index(), index);
        }
    }

    #[test]
    fn a_refusal_says_what_and_why() {
        let refusal = Refusal::new(RefusalCode::NotAMember, "not a \"member\"\r\nof it");
        let response = refusal.response("access-control-allow-origin: https://a.example\r\n");
        let response = std::str::from_utf8(&response).unwrap();
        let (head, body) = response.split_once("\r\n\r\n").unwrap();
        assert_eq!(
            head.lines().collect::<Vec<_>>(),
            [
                "HTTP/1.1 403 Forbidden",
                "content-type: application/json",
                "cache-control: no-store",
                "vary: origin, cookie",
                "access-control-allow-origin: https://a.example",
                "content-length: 71",
                "connection: close",
            ]
        );
        let body: serde_json::Value = serde_json::from_str(body).unwrap();
        let message = "not a \"member\"\r\nof it";
        let expected = serde_json::json!({"error": {"code": "not_a_member", "message": message}});
        assert_eq!(body, expected);
    }

    #[test]
    fn what_passes_says_when_to_come_back() {
        for code in RefusalCode::ALL {
            let response = Refusal::new(code, "").response("");
            let response = String::from_utf8(response.to_vec()).unwrap();
            assert_eq!(
                response.contains("\r\nretry-after: "),
                code.is_temporary(),
                "{code:?}"
            );
            assert_eq!(
                response.contains("\r\nwww-authenticate: "),
                code.status() == 401
            );
        }
    }

    #[test]
    fn a_soft_refusal_is_a_whole_event_stream() {
        let refusal = Refusal::new(RefusalCode::Draining, "the node stops");
        let id = "ab.1.90002e8.1".parse().ok();
        let response = refusal.soft_response("", 1_234, id);
        let response = std::str::from_utf8(&response).unwrap();
        let (head, body) = response.split_once("\r\n\r\n").unwrap();
        assert!(head.starts_with("HTTP/1.1 200 OK\r\ncontent-type: text/event-stream"));
        assert_eq!(
            body,
            "retry: 1234\n\nevent: refused\nid: ab.1.90002e8.1\n\
             data: {\"code\":\"draining\",\"message\":\"the node stops\"}\n\n"
        );
    }
}
