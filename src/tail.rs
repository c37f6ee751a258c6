//! `tailrace tail`: the events of an organisation in the terminal, as they come.
//!
//! A client like any other, with the service key: plain HTTP, one connection, and its last id after
//! each break. Reading the stream's text is `blocks`.

mod blocks;

use crate::config::Config;
use crate::dev::Source;
use blocks::{Block, Blocks};
use serde_json::Value;
use std::io::{self, BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpStream, ToSocketAddrs as _};
use std::ops::ControlFlow;
use std::thread;
use std::time::Duration;

/// How long a connection may take.
const CONNECT_WITHIN: Duration = Duration::from_secs(5);

/// How long a stream may be silent before it counts as broken: several heartbeats.
const SILENCE_MAX: Duration = Duration::from_secs(120);

/// How long to wait before connecting again where the stream did not say.
const RETRY_MS: u64 = 2_000;

/// The longest wait that a stream may ask for.
const RETRY_MS_MAX: u64 = 60_000;

/// The longest response head, and the longest body of a refusal, that is read.
const HEAD_BYTES_MAX: u64 = 16 * 1024;

/// The command line of `tailrace tail`.
#[derive(clap::Args, Clone, Debug)]
pub(crate) struct Arguments {
    /// The organisation's id.
    #[arg(long, value_name = "ID")]
    organization: String,
    /// Print each event as the JSON it is, one a line.
    #[arg(long)]
    json: bool,
    /// The node's address; without it, the one in its configuration.
    #[arg(long, value_name = "URL")]
    url: Option<String>,
    #[command(flatten)]
    source: Source,
}

/// Prints events until it is interrupted or refused.
///
/// # Errors
///
/// Where there is no key, or the node refuses for good.
pub(crate) fn run(arguments: &Arguments) -> Result<(), String> {
    let config = arguments.source.read().map_err(|error| error.to_string())?;
    let tail = Tail::new(arguments, &config)?;
    let mut blocks = Blocks::default();
    loop {
        blocks.begin_again();
        match tail.follow(&mut blocks) {
            Ok(()) => say("the stream ended; connecting again"),
            Err(Break::Reader) => return Ok(()),
            Err(Break::Refused(refusal)) => return Err(refusal),
            Err(Break::Temporary(reason)) => say(&reason),
        }
        let wait = blocks.retry_ms.unwrap_or(RETRY_MS).min(RETRY_MS_MAX);
        thread::sleep(Duration::from_millis(wait));
    }
}

/// What is asked for, of whom, and how it is printed.
struct Tail {
    /// `host:port`.
    authority: String,
    target: String,
    key: String,
    json: bool,
}

/// Why a connection is over.
enum Break {
    /// Nobody reads our output any more.
    Reader,
    /// The node will not answer otherwise to the same question.
    Refused(String),
    /// It may work the next time.
    Temporary(String),
}

impl Tail {
    fn new(arguments: &Arguments, config: &Config) -> Result<Self, String> {
        let key = config.keys.reader().ok_or(
            "keys.service is not set, so the node has no key that opens streams: make one with \
             `openssl rand -hex 32`",
        )?;
        let path = &config
            .streams
            .iter()
            .find(|stream| stream.format == wire::Format::Event)
            .ok_or("the configuration has no [[stream]] of the format \"event\"")?
            .path;
        Ok(Self {
            authority: match &arguments.url {
                Some(url) => authority(url)?,
                None => config.http.listen.to_string(),
            },
            target: format!(
                "{path}?organizationId={}",
                percent_encoded(&arguments.organization)
            ),
            key: key.reveal().to_owned(),
            json: arguments.json,
        })
    }

    /// One connection, from the request to the end of its stream.
    fn follow(&self, blocks: &mut Blocks) -> Result<(), Break> {
        let away = |error: io::Error| {
            Break::Temporary(format!(
                "{} cannot be reached: {error}; trying again",
                self.authority
            ))
        };
        let mut socket = self.connect().map_err(away)?;
        socket
            .write_all(self.request(blocks.last_id.as_deref()).as_bytes())
            .map_err(away)?;
        let mut reader = BufReader::new(socket);
        check_head(&mut reader)?;
        loop {
            let bytes = reader.fill_buf().map_err(away)?;
            if bytes.is_empty() {
                return Ok(());
            }
            let count = bytes.len();
            let mut printed = ControlFlow::Continue(());
            let read = blocks.read(bytes, |block| {
                if printed.is_continue() {
                    printed = self.print(&block);
                }
            });
            read.map_err(|_| Break::Refused("an endless line: this is no event stream".into()))?;
            reader.consume(count);
            if printed.is_break() {
                return Err(Break::Reader);
            }
        }
    }

    fn connect(&self) -> io::Result<TcpStream> {
        let mut failed = io::Error::new(io::ErrorKind::NotFound, "the name has no address");
        for address in self.authority.to_socket_addrs()? {
            match TcpStream::connect_timeout(&address, CONNECT_WITHIN) {
                Ok(socket) => {
                    socket.set_read_timeout(Some(SILENCE_MAX))?;
                    socket.set_write_timeout(Some(CONNECT_WITHIN))?;
                    return Ok(socket);
                }
                Err(error) => failed = error,
            }
        }
        Err(failed)
    }

    /// HTTP/1.0, so that no proxy on the way may answer in chunks (RFC 9112, 6.1), and with the
    /// header by which our own clients are told the true status of a refusal.
    fn request(&self, last_id: Option<&str>) -> String {
        let Self {
            authority,
            target,
            key,
            ..
        } = self;
        let resume = last_id
            .map(|id| format!("Last-Event-ID: {id}\r\n"))
            .unwrap_or_default();
        format!(
            "GET {target} HTTP/1.0\r\nHost: {authority}\r\nAccept: text/event-stream\r\n\
             Authorization: Bearer {key}\r\nx-tailrace-client: tail\r\n{resume}\r\n"
        )
    }

    fn print(&self, block: &Block) -> ControlFlow<()> {
        let line = match block.event.as_str() {
            "" if self.json => block.data.clone(),
            "" => in_words(&block.data),
            "heartbeat" => return ControlFlow::Continue(()),
            name => {
                say(&control_in_words(name, &block.data));
                return ControlFlow::Continue(());
            }
        };
        match writeln!(io::stdout(), "{line}") {
            Ok(()) => ControlFlow::Continue(()),
            Err(_) => ControlFlow::Break(()),
        }
    }
}

/// Reads the response's head; a refusal ends here, with the node's own words.
fn check_head(reader: &mut BufReader<TcpStream>) -> Result<(), Break> {
    let broken = |error: io::Error| Break::Temporary(format!("no answer: {error}; trying again"));
    let mut head = reader.by_ref().take(HEAD_BYTES_MAX);
    let mut line = String::new();
    head.read_line(&mut line).map_err(broken)?;
    let status: u16 = line
        .split(' ')
        .nth(1)
        .and_then(|code| code.parse().ok())
        .unwrap_or(0);
    loop {
        line.clear();
        match head.read_line(&mut line).map_err(broken)? {
            0 => {
                return Err(Break::Temporary(
                    "the answer broke off; trying again".into(),
                ));
            }
            _ if line.trim_end().is_empty() => break,
            _ => {}
        }
    }
    if status == 200 {
        return Ok(());
    }
    let mut body = String::new();
    // What can be read of it: the status alone says enough.
    let _ = reader.take(HEAD_BYTES_MAX).read_to_string(&mut body);
    let json: Value = serde_json::from_str(&body).unwrap_or_default();
    let message = json["error"]["message"]
        .as_str()
        .unwrap_or("no reason given");
    let said = format!("the node answered {status}: {}", printable(message));
    match status {
        408 | 429 | 500.. => Err(Break::Temporary(format!("{said}; trying again"))),
        _ => Err(Break::Refused(said)),
    }
}

/// `14:03:22.123  property.update  {"id":…}`, in UTC.
fn in_words(data: &str) -> String {
    let event: Value = serde_json::from_str(data).unwrap_or_default();
    let (Some(ms), Some(name)) = (event["timestamp"].as_u64(), event["type"].as_str()) else {
        return printable(data);
    };
    let payload = &event["payload"];
    let fields = ["record", "old", "data"];
    let mut rows = fields.into_iter().map(|field| &payload[field]);
    let row = match payload["changes"].as_array() {
        Some(changes) => format!("{} changes", changes.len()),
        None => rows
            .find(|value| !value.is_null())
            .unwrap_or(payload)
            .to_string(),
    };
    let (s, ms) = (ms / 1000 % 86_400, ms % 1000);
    let time = format!("{:02}:{:02}:{:02}.{ms:03}", s / 3600, s / 60 % 60, s % 60);
    printable(&format!("{time}  {name:<20}  {row}"))
}

/// `connected: acme, live`; of the other events of the stream itself, what they say.
fn control_in_words(name: &str, data: &str) -> String {
    let event: Value = serde_json::from_str(data).unwrap_or_default();
    let text = |field: &str| event[field].as_str().unwrap_or_default().to_owned();
    printable(&match name {
        "connected" => format!("connected: {}, {}", text("organizationId"), text("resume")),
        "reset" | "bye" => format!("{name}: {}", text("reason")),
        "refused" => format!("refused: {}", text("message")),
        _ => format!("{name} {data}"),
    })
}

/// Without what a terminal would take as a command: rows hold what anybody typed.
fn printable(text: &str) -> String {
    text.chars()
        .map(|c| if c.is_control() { '\u{fffd}' } else { c })
        .collect()
}

/// The `host:port` of `http://host:port/`.
fn authority(url: &str) -> Result<String, String> {
    let rest = url.strip_prefix("http://").ok_or_else(|| {
        format!("--url {url}: write the node's own address, such as http://127.0.0.1:4000; it speaks plain HTTP")
    })?;
    let authority = rest.strip_suffix('/').unwrap_or(rest);
    let has_port = authority.rsplit_once(':').is_some_and(|(host, port)| {
        !host.is_empty() && port.bytes().all(|byte| byte.is_ascii_digit())
    });
    match (authority, has_port) {
        (authority, _) if authority.contains(['/', '?', '#', '@', ' ', '\r', '\n']) => {
            Err(format!("--url {url}: only an address, without a path"))
        }
        (authority, true) => Ok(authority.to_owned()),
        (authority, false) => Ok(format!("{authority}:80")),
    }
}

/// Percent-encoding of everything but the unreserved characters (RFC 3986, 2.3).
fn percent_encoded(text: &str) -> String {
    let mut encoded = String::new();
    for byte in text.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => {
                encoded.push(char::from(byte));
            }
            _ => encoded.push_str(&format!("%{byte:02X}")),
        }
    }
    encoded
}

/// What is no event goes to standard error, so that events alone can be piped on.
#[expect(clippy::print_stderr, reason = "a command speaks to a person")]
fn say(words: &str) {
    eprintln!("{words}");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_is_one_line_that_commands_no_terminal() {
        let data = r#"{"type":"property.delete","timestamp":3723004,
            "payload":{"record":null,"old":{"name":"a\u009b2J"}}}"#;
        assert_eq!(
            in_words(data),
            "01:02:03.004  property.delete       {\"name\":\"a\u{fffd}2J\"}"
        );
        assert_eq!(in_words("no\nJSON"), "no\u{fffd}JSON");
    }

    #[test]
    fn addresses_and_names_are_taken_apart() {
        assert_eq!(
            authority("http://127.0.0.1:4000/").as_deref(),
            Ok("127.0.0.1:4000")
        );
        assert_eq!(authority("http://node").as_deref(), Ok("node:80"));
        for url in [
            "node:4000",
            "https://node",
            "http://node/path",
            "http://a@b:1",
        ] {
            assert!(authority(url).is_err(), "{url}");
        }
        assert_eq!(percent_encoded("a b/ü*"), "a%20b%2F%C3%BC%2A");
    }
}
