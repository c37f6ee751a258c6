//! A server of event streams for these tests: a thread a connection, and mistakes on demand.

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex, MutexGuard};
use std::thread::JoinHandle;
use std::time::Duration;

use swarm::{Marker, monotonic_nanoseconds, text_with};

/// How long the text of an event is.
pub(crate) const EVENT_BYTES: usize = 200;

/// How long a test waits for what only a mistake keeps away.
const WITHIN: Duration = Duration::from_secs(60);

/// How the bodies are framed.
#[derive(Clone, Copy)]
pub(crate) enum Framing {
    Plain,
    /// Each event in two chunks, and lines that end with a carriage return too.
    Chunked,
}

/// The server; it ends with the test's process.
pub(crate) struct Server {
    address: SocketAddr,
    state: Arc<Mutex<State>>,
}

/// Threads that send without a pause.
pub(crate) struct Flood(Vec<JoinHandle<()>>);

impl Flood {
    /// Waits for their end: to be called when the streams have gone.
    pub(crate) fn end(self) {
        for thread in self.0 {
            thread.join().expect("it only sends");
        }
    }
}

struct State {
    framing: Framing,
    /// How many of the next requests are refused.
    refusals: u32,
    streams: Vec<(u32, TcpStream)>,
    /// Every event by its organisation and number, for those who come back.
    log: Vec<(u32, u64)>,
}

impl Server {
    pub(crate) fn start(framing: Framing) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port is free");
        let address = listener.local_addr().expect("it is bound");
        let state = Arc::new(Mutex::new(State {
            framing,
            refusals: 0,
            streams: Vec::new(),
            log: Vec::new(),
        }));
        let shared = Arc::clone(&state);
        std::thread::spawn(move || {
            for socket in listener.incoming() {
                let (socket, state) = (socket.expect("it accepts"), Arc::clone(&shared));
                std::thread::spawn(move || serve(socket, &state));
            }
        });
        Self { address, state }
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Sends an event to the streams of its organisation.
    pub(crate) fn publish(&self, organisation: u32, sequence: u64) {
        let mut state = self.state();
        state.log.push((organisation, sequence));
        state.send(organisation, organisation, sequence);
    }

    /// Sends the event of an organisation to the streams of another.
    pub(crate) fn misdirect(&self, organisation: u32, sequence: u64, other: u32) {
        self.state().send(other, organisation, sequence);
    }

    /// Refuses so many of the next requests.
    pub(crate) fn refuse(&self, requests: u32) {
        self.state().refusals = requests;
    }

    /// Ends all streams.
    pub(crate) fn end_all(&self) {
        let mut state = self.state();
        let framing = state.framing;
        for (_, mut socket) in state.streams.drain(..) {
            if matches!(framing, Framing::Chunked) {
                socket.write_all(b"0\r\n\r\n").expect("it is open");
            }
        }
    }

    /// Takes all streams for threads that send to them without a pause, each to those of one of so
    /// many organisations, until they have gone.
    pub(crate) fn flood(&self, organisations: u32) -> Flood {
        let mut state = self.state();
        let framing = state.framing;
        let streams = std::mem::take(&mut state.streams);
        let mut threads = Vec::new();
        for organisation in 0..organisations {
            let own = streams.iter().filter(|(of, _)| *of == organisation);
            let copy = |socket: &TcpStream| socket.try_clone().expect("a descriptor is free");
            let mut own: Vec<TcpStream> = own.map(|(_, socket)| copy(socket)).collect();
            threads.push(std::thread::spawn(move || {
                let mut sequence = 0;
                while !own.is_empty() {
                    let mut bytes = Vec::new();
                    for _ in 0..20 {
                        bytes.extend_from_slice(&event(framing, organisation, sequence));
                        sequence += 1;
                    }
                    own.retain_mut(|socket| socket.write_all(&bytes).is_ok());
                }
            }));
        }
        Flood(threads)
    }

    /// Waits until so many streams are open.
    pub(crate) fn wait_for_streams(&self, streams: usize) {
        for _ in 0..WITHIN.as_millis() / 10 {
            if self.state().streams.len() == streams {
                return;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        panic!("{} streams are open", self.state().streams.len());
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("no thread has panicked")
    }
}

impl State {
    /// Sends to the streams of `to`; who has gone is forgotten.
    fn send(&mut self, to: u32, organisation: u32, sequence: u64) {
        let bytes = event(self.framing, organisation, sequence);
        self.streams
            .retain_mut(|(of, socket)| *of != to || socket.write_all(&bytes).is_ok());
    }
}

/// Reads a request, and makes its connection a stream.
fn serve(mut socket: TcpStream, state: &Mutex<State>) {
    let mut lines = BufReader::new(&socket).lines();
    let request = lines.next().expect("a request").expect("it is text");
    let organisation = request
        .split(['=', '&'])
        .nth(1)
        .and_then(|number| number.parse().ok())
        .unwrap_or_else(|| panic!("no organisation in {request}"));
    let mut last: Option<u64> = None;
    for line in lines {
        let line = line.expect("it is text");
        if line.is_empty() {
            break;
        }
        if let Some(id) = line.strip_prefix("last-event-id: ") {
            last = Some(id.parse().expect("an id of ours"));
        }
    }
    let mut state = state.lock().expect("no thread has panicked");
    if state.refusals > 0 {
        state.refusals -= 1;
        let refusal = b"HTTP/1.1 503 Service Unavailable\r\ncontent-length: 0\r\n\r\n";
        socket.write_all(refusal).expect("it is open");
        return;
    }
    let framing = state.framing;
    let mut answer = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n".to_vec();
    if matches!(framing, Framing::Chunked) {
        answer.extend_from_slice(b"transfer-encoding: chunked\r\n");
    }
    answer.extend_from_slice(b"\r\n");
    for &(of, sequence) in &state.log {
        if of == organisation && last.is_some_and(|last| sequence > last) {
            answer.extend_from_slice(&event(framing, of, sequence));
        }
    }
    // Who has gone already needs no answer.
    if socket.write_all(&answer).is_ok() {
        state.streams.push((organisation, socket));
    }
}

/// An event as it is sent.
fn event(framing: Framing, organisation: u32, sequence: u64) -> Vec<u8> {
    let marker = Marker {
        time: monotonic_nanoseconds(),
        organisation,
        sequence,
    };
    let text = text_with(marker, EVENT_BYTES);
    match framing {
        Framing::Plain => format!("id: {sequence}\ndata: {{\"text\":\"{text}\"}}\n\n").into_bytes(),
        Framing::Chunked => {
            let event = format!("id: {sequence}\r\ndata: {text}\r\n\r\n");
            let (one, other) = event.split_at(20);
            let chunk = |part: &str| format!("{:x}\r\n{part}\r\n", part.len());
            [chunk(one), chunk(other)].concat().into_bytes()
        }
    }
}
