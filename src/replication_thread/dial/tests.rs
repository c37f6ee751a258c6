//! Servers that lie at the beginning, and encrypted connections that carry more than fits.

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::TcpListener;
use std::path::PathBuf;
use std::sync::Arc;
use std::thread::JoinHandle;

use rcgen::{CertificateParams, KeyPair};
use rustls::pki_types::PrivateKeyDer;
use rustls::{ServerConfig, ServerConnection, StreamOwned};

use super::*;

/// A server for one connection, at a port of its own.
fn serve(script: impl FnOnce(TcpStream) + Send + 'static) -> (u16, JoinHandle<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let thread = std::thread::spawn(move || script(listener.accept().unwrap().0));
    (port, thread)
}

fn info(port: u16, more: &str) -> ConnectInfo {
    let url = format!("postgres://app@localhost:{port}/x?hostaddr=127.0.0.1&{more}");
    url.parse().unwrap()
}

/// What comes of a server that answers the request for TLS with these bytes.
fn refused(answer: &'static [u8]) -> String {
    let (port, server) = serve(move |mut socket| {
        let mut request = [0; 8];
        socket.read_exact(&mut request).unwrap();
        assert_eq!(request, [0, 0, 0, 8, 4, 210, 22, 47]);
        socket.write_all(answer).unwrap();
        if answer.is_empty() {
            return;
        }
        // Until the client has gone, so that nothing is cut off by a reset; it must not say more.
        let mut rest = Vec::new();
        let _ = socket.read_to_end(&mut rest);
        if answer != b"S" {
            assert_eq!(rest, b"");
        }
    });
    let error = connect(&info(port, "sslmode=require")).unwrap_err();
    server.join().unwrap();
    assert!(error.starts_with(&format!("localhost:{port}: ")), "{error}");
    error
}

// Case: 4
#[test]
fn nothing_is_sent_to_a_server_that_has_no_tls_or_says_more_than_yes() {
    let error = refused(b"N");
    assert!(
        error.contains("has no TLS") && error.contains("sslmode=disable"),
        "{error}"
    );
    assert!(refused(b"SR").contains("bytes came before TLS"));
    assert!(refused(b"E").contains("no PostgreSQL"));
    assert!(refused(b"").contains("closed the connection"));
}

#[test]
fn a_server_that_does_not_answer_is_given_up() {
    let (port, server) = serve(|mut socket| drop(socket.read(&mut [0; 8])));
    let info = info(port, "sslmode=require");
    let tls = ServerTls::new(&info).unwrap().unwrap();
    let mut socket = connect_tcp(&info, "localhost").unwrap();
    let error = tls::handshake(&tls, &mut socket, Duration::ZERO).unwrap_err();
    assert!(error.is_temporary(), "{error}");
    drop(socket);
    server.join().unwrap();
}

// Case: 4
#[test]
fn a_server_that_ends_a_direct_handshake_is_said_to_be_too_old() {
    for answer in [&b""[..], b"E\0\0\0\x10SFATAL\0C08P01\0\0"] {
        let (port, server) = serve(move |mut socket| {
            let mut hello = [0; 512];
            assert!(socket.read(&mut hello).unwrap() > 8);
            socket.write_all(answer).unwrap();
        });
        let error = connect(&info(port, "sslmode=require&sslnegotiation=direct")).unwrap_err();
        server.join().unwrap();
        assert!(error.contains("PostgreSQL 17"), "{error}");
    }
}

/// A certificate for `localhost` that signs itself, in a file, and a server that has it.
struct Authority {
    file: PathBuf,
    server: Arc<ServerConfig>,
}

impl Authority {
    fn new(name: &str) -> Self {
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new(vec![name.to_owned()]).unwrap();
        let certificate = params.self_signed(&key).unwrap();
        let number = getrandom::u64().unwrap();
        let file = std::env::temp_dir().join(format!("tailrace-ca-{number:x}.pem"));
        std::fs::write(&file, certificate.pem()).unwrap();
        let key = PrivateKeyDer::try_from(key.serialize_der()).unwrap();
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let mut server = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![certificate.der().clone()], key)
            .unwrap();
        server.alpn_protocols = vec![b"postgresql".to_vec()];
        Self {
            file,
            server: Arc::new(server),
        }
    }

    /// Serves one encrypted connection.
    fn serve(
        &self,
        script: impl FnOnce(StreamOwned<ServerConnection, TcpStream>) + Send + 'static,
    ) -> (u16, JoinHandle<()>) {
        let config = Arc::clone(&self.server);
        serve(move |mut socket| {
            socket.read_exact(&mut [0; 8]).unwrap();
            socket.write_all(b"S").unwrap();
            let connection = ServerConnection::new(config).unwrap();
            script(StreamOwned::new(connection, socket));
        })
    }

    fn info(&self, port: u16, mode: &str) -> ConnectInfo {
        let file = self.file.display();
        info(port, &format!("sslmode={mode}&sslrootcert={file}"))
    }
}

impl Drop for Authority {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.file);
    }
}

fn bytes(len: usize) -> Vec<u8> {
    (0..len).map(|at| (at * 7 + at / 251) as u8).collect()
}

/// Waits for the socket as the replication thread does.
fn wait(socket: &Socket) {
    use rustix::event::{PollFd, PollFlags, poll};
    if socket.has_read() {
        return;
    }
    let mut flags = PollFlags::IN;
    if socket.wants_write() {
        flags |= PollFlags::OUT;
    }
    let limit = rustix::event::Timespec {
        tv_sec: 10,
        tv_nsec: 0,
    };
    let ready = poll(&mut [PollFd::new(socket, flags)], Some(&limit)).unwrap();
    assert_eq!(ready, 1, "asleep although there is something");
}

#[test]
fn nothing_stays_behind_in_the_encryption() {
    let authority = Authority::new("localhost");
    let sent = bytes(700_001);
    let expected = sent.clone();
    let (port, server) = authority.serve(move |mut stream| {
        stream.write_all(&sent).unwrap();
        // Silent from here on: whatever the client has not read yet, it has to find by itself.
        let mut answer = [0; 4];
        stream.read_exact(&mut answer).unwrap();
        assert_eq!(&answer, b"done");
    });
    let (mut socket, protection) = connect(&authority.info(port, "verify-full")).unwrap();
    assert!(matches!(
        protection,
        Protection::Tls {
            server_end_point: Some(_)
        }
    ));
    // Less than a record at a time, so that some of every record waits in rustls.
    let (mut read, mut buffer) = (Vec::new(), vec![0; 5_000]);
    while read.len() < expected.len() {
        match socket.read(&mut buffer) {
            Ok(len) => read.extend_from_slice(&buffer[..len]),
            Err(error) if error.kind() == ErrorKind::WouldBlock => wait(&socket),
            Err(error) => panic!("{error}"),
        }
    }
    assert!(read == expected);
    assert_eq!(socket.write(b"done").unwrap(), 4);
    server.join().unwrap();
    // The end comes after everything that was sent, once: as an error or as nothing more to read.
    while let Err(error) = socket.read(&mut buffer) {
        if error.kind() != ErrorKind::WouldBlock {
            break;
        }
        wait(&socket);
    }
}

#[test]
fn what_fitted_exactly_leaves_nothing_to_be_looked_for_again_and_again() {
    const LEN: usize = 4_096;
    let authority = Authority::new("localhost");
    let (port, server) = authority.serve(|mut stream| {
        stream.write_all(&bytes(LEN)).unwrap();
        let mut answer = [0; 4];
        stream.read_exact(&mut answer).unwrap();
    });
    let (mut socket, _) = connect(&authority.info(port, "verify-full")).unwrap();
    let (mut len, mut buffer) = (0, vec![0; LEN]);
    while len < LEN {
        match socket.read(&mut buffer[len..]) {
            Ok(read) => len += read,
            Err(error) if error.kind() == ErrorKind::WouldBlock => wait(&socket),
            Err(error) => panic!("{error}"),
        }
    }
    assert!(socket.has_read(), "there may be more");
    let error = socket.read(&mut buffer).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::WouldBlock);
    // Else whoever waits would never sleep.
    assert!(!socket.has_read());
    assert_eq!(socket.write(b"done").unwrap(), 4);
    server.join().unwrap();
}

#[test]
fn a_peer_that_does_not_read_makes_no_memory_grow() {
    let authority = Authority::new("localhost");
    let sent = bytes(8 << 20);
    let expected = sent.clone();
    let (go, went) = std::sync::mpsc::channel();
    let (port, server) = authority.serve(move |mut stream| {
        stream.conn.complete_io(&mut stream.sock).unwrap();
        went.recv().unwrap();
        let mut read = vec![0; expected.len()];
        stream.read_exact(&mut read).unwrap();
        assert!(read == expected);
    });
    let (mut socket, _) = connect(&authority.info(port, "verify-full")).unwrap();
    let mut at = 0;
    loop {
        match socket.write(&sent[at..]) {
            Ok(written) => at += written,
            Err(error) if error.kind() == ErrorKind::WouldBlock => break,
            Err(error) => panic!("{error}"),
        }
    }
    assert!(at < sent.len(), "the kernel has taken everything");
    assert!(socket.wants_write());
    go.send(()).unwrap();
    while at < sent.len() || socket.wants_write() {
        let outcome = match at < sent.len() {
            true => socket.write(&sent[at..]),
            false => socket.flush().map(|()| 0),
        };
        match outcome {
            Ok(written) => at += written,
            Err(error) if error.kind() == ErrorKind::WouldBlock => wait(&socket),
            Err(error) => panic!("{error}"),
        }
    }
    server.join().unwrap();
}

// Case: 4
#[test]
fn a_certificate_is_looked_at_as_the_mode_says() {
    let cases = [
        ("localhost", "verify-full", ""),
        ("db.example", "verify-ca", ""),
        (
            "db.example",
            "verify-full",
            "by a name that stands in the certificate",
        ),
    ];
    for (name, mode, expected) in cases {
        let authority = Authority::new(name);
        let (port, server) = authority.serve(|mut stream| {
            let _ = stream.conn.complete_io(&mut stream.sock);
        });
        let said = connect(&authority.info(port, mode))
            .err()
            .unwrap_or_default();
        server.join().unwrap();
        assert!(
            said.contains(expected) && said.is_empty() == expected.is_empty(),
            "{said}"
        );
    }
    // Another's: unknown to whoever looks, unimportant to who does not.
    let (known, other) = (Authority::new("localhost"), Authority::new("localhost"));
    for (mode, is_refused) in [("verify-ca", true), ("require", true), ("no-verify", false)] {
        let (port, server) = other.serve(|mut stream| {
            let _ = stream.conn.complete_io(&mut stream.sock);
        });
        let more = match mode {
            "no-verify" => "sslmode=no-verify".to_owned(),
            mode => format!("sslmode={mode}&sslrootcert={}", known.file.display()),
        };
        let said = connect(&info(port, &more)).err();
        server.join().unwrap();
        assert_eq!(said.is_some(), is_refused, "{mode}: {said:?}");
        let said = said.unwrap_or_default();
        assert!(said.is_empty() || said.contains("sslrootcert"), "{said}");
    }
}

#[test]
fn roots_that_cannot_be_read_are_said() {
    let error = connect(&info(1, "sslmode=verify-full&sslrootcert=/nonexistent.pem")).unwrap_err();
    assert!(
        error.contains("sslrootcert /nonexistent.pem cannot be used"),
        "{error}"
    );
    let file = std::env::temp_dir().join(format!("tailrace-empty-{}.pem", std::process::id()));
    std::fs::write(&file, "").unwrap();
    let more = format!("sslmode=verify-full&sslrootcert={}", file.display());
    let error = connect(&info(1, &more)).unwrap_err();
    std::fs::remove_file(&file).unwrap();
    assert!(error.contains("no certificate in it"), "{error}");
}
