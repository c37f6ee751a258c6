//! Browsers: each follows its organisation with a native `EventSource`, which connects again after
//! `retry:` with `Last-Event-ID` and gives up for good on any status but 200. Some go away for a
//! while, as laptops do; some come back to another node, as behind a balancer.

use std::io::ErrorKind;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::event_source::{Interpreter, Message};
use crate::ledger::Ledger;
use crate::random::Random;
use crate::stage::Stage;
use crate::support::Request;
use crate::support::http::Connection;
use crate::support::position::Position;
use crate::writers::{END, LONG};

/// What is said of a client that was told to start anew.
pub(crate) const RESET: &str = "instead of resuming";

/// The reconnection time of a browser that was told none.
const RETRY: Duration = Duration::from_secs(3);

/// How long a read waits before the client looks what else there is to do.
const GLANCE: Duration = Duration::from_millis(200);

/// How long a client that goes away stays connected, and stays away, at the most.
const AWAKE: Duration = Duration::from_secs(20);
const AWAY: Duration = Duration::from_secs(12);

/// A browser.
pub(crate) struct Client {
    pub(crate) organisation: &'static str,
    pub(crate) user: String,
    /// The nodes between which it changes.
    pub(crate) nodes: Vec<SocketAddr>,
    /// Whether it goes away now and then.
    pub(crate) naps: bool,
    pub(crate) random: Random,
    pub(crate) ledger: Arc<Ledger>,
}

/// What it has seen.
#[derive(Default)]
pub(crate) struct Seen {
    /// Of every event, in the order in which they came.
    pub(crate) positions: Vec<Position>,
    /// How often a stream was opened.
    pub(crate) streams: u64,
    /// How often it was told to come back later.
    pub(crate) refusals: u64,
    /// How often the node ended the stream with words.
    pub(crate) byes: u64,
}

/// Why a connection is over.
enum Over {
    /// It ended, or could not be made; the client tries again.
    Connection,
    /// The client goes away for so long.
    Away(Duration),
    /// The run is over, or the last event has come.
    Run,
}

impl Client {
    /// Follows the organisation until its last event, or the end of the run. `on_open` is called
    /// when the first stream stands.
    pub(crate) fn run(mut self, stage: &Stage, on_open: impl FnOnce()) -> Seen {
        let _actor = stage.actor();
        let mut session = Session {
            stage,
            organisation: self.organisation,
            user: self.user.clone(),
            ledger: Arc::clone(&self.ledger),
            interpreter: Interpreter::new(""),
            seen: Seen::default(),
            on_open: Some(on_open),
        };
        let mut retry = RETRY;
        loop {
            let node = *self.random.pick(&self.nodes);
            let nap = self.naps.then(|| {
                let awake = self.random.duration(AWAKE);
                (Instant::now() + awake, self.random.duration(AWAY))
            });
            let over = match session.follow(node, nap) {
                Ok(over) => over,
                Err(violation) => {
                    let user = &self.user;
                    stage.violated(format!("{user} of {}: {violation}", self.organisation));
                    Over::Run
                }
            };
            if let Some(told_ms) = session.interpreter.retry_ms {
                retry = Duration::from_millis(told_ms);
            }
            let pause = match over {
                Over::Connection => retry,
                Over::Away(away) => away,
                Over::Run => return session.seen,
            };
            if !stage.sleep(pause, Stage::is_broken_off) {
                return session.seen;
            }
        }
    }
}

/// What stays from one connection to the next.
struct Session<'a, F> {
    stage: &'a Stage,
    organisation: &'static str,
    user: String,
    ledger: Arc<Ledger>,
    interpreter: Interpreter,
    seen: Seen,
    on_open: Option<F>,
}

impl<F: FnOnce()> Session<'_, F> {
    /// Opens a stream and reads it to its end. The error is a promise that was not kept.
    fn follow(
        &mut self,
        node: SocketAddr,
        nap: Option<(Instant, Duration)>,
    ) -> Result<Over, String> {
        let last_event_id = self.interpreter.last_event_id.clone();
        let retry_ms = self.interpreter.retry_ms;
        self.interpreter = Interpreter::new(&last_event_id);
        self.interpreter.retry_ms = retry_ms;
        let query = format!("organizationId={}", self.organisation);
        let mut request = Request::stream(&query).user(&self.user);
        if !last_event_id.is_empty() {
            request = request.last_event_id(&last_event_id);
        }
        let Ok(mut connection) = Connection::open(node) else {
            return Ok(Over::Connection);
        };
        if connection.send(&request.bytes()).is_err() {
            return Ok(Over::Connection);
        }
        let Ok(head) = connection.read_head() else {
            return Ok(Over::Connection);
        };
        if head.status != 200 {
            let body = connection.read_body().unwrap_or_default();
            return Err(format!(
                "status {}, after which a browser gives up: {}",
                head.status,
                String::from_utf8_lossy(&body)
            ));
        }
        let socket = connection.socket();
        socket
            .set_read_timeout(Some(GLANCE))
            .expect("the limit is not zero");
        loop {
            if self.stage.is_broken_off() {
                return Ok(Over::Run);
            }
            if let Some((until, away)) = nap
                && Instant::now() >= until
            {
                return Ok(Over::Away(away));
            }
            match connection.read_body() {
                Ok(bytes) if bytes.is_empty() => return Ok(Over::Connection),
                Ok(bytes) => {
                    if self.take(&bytes, &last_event_id)? {
                        return Ok(Over::Run);
                    }
                }
                Err(error)
                    if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {}
                Err(_) => return Ok(Over::Connection),
            }
        }
    }

    /// Takes what has arrived; says whether the last event was in it.
    fn take(&mut self, bytes: &[u8], resumed_after: &str) -> Result<bool, String> {
        let mut messages = Vec::new();
        self.interpreter
            .read(bytes, |message| messages.push(message));
        for message in messages {
            match message.event.as_str() {
                "" if self.on_event(&message)? => return Ok(true),
                "" | "heartbeat" => {}
                "connected" => self.on_connected(&message, resumed_after)?,
                "refused" => self.seen.refusals += 1,
                "bye" => self.seen.byes += 1,
                _ => return Err(format!("{RESET} after {resumed_after:?}: {message:?}")),
            }
        }
        Ok(false)
    }

    fn on_connected(&mut self, message: &Message, resumed_after: &str) -> Result<(), String> {
        self.seen.streams += 1;
        let connected: Value = serde_json::from_str(&message.data).map_err(|e| e.to_string())?;
        let expected = if resumed_after.is_empty() {
            "live"
        } else {
            "resumed"
        };
        if connected["resume"] != expected {
            return Err(format!("{RESET} after {resumed_after:?}: {}", message.data));
        }
        if let Some(on_open) = self.on_open.take() {
            on_open();
        }
        Ok(())
    }

    /// Takes an event; says whether it was the last.
    fn on_event(&mut self, message: &Message) -> Result<bool, String> {
        let Message { id, data, .. } = message;
        let position: Position = id.parse().map_err(|()| format!("no id: {message:?}"))?;
        if !data.starts_with(&format!("{{\"id\":\"{id}\",")) {
            return Err(format!("another id inside: {message:?}"));
        }
        // Neither within a connection nor across them: who sends its last id has what is before it.
        if let Some(last) = self.seen.positions.last()
            && position <= *last
        {
            return Err(format!("{position} after {last}: {data}"));
        }
        self.seen.positions.push(position);
        self.ledger.note(position, data)?;
        if let Some((_, rest)) = data.split_once(LONG) {
            let digits: String = rest.chars().take_while(char::is_ascii_digit).collect();
            self.stage.saw_long(digits.parse().unwrap_or_default());
        }
        Ok(data.contains(END))
    }
}
