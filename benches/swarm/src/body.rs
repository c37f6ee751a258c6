//! A response from its first byte: its head, its framing, and the blocks within.

use crate::blocks::{Blocks, TooLong};
use crate::chunked::{Chunked, NotChunked};
use crate::head::{self, HEAD_BYTES_MAX, Head};

/// How far a response has been read.
#[derive(Debug)]
pub(crate) struct Body {
    framing: Framing,
    blocks: Blocks,
}

#[derive(Debug)]
enum Framing {
    /// The head has not arrived, or only this much of it.
    Head(Vec<u8>),
    /// The body lasts until the connection ends.
    Plain,
    /// The body comes in chunks.
    Chunked(Chunked),
}

/// What arrived is not a response with an event stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// The head is none of HTTP's.
    Head,
    /// The chunks are none.
    Chunks,
    /// A block does not end.
    Block,
}

impl Body {
    /// Before the first byte.
    pub(crate) fn new() -> Self {
        Self {
            framing: Framing::Head(Vec::new()),
            blocks: Blocks::default(),
        }
    }

    /// Takes what arrived, hands on whole blocks, and returns the head if it has become complete.
    #[inline]
    pub(crate) fn take(
        &mut self,
        mut bytes: &[u8],
        handle: &mut impl FnMut(&[u8]),
    ) -> Result<Option<Head>, Fault> {
        match &mut self.framing {
            Framing::Plain => self.blocks.take(bytes, handle)?,
            Framing::Chunked(chunked) => {
                while let Some(piece) = chunked.next(&mut bytes)? {
                    self.blocks.take(piece, handle)?;
                }
            }
            Framing::Head(begun) => {
                begun.extend_from_slice(bytes);
                let Some((head, end)) = head::read(begun).map_err(|_| Fault::Head)? else {
                    let is_bounded = begun.len() <= HEAD_BYTES_MAX;
                    return is_bounded.then_some(None).ok_or(Fault::Head);
                };
                let begun = std::mem::take(begun);
                self.framing = if head.is_chunked {
                    Framing::Chunked(Chunked::new())
                } else {
                    Framing::Plain
                };
                // The body of a refusal is not an event stream.
                if head.status == 200 {
                    self.take(&begun[end..], handle)?;
                }
                return Ok(Some(head));
            }
        }
        Ok(None)
    }

    /// Whether the server has said that nothing follows.
    pub(crate) fn is_over(&self) -> bool {
        matches!(&self.framing, Framing::Chunked(chunked) if chunked.is_over())
    }
}

impl Fault {
    /// What a report calls it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Head => "not a head of HTTP/1.1",
            Self::Chunks => "not in chunks, though the head says so",
            Self::Block => "a block of events without an end",
        }
    }
}

impl From<NotChunked> for Fault {
    fn from(NotChunked: NotChunked) -> Self {
        Self::Chunks
    }
}

impl From<TooLong> for Fault {
    fn from(TooLong: TooLong) -> Self {
        Self::Block
    }
}

#[cfg(test)]
mod tests {
    use super::{Body, Fault};

    /// The status, the blocks and whether the body is over, after these pieces.
    fn taken(pieces: &[&[u8]]) -> (Option<u16>, Vec<u8>, bool) {
        let (mut body, mut status, mut sum) = (Body::new(), None, Vec::new());
        for piece in pieces {
            let taken = body.take(piece, &mut |blocks| sum.extend_from_slice(blocks));
            if let Some(head) = taken.expect("it is a response") {
                assert_eq!(status.replace(head.status), None, "the head came twice");
            }
        }
        (status, sum, body.is_over())
    }

    fn assert_same_wherever_it_is_cut(response: &[u8], is_over: bool) {
        for cut in 0..=response.len() {
            let taken = taken(&[&response[..cut], &response[cut..]]);
            let blocks = b"id: 1\ndata: a\n\nid: 2\ndata: b\n\n".to_vec();
            assert_eq!(taken, (Some(200), blocks, is_over), "cut at {cut}");
        }
    }

    #[test]
    fn a_plain_stream_is_the_same_wherever_it_is_cut() {
        assert_same_wherever_it_is_cut(
            b"HTTP/1.1 200 OK\r\n\r\nid: 1\ndata: a\n\nid: 2\ndata: b\n\nid: 3\n",
            false,
        );
    }

    #[test]
    fn a_stream_in_chunks_is_the_same_wherever_it_is_cut() {
        assert_same_wherever_it_is_cut(
            b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n\
              f\r\nid: 1\ndata: a\n\n\r\n8\r\nid: 2\nda\r\n7\r\nta: b\n\n\r\n0\r\n\r\n",
            true,
        );
    }

    #[test]
    fn the_body_of_a_refusal_is_nobodys() {
        let refusal = b"HTTP/1.1 503 Busy\r\n\r\nid: 1\n\n";
        assert_eq!(taken(&[refusal]), (Some(503), Vec::new(), false));
    }

    #[test]
    fn what_is_no_response_is_a_fault() {
        let fault = |bytes: &[u8]| Body::new().take(bytes, &mut |_| {}).unwrap_err();
        assert_eq!(fault(b"\0\0\0"), Fault::Head);
        let head = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n";
        assert_eq!(fault(&[head, &b"data: a\n\n"[..]].concat()), Fault::Chunks);
    }
}
