//! A client of HTTP/1 on a plain socket, written for these tests alone: what the node writes is
//! judged by a reader that shares no code with it.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use serde_json::Value;

use super::config::SERVICE_KEY;
use super::session;

/// How long a response may take.
const RESPONSE_MAX: Duration = Duration::from_secs(20);

/// The longest response head that is taken for one.
const HEAD_BYTES_MAX: usize = 16 * 1024;

/// A request, written field by field.
#[derive(Clone)]
pub(crate) struct Request {
    line: String,
    fields: Vec<(String, String)>,
    body: Vec<u8>,
}

impl Request {
    pub(crate) fn new(method: &str, target: &str) -> Self {
        Self::line(&format!("{method} {target} HTTP/1.1")).field("host", "app.example:3000")
    }

    pub(crate) fn get(target: &str) -> Self {
        Self::new("GET", target)
    }

    /// A request for a stream of an organisation, without a session.
    pub(crate) fn stream(query: &str) -> Self {
        Self::get(&format!("/api/realtime/stream?{query}")).field("accept", "text/event-stream")
    }

    /// A request with this request line and no fields.
    pub(crate) fn line(line: &str) -> Self {
        Self {
            line: line.into(),
            fields: Vec::new(),
            body: Vec::new(),
        }
    }

    pub(crate) fn field(mut self, name: &str, value: &str) -> Self {
        self.fields.push((name.into(), value.into()));
        self
    }

    /// With the session of this user, in the cookie.
    pub(crate) fn user(self, user: &str) -> Self {
        self.field(
            "cookie",
            &format!("theme=dark; session={}", session::token(user)),
        )
    }

    /// With the service key.
    pub(crate) fn service(self) -> Self {
        self.field("authorization", &format!("Bearer {SERVICE_KEY}"))
    }

    pub(crate) fn last_event_id(self, id: &str) -> Self {
        self.field("last-event-id", id)
    }

    /// With this body and its length.
    pub(crate) fn body(self, body: &str) -> Self {
        let mut request = self.field("content-length", &body.len().to_string());
        request.body = body.into();
        request
    }

    /// With this JSON as its body.
    pub(crate) fn with_json(self, value: &Value) -> Self {
        self.field("content-type", "application/json")
            .body(&value.to_string())
    }

    /// Its bytes.
    pub(crate) fn bytes(&self) -> Vec<u8> {
        let mut head = format!("{}\r\n", self.line);
        for (name, value) in &self.fields {
            head.push_str(&format!("{name}: {value}\r\n"));
        }
        head.push_str("\r\n");
        let mut bytes = head.into_bytes();
        bytes.extend_from_slice(&self.body);
        bytes
    }

    /// Sends it on a connection of its own and reads the whole response.
    pub(crate) fn send(&self, address: SocketAddr) -> Response {
        self.try_send(address)
            .unwrap_or_else(|error| panic!("{}: {error}", self.line))
    }

    /// The same, where the server may be away.
    pub(crate) fn try_send(&self, address: SocketAddr) -> io::Result<Response> {
        let mut connection = Connection::open(address)?;
        connection.send(&self.bytes())?;
        let head = connection.read_head()?;
        let mut body = Vec::new();
        let length = head
            .value("content-length")
            .map(|text| text.parse().expect("a number"));
        while length.is_none_or(|length| body.len() < length) {
            match connection.read_body()? {
                bytes if bytes.is_empty() => break,
                bytes => body.extend(bytes),
            }
        }
        if let Some(length) = length {
            assert_eq!(body.len(), length, "the body is as long as its head says");
        }
        Ok(Response {
            head,
            body: String::from_utf8(body).expect("bodies are UTF-8"),
        })
    }
}

/// A response read whole.
#[derive(Debug)]
pub(crate) struct Response {
    pub(crate) head: Head,
    pub(crate) body: String,
}

impl Response {
    /// The body as JSON.
    pub(crate) fn json(&self) -> Value {
        assert_eq!(
            self.head.value("content-type"),
            Some("application/json"),
            "{self:?}"
        );
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error}: {}", self.body))
    }

    /// The `code` and `message` of a refusal, which has this form and no other.
    pub(crate) fn refusal(&self) -> (String, String) {
        let json = self.json();
        let text = |name: &str| {
            json["error"][name]
                .as_str()
                .expect("refusals have it")
                .to_owned()
        };
        let refusal = (text("code"), text("message"));
        assert_eq!(
            json.as_object().map(|members| members.len()),
            Some(1),
            "{json}"
        );
        refusal
    }
}

/// A response head.
#[derive(Clone, Debug)]
pub(crate) struct Head {
    pub(crate) status: u16,
    pub(crate) fields: Vec<(String, String)>,
}

impl Head {
    /// The value of a field that stands there at most once.
    pub(crate) fn value(&self, name: &str) -> Option<&str> {
        let mut values = self.fields.iter().filter(|(field, _)| field == name);
        let value = values.next().map(|(_, value)| value.as_str());
        assert!(
            values.next().is_none(),
            "{name} stands there twice: {self:?}"
        );
        value
    }

    fn parse(text: &str) -> Self {
        let mut lines = text.split("\r\n");
        let line = lines.next().expect("a split has a first part");
        let mut words = line.splitn(3, ' ');
        assert_eq!(
            words.next(),
            Some("HTTP/1.1"),
            "the version we speak, whatever was asked"
        );
        let status = words.next().and_then(|word| word.parse().ok());
        let status = status.unwrap_or_else(|| panic!("not a status line: {line:?}"));
        let field = |line: &str| {
            let (name, value) = line.split_once(':').expect("a field has a colon");
            (name.to_ascii_lowercase(), value.trim().to_owned())
        };
        Self {
            status,
            fields: lines.map(field).collect(),
        }
    }
}

/// A connection, and what was read from it but not yet taken.
pub(crate) struct Connection {
    socket: TcpStream,
    pending: Vec<u8>,
    chunks: Option<Chunk>,
}

/// Where a body in chunks (RFC 9112, 7.1; nginx writes them) is.
enum Chunk {
    /// Its next line says how long the next chunk is.
    Length,
    /// So many bytes of it are to come.
    Data(usize),
    /// The line end after its data is to come.
    End,
    /// It was the last.
    Last,
}

impl Connection {
    pub(crate) fn open(address: SocketAddr) -> io::Result<Self> {
        Self::over(TcpStream::connect_timeout(&address, RESPONSE_MAX)?)
    }

    pub(crate) fn over(socket: TcpStream) -> io::Result<Self> {
        socket.set_read_timeout(Some(RESPONSE_MAX))?;
        Ok(Self {
            socket,
            pending: Vec::new(),
            chunks: None,
        })
    }

    pub(crate) fn socket(&self) -> &TcpStream {
        &self.socket
    }

    pub(crate) fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.socket.write_all(bytes)
    }

    /// Reads a response head.
    pub(crate) fn read_head(&mut self) -> io::Result<Head> {
        let end = loop {
            if let Some(end) = find(&self.pending, b"\r\n\r\n") {
                break end;
            }
            assert!(
                self.pending.len() < HEAD_BYTES_MAX,
                "the response head does not end"
            );
            if self.fill()? == 0 {
                return Err(io::Error::new(
                    io::ErrorKind::UnexpectedEof,
                    format!(
                        "closed within the head: {:?}",
                        self.pending.escape_ascii().to_string()
                    ),
                ));
            }
        };
        let head: Vec<u8> = self.pending.drain(..end + 4).collect();
        let text = str::from_utf8(&head[..end]).expect("heads are ASCII");
        let head = Head::parse(text);
        self.chunks = (head.value("transfer-encoding") == Some("chunked")).then_some(Chunk::Length);
        Ok(head)
    }

    /// Reads some of the body; nothing at its end.
    pub(crate) fn read_body(&mut self) -> io::Result<Vec<u8>> {
        loop {
            let bytes = match self.chunks {
                None => std::mem::take(&mut self.pending),
                Some(_) => self.take_chunks(),
            };
            if !bytes.is_empty() || matches!(self.chunks, Some(Chunk::Last)) {
                return Ok(bytes);
            }
            if self.fill()? == 0 {
                assert!(self.chunks.is_none(), "closed before the last chunk");
                return Ok(Vec::new());
            }
        }
    }

    fn fill(&mut self) -> io::Result<usize> {
        let mut buffer = [0; 16 * 1024];
        let count = self.socket.read(&mut buffer)?;
        self.pending.extend_from_slice(&buffer[..count]);
        Ok(count)
    }

    fn take_chunks(&mut self) -> Vec<u8> {
        let mut data = Vec::new();
        loop {
            match self.chunks {
                Some(Chunk::Length) => {
                    let Some(end) = find(&self.pending, b"\r\n") else {
                        return data;
                    };
                    let line: Vec<u8> = self.pending.drain(..end + 2).collect();
                    let digits = str::from_utf8(&line[..end]).expect("lengths are ASCII");
                    let length = usize::from_str_radix(digits, 16).expect("lengths are numbers");
                    self.chunks = Some(if length == 0 {
                        Chunk::Last
                    } else {
                        Chunk::Data(length)
                    });
                }
                Some(Chunk::Data(length)) => {
                    let taken = length.min(self.pending.len());
                    data.extend(self.pending.drain(..taken));
                    if taken < length {
                        self.chunks = Some(Chunk::Data(length - taken));
                        return data;
                    }
                    self.chunks = Some(Chunk::End);
                }
                Some(Chunk::End) => {
                    if self.pending.len() < 2 {
                        return data;
                    }
                    self.pending.drain(..2);
                    self.chunks = Some(Chunk::Length);
                }
                Some(Chunk::Last) | None => return data,
            }
        }
    }
}

fn find(bytes: &[u8], needle: &[u8]) -> Option<usize> {
    bytes
        .windows(needle.len())
        .position(|window| window == needle)
}
