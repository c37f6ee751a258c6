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
use postgres_protocol::authentication::md5_hash;
use postgres_protocol::authentication::sasl::{ChannelBinding, ScramSha256};

use crate::limits::{ROWS_MAX, WAL_SENDER_TIMEOUT_MS};
use crate::protocol::backend::{Authentication, Inbox, Message, Row, ServerError};
use crate::protocol::{Malformed, frontend};
use crate::{ConnectInfo, Host, Password};

const SCRAM_SHA_256: &str = "SCRAM-SHA-256";

/// A session.
pub(crate) struct Session {
    inbox: Inbox,
    outbox: Vec<u8>,
    user: String,
    password: Option<Password>,
    /// Whether nobody can listen in: a Unix socket or the loopback interface.
    private: bool,
    phase: Phase,
}

enum Phase {
    /// Waits for: what the server wants to see. Next: Starting.
    Authenticating(Option<Box<ScramSha256>>),
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
    /// We cannot, or will not, show what it wants to see.
    Authentication(&'static str),
    /// The database's encoding is not UTF-8.
    Encoding(String),
}

impl fmt::Display for Broken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Malformed(error) => error.fmt(f),
            Self::Server(error) => error.fmt(f),
            Self::Authentication(what) => f.write_str(what),
            Self::Encoding(found) => {
                write!(f, "the database's encoding is {found}; it must be UTF8")
            }
        }
    }
}

impl From<Malformed> for Broken {
    fn from(error: Malformed) -> Self {
        Self::Malformed(error)
    }
}

impl Session {
    /// Begins a session on a new connection. `replication` asks for a walsender of the database.
    pub(crate) fn new(connect: &ConnectInfo, replication: bool) -> Self {
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
        frontend::startup(&mut outbox, &parameters);
        let private = match &connect.host {
            Host::Unix(_) => true,
            Host::Tcp(name) => name == "localhost" || name == "127.0.0.1" || name == "::1",
        };
        Self {
            inbox: Inbox::default(),
            outbox,
            user: connect.user.clone(),
            password: connect.password.clone(),
            private,
            phase: Phase::Authenticating(None),
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
            (_, Message::Parameter { name, value }) => match name.as_str() {
                "server_encoding" if value != "UTF8" => Err(Broken::Encoding(value)),
                _ => Ok(None),
            },
            (Phase::Authenticating(_), Message::Authentication(wanted)) => {
                self.authenticate(wanted).map(|()| None)
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

    fn authenticate(&mut self, wanted: Authentication) -> Result<(), Broken> {
        let Phase::Authenticating(scram) = &mut self.phase else {
            unreachable!("asked while authenticating only");
        };
        let password = || {
            let missing = "the server wants a password, and the connection URL has none";
            self.password
                .as_ref()
                .ok_or(Broken::Authentication(missing))
        };
        match wanted {
            Authentication::Ok if scram.is_some() => {
                // Whoever cannot prove to know the password is not our server.
                return Err(Broken::Authentication(
                    "the server did not prove that it knows the password",
                ));
            }
            Authentication::Ok => self.phase = Phase::Starting,
            Authentication::CleartextPassword if !self.private => {
                return Err(Broken::Authentication(
                    "the server wants the password in clear text over a network; set its \
                     pg_hba.conf to scram-sha-256",
                ));
            }
            Authentication::CleartextPassword => {
                frontend::password(&mut self.outbox, password()?.as_bytes());
            }
            Authentication::Md5Password { salt } => {
                let hash = md5_hash(self.user.as_bytes(), password()?.as_bytes(), salt);
                frontend::password(&mut self.outbox, hash.as_bytes());
            }
            Authentication::Sasl { mechanisms } => {
                if !mechanisms.iter().any(|name| name == SCRAM_SHA_256) {
                    return Err(Broken::Authentication("the server offers no SCRAM-SHA-256"));
                }
                // Its nonce is the one place where randomness is not an argument: the crate draws
                // it from the system itself.
                let client =
                    ScramSha256::new(password()?.as_bytes(), ChannelBinding::unsupported());
                frontend::sasl_initial(&mut self.outbox, SCRAM_SHA_256, client.message());
                *scram = Some(Box::new(client));
            }
            Authentication::SaslContinue(data) => {
                let client = scram
                    .as_mut()
                    .ok_or(Malformed::OutOfPlace("a SASL message"))?;
                let refused = "the server's SCRAM challenge is not acceptable";
                client
                    .update(&data)
                    .map_err(|_| Broken::Authentication(refused))?;
                frontend::sasl_response(&mut self.outbox, client.message());
            }
            Authentication::SaslFinal(data) => {
                let mut client = scram
                    .take()
                    .ok_or(Malformed::OutOfPlace("a SASL message"))?;
                let refused = "the server did not prove that it knows the password";
                client
                    .finish(&data)
                    .map_err(|_| Broken::Authentication(refused))?;
            }
            Authentication::Other(_) => {
                return Err(Broken::Authentication(
                    "the server wants an authentication that is not supported; trust, password, md5 \
                     and scram-sha-256 are",
                ));
            }
        }
        Ok(())
    }
}

impl fmt::Debug for Session {
    /// Without the bytes, which may hold a password.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Session")
            .field("user", &self.user)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn session(url: &str) -> Session {
        let mut session = Session::new(&url.parse().unwrap(), true);
        session.outbox().clear();
        session
    }

    fn authentication(code: u32, rest: &[u8]) -> Vec<u8> {
        let len = u32::try_from(8 + rest.len()).unwrap();
        [b"R", &len.to_be_bytes()[..], &code.to_be_bytes(), rest].concat()
    }

    fn broken(url: &str, input: &[&[u8]]) -> String {
        let mut session = session(url);
        input.iter().for_each(|bytes| session.push(bytes));
        session.next().unwrap_err().to_string()
    }

    #[test]
    fn a_password_goes_in_clear_text_only_where_nobody_listens() {
        let wanted = authentication(3, b"");
        let mut local = session("postgres://app:hunter2@localhost/x");
        local.push(&wanted);
        assert_eq!(local.next(), Ok(None));
        assert_eq!(local.outbox().as_slice(), b"p\0\0\0\x0chunter2\0");
        let error = broken("postgres://app:hunter2@db.example/x", &[&wanted]);
        assert!(
            error.contains("scram-sha-256") && !error.contains("hunter2"),
            "{error}"
        );
    }

    #[test]
    fn md5_is_salted_with_what_the_server_says() {
        let mut session = session("postgres://app:hunter2@db/x");
        session.push(&authentication(5, &[1, 2, 3, 4]));
        assert_eq!(session.next(), Ok(None));
        let hash = md5_hash(b"app", b"hunter2", [1, 2, 3, 4]);
        assert_eq!(&session.outbox()[5..], [hash.as_bytes(), b"\0"].concat());
    }

    #[test]
    fn a_server_that_proves_nothing_is_not_believed() {
        let url = "postgres://app:hunter2@db/x";
        let offer = authentication(10, b"SCRAM-SHA-256\0\0");
        let error = broken(url, &[&offer, &authentication(0, b"")]);
        assert!(error.contains("prove"), "{error}");
        let mut session = session(url);
        session.push(&offer);
        assert_eq!(session.next(), Ok(None));
        let nonce = session
            .outbox()
            .split(|byte| *byte == b'=')
            .next_back()
            .unwrap()
            .to_vec();
        let challenge = [b"r=", &nonce[..], b"x,s=c2FsdA==,i=4096"].concat();
        session.push(&authentication(11, &challenge));
        assert_eq!(session.next(), Ok(None));
        session.push(&authentication(12, b"v=AAAA"));
        assert!(session.next().unwrap_err().to_string().contains("prove"));
    }

    #[test]
    fn a_costly_or_foreign_challenge_is_refused() {
        let url = "postgres://app:hunter2@db/x";
        let offer = authentication(10, b"SCRAM-SHA-256\0\0");
        let foreign = authentication(11, b"r=other,s=c2FsdA==,i=4096");
        assert!(broken(url, &[&offer, &foreign]).contains("not acceptable"));
        let mut session = session(url);
        session.push(&offer);
        assert_eq!(session.next(), Ok(None));
        let nonce = session
            .outbox()
            .split(|byte| *byte == b'=')
            .next_back()
            .unwrap()
            .to_vec();
        let challenge = [b"r=", &nonce[..], b"x,s=c2FsdA==,i=10000000"].concat();
        session.push(&authentication(11, &challenge));
        assert!(
            session
                .next()
                .unwrap_err()
                .to_string()
                .contains("not acceptable")
        );
    }

    #[test]
    fn what_cannot_be_shown_is_said() {
        assert!(broken("postgres://app@db/x", &[&authentication(5, &[0; 4])]).contains("has none"));
        let url = "postgres://app:hunter2@db/x";
        assert!(broken(url, &[&authentication(7, b"")]).contains("not supported"));
        assert!(broken(url, &[&authentication(10, b"OTHER\0\0")]).contains("SCRAM"));
        assert!(broken(url, &[&authentication(12, b"v=x")]).contains("out of place"));
        assert!(broken(url, &[b"S\0\0\0\x1bserver_encoding\0LATIN1\0"]).contains("LATIN1"));
    }
}
