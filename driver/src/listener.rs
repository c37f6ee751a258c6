//! Listeners: one for each engine on the same address, and the options that accepted sockets
//! inherit. Accepting is in `acceptor`.

use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsFd, OwnedFd};

use rustix::net::{AddressFamily, SocketFlags, SocketType, sockopt};

use crate::choice::StartError;

/// How many connections wait to be accepted; the kernel clamps it to `net.core.somaxconn`.
const BACKLOG_MAX: i32 = 65_535;

/// How much a socket holds unsent before it stops being writable, in bytes: what a slow client has
/// not taken stays in the log, where it costs nothing.
const UNSENT_BYTES_MAX: u32 = 16 * 1024;

/// The send buffer as asked for, in bytes; the kernel doubles it for its own bookkeeping.
const SEND_BUFFER_BYTES: usize = 16 * 1024;

/// The receive buffer as asked for, in bytes; the kernel doubles it. It is all that a client can
/// park here that sends without being asked. Larger requests pass it in pieces.
const RECEIVE_BUFFER_BYTES: usize = 4 * 1024;

/// How long sent bytes may stay unacknowledged, or a full receiver closed, in milliseconds, before the
/// kernel gives the connection up (RFC 5482). The kernel counts from when the client's buffer is full;
/// the engine, which closes a stream that takes nothing for 30 s, from when the socket's own is full as
/// well, some seconds later. With the same time here the kernel would always be first, and a client that
/// stalls would be counted as one that went; so this is longer by what filling a socket takes under
/// load. A client that vanished is still given up within 45 s of the first byte that it did not
/// acknowledge.
const USER_TIMEOUT_MS: u32 = 40_000;

/// Opens as many listeners on one address. All are open before any thread accepts, so that the
/// kernel spreads connections over all of them from the first one on.
pub(crate) fn open_group(
    address: SocketAddr,
    count: u16,
) -> Result<(SocketAddr, Vec<OwnedFd>), StartError> {
    let mut address = address;
    let mut listeners = Vec::with_capacity(usize::from(count));
    for _ in 0..count {
        let (listener, local) =
            open(address).map_err(|source| StartError::Listen { address, source })?;
        // Where the kernel chose the port, the others listen on the same.
        address = local;
        listeners.push(listener);
    }
    Ok((address, listeners))
}

fn open(address: SocketAddr) -> io::Result<(OwnedFd, SocketAddr)> {
    let family = if address.is_ipv4() {
        AddressFamily::INET
    } else {
        AddressFamily::INET6
    };
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let listener = rustix::net::socket_with(family, SocketType::STREAM, flags, None)?;
    set_options(&listener, address)?;
    rustix::net::bind(&listener, &address)?;
    rustix::net::listen(&listener, BACKLOG_MAX)?;
    let local = SocketAddr::try_from(rustix::net::getsockname(&listener)?)?;
    Ok((listener, local))
}

fn set_options(listener: &OwnedFd, address: SocketAddr) -> io::Result<()> {
    sockopt::set_socket_reuseaddr(listener, true)?;
    sockopt::set_socket_reuseport(listener, true)?;
    if address.is_ipv6() && address.ip().is_unspecified() {
        sockopt::set_ipv6_v6only(listener, false)?;
    }
    sockopt::set_tcp_nodelay(listener, true)?;
    sockopt::set_tcp_user_timeout(listener, USER_TIMEOUT_MS)?;
    socket2::SockRef::from(&listener.as_fd()).set_tcp_notsent_lowat(UNSENT_BYTES_MAX)?;
    sockopt::set_socket_send_buffer_size(listener, SEND_BUFFER_BYTES)?;
    // Before `listen`, since the window scale is chosen from it when a connection is made.
    sockopt::set_socket_recv_buffer_size(listener, RECEIVE_BUFFER_BYTES)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::TcpStream;

    #[test]
    fn a_group_shares_the_port_that_the_kernel_chose() {
        for text in ["127.0.0.1:0", "[::1]:0"] {
            let (address, listeners) = open_group(text.parse().unwrap(), 3).unwrap();
            assert_ne!(address.port(), 0);
            assert_eq!(listeners.len(), 3);
            TcpStream::connect(address).unwrap();
        }
    }

    #[test]
    fn accepted_sockets_inherit_the_options() {
        let (address, listeners) = open_group("127.0.0.1:0".parse().unwrap(), 1).unwrap();
        let _client = TcpStream::connect(address).unwrap();
        let socket = rustix::net::accept(&listeners[0]).unwrap();
        assert!(sockopt::tcp_nodelay(&socket).unwrap());
        assert_eq!(sockopt::tcp_user_timeout(&socket).unwrap(), USER_TIMEOUT_MS);
        assert_eq!(
            sockopt::socket_send_buffer_size(&socket).unwrap(),
            2 * SEND_BUFFER_BYTES
        );
        assert_eq!(
            sockopt::socket_recv_buffer_size(&socket).unwrap(),
            2 * RECEIVE_BUFFER_BYTES
        );
        let unsent = socket2::SockRef::from(&socket).tcp_notsent_lowat().unwrap();
        assert_eq!(unsent, UNSENT_BYTES_MAX);
    }

    #[test]
    fn an_address_in_use_is_named() {
        let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let error = open_group(taken.local_addr().unwrap(), 1).unwrap_err();
        assert!(
            error.to_string().contains("cannot listen on 127.0.0.1:"),
            "{error}"
        );
    }
}
