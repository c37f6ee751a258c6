//! The replication thread: sockets, a clock and channels around [`replication::Reader`].
//!
//! It hands every batch to every engine, in order, and waits for a full one in slices: what is not
//! read meanwhile stays in PostgreSQL. Between the batches it carries out the orders of the control
//! thread (`orders`), also while PostgreSQL is away. How to connect is in `dial`.

mod delivery;
mod dial;
mod feed;
mod orders;
mod socket;
mod waiting;

use std::io::{ErrorKind, Read as _, Write as _};
use std::os::fd::AsFd as _;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::JoinHandle;
use std::time::Instant;

use driver::Port;
use replication::{Config, Line, LineAction, Protection, Reader};
use rustix::event::{PollFd, PollFlags, Timespec, poll};

pub(crate) use feed::Feed;
pub(crate) use replication::Status as FeedStatus;

use delivery::Delivery;
use feed::Shared;
use orders::Orders;
use socket::Socket;

use crate::control::Answers;

/// How many orders wait; beyond it the control thread is told to try later.
pub(crate) const ORDERS_MAX: usize = 4096;

/// How many bytes are read at a time.
const READ_BYTES: usize = 64 * 1024;

/// How long to wait before a full engine is tried again, in milliseconds.
const FULL_MS: u64 = 5;

/// How old the published status may be while something happens, in milliseconds.
const STATUS_MS: u64 = 50;

/// Starts the thread.
///
/// # Errors
///
/// Where the system has no eventfd, no random numbers or no thread for it.
pub(crate) fn spawn(
    config: Config,
    ports: Vec<Port>,
    answers: Answers,
) -> std::io::Result<(Feed, JoinHandle<()>)> {
    let seed = getrandom::u64().map_err(std::io::Error::other)?;
    let reader = Reader::new(config.clone(), seed, 0);
    let (feed, orders, shared) = Feed::new(reader.status(0))?;
    // Each line has at most one attempt to connect under way.
    let (dialled_in, dialled) = sync_channel(LINES.len());
    let thread = Thread {
        reader,
        orders: Orders::new(orders, answers, ports.len(), config.keys.clone()),
        config,
        ports,
        shared,
        delivery: None,
        dialled,
        dialled_in,
        sockets: LINES.map(|_| None),
        readable: [false; LINES.len()],
        buffer: vec![0; READ_BYTES],
        begun: Instant::now(),
        published_ms: 0,
        is_news: true,
    };
    let handle = std::thread::Builder::new()
        .name("replication".to_owned())
        .spawn(|| thread.run())?;
    Ok((feed, handle))
}

/// What an attempt to connect came to.
type Dialled = (Line, Result<(Socket, Protection), String>);

/// Everything that the thread has.
struct Thread {
    reader: Reader,
    config: Config,
    ports: Vec<Port>,
    shared: Arc<Shared>,
    orders: Orders,
    /// The batch that not every engine has taken yet.
    delivery: Option<Delivery>,
    dialled: Receiver<Dialled>,
    dialled_in: SyncSender<Dialled>,
    sockets: [Option<Socket>; LINES.len()],
    /// The lines that the last wait found something on.
    readable: [bool; LINES.len()],
    buffer: Vec<u8>,
    begun: Instant,
    published_ms: u64,
    /// Whether the published status is out of date.
    is_news: bool,
}

const LINES: [Line; 4] = [Line::Stream, Line::Anchor, Line::Watch, Line::Members];

impl Thread {
    fn run(mut self) {
        while !self.shared.is_stopped() {
            self.reader.handle_timeout(self.now_ms());
            self.hand_over();
            self.shared.waiting.look(&self.reader, self.now_ms());
            if self.is_stuck() {
                return;
            }
            while let Some(action) = self.reader.poll_action() {
                self.act(action);
            }
            LINES.into_iter().for_each(|line| self.write(line));
            self.report();
            self.wait();
            while let Ok((line, socket)) = self.dialled.try_recv() {
                self.on_dialled(line, socket);
            }
            LINES.into_iter().for_each(|line| self.read(line));
        }
    }

    /// Whether an engine takes nothing any more. The node then ends, and whoever starts it again loses
    /// nothing, since the slot has kept everything that was not handed over.
    fn is_stuck(&self) -> bool {
        let stuck = self
            .delivery
            .as_ref()
            .and_then(|delivery| delivery.stuck(self.now_ms()));
        if let Some(engines) = stuck {
            tracing::error!(
                target: "replication",
                "state=stuck engines={engines:?}: they have taken nothing for 30 s, which is a bug; \
                 the node ends"
            );
        }
        stuck.is_some()
    }

    /// Hands over what there is, until an engine is full: batches to all, and between them what the
    /// control thread has ordered.
    fn hand_over(&mut self) {
        loop {
            if self.delivery.is_none() {
                let now_ms = self.now_ms();
                self.orders.carry_out(&self.reader, &self.ports, now_ms);
                let Some(batch) = self.reader.poll_batch(now_ms) else {
                    return;
                };
                if let wire::Batch::Commit(commit) = &batch {
                    crate::audience::log_published(&commit.frames);
                }
                self.delivery = Some(Delivery::new(batch, self.ports.len(), now_ms));
            }
            let delivery = self
                .delivery
                .as_mut()
                .expect("there was one, or it was just made");
            if !delivery.advance(&self.ports) {
                return;
            }
            self.delivery = None;
            self.reader.handle_handed_over(self.now_ms());
            self.is_news = true;
        }
    }

    fn act(&mut self, action: LineAction) {
        self.is_news = true;
        match action {
            LineAction::Open(line) => {
                let (connect, done) = (self.config.connect.clone(), self.dialled_in.clone());
                let shared = Arc::clone(&self.shared);
                // Looking up a name blocks, and the other line must be answered meanwhile.
                let dial = move || {
                    // Nobody listens any more if the replication thread has ended.
                    let _ = done.try_send((line, dial::connect(&connect)));
                    shared.wake();
                };
                let thread = std::thread::Builder::new()
                    .name("dial".to_owned())
                    .spawn(dial);
                if let Err(error) = thread {
                    self.on_dialled(line, Err(error.to_string()));
                }
            }
            LineAction::Close(line) => {
                self.write(line);
                self.sockets[line as usize] = None;
            }
        }
    }

    fn on_dialled(&mut self, line: Line, socket: Result<(Socket, Protection), String>) {
        self.is_news = true;
        let now_ms = self.now_ms();
        match socket {
            Ok((socket, protection)) => {
                self.sockets[line as usize] = Some(socket);
                self.readable[line as usize] = true;
                self.reader.handle_opened(line, protection, now_ms);
                self.write(line);
            }
            Err(why) => self.reader.handle_failed(line, &why, now_ms),
        }
    }

    fn write(&mut self, line: Line) {
        let socket = self.sockets[line as usize].as_mut();
        let (Some(socket), Some(out)) = (socket, self.reader.outbox(line)) else {
            return;
        };
        while !out.is_empty() {
            match socket.write(out) {
                Ok(written) if written > 0 => drop(out.drain(..written)),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                // It is full; or broken, which is found by reading.
                Ok(_) | Err(_) => return,
            }
        }
        // What TLS has kept back goes as far as the socket takes it; the rest when it can be written.
        let _ = socket.flush();
    }

    fn read(&mut self, line: Line) {
        if !std::mem::take(&mut self.readable[line as usize]) || !self.may_read(line) {
            return;
        }
        let Some(socket) = self.sockets[line as usize].as_mut() else {
            return;
        };
        let read = socket.read(&mut self.buffer);
        let now_ms = self.now_ms();
        let why = match read {
            Ok(0) => "the server closed the connection".to_owned(),
            Ok(len) => {
                self.is_news = true;
                self.reader.handle_bytes(line, &self.buffer[..len], now_ms);
                return;
            }
            Err(error)
                if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) =>
            {
                return;
            }
            Err(error) => error.to_string(),
        };
        self.is_news = true;
        self.sockets[line as usize] = None;
        self.reader.handle_failed(line, &why, now_ms);
    }

    /// Whether bytes of a line are taken: of the stream not while an engine is full.
    fn may_read(&self, line: Line) -> bool {
        self.reader.reads(line, self.now_ms()) && (line != Line::Stream || self.delivery.is_none())
    }

    /// Sleeps until something arrives or is due.
    fn wait(&mut self) {
        let now_ms = self.now_ms();
        let mut until_ms = self.reader.deadline_ms();
        if self.delivery.is_some() || self.orders.is_waiting() {
            until_ms = until_ms.min(now_ms + FULL_MS);
        }
        if self.is_news {
            until_ms = until_ms.min(self.published_ms + STATUS_MS);
        }
        let mut watched = Vec::with_capacity(1 + LINES.len());
        let mut lines = Vec::with_capacity(LINES.len());
        watched.push(PollFd::new(&self.shared.wake, PollFlags::IN));
        for line in LINES {
            let Some(socket) = &self.sockets[line as usize] else {
                continue;
            };
            let mut flags = PollFlags::empty();
            if self.may_read(line) {
                flags |= PollFlags::IN;
                if socket.has_read() {
                    until_ms = now_ms;
                    self.readable[line as usize] = true;
                }
            }
            let has_bytes = self.reader.outbox(line).is_some_and(|out| !out.is_empty());
            if has_bytes || socket.wants_write() {
                flags |= PollFlags::OUT;
            }
            // A descriptor without flags would still report, again and again, that the peer is gone.
            if !flags.is_empty() {
                watched.push(PollFd::from_borrowed_fd(socket.as_fd(), flags));
                lines.push(line);
            }
        }
        let ms = i64::try_from(until_ms.saturating_sub(now_ms)).unwrap_or(i64::MAX);
        let timeout = Timespec {
            tv_sec: ms / 1_000,
            tv_nsec: ms % 1_000 * 1_000_000,
        };
        // An interrupted wait is only a short one.
        let _ = poll(&mut watched, Some(&timeout));
        let is_reported = |polled: &PollFd<'_>| !(polled.revents() - PollFlags::OUT).is_empty();
        for (line, polled) in lines.into_iter().zip(&watched[1..]) {
            self.readable[line as usize] |= is_reported(polled);
        }
        if is_reported(&watched[0]) {
            let _ = rustix::io::read(&self.shared.wake, &mut [0; 8]);
        }
    }

    /// Says what has happened: in the log, and to whoever asks.
    fn report(&mut self) {
        while let Some(notice) = self.reader.poll_notice() {
            self.is_news = true;
            self.published_ms = 0;
            match notice.is_warning() {
                true => tracing::warn!(target: "replication", "{notice}"),
                false => tracing::info!(target: "replication", "{notice}"),
            }
        }
        let now_ms = self.now_ms();
        if self.is_news && now_ms >= self.published_ms + STATUS_MS {
            self.shared.publish(self.reader.status(now_ms));
            self.published_ms = now_ms;
            self.is_news = false;
        }
    }

    fn now_ms(&self) -> u64 {
        u64::try_from(self.begun.elapsed().as_millis()).expect("a process is younger than that")
    }
}
