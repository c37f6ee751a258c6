//! What a client does next, and how it asks for it.

use super::{Client, Id};
use crate::model::Position;
use crate::swarm;
use crate::time::Time;

/// What a client has decided.
#[derive(Debug, PartialEq, Eq)]
pub enum Doing {
    /// It opens a stream.
    Connect,
    /// It closes its stream.
    Leave,
    /// It is gone, and nobody is told.
    Vanish,
    /// It reads nothing for so long.
    Stall(Time),
    /// It wants these channels from now on.
    Subscribe(Vec<String>),
    /// It goes on as it is.
    Nothing,
}

/// A request, and the id that it names.
#[derive(Debug)]
pub struct Request {
    /// Its bytes.
    pub bytes: Vec<u8>,
    /// The id.
    pub sent: Option<Id>,
}

/// The channels that there are: those of the tables, of messages, and of users.
const CHANNELS: [&str; 4] = ["property", "report", "notes", "user"];

impl Client {
    /// What it does now. In calm times it opens its stream and stays.
    pub fn decide(&mut self, is_calm: bool) -> Doing {
        if self.stream.is_none() {
            return Doing::Connect;
        }
        if is_calm {
            return Doing::Nothing;
        }
        if self.habits.subscribes && self.random.chance(850) {
            return Doing::Subscribe(self.some_channels());
        }
        let drawn = self.random.below(100);
        match drawn {
            0..30 if self.habits.vanishes => Doing::Vanish,
            0..40 if self.habits.stalls => {
                Doing::Stall(Time::from_ms(self.random.log_uniform(100..=60_000)))
            }
            70..100 => Doing::Leave,
            _ => Doing::Nothing,
        }
    }

    /// How long until it decides again.
    pub fn patience(&mut self, rules: &swarm::Crowd, is_calm: bool) -> Time {
        let mean_ms = match self.habits.subscribes {
            true => rules.stay_ms.min(rules.subscribing_ms),
            false => rules.stay_ms,
        };
        match is_calm {
            true => Time::from_ms(500 + self.random.below(1_500)),
            false => Time::from_ms(1 + self.random.below(2 * mean_ms)),
        }
    }

    /// How long until it comes back.
    pub fn pause(&mut self) -> Time {
        Time::from_ms(self.random.log_uniform(5..=5_000))
    }

    /// How many bytes a read takes, and how long until the next one.
    pub fn pace(&mut self, is_calm: bool) -> Option<(usize, Time)> {
        if !self.habits.is_slow || is_calm {
            return None;
        }
        let bytes = self.random.log_uniform(1..=2_048) as usize;
        Some((bytes, Time(self.random.below(200_000) + 1)))
    }

    /// A place among so many.
    pub fn choose(&mut self, count: usize) -> usize {
        self.random.below(count as u64) as usize
    }

    /// Whether something happens.
    pub fn chance(&mut self, per_mille: u32) -> bool {
        self.random.chance(per_mille)
    }

    /// The channels that it names when it comes.
    pub fn some_channels(&mut self) -> Vec<String> {
        let count = self.random.below(3) as usize;
        let mut channels: Vec<String> = (0..count)
            .map(|_| (*self.random.pick(&CHANNELS)).to_owned())
            .collect();
        channels.sort_unstable();
        channels.dedup();
        channels
    }

    /// The types that it names when it comes.
    pub fn some_types(&mut self) -> Vec<String> {
        const TYPES: [&str; 4] = ["property.*", "property.update", "note*", "*"];
        match self.random.chance(300) {
            true => vec![(*self.random.pick(&TYPES)).to_owned()],
            false => Vec::new(),
        }
    }

    /// The request for its stream.
    pub fn request(&mut self, other_id: u32, seen: &[Id], floor: Option<Position>) -> Request {
        let is_other = self.random.chance(other_id);
        let sent = match is_other {
            true => self.other_id(seen, floor),
            false => self.last.clone(),
        };
        let named = |parameter: &str, names: &[String]| match names.is_empty() {
            true => String::new(),
            false => format!("&{parameter}={}", names.join(",")),
        };
        let channels = named("channel", &self.channels) + &named("type", &self.types);
        let last = sent
            .as_ref()
            .map_or_else(String::new, |id| format!("last-event-id: {}\r\n", id.text));
        let bytes = format!(
            "GET /api/realtime/stream?organizationId={}{channels} HTTP/1.1\r\nhost: a\r\n\
             cookie: session={}\r\n{last}\r\n",
            self.organisation,
            self.token.as_deref().unwrap_or("none"),
        );
        Request {
            bytes: bytes.into_bytes(),
            sent,
        }
    }

    /// The request that changes its subscription, where its stream has a name.
    pub fn change(&self, channels: &[String]) -> Option<Vec<u8>> {
        let connection = self.stream.as_ref()?.oracle.connection.as_deref()?;
        let names = match channels.is_empty() {
            true => String::new(),
            false => format!("&channel={}", channels.join(",")),
        };
        let bytes = format!(
            "PUT /api/realtime/stream?connectionId={connection}{names} HTTP/1.1\r\nhost: a\r\n\
             cookie: session={}\r\ncontent-length: 0\r\n\r\n",
            self.token.as_deref().unwrap_or("none"),
        );
        Some(bytes.into_bytes())
    }

    /// What no client sends.
    pub fn nonsense(&mut self) -> Vec<u8> {
        let all: [&[u8]; 8] = [
            b"GET / HTTP/1.1\r\n\r\n",
            b"GET /api/realtime/stream HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\ncontent-length: 3\r\n\r\nabc",
            b"\x16\x03\x01\x02\x00\x01\x00",
            b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
            b"GET /api/realtime/stream?organizationId=o1 HTTP/1.1\r\nhost: a\r\nhost: b\r\n\r\n",
            b"POST /api/realtime/stream?connectionId=x HTTP/1.1\r\nhost: a\r\ncontent-length: 10\r\n\r\n",
            b"GET /api/realtime/stream?organizationId=",
            b"\r\n\n\r\x00\x00",
        ];
        self.random.pick(&all).to_vec()
    }

    /// An id that is not the client's last.
    fn other_id(&mut self, seen: &[Id], floor: Option<Position>) -> Option<Id> {
        let own = self.last.clone();
        let epoch = own.as_ref().or(seen.last()).map_or(0, |id| id.epoch);
        let at = |position: Position| {
            Id::parse(&format!(
                "{epoch:x}.{:x}.{:x}.{:x}",
                position.timeline, position.lsn, position.index
            ))
        };
        match (self.random.below(8), floor, own) {
            (0, _, _) => None,
            (1, _, _) => Some(Id::parse("garbage")),
            (2, Some(floor), _) => Some(at(floor)),
            (3, Some(floor), _) => Some(at(Position {
                lsn: floor.lsn - 1,
                ..floor
            })),
            (
                4,
                _,
                Some(Id {
                    position: Some(own),
                    ..
                }),
            ) => Some(at(Position {
                lsn: own.lsn + (1 << self.random.below(40)),
                ..own
            })),
            (
                5,
                _,
                Some(Id {
                    position: Some(own),
                    ..
                }),
            ) => {
                let id = at(own);
                let text = format!("{:x}{}", epoch ^ 1, &id.text[id.text.find('.')?..]);
                Some(Id::parse(&text))
            }
            (_, _, own) if seen.is_empty() => own,
            _ => Some(self.random.pick(seen).clone()),
        }
    }
}
