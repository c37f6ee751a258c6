//! Accepting: what to do when it fails, and how to stop it. The sockets' further life is the
//! engine's matter.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};

use rustix::io::Errno;
use rustix::net::{Shutdown, SocketFlags};

/// How long accepting pauses when descriptors or memory run out. The clients wait in the backlog
/// meanwhile; open streams are not touched, and the thread does not spin.
const PAUSE: Duration = Duration::from_millis(100);

/// How often the queue is looked at without being asked: connections that migrated here from a
/// listener that was closed (`net.ipv4.tcp_migrate_req`) wake nobody on some kernels.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// How often the log speaks of pauses.
const WARN_EVERY: Duration = Duration::from_secs(10);

/// How many sockets are accepted in a row before other events get their turn.
pub(crate) const ACCEPTS_MAX: usize = 256;

/// The listener of one engine thread.
#[derive(Debug)]
pub(crate) struct Acceptor {
    listener: Option<OwnedFd>,
    /// Whether the driver watches the listener.
    armed: bool,
    paused_until: Option<Instant>,
    look_at: Instant,
    warned_at: Option<Instant>,
}

/// What comes of an accept that brought no socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Accepting {
    /// Nobody waits, or that one client is gone: watch on.
    GoesOn,
    /// No descriptors or no memory: wait a little.
    Pauses,
}

impl Acceptor {
    pub(crate) fn new(listener: OwnedFd, now: Instant) -> Self {
        Self {
            listener: Some(listener),
            armed: false,
            paused_until: None,
            look_at: now + LOOK_EVERY,
            warned_at: None,
        }
    }

    /// The listener, where it is to be armed now; the caller arms it.
    pub(crate) fn take_unarmed(&mut self, now: Instant) -> Option<BorrowedFd<'_>> {
        if self.armed || self.paused_until.is_some_and(|until| now < until) {
            return None;
        }
        let listener = self.listener.as_ref()?;
        self.armed = true;
        self.paused_until = None;
        Some(listener.as_fd())
    }

    /// The driver no longer watches the listener.
    pub(crate) fn set_unarmed(&mut self) {
        self.armed = false;
    }

    /// Heeds an error: accepting pauses where it would only fail again.
    pub(crate) fn heed(&mut self, error: Errno, now: Instant) {
        if self.listener.is_none() || classify(error) == Accepting::GoesOn {
            return;
        }
        self.paused_until = Some(now + PAUSE);
        if self.warned_at.is_none_or(|at| now - at >= WARN_EVERY) {
            self.warned_at = Some(now);
            tracing::warn!(
                "accepting pauses: {error}. Open streams live on, new clients wait in the \
                 backlog; if this lasts, raise the limit of descriptors (ulimit -n, LimitNOFILE) \
                 or the memory"
            );
        }
    }

    /// How long the thread may sleep before the acceptor has something to do.
    pub(crate) fn due_in(&self, now: Instant) -> Option<Duration> {
        self.listener.as_ref()?;
        let pause_end = self.paused_until.filter(|until| now < *until);
        let at = pause_end.unwrap_or(self.look_at);
        Some(at.saturating_duration_since(now))
    }

    /// Whether it is time to look at the queue without being asked.
    pub(crate) fn is_time_to_look(&mut self, now: Instant) -> bool {
        if self.listener.is_none() || now < self.look_at {
            return false;
        }
        self.look_at = now + LOOK_EVERY;
        self.paused_until.is_none_or(|until| now >= until)
    }

    /// Accepts one socket without waiting; `None` where the listener is closed.
    pub(crate) fn accept(&self) -> Option<Result<OwnedFd, Errno>> {
        let listener = self.listener.as_ref()?;
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        Some(rustix::net::accept_with(listener, flags))
    }

    /// Closes the listener, once its queue is empty: whoever still waits in it is reset.
    pub(crate) fn close(&mut self) {
        if let Some(listener) = self.listener.take() {
            // An armed accept holds the listener open; this completes it.
            let _ = rustix::net::shutdown(&listener, Shutdown::Both);
        }
    }

    /// Whether descriptors or memory ran out a moment ago.
    pub(crate) fn is_paused(&self, now: Instant) -> bool {
        self.paused_until.is_some_and(|until| now < until)
    }

    /// Whether the listener is not closed yet.
    pub(crate) fn is_open(&self) -> bool {
        self.listener.is_some()
    }
}

/// What an error of accept(2) means. All of them leave the listener as it was.
fn classify(error: Errno) -> Accepting {
    match error {
        // The client is gone, or a firewall forbids it. The network's errors of the new socket are
        // reported here too, and are to be treated like EAGAIN: accept(2).
        Errno::CONNABORTED
        | Errno::INTR
        | Errno::AGAIN
        | Errno::PERM
        | Errno::PROTO
        | Errno::NOPROTOOPT
        | Errno::NETDOWN
        | Errno::NETUNREACH
        | Errno::HOSTDOWN
        | Errno::HOSTUNREACH
        | Errno::NONET => Accepting::GoesOn,
        // No descriptors (EMFILE, ENFILE), no memory (ENOBUFS, ENOMEM); or an error that we do not
        // know, which must not spin either.
        _ => Accepting::Pauses,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn acceptor(now: Instant) -> Acceptor {
        let (_, mut listeners) =
            crate::listener::open_group("127.0.0.1:0".parse().unwrap(), 1).unwrap();
        Acceptor::new(listeners.pop().unwrap(), now)
    }

    #[test]
    fn want_of_descriptors_pauses_and_passes() {
        let now = Instant::now();
        let mut acceptor = acceptor(now);
        assert!(acceptor.take_unarmed(now).is_some());
        assert!(acceptor.take_unarmed(now).is_none(), "armed once");
        acceptor.set_unarmed();
        acceptor.heed(Errno::MFILE, now);
        assert!(acceptor.take_unarmed(now).is_none());
        assert_eq!(acceptor.due_in(now), Some(PAUSE));
        assert!(acceptor.take_unarmed(now + PAUSE).is_some());
    }

    #[test]
    fn a_client_that_is_gone_pauses_nothing() {
        let now = Instant::now();
        let mut acceptor = acceptor(now);
        acceptor.heed(Errno::CONNABORTED, now);
        assert!(!acceptor.is_paused(now));
        assert!(acceptor.take_unarmed(now).is_some());
    }

    #[test]
    fn a_closed_listener_has_nothing_to_do() {
        let now = Instant::now();
        let mut acceptor = acceptor(now);
        acceptor.close();
        acceptor.heed(Errno::INVAL, now);
        assert!(acceptor.take_unarmed(now).is_none());
        assert_eq!(acceptor.due_in(now), None);
        assert!(acceptor.accept().is_none());
    }
}
