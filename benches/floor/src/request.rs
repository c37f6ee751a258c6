//! Requests, as the swarm and its publishers write them.

/// A request that has arrived whole.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Request<'a> {
    /// Somebody wants the stream of an organisation.
    Stream { organisation: &'a str },
    /// Events for one organisation, or for all.
    Publish {
        organisation: Option<&'a str>,
        body: &'a [u8],
    },
}

/// Something else than a request that this server knows.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Unknown;

/// Reads the first request of the bytes, with its length; `Ok(None)` where more is to come.
pub(crate) fn parse(bytes: &[u8]) -> Result<Option<(Request<'_>, usize)>, Unknown> {
    let mut fields = [httparse::EMPTY_HEADER; 32];
    let mut head = httparse::Request::new(&mut fields);
    let head_bytes = match head.parse(bytes) {
        Ok(httparse::Status::Complete(len)) => len,
        Ok(httparse::Status::Partial) => return Ok(None),
        Err(_) => return Err(Unknown),
    };
    let path = head.path.ok_or(Unknown)?;
    let organisation = organisation_of(path);
    match head.method {
        Some("GET") => {
            let organisation = organisation.ok_or(Unknown)?;
            Ok(Some((Request::Stream { organisation }, head_bytes)))
        }
        Some("POST") => {
            let body_bytes = content_length(head.headers).ok_or(Unknown)?;
            let end = head_bytes.checked_add(body_bytes).ok_or(Unknown)?;
            let body = bytes.get(head_bytes..end);
            Ok(body.map(|body| (Request::Publish { organisation, body }, end)))
        }
        _ => Err(Unknown),
    }
}

fn organisation_of(path: &str) -> Option<&str> {
    let (_, query) = path.split_once('?')?;
    query
        .split('&')
        .find_map(|pair| pair.strip_prefix("organizationId="))
}

fn content_length(fields: &[httparse::Header<'_>]) -> Option<usize> {
    let field = fields
        .iter()
        .find(|field| field.name.eq_ignore_ascii_case("content-length"))?;
    std::str::from_utf8(field.value).ok()?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_are_read_one_after_the_other_and_wait_for_their_end() {
        let bytes = b"POST /publish?organizationId=o7 HTTP/1.1\r\ncontent-length: 9\r\n\r\n\
                      data: x\n\nGET /stream?organizationId=o1&user=u2 HTTP/1.1\r\n\r\n";
        let (first, len) = parse(bytes).unwrap().unwrap();
        let body = b"data: x\n\n".as_slice();
        let organisation = Some("o7");
        assert_eq!(first, Request::Publish { organisation, body });
        assert_eq!(parse(&bytes[..len - 1]), Ok(None));
        let (second, rest) = parse(&bytes[len..]).unwrap().unwrap();
        assert_eq!(second, Request::Stream { organisation: "o1" });
        assert_eq!(len + rest, bytes.len());
        assert_eq!(parse(b"PUT / HTTP/1.1\r\n\r\n"), Err(Unknown));
    }
}
