//! One suite for both drivers, with real engines over real sockets. The tests play the control and
//! the replication thread. A ring that is refused fails the suite; it is never skipped.
//!
//! What counts the descriptors of a process is in `descriptors.rs`, which has a process to itself.

#![expect(clippy::unwrap_used, reason = "a test fails by it")]

mod both;
mod closing;
mod house;
mod requests;
mod streams;
mod threads;

pub(crate) use both::for_both_drivers;
