//! The system calls on connected sockets: receive, send, who is the peer. Which socket, and when,
//! is decided elsewhere.

use std::net::{IpAddr, SocketAddr};
use std::os::fd::BorrowedFd;

use engine::{Outcome, Transmit};
use rustix::io::Errno;
use rustix::net::{RecvFlags, SendFlags};

use crate::connections::Connections;

/// How much is received at once, in bytes: one scratch buffer for each thread.
pub(crate) const RECEIVE_BYTES_MAX: usize = 16 * 1024;

/// What a receive brought.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Received {
    /// So many bytes; 0 at the end of the input.
    Bytes(usize),
    /// Nothing yet: the report was of something else.
    Nothing,
    /// The connection is broken.
    Broken,
}

/// Receives what has arrived, without waiting.
pub(crate) fn receive(socket: BorrowedFd<'_>, scratch: &mut [u8]) -> Received {
    match rustix::net::recv(socket, scratch, RecvFlags::DONTWAIT) {
        Ok((count, _)) => Received::Bytes(count),
        Err(Errno::AGAIN | Errno::INTR | Errno::NOMEM) => Received::Nothing,
        Err(_) => Received::Broken,
    }
}

/// Sends each slice by a system call of its own.
pub(crate) fn send_each(connections: &Connections, group: &mut [Transmit<'_>]) {
    for transmit in group {
        let socket = connections.socket(transmit.connection);
        let flags = SendFlags::DONTWAIT | SendFlags::NOSIGNAL;
        transmit.outcome = outcome(rustix::net::send(socket, transmit.bytes, flags));
    }
}

/// What the result of a send means.
pub(crate) fn outcome(result: Result<usize, Errno>) -> Outcome {
    match result {
        Ok(count) => Outcome::Taken(count),
        // The kernel has no room or no memory for it now; the next writability report tries again.
        Err(Errno::AGAIN | Errno::INTR | Errno::NOBUFS | Errno::NOMEM) => Outcome::Taken(0),
        Err(_) => Outcome::Broken,
    }
}

/// The address of the peer; `None` where it is gone already.
pub(crate) fn peer(socket: BorrowedFd<'_>) -> Option<IpAddr> {
    let address = rustix::net::getpeername(socket).ok()??;
    // A peer over IPv4 of a listener on `[::]` is named by its IPv4 address.
    SocketAddr::try_from(address)
        .ok()
        .map(|address| address.ip().to_canonical())
}
