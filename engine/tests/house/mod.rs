//! An engine whose sockets take everything, keep nothing and allocate nothing: what is counted beside
//! it is the engine's own. For the tests of allocations and the bench of growth; the scripts have a
//! world of their own, which remembers what was sent.

#![allow(
    dead_code,
    clippy::allow_attributes,
    reason = "shared; each program uses a part of it"
)]

use bytes::Bytes;
use engine::{
    Close, Config, Driver, Engine, Handle, Next, Notice, Now, Outcome, Overloaded, Transmit, Watch,
};
use wire::http::Request;
use wire::{
    Audience, Batch, Commit, ConnectionId, EventId, Filter, Format, Frame, FrameWriter, Grant, Key,
    Keys, Lineage, Lsn, Name, Purpose, Resume, Scope, Source, Start, Topic,
};

/// Sockets that take what they are told to.
#[derive(Default)]
pub(crate) struct Sockets {
    waiting: Option<ConnectionId>,
    accepted: Option<Handle>,
    /// Closed, and not yet released.
    closed: Option<Handle>,
    pub(crate) sends: usize,
    pub(crate) bytes: usize,
    /// What one send takes; `None` is everything.
    pub(crate) takes_at_most: Option<usize>,
    /// Those that wait until they can be written, in order.
    pub(crate) blocked: Vec<Handle>,
}

impl Driver for Sockets {
    fn send(&mut self, group: &mut [Transmit<'_>]) {
        for send in &mut *group {
            let taken = self.takes_at_most.unwrap_or(usize::MAX);
            let taken = send.bytes.len().min(taken);
            send.outcome = Outcome::Taken(taken);
            self.bytes += taken;
        }
        self.sends += group.len();
    }

    fn watch(&mut self, connection: Handle, what: Watch) {
        match what {
            Watch::Readable => self.accepted = Some(connection),
            Watch::Hangup => {}
            Watch::Writable => self.blocked.push(connection),
        }
    }

    fn finish(&mut self, _: Handle) {}

    fn close(&mut self, connection: Handle, _: Close) {
        let before = self.closed.replace(connection);
        assert_eq!(before, None, "one is closed at a time, by its client");
    }

    fn forward(&mut self, id: ConnectionId, _: Handle, _: Request) -> Result<(), Overloaded> {
        self.waiting = Some(id);
        Ok(())
    }

    fn notify(&mut self, _: Notice) {}
}

/// Whose stream is opened, and how.
#[derive(Clone)]
pub(crate) struct Terms {
    pub(crate) organisation: Key,
    pub(crate) user: Key,
    pub(crate) filter: Filter,
    pub(crate) format: Format,
    pub(crate) resume: Resume,
    pub(crate) purpose: Purpose,
}

impl Terms {
    /// A stream of everything that an organisation has, from now on.
    pub(crate) fn of(organisation: Key, user: Key) -> Self {
        Self {
            organisation,
            user,
            filter: Filter::default(),
            format: Format::Event,
            resume: Resume::Live,
            purpose: Purpose::Stream,
        }
    }
}

/// An engine, its sockets and its time.
pub(crate) struct House {
    pub(crate) engine: Engine,
    pub(crate) sockets: Sockets,
    pub(crate) now: Now,
    /// Of the last transaction.
    pub(crate) lsn: u64,
    descriptors: i32,
}

impl House {
    /// A house without streams, whose log has so many bytes.
    pub(crate) fn new(log_bytes_max: usize) -> Self {
        let config = Config {
            engine: 0,
            boot: 1,
            seed: [0; 16],
            streams: Vec::new(),
            heartbeat_ms: 25_000,
            log_bytes_max,
            reset_spread_ms: 10_000,
            idle_close_ms: 0,
            resume_wait_ms: 15_000,
        };
        let now = Now {
            monotonic_ms: 1_000,
            micros: 0,
            wall_ms: 1_700_000_000_000,
        };
        let mut house = Self {
            engine: Engine::new(config, now),
            sockets: Sockets::default(),
            now,
            lsn: 16,
            descriptors: 0,
        };
        let lineage = Lineage::new(0xe, Vec::new(), 1);
        let floor = lineage.position(Lsn(0), 0);
        let start = Start {
            lineage,
            floor,
            caught_up: floor,
        };
        house.take(Batch::Start(start.into()));
        house
    }

    /// A connection that has asked for a stream, and its grant.
    pub(crate) fn ask(&mut self, terms: Terms) -> (Handle, Batch) {
        self.descriptors += 1;
        let (now, sockets) = (self.now, &mut self.sockets);
        self.engine.handle_accept(now, self.descriptors, sockets);
        let handle = sockets.accepted.take().expect("its bytes are waited for");
        let request = b"GET /stream HTTP/1.1\r\nhost: a\r\n\r\n";
        self.engine.handle_bytes(now, handle, request, sockets);
        let connection = sockets.waiting.take().expect("it asked for a stream");
        let grant = Grant {
            connection,
            scope: Scope::Organisation(terms.organisation),
            user: Some(terms.user),
            session: None,
            filter: terms.filter,
            format: terms.format,
            expires_ms: None,
            since: None,
            resume: terms.resume,
            head: match terms.purpose {
                Purpose::Stream => Bytes::from_static(b"HTTP/1.1 200 OK\r\n\r\n"),
                Purpose::Page(_) => Bytes::new(),
            },
            about: Bytes::from_static(b"\"userId\":\"u\""),
            purpose: terms.purpose,
        };
        (handle, Batch::Grant(Box::new(grant)))
    }

    /// Opens a stream.
    pub(crate) fn open(&mut self, terms: Terms) -> Handle {
        let (handle, grant) = self.ask(terms);
        self.take(grant);
        handle
    }

    /// The client is gone, and nothing is left of its connection.
    pub(crate) fn leave(&mut self, handle: Handle) {
        self.engine
            .handle_hangup(self.now, handle, &mut self.sockets);
        let closed = self.sockets.closed.take().expect("it is closed at once");
        self.engine.handle_released(closed);
        self.settle();
    }

    /// Sockets that were full have room again.
    pub(crate) fn unblock(&mut self) {
        for handle in std::mem::take(&mut self.sockets.blocked) {
            self.engine
                .handle_writable(self.now, handle, &mut self.sockets);
        }
    }

    /// Takes a batch, and works until nothing is pending.
    pub(crate) fn take(&mut self, batch: Batch) {
        assert!(self.engine.wants_batch(), "nothing is pending");
        self.engine.handle_batch(self.now, batch, &mut self.sockets);
        self.settle();
    }

    /// Turns until nothing is pending.
    pub(crate) fn settle(&mut self) {
        while self.engine.turn(self.now, &mut self.sockets) == Next::Now {}
    }

    /// Time passes, a scan of the deadlines at a time.
    pub(crate) fn pass(&mut self, ms: u64) {
        for _ in 0..ms.div_ceil(engine::limits::SCAN_MS) {
            self.now.monotonic_ms += engine::limits::SCAN_MS;
            self.now.wall_ms += engine::limits::SCAN_MS;
            self.settle();
        }
    }

    /// The next transaction, of so many events of a topic, each with so many bytes of data.
    pub(crate) fn commit(&mut self, topic: Topic, events: u32, data_bytes: usize) -> Batch {
        self.lsn += 16;
        let frame = |index| frame(topic, "property", position(self.lsn, index), data_bytes);
        let commit = Commit {
            through: position(self.lsn + 1, 0),
            frames: (1..=events).map(frame).collect(),
            end: Some(Lsn(self.lsn + 1)),
        };
        Batch::Commit(commit.into())
    }
}

/// The key of an organisation.
pub(crate) fn organisation(name: &str) -> Key {
    Keys::new([7; 16]).organisation(name)
}

/// The key of a user.
pub(crate) fn user(number: usize) -> Key {
    Keys::new([7; 16]).user(&number.to_string())
}

/// A position of the house's cluster.
pub(crate) fn position(lsn: u64, index: u32) -> EventId {
    EventId {
        epoch: 0xe,
        timeline: 1,
        lsn: Lsn(lsn),
        index,
    }
}

/// An event with so many bytes of data.
pub(crate) fn frame(topic: Topic, channel: &str, id: EventId, data_bytes: usize) -> Frame {
    let name = Name::new(channel).expect("a name");
    let mut writer = FrameWriter::new(id, &name, &name, 1_000, Source::Postgres);
    let start = writer.json().len();
    writer.json().push(b'"');
    writer.json().resize(start + 1 + data_bytes, b'x');
    writer.json().push(b'"');
    writer.mark_data(start);
    writer.finish(Audience::of(topic))
}
