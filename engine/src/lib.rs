//! The sans-io core: connections, topics, log, sweeps, timers.
//!
//! One [`Engine`] serves the connections of one thread. It has no socket, no clock, no channel and
//! no logger: whoever owns those drives it, and it acts on the world through the [`Driver`] trait.
//!
//! # The contract
//!
//! A driver repeats these steps for ever, on one thread, and reads its clocks anew for each:
//!
//! 1. [`Engine::handle_command`] for what the control thread said.
//! 2. While [`Engine::wants_batch`]: [`Engine::handle_batch`] for what the replication thread handed
//!    over, in its order.
//! 3. [`Engine::turn`], which says how long the next step may take; then [`Engine::handle_sent`], for
//!    delays to be counted up to the send and no further.
//! 4. Wait for events until then, and tell each: [`Engine::handle_accept`],
//!    [`Engine::handle_bytes`], [`Engine::handle_hangup`], [`Engine::handle_writable`],
//!    [`Engine::handle_released`].
//!
//! The engine calls the driver from within these; the driver never calls the engine back from
//! within a call. An event about a connection of an earlier generation is ignored.
//!
//! # Where things are
//!
//! `engine` is the face and the order of work; each verb has a file: `request`, `admit`, `intake`,
//! `sweep`, `catch_up`, `step`, `session`, `subscription`, `deadlines`, `pacing`, `closing`,
//! `page`, `control_events`. What they work
//! on: `table` and `record` (connections), `users`, `log`, `class`, `filters`, `slice`, `queues`,
//! `behind`, `inputs`, `responses`.

#![forbid(unsafe_code)]
#![deny(missing_docs)]

mod admit;
mod answers;
mod behind;
mod catch_up;
mod class;
mod closing;
mod command;
mod config;
mod control_events;
mod counters;
mod deadlines;
mod delay;
mod driver;
mod engine;
mod filters;
#[doc(hidden)]
pub mod fuzzing;
mod inputs;
mod intake;
pub mod limits;
mod log;
mod pacing;
mod page;
mod planted;
mod queues;
mod record;
mod request;
mod responses;
mod session;
mod simulation;
mod slice;
mod step;
mod subscription;
mod sweep;
mod table;
#[cfg(test)]
mod testing;
mod time;
mod users;

pub use command::{Command, SubscriptionChange};
pub use config::{Config, StreamPath};
pub use counters::{Counters, ResetReason};
pub use delay::{DELAY_BOUNDS_US, Delays};
pub use driver::{
    Close, Driver, Handle, Notice, Outcome, Overloaded, TicketOutcome, Transmit, Verdict, Watch,
};
pub use engine::Engine;
pub use time::{Next, Now};
