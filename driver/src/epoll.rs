//! The second driver: epoll, one-shot interests as a union for each socket, `accept4`, `send(2)`.
//! No `unsafe` here.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::time::Duration;

use engine::{Close, Handle, Transmit, Watch};
use rustix::event::Timespec;
use rustix::event::epoll::{self, CreateFlags, EventData, EventFlags};

use crate::connections::{self, CLOSING, Connections, HANGUP, KNOWN, READABLE, WATCHES, WRITABLE};
use crate::poller::{Arming, EVENTS_MAX, Event, Poller};
use crate::port::Shared;
use crate::socket;
use crate::token::{Key, Token};

/// What epoll adds to every interest by itself, with the half-close that we ask for: it answers
/// every watch.
const GONE: EventFlags = EventFlags::RDHUP
    .union(EventFlags::HUP)
    .union(EventFlags::ERR);

/// One thread's epoll instance.
pub(crate) struct Epoll {
    epoll: OwnedFd,
    shared: Arc<Shared>,
    /// What the last wait brought, and how much of it was handed out.
    events: Vec<epoll::Event>,
    handed_out: usize,
    /// The connection being handed out: what of its watches is answered, and not yet said.
    answered: Option<(Handle, u8)>,
    /// Connections whose interest the kernel refused (`fs.epoll.max_user_watches`): reported as
    /// gone.
    refused: Vec<Handle>,
    /// Whether the listener was registered before.
    knows_listener: bool,
}

impl Epoll {
    /// An instance that watches the waker.
    pub(crate) fn open(shared: Arc<Shared>) -> io::Result<Self> {
        let epoll = epoll::create(CreateFlags::CLOEXEC)?;
        let data = EventData::new_u64(Token::Waker.encode());
        epoll::add(&epoll, shared.waker.as_fd(), data, EventFlags::IN)?;
        Ok(Self {
            epoll,
            shared,
            events: Vec::with_capacity(EVENTS_MAX),
            handed_out: 0,
            answered: None,
            refused: Vec::new(),
            knows_listener: false,
        })
    }

    /// Tells the kernel what is watched of a connection now.
    fn update(&mut self, connections: &mut Connections, handle: Handle) {
        let bits = connections.bits(handle);
        let mut interest = EventFlags::ONESHOT;
        if bits & READABLE != 0 {
            interest |= EventFlags::IN | EventFlags::RDHUP;
        }
        if bits & HANGUP != 0 {
            interest |= EventFlags::RDHUP;
        }
        if bits & WRITABLE != 0 {
            interest |= EventFlags::OUT;
        }
        let data = EventData::new_u64(Token::Connection(Key::of(handle)).encode());
        let socket = connections.socket(handle);
        let result = if bits & KNOWN == 0 {
            epoll::add(&self.epoll, socket, data, interest)
        } else {
            epoll::modify(&self.epoll, socket, data, interest)
        };
        match result {
            Ok(()) => connections.set(handle, KNOWN),
            Err(_) => self.refused.push(handle),
        }
    }

    /// Notes which watches of a connection an event answers, and arms the others again: a one-shot
    /// interest is gone as a whole.
    fn answer(&mut self, connections: &mut Connections, key: Key, flags: EventFlags) {
        let handle = key.handle();
        let armed = connections.bits(handle) & WATCHES;
        let mut answers = 0;
        if flags.intersects(GONE | EventFlags::IN) {
            answers |= READABLE;
        }
        if flags.intersects(GONE) {
            answers |= HANGUP;
        }
        if flags.intersects(EventFlags::OUT | EventFlags::HUP | EventFlags::ERR) {
            answers |= WRITABLE;
        }
        // A watch that was armed again while its event was on the way here may be answered twice;
        // the second answer finds nothing armed, and is dropped.
        let answered = armed & answers;
        if armed & !answers != 0 {
            connections.clear(handle, answered);
            self.update(connections, handle);
            connections.set(handle, answered);
        }
        if answered != 0 {
            self.answered = Some((handle, answered));
        }
    }

    /// The next answer of the connection being handed out.
    fn next_answer(&mut self, connections: &mut Connections) -> Option<Event> {
        let (handle, answered) = self.answered?;
        // The engine may have closed the connection at the first answer.
        let answered = answered & connections.bits(handle);
        for (bit, watch) in [
            (READABLE, Watch::Readable),
            (HANGUP, Watch::Hangup),
            (WRITABLE, Watch::Writable),
        ] {
            if answered & bit != 0 {
                self.answered = Some((handle, answered & !bit));
                connections.clear(handle, bit);
                return Some(Event::Ready(handle, watch));
            }
        }
        self.answered = None;
        None
    }
}

impl Poller for Epoll {
    fn arm_listener(&mut self, listener: BorrowedFd<'_>, _: Arming) {
        let data = EventData::new_u64(Token::Listener.encode());
        let interest = EventFlags::IN | EventFlags::ONESHOT;
        let result = if self.knows_listener {
            epoll::modify(&self.epoll, listener, data, interest)
        } else {
            epoll::add(&self.epoll, listener, data, interest)
        };
        match result {
            Ok(()) => self.knows_listener = true,
            // The look at the queue once a second accepts meanwhile.
            Err(error) => tracing::warn!("epoll does not take the listener: {error}"),
        }
    }

    fn disarm_listener(&mut self) {
        // It is only ever reported on.
    }

    fn arm(&mut self, connections: &mut Connections, handle: Handle, watch: Watch) {
        let bit = connections::bit(watch);
        let bits = connections.bits(handle);
        assert!(bits & CLOSING == 0, "a closed connection is not watched");
        if bits & bit == 0 {
            connections.set(handle, bit);
            self.update(connections, handle);
        }
    }

    fn send(&mut self, connections: &Connections, group: &mut [Transmit<'_>]) {
        socket::send_each(connections, group);
    }

    fn close(&mut self, connections: &mut Connections, handle: Handle, how: Close) {
        connections::set_linger(connections.socket(handle), how);
        // The last descriptor of a socket takes it out of the epoll instance: epoll(7), question 6.
        connections.release(handle);
    }

    fn wait(&mut self, timeout: Duration) {
        if self.handed_out < self.events.len()
            || self.answered.is_some()
            || !self.refused.is_empty()
        {
            return;
        }
        self.events.clear();
        self.handed_out = 0;
        let timeout = Timespec::try_from(timeout).expect("waits are short");
        let room = rustix::buffer::spare_capacity(&mut self.events);
        match epoll::wait(&self.epoll, room, Some(&timeout)) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(error) => panic!("epoll_wait fails only by our mistake: {error}"),
        }
    }

    fn next(&mut self, connections: &mut Connections) -> Option<Event> {
        loop {
            if let Some(event) = self.next_answer(connections) {
                return Some(event);
            }
            if let Some(handle) = self.refused.pop() {
                // Unless the engine has closed it in the meantime.
                if connections.bits(handle) & WATCHES != 0 {
                    connections.clear(handle, WATCHES);
                    return Some(Event::Ready(handle, Watch::Hangup));
                }
                continue;
            }
            let event = *self.events.get(self.handed_out)?;
            self.handed_out += 1;
            match Token::decode(event.data.u64()) {
                Token::Waker => {
                    self.shared.waker.drain();
                    return Some(Event::Woken);
                }
                Token::Listener => return Some(Event::Acceptable),
                Token::Connection(key) => self.answer(connections, key, event.flags),
                token => unreachable!("epoll was never given {token:?}"),
            }
        }
    }
}
