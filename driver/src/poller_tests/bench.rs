//! A driver below the engine, whose part the suite plays.

use std::collections::VecDeque;
use std::net::{SocketAddr, TcpStream};
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::{Duration, Instant};

use engine::{Close, Handle, Outcome, Transmit, Watch};
use rustix::io::Errno;

use crate::acceptor::Acceptor;
use crate::connections::Connections;
use crate::epoll::Epoll;
use crate::listener;
use crate::poller::{Arming, Event, Poller};
use crate::port::{Shared, port};
use crate::token::Key;
use crate::uring::{Ring, Uring};

/// How long a test waits for something that must happen.
const PATIENCE: Duration = Duration::from_secs(10);

/// A driver with its connections, and the engine's part played by the test.
pub(super) struct Bench {
    pub(super) poller: Box<dyn Poller>,
    pub(super) connections: Connections,
    acceptor: Acceptor,
    pub(super) address: SocketAddr,
    pub(super) shared: Arc<Shared>,
    slots: u32,
    backlog: VecDeque<Event>,
}

/// What the suite runs over.
#[derive(Clone, Copy, Debug)]
pub(super) enum Kernel {
    Uring,
    /// A ring of the least size: entries do not fit at once, and completions overflow.
    TinyUring,
    Epoll,
}

impl Bench {
    pub(super) fn new(kernel: Kernel) -> Self {
        let (_, inbox) = port().unwrap();
        let shared = inbox.shared;
        let uring = |ring| Box::new(Uring::new(ring, Arc::clone(&shared)));
        let poller: Box<dyn Poller> = match kernel {
            Kernel::Uring => uring(Ring::open().unwrap()),
            Kernel::TinyUring => uring(Ring::of_size(2, 4)),
            Kernel::Epoll => Box::new(Epoll::open(Arc::clone(&shared)).unwrap()),
        };
        let (address, mut listeners) =
            listener::open_group("127.0.0.1:0".parse().unwrap(), 1).unwrap();
        let acceptor = Acceptor::new(listeners.pop().unwrap(), Instant::now());
        let connections = Connections::default();
        let backlog = VecDeque::new();
        Self {
            poller,
            connections,
            acceptor,
            address,
            shared,
            slots: 0,
            backlog,
        }
    }

    /// A client, and its connection here.
    pub(super) fn connect(&mut self) -> (TcpStream, Handle) {
        let client = TcpStream::connect(self.address).unwrap();
        client.set_read_timeout(Some(PATIENCE)).unwrap();
        let socket = self.accept();
        let descriptor = self.connections.begin_accept(socket);
        let handle = Handle {
            descriptor,
            slot: self.slots,
            generation: 0,
        };
        self.slots += 1;
        self.connections.adopt(handle);
        self.connections.end_accept();
        (client, handle)
    }

    pub(super) fn accept(&mut self) -> OwnedFd {
        if let Some((listener, arming)) = self.acceptor.take_unarmed(Instant::now()) {
            self.poller.arm_listener(listener, arming);
        }
        match self.event() {
            Event::Accepted(socket) => socket,
            Event::Acceptable => {
                self.acceptor.set_unarmed();
                self.accept_waiting().unwrap()
            }
            other => panic!("an accept was expected, not {other:?}"),
        }
    }

    pub(super) fn arm_listener(&mut self, arming: Arming) {
        let (listener, _) = self.acceptor.take_unarmed(Instant::now()).unwrap();
        self.poller.arm_listener(listener, arming);
    }

    /// Whoever waits in the listener's queue.
    pub(super) fn accept_waiting(&self) -> Result<OwnedFd, Errno> {
        self.acceptor.accept(Instant::now()).unwrap()
    }

    pub(super) fn watch(&mut self, handle: Handle, watch: Watch) {
        self.poller.arm(&mut self.connections, handle, watch);
    }

    pub(super) fn close(&mut self, handle: Handle, how: Close) {
        self.poller.close(&mut self.connections, handle, how);
    }

    /// The next event, within patience.
    pub(super) fn event(&mut self) -> Event {
        let end = Instant::now() + PATIENCE;
        loop {
            if let Some(event) = self.backlog.pop_front() {
                return event;
            }
            assert!(Instant::now() < end, "nothing happened");
            self.poll(Duration::from_millis(100));
        }
    }

    pub(super) fn poll(&mut self, timeout: Duration) {
        self.poller.wait(timeout);
        while let Some(event) = self.poller.next(&mut self.connections) {
            self.backlog.push_back(event);
        }
    }

    pub(super) fn expect_ready(&mut self, handle: Handle, watch: Watch) {
        match self.event() {
            Event::Ready(ready, what) => {
                assert_eq!(
                    (ready.slot, ready.generation, what),
                    (handle.slot, 0, watch)
                );
            }
            other => panic!("{watch:?} was expected, not {other:?}"),
        }
    }

    pub(super) fn expect_silence(&mut self) {
        self.poll(Duration::from_millis(30));
        assert!(self.backlog.is_empty(), "{:?}", self.backlog);
    }

    pub(super) fn expect_released(&mut self, handle: Handle) {
        let end = Instant::now() + PATIENCE;
        let mut released = Vec::new();
        while released.is_empty() {
            assert!(Instant::now() < end, "the slot was not released");
            self.poll(Duration::from_millis(10));
            self.connections.take_released(&mut released);
        }
        let keys: Vec<_> = released.into_iter().map(Key::of).collect();
        assert_eq!(keys, [Key::of(handle)]);
        assert!(
            self.backlog.is_empty(),
            "nothing is reported of what is closed"
        );
    }

    pub(super) fn send(&mut self, handle: Handle, bytes: &[u8]) -> Outcome {
        let mut group = [Transmit {
            connection: handle,
            bytes,
            outcome: Outcome::Pending,
        }];
        self.poller.send(&self.connections, &mut group);
        group[0].outcome
    }

    /// Sends until the socket stays full, and says how much it took. On loopback a full socket may
    /// have room again a moment later, when what it holds has moved into the client's own.
    pub(super) fn fill(&mut self, handle: Handle) -> usize {
        let mut taken = 0;
        loop {
            let before = taken;
            loop {
                match self.send(handle, &[b'x'; 4096]) {
                    Outcome::Taken(0) => break,
                    Outcome::Taken(count) => taken += count,
                    other => panic!("{other:?}"),
                }
            }
            if taken == before {
                return taken;
            }
            std::thread::sleep(Duration::from_millis(100));
        }
    }
}

/// Runs a test against both drivers. A ring that is refused fails it.
pub(super) fn both(test: impl Fn(&mut Bench)) {
    for kernel in [Kernel::Uring, Kernel::TinyUring, Kernel::Epoll] {
        test(&mut Bench::new(kernel));
    }
}
