//! A house for the tests: running engines, the test in the place of the control and the replication
//! thread, and clients.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, Sender, unbounded};
use driver::{Choice, Engines, Forwarded, Kind, Options, Port, Uplink};
use engine::{Command, Notice, Overloaded};
use wire::{
    Audience, Batch, Commit, ConnectionId, EventId, Filter, Format, Frame, FrameWriter, Grant, Key,
    Keys, Lineage, Lsn, Name, Resume, Scope, Source, Start, Topic,
};

/// How long a test waits for something that must happen.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// What a test says about its house.
pub(crate) struct Plan {
    pub(crate) kind: Kind,
    pub(crate) threads: u16,
    pub(crate) listen: SocketAddr,
    pub(crate) log_bytes_max: usize,
    pub(crate) heartbeat_ms: u64,
    pub(crate) is_overloaded: bool,
}

impl Plan {
    pub(crate) fn new(kind: Kind) -> Self {
        Self {
            kind,
            threads: 2,
            listen: "127.0.0.1:0".parse().unwrap(),
            log_bytes_max: 64 << 20,
            heartbeat_ms: 60_000,
            is_overloaded: false,
        }
    }

    pub(crate) fn open(&self) -> House {
        let (requests, requests_in) = unbounded();
        let (notices, notices_in) = unbounded();
        let choice = match self.kind {
            Kind::Uring => Choice::Uring,
            Kind::Epoll => Choice::Epoll,
        };
        let options = Options {
            listen: self.listen,
            threads: self.threads,
            choice,
        };
        let config = |engine| engine::Config {
            engine,
            boot: 0xb007,
            seed: [3; 16],
            streams: Vec::new(),
            heartbeat_ms: self.heartbeat_ms,
            log_bytes_max: self.log_bytes_max,
            reset_spread_ms: 1_000,
            idle_close_ms: 0,
            resume_wait_ms: 1_000,
        };
        let uplink = |_| -> Box<dyn Uplink> {
            let is_overloaded = self.is_overloaded;
            Box::new(Control {
                requests: requests.clone(),
                notices: notices.clone(),
                is_overloaded,
            })
        };
        let engines = driver::start(&options, config, uplink).unwrap();
        assert_eq!(engines.kind(), self.kind);
        let house = House {
            engines,
            requests: requests_in,
            notices: notices_in,
            lsn: 0x1000,
        };
        let start = Start {
            lineage: Lineage::new(0xe, Vec::new(), 1),
            floor: position(0x1000, 0),
            caught_up: position(0x1000, 0),
        };
        house.hand_over(&Batch::Start(Arc::new(start)));
        house
    }
}

/// Running engines.
pub(crate) struct House {
    pub(crate) engines: Engines,
    pub(crate) requests: Receiver<Forwarded>,
    pub(crate) notices: Receiver<Notice>,
    lsn: u64,
}

struct Control {
    requests: Sender<Forwarded>,
    notices: Sender<Notice>,
    is_overloaded: bool,
}

impl Uplink for Control {
    fn forward(&mut self, request: Forwarded) -> Result<(), Overloaded> {
        if self.is_overloaded {
            return Err(Overloaded);
        }
        // The test may have ended.
        self.requests.send(request).map_err(|_| Overloaded)
    }

    fn notify(&mut self, notice: Notice) {
        let _ = self.notices.send(notice);
    }
}

impl House {
    pub(crate) fn connect(&self) -> Client {
        Client::connect(self.engines.local_addr())
    }

    /// A batch to every engine, in the place of the replication thread.
    pub(crate) fn hand_over(&self, batch: &Batch) {
        for port in self.engines.ports() {
            hand_over(port, batch.clone());
        }
    }

    /// Commits one event of this many bytes for everybody; its number is in it.
    pub(crate) fn commit(&mut self, number: usize, bytes: usize) {
        self.lsn += 0x10;
        let id = position(self.lsn, 1);
        let frames = vec![frame(id, number, bytes)];
        let through = position(self.lsn, u32::MAX);
        let end = Some(Lsn(self.lsn + 8));
        self.hand_over(&Batch::Commit(Arc::new(Commit {
            frames,
            through,
            end,
        })));
    }

    pub(crate) fn next_request(&self) -> Forwarded {
        self.requests
            .recv_timeout(PATIENCE)
            .expect("a request is forwarded")
    }

    pub(crate) fn next_notice(&self) -> Notice {
        self.notices
            .recv_timeout(PATIENCE)
            .expect("a notice is said")
    }

    pub(crate) fn respond(&self, to: ConnectionId, response: &'static str) {
        let port = &self.engines.ports()[usize::from(to.engine)];
        let response = response.as_bytes().into();
        port.try_command(Command::Respond {
            connection: to,
            response,
        })
        .unwrap();
    }

    /// Lets the next who asks into a stream.
    pub(crate) fn grant_next(&self) {
        let connection = self.next_request().connection;
        let grant = Grant {
            connection,
            scope: Scope::Organisation(organisation()),
            user: None,
            session: None,
            filter: Filter::new(Vec::new(), Vec::new(), Vec::new()),
            format: Format::Event,
            expires_ms: None,
            since: None,
            resume: Resume::Live,
            head: "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\n".into(),
            about: "\"organizationId\":\"acme\"".into(),
            purpose: wire::Purpose::Stream,
        };
        let port = &self.engines.ports()[usize::from(connection.engine)];
        hand_over(port, Batch::Grant(Box::new(grant)));
    }

    /// As many open streams.
    pub(crate) fn open_streams(&self, count: usize) -> Vec<Client> {
        self.open_streams_of((0..count).map(|_| self.connect()).collect())
    }

    /// The streams of these clients.
    pub(crate) fn open_streams_of(&self, mut clients: Vec<Client>) -> Vec<Client> {
        for client in &mut clients {
            client.say("GET /stream HTTP/1.1\r\nhost: a\r\n\r\n");
        }
        for _ in 0..clients.len() {
            self.grant_next();
        }
        for client in &mut clients {
            client.expect_stream();
        }
        clients
    }

    pub(crate) fn open_stream(&self) -> Client {
        self.open_streams(1).pop().unwrap()
    }

    /// The stream of a client that can fall behind.
    pub(crate) fn open_narrow_stream(&self) -> Client {
        let client = Client::connect_narrow(self.engines.local_addr());
        self.open_streams_of(vec![client]).pop().unwrap()
    }

    /// What all engines count together, by a figure.
    pub(crate) fn total(&self, figure: impl Fn(&engine::Counters) -> u64) -> u64 {
        self.engines
            .ports()
            .iter()
            .map(|port| figure(&port.counters()))
            .sum()
    }

    /// Waits until a figure has this value.
    pub(crate) fn await_total(&self, want: u64, figure: impl Fn(&engine::Counters) -> u64) {
        let end = Instant::now() + PATIENCE;
        while self.total(&figure) != want {
            assert!(
                Instant::now() < end,
                "{} instead of {want}",
                self.total(&figure)
            );
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

fn hand_over(port: &Port, batch: Batch) {
    let end = Instant::now() + PATIENCE;
    let mut batch = batch;
    while let Err(back) = port.try_batch(batch) {
        assert!(Instant::now() < end, "the engine takes no batch");
        std::thread::sleep(Duration::from_millis(1));
        batch = back;
    }
}

fn organisation() -> Key {
    Keys::new([7; 16]).organisation("acme")
}

fn position(lsn: u64, index: u32) -> EventId {
    EventId {
        epoch: 0xe,
        timeline: 1,
        lsn: Lsn(lsn),
        index,
    }
}

fn frame(id: EventId, number: usize, bytes: usize) -> Frame {
    let name = |text| Name::new(text).unwrap();
    let mut writer = FrameWriter::new(
        id,
        &name("property.insert"),
        &name("property"),
        0,
        Source::Postgres,
    );
    let start = writer.json().len();
    let text = format!("{{\"number\":{number},\"text\":\"{}\"}}", "x".repeat(bytes));
    writer.json().extend_from_slice(text.as_bytes());
    writer.mark_data(start);
    writer.finish(Audience::of(Topic::Organisation(organisation())))
}

/// A client, as a browser would be.
pub(crate) struct Client {
    pub(crate) stream: TcpStream,
    received: String,
}

impl Client {
    pub(crate) fn connect(address: SocketAddr) -> Self {
        Self::over(TcpStream::connect(address).unwrap())
    }

    /// A client of which the kernel holds little unread, so that it can fall behind.
    pub(crate) fn connect_narrow(address: SocketAddr) -> Self {
        let domain = socket2::Domain::for_address(address);
        let socket = socket2::Socket::new(domain, socket2::Type::STREAM, None).unwrap();
        socket.set_recv_buffer_size(8 * 1024).unwrap();
        socket.connect(&address.into()).unwrap();
        Self::over(socket.into())
    }

    pub(crate) fn over(stream: TcpStream) -> Self {
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.set_write_timeout(Some(PATIENCE)).unwrap();
        stream.set_nodelay(true).unwrap();
        Self {
            stream,
            received: String::new(),
        }
    }

    pub(crate) fn say(&mut self, text: &str) {
        self.stream.write_all(text.as_bytes()).unwrap();
    }

    /// Reads up to and with a mark.
    pub(crate) fn read_to(&mut self, mark: &str) -> String {
        let mut searched = 0;
        loop {
            if let Some(at) = self.received[searched..].find(mark) {
                let rest = self.received.split_off(searched + at + mark.len());
                return std::mem::replace(&mut self.received, rest);
            }
            searched = self.received.len().saturating_sub(mark.len());
            let mut buffer = [0; 64 * 1024];
            let count = self.stream.read(&mut buffer).unwrap();
            assert_ne!(count, 0, "the connection ended before {mark:?}");
            self.received
                .push_str(std::str::from_utf8(&buffer[..count]).unwrap());
        }
    }

    /// Reads the head of an event stream, its `retry:` and its first event.
    pub(crate) fn expect_stream(&mut self) {
        let head = self.read_to("\r\n\r\n");
        assert!(head.starts_with("HTTP/1.1 200 OK\r\n"), "{head}");
        let retry = self.read_event();
        assert!(retry.starts_with("retry: "), "{retry}");
        let event = self.read_event();
        assert!(event.contains("event: connected\n"), "{event}");
    }

    /// Reads one block of the event stream.
    pub(crate) fn read_event(&mut self) -> String {
        self.read_to("\n\n")
    }

    /// Reads the event of this number: the next, since none is missing and none comes twice.
    pub(crate) fn expect_event(&mut self, number: usize) {
        let event = self.read_event();
        assert!(
            event.contains(&format!("\"number\":{number},")),
            "{number} expected: {event:.300}"
        );
    }

    /// Reads to the orderly end.
    pub(crate) fn read_to_end(&mut self) -> String {
        self.stream.read_to_string(&mut self.received).unwrap();
        std::mem::take(&mut self.received)
    }

    /// Reads until the connection is reset.
    pub(crate) fn expect_reset(&mut self) {
        let error = self.stream.read_to_end(&mut Vec::new()).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::ConnectionReset);
    }
}
