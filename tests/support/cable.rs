//! A cable between a node and PostgreSQL that can be pulled: a forwarder of TCP whose connections break
//! when it is cut, and which refuses new ones until it is mended.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::thread;

/// A cable; it lies until the end of the test run.
pub(crate) struct Cable {
    port: u16,
    shared: Arc<Shared>,
}

struct Shared {
    is_cut: AtomicBool,
    /// Both ends of every connection.
    sockets: Mutex<Vec<TcpStream>>,
}

impl Cable {
    /// Lays a cable to this address.
    pub(crate) fn to(server: SocketAddr) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("there are free ports");
        let port = listener.local_addr().expect("it is bound").port();
        let shared = Arc::new(Shared {
            is_cut: AtomicBool::new(false),
            sockets: Mutex::new(Vec::new()),
        });
        let own = Arc::clone(&shared);
        thread::spawn(move || {
            for client in listener.incoming().flatten() {
                // Where it is cut, the client finds its connection closed.
                if !own.is_cut() {
                    own.connect(client, server);
                }
            }
        });
        Self { port, shared }
    }

    /// Where its near end is.
    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    /// Breaks every connection, and lets no new one through.
    pub(crate) fn cut(&self) {
        self.shared.is_cut.store(true, Ordering::SeqCst);
        for socket in self.shared.sockets().drain(..) {
            // One that has ended already needs no end.
            let _ = socket.shutdown(Shutdown::Both);
        }
    }

    /// Lets connections through again.
    pub(crate) fn mend(&self) {
        self.shared.is_cut.store(false, Ordering::SeqCst);
    }
}

impl Shared {
    fn is_cut(&self) -> bool {
        self.is_cut.load(Ordering::SeqCst)
    }

    fn sockets(&self) -> MutexGuard<'_, Vec<TcpStream>> {
        self.sockets
            .lock()
            .expect("nobody fails while holding this")
    }

    fn connect(&self, client: TcpStream, server: SocketAddr) {
        let Ok(server) = TcpStream::connect(server) else {
            return;
        };
        let another = |socket: &TcpStream| socket.try_clone().expect("there are descriptors");
        let mut sockets = self.sockets();
        sockets.extend([another(&client), another(&server)]);
        // It may have been cut since.
        if self.is_cut() {
            sockets.clear();
            return;
        }
        forward(another(&client), another(&server));
        forward(server, client);
    }
}

/// Carries what comes from one end to the other, until either ends.
fn forward(mut from: TcpStream, mut to: TcpStream) {
    thread::spawn(move || {
        let mut buffer = [0; 64 * 1024];
        while let Ok(count @ 1..) = from.read(&mut buffer) {
            if to.write_all(&buffer[..count]).is_err() {
                break;
            }
        }
        // Each end learns that the other has gone.
        let _ = to.shutdown(Shutdown::Write);
        let _ = from.shutdown(Shutdown::Read);
    });
}
