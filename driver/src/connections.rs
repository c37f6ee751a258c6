//! One column by slot: the socket of each connection, and what of it is in the kernel. What a
//! connection means is the engine's matter.

use std::mem::size_of;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use engine::{Close, Handle, Watch};

/// What of a connection is armed in the kernel, or reported and not yet handed to the engine.
pub(crate) const READABLE: u8 = 1;
/// See [`READABLE`].
pub(crate) const HANGUP: u8 = 1 << 1;
/// See [`READABLE`].
pub(crate) const WRITABLE: u8 = 1 << 2;
/// Every watch.
pub(crate) const WATCHES: u8 = READABLE | HANGUP | WRITABLE;
/// The epoll instance knows the socket.
pub(crate) const KNOWN: u8 = 1 << 3;
/// The engine has closed the connection; something of it is still in the kernel.
pub(crate) const CLOSING: u8 = 1 << 4;

/// The sockets of one engine thread.
#[derive(Debug, Default)]
pub(crate) struct Connections {
    slots: Vec<Slot>,
    /// Accepted, and not yet given a slot by the engine.
    accepted: Option<OwnedFd>,
    /// Closed, and to be given back to the engine after the next wait.
    released: Vec<Handle>,
}

/// One connection: 8 bytes.
#[derive(Debug, Default)]
struct Slot {
    descriptor: Option<OwnedFd>,
    /// The generation in the upper 24 bits, what is armed in the lower 8.
    state: u32,
}

const _: () = assert!(
    size_of::<Slot>() == 8,
    "a million connections cost 8 MB here"
);

impl Connections {
    /// Takes a socket over whose slot the engine is about to choose.
    pub(crate) fn begin_accept(&mut self, descriptor: OwnedFd) -> i32 {
        assert!(
            self.accepted.is_none(),
            "the engine takes one socket at a time"
        );
        self.accepted.insert(descriptor).as_raw_fd()
    }

    /// Ends it. The engine has named the slot in its first call about the connection.
    pub(crate) fn end_accept(&mut self) {
        assert!(
            self.accepted.is_none(),
            "the engine arms or closes what it accepts"
        );
    }

    /// Gives the socket just accepted its slot, where this is the first call about it.
    pub(crate) fn adopt(&mut self, handle: Handle) {
        let is_first = |socket: &mut OwnedFd| socket.as_raw_fd() == handle.descriptor;
        let Some(socket) = self.accepted.take_if(is_first) else {
            return;
        };
        let index = handle.slot as usize;
        if index >= self.slots.len() {
            self.slots.resize_with(index + 1, Slot::default);
        }
        let slot = &mut self.slots[index];
        assert!(slot.descriptor.is_none(), "slot {index} was not released");
        *slot = Slot {
            descriptor: Some(socket),
            state: handle.generation << 8,
        };
    }

    /// The socket of an open or closing connection.
    ///
    /// # Panics
    ///
    /// Where the engine names a connection that it does not have.
    pub(crate) fn socket(&self, handle: Handle) -> BorrowedFd<'_> {
        let slot = &self.slots[handle.slot as usize];
        assert_eq!(
            slot.state >> 8,
            handle.generation,
            "a handle of an earlier connection"
        );
        slot.descriptor
            .as_ref()
            .expect("a connection keeps its slot until released")
            .as_fd()
    }

    /// What is set of a connection; nothing for one of an earlier generation.
    pub(crate) fn bits(&self, handle: Handle) -> u8 {
        match self.slots.get(handle.slot as usize) {
            Some(slot) if slot.descriptor.is_some() && slot.state >> 8 == handle.generation => {
                (slot.state & 0xff) as u8
            }
            _ => 0,
        }
    }

    /// Sets bits of an open or closing connection.
    pub(crate) fn set(&mut self, handle: Handle, bits: u8) {
        self.slots[handle.slot as usize].state |= u32::from(bits);
    }

    /// Clears bits of an open or closing connection.
    pub(crate) fn clear(&mut self, handle: Handle, bits: u8) {
        self.slots[handle.slot as usize].state &= !u32::from(bits);
    }

    /// Closes the socket; the slot goes back to the engine after the next wait.
    ///
    /// The caller has made sure that no operation of the kernel still holds the socket: it would
    /// stay open, and the peer would hear nothing.
    pub(crate) fn release(&mut self, handle: Handle) {
        let slot = &mut self.slots[handle.slot as usize];
        assert_eq!(
            slot.state >> 8,
            handle.generation,
            "a handle of an earlier connection"
        );
        assert!(
            slot.descriptor.take().is_some(),
            "a connection is released once"
        );
        self.released.push(handle);
    }

    /// Connections to give back to the engine, where there are any.
    pub(crate) fn take_released(&mut self, into: &mut Vec<Handle>) {
        into.append(&mut self.released);
    }

    /// Whether connections wait to be given back.
    pub(crate) fn has_released(&self) -> bool {
        !self.released.is_empty()
    }

    /// Ends every connection at the stop of the thread. Armed operations hold their sockets until
    /// the ring is gone, so the peers are told by `shutdown(2)` already.
    pub(crate) fn shut_down_all(&mut self) {
        for slot in &mut self.slots {
            if let Some(socket) = slot.descriptor.take() {
                // The peer may have been faster.
                let _ = rustix::net::shutdown(&socket, rustix::net::Shutdown::Both);
            }
        }
    }
}

/// The bit of a watch.
pub(crate) fn bit(watch: Watch) -> u8 {
    match watch {
        Watch::Readable => READABLE,
        Watch::Hangup => HANGUP,
        Watch::Writable => WRITABLE,
    }
}

/// Prepares a socket for the way in which it will be closed.
pub(crate) fn set_linger(socket: BorrowedFd<'_>, how: Close) {
    if how == Close::Reset {
        // Fails on a broken socket only, whose queue the kernel has dropped already.
        let _ = rustix::net::sockopt::set_socket_linger(socket, Some(std::time::Duration::ZERO));
    }
}
