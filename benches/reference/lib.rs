//! What the plain servers have in common: a broadcast channel for each organisation, and, for those
//! without a framework, the reading of requests.
//!
//! They all answer `GET /stream?organizationId=o1` with a stream, and send the body of
//! `POST /publish?organizationId=o1`, one or more whole event blocks, to every stream of that
//! organisation, or without the parameter of all organisations. They print `listening <address>`.
//! Nothing of Tailrace is here, and nothing that would make them slower: no sessions, no filters, no
//! resume, no heartbeat.

mod organisations;
mod request;

pub use organisations::Organisations;
pub use request::{Then, answer};

/// What a stream begins with.
pub const STREAM_HEAD: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\
    cache-control: no-cache\r\n\r\n";
