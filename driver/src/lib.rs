//! Where the core meets the kernel: io_uring, epoll, listeners, threads.
//!
//! [`start`] runs N engine threads. Each has its own listener on the same address (`SO_REUSEPORT`),
//! its own ring or epoll instance, and its own [`engine::Engine`]; they share nothing and lock
//! nothing. Other threads reach an engine through its [`Port`]; an engine reaches the control
//! thread through its [`Uplink`].
//!
//! One round of an engine thread:
//!
//! 1. commands from the control thread;
//! 2. batches from the replication thread, in their order, while the engine wants them;
//! 3. [`engine::Engine::turn`], which sends;
//! 4. a wait in the kernel: not at all where work is pending, else until the engine's next
//!    deadline, an event of a socket, or a wake-up by a port;
//! 5. slots whose connections are gone from the kernel are given back to the engine;
//! 6. events: sockets accepted, bytes, hang-ups, sockets that take bytes again.
//!
//! What both drivers keep to:
//!
//! * No call waits but step 4. Sends finish, or are found impossible, before `send` returns, so
//!   that no buffer is looked at by the kernel afterwards.
//! * A watch is answered once. A slot is given back only when nothing of its connection is left in
//!   the kernel, and never from within a call of the engine.
//! * Running out of descriptors or memory pauses accepting, and nothing else. The last descriptors are
//!   kept for the process's own; while few are left, clients are accepted one by one.
//! * A panic on an engine's thread ends the process.
//!
//! The only `unsafe` of the project is here: in `uring`, for entries of the ring and its system call, and
//! in `memory`, for one call of the allocator.

#![deny(unsafe_code)]

/// What `sleep_flag` is made of; `tests/sleep.rs` makes it of others.
mod atomic {
    pub(crate) use std::sync::atomic::{AtomicBool, Ordering, fence};
}

mod abort;
mod acceptor;
mod choice;
mod connections;
mod counters;
mod decision;
mod engines;
mod epoll;
mod listener;
mod memory;
mod poller;
#[cfg(test)]
mod poller_tests;
mod port;
mod sleep_flag;
mod socket;
mod thread;
mod token;
mod uplink;
mod uring;
mod waker;
mod world;

pub use acceptor::RESERVED_DESCRIPTORS;
pub use choice::{Choice, Kind, Options, StartError, UnknownDriver};
pub use engines::{Engines, start};
pub use memory::give_memory_back;
pub use port::{BATCHES_MAX, COMMANDS_MAX, Port};
pub use uplink::{Forwarded, Uplink};

/// Tries whether this machine grants a ring that engines would use, and says which.
///
/// # Errors
///
/// In words for an operator: why not, and what would help.
pub fn try_uring() -> Result<String, String> {
    let ring = uring::Ring::open().and_then(uring::Ring::unless_untried)?;
    Ok(ring.describe())
}
