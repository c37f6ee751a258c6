//! Tests of request heads: what is read, what is refused with which error, and that no way of
//! cutting the input changes either.

mod inputs;

use super::*;
use inputs::{BAD, inputs};

/// What became of an input: a head in a form that can be compared, or an error, or nothing yet.
#[derive(Debug, PartialEq, Eq)]
enum Seen {
    Head(Vec<String>),
    Error(HeadError),
    More,
}

fn seen(result: Result<Option<Head>, HeadError>) -> Seen {
    match result {
        Ok(None) => Seen::More,
        Err(error) => Seen::Error(error),
        Ok(Some(head)) => {
            let mut parts = vec![
                format!(
                    "{:?} {:?} {} ? {}",
                    head.method(),
                    head.version(),
                    head.path(),
                    head.query()
                ),
                format!("{} + {}", head.len_bytes(), head.body_bytes()),
            ];
            parts.extend(
                head.all_fields()
                    .map(|(name, value)| format!("{name}={value}")),
            );
            Seen::Head(parts)
        }
    }
}

fn whole(input: &[u8]) -> Seen {
    seen(Head::parse(input))
}

/// The verdict on an input that arrives in pieces: the first that is not "more".
fn in_pieces(input: &[u8], ends: impl IntoIterator<Item = usize>) -> Seen {
    let mut scan = HeadScan::default();
    for end in ends {
        match seen(scan.advance(&input[..end])) {
            Seen::More => {}
            verdict => return verdict,
        }
    }
    Seen::More
}

fn error(input: impl AsRef<[u8]>) -> HeadError {
    match whole(input.as_ref()) {
        Seen::Error(error) => error,
        other => panic!("{:?}: {other:?}", String::from_utf8_lossy(input.as_ref())),
    }
}

fn head(input: impl AsRef<[u8]>) -> Head {
    Head::parse(input.as_ref()).unwrap().unwrap()
}

/// A request with these fields after a good `Host`.
fn with_fields(fields: &str) -> String {
    format!("GET / HTTP/1.1\r\nHost: a\r\n{fields}\r\n")
}

/// A request with this first line.
fn with_line(line: &str) -> String {
    format!("{line}\r\nHost: a\r\n\r\n")
}

#[test]
fn reads_a_request_to_its_blank_line() {
    let text = "POST /a/b?c=d?e HTTP/1.1\r\nHost: x\r\nCookie: a=1\r\ncookie: b=2\r\n\
                Content-Length: 4\r\nExpect: 100-Continue\r\nX-Tail: \t y \t\r\n\r\nbody";
    let head = head(text);
    assert_eq!(head.method(), Method::Post);
    assert_eq!((head.path(), head.query()), ("/a/b", "c=d?e"));
    assert_eq!(head.version(), Version::Http11);
    assert_eq!(head.len_bytes(), text.len() - 4);
    assert_eq!(head.body_bytes(), 4);
    assert!(head.expects_continue());
    assert_eq!(head.field("x-tail"), Some("y"));
    assert_eq!(head.field("cookie"), Some("a=1"));
    assert_eq!(head.fields("cookie").collect::<Vec<_>>(), ["a=1", "b=2"]);
    assert_eq!(head.field("missing"), None);
}

#[test]
fn reads_every_form_of_target() {
    let parts = |line: &str| {
        let head = head(with_line(line));
        (head.path().to_owned(), head.query().to_owned())
    };
    let pair = |path: &str, query: &str| (path.to_owned(), query.to_owned());
    assert_eq!(
        parts("GET /a%00b//..;/?{}|\\^`[] HTTP/1.1"),
        pair("/a%00b//..;/", "{}|\\^`[]")
    );
    assert_eq!(parts("OPTIONS * HTTP/1.1"), pair("*", ""));
    assert_eq!(parts("GET HTTP://a HTTP/1.1"), pair("/", ""));
    assert_eq!(parts("GET https://a?b HTTP/1.1"), pair("/", "b"));
    assert_eq!(parts("GET http://A/b?c HTTP/1.1"), pair("/b", "c"));
}

#[test]
fn refuses_what_could_be_read_in_two_ways() {
    for (text, expected) in BAD {
        assert_eq!(error(text), *expected, "{text:?}");
    }
    assert_eq!(error(b"\x16\x03\x01"), HeadError::Tls);
}

#[test]
fn every_cut_gives_the_same_verdict() {
    for input in inputs() {
        let verdict = whole(&input);
        let shown = String::from_utf8_lossy(&input);
        assert_ne!(verdict, Seen::More, "{shown:?}");
        assert_eq!(
            in_pieces(&input, 0..=input.len()),
            verdict,
            "{shown:?} byte by byte"
        );
        for cut in 0..input.len() {
            assert_eq!(
                in_pieces(&input, [cut, input.len()]),
                verdict,
                "{shown:?} cut at {cut}"
            );
            let first = whole(&input[..cut]);
            assert!(
                first == Seen::More || first == verdict,
                "{shown:?} ends at {cut}"
            );
        }
    }
}

#[test]
fn every_cut_around_a_limit_gives_the_same_verdict() {
    for (input, expected) in around_the_limits() {
        let verdict = whole(&input);
        assert_eq!(verdict_code(&verdict), expected, "{} bytes", input.len());
        assert_eq!(in_pieces(&input, 0..=input.len()), verdict);
        let near_end = input.len().saturating_sub(200)..input.len();
        for cut in near_end.chain((0..input.len()).step_by(1021)) {
            assert_eq!(
                in_pieces(&input, [cut, input.len()]),
                verdict,
                "cut at {cut}"
            );
        }
    }
}

fn verdict_code(verdict: &Seen) -> Option<HeadError> {
    match verdict {
        Seen::Head(_) => None,
        Seen::Error(error) => Some(*error),
        Seen::More => panic!("the input is whole"),
    }
}

/// Inputs just within and just beyond each limit, with what is wrong with them.
fn around_the_limits() -> Vec<(Vec<u8>, Option<HeadError>)> {
    let request_line = |bytes: usize| {
        let target = "a".repeat(bytes - "GET / HTTP/1.1".len());
        with_line(&format!("GET /{target} HTTP/1.1"))
    };
    let fields = |count: usize| with_fields(&"A: b\r\n".repeat(count - 1));
    // A head of this many bytes before its blank line, the rest of it in a field of this name.
    let sized = |name: &str, bytes: usize| {
        let filler = bytes - with_fields(&format!("{name}: \r\n")).len() + 2;
        with_fields(&format!("{name}: {}\r\n", "x".repeat(filler)))
    };
    // The same, with the last bytes in a field that is shorter than the word `Cookie:`.
    let ends_short = |bytes: usize| {
        let long = sized("Filler", bytes - "A: b\r\n".len());
        long.replace("\r\n\r\n", "\r\nA: b\r\n\r\n")
    };
    // The same, with a cookie after the last byte that counts.
    let then_cookie = |bytes: usize| {
        let full = sized("Filler", bytes);
        full.replace("\r\n\r\n", "\r\nCookie: a=b\r\n\r\n")
    };
    let (head, all) = (HEAD_BYTES_MAX, HEAD_WITH_COOKIES_BYTES_MAX);
    let too_large = Some(HeadError::TooLarge);
    let cases = [
        (request_line(REQUEST_LINE_BYTES_MAX), None),
        (
            request_line(REQUEST_LINE_BYTES_MAX + 1),
            Some(HeadError::LineTooLong),
        ),
        (fields(FIELDS_MAX), None),
        (fields(FIELDS_MAX + 1), Some(HeadError::TooManyFields)),
        (sized("Filler", head), None),
        (sized("Filler", head + 1), too_large),
        (sized("Filler", head + 500), too_large),
        (ends_short(head), None),
        (ends_short(head + 1), too_large),
        (then_cookie(head), None),
        (then_cookie(head + 1), too_large),
        (sized("Cookie", head + 1), None),
        (sized("cOOKIE", all - 2), None),
        (sized("Cookie", all + 1), too_large),
        (sized("Cookie", all + 500), too_large),
        (sized("Cookies", head + 1), too_large),
    ];
    let as_bytes = |(text, error): (String, _)| (text.into_bytes(), error);
    cases.into_iter().map(as_bytes).collect()
}

#[test]
fn cookies_do_not_hide_other_fields_from_their_limit() {
    let cookies = format!("Cookie: {}\r\n", "c".repeat(40_000));
    let filler = |bytes| format!("X: {}\r\n", "x".repeat(bytes));
    assert!(Head::parse(with_fields(&(cookies.clone() + &filler(16_000))).as_bytes()).is_ok());
    assert_eq!(
        error(with_fields(&(cookies + &filler(16_384)))),
        HeadError::TooLarge
    );
}

#[test]
fn endless_input_is_refused_before_it_ends() {
    assert_eq!(
        error(vec![b'a'; REQUEST_LINE_BYTES_MAX + 1]),
        HeadError::LineTooLong
    );
    let endless = format!("GET / HTTP/1.1\r\nA: {}", "a".repeat(HEAD_BYTES_MAX));
    assert_eq!(error(endless), HeadError::TooLarge);
    let endless = format!("GET / HTTP/1.1\r\nCookie: {}", "a".repeat(64 * 1024));
    assert_eq!(error(endless), HeadError::TooLarge);
}

#[test]
fn a_value_that_is_not_utf8_stays_in_its_place() {
    let head = head(
        b"GET / HTTP/1.1\r\nHost: a\r\nA: \xe9t\xe9\r\nB: \xc3\xa9\r\nLast-Event-ID: \xff\r\n\r\n",
    );
    assert_eq!(head.field("a"), Some("?t?"));
    assert_eq!(head.field("b"), Some("é"));
    assert_eq!(head.field("last-event-id"), Some("?"));
}

#[test]
fn a_host_may_be_missing_in_http_1_0_only() {
    assert_eq!(head("GET / HTTP/1.0\r\n\r\n").version(), Version::Http10);
    assert_eq!(error("GET / HTTP/1.1\r\n\r\n"), HeadError::HostMissing);
}

#[test]
fn nobody_is_asked_to_continue_without_a_body_or_in_http_1_0() {
    let expects = |text: &str| head(text).expects_continue();
    assert!(!expects(
        "POST / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\n\r\n"
    ));
    assert!(!expects(
        "POST / HTTP/1.0\r\nContent-Length: 1\r\nExpect: 100-continue\r\n\r\n"
    ));
    assert!(!expects(
        "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nExpect: x\r\n\r\n"
    ));
}

#[test]
fn a_body_may_be_as_long_as_its_limit() {
    let length = |digits: &str| {
        head(format!(
            "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: {digits}\r\n\r\n"
        ))
        .body_bytes()
    };
    assert_eq!(length("0"), 0);
    assert_eq!(length("65536"), BODY_BYTES_MAX);
    assert_eq!(length("0000000000000000000000005"), 5);
}

#[test]
fn what_is_printed_of_a_request_is_no_secret() {
    let head = head("POST /x?token=s3cret HTTP/1.1\r\nHost: a\r\nCookie: s3cret\r\n\r\n");
    let request = Request {
        head,
        body: Bytes::from_static(b"s3cret"),
    };
    let printed = format!("{request:?}");
    assert!(
        printed.contains("/x") && !printed.contains("s3cret"),
        "{printed}"
    );
}

#[test]
fn every_error_has_its_status() {
    let status = |error: HeadError| error.refusal().code.status();
    let expected = [
        (HeadError::LineTooLong, 414),
        (HeadError::MethodUnknown, 501),
        (HeadError::VersionUnknown, 505),
        (HeadError::TooLarge, 431),
        (HeadError::TooManyFields, 431),
        (HeadError::LengthRequired, 411),
        (HeadError::TransferEncoding, 400),
        (HeadError::BodyTooLarge, 413),
        (HeadError::HostMissing, 400),
        (HeadError::BareLineFeed, 400),
    ];
    for (error, code) in expected {
        assert_eq!(status(error), code, "{error:?}");
    }
}
