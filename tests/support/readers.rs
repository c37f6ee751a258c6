//! Thousands of streams, read by a process of their own: the descriptors of one process are as
//! bounded as the node's.
//!
//! The process is this test binary run again: the test `support::readers::process` does nothing
//! unless it is told where its parent listens. Parent and child speak lines over a socket: `open N`,
//! `close N`, `count`.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use rustix::event::{Timespec, epoll};
use rustix::net::{AddressFamily, SocketFlags, SocketType};

use super::directory::Directory;
use super::http::Request;
use super::process::{Process, Program, Signal};

const ADDRESSES: &str = "TAILRACE_TEST_READERS";

/// Below are the ports of well-known services.
const FIRST_PORT: u16 = 1_024;

/// Of how many losses a child says why.
const LOSSES_TOLD: usize = 5;

/// How many users share the streams.
pub(crate) const USERS: usize = 100;

/// Streams of the organisation acme, in another process.
pub(crate) struct Readers {
    // Dropped in this order: the process ends before its directory goes.
    control: BufReader<TcpStream>,
    _process: Process,
    directory: Directory,
}

/// How the streams of a process are.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Count {
    /// Opened and not yet answered.
    pub(crate) waiting: usize,
    /// Those that got their `connected` and are open.
    pub(crate) streaming: usize,
    /// Those that ended without being asked to.
    pub(crate) lost: usize,
    /// The least events that one of those that stream has received.
    pub(crate) events_min: usize,
    /// The most.
    pub(crate) events_max: usize,
}

impl Readers {
    /// Starts a process whose connections come from 127.0.0.`source`: each address has ports of its
    /// own.
    pub(crate) fn start(node: SocketAddr, source: u8) -> Self {
        Self::of(node, source, "users")
    }

    /// The same, and every stream is of a user and a session of its own: a row whose token is `token-of-session-`
    /// and the number of the stream.
    pub(crate) fn of_sessions(node: SocketAddr, source: u8) -> Self {
        Self::of(node, source, "sessions")
    }

    fn of(node: SocketAddr, source: u8, whose: &str) -> Self {
        let directory = Directory::new();
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("there are free ports");
        let own = listener.local_addr().expect("it is bound");
        let program = std::env::current_exe().expect("a test binary has a path");
        let program = Program::new(program.to_str().expect("paths of builds are UTF-8"))
            .args(["--exact", "support::readers::process", "--nocapture"])
            .env(ADDRESSES, format!("{own} {node} {source} {whose}"))
            .output(directory.join("log"));
        let process = Process::spawn(&program, Signal::KILL);
        let (control, _) = listener.accept().expect("the child connects");
        Self {
            control: BufReader::new(control),
            _process: process,
            directory,
        }
    }

    /// Begins to open so many streams more.
    pub(crate) fn open(&mut self, count: usize) {
        assert_eq!(self.order(&format!("open {count}")), "done");
    }

    /// Closes so many of those that stream.
    pub(crate) fn close(&mut self, count: usize) {
        assert_eq!(self.order(&format!("close {count}")), "done");
    }

    pub(crate) fn count(&mut self) -> Count {
        let answer = self.order("count");
        let numbers: Vec<usize> = answer
            .split(' ')
            .map(|number| number.parse().expect("the child answers with numbers"))
            .collect();
        let [waiting, streaming, lost, events_min, events_max] = numbers[..] else {
            panic!("five numbers, not {answer:?}");
        };
        Count {
            waiting,
            streaming,
            lost,
            events_min,
            events_max,
        }
    }

    /// Waits until all of so many stream and have so many events each.
    pub(crate) fn wait_for(&mut self, streaming: usize, events: usize, limit: Duration) {
        let mut count = Count::default();
        let reached = super::becomes_true(limit, || {
            count = self.count();
            count.streaming == streaming && count.events_min >= events
        });
        let log = std::fs::read_to_string(self.directory.join("log")).unwrap_or_default();
        assert!(
            reached,
            "{streaming} streams with {events} events not within {limit:?}: {count:?}\n{log}"
        );
        assert_eq!(count.events_max, events, "nobody has more");
    }

    fn order(&mut self, line: &str) -> String {
        writeln!(self.control.get_mut(), "{line}").expect("the child lives");
        let mut answer = String::new();
        self.control
            .read_line(&mut answer)
            .expect("the child answers");
        answer.trim_end().to_owned()
    }
}

/// The child. An ordinary run of the tests finds no address and does nothing here.
#[test]
fn process() {
    let Ok(addresses) = std::env::var(ADDRESSES) else {
        return;
    };
    let mut words = addresses.split(' ');
    let mut word = || words.next().expect("four words");
    let control = TcpStream::connect(word()).expect("the parent listens");
    control.set_nonblocking(true).expect("a socket can be");
    let node = word().parse().expect("an address");
    let source = word().parse().expect("a number");
    let requests = match word() {
        "users" => requests_of_users(),
        _ => Vec::new(),
    };
    Child::new(control, node, source, requests).run();
}

/// One stream of the child's.
struct Reader {
    socket: TcpStream,
    state: State,
    /// The beginning of a block whose end has not arrived.
    pending: Vec<u8>,
    /// The last whole block.
    last: String,
    events: usize,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    /// The connection is not there yet, so the request is not written.
    Connecting,
    /// The request is written.
    Waiting,
    Streaming,
}

struct Child {
    poll: OwnedFd,
    control: TcpStream,
    node: SocketAddr,
    source: u8,
    next_port: u16,
    /// Those of the users, in turn; none where every stream has a session of its own.
    requests: Vec<Vec<u8>>,
    readers: Vec<Option<Reader>>,
    lost: usize,
}

/// What the events of the control socket carry instead of a reader's place.
const CONTROL: u64 = u64::MAX;

impl Child {
    fn new(control: TcpStream, node: SocketAddr, source: u8, requests: Vec<Vec<u8>>) -> Self {
        let poll = epoll::create(epoll::CreateFlags::CLOEXEC).expect("there are descriptors");
        let data = epoll::EventData::new_u64(CONTROL);
        epoll::add(&poll, &control, data, epoll::EventFlags::IN).expect("a socket can be polled");
        Self {
            poll,
            control,
            node,
            source,
            next_port: FIRST_PORT,
            requests,
            readers: Vec::new(),
            lost: 0,
        }
    }

    /// Reads until the parent hangs up.
    fn run(mut self) {
        let mut events = Vec::with_capacity(1_024);
        let mut orders = Vec::new();
        loop {
            events.clear();
            let spare = rustix::buffer::spare_capacity(&mut events);
            let wait = Timespec {
                tv_sec: 1,
                tv_nsec: 0,
            };
            match epoll::wait(&self.poll, spare, Some(&wait)) {
                Ok(_) | Err(rustix::io::Errno::INTR) => {}
                Err(error) => panic!("epoll: {error}"),
            }
            for event in &events {
                match event.data.u64() {
                    CONTROL if !self.take_orders(&mut orders) => return,
                    CONTROL => {}
                    place => self.turn(usize::try_from(place).expect("places fit"), event.flags),
                }
            }
        }
    }

    /// Carries out what the parent wants; false when it has hung up.
    fn take_orders(&mut self, orders: &mut Vec<u8>) -> bool {
        let mut buffer = [0; 256];
        match self.control.read(&mut buffer) {
            Ok(0) | Err(_) => return false,
            Ok(count) => orders.extend_from_slice(&buffer[..count]),
        }
        while let Some(end) = orders.iter().position(|byte| *byte == b'\n') {
            let line: Vec<u8> = orders.drain(..=end).collect();
            let line = str::from_utf8(&line)
                .expect("orders are ASCII")
                .trim_end()
                .to_owned();
            let answer = match line.split_once(' ') {
                Some(("open", count)) => self.open(count.parse().expect("a number")),
                Some(("close", count)) => self.close(count.parse().expect("a number")),
                _ => self.count(),
            };
            writeln!(self.control, "{answer}").expect("a line fits into a socket");
        }
        true
    }

    fn open(&mut self, count: usize) -> String {
        for _ in 0..count {
            let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
            let socket =
                rustix::net::socket_with(AddressFamily::INET, SocketType::STREAM, flags, None);
            let socket = socket.expect("this process has descriptors of its own");
            self.bind(&socket);
            match rustix::net::connect(&socket, &self.node) {
                Ok(()) | Err(rustix::io::Errno::INPROGRESS) => {}
                Err(error) => panic!("connect: {error}"),
            }
            let place = self.readers.len();
            let data = epoll::EventData::new_u64(place as u64);
            let wanted = epoll::EventFlags::IN | epoll::EventFlags::OUT | epoll::EventFlags::ET;
            epoll::add(&self.poll, &socket, data, wanted).expect("a socket can be polled");
            self.readers.push(Some(Reader {
                socket: socket.into(),
                state: State::Connecting,
                pending: Vec::new(),
                last: String::new(),
                events: 0,
            }));
        }
        "done".into()
    }

    /// Takes the next port of our address. Left to choose, the kernel would search the longer for
    /// one the more are taken.
    fn bind(&mut self, socket: &OwnedFd) {
        let source = IpAddr::V4(Ipv4Addr::new(127, 0, 0, self.source));
        while let Err(error) = rustix::net::bind(socket, &SocketAddr::new(source, self.next_port)) {
            assert_eq!(
                error,
                rustix::io::Errno::ADDRINUSE,
                "port {}",
                self.next_port
            );
            self.next_port += 1;
        }
        self.next_port += 1;
    }

    fn close(&mut self, count: usize) -> String {
        let streaming = |reader: &&mut Option<Reader>| {
            reader
                .as_ref()
                .is_some_and(|reader| reader.state == State::Streaming)
        };
        self.readers
            .iter_mut()
            .filter(streaming)
            .take(count)
            .for_each(|reader| *reader = None);
        "done".into()
    }

    fn count(&self) -> String {
        let open = || self.readers.iter().flatten();
        let streaming = || open().filter(|reader| reader.state == State::Streaming);
        let events = || streaming().map(|reader| reader.events);
        let waiting = open().count() - streaming().count();
        let (least, most) = (events().min().unwrap_or(0), events().max().unwrap_or(0));
        format!(
            "{waiting} {} {} {least} {most}",
            streaming().count(),
            self.lost
        )
    }

    fn turn(&mut self, place: usize, flags: epoll::EventFlags) {
        // Closed by an order while its event was on the way.
        let Some(reader) = &mut self.readers[place] else {
            return;
        };
        if reader.state == State::Connecting && flags.contains(epoll::EventFlags::OUT) {
            let request = match self.requests.as_slice() {
                [] => &request_of_session(place),
                requests => &requests[place % requests.len()],
            };
            if reader.socket.write_all(request).is_ok() {
                reader.state = State::Waiting;
            }
        }
        if let Err(why) = reader.read() {
            self.readers[place] = None;
            self.lost += 1;
            if self.lost <= LOSSES_TOLD {
                eprintln!("lost: {why}");
            }
        }
    }
}

fn requests_of_users() -> Vec<Vec<u8>> {
    (0..USERS)
        .map(|user| Request::stream("organizationId=acme").user(&format!("user-{user}")))
        .map(|request| request.bytes())
        .collect()
}

fn request_of_session(number: usize) -> Vec<u8> {
    let cookie = format!("authjs.session-token=token-of-session-{number}");
    let request = Request::stream("organizationId=acme");
    request.field("cookie", &cookie).bytes()
}

impl Reader {
    /// Reads what is there; says why when the connection has ended.
    fn read(&mut self) -> Result<(), String> {
        let mut buffer = [0; 16 * 1024];
        loop {
            match self.socket.read(&mut buffer) {
                Ok(0) => return Err(format!("closed after {}", self.end())),
                Ok(count) => self.pending.extend_from_slice(&buffer[..count]),
                Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => break,
                Err(error) if error.kind() == std::io::ErrorKind::NotConnected => break,
                Err(error) => return Err(format!("{error} after {}", self.end())),
            }
        }
        while let Some(end) = self.pending.windows(2).position(|pair| pair == b"\n\n") {
            let block: Vec<u8> = self.pending.drain(..end + 2).collect();
            let block = String::from_utf8(block).expect("streams are UTF-8");
            if block.contains("event: connected\n") {
                self.state = State::Streaming;
            } else if block.contains("data: ") && !block.contains("event: ") {
                self.events += 1;
            }
            self.last = block;
        }
        // A head and its blank line end in CRLF; what is left is part of a block.
        self.pending.shrink_to_fit();
        Ok(())
    }

    /// The last that arrived.
    fn end(&self) -> String {
        format!(
            "{:?} and {:?}",
            self.last,
            String::from_utf8_lossy(&self.pending)
        )
    }
}

/// The processor time that a process uses while the clock goes on by `span`, as a share of one core.
pub(crate) fn cpu_share(process: &Process, span: Duration) -> f64 {
    let (began, before) = (Instant::now(), process.cpu_seconds());
    std::thread::sleep(span);
    (process.cpu_seconds() - before) / began.elapsed().as_secs_f64()
}
