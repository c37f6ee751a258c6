//! A reader of event streams that is stricter than a browser: it takes the one form that the design
//! promises, and fails on anything else.

use std::io;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use serde_json::Value;

use super::http::{Connection, Head, Request};
use super::position::Position;

/// How long an event may take to arrive. Generous: no test measures time by it.
const EVENT_MAX: Duration = Duration::from_secs(30);

/// The names of events that are about the stream and not about data.
const CONTROL: [&str; 7] = [
    "connected",
    "reset",
    "heartbeat",
    "subscription",
    "auth",
    "refused",
    "bye",
];

/// One block of a stream, between two empty lines.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Block {
    pub(crate) event: Option<String>,
    pub(crate) id: Option<String>,
    pub(crate) data: Option<String>,
    pub(crate) retry: Option<u32>,
}

impl Block {
    /// Its data as JSON.
    pub(crate) fn json(&self) -> Value {
        let data = self
            .data
            .as_ref()
            .unwrap_or_else(|| panic!("no data in {self:?}"));
        serde_json::from_str(data).unwrap_or_else(|error| panic!("{error} in {data}"))
    }

    /// Whether it carries an application's event.
    pub(crate) fn is_data(&self) -> bool {
        self.event.is_none() && self.data.is_some()
    }

    fn parse(text: &str) -> Self {
        let mut block = Self::default();
        for line in text.split('\n') {
            let (name, value) = line
                .split_once(": ")
                .unwrap_or_else(|| panic!("not a field with a value: {line:?} in {text:?}"));
            let once = |field: &mut Option<String>| {
                assert!(
                    field.replace(value.into()).is_none(),
                    "{name} twice in {text:?}"
                );
            };
            match name {
                "event" => once(&mut block.event),
                "id" => once(&mut block.id),
                "data" => once(&mut block.data),
                "retry" => block.retry = Some(value.parse().expect("retry is a number")),
                _ => panic!("an unknown field in {text:?}"),
            }
        }
        if let Some(name) = &block.event {
            // In the format `named` a type is the name, and types have a dot or a colon here.
            assert!(
                CONTROL.contains(&name.as_str()) || name.contains(['.', ':']),
                "an event of an unknown name: {text:?}"
            );
        }
        block
    }
}

/// Why a stream yields no further block.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// The server closed it in order, after a whole block.
    Closed,
    /// The connection broke; an unfinished block is dropped, as browsers do.
    Broken,
    /// Nothing arrived in time.
    Silent,
}

/// An open event stream.
pub(crate) struct Stream {
    connection: Connection,
    pending: Vec<u8>,
    last: Option<Position>,
    /// The response head.
    pub(crate) head: Head,
    /// The data of `connected`.
    pub(crate) connected: Value,
    /// The last id that arrived, as a browser keeps it.
    pub(crate) last_event_id: String,
    /// Every byte of the body so far, for searches that no parser softens.
    pub(crate) received: Vec<u8>,
}

impl Stream {
    /// Opens a stream and reads its `connected`; a panic where it is refused.
    pub(crate) fn open(address: SocketAddr, request: &Request) -> Self {
        let connection = Connection::open(address).expect("the node takes connections");
        Self::open_over(connection, request)
    }

    /// The same over a socket that a test prepared.
    pub(crate) fn open_over(connection: Connection, request: &Request) -> Self {
        let mut stream = Self::begin(connection, request);
        let retry = stream.next().retry.expect("a stream opens with retry:");
        assert!((2_000..=8_000).contains(&retry), "retry: {retry}");
        let connected = stream.next();
        assert_eq!(
            connected.event.as_deref(),
            Some("connected"),
            "{connected:?}"
        );
        assert!(
            connected.id.is_some(),
            "connected carries the start's id: {connected:?}"
        );
        stream.connected = connected.json();
        stream
    }

    /// Sends the request and reads a head with status 200, nothing of the body.
    pub(crate) fn begin(mut connection: Connection, request: &Request) -> Self {
        connection
            .send(&request.bytes())
            .expect("a fresh connection takes a request");
        let head = connection.read_head().expect("a request is answered");
        assert_eq!(head.status, 200, "{head:?} {:?}", connection.read_body());
        let content_type = head.value("content-type");
        assert_eq!(
            content_type,
            Some("text/event-stream; charset=utf-8"),
            "{head:?}"
        );
        Self {
            connection,
            pending: Vec::new(),
            last: None,
            head,
            connected: Value::Null,
            last_event_id: String::new(),
            received: Vec::new(),
        }
    }

    /// The next block; a panic where the stream ends or is silent.
    pub(crate) fn next(&mut self) -> Block {
        self.try_next(EVENT_MAX).unwrap_or_else(|end| {
            panic!("{end:?} instead of a block, after:\n{}", self.transcript())
        })
    }

    /// The next block that arrives within `limit`.
    pub(crate) fn try_next(&mut self, limit: Duration) -> Result<Block, End> {
        let deadline = Instant::now() + limit;
        let end = loop {
            if let Some(end) = self.pending.windows(2).position(|pair| pair == b"\n\n") {
                break end;
            }
            let left = deadline.saturating_duration_since(Instant::now());
            let left = left.max(Duration::from_millis(1));
            let socket = self.connection.socket();
            socket
                .set_read_timeout(Some(left))
                .expect("the limit is not zero");
            match self.connection.read_body() {
                Ok(bytes) if bytes.is_empty() && self.pending.is_empty() => {
                    return Err(End::Closed);
                }
                Ok(bytes) if bytes.is_empty() => return Err(End::Broken),
                Ok(bytes) => {
                    assert!(
                        !bytes.contains(&b'\r'),
                        "streams end their lines with LF alone"
                    );
                    self.received.extend_from_slice(&bytes);
                    self.pending.extend_from_slice(&bytes);
                }
                Err(error) if is_timeout(&error) && Instant::now() >= deadline => {
                    return Err(End::Silent);
                }
                Err(error) if is_timeout(&error) => {}
                Err(_) => return Err(End::Broken),
            }
        };
        let block: Vec<u8> = self.pending.drain(..end + 2).collect();
        let block = Block::parse(str::from_utf8(&block[..end]).expect("streams are UTF-8"));
        self.note_id(&block);
        Ok(block)
    }

    /// The next event of the application's, past heartbeats; a panic on any other block.
    pub(crate) fn event(&mut self) -> Value {
        loop {
            let block = self.next();
            if block.is_data() {
                let event = block.json();
                assert_eq!(
                    event["id"].as_str(),
                    block.id.as_deref(),
                    "one id in both places"
                );
                return event;
            }
            let name = block.event.as_deref();
            assert_eq!(name, Some("heartbeat"), "{block:?} instead of an event");
        }
    }

    /// The next `count` events.
    pub(crate) fn events(&mut self, count: usize) -> Vec<Value> {
        (0..count).map(|_| self.event()).collect()
    }

    /// The next block that is not a heartbeat, which must be the control event of this name. A
    /// `retry:` that comes before it in a block of its own is told as the event's.
    pub(crate) fn control(&mut self, name: &str) -> Block {
        let mut retry = None;
        loop {
            let block = self.next();
            match block.event.as_deref() {
                Some(event) if event == name => {
                    return Block {
                        retry: block.retry.or(retry),
                        ..block
                    };
                }
                Some("heartbeat") => {}
                None if !block.is_data() && block.retry.is_some() => retry = block.retry,
                _ => panic!("{block:?} instead of {name}"),
            }
        }
    }

    /// How `connected` judged the client's id: `live`, `resumed` or `reset`.
    pub(crate) fn verdict(&self) -> &str {
        self.connected["resume"]
            .as_str()
            .expect("connected says how it went on")
    }

    /// Whether these bytes stand anywhere in what has arrived, head included.
    pub(crate) fn has_received(&self, needle: &str) -> bool {
        let found = |bytes: &[u8]| {
            bytes
                .windows(needle.len())
                .any(|window| window == needle.as_bytes())
        };
        found(&self.received)
            || self
                .head
                .fields
                .iter()
                .any(|(_, value)| found(value.as_bytes()))
    }

    /// Ids never repeat or go back. Heartbeats and `connected` name the place that is complete, so
    /// theirs may equal the one before.
    fn note_id(&mut self, block: &Block) {
        let Some(text) = &block.id else {
            assert!(!block.is_data(), "an event without an id: {block:?}");
            return;
        };
        let position: Position = text
            .parse()
            .unwrap_or_else(|()| panic!("not an id: {text:?}"));
        if let Some(last) = self.last {
            let in_order = if block.is_data() {
                position > last
            } else {
                position >= last
            };
            // A reset starts the stream anew, in another history even.
            let is_reset = block.event.as_deref() == Some("reset");
            assert!(
                in_order || is_reset,
                "{position:?} after {last:?}:\n{}",
                self.transcript()
            );
        }
        self.last = Some(position);
        self.last_event_id = text.clone();
    }

    /// The end of what has arrived, for a person who reads why a test failed.
    fn transcript(&self) -> String {
        let start = self.received.len().saturating_sub(2_000);
        String::from_utf8_lossy(&self.received[start..]).into_owned()
    }
}

fn is_timeout(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut
    )
}
