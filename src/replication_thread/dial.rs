//! Connecting to PostgreSQL: over TCP, with TLS where that is asked for, or a Unix socket. May block,
//! in bounded time, so it runs on a thread of its own.

use std::io;
use std::net::{SocketAddr, TcpStream, ToSocketAddrs as _};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use replication::{ConnectInfo, Host, Protection};

use super::socket::{Socket, TlsSocket};
use crate::tls::{self, ServerTls};

/// How long one address may take to answer.
const CONNECT_MAX: Duration = Duration::from_secs(5);

/// How long the TLS handshake may take.
const TLS_MAX: Duration = Duration::from_secs(10);

/// Connects; the error says where it was tried.
pub(super) fn connect(info: &ConnectInfo) -> Result<(Socket, Protection), String> {
    let connected = match (&info.host, info.socket_path()) {
        (Host::Unix(_), Some(path)) => connect_unix(&path).map_err(|error| error.to_string()),
        (Host::Unix(directory), None) => Err(format!("{} is no socket", directory.display())),
        (Host::Tcp(name), _) => dial(info, name),
    };
    connected.map_err(|error| format!("{}: {error}", info.place()))
}

fn dial(info: &ConnectInfo, name: &str) -> Result<(Socket, Protection), String> {
    let tls = ServerTls::new(info).map_err(|error| error.to_string())?;
    let mut socket = connect_tcp(info, name).map_err(|error| error.to_string())?;
    let (socket, protection) = match tls {
        None => (Socket::Tcp(socket), Protection::None),
        Some(tls) => {
            let (connection, protection) =
                tls::handshake(&tls, &mut socket, TLS_MAX).map_err(|error| error.to_string())?;
            let socket = TlsSocket::new(connection, socket);
            (Socket::Tls(Box::new(socket)), protection)
        }
    };
    rustix::io::ioctl_fionbio(&socket, true).map_err(|error| error.to_string())?;
    Ok((socket, protection))
}

fn connect_tcp(info: &ConnectInfo, name: &str) -> io::Result<TcpStream> {
    let addresses: Vec<SocketAddr> = match info.address {
        Some(address) => vec![(address, info.port).into()],
        None => (name, info.port).to_socket_addrs()?.collect(),
    };
    let mut last = io::Error::new(io::ErrorKind::NotFound, "the name has no address");
    for address in addresses {
        match TcpStream::connect_timeout(&address, CONNECT_MAX) {
            Ok(socket) => {
                socket.set_nodelay(true)?;
                return Ok(socket);
            }
            Err(error) => last = error,
        }
    }
    Err(last)
}

fn connect_unix(path: &Path) -> io::Result<(Socket, Protection)> {
    let socket = UnixStream::connect(path)?;
    socket.set_nonblocking(true)?;
    Ok((Socket::Unix(socket), Protection::None))
}

#[cfg(test)]
mod tests;
