//! Accept, read, write: what a connection costs at the least.
//!
//! A request is answered with the head of a stream when its end has arrived, whatever it asks for.
//! The client is watched from its accept on, by one entry of epoll, and its socket is closed when it
//! leaves.

use std::os::fd::{AsFd as _, AsRawFd as _, OwnedFd};

use rustix::buffer::spare_capacity;
use rustix::event::epoll::{self, CreateFlags, EventData, EventFlags};
use rustix::io::Errno;
use rustix::net::{RecvFlags, SendFlags};

use crate::listener::accept;
use crate::serve::STREAM_HEAD;

/// Serves until the process is killed.
pub(crate) fn serve(listener: &OwnedFd) -> ! {
    let epoll = epoll::create(CreateFlags::CLOEXEC).expect("epoll is to be had");
    let number = |socket: &OwnedFd| EventData::new_u64(socket.as_raw_fd() as u64);
    epoll::add(&epoll, listener, number(listener), EventFlags::IN).expect("epoll has room");
    // By descriptor.
    let mut clients: Vec<Option<OwnedFd>> = Vec::new();
    let mut events = Vec::with_capacity(1024);
    let mut buffer = vec![0; 16 * 1024];
    loop {
        events.clear();
        match epoll::wait(&epoll, spare_capacity(&mut events), None) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(error) => panic!("epoll_wait: {error}"),
        }
        for event in &events {
            let data = event.data;
            let descriptor = data.u64() as usize;
            if descriptor != listener.as_raw_fd() as usize {
                read(&mut clients[descriptor], &mut buffer);
                continue;
            }
            // Without a descriptor left the next to leave makes room.
            while let Ok(Some(socket)) = accept(listener.as_fd()) {
                epoll::add(&epoll, &socket, number(&socket), EventFlags::IN)
                    .expect("epoll has room");
                let place = socket.as_raw_fd() as usize;
                if clients.len() <= place {
                    clients.resize_with(place + 1, || None);
                }
                clients[place] = Some(socket);
            }
        }
    }
}

/// Reads what a client says. The benches send each request in one piece.
fn read(client: &mut Option<OwnedFd>, buffer: &mut [u8]) {
    let Some(socket) = client else { return };
    let taken = match rustix::net::recv(&*socket, &mut *buffer, RecvFlags::DONTWAIT) {
        Ok((taken, _)) => taken,
        Err(Errno::AGAIN | Errno::INTR) => return,
        Err(_) => 0,
    };
    let flags = SendFlags::DONTWAIT | SendFlags::NOSIGNAL;
    if !buffer[..taken].ends_with(b"\r\n\r\n")
        || rustix::net::send(&*socket, STREAM_HEAD, flags) != Ok(STREAM_HEAD.len())
    {
        *client = None;
    }
}
