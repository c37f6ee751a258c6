//! The loop of `send` and `coalesce`: it takes every request that has arrived, then sends what was
//! published, and waits only where nothing is pending.

use std::os::fd::{AsFd as _, AsRawFd as _, BorrowedFd, OwnedFd};

use rustix::buffer::spare_capacity;
use rustix::event::Timespec;
use rustix::event::epoll::{self, CreateFlags, EventData, EventFlags};
use rustix::io::Errno;
use rustix::net::{RecvFlags, SendFlags};

use crate::listener::{accept, make_room_for_publisher};
use crate::request::{Request, parse};
use crate::streams::Streams;

/// What a stream begins with.
pub(crate) const STREAM_HEAD: &[u8] =
    b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream; charset=utf-8\r\ncache-control: no-cache\r\n\r\n";

const PUBLISHED: &[u8] = b"HTTP/1.1 204 No Content\r\n\r\n";

/// How much of a publisher is read at a time, and at most before the streams get their turn.
const READ_BYTES: usize = 64 * 1024;
const READ_BYTES_MAX: usize = 4 * 1024 * 1024;

/// How long the loop waits before it tries again a socket that was full.
const FULL: Timespec = Timespec {
    tv_sec: 0,
    tv_nsec: 1_000_000,
};

const NOW: Timespec = Timespec {
    tv_sec: 0,
    tv_nsec: 0,
};

/// Which of the loops it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Loop {
    /// A send for each event and socket.
    Send,
    /// All that is pending in one send for each socket.
    Coalesce,
}

/// A client that has not asked for a stream: it will, or it publishes.
struct Client {
    socket: OwnedFd,
    input: Vec<u8>,
    is_publisher: bool,
}

struct Server {
    epoll: OwnedFd,
    /// By descriptor.
    clients: Vec<Option<Client>>,
    streams: Streams,
    buffer: Vec<u8>,
}

/// Serves until the process is killed.
pub(crate) fn serve(listener: &OwnedFd, which: Loop) -> ! {
    let mut server = Server {
        epoll: epoll::create(CreateFlags::CLOEXEC).expect("epoll is to be had"),
        clients: Vec::new(),
        streams: Streams::default(),
        buffer: vec![0; READ_BYTES],
    };
    server.watch(listener.as_fd());
    let mut events = Vec::with_capacity(1024);
    loop {
        let timeout = match &server.streams {
            streams if streams.has_pending() => Some(NOW),
            streams if streams.has_full() => Some(FULL),
            _ => None,
        };
        events.clear();
        match epoll::wait(&server.epoll, spare_capacity(&mut events), timeout.as_ref()) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(error) => panic!("epoll_wait: {error}"),
        }
        for event in &events {
            let data = event.data;
            let descriptor = data.u64() as usize;
            if descriptor == listener.as_raw_fd() as usize {
                server.accept(listener.as_fd());
            } else {
                server.read(descriptor);
            }
        }
        match which {
            Loop::Send => server.streams.send_each(),
            Loop::Coalesce => server.streams.send_together(),
        }
    }
}

impl Server {
    fn accept(&mut self, listener: BorrowedFd<'_>) {
        loop {
            match accept(listener) {
                Ok(None) => return,
                Ok(Some(socket)) => {
                    self.watch(socket.as_fd());
                    let place = socket.as_raw_fd() as usize;
                    if self.clients.len() <= place {
                        self.clients.resize_with(place + 1, || None);
                    }
                    self.clients[place] = Some(Client {
                        socket,
                        input: Vec::new(),
                        is_publisher: false,
                    });
                }
                // Open streams are not watched: those whose clients have left are found now.
                Err(Errno::MFILE) if self.streams.drop_ended() => {}
                Err(error) => panic!("accept: {error}"),
            }
        }
    }

    fn watch(&self, socket: BorrowedFd<'_>) {
        let number = EventData::new_u64(socket.as_raw_fd() as u64);
        epoll::add(&self.epoll, socket, number, EventFlags::IN).expect("epoll has room");
    }

    /// Reads all that a client has sent.
    fn read(&mut self, descriptor: usize) {
        let Some(mut client) = self.clients[descriptor].take() else {
            return;
        };
        let mut sum = 0;
        loop {
            match rustix::net::recv(&client.socket, &mut *self.buffer, RecvFlags::DONTWAIT) {
                Ok((taken @ 1.., _)) => {
                    client.input.extend_from_slice(&self.buffer[..taken]);
                    sum += taken;
                }
                Err(Errno::AGAIN | Errno::INTR) => break,
                // It has left.
                Ok(_) | Err(_) => return,
            }
            if !client.is_publisher || sum >= READ_BYTES_MAX {
                break;
            }
        }
        if let Some(client) = self.answer(client) {
            self.clients[descriptor] = Some(client);
        }
    }

    /// Does what a client asks for. Gives it back unless it is a stream now, or speaks something else.
    fn answer(&mut self, mut client: Client) -> Option<Client> {
        let mut responses = Vec::new();
        let mut done = 0;
        loop {
            match parse(&client.input[done..]) {
                Ok(None) => break,
                Ok(Some((Request::Publish { organisation, body }, len))) => {
                    self.streams.publish(organisation, body);
                    responses.extend_from_slice(PUBLISHED);
                    done += len;
                }
                Ok(Some((Request::Stream { organisation }, _))) => {
                    // From here on nothing of the stream is in the kernel but its socket.
                    epoll::delete(&self.epoll, &client.socket).expect("it was added");
                    let flags = SendFlags::DONTWAIT | SendFlags::NOSIGNAL;
                    let sent = rustix::net::send(&client.socket, STREAM_HEAD, flags);
                    if sent == Ok(STREAM_HEAD.len()) {
                        self.streams.open(organisation, client.socket);
                    }
                    return None;
                }
                Err(_) => return None,
            }
        }
        client.input.drain(..done);
        if done > 0 && !std::mem::replace(&mut client.is_publisher, true) {
            make_room_for_publisher(client.socket.as_fd());
        }
        if !responses.is_empty() {
            let flags = SendFlags::DONTWAIT | SendFlags::NOSIGNAL;
            // A publisher that does not read its answers is none of ours.
            rustix::net::send(&client.socket, &responses, flags).ok()?;
        }
        Some(client)
    }
}
