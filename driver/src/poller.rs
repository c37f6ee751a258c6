//! What the two drivers have in common, as the engine thread sees it: arm, send, close, wait, and
//! events one by one. What an event leads to is in `thread`.

use std::os::fd::{BorrowedFd, OwnedFd};
use std::time::Duration;

use engine::{Close, Handle, Transmit, Watch};
use rustix::io::Errno;

use crate::connections::Connections;

/// How many events are handed to the engine between two looks at its channels.
pub(crate) const EVENTS_MAX: usize = 4096;

/// Something that happened.
#[derive(Debug)]
pub(crate) enum Event {
    /// A socket was accepted.
    Accepted(OwnedFd),
    /// Sockets may be waiting on the listener, which is no longer armed.
    Acceptable,
    /// Accepting ended with this error; the listener is no longer armed.
    AcceptFailed(Errno),
    /// Another thread wants something.
    Woken,
    /// The watch was armed, and has been answered.
    Ready(Handle, Watch),
}

/// What is armed for a listener.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Arming {
    /// The kernel may accept as many as wait, before anybody looks.
    Accepts,
    /// The kernel says that somebody waits, and accepts nobody.
    Reports,
}

/// A driver below the engine's trait: readiness, accepting, sending, closing.
pub(crate) trait Poller {
    /// Arms the listener. It must not be armed.
    fn arm_listener(&mut self, listener: BorrowedFd<'_>, arming: Arming);

    /// Calls [`Arming::Accepts`] off, unless that was done: an event says when it has ended. Sockets may be
    /// accepted until then.
    fn disarm_listener(&mut self);

    /// Arms a watch of an open connection, unless it is armed.
    fn arm(&mut self, connections: &mut Connections, handle: Handle, watch: Watch);

    /// Sends each slice now, without waiting, and sets each outcome.
    fn send(&mut self, connections: &Connections, group: &mut [Transmit<'_>]);

    /// Closes a connection, and releases it as soon as nothing of it is left in the kernel.
    fn close(&mut self, connections: &mut Connections, handle: Handle, how: Close);

    /// Waits until something happens, at most this long. Returns at once where events are left.
    fn wait(&mut self, timeout: Duration);

    /// The next event, without asking the kernel.
    fn next(&mut self, connections: &mut Connections) -> Option<Event>;
}
