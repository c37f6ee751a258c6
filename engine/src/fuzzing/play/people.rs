//! What clients do: they connect, say something, read, and hang up.

use super::Play;
use crate::fuzzing::kernel::Socket;

/// How many sockets are held at most.
const SOCKETS_MAX: usize = 40;

/// How much a socket takes.
const ROOMS: [Option<usize>; 8] = [
    None,
    Some(0),
    Some(1),
    Some(7),
    Some(100),
    Some(1_000),
    Some(30_000),
    None,
];

/// What somebody says, a piece at a time.
const PIECES: [&[u8]; 10] = [
    b"GET /stream HTTP/1.1\r\nhost: a\r\n\r\n",
    b"GET /stream HT",
    b"TP/1.1\r\nhost: a\r\n\r\n",
    b"POST /publish HTTP/1.1\r\nhost: a\r\ncontent-length: 5\r\n\r\nhel",
    b"lo",
    b"\r\n",
    b"",
    b"GET / HTTP/1.1\r\nhost: a\r\nhost: b\r\n\r\n",
    b"PUT /s HTTP/1.1\r\nhost: a\r\ncontent-length: 2\r\nexpect: 100-continue\r\n\r\n",
    b"GET /s?lastEventId=e.1.1.1 HTTP/1.1\r\nhost: a\r\n\r\n",
];

impl Play {
    /// Somebody connects. Returns their descriptor.
    pub(super) fn accept(&mut self) -> Option<i32> {
        if self.open_descriptors().len() >= SOCKETS_MAX {
            return None;
        }
        let descriptor = self.next_descriptor;
        self.next_descriptor += 1;
        let socket = Socket {
            accepted_ms: self.now.monotonic_ms,
            ..Socket::default()
        };
        self.kernel.sockets.insert(descriptor, socket);
        self.engine
            .handle_accept(self.now, descriptor, &mut self.kernel);
        Some(descriptor)
    }

    /// Somebody connects, and asks for something. Returns their descriptor, if it reached control.
    pub(super) fn ask(&mut self) -> Option<i32> {
        let descriptor = self.accept()?;
        self.hear(descriptor, PIECES[0]);
        let has_asked = !self.kernel.is_overloaded;
        has_asked.then_some(descriptor)
    }

    pub(super) fn say(&mut self, connection: usize, piece: usize) {
        if let Some(descriptor) = self.any_descriptor(connection) {
            self.hear(descriptor, PIECES[piece % PIECES.len()]);
        }
    }

    /// Bytes arrive, where they are waited for.
    fn hear(&mut self, descriptor: i32, bytes: &[u8]) {
        let socket = self.kernel.sockets.get_mut(&descriptor);
        let socket = socket.expect("a descriptor that was accepted");
        if socket.is_open() && std::mem::take(&mut socket.is_readable_watched) {
            let handle = socket.handle.expect("it is watched");
            self.engine
                .handle_bytes(self.now, handle, bytes, &mut self.kernel);
        }
    }

    pub(super) fn hang_up(&mut self, connection: usize, how: usize) {
        if how.is_multiple_of(4) {
            if let Some(descriptor) = self.any_descriptor(connection) {
                self.report_hang_up(descriptor);
            }
            return;
        }
        // Of a connection that is gone: the engine does not mistake it for whoever has its slot now.
        let gone = self.kernel.sockets.values().filter(|it| it.is_released);
        let Some(handle) = gone.filter_map(|it| it.handle).nth_back(connection % 8) else {
            return;
        };
        let (now, kernel) = (self.now, &mut self.kernel);
        match how % 4 {
            1 => self.engine.handle_hangup(now, handle, kernel),
            2 => self.engine.handle_writable(now, handle, kernel),
            _ => self.engine.handle_bytes(now, handle, PIECES[0], kernel),
        }
    }

    pub(super) fn make_room(&mut self, connection: usize, room: usize) {
        if let Some(descriptor) = self.any_descriptor(connection) {
            self.give_room(descriptor, ROOMS[room % ROOMS.len()]);
        }
    }
}
