//! Whom the streams are opened with, and how each asks: the request of every stream.

use std::net::{Ipv4Addr, SocketAddr};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hmac::{Hmac, KeyInit as _, Mac as _};
use serde::{Deserialize, Serialize};
use sha2::Sha256;

use crate::layout::Layout;

/// When sessions end, in seconds since 1970: in the year 2100.
const EXPIRY: u64 = 4_102_444_800;

/// A server, and how its streams are asked for.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub struct Target {
    /// Where it listens.
    pub address: SocketAddr,
    /// What is asked for. `{organization}` becomes the number of the stream's organisation, `{user}`
    /// that of the stream, and `{offset}` the place of [`Resume::Offset`].
    pub path: String,
    /// Fields of the request beside `host` and `accept`, a whole line each, with the same words.
    pub headers: Vec<String>,
    /// How the stream's user is known.
    pub session: Option<Session>,
    /// Which organisation a stream belongs to.
    pub layout: Layout,
    /// The addresses that streams are opened from, in turn; see [`sources`]. Empty: whichever the
    /// kernel takes, with no more than its range of ports.
    pub sources: Vec<Ipv4Addr>,
    /// How a stream that comes back says where it was.
    pub resume: Resume,
    /// Whether a stream that the server ends is opened again, as a browser would.
    pub reopens: bool,
    /// How many requests may be without an answer at a time: no more than the listener's queue
    /// holds, since what it drops is only tried again after a second.
    pub unanswered_max: u32,
    /// How long the reader sleeps when nothing has arrived, before it looks again. Zero: it waits in
    /// the kernel and is woken by the first segment, which makes the sender pay for the waking.
    pub tick_microseconds: u64,
}

/// How a user is known.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Session {
    /// A bearer's token, signed with this secret (HS256), whose `sub` is `u` and the stream's number.
    Hs256 {
        /// The secret.
        secret: String,
    },
    /// A cookie of this name, whose value is `token-of-session-` and the stream's number.
    Row {
        /// The name.
        cookie: String,
    },
}

/// How a stream that comes back says where it was.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Resume {
    /// It cannot.
    Never,
    /// By `Last-Event-ID`, from the `id:` of the last event.
    LastEventId,
    /// By `{offset}` in the path.
    Offset {
        /// The name of the JSON field in the stream that says the place after what was sent.
        field: String,
        /// The place with which a stream begins.
        first: String,
    },
}

impl Target {
    /// A server at this address whose streams are open to all, with one organisation for all
    /// streams: what a caller then changes.
    pub fn new(address: SocketAddr, path: impl Into<String>) -> Self {
        Self {
            address,
            path: path.into(),
            headers: Vec::new(),
            session: None,
            layout: Layout::Equal {
                streams_per_organisation: u32::MAX,
            },
            sources: Vec::new(),
            resume: Resume::Never,
            reopens: false,
            unanswered_max: 100,
            tick_microseconds: 1000,
        }
    }

    /// The request of a stream that was last at this place.
    pub fn request(&self, stream: u32, place: Option<&str>) -> String {
        let offset = match &self.resume {
            Resume::Offset { first, .. } => place.unwrap_or(first),
            Resume::Never | Resume::LastEventId => "",
        };
        let fill = |text: &str| {
            let organisation = self.layout.organisation(stream).to_string();
            text.replace("{organization}", &organisation)
                .replace("{user}", &stream.to_string())
                .replace("{offset}", offset)
        };
        let mut request = format!(
            "GET {} HTTP/1.1\r\nhost: localhost\r\naccept: text/event-stream\r\n",
            fill(&self.path)
        );
        for line in &self.headers {
            request.push_str(&fill(line));
            request.push_str("\r\n");
        }
        if let Some(session) = &self.session {
            request.push_str(&session.field(stream));
        }
        if let (Resume::LastEventId, Some(place)) = (&self.resume, place) {
            request.push_str("last-event-id: ");
            request.push_str(place);
            request.push_str("\r\n");
        }
        request.push_str("\r\n");
        request
    }

    /// The address that a stream is opened from.
    pub fn source(&self, stream: u32) -> Option<Ipv4Addr> {
        let count = u32::try_from(self.sources.len()).ok()?;
        let place = stream.checked_rem(count)?;
        self.sources.get(place as usize).copied()
    }
}

impl Session {
    /// The field of a request of this stream's user, with the end of its line.
    fn field(&self, stream: u32) -> String {
        match self {
            Self::Hs256 { secret } => {
                format!("authorization: Bearer {}\r\n", token(stream, secret))
            }
            Self::Row { cookie } => format!("cookie: {cookie}=token-of-session-{stream}\r\n"),
        }
    }
}

/// So many addresses of loopback: each has the whole range of ports for itself.
pub fn sources(count: u8) -> Vec<Ipv4Addr> {
    (1..=count)
        .map(|last| Ipv4Addr::new(127, 0, 1, last))
        .collect()
}

/// A JSON web token of the user with this number.
fn token(user: u32, secret: &str) -> String {
    let claims = format!(r#"{{"sub":"u{user}","iat":1700000000,"exp":{EXPIRY},"jti":"{user}"}}"#);
    let encode = |bytes: &[u8]| URL_SAFE_NO_PAD.encode(bytes);
    let head = encode(br#"{"alg":"HS256","typ":"JWT"}"#);
    let signed = format!("{head}.{}", encode(claims.as_bytes()));
    let mac = Hmac::<Sha256>::new_from_slice(secret.as_bytes());
    let mut mac = mac.expect("a key of any length will do");
    mac.update(signed.as_bytes());
    let signature = encode(&mac.finalize().into_bytes());
    format!("{signed}.{signature}")
}

#[cfg(test)]
mod tests {
    use super::{Resume, Session, Target, sources, token};
    use crate::layout::Layout;

    fn target() -> Target {
        let address = "127.0.0.1:80".parse().unwrap();
        let mut target = Target::new(
            address,
            "/stream?organizationId=o{organization}&user=u{user}",
        );
        target.layout = Layout::Equal {
            streams_per_organisation: 10,
        };
        target
    }

    #[test]
    fn a_request_names_the_organisation_and_the_user() {
        assert_eq!(
            target().request(25, None),
            "GET /stream?organizationId=o2&user=u25 HTTP/1.1\r\nhost: localhost\r\n\
             accept: text/event-stream\r\n\r\n"
        );
    }

    #[test]
    fn who_comes_back_says_where_it_was() {
        let mut target = target();
        assert!(!target.request(0, Some("7")).contains('7'));
        target.resume = Resume::LastEventId;
        assert!(
            target
                .request(0, Some("7"))
                .ends_with("\r\nlast-event-id: 7\r\n\r\n")
        );
        assert!(!target.request(0, None).contains("last-event-id"));
        target.resume = Resume::Offset {
            field: "streamNextOffset".to_owned(),
            first: "now".to_owned(),
        };
        target.path = "/o{organization}?offset={offset}&live=sse".to_owned();
        assert!(
            target
                .request(0, None)
                .starts_with("GET /o0?offset=now&live=sse HTTP/1.1\r\n")
        );
        assert!(
            target
                .request(0, Some("3_4"))
                .starts_with("GET /o0?offset=3_4&live=sse ")
        );
    }

    #[test]
    fn a_session_is_in_the_request() {
        let mut target = target();
        target.headers = vec!["origin: http://o{organization}.localhost".to_owned()];
        target.session = Some(Session::Row {
            cookie: "session".to_owned(),
        });
        assert!(target.request(12, None).ends_with(
            "\r\norigin: http://o1.localhost\r\ncookie: session=token-of-session-12\r\n\r\n"
        ));
    }

    /// Signed by another implementation: Python's `hmac` and `base64`.
    #[test]
    fn a_token_is_signed_as_rfc_7515_says() {
        assert_eq!(token(7, "a secret of thirty-two bytes, or"), EXPECTED);
    }

    const EXPECTED: &str = "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9.\
        eyJzdWIiOiJ1NyIsImlhdCI6MTcwMDAwMDAwMCwiZXhwIjo0MTAyNDQ0ODAwLCJqdGkiOiI3In0.\
        KsHZF5P2b-1PA8l1DtJ77jZH3jox7FQUUHuJhrpSf6I";

    #[test]
    fn sources_are_distinct_and_taken_in_turn() {
        let mut target = target();
        assert_eq!(target.source(3), None);
        target.sources = sources(4);
        assert_eq!(target.source(5), Some("127.0.1.2".parse().unwrap()));
        assert_eq!(target.source(5), target.source(1));
    }

    #[test]
    fn a_target_travels_as_json() {
        let target = target();
        let text = serde_json::to_string(&target).unwrap();
        assert_eq!(serde_json::from_str::<Target>(&text).unwrap(), target);
    }
}
