//! The way from a TCP connection to an encrypted one, blocking, in bounded time.

use std::io::{self, ErrorKind, Read as _, Write as _};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use replication::Protection;
use rustls::ClientConnection;

use super::{ServerTls, TlsError, server_end_point};

/// SSLRequest (PostgreSQL, "Message Formats").
const SSL_REQUEST: [u8; 8] = [0, 0, 0, 8, 0x04, 0xd2, 0x16, 0x2f];

/// Asks for TLS, unless it begins directly, and shakes hands. The socket must block; its timeouts are
/// changed.
///
/// # Errors
///
/// Where the server has no TLS, is not trusted, or takes longer than this.
pub(crate) fn handshake(
    tls: &ServerTls,
    socket: &mut TcpStream,
    at_most: Duration,
) -> Result<(ClientConnection, Protection), TlsError> {
    let deadline = Instant::now() + at_most;
    if !tls.direct {
        ask(socket, deadline)?;
    }
    let mut connection =
        ClientConnection::new(tls.config.clone(), tls.name.clone()).map_err(TlsError::Handshake)?;
    let broken = |error| TlsError::of(error, tls.direct);
    while connection.is_handshaking() {
        limit(socket, deadline).map_err(broken)?;
        if connection.wants_write() {
            connection.write_tls(socket).map_err(broken)?;
            continue;
        }
        if connection.read_tls(socket).map_err(broken)? == 0 {
            return Err(broken(ErrorKind::UnexpectedEof.into()));
        }
        if let Err(error) = connection.process_new_packets() {
            // Tells the server why, if it listens.
            let _ = connection.write_tls(socket);
            return Err(broken(io::Error::other(error)));
        }
    }
    while connection.wants_write() {
        limit(socket, deadline).map_err(broken)?;
        connection.write_tls(socket).map_err(broken)?;
    }
    let certificate = connection.peer_certificates().and_then(<[_]>::first);
    let server_end_point = certificate.and_then(|certificate| server_end_point(certificate));
    Ok((connection, Protection::Tls { server_end_point }))
}

fn ask(socket: &mut TcpStream, deadline: Instant) -> Result<(), TlsError> {
    limit(socket, deadline).map_err(TlsError::Broken)?;
    socket.write_all(&SSL_REQUEST).map_err(TlsError::Broken)?;
    // Room for one byte more than the answer has: a server that waits for our handshake has nothing
    // else to say. What comes too late to be seen here is no TLS, and fails as that.
    let mut answer = [0; 2];
    match socket.read(&mut answer) {
        Ok(1) if answer[0] == b'S' => Ok(()),
        Ok(1) if answer[0] == b'N' => Err(TlsError::NotSpoken),
        Ok(2) if answer[0] == b'S' => Err(TlsError::EarlyBytes),
        Ok(0) => Err(TlsError::Broken(ErrorKind::UnexpectedEof.into())),
        Ok(_) => Err(TlsError::Answer),
        Err(error) => Err(TlsError::Broken(error)),
    }
}

/// Lets the next call on the socket take what is left of the time.
fn limit(socket: &TcpStream, deadline: Instant) -> io::Result<()> {
    let left = deadline.saturating_duration_since(Instant::now());
    if left.is_zero() {
        return Err(ErrorKind::TimedOut.into());
    }
    socket.set_read_timeout(Some(left))?;
    socket.set_write_timeout(Some(left))
}
