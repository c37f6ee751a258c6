//! A connection to PostgreSQL that never blocks: over TCP, encrypted or not, or a Unix socket.
//!
//! What is read from an encrypted one may be in rustls already while the socket has nothing more to
//! give, and what was written may be there still: whoever waits for the socket asks
//! [`Socket::has_read`] and [`Socket::wants_write`] first.

use std::io::{self, ErrorKind, Read, Write};
use std::net::TcpStream;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;

use rustls::ClientConnection;

/// A connection to the server.
#[derive(Debug)]
pub(super) enum Socket {
    /// Over the network.
    Tcp(TcpStream),
    /// The same, encrypted.
    Tls(Box<TlsSocket>),
    /// On this machine.
    Unix(UnixStream),
}

/// An encrypted connection, after its handshake.
#[derive(Debug)]
pub(super) struct TlsSocket {
    connection: ClientConnection,
    socket: TcpStream,
    /// Whether the last read filled its buffer, so that there may be more without the socket.
    is_full: bool,
    /// What went wrong behind what was read last.
    failed: Option<io::Error>,
}

impl Socket {
    /// Whether a read may give something although the socket has nothing.
    pub(super) fn has_read(&self) -> bool {
        matches!(self, Self::Tls(tls) if tls.is_full || tls.failed.is_some())
    }

    /// Whether something waits to be sent that was written already.
    pub(super) fn wants_write(&self) -> bool {
        matches!(self, Self::Tls(tls) if tls.connection.wants_write())
    }
}

impl Read for Socket {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Tcp(socket) => socket.read(buffer),
            Self::Tls(tls) => tls.read(buffer),
            Self::Unix(socket) => socket.read(buffer),
        }
    }
}

impl Write for Socket {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Tcp(socket) => socket.write(bytes),
            Self::Tls(tls) => tls.write(bytes),
            Self::Unix(socket) => socket.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Self::Tls(tls) => tls.send(),
            Self::Tcp(_) | Self::Unix(_) => Ok(()),
        }
    }
}

impl AsFd for Socket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            Self::Tcp(socket) => socket.as_fd(),
            Self::Tls(tls) => tls.socket.as_fd(),
            Self::Unix(socket) => socket.as_fd(),
        }
    }
}

impl TlsSocket {
    pub(super) fn new(connection: ClientConnection, socket: TcpStream) -> Self {
        Self {
            connection,
            socket,
            is_full: false,
            failed: None,
        }
    }

    /// Reads as much as there is and fits: a record is 16 KiB at most, and a call for each would cost
    /// the reader a round of everything else that it does.
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if let Some(error) = self.failed.take() {
            return Err(error);
        }
        self.is_full = false;
        let mut len = 0;
        while len < buffer.len() {
            let read = self.connection.reader().read(&mut buffer[len..]);
            let outcome = match read {
                // It has said goodbye, and says so again.
                Ok(0) => break,
                Ok(more) => {
                    len += more;
                    continue;
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => self.receive(),
                Err(error) => Err(error),
            };
            match outcome {
                Ok(()) => {}
                Err(error) if len == 0 => return Err(error),
                Err(error) => {
                    // What was read counts, and comes first.
                    self.failed = Some(error).filter(|it| it.kind() != ErrorKind::WouldBlock);
                    break;
                }
            }
        }
        self.is_full = len == buffer.len();
        Ok(len)
    }

    /// Takes what the socket has and decrypts it.
    fn receive(&mut self) -> io::Result<()> {
        // The end is told by the reader then: as a clean one, or as one that came too early.
        self.connection.read_tls(&mut self.socket)?;
        if let Err(error) = self.connection.process_new_packets() {
            // Tells the server why, if it listens.
            let _ = self.send();
            return Err(io::Error::other(error));
        }
        // The protocol itself may have to answer, to a change of keys.
        match self.send() {
            Err(error) if error.kind() != ErrorKind::WouldBlock => Err(error),
            _ => Ok(()),
        }
    }

    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        // Nothing new before the old is gone, so that nothing piles up.
        self.send()?;
        let written = self.connection.writer().write(bytes)?;
        match self.send() {
            Err(error) if error.kind() != ErrorKind::WouldBlock => Err(error),
            _ => Ok(written),
        }
    }

    /// Sends what waits, as far as the socket takes it.
    fn send(&mut self) -> io::Result<()> {
        while self.connection.wants_write() {
            self.connection.write_tls(&mut self.socket)?;
        }
        Ok(())
    }
}

impl Drop for TlsSocket {
    fn drop(&mut self) {
        // A goodbye, without waiting for anything.
        self.connection.send_close_notify();
        let _ = self.send();
    }
}
