//! A session with the server: start-up, authentication, simple queries, streaming.
//!
//! It knows the order of messages and nothing of what is asked or streamed. Over a replication
//! connection the server takes the simple query protocol only, which also serves the other one.
//!
//! ```text
//! Authenticating ──► Starting ──► Idle ◄──► Asking ──► Streaming
//! ```

use std::fmt;

use bytes::Bytes;

use crate::authentication::{Authenticator, Failure, Protection};
use crate::limits::{ROWS_MAX, SERVER_VERSION_MIN, WAL_SENDER_TIMEOUT_MS};
use crate::protocol::backend::{Inbox, Message, Row, ServerError};
use crate::protocol::{Malformed, frontend};
use crate::{ConnectInfo, refusal};

/// A session.
pub(crate) struct Session {
    inbox: Inbox,
    outbox: Vec<u8>,
    connect: ConnectInfo,
    phase: Phase,
}

enum Phase {
    /// Waits for: what the server wants to see. Next: Starting.
    Authenticating(Box<Authenticator>),
    /// Waits for: its settings, up to the first ReadyForQuery. Next: Idle.
    Starting,
    /// Waits for: us. Next: Asking.
    Idle,
    /// Waits for: the answer to a query. Next: Idle, or Streaming.
    Asking(Result<Vec<Row>, ServerError>),
    /// Waits for: changes.
    Streaming,
}

/// What happened in a session.
#[derive(Debug, PartialEq)]
pub(crate) enum Event {
    /// The first query may be asked.
    Ready,
    /// The answer to the last query.
    Answer(Result<Vec<Row>, ServerError>),
    /// Streaming begins.
    Streaming,
    /// A message of the stream.
    Data(Bytes),
    /// The server has ended the stream.
    Ended,
    /// The server says something that is no answer.
    Notice(ServerError),
}

/// Why a session is of no use any more.
#[derive(Debug, PartialEq)]
pub(crate) enum Broken {
    /// The server sent what is no protocol.
    Malformed(Malformed),
    /// The server ended it.
    Server(ServerError),
    /// The server does not let us in: its SQLSTATE, and what it said with how that is mended.
    Refused { code: String, text: String },
    /// We cannot, or will not, show what it wants to see.
    Authentication(Failure),
    /// The database's encoding is not UTF-8.
    Encoding(String),
    /// The server is older than any that works.
    Version(String),
    /// Something in between has not passed on what we set at the start.
    Setting(String),
}

impl fmt::Display for Broken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Malformed(error) => error.fmt(f),
            Self::Server(error) => error.fmt(f),
            Self::Refused { text, .. } => f.write_str(text),
            Self::Authentication(failure) => failure.fmt(f),
            Self::Encoding(found) => {
                write!(f, "the database's encoding is {found}; it must be UTF8")
            }
            Self::Version(found) => write!(
                f,
                "PostgreSQL {found} is too old: {SERVER_VERSION_MIN} is the oldest that works"
            ),
            Self::Setting(name) => write!(
                f,
                "the server does not keep to the {name} that the connection asked for, so something \
                 sits in between: connect to PostgreSQL itself"
            ),
        }
    }
}

impl Broken {
    /// The server's SQLSTATE, where it was the server that ended it.
    pub(crate) fn code(&self) -> Option<&str> {
        match self {
            Self::Server(error) => Some(&error.code),
            Self::Refused { code, .. } => Some(code),
            _ => None,
        }
    }
}

impl From<Malformed> for Broken {
    fn from(error: Malformed) -> Self {
        Self::Malformed(error)
    }
}

impl From<Failure> for Broken {
    fn from(failure: Failure) -> Self {
        Self::Authentication(failure)
    }
}

impl Session {
    /// Begins a session on a new connection. `replication` asks for a walsender of the database.
    pub(crate) fn new(connect: &ConnectInfo, protection: Protection, replication: bool) -> Self {
        let mut outbox = Vec::new();
        let timeout = WAL_SENDER_TIMEOUT_MS.to_string();
        // What changes the text of values must not be left to the settings of a role or a database.
        let mut parameters = vec![
            ("user", connect.user.as_str()),
            ("database", connect.database.as_str()),
            ("application_name", "tailrace"),
            ("client_encoding", "UTF8"),
            ("DateStyle", "ISO"),
            ("IntervalStyle", "postgres"),
            ("TimeZone", "UTC"),
            ("extra_float_digits", "3"),
            ("bytea_output", "hex"),
            ("standard_conforming_strings", "on"),
            ("statement_timeout", "0"),
            ("lock_timeout", "0"),
            ("wal_sender_timeout", timeout.as_str()),
        ];
        if replication {
            parameters.push(("replication", "database"));
        }
        if let Some(options) = &connect.options {
            // What is set by name counts more than what is set there.
            parameters.push(("options", options));
        }
        frontend::startup(&mut outbox, &parameters);
        Self {
            inbox: Inbox::default(),
            outbox,
            connect: connect.clone(),
            phase: Phase::Authenticating(Box::new(Authenticator::new(connect, protection))),
        }
    }

    /// Takes bytes of the server.
    pub(crate) fn push(&mut self, bytes: &[u8]) {
        self.inbox.push(bytes);
    }

    /// The next thing that happened; `None` where more bytes are needed.
    pub(crate) fn next(&mut self) -> Result<Option<Event>, Broken> {
        while let Some(message) = self.inbox.next()? {
            if let Some(event) = self.handle(message)? {
                return Ok(Some(event));
            }
        }
        Ok(None)
    }

    /// Asks a query.
    pub(crate) fn ask(&mut self, sql: &str) {
        assert!(matches!(self.phase, Phase::Idle), "one question at a time");
        frontend::query(&mut self.outbox, sql);
        self.phase = Phase::Asking(Ok(Vec::new()));
    }

    /// The bytes to be sent; whoever sends them takes them out.
    pub(crate) fn outbox(&mut self) -> &mut Vec<u8> {
        &mut self.outbox
    }

    fn handle(&mut self, message: Message) -> Result<Option<Event>, Broken> {
        match (&mut self.phase, message) {
            (_, Message::Notice(notice)) => Ok(Some(Event::Notice(notice))),
            (_, Message::Nothing) => Ok(None),
            (Phase::Authenticating(_) | Phase::Starting, Message::Parameter { name, value }) => {
                check_parameter(name, value).map(|()| None)
            }
            // What we have set at the start, nobody else can change.
            (_, Message::Parameter { .. }) => Ok(None),
            (Phase::Authenticating(authenticator), Message::Authentication(wanted)) => {
                if authenticator.handle(wanted, &mut self.outbox)? {
                    self.phase = Phase::Starting;
                }
                Ok(None)
            }
            (Phase::Authenticating(_) | Phase::Starting, Message::Error(error)) => {
                let text = refusal::explain(&self.connect, &error.code, &error.message);
                let code = error.code;
                Err(Broken::Refused { code, text })
            }
            (Phase::Starting, Message::Ready) => {
                self.phase = Phase::Idle;
                Ok(Some(Event::Ready))
            }
            (Phase::Asking(answer), message) => Self::on_answer(answer, message).map(|event| {
                match event {
                    Some(Event::Answer(_)) => self.phase = Phase::Idle,
                    Some(Event::Streaming) => self.phase = Phase::Streaming,
                    _ => {}
                }
                event
            }),
            (Phase::Streaming, Message::CopyData(data)) => Ok(Some(Event::Data(data))),
            (Phase::Streaming, Message::CopyDone) => Ok(Some(Event::Ended)),
            (_, Message::Error(error)) => Err(Broken::Server(error)),
            _ => Err(Malformed::OutOfPlace("a message").into()),
        }
    }

    fn on_answer(
        answer: &mut Result<Vec<Row>, ServerError>,
        message: Message,
    ) -> Result<Option<Event>, Broken> {
        match message {
            Message::Row(row) => {
                if let Ok(rows) = answer {
                    if rows.len() == ROWS_MAX {
                        return Err(Malformed::TooMany.into());
                    }
                    rows.push(row);
                }
                Ok(None)
            }
            Message::Error(error) => {
                // The server ends the session itself after such an error (class 57, "Operator
                // Intervention"); nothing more comes.
                if error.code.starts_with("57P") {
                    return Err(Broken::Server(error));
                }
                *answer = Err(error);
                Ok(None)
            }
            Message::Complete => Ok(None),
            Message::Ready => Ok(Some(Event::Answer(std::mem::replace(
                answer,
                Ok(Vec::new()),
            )))),
            Message::CopyBoth => Ok(Some(Event::Streaming)),
            _ => Err(Malformed::OutOfPlace("a message").into()),
        }
    }
}

/// Checks what the server says of itself: what it is, and that the text of values is what the decoder
/// reads, whatever the settings of a role or a database are.
fn check_parameter(name: String, value: String) -> Result<(), Broken> {
    let is_kept = match name.as_str() {
        "server_encoding" if value != "UTF8" => return Err(Broken::Encoding(value)),
        "server_version" => {
            let major = value.split(|c: char| !c.is_ascii_digit()).next();
            return match major.and_then(|digits| digits.parse::<u32>().ok()) {
                Some(major) if major < SERVER_VERSION_MIN => Err(Broken::Version(value)),
                _ => Ok(()),
            };
        }
        "DateStyle" => value.starts_with("ISO"),
        "IntervalStyle" => value == "postgres",
        "TimeZone" => value == "UTC",
        "client_encoding" => value == "UTF8",
        "standard_conforming_strings" => value == "on",
        _ => true,
    };
    if is_kept {
        Ok(())
    } else {
        Err(Broken::Setting(name))
    }
}

impl fmt::Debug for Session {
    /// Without the bytes, which may hold a password.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Session")
            .field("user", &self.connect.user)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const URL: &str = "postgres://app:hunter2@localhost/x";

    fn broken(input: &[&[u8]]) -> String {
        let mut session = Session::new(&URL.parse().unwrap(), Protection::None, true);
        input.iter().for_each(|bytes| session.push(bytes));
        session.next().unwrap_err().to_string()
    }

    fn parameter(name: &str, value: &str) -> Vec<u8> {
        let body = format!("{name}\0{value}\0");
        let len = u32::try_from(4 + body.len()).unwrap();
        [b"S", &len.to_be_bytes()[..], body.as_bytes()].concat()
    }

    #[test]
    fn a_server_that_cannot_serve_is_told_by_its_parameters() {
        let cases = [
            ("server_encoding", "LATIN1", "encoding is LATIN1"),
            (
                "server_version",
                "13.21 (Debian)",
                "PostgreSQL 13.21 (Debian) is too old: 14",
            ),
            ("DateStyle", "German, DMY", "DateStyle"),
            ("TimeZone", "Asia/Tokyo", "TimeZone"),
        ];
        for (name, value, expected) in cases {
            let error = broken(&[&parameter(name, value)]);
            assert!(error.contains(expected), "{error}");
        }
    }

    #[test]
    fn a_refusal_has_its_mend_and_no_password() {
        let body = b"SFATAL\0C28P01\0Mpassword authentication failed for user \"app\"\0\0";
        let len = u32::try_from(4 + body.len()).unwrap();
        let error = broken(&[b"E", &len.to_be_bytes(), body]);
        assert!(
            error.contains("28P01") && error.contains("ALTER ROLE"),
            "{error}"
        );
        assert!(!error.contains("hunter2"), "{error}");
    }

    #[test]
    fn options_come_along_and_count_less_than_what_is_set_by_name() {
        let url = format!("{URL}?options=endpoint%3Dep-red-1%20-c%20datestyle%3DGerman");
        let mut session = Session::new(&url.parse().unwrap(), Protection::None, true);
        let sent = String::from_utf8_lossy(session.outbox()).into_owned();
        assert!(
            sent.contains("\0options\0endpoint=ep-red-1 -c datestyle=German\0"),
            "{sent:?}"
        );
        assert!(sent.contains("\0DateStyle\0ISO\0"), "{sent:?}");
    }
}
