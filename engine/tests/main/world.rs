//! A world without kernel and clock: sockets that take what the test says, and an engine driven by
//! the steps of its contract.

use std::collections::BTreeMap;

use bytes::Bytes;
use engine::{
    Close, Command, Config, Driver, Engine, Handle, Next, Notice, Now, Outcome, Overloaded,
    StreamPath, Transmit, Watch,
};
use wire::http::Request;
use wire::{
    Audience, Batch, Commit, ConnectionId, EventId, Filter, Format, Frame, FrameWriter, Grant, Key,
    Keys, Lineage, Lsn, Name, Resume, Scope, Source, Start, Topic,
};

/// An engine and the sockets of its clients.
pub(crate) struct World {
    pub(crate) engine: Engine,
    pub(crate) kernel: Kernel,
    pub(crate) now: Now,
    pub(crate) lineage: Lineage,
}

/// What is on the other side of the driver's trait.
#[derive(Default)]
pub(crate) struct Kernel {
    pub(crate) sockets: BTreeMap<i32, Socket>,
    pub(crate) requests: Vec<(ConnectionId, Request)>,
    pub(crate) notices: Vec<Notice>,
    pub(crate) is_overloaded: bool,
    /// Sends of each group, in order: to which sockets.
    pub(crate) groups: Vec<Vec<i32>>,
    /// The most bytes that one send ever had.
    pub(crate) largest_send: usize,
    /// How long one send takes, in microseconds.
    pub(crate) send_us: u64,
    /// How long those of this turn took.
    elapsed_us: u64,
}

/// One client's side.
#[derive(Default)]
pub(crate) struct Socket {
    pub(crate) handle: Option<Handle>,
    pub(crate) id: Option<ConnectionId>,
    pub(crate) received: Vec<u8>,
    /// How much more the socket takes before it is full; `None` is everything.
    pub(crate) room: Option<usize>,
    pub(crate) is_readable_watched: bool,
    pub(crate) is_hangup_watched: bool,
    pub(crate) is_writable_watched: bool,
    pub(crate) is_finished: bool,
    pub(crate) is_broken: bool,
    pub(crate) closed: Option<Close>,
    pub(crate) is_released: bool,
}

impl Driver for Kernel {
    fn send(&mut self, group: &mut [Transmit<'_>]) {
        assert!(group.len() <= engine::limits::GROUP_MAX);
        self.elapsed_us += self.send_us * group.len() as u64;
        self.groups.push(
            group
                .iter()
                .map(|send| send.connection.descriptor)
                .collect(),
        );
        for send in group {
            assert!(!send.bytes.is_empty());
            self.largest_send = self.largest_send.max(send.bytes.len());
            let socket = self.socket(send.connection);
            assert!(
                !socket.is_finished && socket.closed.is_none(),
                "sent to a closed socket"
            );
            if socket.is_broken {
                send.outcome = Outcome::Broken;
                continue;
            }
            let taken = send.bytes.len().min(socket.room.unwrap_or(usize::MAX));
            socket.received.extend_from_slice(&send.bytes[..taken]);
            if let Some(room) = &mut socket.room {
                *room -= taken;
            }
            send.outcome = Outcome::Taken(taken);
        }
    }

    fn watch(&mut self, connection: Handle, what: Watch) {
        let socket = self.socket(connection);
        match what {
            Watch::Readable => socket.is_readable_watched = true,
            Watch::Hangup => socket.is_hangup_watched = true,
            Watch::Writable => socket.is_writable_watched = true,
        }
    }

    fn finish(&mut self, connection: Handle) {
        self.socket(connection).is_finished = true;
    }

    fn close(&mut self, connection: Handle, how: Close) {
        let socket = self.socket(connection);
        assert!(socket.closed.replace(how).is_none(), "closed twice");
    }

    fn forward(
        &mut self,
        id: ConnectionId,
        from: Handle,
        request: Request,
    ) -> Result<(), Overloaded> {
        self.socket(from).id = Some(id);
        if self.is_overloaded {
            return Err(Overloaded);
        }
        self.requests.push((id, request));
        Ok(())
    }

    fn notify(&mut self, notice: Notice) {
        self.notices.push(notice);
    }
}

impl Kernel {
    fn socket(&mut self, connection: Handle) -> &mut Socket {
        let socket = self.sockets.entry(connection.descriptor).or_default();
        socket.handle.get_or_insert(connection);
        assert_eq!(
            socket.handle,
            Some(connection),
            "a descriptor has one connection"
        );
        assert!(!socket.is_released, "a released connection is used");
        socket
    }
}

impl World {
    /// A world whose engine's log holds this many bytes, started at LSN 0.
    pub(crate) fn new(log_bytes_max: usize) -> Self {
        Self::closing_idle(log_bytes_max, 0)
    }

    /// The same, where streams are closed that are sent no data event for so long.
    pub(crate) fn closing_idle(log_bytes_max: usize, idle_close_ms: u64) -> Self {
        let config = Config {
            engine: 0,
            boot: 0xb007,
            seed: [0; 16],
            streams: vec![StreamPath {
                path: "/stream".into(),
                soft_refusal: true,
            }],
            heartbeat_ms: 25_000,
            // An eighth of it is kept for pages of history, and is no part of what is streamed from.
            log_bytes_max: log_bytes_max * 8 / 7,
            reset_spread_ms: 10_000,
            idle_close_ms,
            resume_wait_ms: 15_000,
        };
        let now = Now {
            monotonic_ms: 1_000,
            micros: 0,
            wall_ms: 1_700_000_000_000,
        };
        let lineage = Lineage::new(0xe, Vec::new(), 1);
        let engine = Engine::new(config, now);
        let mut world = Self {
            engine,
            kernel: Kernel::default(),
            now,
            lineage,
        };
        let floor = world.lineage.position(Lsn(0), 0);
        world.batch(Batch::Start(
            Start {
                lineage: world.lineage.clone(),
                floor,
                caught_up: floor,
            }
            .into(),
        ));
        world
    }

    /// Accepts a connection on this descriptor.
    pub(crate) fn accept(&mut self, descriptor: i32) {
        // A descriptor is used again when its connection is gone.
        self.kernel.sockets.remove(&descriptor);
        self.engine
            .handle_accept(self.now, descriptor, &mut self.kernel);
    }

    /// Bytes from a client.
    pub(crate) fn bytes(&mut self, descriptor: i32, bytes: &[u8]) {
        let socket = self.kernel.sockets.get_mut(&descriptor).unwrap();
        if std::mem::take(&mut socket.is_readable_watched) {
            let handle = socket.handle.unwrap();
            self.engine
                .handle_bytes(self.now, handle, bytes, &mut self.kernel);
        }
    }

    /// The client closes or breaks; noticed only where it is watched for.
    pub(crate) fn hang_up(&mut self, descriptor: i32) {
        let socket = self.kernel.sockets.get_mut(&descriptor).unwrap();
        socket.is_broken = true;
        let is_watched = socket.is_hangup_watched || socket.is_readable_watched;
        if is_watched && socket.closed.is_none() {
            let handle = socket.handle.unwrap();
            self.engine
                .handle_hangup(self.now, handle, &mut self.kernel);
        }
    }

    /// The client's socket has room for this many bytes more, or for everything.
    pub(crate) fn make_room(&mut self, descriptor: i32, room: Option<usize>) {
        let socket = self.kernel.sockets.get_mut(&descriptor).unwrap();
        socket.room = room;
        let has_room = room != Some(0);
        if has_room && socket.closed.is_none() && std::mem::take(&mut socket.is_writable_watched) {
            let handle = socket.handle.unwrap();
            self.engine
                .handle_writable(self.now, handle, &mut self.kernel);
        }
    }

    /// Hands a batch over, after as many turns as the intake asks for.
    pub(crate) fn batch(&mut self, batch: Batch) {
        for _ in 0..100_000 {
            if self.engine.wants_batch() {
                self.engine.handle_batch(self.now, batch, &mut self.kernel);
                return;
            }
            self.turn();
        }
        panic!("the intake does not open");
    }

    /// A command from the control thread.
    pub(crate) fn command(&mut self, command: Command) {
        self.engine
            .handle_command(self.now, command, &mut self.kernel);
    }

    /// One turn, then whatever was closed is released.
    pub(crate) fn turn(&mut self) -> Next {
        let next = self.engine.turn(self.now, &mut self.kernel);
        let elapsed_us = std::mem::take(&mut self.kernel.elapsed_us);
        self.pass_us(elapsed_us);
        self.engine.handle_sent(self.now);
        for socket in self.kernel.sockets.values_mut() {
            if socket.closed.is_some() && !std::mem::replace(&mut socket.is_released, true) {
                self.engine.handle_released(socket.handle.unwrap());
            }
        }
        next
    }

    /// Turns until nothing is pending.
    pub(crate) fn settle(&mut self) {
        for _ in 0..100_000 {
            if self.turn() != Next::Now {
                return;
            }
        }
        panic!("the engine does not come to rest");
    }

    /// Lets a little time pass, in which nothing happens.
    pub(crate) fn pass_us(&mut self, us: u64) {
        let us = us + u64::from(self.now.micros);
        self.now.micros = u16::try_from(us % 1_000).unwrap();
        self.now.monotonic_ms += us / 1_000;
        self.now.wall_ms += us / 1_000;
    }

    /// Lets time pass, a second at a time.
    pub(crate) fn pass(&mut self, ms: u64) {
        let end = self.now.monotonic_ms + ms;
        while self.now.monotonic_ms < end {
            let step = 1_000.min(end - self.now.monotonic_ms);
            self.now.monotonic_ms += step;
            self.now.wall_ms += step;
            self.settle();
        }
    }

    /// The connection on a descriptor, by name.
    pub(crate) fn id_of(&self, descriptor: i32) -> ConnectionId {
        self.kernel.sockets[&descriptor]
            .id
            .expect("it has sent a request")
    }
}

/// The key of a name, whatever kind of thing it names.
pub(crate) fn key(name: &str) -> Key {
    Keys::new([7; 16]).organisation(name)
}

/// A position of this world.
pub(crate) fn position(lsn: u64, index: u32) -> EventId {
    EventId {
        epoch: 0xe,
        timeline: 1,
        lsn: Lsn(lsn),
        index,
    }
}

/// A name.
pub(crate) fn name(text: &str) -> Name {
    Name::new(text).unwrap()
}

/// A frame of this many bytes of data.
pub(crate) fn frame(audience: Audience, channel: &str, id: EventId, bytes: usize) -> Frame {
    let event_type = name(&format!("{channel}.insert"));
    let mut writer = FrameWriter::new(id, &event_type, &name(channel), 1_000, Source::Postgres);
    let start = writer.json().len();
    let text = "x".repeat(bytes);
    writer
        .json()
        .extend_from_slice(format!("\"{text}\"").as_bytes());
    writer.mark_data(start);
    writer.finish(audience)
}

/// The batch of a whole transaction.
pub(crate) fn commit(lsn: u64, frames: Vec<Frame>) -> Batch {
    let through = position(lsn + 1, 0);
    Batch::Commit(
        Commit {
            frames,
            through,
            end: Some(Lsn(lsn + 1)),
        }
        .into(),
    )
}

/// A grant for a whole organisation, live.
pub(crate) fn grant(connection: ConnectionId, organisation: &str, user: &str) -> Grant {
    Grant {
        connection,
        scope: Scope::Organisation(key(organisation)),
        user: Some(key(user)),
        session: Some(key(&format!("session of {user}"))),
        filter: Filter::default(),
        format: Format::Event,
        expires_ms: None,
        since: None,
        resume: Resume::Live,
        head: Bytes::from_static(b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\n"),
        about: Bytes::from(format!("\"organizationId\":\"{organisation}\"")),
        purpose: wire::Purpose::Stream,
    }
}

/// The topic of an organisation.
pub(crate) fn organisation(name: &str) -> Audience {
    Audience::of(Topic::Organisation(key(name)))
}
