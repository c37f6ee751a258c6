//! The floor: a loop of `send(2)` over the same number of sockets, and nothing else.
//!
//! It has no watch on an open stream, no filter, no log and no queue: the least that a server which
//! sends an event to each of its sockets can cost. A reader that does not keep up ends it.

use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::os::fd::{AsRawFd as _, OwnedFd};

use rustix::buffer::spare_capacity;
use rustix::event::epoll;
use rustix::io::Errno;
use rustix::net::SendFlags;

/// The role of this process.
pub(super) const ROLE: &str = "bare";

const STREAM_HEAD: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\n";
const PUBLISHED: &[u8] = b"HTTP/1.1 204 No Content\r\nconnection: close\r\n\r\n";

/// Plays the role: serves until it is killed.
pub(super) fn serve() {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("loopback has a free port");
    listener
        .set_nonblocking(true)
        .expect("a socket can be made non-blocking");
    let address = listener
        .local_addr()
        .expect("a bound socket has an address");
    let epoll = epoll::create(epoll::CreateFlags::CLOEXEC).expect("epoll is to be had");
    watch(&epoll, &listener);
    writeln!(std::io::stdout(), "listening {address}").expect("the bench reads");

    // By descriptor, so that a sweep goes through them in the order of the kernel's own tables.
    let mut requesting: Vec<Option<TcpStream>> = Vec::new();
    let mut streams: Vec<Option<TcpStream>> = Vec::new();
    let mut events = Vec::with_capacity(1024);
    loop {
        events.clear();
        match epoll::wait(&epoll, spare_capacity(&mut events), None) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(error) => panic!("epoll_wait: {error}"),
        }
        for event in &events {
            let data = event.data;
            let descriptor = data.u64() as usize;
            if descriptor == listener.as_raw_fd() as usize {
                accept(&listener, &epoll, &mut requesting);
            } else if let Some(stream) = requesting[descriptor].take() {
                answer(stream, &epoll, &mut streams);
            }
        }
    }
}

fn accept(listener: &TcpListener, epoll: &OwnedFd, requesting: &mut Vec<Option<TcpStream>>) {
    while let Ok((stream, _)) = listener.accept() {
        stream
            .set_nonblocking(true)
            .expect("a socket can be made non-blocking");
        stream
            .set_nodelay(true)
            .expect("a socket can be told not to delay");
        watch(epoll, &stream);
        put(requesting, stream);
    }
}

/// Reads a request, which the benches send in one piece, and answers it.
fn answer(mut stream: TcpStream, epoll: &OwnedFd, streams: &mut Vec<Option<TcpStream>>) {
    let mut buffer = [0; 4096];
    let Ok(taken) = stream.read(&mut buffer) else {
        return;
    };
    let request = &buffer[..taken];
    if let Some(post) = request.strip_prefix(b"POST ") {
        let end = post
            .windows(4)
            .position(|bytes| bytes == b"\r\n\r\n")
            .expect("a whole request");
        send_to_all(streams, &post[end + 4..]);
        stream
            .write_all(PUBLISHED)
            .expect("an answer fits into a socket");
    } else {
        // From here on nothing of the stream is in the kernel but its socket.
        epoll::delete(epoll, &stream).expect("it was added");
        stream
            .write_all(STREAM_HEAD)
            .expect("a head fits into a socket");
        put(streams, stream);
    }
}

/// The loop.
fn send_to_all(streams: &mut [Option<TcpStream>], event: &[u8]) {
    for place in streams {
        let Some(stream) = place else { continue };
        match rustix::net::send(&*stream, event, SendFlags::DONTWAIT | SendFlags::NOSIGNAL) {
            Ok(taken) if taken == event.len() => {}
            // That is how this loop learns that a client has gone.
            Err(Errno::PIPE | Errno::CONNRESET) => *place = None,
            result => panic!("the readers do not keep up with the bare loop: {result:?}"),
        }
    }
}

fn put(table: &mut Vec<Option<TcpStream>>, stream: TcpStream) {
    let descriptor = stream.as_raw_fd() as usize;
    if table.len() <= descriptor {
        table.resize_with(descriptor + 1, || None);
    }
    table[descriptor] = Some(stream);
}

fn watch(epoll: &OwnedFd, socket: &impl std::os::fd::AsFd) {
    let descriptor = epoll::EventData::new_u64(socket.as_fd().as_raw_fd() as u64);
    epoll::add(epoll, socket, descriptor, epoll::EventFlags::IN).expect("epoll has room");
}
