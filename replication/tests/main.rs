//! The reader against a real PostgreSQL: one private server for each test.

#![expect(
    clippy::unwrap_used,
    reason = "what a test relies on and does not find ends it"
)]
#![expect(
    clippy::disallowed_types,
    clippy::disallowed_methods,
    reason = "the tests are the outside world of a pure crate: they have sockets and a clock"
)]

mod anchor;
mod authentication;
mod cluster;
mod drive;
mod fake;
mod identities;
mod load;
mod lost;
mod members;
mod messages;
mod nodes;
mod publication;
mod restart;
mod revocations;
mod routes;
mod rows;
mod shutdown;
mod silence;
mod statements;
mod tables;
mod timelines;
mod types;
mod window;
