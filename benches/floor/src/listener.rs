//! The listener, and the options that accepted sockets inherit: those of Tailrace's own
//! (`driver/src/listener.rs`), so that only the work around the system calls differs.

use std::io;
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4};
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};

use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketFlags, SocketType, sockopt};

const BACKLOG_MAX: i32 = 65_535;
const UNSENT_BYTES_MAX: u32 = 16 * 1024;
const SEND_BUFFER_BYTES: usize = 16 * 1024;
const RECEIVE_BUFFER_BYTES: usize = 4 * 1024;
const USER_TIMEOUT_MS: u32 = 30_000;

/// What a publisher may have under way, in bytes: it sends while the loop is busy with the streams.
const PUBLISHER_BUFFER_BYTES: usize = 1024 * 1024;

/// Opens it on a free port of loopback.
pub(crate) fn open() -> io::Result<(OwnedFd, SocketAddr)> {
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let listener = rustix::net::socket_with(AddressFamily::INET, SocketType::STREAM, flags, None)?;
    sockopt::set_socket_reuseaddr(&listener, true)?;
    sockopt::set_tcp_nodelay(&listener, true)?;
    sockopt::set_tcp_user_timeout(&listener, USER_TIMEOUT_MS)?;
    socket2::SockRef::from(&listener.as_fd()).set_tcp_notsent_lowat(UNSENT_BYTES_MAX)?;
    sockopt::set_socket_send_buffer_size(&listener, SEND_BUFFER_BYTES)?;
    sockopt::set_socket_recv_buffer_size(&listener, RECEIVE_BUFFER_BYTES)?;
    rustix::net::bind(&listener, &SocketAddrV4::new(Ipv4Addr::LOCALHOST, 0))?;
    rustix::net::listen(&listener, BACKLOG_MAX)?;
    let address = SocketAddr::try_from(rustix::net::getsockname(&listener)?)?;
    Ok((listener, address))
}

/// Accepts the next client, `Ok(None)` where nobody waits.
///
/// # Errors
///
/// Where the process has no descriptor left.
pub(crate) fn accept(listener: BorrowedFd<'_>) -> Result<Option<OwnedFd>, Errno> {
    loop {
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        match rustix::net::accept_with(listener, flags) {
            Ok(socket) => return Ok(Some(socket)),
            Err(Errno::AGAIN) => return Ok(None),
            Err(Errno::INTR | Errno::CONNABORTED) => {}
            Err(error) => return Err(error),
        }
    }
}

/// Gives a client that turned out to be a publisher room for what it sends ahead.
pub(crate) fn make_room_for_publisher(socket: BorrowedFd<'_>) {
    sockopt::set_socket_recv_buffer_size(socket, PUBLISHER_BUFFER_BYTES)
        .expect("the option takes any size");
}
