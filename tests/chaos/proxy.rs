//! A proxy that misbehaves: a forwarder of TCP, between clients and a node or between a node and
//! PostgreSQL, which delays what passes, cuts it into single bytes, ends one direction, stands still or
//! resets, for as long as it is told to.

use std::io::{ErrorKind, Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::thread;
use std::time::Duration;

use rustix::net::sockopt;

/// How long a thread reads before it looks how it is to behave.
const GLANCE: Duration = Duration::from_millis(50);

/// How the proxy treats what passes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Manner {
    /// Handed on as it comes.
    Plain,
    /// Each piece waits so long first.
    Latency(Duration),
    /// Each byte goes in a segment of its own.
    Slices,
    /// Nothing passes, and nobody is told. Who connects meanwhile is taken, and hears nothing.
    Blackhole,
}

/// A proxy; it forwards until it is dropped.
pub(crate) struct Proxy {
    address: SocketAddr,
    shared: Arc<Shared>,
}

struct Shared {
    manner: Mutex<Manner>,
    is_over: AtomicBool,
    links: Mutex<Vec<Weak<Link>>>,
}

/// One connection. Its sockets close when the last thread that carries it lets go.
struct Link {
    client: TcpStream,
    server: TcpStream,
    /// Both threads are to let go.
    is_cut: AtomicBool,
}

impl Proxy {
    /// A proxy before this server.
    pub(crate) fn to(server: SocketAddr) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("there are free ports");
        let address = listener.local_addr().expect("it is bound");
        let shared = Arc::new(Shared {
            manner: Mutex::new(Manner::Plain),
            is_over: AtomicBool::new(false),
            links: Mutex::default(),
        });
        let own = Arc::clone(&shared);
        thread::spawn(move || {
            for client in listener.incoming() {
                if own.is_over.load(Ordering::Relaxed) {
                    return;
                }
                if let Ok(client) = client {
                    own.connect(client, server);
                }
            }
        });
        Self { address, shared }
    }

    /// Where its near end is.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Behaves like this from now on.
    pub(crate) fn behave(&self, manner: Manner) {
        *locked(&self.shared.manner) = manner;
    }

    /// Resets every connection, in both directions.
    pub(crate) fn reset_all(&self) {
        for link in self.shared.links() {
            link.reset();
        }
    }

    /// Ends one direction of every connection: every other one's towards the client, the others' towards
    /// the server.
    pub(crate) fn half_close_all(&self) {
        for (number, link) in self.shared.links().iter().enumerate() {
            let end = if number % 2 == 0 {
                &link.client
            } else {
                &link.server
            };
            // One that has ended already needs no end.
            let _ = end.shutdown(Shutdown::Write);
        }
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.shared.is_over.store(true, Ordering::Relaxed);
        self.reset_all();
        // Ends the wait for the next client.
        let _ = TcpStream::connect(self.address);
    }
}

impl Shared {
    fn manner(&self) -> Manner {
        *locked(&self.manner)
    }

    /// Those that are open.
    fn links(&self) -> Vec<Arc<Link>> {
        let mut links = locked(&self.links);
        links.retain(|link| link.strong_count() > 0);
        links.iter().filter_map(Weak::upgrade).collect()
    }

    fn connect(self: &Arc<Self>, client: TcpStream, server: SocketAddr) {
        let Ok(server) = TcpStream::connect(server) else {
            return;
        };
        let is_cut = AtomicBool::new(false);
        let link = Arc::new(Link {
            client,
            server,
            is_cut,
        });
        for socket in [&link.client, &link.server] {
            // A socket that was reset since takes no options, and needs none.
            let _ = socket.set_nodelay(true);
            let _ = socket.set_read_timeout(Some(GLANCE));
            let _ = socket.set_write_timeout(Some(GLANCE));
        }
        locked(&self.links).push(Arc::downgrade(&link));
        for upwards in [true, false] {
            let (shared, link) = (Arc::clone(self), Arc::clone(&link));
            thread::spawn(move || {
                link.carry(&shared, upwards);
            });
        }
    }
}

impl Link {
    /// Carries one direction to its end.
    fn carry(&self, shared: &Shared, upwards: bool) {
        let (mut from, to) = if upwards {
            (&self.client, &self.server)
        } else {
            (&self.server, &self.client)
        };
        let mut buffer = [0; 64 * 1024];
        while !self.is_cut.load(Ordering::Relaxed) {
            if shared.manner() == Manner::Blackhole {
                thread::sleep(GLANCE);
                continue;
            }
            match from.read(&mut buffer) {
                Ok(0) => break,
                Ok(count) => {
                    if !self.hand_on(shared, to, &buffer[..count]) {
                        break;
                    }
                }
                Err(error) if is_timeout(&error) => {}
                Err(_) => {
                    // A reset is passed on as one.
                    self.reset();
                    return;
                }
            }
        }
        if !self.is_cut.load(Ordering::Relaxed) {
            let _ = to.shutdown(Shutdown::Write);
        }
    }

    /// Writes a piece in the present manner; whether the connection goes on.
    fn hand_on(&self, shared: &Shared, to: &TcpStream, piece: &[u8]) -> bool {
        let mut rest = piece;
        if let Manner::Latency(latency) = shared.manner() {
            thread::sleep(latency);
        }
        while !rest.is_empty() {
            let manner = shared.manner();
            if self.is_cut.load(Ordering::Relaxed) {
                return false;
            }
            if manner == Manner::Blackhole {
                thread::sleep(GLANCE);
                continue;
            }
            let most = if manner == Manner::Slices {
                1
            } else {
                rest.len()
            };
            let mut to = to;
            match to.write(&rest[..most]) {
                Ok(count) => rest = &rest[count..],
                Err(error) if is_timeout(&error) => {}
                Err(_) => return false,
            }
        }
        true
    }

    /// The sockets go with a reset as soon as both threads have let go.
    fn reset(&self) {
        for socket in [&self.client, &self.server] {
            // One that was reset already takes no options.
            let _ = sockopt::set_socket_linger(socket, Some(Duration::ZERO));
        }
        self.is_cut.store(true, Ordering::Relaxed);
    }
}

fn is_timeout(error: &std::io::Error) -> bool {
    matches!(
        error.kind(),
        ErrorKind::WouldBlock | ErrorKind::TimedOut | ErrorKind::Interrupted
    )
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
