//! Accepting: how, what to do when it fails, which descriptors are not for clients, and how to stop it.
//! The sockets' further life is the engine's matter.

use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::time::{Duration, Instant};

use rustix::io::{DupFlags, Errno, dup3, fcntl_dupfd_cloexec};
use rustix::net::{Shutdown, SocketFlags};
use rustix::process::{Resource, getrlimit};

use crate::poller::Arming;

/// The last descriptors of the process, which no client keeps: without one the node could neither connect
/// to PostgreSQL again nor ask anybody about a session, and all its streams would end with that.
pub const RESERVED_DESCRIPTORS: u64 = 64;

/// Of few descriptors this part is reserved.
const RESERVED_SHARE: u64 = 4;

/// Of the descriptors for clients the last part is scarce. An accept that goes on by itself takes as many
/// as wait, the reserved ones with them, before anybody can look; while descriptors are scarce each client
/// is therefore accepted by a call of its own, which looks first. The part is large, so that it is hardly
/// ever leapt over by those who wait at one time.
const SCARCE_SHARE: u64 = 8;

/// For how long descriptors count as scarce after one of the scarce ones was given, or none was left. A
/// low one that is given tells nothing: it may be the only one that is free.
const SCARCE_FOR: Duration = Duration::from_secs(10);

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
    parts: Parts,
    scarce_until: Option<Instant>,
    paused_until: Option<Instant>,
    look_at: Instant,
    warned_at: Option<Instant>,
}

/// The descriptors of the process, in parts. The kernel gives the lowest one that is free, so that
/// whoever is given one of a part has found none below it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Parts {
    /// The first one that is scarce.
    scarce_from: RawFd,
    /// The first one that is not for clients.
    reserved_from: RawFd,
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
            parts: Parts::of(getrlimit(Resource::Nofile).current),
            scarce_until: None,
            paused_until: None,
            look_at: now + LOOK_EVERY,
            warned_at: None,
        }
    }

    /// The listener, where it is to be armed now, and how; the caller arms it.
    pub(crate) fn take_unarmed(&mut self, now: Instant) -> Option<(BorrowedFd<'_>, Arming)> {
        if self.armed || self.is_paused(now) {
            return None;
        }
        let arming = if self.is_scarce(now) {
            Arming::Reports
        } else {
            Arming::Accepts
        };
        let listener = self.listener.as_ref()?;
        self.armed = true;
        Some((listener.as_fd(), arming))
    }

    /// Whether a socket was given a descriptor that is for clients; the caller closes it else. Accepting
    /// pauses then.
    pub(crate) fn admits(&mut self, socket: &OwnedFd, now: Instant) -> bool {
        let descriptor = socket.as_raw_fd();
        if descriptor >= self.parts.reserved_from {
            self.heed(Errno::MFILE, now);
            return false;
        }
        if descriptor >= self.parts.scarce_from {
            self.scarce_until = Some(now + SCARCE_FOR);
        }
        true
    }

    /// Whether clients are to be accepted one by one.
    pub(crate) fn is_scarce(&self, now: Instant) -> bool {
        self.scarce_until.is_some_and(|until| now < until)
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
        if error == Errno::MFILE {
            self.scarce_until = Some(now + SCARCE_FOR);
        }
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

    /// Accepts one socket without waiting; `None` where the listener is closed. Where there is no
    /// descriptor for a client, nobody is accepted, and whoever waits keeps the place in the queue.
    pub(crate) fn accept(&self, now: Instant) -> Option<Result<OwnedFd, Errno>> {
        let listener = self.listener.as_ref()?;
        Some(if self.is_scarce(now) {
            accept_below(self.parts.reserved_from, listener)
        } else {
            accept(listener)
        })
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

impl Parts {
    fn of(descriptors: Option<u64>) -> Self {
        let Some(descriptors) = descriptors else {
            return Self {
                scarce_from: RawFd::MAX,
                reserved_from: RawFd::MAX,
            };
        };
        let clients = descriptors - RESERVED_DESCRIPTORS.min(descriptors / RESERVED_SHARE);
        let first = |descriptor| RawFd::try_from(descriptor).unwrap_or(RawFd::MAX);
        Self {
            scarce_from: first(clients - clients / SCARCE_SHARE),
            reserved_from: first(clients),
        }
    }
}

fn accept(listener: &OwnedFd) -> Result<OwnedFd, Errno> {
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    rustix::net::accept_with(listener, flags)
}

/// Accepts with a descriptor below this one, or nobody. The descriptor is taken first, so that another
/// thread cannot have it between the look and the accept.
fn accept_below(end: RawFd, listener: &OwnedFd) -> Result<OwnedFd, Errno> {
    let mut place = fcntl_dupfd_cloexec(listener, 0)?;
    if place.as_raw_fd() >= end {
        return Err(Errno::MFILE);
    }
    let socket = accept(listener)?;
    if socket.as_raw_fd() < end {
        return Ok(socket);
    }
    dup3(&socket, &mut place, DupFlags::CLOEXEC)?;
    Ok(place)
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
    use std::io::Read;
    use std::net::SocketAddr;

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
    fn the_last_descriptors_are_scarce_and_the_very_last_are_not_for_clients() {
        let parts = |scarce_from, reserved_from| Parts {
            scarce_from,
            reserved_from,
        };
        assert_eq!(Parts::of(None), parts(RawFd::MAX, RawFd::MAX));
        assert_eq!(Parts::of(Some(20_000)), parts(17_444, 20_000 - 64));
        assert_eq!(Parts::of(Some(100)), parts(66, 75));
        assert_eq!(Parts::of(Some(0)), parts(0, 0));
    }

    #[test]
    fn a_socket_is_judged_by_its_descriptor() {
        let now = Instant::now();
        let mut acceptor = acceptor(now);
        let socket: OwnedFd = std::fs::File::open("/dev/null").unwrap().into();
        assert!(acceptor.admits(&socket, now) && !acceptor.is_scarce(now));
        acceptor.parts.scarce_from = socket.as_raw_fd();
        assert!(acceptor.admits(&socket, now));
        assert!(acceptor.is_scarce(now) && !acceptor.is_paused(now));
        acceptor.parts.reserved_from = socket.as_raw_fd();
        assert!(!acceptor.admits(&socket, now));
        assert!(acceptor.is_scarce(now) && acceptor.is_paused(now));
    }

    #[test]
    fn while_descriptors_are_scarce_the_kernel_accepts_nobody_by_itself() {
        let now = Instant::now();
        let mut acceptor = acceptor(now);
        let how = |acceptor: &mut Acceptor, at| {
            acceptor.set_unarmed();
            acceptor.take_unarmed(at).map(|(_, arming)| arming)
        };
        assert_eq!(how(&mut acceptor, now), Some(Arming::Accepts));
        acceptor.heed(Errno::MFILE, now);
        assert_eq!(how(&mut acceptor, now), None, "it pauses");
        assert_eq!(how(&mut acceptor, now + PAUSE), Some(Arming::Reports));
        // Each time that none is left it lasts as long again.
        let again = now + SCARCE_FOR / 2;
        acceptor.heed(Errno::MFILE, again);
        let end = again + SCARCE_FOR;
        assert_eq!(
            how(&mut acceptor, end - Duration::from_millis(1)),
            Some(Arming::Reports)
        );
        assert_eq!(how(&mut acceptor, end), Some(Arming::Accepts));
    }

    #[test]
    fn whom_there_is_no_descriptor_for_is_not_accepted() {
        let now = Instant::now();
        let mut acceptor = acceptor(now);
        let listener = acceptor.listener.as_ref().unwrap();
        let address = SocketAddr::try_from(rustix::net::getsockname(listener).unwrap()).unwrap();
        let mut client = std::net::TcpStream::connect(address).unwrap();
        acceptor.heed(Errno::MFILE, now);
        acceptor.parts.reserved_from = 0;
        let refused = acceptor.accept(now).unwrap().unwrap_err();
        assert_eq!(refused, Errno::MFILE);
        // Whoever waited is served when there is one.
        acceptor.parts.reserved_from = RawFd::MAX;
        let socket = acceptor.accept(now).unwrap().unwrap();
        rustix::io::write(&socket, b"welcome").unwrap();
        drop(socket);
        let mut text = String::new();
        client.read_to_string(&mut text).unwrap();
        assert_eq!(text, "welcome");
        let nobody = acceptor.accept(now).unwrap().unwrap_err();
        assert_eq!(nobody, Errno::AGAIN);
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
        assert!(acceptor.accept(now).is_none());
    }
}
