//! Clients of event streams, many to a thread: non-blocking sockets that one loop reads, so that the
//! moment at which a stream ends is seen and not guessed. What they saw is kept for the verdict.

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use serde_json::Value;

use crate::support::Request;

/// When in a round a stream was asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Kind {
    /// It stood before the revocation was written.
    Established,
    /// It was asked for at the moment of the commit.
    Opened,
    /// The same, with an id from before.
    Resumed,
}

/// One stream, from its request to its end.
#[derive(Debug)]
pub(crate) struct Client {
    socket: Option<TcpStream>,
    request: Vec<u8>,
    pending: Vec<u8>,
    pub(crate) kind: Kind,
    /// The place of its node.
    pub(crate) node: usize,
    pub(crate) is_sent: bool,
    /// The status of the response, once its head is here.
    pub(crate) status: Option<u16>,
    /// The data of `connected`.
    pub(crate) connected: Option<Value>,
    /// The ids of the rows whose events came, in order.
    pub(crate) seen: Vec<String>,
    /// The last id that came.
    pub(crate) last_id: String,
    /// The reason of `bye`, or the code of `refused`.
    pub(crate) farewell: Option<String>,
    /// When the connection ended.
    pub(crate) ended: Option<Instant>,
}

impl Client {
    /// Connects; the request is sent when [`Self::send`] is called.
    pub(crate) fn dial(node: usize, address: SocketAddr, kind: Kind, request: &Request) -> Self {
        let client = Self::try_dial(node, address, kind, request);
        client.expect("the node takes connections")
    }

    /// The same, where the node may be away.
    pub(crate) fn try_dial(
        node: usize,
        address: SocketAddr,
        kind: Kind,
        request: &Request,
    ) -> Option<Self> {
        let socket = TcpStream::connect(address).ok()?;
        socket.set_nodelay(true).expect("a TCP socket has it");
        socket.set_nonblocking(true).expect("a socket can be");
        Some(Self {
            socket: Some(socket),
            request: request.bytes(),
            pending: Vec::new(),
            kind,
            node,
            is_sent: false,
            status: None,
            connected: None,
            seen: Vec::new(),
            last_id: String::new(),
            farewell: None,
            ended: None,
        })
    }

    /// Sends the request.
    pub(crate) fn send(&mut self) {
        self.is_sent = true;
        let socket = self.socket.as_mut().expect("it is open");
        if socket.write_all(&self.request).is_err() {
            self.end();
        }
    }

    /// Hangs up.
    pub(crate) fn hang_up(&mut self) {
        self.end();
    }

    /// Whether its stream stands.
    pub(crate) fn is_connected(&self) -> bool {
        self.connected.is_some() && self.ended.is_none()
    }

    /// Whether it has received the event of this row.
    pub(crate) fn has_seen(&self, row: &str) -> bool {
        self.seen.iter().any(|seen| seen == row)
    }

    /// Whether this row's event was the last that came.
    pub(crate) fn has_ended_with(&self, row: &str) -> bool {
        self.seen.last().is_some_and(|seen| seen == row)
    }

    /// The engine that holds it, which its `connectionId` names (`BOOT-ENGINE-SLOT-GENERATION`).
    pub(crate) fn engine(&self) -> Option<String> {
        let id = self.connected.as_ref()?["connectionId"].as_str()?;
        id.split('-').nth(1).map(str::to_owned)
    }

    /// The role that it was admitted with.
    pub(crate) fn role(&self) -> Option<&str> {
        self.connected.as_ref()?["organization"]["role"].as_str()
    }

    /// How its id was judged.
    pub(crate) fn verdict(&self) -> Option<&str> {
        self.connected.as_ref()?["resume"].as_str()
    }

    fn end(&mut self) {
        self.socket = None;
        self.ended.get_or_insert_with(Instant::now);
    }

    /// Takes what has arrived.
    fn take(&mut self) {
        let mut buffer = [0; 16 * 1024];
        while let Some(socket) = &mut self.socket {
            match socket.read(&mut buffer) {
                Ok(0) => self.end(),
                Ok(count) => {
                    self.pending.extend_from_slice(&buffer[..count]);
                    self.digest();
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => return,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                // A stream that is cut short tells nothing more, and that is what counts here.
                Err(_) => self.end(),
            }
        }
    }

    /// Takes the whole blocks out of what is pending.
    fn digest(&mut self) {
        if self.status.is_none() {
            let Some(end) = find(&self.pending, b"\r\n\r\n") else {
                return;
            };
            let head: Vec<u8> = self.pending.drain(..end + 4).collect();
            let status = head.get(9..12).and_then(|digits| {
                let digits = str::from_utf8(digits).ok()?;
                digits.parse().ok()
            });
            self.status = Some(status.expect("a response opens with a status line"));
        }
        if self.status != Some(200) {
            // A refusal: its body says why, to whoever reads it.
            self.pending.clear();
        }
        while let Some(end) = find(&self.pending, b"\n\n") {
            let block: Vec<u8> = self.pending.drain(..end + 2).collect();
            let block = str::from_utf8(&block[..end]).expect("streams are UTF-8");
            self.note(block);
        }
    }

    fn note(&mut self, block: &str) {
        let field = |name: &str| {
            block
                .lines()
                .find_map(|line| line.strip_prefix(name)?.strip_prefix(": "))
        };
        if let Some(id) = field("id") {
            id.clone_into(&mut self.last_id);
        }
        let Some(data) = field("data") else { return };
        let data: Value = serde_json::from_str(data).expect("data is JSON");
        match field("event") {
            None => {
                let row = &data["payload"]["record"]["id"];
                let row = row.as_str().expect("every event of ours is an insert");
                self.seen.push(row.to_owned());
            }
            Some("connected") => self.connected = Some(data),
            Some("bye") => self.farewell = data["reason"].as_str().map(str::to_owned),
            Some("refused") => self.farewell = data["code"].as_str().map(str::to_owned),
            Some(_) => {}
        }
    }
}

/// Waits until something arrives for one of them, at most `pause`, and takes it.
pub(crate) fn pump(clients: &mut [Client], pause: Duration) {
    pump_each(clients.iter_mut(), pause);
}

/// The same for clients that do not lie side by side.
pub(crate) fn pump_each<'a>(clients: impl Iterator<Item = &'a mut Client>, pause: Duration) {
    let mut open: Vec<&mut Client> = clients
        .filter(|client| client.is_sent && client.socket.is_some())
        .collect();
    if open.is_empty() {
        std::thread::sleep(pause);
        return;
    }
    let mut sockets: Vec<PollFd<'_>> = open
        .iter()
        .filter_map(|client| client.socket.as_ref())
        .map(|socket| PollFd::new(socket, PollFlags::IN))
        .collect();
    let pause = Timespec {
        tv_sec: pause.as_secs().cast_signed(),
        tv_nsec: pause.subsec_nanos().into(),
    };
    match poll(&mut sockets, Some(&pause)) {
        Ok(_) | Err(rustix::io::Errno::INTR) => {}
        Err(error) => panic!("poll: {error}"),
    }
    let is_ready: Vec<bool> = sockets
        .iter()
        .map(|socket| !socket.revents().is_empty())
        .collect();
    for (client, is_ready) in open.iter_mut().zip(is_ready) {
        if is_ready {
            client.take();
        }
    }
}

/// Reads until something is so of them all, and says whether it became so within `limit`.
pub(crate) fn pump_until(
    clients: &mut [Client],
    limit: Duration,
    is_so: impl Fn(&Client) -> bool,
) -> bool {
    let deadline = Instant::now() + limit;
    while !clients.iter().all(&is_so) {
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return false;
        }
        pump(clients, left.min(Duration::from_millis(50)));
    }
    true
}

fn find(bytes: &[u8], needle: &[u8]) -> Option<usize> {
    bytes
        .windows(needle.len())
        .position(|window| window == needle)
}
