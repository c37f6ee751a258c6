//! Messages of the server: framed here, their fields read (PostgreSQL, "Message Formats").
//!
//! The framing is our own: `postgres-protocol`'s parser does not know CopyBothResponse.

use std::fmt;

use bytes::{Buf as _, Bytes, BytesMut};

use super::Malformed;
use super::condense::Condenser;
use super::fields::Fields;
use crate::limits::{
    BUFFER_BYTES_KEPT_MAX, MESSAGE_BYTES_MAX, ROW_BYTES_MAX, SERVER_TEXT_BYTES_MAX,
};

const AUTHENTICATION: u8 = b'R';
const BACKEND_KEY_DATA: u8 = b'K';
const COMMAND_COMPLETE: u8 = b'C';
const COPY_BOTH_RESPONSE: u8 = b'W';
const COPY_DATA: u8 = b'd';
const COPY_DONE: u8 = b'c';
const DATA_ROW: u8 = b'D';
const EMPTY_QUERY_RESPONSE: u8 = b'I';
const ERROR_RESPONSE: u8 = b'E';
const NEGOTIATE_PROTOCOL_VERSION: u8 = b'v';
const NOTICE_RESPONSE: u8 = b'N';
const NOTIFICATION_RESPONSE: u8 = b'A';
const PARAMETER_STATUS: u8 = b'S';
const READY_FOR_QUERY: u8 = b'Z';
const ROW_DESCRIPTION: u8 = b'T';

/// A tag and the length of what follows, itself included.
const HEADER_BYTES: usize = 5;

/// A message of the server.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Message {
    Authentication(Authentication),
    /// A setting that clients must know, such as `server_encoding`.
    Parameter {
        name: String,
        value: String,
    },
    Error(ServerError),
    Notice(ServerError),
    Row(Row),
    /// A command has been carried out.
    Complete,
    /// The server waits for the next query.
    Ready,
    /// Streaming begins, in both directions.
    CopyBoth,
    CopyData(Bytes),
    CopyDone,
    /// Nothing that we need to know.
    Nothing,
}

/// What the server wants to see before it lets us in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Authentication {
    Ok,
    CleartextPassword,
    Md5Password {
        salt: [u8; 4],
    },
    /// The names of the mechanisms that it offers.
    Sasl {
        mechanisms: Vec<String>,
    },
    SaslContinue(Bytes),
    SaslFinal(Bytes),
    /// A method that is not spoken here.
    Other(u32),
}

/// One row of an answer, in text; `None` is NULL.
pub(crate) type Row = Vec<Option<String>>;

/// What the server says went wrong.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct ServerError {
    /// The SQLSTATE (PostgreSQL, "PostgreSQL Error Codes").
    pub(crate) code: String,
    /// Its primary message.
    pub(crate) message: String,
}

impl fmt::Display for ServerError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} (SQLSTATE {})", self.message, self.code)
    }
}

/// The bytes that arrived, and the messages in them.
#[derive(Debug, Default)]
pub(crate) struct Inbox {
    buffer: BytesMut,
    /// The message that is arriving, if it is too long to be kept whole.
    condensing: Option<Condenser>,
}

impl Inbox {
    pub(crate) fn push(&mut self, bytes: &[u8]) {
        self.buffer.extend_from_slice(bytes);
    }

    /// The next message; `None` where more bytes are needed.
    pub(crate) fn next(&mut self) -> Result<Option<Message>, Malformed> {
        if let Some(condenser) = &mut self.condensing {
            let short = condenser.take(&mut self.buffer)?;
            if short.is_some() {
                self.condensing = None;
            }
            return Ok(short.map(Message::CopyData));
        }
        let mut header = Fields::new(&self.buffer);
        let (Ok(tag), Ok(len)) = (header.u8(), header.u32()) else {
            return Ok(None);
        };
        let len = len as usize;
        if !(4..=MESSAGE_BYTES_MAX).contains(&len) {
            return Err(Malformed::Length);
        }
        if len > ROW_BYTES_MAX {
            return self.condense(tag, len);
        }
        if self.buffer.len() < 1 + len {
            return Ok(None);
        }
        let mut body = self.buffer.split_to(1 + len).freeze();
        body.advance(HEADER_BYTES);
        if len > BUFFER_BYTES_KEPT_MAX {
            // The memory of a long message goes when that does.
            self.buffer = BytesMut::from(&self.buffer[..]);
        }
        parse(tag, body).map(Some)
    }

    /// Begins a message that is too long to be kept whole.
    fn condense(&mut self, tag: u8, len: usize) -> Result<Option<Message>, Malformed> {
        if tag != COPY_DATA {
            return Err(Malformed::Length);
        }
        self.buffer.advance(HEADER_BYTES);
        self.condensing = Some(Condenser::new(1 + len - HEADER_BYTES));
        self.next()
    }
}

fn parse(tag: u8, body: Bytes) -> Result<Message, Malformed> {
    let mut fields = Fields::new(&body);
    match tag {
        AUTHENTICATION => authentication(&body).map(Message::Authentication),
        PARAMETER_STATUS => {
            let (name, value) = (fields.text()?.to_owned(), fields.text()?.to_owned());
            Ok(Message::Parameter { name, value })
        }
        ERROR_RESPONSE => server_error(fields).map(Message::Error),
        NOTICE_RESPONSE => server_error(fields).map(Message::Notice),
        DATA_ROW => row(fields).map(Message::Row),
        COMMAND_COMPLETE | EMPTY_QUERY_RESPONSE => Ok(Message::Complete),
        READY_FOR_QUERY => Ok(Message::Ready),
        COPY_BOTH_RESPONSE => Ok(Message::CopyBoth),
        COPY_DATA => Ok(Message::CopyData(body)),
        COPY_DONE => Ok(Message::CopyDone),
        // Columns are known by the query; keys are for cancelling; a server that speaks only an
        // older minor version says so, and goes on.
        ROW_DESCRIPTION | BACKEND_KEY_DATA | NEGOTIATE_PROTOCOL_VERSION | NOTIFICATION_RESPONSE => {
            Ok(Message::Nothing)
        }
        _ => Err(Malformed::Tag(tag)),
    }
}

fn authentication(body: &Bytes) -> Result<Authentication, Malformed> {
    let mut fields = Fields::new(body);
    let rest = || body.slice(4..);
    Ok(match fields.u32()? {
        0 => Authentication::Ok,
        3 => Authentication::CleartextPassword,
        5 => {
            let salt = fields.take(4)?.try_into().expect("four bytes were taken");
            Authentication::Md5Password { salt }
        }
        10 => {
            let mut mechanisms = Vec::new();
            loop {
                match fields.text()? {
                    "" => break,
                    mechanism => mechanisms.push(mechanism.to_owned()),
                }
            }
            Authentication::Sasl { mechanisms }
        }
        11 => Authentication::SaslContinue(rest()),
        12 => Authentication::SaslFinal(rest()),
        other => Authentication::Other(other),
    })
}

/// Reads the code and the message of an error; the fields that show our SQL are left out.
fn server_error(mut fields: Fields<'_>) -> Result<ServerError, Malformed> {
    let mut error = ServerError::default();
    loop {
        let field = fields.u8()?;
        if field == 0 {
            return Ok(error);
        }
        // Before the encoding is agreed upon, a message may be in the server's own.
        let text = lossy_text(&mut fields)?;
        match field {
            b'C' => error.code = text,
            b'M' => error.message = text,
            _ => {}
        }
    }
}

fn lossy_text(fields: &mut Fields<'_>) -> Result<String, Malformed> {
    let end = memchr::memchr(0, fields.rest()).ok_or(Malformed::Text)?;
    let text = fields.take(end + 1)?;
    let shown = &text[..end.min(SERVER_TEXT_BYTES_MAX)];
    let clean = |c: char| if c.is_control() { ' ' } else { c };
    Ok(String::from_utf8_lossy(shown).chars().map(clean).collect())
}

fn row(mut fields: Fields<'_>) -> Result<Row, Malformed> {
    let columns = fields.u16()?;
    let mut row = Row::new();
    for _ in 0..columns {
        let len = fields.u32()?;
        row.push(match len {
            u32::MAX => None,
            len => {
                let value = fields.take(len as usize)?;
                // No text of PostgreSQL's holds one, and what is said here may go into our next query.
                if memchr::memchr(0, value).is_some() {
                    return Err(Malformed::Text);
                }
                Some(String::from_utf8_lossy(value).into_owned())
            }
        });
    }
    fields.end()?;
    Ok(row)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn messages(bytes: &[u8]) -> Result<Vec<Message>, Malformed> {
        let mut inbox = Inbox::default();
        inbox.push(bytes);
        std::iter::from_fn(|| inbox.next().transpose()).collect()
    }

    #[test]
    fn a_message_is_read_when_it_is_complete() {
        let bytes = b"Z\0\0\0\x05Id\0\0\0\x07abc";
        let mut inbox = Inbox::default();
        let mut read = Vec::new();
        for byte in bytes {
            inbox.push(&[*byte]);
            read.extend(inbox.next().unwrap());
        }
        assert_eq!(
            read,
            [
                Message::Ready,
                Message::CopyData(Bytes::from_static(b"abc"))
            ]
        );
    }

    #[test]
    fn a_long_row_takes_no_more_memory_than_a_short_one() {
        const VALUE_BYTES: usize = 100 << 20;
        let row = b"w\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0I\0\0\0\x07N\0\x01t";
        let length = u32::try_from(VALUE_BYTES).unwrap().to_be_bytes();
        let len = u32::try_from(4 + row.len() + 4 + VALUE_BYTES).unwrap();
        let mut inbox = Inbox::default();
        inbox.push(&[b"d", &len.to_be_bytes()[..], row, &length].concat());
        let piece = [b'x'; 64 * 1024];
        for _ in 0..VALUE_BYTES / piece.len() {
            assert_eq!(inbox.next(), Ok(None));
            inbox.push(&piece);
            assert!(inbox.buffer.capacity() < 1 << 20);
        }
        let Ok(Some(Message::CopyData(short))) = inbox.next() else {
            panic!("a row")
        };
        assert!(short.len() < 100);
        inbox.push(b"Z\0\0\0\x05I");
        assert_eq!(inbox.next(), Ok(Some(Message::Ready)));
        let long_error = b"E\x10\0\0\0";
        assert_eq!(messages(long_error), Err(Malformed::Length));
    }

    #[test]
    fn errors_keep_their_code_and_message_alone() {
        let bytes = b"E\0\0\0\x1bSERROR\0C42704\0Mno\nway\0\0";
        let error = ServerError {
            code: "42704".to_owned(),
            message: "no way".to_owned(),
        };
        assert_eq!(messages(bytes), Ok(vec![Message::Error(error)]));
    }

    #[test]
    fn rows_tell_null_from_empty() {
        let bytes = b"D\0\0\0\x10\0\x02\xff\xff\xff\xff\0\0\0\x02ab";
        assert_eq!(
            messages(bytes),
            Ok(vec![Message::Row(vec![None, Some("ab".to_owned())])])
        );
    }

    #[test]
    fn what_cannot_be_a_message_is_refused() {
        assert_eq!(messages(b"Z\0\0\0\x03"), Err(Malformed::Length));
        assert_eq!(messages(b"Z\xff\xff\xff\xff"), Err(Malformed::Length));
        assert_eq!(messages(b"?\0\0\0\x04"), Err(Malformed::Tag(b'?')));
        assert_eq!(messages(b"R\0\0\0\x04"), Err(Malformed::Short));
        assert_eq!(messages(b"E\0\0\0\x06Cx"), Err(Malformed::Text));
        assert_eq!(messages(b"D\0\0\0\x06\0\x01"), Err(Malformed::Short));
        let nul = b"D\0\0\0\x0d\0\x01\0\0\0\x03a\0b";
        assert_eq!(messages(nul), Err(Malformed::Text));
    }
}
