//! The readers: one process on one core that holds every client of a server, over epoll.
//!
//! It counts what arrives on each connection, to the byte: a measurement in which one stream missed
//! an event, or got one twice, fails instead of flattering its server. It looks every millisecond
//! rather than sleep in `epoll_wait`, because waking a sleeper on another core costs the sender more
//! than the send itself on a virtual machine, and real clients are not on the server's machine.

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::os::fd::OwnedFd;
use std::process::Command;
use std::time::{Duration, Instant};

use rustix::buffer::spare_capacity;
use rustix::event::{Timespec, epoll};
use rustix::io::Errno;

use super::process::{Process, READER_CORE};
use super::session::Session;

/// The role of this process.
pub(super) const ROLE: &str = "readers";

/// The environment variables by which the role knows its server and its requests.
const ADDRESS: &str = "TAILRACE_BENCH_ADDRESS";
const STREAMS_PER_ORGANISATION: &str = "TAILRACE_BENCH_STREAMS_PER_ORGANISATION";
const SESSION: &str = "TAILRACE_BENCH_SESSION";

/// How many connections are opened before their response heads are waited for: fewer than any
/// listener's queue holds.
const OPENING_MAX: usize = 100;

/// How long nothing arrives before what was sent at the start of a stream counts as complete.
const QUIET: Duration = Duration::from_millis(300);

/// How long the readers wait for a server that sends nothing more.
const PATIENCE: Duration = Duration::from_secs(60);

/// What the clients ask for: distinct users, and organisations of one size.
pub(crate) struct Requests {
    /// How many streams each organisation has.
    pub(crate) streams_per_organisation: usize,
    /// The session of each stream's user, where the server wants one.
    pub(crate) session: Option<Session>,
}

/// The readers of one server, from the bench's side.
pub(crate) struct Readers(Process);

impl Readers {
    /// Starts the process; it holds no connection yet.
    pub(crate) fn start(server: SocketAddr, requests: Requests) -> Self {
        let bench = std::env::current_exe().expect("the bench knows its own path");
        let mut command = Command::new(bench);
        command
            .env(super::ROLE, ROLE)
            .env(ADDRESS, server.to_string())
            .env(
                STREAMS_PER_ORGANISATION,
                requests.streams_per_organisation.to_string(),
            )
            .envs(
                requests
                    .session
                    .map(|session| (SESSION, session.in_words())),
            );
        Self(Process::start(command, READER_CORE))
    }

    /// Gives an order:
    ///
    /// * `open N`: N more streams; done when their beginnings have arrived;
    /// * `replace N`: N streams, drawn at random, are closed, and as many opened;
    /// * `take N`: done when every stream has taken exactly N bytes since the order before;
    /// * `drain N`: done when nothing has come for N milliseconds.
    pub(crate) fn tell(&mut self, order: &str) {
        self.0.tell(order);
    }

    /// Waits until the order is carried out.
    pub(crate) fn wait(&mut self) {
        let reply = self.0.reply();
        assert_eq!(reply, "done", "the readers");
    }
}

/// Plays the role: reads orders until the bench is gone.
pub(super) fn serve() {
    let variable = |name| std::env::var(name).expect("the bench set the variables of the role");
    let address = variable(ADDRESS).parse().expect("an address");
    let per_organisation = variable(STREAMS_PER_ORGANISATION)
        .parse()
        .expect("a number");
    let requests = Requests {
        streams_per_organisation: per_organisation,
        session: std::env::var(SESSION)
            .ok()
            .map(|words| Session::read(&words)),
    };
    let mut pool = Pool::new(address, requests);
    for line in std::io::stdin().lines() {
        let line = line.expect("orders are text");
        let (order, count) = line.split_once(' ').expect("an order has a number");
        let count = count.parse().expect("an order has a number");
        match order {
            "open" => pool.open(count),
            "replace" => pool.replace(count),
            "take" => pool.take(count),
            "drain" => pool.drain(Duration::from_millis(count as u64)),
            _ => panic!("no such order: {order}"),
        }
        writeln!(std::io::stdout(), "done").expect("the bench reads");
    }
}

/// The connections.
struct Pool {
    server: SocketAddr,
    requests: Requests,
    epoll: OwnedFd,
    events: Vec<epoll::Event>,
    connections: Vec<Connection>,
    /// How many were ever opened: the number in the next user's name.
    opened: usize,
    /// A xorshift generator: the same connections are replaced in every run.
    random: u64,
    buffer: Vec<u8>,
}

struct Connection {
    stream: TcpStream,
    /// Bytes since the last order.
    taken: usize,
}

impl Pool {
    fn new(server: SocketAddr, requests: Requests) -> Self {
        Self {
            server,
            requests,
            epoll: epoll::create(epoll::CreateFlags::CLOEXEC).expect("epoll is to be had"),
            events: Vec::with_capacity(1024),
            connections: Vec::new(),
            opened: 0,
            random: 0x9e37_79b9_7f4a_7c15,
            buffer: vec![0; 64 * 1024],
        }
    }

    fn open(&mut self, count: usize) {
        let end = self.connections.len() + count;
        while self.connections.len() < end {
            let first = self.connections.len();
            for place in first..end.min(first + OPENING_MAX) {
                let connection = self.connect(place);
                self.connections.push(connection);
            }
            self.read_until("response heads", |connections| {
                connections[first..]
                    .iter()
                    .all(|connection| connection.taken > 0)
            });
        }
        self.drain(QUIET);
    }

    fn replace(&mut self, count: usize) {
        let mut places: Vec<usize> = (0..self.connections.len()).collect();
        for chosen in 0..count {
            let other = chosen + self.draw() % (places.len() - chosen);
            places.swap(chosen, other);
        }
        for group in places[..count].chunks(OPENING_MAX) {
            for &place in group {
                // The old stream is closed as the new one takes its place.
                self.connections[place] = self.connect(place);
            }
            self.read_until("response heads", |connections| {
                group.iter().all(|place| connections[*place].taken > 0)
            });
        }
        self.drain(QUIET);
    }

    fn take(&mut self, bytes: usize) {
        self.read_until("events", |connections| {
            connections
                .iter()
                .all(|connection| connection.taken >= bytes)
        });
        for connection in &mut self.connections {
            assert_eq!(
                connection.taken, bytes,
                "a stream took more than was published"
            );
            connection.taken = 0;
        }
    }

    /// Opens a stream, and asks to be told of what arrives on it.
    fn connect(&mut self, place: usize) -> Connection {
        let mut stream = TcpStream::connect(self.server).expect("the server listens");
        let request = self.requests.head(self.opened);
        self.opened += 1;
        stream
            .write_all(request.as_bytes())
            .expect("a request fits into a socket");
        stream
            .set_nonblocking(true)
            .expect("a socket can be made non-blocking");
        let place = epoll::EventData::new_u64(place as u64);
        epoll::add(&self.epoll, &stream, place, epoll::EventFlags::IN).expect("epoll has room");
        Connection { stream, taken: 0 }
    }

    /// Reads until the connections are as wanted; looks at them all only when something came.
    fn read_until(&mut self, what: &str, is_done: impl Fn(&[Connection]) -> bool) {
        let mut last = Instant::now();
        // Looking at all connections after each read would be the most of the work.
        let mut pending = 0;
        loop {
            let taken = self.read(Duration::from_millis(1));
            pending += taken;
            if taken > 0 {
                last = Instant::now();
            } else if std::mem::take(&mut pending) > 0 || last.elapsed() > PATIENCE {
                if is_done(&self.connections) {
                    return;
                }
                assert!(
                    last.elapsed() <= PATIENCE,
                    "nothing arrives any more; missing: {what}"
                );
            }
        }
    }

    /// Reads until nothing comes for this long, and begins to count anew.
    fn drain(&mut self, quiet: Duration) {
        while self.read(quiet) > 0 {}
        for connection in &mut self.connections {
            connection.taken = 0;
        }
    }

    /// Reads what has arrived, at the latest after the pause, and says how many bytes that was.
    fn read(&mut self, pause: Duration) -> usize {
        self.look();
        if self.events.is_empty() {
            std::thread::sleep(pause);
            self.look();
        }
        let mut sum = 0;
        for event in &self.events {
            let data = event.data;
            let connection = &mut self.connections[data.u64() as usize];
            match connection.stream.read(&mut self.buffer) {
                Ok(0) => panic!("the server closed a stream"),
                Ok(taken) => {
                    connection.taken += taken;
                    sum += taken;
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                Err(error) => panic!("a stream broke: {error}"),
            }
        }
        sum
    }

    /// Asks which connections have something to read, without waiting for one.
    fn look(&mut self) {
        const NOW: Timespec = Timespec {
            tv_sec: 0,
            tv_nsec: 0,
        };
        self.events.clear();
        match epoll::wait(&self.epoll, spare_capacity(&mut self.events), Some(&NOW)) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(error) => panic!("epoll_wait: {error}"),
        }
    }

    fn draw(&mut self) -> usize {
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        self.random as usize
    }
}

impl Requests {
    /// The request of the stream with this number.
    fn head(&self, number: usize) -> String {
        let organisation = number / self.streams_per_organisation;
        let session = self.session.as_ref();
        let session = session.map_or_else(String::new, |session| session.field(number));
        format!(
            "GET /api/realtime/stream?organizationId=o{organisation}&user=u{number} HTTP/1.1\r\n\
             host: localhost\r\naccept: text/event-stream\r\n{session}\r\n"
        )
    }
}
