//! Browsers: each follows its organisation with a native `EventSource`, which connects again after
//! `retry:` with `Last-Event-ID`. Some come straight to a node, some through a proxy that misbehaves, some
//! over a link that does, and most of them now to one node and now to the other.
//!
//! What it may not see is looked for in every byte that arrives, before anything is read from it.

use std::io::ErrorKind;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use serde_json::{Value, json};

use crate::event_source::{Interpreter, Message};
use crate::ledger::Ledger;
use crate::link::Link;
use crate::random::Random;
use crate::stage::Stage;
use crate::support::config::SECRET;
use crate::support::http::{Connection, Head};
use crate::support::position::Position;
use crate::support::{Request, session};
use crate::writers::END;

/// The reconnection time of a browser that was told none.
const RETRY: Duration = Duration::from_secs(3);

/// How long a read waits before the client looks whether the run goes on.
const GLANCE: Duration = Duration::from_millis(200);

/// How long nothing may come before a client connects again, as our own client library does: a
/// heartbeat is due every two seconds.
const SILENCE_MAX: Duration = Duration::from_secs(20);

/// What a session lasts, in seconds before and after now: longer than any clock is moved.
const SESSION_SECONDS: u64 = 60 * 24 * 3_600;

/// A browser.
pub(crate) struct Client {
    pub(crate) organisation: &'static str,
    pub(crate) user: String,
    /// What none of its streams may hold.
    pub(crate) foreign: Vec<String>,
    /// Where it may connect to.
    pub(crate) addresses: Vec<SocketAddr>,
    /// Whether it lives at the far end of the link.
    pub(crate) is_remote: bool,
    pub(crate) random: Random,
    pub(crate) ledger: Arc<Ledger>,
    /// What all clients together have counted.
    pub(crate) counts: Arc<Counts>,
}

/// What clients count, all together.
#[derive(Default)]
pub(crate) struct Counts {
    pub(crate) delivered: AtomicU64,
    pub(crate) duplicated: AtomicU64,
    pub(crate) leaked: AtomicU64,
    pub(crate) resets: AtomicU64,
    pub(crate) streams: AtomicU64,
    pub(crate) refusals: AtomicU64,
    pub(crate) byes: AtomicU64,
}

/// What one has seen.
#[derive(Default)]
pub(crate) struct Seen {
    /// Of every event, in the order in which they came.
    pub(crate) positions: Vec<Position>,
    /// Where it was told to start anew: the last position before, and the one from which it goes on.
    pub(crate) gaps: Vec<(Option<Position>, Position)>,
}

/// Why a connection is over.
enum Over {
    /// It ended, or could not be made; the client tries again.
    Connection,
    /// The run is over, or the last event has come.
    Run,
}

/// A request for the streams of a user, with a session that outlasts every clock.
pub(crate) fn request(organisation: &str, user: &str) -> Request {
    let now = session::seconds_since_1970();
    let claims = json!({
        "sub": user,
        "iat": now - SESSION_SECONDS,
        "exp": now + SESSION_SECONDS,
    });
    let token = session::signed(&claims, SECRET);
    let request = Request::stream(&format!("organizationId={organisation}"));
    request.field("cookie", &format!("session={token}"))
}

impl Client {
    /// Follows the organisation until its last event, or the end of the run. `on_open` is called
    /// when the first stream stands.
    pub(crate) fn run(
        mut self,
        stage: &Stage,
        link: Option<&Link>,
        on_open: impl FnOnce(),
    ) -> Seen {
        let _actor = stage.actor();
        if let Some(link) = link.filter(|_| self.is_remote) {
            link.enter();
        }
        let request = request(self.organisation, &self.user);
        let mut random = self.random.fork();
        let mut session = Session {
            stage,
            client: &self,
            request,
            interpreter: Interpreter::new(""),
            end_of_last: Vec::new(),
            seen: Seen::default(),
            on_open: Some(on_open),
        };
        let mut retry = RETRY;
        loop {
            let address = *random.pick(&session.client.addresses);
            match session.follow(address) {
                Ok(Over::Run) => return session.seen,
                Ok(Over::Connection) => {}
                Err(violation) => {
                    let client = session.client;
                    let (user, organisation) = (&client.user, client.organisation);
                    stage.violated(format!(
                        "{user} of {organisation} at {address}: {violation}"
                    ));
                    return session.seen;
                }
            }
            if let Some(told_ms) = session.interpreter.retry_ms {
                retry = Duration::from_millis(told_ms);
            }
            if !stage.sleep(retry, Stage::is_broken_off) {
                return session.seen;
            }
        }
    }

    fn count(&self, counter: impl Fn(&Counts) -> &AtomicU64) {
        counter(&self.counts).fetch_add(1, Ordering::Relaxed);
    }
}

/// What stays from one connection to the next.
struct Session<'a, F> {
    stage: &'a Stage,
    client: &'a Client,
    request: Request,
    interpreter: Interpreter,
    /// The last bytes that arrived, in which a foreign marker may begin.
    end_of_last: Vec<u8>,
    seen: Seen,
    on_open: Option<F>,
}

impl<F: FnOnce()> Session<'_, F> {
    /// Opens a stream and reads it to its end. The error is a promise that was not kept.
    fn follow(&mut self, address: SocketAddr) -> Result<Over, String> {
        let Some((mut connection, head)) = self.open(address) else {
            return Ok(Over::Connection);
        };
        if head.status != 200 {
            let body = connection.read_body().unwrap_or_default();
            let body = String::from_utf8_lossy(&body);
            let status = head.status;
            return Err(format!(
                "status {status}, after which a browser gives up: {body}"
            ));
        }
        let mut silent = Duration::ZERO;
        loop {
            if self.stage.is_broken_off() {
                return Ok(Over::Run);
            }
            match connection.read_body() {
                Ok(bytes) if bytes.is_empty() => return Ok(Over::Connection),
                Ok(bytes) => {
                    silent = Duration::ZERO;
                    if self.take(&bytes)? {
                        return Ok(Over::Run);
                    }
                }
                Err(error)
                    if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) =>
                {
                    silent += GLANCE;
                    if silent >= SILENCE_MAX {
                        return Ok(Over::Connection);
                    }
                }
                Err(_) => return Ok(Over::Connection),
            }
        }
    }

    /// Asks for the stream; nothing, where no answer comes.
    fn open(&mut self, address: SocketAddr) -> Option<(Connection, Head)> {
        let last_event_id = self.interpreter.last_event_id.clone();
        let retry_ms = self.interpreter.retry_ms;
        self.interpreter = Interpreter::new(&last_event_id);
        self.interpreter.retry_ms = retry_ms;
        self.end_of_last.clear();
        let mut request = self.request.clone();
        if !last_event_id.is_empty() {
            request = request.last_event_id(&last_event_id);
        }
        let mut connection = Connection::open(address).ok()?;
        connection.send(&request.bytes()).ok()?;
        let head = connection.read_head().ok()?;
        let limit = connection.socket().set_read_timeout(Some(GLANCE));
        limit.ok()?;
        Some((connection, head))
    }

    /// Takes what has arrived; says whether the last event was in it.
    fn take(&mut self, bytes: &[u8]) -> Result<bool, String> {
        self.look_for_leaks(bytes)?;
        let mut messages = Vec::new();
        self.interpreter
            .read(bytes, |message| messages.push(message));
        for message in messages {
            match message.event.as_str() {
                "" if self.on_event(&message)? => return Ok(true),
                "" | "heartbeat" => {}
                "connected" => self.on_connected(&message)?,
                "reset" => self.on_reset(&message)?,
                "refused" => self.client.count(|counts| &counts.refusals),
                "bye" => self.client.count(|counts| &counts.byes),
                _ => return Err(format!("an event of an unknown name: {message:?}")),
            }
        }
        Ok(false)
    }

    fn look_for_leaks(&mut self, bytes: &[u8]) -> Result<(), String> {
        self.end_of_last.extend_from_slice(bytes);
        for foreign in &self.client.foreign {
            if holds(&self.end_of_last, foreign.as_bytes()) {
                self.client.count(|counts| &counts.leaked);
                let text = String::from_utf8_lossy(&self.end_of_last);
                return Err(format!("the marker of others: {text}"));
            }
        }
        // A marker of 32 letters may have begun with the last 31.
        let kept = self.end_of_last.len().saturating_sub(31);
        self.end_of_last.drain(..kept);
        Ok(())
    }

    fn on_connected(&mut self, message: &Message) -> Result<(), String> {
        self.client.count(|counts| &counts.streams);
        let connected: Value = serde_json::from_str(&message.data).map_err(|e| e.to_string())?;
        let is_first = self.seen.positions.is_empty() && self.on_open.is_some();
        let verdict = connected["resume"].as_str().unwrap_or_default();
        let is_in_order = match verdict {
            "live" => is_first,
            "resumed" | "reset" => !is_first,
            _ => false,
        };
        if !is_in_order {
            return Err(format!("neither resumed nor reset: {}", message.data));
        }
        if let Some(on_open) = self.on_open.take() {
            on_open();
        }
        Ok(())
    }

    fn on_reset(&mut self, message: &Message) -> Result<(), String> {
        self.client.count(|counts| &counts.resets);
        let from: Position = position(message)?;
        let (user, last) = (&self.client.user, self.seen.positions.last().copied());
        self.stage
            .say(&format!("{user} starts anew at {from}: {}", message.data));
        self.seen.gaps.push((last, from));
        Ok(())
    }

    /// Takes an event; says whether it was the last.
    fn on_event(&mut self, message: &Message) -> Result<bool, String> {
        let Message { id, data, .. } = message;
        let position = position(message)?;
        if !data.starts_with(&format!("{{\"id\":\"{id}\",")) {
            return Err(format!("another id inside: {message:?}"));
        }
        // Neither within a connection nor across them: who sends its last id has what is before it.
        if let Some(last) = self.seen.positions.last()
            && position <= *last
        {
            self.client.count(|counts| &counts.duplicated);
            return Err(format!("{position} after {last}: {data}"));
        }
        self.seen.positions.push(position);
        self.client.ledger.note(position, data)?;
        self.client.count(|counts| &counts.delivered);
        Ok(data.contains(END))
    }
}

fn position(message: &Message) -> Result<Position, String> {
    let id = message.id.parse();
    id.map_err(|()| format!("no id: {message:?}"))
}

/// Whether these bytes stand there.
fn holds(bytes: &[u8], needle: &[u8]) -> bool {
    bytes.windows(needle.len()).any(|window| window == needle)
}
