//! One seed, one world: the real engines and the real reader of the log, driven without a kernel, a
//! clock or a thread.
//!
//! What is real: `engine` (several cores to a node) and `replication` (the protocol, decoding,
//! routing, batches, memberships and verdicts). What stands in for the rest: a cluster that speaks
//! PostgreSQL's protocol (`postgres`), the application that writes to it (`application`), the sockets
//! (`driver`), the replication thread's loop (`node`), the control thread (`control`) and the clients
//! (`clients`). What a client must have seen is computed from the commit log by `model`, which shares
//! nothing with what is tested. `docs/simulation.md` says it at length.

#![forbid(unsafe_code)]
#![deny(missing_docs)]

pub mod application;
pub mod clients;
pub mod control;
pub mod explore;
pub mod invariants;
pub mod model;
pub mod network;
pub mod node;
pub mod parser;
mod planted;
pub mod postgres;
pub mod queue;
pub mod random;
pub mod sometimes;
pub mod swarm;
pub mod time;
pub mod trace;
pub mod world;
