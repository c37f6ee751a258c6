//! The head of a response.

/// The longest head, in bytes.
pub(crate) const HEAD_BYTES_MAX: usize = 64 * 1024;

/// The most fields of a head.
const FIELDS_MAX: usize = 64;

/// What a head says that matters here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Head {
    /// The status; a stream is open with 200 and no other.
    pub(crate) status: u16,
    /// Whether the body comes in chunks; else it lasts until the connection ends.
    pub(crate) is_chunked: bool,
}

/// Reads a head and says where the body begins; none where the head is not complete.
pub(crate) fn read(bytes: &[u8]) -> Result<Option<(Head, usize)>, httparse::Error> {
    let mut fields = [httparse::EMPTY_HEADER; FIELDS_MAX];
    let mut response = httparse::Response::new(&mut fields);
    let httparse::Status::Complete(end) = response.parse(bytes)? else {
        return Ok(None);
    };
    let is_chunked = response.headers.iter().any(|field| {
        field.name.eq_ignore_ascii_case("transfer-encoding")
            && field.value.trim_ascii().eq_ignore_ascii_case(b"chunked")
    });
    let status = response.code.expect("a complete head has a status");
    Ok(Some((Head { status, is_chunked }, end)))
}

#[cfg(test)]
mod tests {
    use super::{Head, read};

    #[test]
    fn a_head_says_its_status_and_how_the_body_is_framed() {
        let plain = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\ndata";
        let expected = Head {
            status: 200,
            is_chunked: false,
        };
        assert_eq!(read(plain), Ok(Some((expected, plain.len() - 4))));
        let chunked = b"HTTP/1.1 429 Too Many\r\nTransfer-Encoding: Chunked \r\n\r\n";
        let expected = Head {
            status: 429,
            is_chunked: true,
        };
        assert_eq!(read(chunked), Ok(Some((expected, chunked.len()))));
        assert_eq!(read(&chunked[..chunked.len() - 1]), Ok(None));
        assert!(read(b"SSH-2.0-OpenSSH\r\n").is_err());
    }
}
