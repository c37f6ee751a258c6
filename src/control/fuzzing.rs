//! The body of the fuzz target for whole requests, as far as they are judged before anybody is asked:
//! what a stranger writes is refused with one whole answer, or understood within its bounds. How the
//! bytes become a request is `wire`'s target `head`.

use std::net::IpAddr;
use std::sync::OnceLock;

use bytes::Bytes;
use wire::Purpose;
use wire::http::{Head, QUERY_NAMES_MAX, Request};

use super::request::{Answered, Circumstances, Manner, Wanted};
use super::{address, history, renew, request, subscription};
use crate::config::{Config, Environment};

/// The boot of the node, which names of streams begin with, and how many engines it has.
const BOOT: u32 = 0xb007;
const ENGINES: usize = 2;

/// A node that pages of two origins may ask, behind a proxy.
const CONFIGURATION: &str = r#"
[database]
url = "postgresql://app@localhost/app"
[http]
allowed_origins = ["https://app.example", "http://localhost:*"]
trusted_proxies = ["10.0.0.0/8"]
[keys]
service = "a-service-key-0123456789"
[auth]
secret = "0123456789abcdef0123456789abcdef"
[membership]
none = true
"#;

/// A whole request on every path that judges one.
pub(crate) fn judge(input: &[u8]) {
    let Ok(Some(head)) = Head::parse(input) else {
        return;
    };
    let body = head.len_bytes()..head.len_bytes() + head.body_bytes();
    let Some(body) = input.get(body) else {
        return;
    };
    let body = Bytes::copy_from_slice(body);
    let request = Request { head, body };
    let config = config();
    for peer in [
        None,
        Some(IpAddr::from([10, 0, 0, 1])),
        Some(IpAddr::from([192, 0, 2, 1])),
    ] {
        judge_from(&request, peer, config);
    }
}

fn judge_from(request: &Request, peer: Option<IpAddr>, config: &Config) {
    let head = &request.head;
    let address = address::client_address(head, peer, &config.http.trusted_proxies);
    assert_eq!(address.is_some(), peer.is_some());
    let circumstances = || Circumstances {
        config,
        closed: None,
        jitter: 7,
    };
    for stream in &config.streams {
        let judged = request::judge(head, peer, stream, circumstances());
        check_wanted(judged.map(|(_, wanted)| wanted));
    }
    check_wanted(history::judge(head, peer, circumstances()).map(|(_, wanted)| wanted));
    let changed = subscription::judge(request, peer, config, BOOT, ENGINES);
    check_manner(changed.map(|(_, change)| change.manner));
    let renewed = renew::judge(request, peer, config, BOOT, ENGINES);
    check_manner(renewed.map(|renewal| renewal.manner));
}

fn check_wanted(judged: Result<Wanted, Answered>) {
    let manner = judged.map(|wanted| {
        assert!(wanted.channels.len() <= QUERY_NAMES_MAX);
        assert!(wanted.types.len() <= QUERY_NAMES_MAX);
        if let Purpose::Page(page) = wanted.purpose {
            assert!((1..=500).contains(&page.limit) && page.wait_ms <= 60_000);
        }
        wanted.manner
    });
    check_manner(manner);
}

fn check_manner(judged: Result<Manner, Answered>) {
    match judged {
        Ok(manner) => check_fields(manner.fields.as_str()),
        Err((response, _)) => check_response(&response),
    }
}

/// One response: its head ends where it says so, and its body is as long as it says.
fn check_response(response: &[u8]) {
    let text = std::str::from_utf8(response).expect("an answer is UTF-8");
    let (head, body) = text.split_once("\r\n\r\n").expect("a head ends");
    let (first, fields) = head.split_once("\r\n").unwrap_or((head, ""));
    let status = first
        .strip_prefix("HTTP/1.1 ")
        .and_then(|rest| rest.get(..3));
    let status: u16 = status.and_then(|it| it.parse().ok()).expect("a status");
    check_fields(fields);
    let said = |line: &str| line.strip_prefix("content-length: ")?.parse::<usize>().ok();
    let length = fields.lines().find_map(said);
    match status {
        204 => assert!(body.is_empty() && length.is_none()),
        // A soft refusal is a stream, which ends with its connection.
        200 => assert!(length.is_none() && body.ends_with("\n\n")),
        400..=599 => assert_eq!(length, Some(body.len())),
        _ => panic!("nobody answers {status}"),
    }
}

fn check_fields(fields: &str) {
    for line in fields.split_terminator("\r\n") {
        let (name, value) = line.split_once(": ").expect("a field is a line");
        assert!(!name.is_empty() && name.bytes().all(|it| it.is_ascii_lowercase() || it == b'-'));
        assert!(!value.contains(|it: char| it.is_control() && it != '\t'));
    }
}

fn config() -> &'static Config {
    static CONFIG: OnceLock<Config> = OnceLock::new();
    CONFIG.get_or_init(|| {
        let config = Config::from_text(CONFIGURATION, &Environment::default());
        config.unwrap_or_else(|error| panic!("{error}"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_corpus_finds_nothing() {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/fuzz/corpus/request");
        let mut understood = 0;
        let mut count = 0;
        for entry in std::fs::read_dir(folder).unwrap() {
            let input = std::fs::read(entry.unwrap().path()).unwrap();
            judge(&input);
            count += 1;
            understood += usize::from(is_understood(&input));
        }
        // Seeds that are all refused lead a fuzzer nowhere.
        assert!(count >= 12 && understood >= 5, "{understood} of {count}");
    }

    fn is_understood(input: &[u8]) -> bool {
        let Ok(Some(head)) = Head::parse(input) else {
            return false;
        };
        let body = Bytes::copy_from_slice(&input[head.len_bytes()..]);
        let request = Request { head, body };
        let circumstances = Circumstances {
            config: config(),
            closed: None,
            jitter: 0,
        };
        request::judge(&request.head, None, &config().streams[0], circumstances).is_ok()
            || subscription::judge(&request, None, config(), BOOT, ENGINES).is_ok()
            || renew::judge(&request, None, config(), BOOT, ENGINES).is_ok()
    }
}
