//! The `tailrace` command: a server that streams PostgreSQL's committed changes over Server-Sent
//! Events. A library only so that `main` and the targets of `fuzz/` can call it: nothing else is
//! promised.
//!
//! The rooms: `cli` is the command line, `config` what an operator decides, `node` the start and the
//! end of a node, `control` the thread that may wait, `replication_thread` the one that reads
//! PostgreSQL, `capacity` what a machine can hold. What streams is `engine`, over `driver`. Beside the
//! node, `catalog` reads what a database holds, `check` judges it, `init` sets it up, `retention` and
//! `slots` say what nodes leave behind.

#![forbid(unsafe_code)]
#![deny(missing_docs)]

mod audience;
mod capacity;
mod catalog;
mod check;
mod cli;
mod clock;
mod config;
mod control;
mod database;
mod dev;
mod figures;
pub mod fuzzing;
mod http_client;
mod init;
mod last_words;
mod logs;
mod metrics;
mod node;
mod preflight;
mod publish;
mod replication_thread;
mod retention;
mod signals;
mod slots;
mod tail;
mod tls;
mod token;

pub use cli::run;
