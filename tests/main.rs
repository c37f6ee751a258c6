//! Black-box tests of the node: a real PostgreSQL, the real binary, real sockets; one module for
//! each behaviour, and nearly all of it with both drivers.

#![expect(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "what a test prints is for the person who runs it"
)]

mod applications;
mod browser;
mod cases;
mod changes;
mod check;
mod cors;
mod dev;
mod documents;
mod drain;
mod encryption;
mod expiry;
mod formats;
mod heartbeats;
mod history;
mod identity;
mod init;
mod isolation;
mod kills;
mod libraries;
mod limits;
mod many;
mod nextjs;
mod operations;
mod outage;
mod promises;
mod proxies;
mod publish;
mod publishing;
mod refusals;
mod resume;
mod revoke;
mod routes;
mod slot;
mod slots;
mod slow_reader;
mod start;
mod statements;
mod stats;
mod statuses;
mod subscriptions;
mod support;
mod tenancy;
mod tidy;
mod unfit;
mod workspace;
