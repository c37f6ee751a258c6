//! Publishing: requests come in, as many as a publisher sends ahead, and each becomes a transaction.

use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

use driver::Port;

use crate::commits::Commits;

const PUBLISHED: &[u8] = b"HTTP/1.1 204 No Content\r\n\r\n";

const READ_BYTES: usize = 64 * 1024;

/// Serves publishers, each on a thread of its own, until the process is killed.
pub(crate) fn run(listener: &TcpListener, ports: &[Port], commits: Commits) {
    // The order of the transactions is that in which they are handed over.
    let commits = Arc::new(Mutex::new(commits));
    loop {
        let Ok((publisher, _)) = listener.accept() else {
            continue;
        };
        let (ports, commits) = (ports.to_vec(), Arc::clone(&commits));
        std::thread::spawn(move || {
            // A publisher that breaks off has said all that it had to.
            let _ = serve(publisher, &ports, &commits);
        });
    }
}

fn serve(
    mut publisher: TcpStream,
    ports: &[Port],
    commits: &Mutex<Commits>,
) -> std::io::Result<()> {
    publisher.set_nodelay(true)?;
    let mut buffer = vec![0; READ_BYTES];
    let mut input = Vec::new();
    loop {
        let taken = publisher.read(&mut buffer)?;
        if taken == 0 {
            return Ok(());
        }
        input.extend_from_slice(&buffer[..taken]);
        let mut done = 0;
        let mut responses = Vec::new();
        while let Some((request, len)) = parse(&input[done..])? {
            match request {
                Request::Metrics => responses.extend(crate::metrics::response(ports)),
                Request::Publish(organisation, body) => {
                    let mut commits = commits.lock().expect("no publisher's thread panics");
                    for batch in commits.commit(organisation, texts(body)) {
                        crate::hand_over(ports, &batch);
                    }
                    responses.extend_from_slice(PUBLISHED);
                }
            }
            done += len;
        }
        input.drain(..done);
        publisher.write_all(&responses)?;
    }
}

/// What is asked for.
#[derive(Debug, PartialEq, Eq)]
enum Request<'a> {
    Metrics,
    /// The organisation, where one is named, and the body.
    Publish(Option<&'a str>, &'a [u8]),
}

/// The request at the beginning and its length, where it is there as a whole.
fn parse(bytes: &[u8]) -> std::io::Result<Option<(Request<'_>, usize)>> {
    let unknown = || std::io::Error::other("no request of a publisher");
    let mut fields = [httparse::EMPTY_HEADER; 32];
    let mut head = httparse::Request::new(&mut fields);
    let status = head.parse(bytes).map_err(std::io::Error::other)?;
    let httparse::Status::Complete(head_bytes) = status else {
        return Ok(None);
    };
    if head.method == Some("GET") && head.path == Some("/metrics") {
        return Ok(Some((Request::Metrics, head_bytes)));
    }
    let length = head
        .headers
        .iter()
        .find(|field| field.name.eq_ignore_ascii_case("content-length"))
        .and_then(|field| std::str::from_utf8(field.value).ok()?.trim().parse().ok());
    let end: Option<usize> = length.and_then(|length: usize| length.checked_add(head_bytes));
    let end = end.ok_or_else(unknown)?;
    let query = head.path.and_then(|path| path.split_once('?'));
    let organisation = query.and_then(|(_, query)| {
        let mut pairs = query.split('&');
        pairs.find_map(|pair| pair.strip_prefix("organizationId="))
    });
    let body = bytes.get(head_bytes..end);
    Ok(body.map(|body| (Request::Publish(organisation, body), end)))
}

/// The data of each SSE block of a body.
fn texts(body: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut rest = body;
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        let end = memchr::memmem::find(rest, b"\n\n").unwrap_or(rest.len());
        let block = &rest[..end];
        rest = &rest[(end + 2).min(rest.len())..];
        Some(block.strip_prefix(b"data: ").unwrap_or(block))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_is_taken_when_it_is_whole_and_its_blocks_are_events() {
        let request = b"POST /publish?organizationId=o3 HTTP/1.1\r\nContent-Length: 18\r\n\r\n\
                        data: 1\n\ndata: 2\n\nPOST";
        let (publish, len) = parse(request).unwrap().unwrap();
        let Request::Publish(Some("o3"), body) = publish else {
            panic!("{publish:?}")
        };
        assert_eq!(&request[len..], b"POST");
        assert!(parse(&request[..len - 1]).unwrap().is_none());
        let blocks: Vec<&[u8]> = texts(body).collect();
        assert_eq!(blocks, [b"1", b"2"]);

        let request = b"GET /metrics HTTP/1.1\r\nHost: a\r\n\r\n";
        let expected = (Request::Metrics, request.len());
        assert_eq!(parse(request).unwrap(), Some(expected));
    }
}
