//! A request for a stream, judged as far as it can be without asking anybody: from a head to what is
//! wanted and by whose credentials, or to an answer. Pure: nothing is asked, kept or counted here, and
//! no session is looked at.

use std::net::IpAddr;

use wire::http::{Fields, Head, Method, OriginVerdict, Query, Refusal, RefusalCode, response};
use wire::{EventId, Filter, Name, Purpose, Resume, TypePattern};

use super::address;
use crate::config::{Config, Stream};

/// An answer: of a preflight, or a refusal. The code is for the count.
pub(super) type Answered = (bytes::Bytes, Option<RefusalCode>);

/// A request for a stream or a page of history that is in order.
#[derive(Debug)]
pub(super) struct Wanted {
    /// The organisation that is named.
    pub(super) organization: Option<String>,
    /// The channels that are named.
    pub(super) channels: Vec<Name>,
    /// The types that are named.
    pub(super) types: Vec<TypePattern>,
    /// From where to go on.
    pub(super) resume: Resume,
    /// What is wanted of all this.
    pub(super) purpose: Purpose,
    /// Whether, at the limit of its user, it takes the place of the oldest stream.
    pub(super) takes_oldest: bool,
    /// How to answer.
    pub(super) manner: Manner,
}

/// Who asks, as far as a head can say it.
pub(super) enum Caller {
    /// A server of the application, by its key.
    Service,
    /// Whoever these belong to.
    User(Credentials),
}

/// What a browser brings along to prove who it is. It cannot be shown.
pub(super) struct Credentials {
    /// The `Cookie` fields, in their order, as one.
    pub(super) cookies: String,
    /// The token of `Authorization: Bearer` (RFC 6750, 2.1).
    pub(super) bearer: Option<String>,
}

/// How a request is answered: the same fields whatever is said, and softly or not.
#[derive(Clone, Debug)]
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
    /// The manner of what is no stream: every refusal has its true status.
    pub(super) fn plain(fields: Fields) -> Self {
        Self {
            fields,
            format: wire::Format::Event,
            is_soft: false,
            last_event_id: None,
        }
    }

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
) -> Result<(Caller, Wanted), Answered> {
    let Circumstances {
        config,
        closed,
        jitter,
    } = circumstances;
    let origin = origin(head, peer, config)?;
    match head.method() {
        Method::Get => {}
        Method::Options => return Err(preflight(&origin)),
        _ => {
            let message = "a stream is asked for with GET";
            return Err(wrong_method(
                &origin,
                "GET, POST, PUT, DELETE, OPTIONS",
                message,
            ));
        }
    }
    let is_ours = head.field("x-tailrace-client").is_some();
    let mut manner = Manner {
        fields: origin.fields(),
        format: stream.format,
        is_soft: stream.soft_refusal && !is_ours,
        last_event_id: None,
    };
    let wanted = parse(head, &mut manner)
        .and_then(|parameters| closed.map_or(Ok(parameters), Err))
        .and_then(|parameters| Ok((caller(head, config)?, parameters)));
    let (caller, parameters) =
        wanted.map_err(|refusal| (manner.refuse(&refusal, jitter), Some(refusal.code)))?;
    let wanted = Wanted {
        organization: parameters.organization,
        channels: parameters.channels,
        types: parameters.types,
        resume: parameters.resume,
        purpose: Purpose::Stream,
        takes_oldest: stream.close_oldest || config.limits.close_oldest && is_ours,
        manner,
    };
    Ok((caller, wanted))
}

/// Judges where a request comes from. Before anything else, for whatever a page may ask.
pub(super) fn origin<'a>(
    head: &'a Head,
    peer: Option<IpAddr>,
    config: &Config,
) -> Result<OriginVerdict<'a>, Answered> {
    let proxies = &config.http.trusted_proxies;
    let host = address::forwarded_host(head, peer, proxies);
    let origin = config.http.origins.judge(head, host);
    match origin.refusal() {
        None => Ok(origin),
        Some(refusal) => Err((refusal.response(""), Some(refusal.code))),
    }
}

/// Who asks: a key that may read, else whatever credentials there are.
///
/// # Errors
///
/// The refusal of a key that may do something else.
pub(super) fn caller(head: &Head, config: &Config) -> Result<Caller, Refusal> {
    // Another scheme is not for us: a proxy in front of a test site may ask for `Basic`.
    let bearer = head.field("authorization").and_then(|value| {
        let (scheme, token) = value.split_once(' ')?;
        scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
    });
    match bearer.and_then(|token| config.keys.rights_of(token)) {
        Some(rights) if rights.read => return Ok(Caller::Service),
        Some(_) => {
            let message = "this key may not read: add \"read\" to its rights, or use another";
            return Err(Refusal::new(RefusalCode::Forbidden, message));
        }
        None => {}
    }
    Ok(Caller::User(Credentials {
        // HTTP/2 proxies split the header into several fields (RFC 9113, 8.2.3).
        cookies: head.fields("cookie").collect::<Vec<_>>().join("; "),
        bearer: bearer.map(str::to_owned),
    }))
}

/// The answer to a preflight.
pub(super) fn preflight(origin: &OriginVerdict<'_>) -> Answered {
    (response(204, origin.preflight_fields().as_str(), &[]), None)
}

/// The answer to a method that a path does not have.
pub(super) fn wrong_method(
    origin: &OriginVerdict<'_>,
    allow: &str,
    message: &'static str,
) -> Answered {
    let mut fields = origin.fields();
    fields.push("allow", allow);
    let refusal = Refusal::new(RefusalCode::MethodNotAllowed, message);
    (refusal.response(fields.as_str()), Some(refusal.code))
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
    Ok(Parameters {
        organization: organization(&query)?,
        channels: query.names("channel").map_err(|error| error.refusal())?,
        types: query.patterns("type").map_err(|error| error.refusal())?,
        resume,
    })
}

/// The organisation that a request names, by either name of the parameter; an empty one is none.
pub(super) fn organization(query: &Query) -> Result<Option<String>, Refusal> {
    let named = query
        .text_or_alias("organizationId", "tenantId")
        .map_err(|error| error.refusal())?;
    Ok(named.filter(|name| !name.is_empty()).map(str::to_owned))
}

#[cfg(test)]
mod tests {
    use wire::http::Version;

    use super::*;
    use crate::config::Environment;

    const SECRET: &str = "0123456789abcdef0123456789abcdef";

    fn config() -> Config {
        let text = format!(
            "[database]\nurl = \"postgres://h/d\"\n[auth]\nsecret = \"{SECRET}\"\n\
             [membership]\ntable = \"Member\"\n[keys]\nservice = \"service-key-of-16\"\nadmin = \"operators-key-of-18\"\n\
             [http]\nallowed_origins = [\"https://good.example\"]\n\
             [limits]\nclose_oldest = true\n"
        );
        Config::from_text(&text, &Environment::default())
            .map_err(|error| error.to_string())
            .unwrap()
    }

    fn judged(
        request_line: &str,
        fields: &str,
        closed: Option<Refusal>,
    ) -> Result<(Caller, Wanted), Answered> {
        let text = format!("{request_line}\r\nHost: app.example\r\n{fields}\r\n");
        let head = Head::parse(text.as_bytes()).unwrap().unwrap();
        assert_eq!(head.version(), Version::Http11);
        let config = config();
        let circumstances = Circumstances {
            config: &config,
            closed,
            jitter: 1_234_567,
        };
        judge(&head, None, &config.streams[0], circumstances)
    }

    fn wanted(query: &str, fields: &str) -> (Caller, Wanted) {
        let line = format!("GET /api/realtime/stream?{query} HTTP/1.1");
        judged(&line, fields, None)
            .unwrap_or_else(|(answer, _)| panic!("{}", String::from_utf8_lossy(&answer)))
    }

    fn credentials(fields: &str) -> Credentials {
        match wanted("", fields).0 {
            Caller::User(credentials) => credentials,
            Caller::Service => panic!("no user"),
        }
    }

    /// The first line of the answer, and the whole of it.
    fn answer(request_line: &str, fields: &str, closed: Option<Refusal>) -> (String, String) {
        match judged(request_line, fields, closed) {
            Ok(_) => panic!("{request_line:?} is in order"),
            Err((answer, _)) => {
                let text = String::from_utf8(answer.to_vec()).unwrap();
                (text.lines().next().unwrap().to_owned(), text)
            }
        }
    }

    const GET: &str = "GET /api/realtime/stream?organizationId=acme HTTP/1.1";

    #[test]
    fn what_is_wanted_is_read_from_the_url() {
        let (_, wanted_of) = wanted("organizationId=acme&channel=a,b&type=x.*", "");
        assert_eq!(wanted_of.organization.as_deref(), Some("acme"));
        assert_eq!((wanted_of.channels.len(), wanted_of.types.len()), (2, 1));
        let (_, alias) = wanted("tenantId=acme", "");
        assert_eq!(alias.organization.as_deref(), Some("acme"));
    }

    #[test]
    fn cookies_are_one_and_only_bearers_are_tokens() {
        let both = credentials("Cookie: a=1\r\nAuthorization: bearer t.o.k\r\nCookie: b=2\r\n");
        assert_eq!(both.cookies, "a=1; b=2");
        assert_eq!(both.bearer.as_deref(), Some("t.o.k"));
        let basic = credentials("Authorization: Basic eDp5\r\n");
        assert_eq!((basic.cookies.as_str(), basic.bearer), ("", None));
    }

    #[test]
    fn the_service_key_is_a_server_and_another_key_is_not() {
        let bearer = |key: &str| format!("Authorization: Bearer {key}\r\n");
        let (caller, _) = wanted("", &bearer("service-key-of-16"));
        assert!(matches!(caller, Caller::Service));
        let unknown = credentials(&bearer("service-key-of-17"));
        assert_eq!(unknown.bearer.as_deref(), Some("service-key-of-17"));
        let (status, text) = answer(GET, &bearer("operators-key-of-18"), None);
        assert_eq!(status, "HTTP/1.1 403 Forbidden");
        assert!(text.contains("may not read"), "{text}");
    }

    #[test]
    fn only_who_understands_it_takes_the_oldest_place() {
        assert!(!wanted("", "").1.takes_oldest);
        assert!(wanted("", "X-Tailrace-Client: 1\r\n").1.takes_oldest);
    }

    #[test]
    fn the_header_counts_more_than_the_parameter_of_the_url() {
        let after = |text: &str| Resume::After(text.parse().unwrap());
        assert_eq!(wanted("", "").1.resume, Resume::Live);
        assert_eq!(wanted("lastEventId=1.1.2.3", "").1.resume, after("1.1.2.3"));
        let both = wanted("lastEventId=1.1.2.3", "Last-Event-ID: 1.1.9.9\r\n");
        assert_eq!(both.1.resume, after("1.1.9.9"));
        assert_eq!(wanted("lastEventId=nonsense", "").1.resume, Resume::Unknown);
        assert_eq!(wanted("lastEventId=", "").1.resume, Resume::Live);
    }

    #[test]
    fn an_id_that_is_none_of_ours_is_unknown_and_never_taken_for_no_id() {
        let long = "a".repeat(8_000);
        let lists = "1.1.1.1,".repeat(1_000);
        for id in [
            "nonsense",
            "null",
            "undefined",
            "0",
            "-1",
            "1700000000000",
            "1.1.1",
            "1.1.1.1.1",
            "1.1.1.",
            ".1.1.1",
            "1..1.1",
            "...",
            "1.1.1.1, 1.1.1.2",
            "1.1.1.1 2",
            "01.1.1.1",
            "+1.1.1.1",
            "-1.1.1.1",
            "0x1.1.1.1",
            "A.1.1.1",
            "g.1.1.1",
            "1.1.1.1\t.",
            "%31.1.1.1",
            "1.1.1.1%00",
            "100000000.1.1.1",
            "1.100000000.1.1",
            "1.1.10000000000000000.1",
            "1.1.1.100000000",
            "{\"id\":1}",
            "'; DROP TABLE events; --",
            "é.1.1.1",
            "１.1.1.1",
            "0/16B3748",
            &long,
            &lists,
        ] {
            let field = wanted("", &format!("Last-Event-ID: {id}\r\n"));
            assert_eq!(field.1.resume, Resume::Unknown, "{id:.100}");
            // Where it is unknown, the parameter of the URL does not stand in for it.
            let both = wanted("lastEventId=1.1.2.3", &format!("Last-Event-ID: {id}\r\n"));
            assert_eq!(both.1.resume, Resume::Unknown, "{id:.100}");
        }
        for id in [
            "nonsense",
            "1.1.1",
            "%C3%A9",
            "01.1.1.1",
            "1.1.1.1%20",
            "+1.1.1.1",
        ] {
            let parameter = wanted(&format!("lastEventId={id}"), "");
            assert_eq!(parameter.1.resume, Resume::Unknown, "{id}");
        }
        // The ends of what an id can say are ids; whether there is anything at them is not decided here.
        for id in ["0.0.0.0", "ffffffff.ffffffff.ffffffffffffffff.ffffffff"] {
            let field = wanted("", &format!("Last-Event-ID: {id}\r\n"));
            assert_eq!(field.1.resume, Resume::After(id.parse().unwrap()));
        }
    }

    #[test]
    fn an_id_that_cannot_be_read_in_one_way_is_a_400() {
        for query in [
            "lastEventId=1.1.1.1&lastEventId=1.1.1.1",
            "lastEventId=%00",
            "lastEventId=%0a",
        ] {
            let line = format!("GET /api/realtime/stream?{query} HTTP/1.1");
            let (status, _) = answer(&line, "", None);
            assert_eq!(status, "HTTP/1.1 400 Bad Request", "{query}");
        }
    }

    #[test]
    fn ranges_conditions_and_codings_make_no_other_stream() {
        let fields = "Range: bytes=0-1\r\nIf-None-Match: *\r\nIf-Modified-Since: Sat, 21 Nov 2026 00:00:00 GMT\r\n\
                      Accept-Encoding: gzip, br\r\nUpgrade: websocket\r\nConnection: upgrade\r\n";
        let (_, plain) = wanted("organizationId=acme", "");
        let (_, wanted) = wanted("organizationId=acme", fields);
        assert_eq!(wanted.manner.fields, plain.manner.fields);
        assert_eq!(
            (wanted.resume, wanted.purpose),
            (Resume::Live, plain.purpose)
        );
    }

    #[test]
    fn a_foreign_page_is_refused_before_its_session_is_looked_at() {
        let (status, text) = answer(GET, "Origin: https://evil.example\r\n", None);
        assert_eq!(status, "HTTP/1.1 403 Forbidden");
        assert!(text.contains("http.allowed_origins"), "{text}");
        assert!(!text.contains("access-control-allow-origin"), "{text}");
        let fields = "Origin: https://good.example\r\nX-Tailrace-Client: 1\r\n";
        let draining = Some(Refusal::new(RefusalCode::Draining, "the node stops"));
        let (status, text) = answer(GET, fields, draining);
        assert_eq!(status, "HTTP/1.1 503 Service Unavailable");
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
        assert!(
            text.contains("\r\nallow: GET, POST, PUT, DELETE, OPTIONS\r\n"),
            "{text}"
        );
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
