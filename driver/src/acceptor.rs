//! Accepting: what to do when it fails, which descriptors are not for clients, and how to stop it. The
//! sockets' further life is the engine's matter.

use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::time::{Duration, Instant};

use rustix::io::Errno;
use rustix::net::{Shutdown, SocketFlags};
use rustix::process::{Resource, getrlimit};

/// The last descriptors of the process, which no client is given: without one the node could neither
/// connect to PostgreSQL again nor ask anybody about a session, and all its streams would end with that.
pub const RESERVED_DESCRIPTORS: u64 = 64;

/// Of few descriptors this part is reserved.
const RESERVED_SHARE: u64 = 4;

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
    /// The first descriptor that is not for clients. The kernel gives the lowest one that is free, so
    /// that whoever is given this one or a higher one has found none below.
    reserved_from: RawFd,
    /// Those below have run out, and there was none when that was last looked at.
    is_short: bool,
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
    /// Accepts while there are descriptors for clients, by the limit of this moment.
    pub(crate) fn new(listener: OwnedFd, now: Instant) -> Self {
        Self {
            listener: Some(listener),
            armed: false,
            reserved_from: reserved_from(getrlimit(Resource::Nofile).current),
            is_short: false,
            paused_until: None,
            look_at: now + LOOK_EVERY,
            warned_at: None,
        }
    }

    /// The listener, where it is to be armed now; the caller arms it.
    pub(crate) fn take_unarmed(&mut self, now: Instant) -> Option<BorrowedFd<'_>> {
        if self.armed || !self.may_accept(now) {
            return None;
        }
        let listener = self.listener.as_ref()?;
        self.armed = true;
        Some(listener.as_fd())
    }

    /// Whether there is anything to accept with. While there is no descriptor for a client, those who
    /// wait keep their places.
    pub(crate) fn may_accept(&mut self, now: Instant) -> bool {
        if self.is_paused(now) {
            return false;
        }
        self.paused_until = None;
        if self.is_short {
            self.is_short = !self.has_descriptor();
            if self.is_short {
                self.paused_until = Some(now + PAUSE);
            }
        }
        !self.is_short
    }

    /// Whether a socket was given a descriptor that is for clients; the caller closes it else. Accepting
    /// pauses then.
    pub(crate) fn admits(&mut self, socket: &OwnedFd, now: Instant) -> bool {
        let is_admitted = socket.as_raw_fd() < self.reserved_from;
        if !is_admitted {
            self.heed(Errno::MFILE, now);
        }
        is_admitted
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
        self.is_short |= error == Errno::MFILE;
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
        !self.is_paused(now)
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

    /// Whether the next descriptor would be one for a client.
    fn has_descriptor(&self) -> bool {
        let next = self
            .listener
            .as_ref()
            .map(|listener| rustix::io::fcntl_dupfd_cloexec(listener, 0));
        match next {
            Some(Ok(next)) => next.as_raw_fd() < self.reserved_from,
            Some(Err(_)) | None => false,
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

/// The first of the descriptors that are not for clients, where there are so many.
fn reserved_from(descriptors: Option<u64>) -> RawFd {
    let Some(descriptors) = descriptors else {
        return RawFd::MAX;
    };
    let reserved = RESERVED_DESCRIPTORS.min(descriptors / RESERVED_SHARE);
    RawFd::try_from(descriptors - reserved).unwrap_or(RawFd::MAX)
}

/// What an error of accept(2) means. All of them leave the listener as it was.
fn classify(error: Errno) -> Accepting {
    match error {
        // The client is gone, or a firewall forbids it, or we called it off. The network's errors of the
        // new socket are reported here too, and are to be treated like EAGAIN: accept(2).
        Errno::CONNABORTED
        | Errno::CANCELED
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
    fn the_last_descriptors_are_not_for_clients() {
        assert_eq!(reserved_from(None), RawFd::MAX);
        assert_eq!(reserved_from(Some(20_000)), 20_000 - 64);
        assert_eq!(reserved_from(Some(100)), 75);
        let now = Instant::now();
        let mut acceptor = acceptor(now);
        let socket = std::fs::File::open("/dev/null").unwrap().into();
        assert!(acceptor.admits(&socket, now) && acceptor.may_accept(now));
        acceptor.reserved_from = 0;
        assert!(!acceptor.admits(&socket, now));
        assert!(!acceptor.may_accept(now) && acceptor.is_paused(now));
        // The pause is over, and there is still none.
        assert!(!acceptor.may_accept(now + PAUSE) && acceptor.is_paused(now + PAUSE));
        acceptor.reserved_from = RawFd::MAX;
        assert!(acceptor.may_accept(now + 2 * PAUSE));
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
