//! A reader of responses of its own: an HTTP/1.1 head, then Server-Sent Events as WHATWG HTML, 9.2.6
//! has them. It shares nothing with the writer under test.

/// What a client reads.
#[derive(Debug)]
pub enum Item<'a> {
    /// The head of the response: its status, and whether an event stream follows.
    Head {
        /// The status.
        status: u16,
        /// Whether it is an event stream.
        is_stream: bool,
    },
    /// A whole event.
    Event(&'a Event),
}

/// An event, as a browser dispatches it.
#[derive(Debug, Default)]
pub struct Event {
    /// The `event` field; empty where there is none.
    pub kind: String,
    /// The last event id, where this event set it.
    pub id: Option<String>,
    /// The data, its lines joined.
    pub data: String,
    has_data: bool,
    is_retry_alone: bool,
}

/// The state of a response that is being read.
#[derive(Debug, Default)]
pub struct Parser {
    /// What is not a whole line yet.
    rest: Vec<u8>,
    head: Head,
    event: Event,
    /// Bytes that came after the last whole event.
    is_within: bool,
}

#[derive(Debug, Default, PartialEq, Eq)]
enum Head {
    #[default]
    Status,
    Fields {
        status: u16,
        is_stream: bool,
    },
    Stream,
    Other,
}

impl Parser {
    /// Takes bytes, and gives what became whole. What is no response at all is an error.
    pub fn feed(
        &mut self,
        bytes: &[u8],
        mut take: impl FnMut(Item<'_>) -> Result<(), String>,
    ) -> Result<(), String> {
        self.rest.extend_from_slice(bytes);
        let mut rest = std::mem::take(&mut self.rest);
        let mut at = 0;
        let result = loop {
            if self.head == Head::Other {
                at = rest.len();
                break Ok(());
            }
            let Some(len) = rest[at..].iter().position(|byte| *byte == b'\n') else {
                break Ok(());
            };
            let line = &rest[at..at + len];
            let line = line.strip_suffix(b"\r").unwrap_or(line);
            at += len + 1;
            if let Err(error) = self.line(line, &mut take) {
                break Err(error);
            }
        };
        rest.drain(..at);
        self.rest = rest;
        result
    }

    /// Whether nothing was begun that is not whole.
    pub fn is_at_boundary(&self) -> bool {
        self.rest.is_empty() && !self.is_within
    }

    fn line(
        &mut self,
        line: &[u8],
        take: &mut impl FnMut(Item<'_>) -> Result<(), String>,
    ) -> Result<(), String> {
        if line.contains(&b'\r') || line.contains(&0) {
            return Err(format!("a bare CR or a NUL in {line:?}"));
        }
        let line = std::str::from_utf8(line).map_err(|error| format!("no UTF-8: {error}"))?;
        match &mut self.head {
            Head::Status => {
                let status = line.strip_prefix("HTTP/1.1 ");
                let status = status.and_then(|rest| rest.get(..3)?.parse().ok());
                let status = status.ok_or_else(|| format!("no response begins so: {line:?}"))?;
                // Whoever is told to go on is answered later.
                if status != 100 {
                    let is_stream = false;
                    self.head = Head::Fields { status, is_stream };
                }
                Ok(())
            }
            Head::Fields { status, is_stream } => {
                if !line.is_empty() {
                    *is_stream |= line.starts_with("content-type: text/event-stream");
                    return Ok(());
                }
                let (status, is_stream) = (*status, *is_stream);
                self.head = match is_stream {
                    true => Head::Stream,
                    false => Head::Other,
                };
                take(Item::Head { status, is_stream })
            }
            Head::Stream if line.is_empty() => {
                self.is_within = false;
                let event = &mut self.event;
                let result = match event.has_data {
                    true => take(Item::Event(event)),
                    false if event.is_retry_alone => Ok(()),
                    false => Err(String::from("a block without data")),
                };
                event.kind.clear();
                event.data.clear();
                event.id = None;
                event.has_data = false;
                event.is_retry_alone = false;
                result
            }
            Head::Stream => {
                self.is_within = true;
                self.event.field(line)
            }
            Head::Other => Ok(()),
        }
    }
}

impl Event {
    fn field(&mut self, line: &str) -> Result<(), String> {
        let (name, value) = line.split_once(':').unwrap_or((line, ""));
        let value = value.strip_prefix(' ').unwrap_or(value);
        match name {
            "data" => {
                if self.has_data {
                    self.data.push('\n');
                }
                self.data.push_str(value);
                self.has_data = true;
                self.is_retry_alone = false;
                Ok(())
            }
            "event" => {
                self.kind.clear();
                self.kind.push_str(value);
                Ok(())
            }
            "id" => {
                self.id = Some(value.to_owned());
                Ok(())
            }
            "retry" if value.bytes().all(|byte| byte.is_ascii_digit()) => {
                self.is_retry_alone = !self.has_data;
                Ok(())
            }
            _ => Err(format!("a field that nobody writes: {line:?}")),
        }
    }

    /// The text of a member of the data, where the value is a string without escapes.
    pub fn member(&self, name: &str) -> Option<&str> {
        let start = self.data.find(&format!("\"{name}\":\""))? + name.len() + 4;
        let rest = &self.data[start..];
        Some(&rest[..rest.find('"')?])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RESPONSE: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\n\
        retry: 5\n\nevent: connected\nid: 1.2.3.4\ndata: {\"resume\":\"live\"}\n\ndata: a\ndata: b\n\n";

    fn read(pieces: &[&[u8]]) -> Vec<String> {
        let mut parser = Parser::default();
        let mut items = Vec::new();
        for piece in pieces {
            let take = |item: Item<'_>| {
                items.push(match item {
                    Item::Head { status, is_stream } => format!("{status} {is_stream}"),
                    Item::Event(event) => format!("{} {:?} {}", event.kind, event.id, event.data),
                });
                Ok(())
            };
            parser.feed(piece, take).unwrap();
        }
        assert!(parser.is_at_boundary());
        items
    }

    #[test]
    fn wherever_a_response_is_cut_it_says_the_same() {
        let whole = read(&[RESPONSE]);
        let events = [
            "200 true",
            "connected Some(\"1.2.3.4\") {\"resume\":\"live\"}",
            " None a\nb",
        ];
        assert_eq!(whole, events);
        for at in 0..RESPONSE.len() {
            assert_eq!(
                read(&[&RESPONSE[..at], &RESPONSE[at..]]),
                whole,
                "cut at {at}"
            );
        }
    }

    #[test]
    fn what_no_server_of_ours_writes_is_refused() {
        for wrong in [
            &b"HTTP/2 200\r\n"[..],
            b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\ntada: 1\n",
        ] {
            let mut parser = Parser::default();
            assert!(parser.feed(wrong, |_| Ok(())).is_err());
        }
    }
}
