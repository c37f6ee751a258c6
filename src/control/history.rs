//! `GET /api/realtime/history`: one page of what happened. Pure: from a request to what is wanted and by
//! whose credentials, or to an answer; the engine that got the request reads the page.

use std::net::IpAddr;

use wire::http::{Head, Method, Query, Refusal, RefusalCode};
use wire::{EventId, PageRequest, PageSince, Purpose, Resume};

use super::iso8601;
use super::request::{
    Answered, Caller, Circumstances, Manner, Wanted, caller, organization, origin, preflight,
    wrong_method,
};

/// Where it is asked for.
pub(super) const PATH: &str = "/api/realtime/history";

/// The events of a page where no limit is named: what a page shows that opens.
const LIMIT: u16 = 50;

/// The most events of a page.
const LIMIT_MAX: u16 = 500;

/// The longest wait for the first event, in seconds: proxies give up after a minute or so.
const WAIT_S_MAX: u64 = 60;

/// Judges a request for a page. The origin comes before any look at a session.
///
/// # Errors
///
/// The answer, where there is no page to be read.
pub(super) fn judge(
    head: &Head,
    peer: Option<IpAddr>,
    circumstances: Circumstances<'_>,
) -> Result<(Caller, Wanted), Answered> {
    let Circumstances {
        config,
        closed,
        jitter: _,
    } = circumstances;
    let origin = origin(head, peer, config)?;
    match head.method() {
        Method::Get => {}
        Method::Options => return Err(preflight(&origin)),
        _ => {
            let message = "history is asked for with GET";
            return Err(wrong_method(&origin, "GET, OPTIONS", message));
        }
    }
    let manner = Manner::plain(origin.fields());
    let wanted = parse(head, &manner)
        .and_then(|wanted| closed.map_or(Ok(wanted), Err))
        .and_then(|wanted| Ok((caller(head, config)?, wanted)));
    wanted.map_err(|refusal| (refusal.response(manner.fields.as_str()), Some(refusal.code)))
}

fn parse(head: &Head, manner: &Manner) -> Result<Wanted, Refusal> {
    let query = Query::parse(head.query()).map_err(|error| error.refusal())?;
    let organization = organization(&query)?;
    let since = query.text("since").map_err(|error| error.refusal())?;
    let limit = query
        .number("limit", LIMIT_MAX.into())
        .map_err(|error| error.refusal())?
        .map_or(LIMIT, |limit| limit as u16);
    if limit == 0 {
        let message = format!("limit is a number of events, from 1 to {LIMIT_MAX}");
        return Err(Refusal::new(RefusalCode::InvalidParameter, message));
    }
    let wait_s = query
        .number("wait", WAIT_S_MAX)
        .map_err(|error| error.refusal())?;
    let request = PageRequest {
        since: since_of(since.unwrap_or_default())?,
        limit,
        wait_ms: wait_s.unwrap_or_default() as u32 * 1_000,
    };
    Ok(Wanted {
        organization,
        channels: query.names("channel").map_err(|error| error.refusal())?,
        types: query.patterns("type").map_err(|error| error.refusal())?,
        resume: Resume::Live,
        purpose: Purpose::Page(request),
        takes_oldest: false,
        manner: manner.clone(),
    })
}

/// An event id, milliseconds since 1970, or a time as ISO 8601 has it; nothing is the newest.
fn since_of(text: &str) -> Result<PageSince, Refusal> {
    if text.is_empty() {
        return Ok(PageSince::Newest);
    }
    if let Ok(id) = text.parse::<EventId>() {
        return Ok(PageSince::After(id));
    }
    let ms = if text.bytes().all(|byte| byte.is_ascii_digit()) {
        text.parse().ok()
    } else {
        iso8601::milliseconds(text)
    };
    ms.map(PageSince::At).ok_or_else(|| {
        let message = "since is an event id, milliseconds since 1970, or a time such as \
                       2026-01-31T12:00:00Z";
        Refusal::new(RefusalCode::InvalidParameter, message)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Config, Environment};

    fn judged(query: &str, fields: &str) -> Result<Wanted, String> {
        let text = "[database]\nurl = \"postgres://h/d\"\n[keys]\nservice = \"service-key-of-16\"\n\
                    [http]\nallowed_origins = [\"https://good.example\"]\n";
        let config = Config::from_text(text, &Environment::default())
            .map_err(|error| error.to_string())
            .unwrap();
        let text = format!("GET {PATH}?{query} HTTP/1.1\r\nHost: app.example\r\n{fields}\r\n");
        let head = Head::parse(text.as_bytes()).unwrap().unwrap();
        let circumstances = Circumstances {
            config: &config,
            closed: None,
            jitter: 0,
        };
        judge(&head, None, circumstances)
            .map(|(_, wanted)| wanted)
            .map_err(|(answer, _)| {
                let text = String::from_utf8(answer.to_vec()).unwrap();
                text.lines().next().unwrap_or_default().to_owned()
            })
    }

    fn page(query: &str) -> PageRequest {
        match judged(query, "").unwrap().purpose {
            Purpose::Page(page) => page,
            Purpose::Stream => panic!("a stream"),
        }
    }

    #[test]
    fn a_page_begins_at_an_id_or_a_time_or_ends_with_the_newest() {
        let since = |text: &str| page(&format!("organizationId=a&since={text}")).since;
        let id = "ab.1.90002e8.1".parse().unwrap();
        assert_eq!(since("ab.1.90002e8.1"), PageSince::After(id));
        assert_eq!(since("1700000000123"), PageSince::At(1_700_000_000_123));
        assert_eq!(
            since("2023-11-14T22:13:20.123Z"),
            PageSince::At(1_700_000_000_123)
        );
        assert_eq!(since(""), PageSince::Newest);
        assert_eq!(page("").since, PageSince::Newest);
        assert_eq!((page("").limit, page("").wait_ms), (50, 0));
        let asked = page("limit=7&wait=25");
        assert_eq!((asked.limit, asked.wait_ms), (7, 25_000));
    }

    #[test]
    fn what_is_none_of_these_is_refused() {
        for query in [
            "since=yesterday",
            "since=1.2.3",
            "since=99999999999999999999",
            "limit=0",
            "limit=501",
            "limit=-1",
            "wait=61",
            "channel=%22",
        ] {
            let status = judged(query, "").err();
            let expected = Some("HTTP/1.1 400 Bad Request");
            assert_eq!(status.as_deref(), expected, "{query}");
        }
        let evil = judged("", "Origin: https://evil.example\r\n").err();
        assert_eq!(evil.as_deref(), Some("HTTP/1.1 403 Forbidden"));
    }

    #[test]
    fn a_page_of_an_admitted_origin_sees_the_verdict() {
        let fields = "Origin: https://good.example\r\n";
        let wanted = judged("", fields).unwrap();
        assert!(
            wanted
                .manner
                .fields
                .as_str()
                .contains("x-tailrace-position")
        );
        assert!(
            !judged("", "")
                .unwrap()
                .manner
                .fields
                .as_str()
                .contains("expose")
        );
    }
}
