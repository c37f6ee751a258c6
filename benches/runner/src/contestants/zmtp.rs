//! As much of ZMTP 3.0 as a `PUSH` socket without security needs (<https://rfc.zeromq.org/spec/23/>):
//! the greetings, one command each way, and messages of one frame. A library for it would bring a
//! runtime or a C++ compiler with it.

use std::io::{self, ErrorKind, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

/// The length of a greeting.
const GREETING_BYTES: usize = 64;

/// The flags of a frame: a command, and a length of eight bytes.
const COMMAND: u8 = 4;
const LONG: u8 = 2;

/// How long the other side may take no byte and give none.
const PATIENCE: Duration = Duration::from_secs(20);

/// A connection to a `PULL` socket.
pub(super) struct Push(TcpStream);

impl Push {
    /// Connects, and greets.
    pub(super) fn connect(address: SocketAddr) -> io::Result<Self> {
        let mut stream = TcpStream::connect(address)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_write_timeout(Some(PATIENCE))?;
        stream.write_all(&greeting())?;
        let mut theirs = [0; GREETING_BYTES];
        stream.read_exact(&mut theirs)?;
        if theirs[0] != 0xff || theirs[10] < 3 || !theirs[12..].starts_with(b"NULL\0") {
            return Err(invalid("it speaks no ZMTP 3 without security"));
        }
        stream.write_all(&ready())?;
        let mut head = [0; 2];
        stream.read_exact(&mut head)?;
        let [COMMAND, length] = head else {
            return Err(invalid("it is not ready"));
        };
        let mut command = vec![0; usize::from(length)];
        stream.read_exact(&mut command)?;
        if !command.starts_with(b"\x05READY") {
            return Err(invalid("it is not ready"));
        }
        Ok(Self(stream))
    }

    /// Appends a message as it goes over the wire.
    pub(super) fn write(message: &[u8], out: &mut Vec<u8>) {
        match u8::try_from(message.len()) {
            Ok(length) => out.extend_from_slice(&[0, length]),
            Err(_) => {
                out.push(LONG);
                out.extend_from_slice(&(message.len() as u64).to_be_bytes());
            }
        }
        out.extend_from_slice(message);
    }

    /// Sends messages that were written; waits while the other side takes none.
    pub(super) fn send(&mut self, messages: &[u8]) -> io::Result<()> {
        self.0.write_all(messages)
    }
}

/// Signature, version, mechanism, and that we are the client; the rest is empty.
fn greeting() -> [u8; GREETING_BYTES] {
    let mut greeting = [0; GREETING_BYTES];
    greeting[0] = 0xff;
    greeting[9] = 0x7f;
    greeting[10] = 3;
    greeting[12..16].copy_from_slice(b"NULL");
    greeting
}

/// The command that says what kind of socket we are.
fn ready() -> Vec<u8> {
    let mut command = b"\x05READY\x0bSocket-Type".to_vec();
    command.extend_from_slice(&4u32.to_be_bytes());
    command.extend_from_slice(b"PUSH");
    let length = u8::try_from(command.len()).expect("the command is short");
    [&[COMMAND, length], command.as_slice()].concat()
}

fn invalid(why: &str) -> io::Error {
    io::Error::new(ErrorKind::InvalidData, why)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::TcpListener;

    #[test]
    fn messages_arrive_after_the_greetings() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let pull = std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            stream.write_all(&greeting()).unwrap();
            stream
                .write_all(b"\x04\x1a\x05READY\x0bSocket-Type\0\0\0\x04PULL")
                .unwrap();
            let mut got = Vec::new();
            stream.read_to_end(&mut got).unwrap();
            got
        });
        let mut push = Push::connect(address).unwrap();
        let mut messages = Vec::new();
        Push::write(b"short", &mut messages);
        Push::write(&[b'x'; 256], &mut messages);
        push.send(&messages).unwrap();
        drop(push);
        let expected = [
            &greeting()[..],
            b"\x04\x1a\x05READY\x0bSocket-Type\0\0\0\x04PUSH",
            b"\0\x05short",
            b"\x02\0\0\0\0\0\0\x01\0",
            &[b'x'; 256],
        ];
        assert_eq!(pull.join().unwrap(), expected.concat());
    }

    #[test]
    fn who_speaks_something_else_is_an_error() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let other = std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            stream.write_all(&[b'x'; GREETING_BYTES]).unwrap();
            let mut rest = Vec::new();
            // It ends, one way or the other, when the client has gone.
            let _ = stream.read_to_end(&mut rest);
        });
        assert!(Push::connect(address).is_err());
        other.join().unwrap();
    }
}
