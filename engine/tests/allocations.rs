//! A delivery allocates nothing: what an event costs in allocations is the same however many receive
//! it. And a wait for a page keeps no more than an idle stream. Counted in a binary of its own, since the counting allocator is that of the whole program.

use bytes::Bytes;
use engine::{
    Close, Config, Driver, Engine, Handle, Next, Notice, Now, Outcome, Overloaded, Transmit, Watch,
};
use wire::http::Request;
use wire::{
    Audience, Batch, Commit, ConnectionId, EventId, Filter, Format, Frame, FrameWriter, Grant, Key,
    Keys, Lineage, Lsn, Name, PageRequest, PageSince, Purpose, Resume, Scope, Source, Start, Topic,
};

const NOW: Now = Now {
    monotonic_ms: 1_000,
    micros: 0,
    wall_ms: 1_700_000_000_000,
};

/// Sockets that take everything, and keep nothing.
#[derive(Default)]
struct Sockets {
    waiting: Option<ConnectionId>,
    accepted: Option<Handle>,
    sends: usize,
    /// What one send takes; `None` is everything.
    takes_at_most: Option<usize>,
}

impl Driver for Sockets {
    fn send(&mut self, group: &mut [Transmit<'_>]) {
        for send in group {
            let taken = self.takes_at_most.unwrap_or(usize::MAX);
            send.outcome = Outcome::Taken(send.bytes.len().min(taken));
            self.sends += 1;
        }
    }

    fn watch(&mut self, connection: Handle, what: Watch) {
        if what == Watch::Readable {
            self.accepted = Some(connection);
        }
    }

    fn finish(&mut self, _: Handle) {}

    fn close(&mut self, connection: Handle, how: Close) {
        panic!("{connection:?} is closed: {how:?}");
    }

    fn forward(&mut self, id: ConnectionId, _: Handle, _: Request) -> Result<(), Overloaded> {
        self.waiting = Some(id);
        Ok(())
    }

    fn notify(&mut self, _: Notice) {}
}

/// An engine with so many streams of one organisation, all in step.
struct House {
    engine: Engine,
    sockets: Sockets,
    lsn: u64,
}

impl House {
    fn new(streams: usize, format: Format) -> Self {
        let config = Config {
            engine: 0,
            boot: 1,
            seed: [0; 16],
            streams: Vec::new(),
            heartbeat_ms: 25_000,
            log_bytes_max: 1 << 24,
            reset_spread_ms: 10_000,
            idle_close_ms: 0,
            resume_wait_ms: 15_000,
        };
        let mut house = Self {
            engine: Engine::new(config, NOW),
            sockets: Sockets::default(),
            lsn: 16,
        };
        let lineage = Lineage::new(0xe, Vec::new(), 1);
        let floor = lineage.position(Lsn(0), 0);
        let start = Start {
            lineage,
            floor,
            caught_up: floor,
        };
        house.take(Batch::Start(start.into()));
        (0..streams).for_each(|stream| house.open(stream, format));
        // What a burst needs once is there afterwards.
        for _ in 0..4 {
            house.deliver();
        }
        house
    }

    fn open(&mut self, stream: usize, format: Format) {
        self.grant(stream, format, Purpose::Stream);
    }

    fn grant(&mut self, stream: usize, format: Format, purpose: Purpose) {
        let descriptor = i32::try_from(stream).expect("few streams");
        self.engine
            .handle_accept(NOW, descriptor, &mut self.sockets);
        let handle = self
            .sockets
            .accepted
            .take()
            .expect("its bytes are waited for");
        let request = b"GET /stream HTTP/1.1\r\nhost: a\r\n\r\n";
        self.engine
            .handle_bytes(NOW, handle, request, &mut self.sockets);
        let connection = self.sockets.waiting.take().expect("it asked for a stream");
        let grant = Grant {
            connection,
            scope: Scope::Organisation(key("acme")),
            user: Some(key(&stream.to_string())),
            session: None,
            filter: Filter::default(),
            format,
            expires_ms: None,
            since: None,
            resume: Resume::Live,
            head: match purpose {
                Purpose::Stream => Bytes::from_static(b"HTTP/1.1 200 OK\r\n\r\n"),
                Purpose::Page(_) => Bytes::new(),
            },
            about: Bytes::from_static(b"\"userId\":\"u\""),
            purpose,
        };
        self.take(Batch::Grant(Box::new(grant)));
    }

    fn take(&mut self, batch: Batch) {
        self.engine.handle_batch(NOW, batch, &mut self.sockets);
        while self.engine.turn(NOW, &mut self.sockets) == Next::Now {}
    }

    /// Delivers a transaction of two events to everybody. Returns how many sends that took, and how
    /// many allocations.
    fn deliver(&mut self) -> (usize, u64) {
        self.lsn += 16;
        let frames = vec![frame(self.lsn, 1), frame(self.lsn, 2)];
        let commit = Commit {
            through: position(self.lsn + 1, 0),
            frames,
            end: Some(Lsn(self.lsn + 1)),
        };
        let batch = Batch::Commit(commit.into());
        self.sockets.sends = 0;
        let counted = allocation_counter::measure(|| self.take(batch));
        (self.sockets.sends, counted.count_total)
    }
}

fn key(name: &str) -> Key {
    Keys::new([7; 16]).organisation(name)
}

fn position(lsn: u64, index: u32) -> EventId {
    EventId {
        epoch: 0xe,
        timeline: 1,
        lsn: Lsn(lsn),
        index,
    }
}

fn frame(lsn: u64, index: u32) -> Frame {
    frame_of(lsn, index, 0)
}

fn frame_of(lsn: u64, index: u32, data_bytes: usize) -> Frame {
    let name = Name::new("property").expect("a name");
    let id = position(lsn, index);
    let mut writer = FrameWriter::new(id, &name, &name, 1_000, Source::Postgres);
    let start = writer.json().len();
    let data = format!("\"{}\"", "x".repeat(data_bytes));
    writer.json().extend_from_slice(data.as_bytes());
    writer.mark_data(start);
    writer.finish(Audience::of(Topic::Organisation(key("acme"))))
}

#[test]
fn what_an_event_allocates_does_not_depend_on_how_many_receive_it() {
    for format in [Format::Event, Format::Data, Format::Named] {
        let (mut few, mut many) = (House::new(300, format), House::new(3_000, format));
        for _ in 0..20 {
            let (sends_of_few, allocations_of_few) = few.deliver();
            let (sends_of_many, allocations_of_many) = many.deliver();
            assert_eq!((sends_of_few, sends_of_many), (300, 3_000));
            assert!(
                allocations_of_many <= allocations_of_few + 2,
                "{format:?}: {allocations_of_few} allocations for 300, {allocations_of_many} for 3,000"
            );
            assert!(allocations_of_many < 50, "{allocations_of_many}");
        }
    }
}

#[test]
fn those_who_waited_for_one_event_share_its_bytes() {
    const COUNT: usize = 1_000;
    const EVENT_BYTES: usize = 100 * 1024;
    let mut house = House::new(0, Format::Event);
    let page = Purpose::Page(PageRequest {
        // What the house has seen by then.
        since: PageSince::After(position(16 + 4 * 16 + 1, 0)),
        limit: 50,
        wait_ms: 25_000,
    });
    house.sockets.takes_at_most = Some(0);
    (0..COUNT).for_each(|wait| house.grant(wait, Format::Event, page));
    assert_eq!(house.engine.counters().pages, 0);
    house.lsn += 16;
    let commit = Commit {
        frames: vec![frame_of(house.lsn, 1, EVENT_BYTES)],
        through: position(house.lsn + 1, 0),
        end: Some(Lsn(house.lsn + 1)),
    };
    let counted = allocation_counter::measure(|| house.take(Batch::Commit(commit.into())));
    assert_eq!(house.engine.counters().pages, COUNT as u64);
    // By themselves they would take a thousand times the event.
    assert!(counted.bytes_max < 20 * EVENT_BYTES as u64, "{counted:?}");
}

#[test]
fn a_wait_for_a_page_keeps_no_more_than_an_idle_stream() {
    const COUNT: usize = 2_000;
    let page = Purpose::Page(PageRequest {
        // What the house has seen by then.
        since: PageSince::After(position(16 + 4 * 16 + 1, 0)),
        limit: 50,
        wait_ms: 60_000,
    });
    let kept = |purpose: Purpose| {
        let mut house = House::new(0, Format::Event);
        let open = || (0..COUNT).for_each(|stream| house.grant(stream, Format::Event, purpose));
        let counted = allocation_counter::measure(open);
        house.sockets.sends = 0;
        let counters = house.engine.counters();
        assert_eq!((counters.streams, counters.behind), (COUNT as u64, 0));
        counted.bytes_current
    };
    let (of_streams, of_pages) = (kept(Purpose::Stream), kept(page));
    assert!(
        of_pages <= of_streams + of_streams / 20,
        "{of_pages} bytes for waits, {of_streams} for streams"
    );
}
