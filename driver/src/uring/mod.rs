//! The first driver: a ring for each engine thread. It accepts (multishot, or polls for who waits), polls
//! once for what the engine watches, polls the waker's eventfd, waits, and sends large groups; bytes in
//! are received by `recv(2)`.
//!
//! A connection is never cancelled in the ring, whose table of operations is searched for it: its
//! armed polls are completed by shutting the socket down or disconnecting it, and the socket is
//! closed when the last of them has come back.

mod refusal;
mod ring;
mod send;
mod setup;

use std::collections::VecDeque;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::time::Duration;

use engine::limits::GENERATION_BITS;
use engine::{Close, Handle, Transmit, Watch};
use rustix::event::PollFlags;
use rustix::io::Errno;
use rustix::net::Shutdown;

use self::ring::{Completion, Entered, Operation, wait_for_memory};
use crate::connections::{self, CLOSING, Connections, WATCHES};
use crate::poller::{Arming, EVENTS_MAX, Event, Poller};
use crate::port::Shared;
use crate::socket;
use crate::token::{Key, Token};

pub(crate) use self::ring::Ring;

/// From how many sends on a group goes over the ring; a smaller one goes by `send(2)`, one by one.
///
/// Measured as processor time of 300-byte sends on Linux 6.18, over loopback to 9,000 sockets: over
/// the ring groups of 256 and of 64 cost 5 % less, of 16 and 8 the same, and of one 9 % more. To
/// compare the two ways, set it to 0, or to `usize::MAX`.
const RING_SENDS_MIN: usize = 16;

/// The driver of one thread.
pub(crate) struct Uring {
    ring: Ring,
    shared: Arc<Shared>,
    /// What has completed and is not handed out yet.
    ready: VecDeque<Ready>,
    /// What is armed for the listener, or was last, accepts by itself and was not called off.
    accepts: bool,
    /// The number of the last group of sends.
    group: u32,
}

/// A completion, with its socket owned where it brought one.
#[derive(Debug)]
enum Ready {
    Accepted(OwnedFd),
    Acceptable,
    AcceptFailed(Errno),
    Woken { is_armed: bool },
    Watch(Watch, Key),
}

impl Uring {
    /// The driver over a ring of this thread.
    pub(crate) fn new(ring: Ring, shared: Arc<Shared>) -> Self {
        let mut uring = Self {
            ring,
            shared,
            ready: VecDeque::new(),
            accepts: false,
            group: 0,
        };
        uring.arm_waker();
        uring
    }

    fn arm_waker(&mut self) {
        let eventfd = self.shared.waker.as_fd().as_raw_fd();
        self.ring
            .push(Operation::PollMulti(eventfd, PollFlags::IN), Token::Waker);
    }

    /// Takes every completion that is there.
    fn reap(&mut self) {
        while let Some(completion) = self.ring.complete() {
            note(&mut self.ready, completion);
        }
    }
}

impl Poller for Uring {
    fn arm_listener(&mut self, listener: BorrowedFd<'_>, arming: Arming) {
        let listener = listener.as_raw_fd();
        self.accepts = arming == Arming::Accepts && self.ring.accepts_multishot();
        let (operation, token) = if self.accepts {
            (Operation::AcceptMulti(listener), Token::Listener)
        } else {
            (
                Operation::Poll(listener, PollFlags::IN),
                Token::ListenerPoll,
            )
        };
        self.ring.push(operation, token);
    }

    fn disarm_listener(&mut self) {
        // Once: it is searched for among all that is armed.
        if std::mem::take(&mut self.accepts) {
            self.ring
                .push(Operation::Cancel(Token::Listener), Token::Cancel);
        }
    }

    fn arm(&mut self, connections: &mut Connections, handle: Handle, watch: Watch) {
        let bit = connections::bit(watch);
        let bits = connections.bits(handle);
        assert!(bits & CLOSING == 0, "a closed connection is not watched");
        if bits & bit != 0 {
            return;
        }
        connections.set(handle, bit);
        let flags = match watch {
            Watch::Readable => PollFlags::IN | PollFlags::RDHUP,
            Watch::Hangup => PollFlags::RDHUP,
            Watch::Writable => PollFlags::OUT,
        };
        let socket = connections.socket(handle).as_raw_fd();
        self.ring.push(
            Operation::Poll(socket, flags),
            Token::Watch(watch, Key::of(handle)),
        );
    }

    fn send(&mut self, connections: &Connections, group: &mut [Transmit<'_>]) {
        if group.len() < RING_SENDS_MIN {
            socket::send_each(connections, group);
            return;
        }
        self.group = (self.group + 1) & ((1 << GENERATION_BITS) - 1);
        let Self { ring, ready, .. } = self;
        send::send_group(ring, self.group, group, |other| note(ready, other));
    }

    fn close(&mut self, connections: &mut Connections, handle: Handle, how: Close) {
        let socket = connections.socket(handle);
        connections::set_linger(socket, how);
        if connections.bits(handle) & WATCHES == 0 {
            connections.release(handle);
            return;
        }
        // Disconnecting sends the RST at once, without a FIN before it.
        let is_disconnected = how == Close::Reset && rustix::net::connect_unspec(socket).is_ok();
        if !is_disconnected {
            // Fails on a broken socket only, whose polls have completed already.
            let _ = rustix::net::shutdown(socket, Shutdown::Both);
        }
        connections.set(handle, CLOSING);
    }

    fn wait(&mut self, timeout: Duration) {
        let wait = (self.ready.is_empty() && !timeout.is_zero()).then_some(timeout);
        let has_cause = wait.is_some() || self.ring.has_entries() || self.ring.has_deferred();
        if has_cause && self.ring.enter(wait) == Entered::Busy {
            wait_for_memory(0);
        }
        self.reap();
        let mut known = 0;
        // The kernel may leave the flag standing with nothing behind it: it is set after the work was
        // queued, and by then the work may have been run and the flag cleared. An enter that brings
        // nothing ends this, or the thread would go round until something else arrives.
        while self.ready.len() > known && self.ready.len() < EVENTS_MAX && self.ring.has_deferred()
        {
            known = self.ready.len();
            self.ring.enter(None);
            self.reap();
        }
    }

    fn next(&mut self, connections: &mut Connections) -> Option<Event> {
        loop {
            match self.ready.pop_front()? {
                Ready::Accepted(socket) => return Some(Event::Accepted(socket)),
                Ready::Acceptable => return Some(Event::Acceptable),
                Ready::AcceptFailed(error) => return Some(Event::AcceptFailed(error)),
                Ready::Woken { is_armed } => {
                    self.shared.waker.drain();
                    if !is_armed {
                        self.arm_waker();
                    }
                    return Some(Event::Woken);
                }
                Ready::Watch(watch, key) => {
                    let handle = key.handle();
                    let bit = connections::bit(watch);
                    let bits = connections.bits(handle);
                    assert!(
                        bits & bit != 0,
                        "a slot is kept while something of it is in the ring"
                    );
                    connections.clear(handle, bit);
                    if bits & CLOSING == 0 {
                        return Some(Event::Ready(handle, watch));
                    }
                    if bits & WATCHES == bit {
                        connections.release(handle);
                    }
                }
            }
        }
    }
}

/// Notes a completion for the next round.
fn note(ready: &mut VecDeque<Ready>, completion: Completion) {
    let Completion {
        token,
        result,
        more,
    } = completion;
    match token {
        Token::Waker => ready.push_back(Ready::Woken { is_armed: more }),
        Token::Watch(watch, key) => ready.push_back(Ready::Watch(watch, key)),
        Token::ListenerPoll => ready.push_back(Ready::Acceptable),
        // What it called off says so itself.
        Token::Cancel => {}
        Token::Listener if result < 0 => {
            ready.push_back(Ready::AcceptFailed(Errno::from_raw_os_error(-result)));
        }
        Token::Listener => {
            ready.push_back(Ready::Accepted(ring::accepted(result)));
            if !more {
                // The kernel ends a multishot accept where its completions do not fit, too.
                ready.push_back(Ready::Acceptable);
            }
        }
        Token::Connection(_) | Token::Send(_) => {
            unreachable!("{token:?} is not in the ring between two sends")
        }
    }
}
