//! The clients: tabs of people who belong to organisations, each with habits of its own. What a client
//! makes of what it reads is judged in `oracle`; what it does next is in `conduct`.

mod conduct;
mod oracle;

pub use conduct::{Doing, Request};
pub use oracle::{Circumstances, Id, Oracle, position};

use crate::model::{Model, Position, Viewer};
use crate::parser::{Item, Parser};
use crate::random::Random;
use crate::sometimes::Sometimes;
use crate::swarm;
use crate::time::Time;

/// What a client is like.
#[derive(Clone, Copy, Debug)]
pub struct Habits {
    /// It reads a little at a time.
    pub is_slow: bool,
    /// It stops reading now and then.
    pub stalls: bool,
    /// It vanishes without a word.
    pub vanishes: bool,
    /// It sends what no client sends.
    pub is_hostile: bool,
    /// It names channels.
    pub is_filtered: bool,
    /// It changes its subscription.
    pub subscribes: bool,
    /// It shows what most others show, and comes where they come.
    pub is_together: bool,
}

/// A tab.
#[derive(Debug)]
pub struct Client {
    /// Which one.
    pub number: u32,
    /// What it is like.
    pub habits: Habits,
    /// Who sits before it.
    pub user: String,
    /// The organisation that it shows.
    pub organisation: String,
    /// The cookie, and the row of the session that it is of.
    pub token: Option<String>,
    /// The channels it names; none is all.
    pub channels: Vec<String>,
    /// The types it names; none is all.
    pub types: Vec<String>,
    /// The id that it goes on from.
    pub last: Option<Id>,
    /// The open stream.
    pub stream: Option<Stream>,
    /// It is told to log in, or to be somebody else, before it comes again.
    pub refused: Option<u16>,
    /// The row of the session that the cookie is of.
    pub session: String,
    /// Whether the database had that when the client came.
    pub is_known: bool,
    /// The node to which it is sent, wherever it is.
    pub goes_to: Option<u32>,
    /// When it decides next.
    pub due: Option<Time>,
    /// How often it connected.
    pub connects: u64,
    /// How many events it has received.
    pub events: u64,
    /// How many resets.
    pub resets: u64,
    random: Random,
}

/// A stream as its client reads it.
#[derive(Debug)]
pub struct Stream {
    /// The connection.
    pub connection: u32,
    /// Since when.
    pub since: Time,
    /// The judge.
    pub oracle: Oracle,
    /// Nothing is read before this time.
    pub stalled_until: Time,
    parser: Parser,
    status: Option<u16>,
}

/// How a connection ended, for its client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// The server closed it in order.
    Orderly,
    /// It broke.
    Broken,
}

impl Client {
    /// A client that has not come yet.
    pub fn new(number: u32, rules: &swarm::Crowd, mut random: Random) -> Self {
        let habits = Habits {
            is_slow: random.chance(rules.slow),
            stalls: random.chance(rules.stalled),
            vanishes: random.chance(rules.half_open),
            is_hostile: random.chance(rules.hostile),
            is_filtered: random.chance(rules.filtered),
            subscribes: random.chance(rules.subscribing),
            is_together: random.chance(rules.together),
        };
        Self {
            number,
            habits,
            user: String::new(),
            organisation: String::new(),
            token: None,
            channels: Vec::new(),
            types: Vec::new(),
            last: None,
            stream: None,
            refused: None,
            session: String::new(),
            is_known: false,
            goes_to: None,
            due: None,
            connects: 0,
            events: 0,
            resets: 0,
            random,
        }
    }

    /// The stream begins.
    pub fn begin(
        &mut self,
        now: Time,
        connection: u32,
        viewer: Viewer,
        sent: Option<Id>,
        applied: Option<Position>,
        model: &Model,
    ) {
        self.connects += 1;
        self.refused = None;
        self.stream = Some(Stream {
            connection,
            since: now,
            oracle: Oracle::new(viewer, sent, (applied, model.end())),
            stalled_until: Time(0),
            parser: Parser::default(),
            status: None,
        });
    }

    /// Whether it has read half an event.
    pub fn is_within_event(&self) -> bool {
        let stream = self.stream.as_ref();
        stream.is_some_and(|stream| !stream.parser.is_at_boundary())
    }

    /// Reads bytes of its stream, and judges what they say.
    pub fn read(
        &mut self,
        bytes: &[u8],
        around: Circumstances<'_>,
        sometimes: &mut Sometimes,
    ) -> Result<(), String> {
        let stream = self.stream.as_mut().expect("who reads has a stream");
        let (oracle, status, last) = (&mut stream.oracle, &mut stream.status, &mut self.last);
        stream.parser.feed(bytes, |item| {
            match item {
                Item::Head {
                    status: said,
                    is_stream,
                } => {
                    if is_stream != (said == 200) {
                        return Err(format!("a status {said}, and a stream: {is_stream}"));
                    }
                    *status = Some(said);
                }
                Item::Event(event) => {
                    if let Some(id) = oracle.judge(event, around, sometimes)? {
                        *last = Some(id);
                    }
                }
            }
            Ok(())
        })
    }

    /// The connection is over: what was said on it is weighed, and it is no more.
    pub fn end(&mut self, end: End) -> Result<(), String> {
        let Some(stream) = self.stream.take() else {
            return Ok(());
        };
        self.events += stream.oracle.events;
        self.resets += stream.oracle.resets;
        self.refused = stream.status.filter(|status| *status != 200);
        if end == End::Orderly && !stream.parser.is_at_boundary() {
            return Err(String::from("half an event, and then the end"));
        }
        if end == End::Orderly && stream.status == Some(200) {
            stream.oracle.check_end()?;
        }
        if end == End::Orderly && stream.status.is_none() {
            return Err(format!(
                "no response, and then the end: {:?}",
                stream.oracle
            ));
        }
        Ok(())
    }
}
