//! A request for a stream, judged as far as it can be without asking anybody: from a head to what is
//! wanted and by whom, or to an answer. Pure: time is an argument, and nothing is counted here.

use std::net::IpAddr;

use auth::cookie;
use wire::http::{Fields, Head, Method, OriginVerdict, Query, Refusal, RefusalCode, response};
use wire::{EventId, Filter, Name, Resume, TypePattern};

use super::address;
use crate::config::{Config, Stream};

/// What one stream path makes of a request.
pub(super) enum Judged {
    /// A stream is wanted.
    Wanted(Box<Wanted>),
    /// The answer is known: of a preflight, or a refusal. The code is for the count.
    Answer(bytes::Bytes, Option<RefusalCode>),
}

/// A request for a stream that is in order.
pub(super) struct Wanted {
    /// Who asks.
    pub(super) caller: Caller,
    /// The organisation that is named.
    pub(super) organization: Option<String>,
    /// The channels that are named.
    pub(super) channels: Vec<Name>,
    /// The types that are named.
    pub(super) types: Vec<TypePattern>,
    /// From where to go on.
    pub(super) resume: Resume,
    /// How to answer.
    pub(super) manner: Manner,
}

/// Who asks.
pub(super) enum Caller {
    /// A server of the application, by its key.
    Service,
    /// A user, by a session.
    User(auth::Identity),
}

/// How a request is answered: the same fields whatever is said, and softly or not.
#[derive(Clone)]
pub(super) struct Manner {
    /// CORS fields.
    pub(super) fields: Fields,
    /// The shape of the stream.
    pub(super) format: wire::Format,
    /// Whether a temporary refusal is a short event stream with status 200.
    pub(super) is_soft: bool,
    /// The client's id, where it was well formed, for a soft refusal.
    pub(super) last_event_id: Option<EventId>,
}

impl Manner {
    /// A refusal, written: softly where it passes by itself and the client is a native
    /// `EventSource`. `jitter` spreads the times at which clients come back.
    pub(super) fn refuse(&self, refusal: &Refusal, jitter: u32) -> bytes::Bytes {
        match refusal.code.retry_ms().filter(|_| self.is_soft) {
            Some((least_ms, greatest_ms)) => {
                let retry_ms = least_ms + jitter % (greatest_ms - least_ms + 1);
                refusal.soft_response(self.fields.as_str(), retry_ms, self.last_event_id)
            }
            None => refusal.response(self.fields.as_str()),
        }
    }
}

impl Wanted {
    /// The filter of somebody with these roles.
    pub(super) fn filter(&self, roles: Vec<Name>) -> Filter {
        Filter::new(self.channels.clone(), self.types.clone(), roles)
    }
}

/// What a request is judged by, beside itself.
pub(super) struct Circumstances<'a> {
    pub(super) config: &'a Config,
    /// Why no stream can be opened for now.
    pub(super) closed: Option<Refusal>,
    /// Milliseconds since 1970.
    pub(super) now_ms: u64,
    /// A random number, by which clients come back at different times.
    pub(super) jitter: u32,
}

/// Judges a request for the stream path `stream`. The origin comes before any look at a session: a
/// page from elsewhere must not even learn whether there is one.
pub(super) fn judge(
    head: &Head,
    peer: Option<IpAddr>,
    stream: &Stream,
    circumstances: Circumstances<'_>,
) -> Judged {
    let Circumstances {
        config,
        closed,
        now_ms,
        jitter,
    } = circumstances;
    let proxies = &config.http.trusted_proxies;
    let host = address::forwarded_host(head, peer, proxies);
    let origin = config.http.origins.judge(head, host);
    if let Some(refusal) = origin.refusal() {
        return Judged::Answer(refusal.response(""), Some(refusal.code));
    }
    match head.method() {
        Method::Get => {}
        Method::Options => return preflight(&origin),
        _ => return wrong_method(&origin),
    }
    let mut manner = Manner {
        fields: origin.fields(),
        format: stream.format,
        is_soft: stream.soft_refusal && head.field("x-tailrace-client").is_none(),
        last_event_id: None,
    };
    let wanted = parse(head, &mut manner)
        .and_then(|parameters| closed.map_or(Ok(parameters), Err))
        .and_then(|parameters| Ok((identify(head, config, now_ms)?, parameters)));
    match wanted {
        Ok((caller, parameters)) => Judged::Wanted(Box::new(Wanted {
            caller,
            organization: parameters.organization,
            channels: parameters.channels,
            types: parameters.types,
            resume: parameters.resume,
            manner,
        })),
        Err(refusal) => Judged::Answer(manner.refuse(&refusal, jitter), Some(refusal.code)),
    }
}

struct Parameters {
    organization: Option<String>,
    channels: Vec<Name>,
    types: Vec<TypePattern>,
    resume: Resume,
}

fn parse(head: &Head, manner: &mut Manner) -> Result<Parameters, Refusal> {
    let query = Query::parse(head.query()).map_err(|error| error.refusal())?;
    // The header is the newer of the two: a browser keeps the URL, and its parameter, for ever.
    let id = match head.field("last-event-id").filter(|id| !id.is_empty()) {
        Some(id) => Some(id),
        None => query.text("lastEventId").map_err(|error| error.refusal())?,
    };
    let resume = match id.filter(|id| !id.is_empty()).map(str::parse) {
        None => Resume::Live,
        Some(Ok(id)) => Resume::After(id),
        Some(Err(_)) => Resume::Unknown,
    };
    if let Resume::After(id) = resume {
        manner.last_event_id = Some(id);
    }
    let organization = query
        .text_or_alias("organizationId", "tenantId")
        .map_err(|error| error.refusal())?
        .filter(|organization| !organization.is_empty());
    Ok(Parameters {
        organization: organization.map(str::to_owned),
        channels: query.names("channel").map_err(|error| error.refusal())?,
        types: query.patterns("type").map_err(|error| error.refusal())?,
        resume,
    })
}

/// Who asks: by `Authorization: Bearer` (RFC 6750, 2.1), else by the session cookie.
fn identify(head: &Head, config: &Config, now_ms: u64) -> Result<Caller, Refusal> {
    // Another scheme is not for us: a proxy in front of a test site may ask for `Basic`.
    let bearer = head.field("authorization").and_then(|value| {
        let (scheme, token) = value.split_once(' ')?;
        scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
    });
    if let (Some(token), Some(key)) = (bearer, &config.keys.service)
        && key.matches(token)
    {
        return Ok(Caller::Service);
    }
    let fields: Vec<&str> = head.fields("cookie").collect();
    let token = bearer.or_else(|| cookie::find(fields.iter().copied(), &config.auth.cookie));
    let Some(token) = token else {
        let message = format!(
            "no session: neither a cookie {:?} nor an Authorization header came with the request",
            config.auth.cookie
        );
        return Err(Refusal::new(RefusalCode::Unauthenticated, message));
    };
    let identity = config.auth.policy.identify(token, now_ms);
    identity
        .map(Caller::User)
        .map_err(|error| Refusal::new(RefusalCode::Unauthenticated, error.to_string()))
}

fn preflight(origin: &OriginVerdict<'_>) -> Judged {
    Judged::Answer(response(204, origin.preflight_fields().as_str(), &[]), None)
}

fn wrong_method(origin: &OriginVerdict<'_>) -> Judged {
    let mut fields = origin.fields();
    fields.push("allow", "GET, OPTIONS");
    let refusal = Refusal::new(
        RefusalCode::MethodNotAllowed,
        "a stream is asked for with GET",
    );
    Judged::Answer(refusal.response(fields.as_str()), Some(refusal.code))
}

#[cfg(test)]
mod tests {
    use auth::{Secret, jwt};
    use wire::http::Version;

    use super::*;
    use crate::config::Environment;

    const NOW_MS: u64 = 1_800_000_000_000;
    const SECRET: &str = "0123456789abcdef0123456789abcdef";

    fn config() -> Config {
        let text = format!(
            "[database]\nurl = \"postgres://h/d\"\n[auth]\nsecret = \"{SECRET}\"\n\
             [membership]\ntable = \"Member\"\n[keys]\nservice = \"service-key-of-16\"\n\
             [http]\nallowed_origins = [\"https://good.example\"]\n"
        );
        Config::from_text(&text, &Environment::default())
            .map_err(|error| error.to_string())
            .unwrap()
    }

    fn session() -> String {
        let claims = serde_json::json!({"sub": "ada", "exp": NOW_MS / 1000 + 60});
        jwt::sign_hs256(claims.as_object().unwrap(), &Secret::new(SECRET))
    }

    fn judged(request_line: &str, fields: &str, closed: Option<Refusal>) -> Judged {
        let text = format!("{request_line}\r\nHost: app.example\r\n{fields}\r\n");
        let head = Head::parse(text.as_bytes()).unwrap().unwrap();
        assert_eq!(head.version(), Version::Http11);
        let config = config();
        let circumstances = Circumstances {
            config: &config,
            closed,
            now_ms: NOW_MS,
            jitter: 1_234_567,
        };
        judge(&head, None, &config.streams[0], circumstances)
    }

    fn wanted(query: &str, fields: &str) -> Box<Wanted> {
        let fields = format!("Cookie: session={}\r\n{fields}", session());
        match judged(
            &format!("GET /api/realtime/stream?{query} HTTP/1.1"),
            &fields,
            None,
        ) {
            Judged::Wanted(wanted) => wanted,
            Judged::Answer(answer, _) => panic!("{}", String::from_utf8_lossy(&answer)),
        }
    }

    /// The first line of the answer, and the whole of it.
    fn answer(request_line: &str, fields: &str, closed: Option<Refusal>) -> (String, String) {
        match judged(request_line, fields, closed) {
            Judged::Wanted(_) => panic!("{request_line:?} is in order"),
            Judged::Answer(answer, _) => {
                let text = String::from_utf8(answer.to_vec()).unwrap();
                (text.lines().next().unwrap().to_owned(), text)
            }
        }
    }

    const GET: &str = "GET /api/realtime/stream?organizationId=acme HTTP/1.1";

    #[test]
    fn a_session_in_the_cookie_or_as_a_bearer_is_a_user() {
        let by_cookie = wanted("organizationId=acme&channel=a,b&type=x.*", "");
        assert_eq!(by_cookie.organization.as_deref(), Some("acme"));
        assert_eq!((by_cookie.channels.len(), by_cookie.types.len()), (2, 1));
        assert!(matches!(&by_cookie.caller, Caller::User(user) if user.user == "ada"));
        let bearer = format!("Authorization: bearer {}\r\n", session());
        assert!(matches!(judged(GET, &bearer, None), Judged::Wanted(_)));
        let basic = "Authorization: Basic eDp5\r\n";
        assert!(
            matches!(wanted("", basic).caller, Caller::User(_)),
            "the cookie counts"
        );
        assert_eq!(
            wanted("tenantId=acme", "").organization.as_deref(),
            Some("acme")
        );
    }

    #[test]
    fn the_service_key_is_a_server() {
        let Judged::Wanted(wanted) =
            judged(GET, "Authorization: Bearer service-key-of-16\r\n", None)
        else {
            panic!("refused");
        };
        assert!(matches!(wanted.caller, Caller::Service));
    }

    #[test]
    fn without_a_session_there_is_a_401_that_says_what_is_missing() {
        let (status, text) = answer(GET, "", None);
        assert_eq!(status, "HTTP/1.1 401 Unauthorized");
        assert!(text.contains("neither a cookie \\\"session\\\""), "{text}");
        let forged = answer(GET, "Authorization: Bearer service-key-of-17\r\n", None);
        assert_eq!(forged.0, "HTTP/1.1 401 Unauthorized");
    }

    #[test]
    fn the_header_counts_more_than_the_parameter_of_the_url() {
        let after = |text: &str| Resume::After(text.parse().unwrap());
        assert_eq!(wanted("", "").resume, Resume::Live);
        assert_eq!(wanted("lastEventId=1.1.2.3", "").resume, after("1.1.2.3"));
        let both = wanted("lastEventId=1.1.2.3", "Last-Event-ID: 1.1.9.9\r\n");
        assert_eq!(both.resume, after("1.1.9.9"));
        assert_eq!(wanted("lastEventId=nonsense", "").resume, Resume::Unknown);
        assert_eq!(wanted("lastEventId=", "").resume, Resume::Live);
    }

    #[test]
    fn a_foreign_page_is_refused_before_its_session_is_looked_at() {
        let (status, text) = answer(GET, "Origin: https://evil.example\r\n", None);
        assert_eq!(status, "HTTP/1.1 403 Forbidden");
        assert!(text.contains("http.allowed_origins"), "{text}");
        assert!(!text.contains("access-control-allow-origin"), "{text}");
        let (status, text) = answer(GET, "Origin: https://good.example\r\n", None);
        assert_eq!(status, "HTTP/1.1 401 Unauthorized");
        assert!(
            text.contains("access-control-allow-origin: https://good.example\r\n"),
            "{text}"
        );
    }

    #[test]
    fn other_methods_are_answered_without_a_session() {
        let line = |method: &str| format!("{method} /api/realtime/stream HTTP/1.1");
        let origin = "Origin: https://good.example\r\n";
        let (status, text) = answer(&line("OPTIONS"), origin, None);
        assert_eq!(status, "HTTP/1.1 204 No Content");
        assert!(text.contains("access-control-allow-methods: "), "{text}");
        let (status, text) = answer(&line("DELETE"), "", None);
        assert_eq!(status, "HTTP/1.1 405 Method Not Allowed");
        assert!(text.contains("\r\nallow: GET, OPTIONS\r\n"), "{text}");
    }

    #[test]
    fn what_passes_by_itself_is_refused_softly_unless_the_client_asks_for_the_status() {
        let draining = || Some(Refusal::new(RefusalCode::Draining, "the node stops"));
        let fields = "Last-Event-ID: 1.1.2.3\r\n";
        let (status, text) = answer(GET, fields, draining());
        assert_eq!(status, "HTTP/1.1 200 OK");
        assert!(text.contains("event: refused\nid: 1.1.2.3\n"), "{text}");
        let retry = text
            .split("retry: ")
            .nth(1)
            .unwrap()
            .lines()
            .next()
            .unwrap();
        assert!(
            (1_000..=10_000).contains(&retry.parse().unwrap()),
            "{retry}"
        );
        let (status, text) = answer(GET, "X-Tailrace-Client: 1\r\n", draining());
        assert_eq!(status, "HTTP/1.1 503 Service Unavailable");
        assert!(text.contains("\r\nretry-after: "), "{text}");
    }

    #[test]
    fn a_broken_parameter_is_a_400_whatever_else() {
        let draining = Some(Refusal::new(RefusalCode::Draining, "the node stops"));
        for query in [
            "organizationId=a&tenantId=b",
            "channel=%zz",
            "channel=a%22b",
            "type=a&type=%",
        ] {
            let line = format!("GET /api/realtime/stream?{query} HTTP/1.1");
            let (status, _) = answer(&line, "", draining.clone());
            assert_eq!(status, "HTTP/1.1 400 Bad Request", "{query}");
        }
    }
}
