//! Requests from bytes and what they are answered, for the servers without a framework. Sockets are
//! each server's own.

use bytes::Bytes;

use crate::Organisations;

/// The answer to whoever published.
const PUBLISHED: &[u8] = b"HTTP/1.1 204 No Content\r\n\r\n";

/// The longest request, head and body, in bytes.
const REQUEST_BYTES_MAX: usize = 1024 * 1024;

/// What comes after the answers.
#[derive(Debug, PartialEq, Eq)]
pub enum Then {
    /// More is read.
    Read,
    /// The connection ends.
    Close,
    /// It becomes the stream of this organisation.
    Stream(String),
}

/// Does what the whole requests at the beginning of a buffer ask for, takes them from it, and returns
/// the answers to them.
pub fn answer(requests: &mut Vec<u8>, organisations: &Organisations) -> (Vec<u8>, Then) {
    let (mut answers, mut done) = (Vec::new(), 0);
    let then = loop {
        match parse(&requests[done..]) {
            Parsed::Whole(Request::Stream { organisation }, _) => break Then::Stream(organisation),
            Parsed::Whole(Request::Publish(publication), length) => {
                organisations.publish(publication.organisation.as_deref(), &publication.events);
                answers.extend_from_slice(PUBLISHED);
                done += length;
                if publication.close {
                    break Then::Close;
                }
            }
            Parsed::Partial if requests.len() - done <= REQUEST_BYTES_MAX => break Then::Read,
            Parsed::Partial | Parsed::Wrong => break Then::Close,
        }
    };
    requests.drain(..done);
    (answers, then)
}

/// What a client wants.
#[derive(Debug, PartialEq, Eq)]
enum Request {
    /// The stream of an organisation, or of the one without a name.
    Stream {
        organisation: String,
    },
    Publish(Publication),
}

/// Event blocks for the streams of an organisation, or of all of them.
#[derive(Debug, PartialEq, Eq)]
struct Publication {
    organisation: Option<String>,
    events: Bytes,
    /// Whether the client wants the connection closed after the answer.
    close: bool,
}

/// What the bytes at the beginning of a buffer are.
#[derive(Debug, PartialEq, Eq)]
enum Parsed {
    /// A whole request, and how many bytes it took.
    Whole(Request, usize),
    /// The beginning of one.
    Partial,
    /// Nothing that can be answered.
    Wrong,
}

/// Reads a request from what arrived.
fn parse(bytes: &[u8]) -> Parsed {
    let mut fields = [httparse::EMPTY_HEADER; 32];
    let mut head = httparse::Request::new(&mut fields);
    match head.parse(bytes) {
        Ok(httparse::Status::Complete(body_start)) => {
            read(&head, bytes, body_start).unwrap_or(Parsed::Wrong)
        }
        Ok(httparse::Status::Partial) => Parsed::Partial,
        Err(_) => Parsed::Wrong,
    }
}

/// Reads the rest of a request of which the head is whole.
fn read(head: &httparse::Request<'_, '_>, bytes: &[u8], body_start: usize) -> Option<Parsed> {
    let organisation = organisation(head.path?);
    if head.method == Some("GET") {
        let organisation = organisation.unwrap_or_default();
        return Some(Parsed::Whole(Request::Stream { organisation }, body_start));
    }
    let length: usize = field(head, "content-length")?.parse().ok()?;
    let end = body_start.checked_add(length)?;
    let Some(body) = bytes.get(body_start..end) else {
        return Some(Parsed::Partial);
    };
    let publication = Publication {
        organisation,
        events: Bytes::copy_from_slice(body),
        close: field(head, "connection").is_some_and(|value| value.eq_ignore_ascii_case("close")),
    };
    Some(Parsed::Whole(Request::Publish(publication), end))
}

/// The organisation that a request names, as it is written there: names here need no encoding.
fn organisation(path: &str) -> Option<String> {
    let (_, query) = path.split_once('?')?;
    let mut parameters = query
        .split('&')
        .filter_map(|parameter| parameter.split_once('='));
    let (_, value) = parameters.find(|(name, _)| *name == "organizationId")?;
    Some(value.to_owned())
}

fn field<'a>(head: &httparse::Request<'_, 'a>, name: &str) -> Option<&'a str> {
    let mut fields = head.headers.iter();
    let field = fields.find(|field| field.name.eq_ignore_ascii_case(name))?;
    std::str::from_utf8(field.value).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stream_is_of_the_organisation_in_the_query() {
        let bytes = b"GET /stream?user=u1&organizationId=o1 HTTP/1.1\r\nhost: a\r\n\r\n";
        let organisation = "o1".to_owned();
        assert_eq!(
            parse(bytes),
            Parsed::Whole(Request::Stream { organisation }, bytes.len())
        );
    }

    #[test]
    fn requests_that_arrive_together_are_answered_one_after_the_other() {
        let organisations = Organisations::default();
        let mut events = organisations.subscribe("o1");
        let one = b"POST /publish?organizationId=o1 HTTP/1.1\r\ncontent-length: 2\r\n\r\nab";
        let beginning = b"POST /publish";
        let mut requests = [&one[..], &one[..], &beginning[..]].concat();
        let (answers, then) = answer(&mut requests, &organisations);
        assert_eq!((answers, then), ([PUBLISHED; 2].concat(), Then::Read));
        assert_eq!(requests, beginning);
        assert_eq!(events.try_recv().as_deref(), Ok(&b"ab"[..]));
        assert_eq!(events.try_recv().as_deref(), Ok(&b"ab"[..]));
        assert!(events.try_recv().is_err());
    }

    #[test]
    fn a_connection_ends_where_its_client_wants_it() {
        let organisations = Organisations::default();
        let mut events = organisations.subscribe("");
        let mut requests =
            b"POST / HTTP/1.1\r\nconnection: close\r\ncontent-length: 1\r\n\r\na".to_vec();
        let (answers, then) = answer(&mut requests, &organisations);
        assert_eq!((answers.as_slice(), then), (PUBLISHED, Then::Close));
        assert_eq!(events.try_recv().as_deref(), Ok(&b"a"[..]));
    }

    #[test]
    fn a_request_without_its_end_is_waited_for() {
        let bytes = b"POST /publish HTTP/1.1\r\ncontent-length: 2\r\n\r\nab";
        for end in 0..bytes.len() {
            assert_eq!(parse(&bytes[..end]), Parsed::Partial, "{end} bytes");
        }
    }

    #[test]
    fn what_is_no_request_is_wrong() {
        assert_eq!(parse(b"\0\0\0\0"), Parsed::Wrong);
        assert_eq!(parse(b"POST / HTTP/1.1\r\n\r\n"), Parsed::Wrong);
    }
}
