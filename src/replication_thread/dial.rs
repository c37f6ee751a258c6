//! Connecting to PostgreSQL: over TCP or a Unix socket. May block, so it runs on a thread of its own.

use std::io::{self, Read, Write};
use std::net::{TcpStream, ToSocketAddrs as _};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::time::Duration;

use replication::{ConnectInfo, Host};

/// How long one address may take to answer.
const CONNECT_MAX: Duration = Duration::from_secs(5);

/// A connection to the server, which never blocks.
#[derive(Debug)]
pub(super) enum Socket {
    /// Over the network.
    Tcp(TcpStream),
    /// On this machine.
    Unix(UnixStream),
}

/// Connects; the error says where it was tried.
pub(super) fn connect(info: &ConnectInfo) -> Result<Socket, String> {
    let place = match (&info.host, info.socket_path()) {
        (Host::Tcp(name), _) => format!("{name}:{}", info.port),
        (Host::Unix(directory), path) => path.unwrap_or(directory.clone()).display().to_string(),
    };
    let socket = match &info.host {
        Host::Tcp(name) => connect_tcp(name, info.port).map(Socket::Tcp),
        Host::Unix(_) => connect_unix(&place).map(Socket::Unix),
    };
    socket.map_err(|error| format!("{place}: {error}"))
}

fn connect_tcp(name: &str, port: u16) -> io::Result<TcpStream> {
    let mut last = io::Error::new(io::ErrorKind::NotFound, "the name has no address");
    for address in (name, port).to_socket_addrs()? {
        match TcpStream::connect_timeout(&address, CONNECT_MAX) {
            Ok(socket) => {
                socket.set_nodelay(true)?;
                socket.set_nonblocking(true)?;
                return Ok(socket);
            }
            Err(error) => last = error,
        }
    }
    Err(last)
}

fn connect_unix(path: &str) -> io::Result<UnixStream> {
    let socket = UnixStream::connect(path)?;
    socket.set_nonblocking(true)?;
    Ok(socket)
}

impl Read for Socket {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Tcp(socket) => socket.read(buffer),
            Self::Unix(socket) => socket.read(buffer),
        }
    }
}

impl Write for Socket {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Tcp(socket) => socket.write(bytes),
            Self::Unix(socket) => socket.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl AsFd for Socket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            Self::Tcp(socket) => socket.as_fd(),
            Self::Unix(socket) => socket.as_fd(),
        }
    }
}
