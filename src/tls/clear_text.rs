//! An ordinary connection without TLS over a network, on which `tokio-postgres` would show the password in
//! clear text to whoever asks. Here the question ends it, before the driver sees it.

use std::convert::Infallible;
use std::future::{Ready, ready};
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_postgres::Socket;
use tokio_postgres::tls::{ChannelBinding, MakeTlsConnect, TlsConnect};

/// A tag, a length and the kind of authentication that is asked for (AuthenticationCleartextPassword:
/// `R`, 8, 3).
const QUESTION_BYTES: usize = 1 + 4 + 4;
const CLEAR_TEXT: [u8; QUESTION_BYTES] = [b'R', 0, 0, 0, 8, 0, 0, 0, 3];

/// Passes connections on, and looks at what the server asks for. To the driver it is a TLS that begins
/// directly.
#[derive(Clone, Copy)]
pub(crate) struct NeverClearText;

/// A connection that is looked at.
pub(crate) struct Watched {
    socket: Socket,
    question: Question,
}

/// Where the first question of the server stands in what it sends.
#[derive(Debug, Default)]
struct Question {
    /// The beginning of a message, as far as it has come.
    head: Vec<u8>,
    /// How much of a message is left that asks for nothing.
    skip: usize,
    is_answered: bool,
}

impl Question {
    /// Looks at bytes of the server; true where it wants the password in clear text.
    fn look(&mut self, mut bytes: &[u8]) -> bool {
        while !self.is_answered && !bytes.is_empty() {
            let skipped = self.skip.min(bytes.len());
            (self.skip, bytes) = (self.skip - skipped, &bytes[skipped..]);
            let Some((first, rest)) = bytes.split_first() else {
                break;
            };
            self.head.push(*first);
            bytes = rest;
            match self.head.as_slice() {
                head if head.len() == QUESTION_BYTES => {
                    self.is_answered = true;
                    return head == CLEAR_TEXT;
                }
                // A notice, perhaps; its length counts itself.
                [tag, a, b, c, d] if *tag != b'R' => {
                    let len = u32::from_be_bytes([*a, *b, *c, *d]) as usize;
                    self.skip = len.saturating_sub(4);
                    self.head.clear();
                }
                _ => {}
            }
        }
        false
    }
}

impl MakeTlsConnect<Socket> for NeverClearText {
    type Stream = Watched;
    type TlsConnect = Self;
    type Error = Infallible;

    fn make_tls_connect(&mut self, _domain: &str) -> Result<Self, Infallible> {
        Ok(*self)
    }
}

impl TlsConnect<Socket> for NeverClearText {
    type Stream = Watched;
    type Error = Infallible;
    type Future = Ready<Result<Watched, Infallible>>;

    fn connect(self, socket: Socket) -> Self::Future {
        let question = Question::default();
        ready(Ok(Watched { socket, question }))
    }
}

impl tokio_postgres::tls::TlsStream for Watched {
    fn channel_binding(&self) -> ChannelBinding {
        ChannelBinding::none()
    }
}

impl AsyncRead for Watched {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let Self { socket, question } = &mut *self;
        let before = buffer.filled().len();
        let read = Pin::new(socket).poll_read(context, buffer);
        if question.look(&buffer.filled()[before..]) {
            // The driver waits for more of what is cut off here, and gets the error instead.
            buffer.set_filled(before);
            let refused = "the server wants the password in clear text over a network; set its \
                           pg_hba.conf to scram-sha-256, or connect with TLS";
            return Poll::Ready(Err(io::Error::new(
                io::ErrorKind::PermissionDenied,
                refused,
            )));
        }
        read
    }
}

impl AsyncWrite for Watched {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.socket).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is_refused(parts: &[&[u8]]) -> bool {
        let mut question = Question::default();
        parts.iter().any(|part| question.look(part))
    }

    #[test]
    fn the_question_is_found_wherever_it_is_cut() {
        let notice = b"N\0\0\0\x09SWARN";
        let whole = [&notice[..], &CLEAR_TEXT].concat();
        for cut in 0..=whole.len() {
            assert!(is_refused(&[&whole[..cut], &whole[cut..]]), "cut at {cut}");
        }
        assert!(is_refused(&[&CLEAR_TEXT]));
    }

    #[test]
    fn other_questions_pass_and_what_comes_later_is_data() {
        let md5 = b"R\0\0\0\x0c\0\0\0\x05salt";
        assert!(!is_refused(&[md5, &CLEAR_TEXT]));
        assert!(!is_refused(&[b"R\0\0\0\x08\0\0\0\0", &CLEAR_TEXT]));
        assert!(!is_refused(&[b"E\0\0\0\x0d", &CLEAR_TEXT]));
        assert!(!is_refused(&[b"X\0\0\0\0"]));
    }
}
