//! Who is measured: one file for each server, or for several that are started alike.

mod durable_streams;
mod floor;
mod nchan;
mod node;
mod peers;
mod pushpin;
mod reference;
mod tailrace_batches;
mod tailrace_rows;
mod zmtp;

use crate::contestant::Contestant;

/// All of them, in the order of the tables: ours, the floors, the peers, the references.
pub(crate) const ALL: &[&dyn Contestant] = &[
    &tailrace_rows::TailraceRows,
    &tailrace_batches::TailraceBatches,
    &floor::COALESCE,
    &floor::SEND,
    &floor::CONNECT,
    &durable_streams::DurableStreams,
    &nchan::Nchan,
    &pushpin::Pushpin,
    &node::Node,
    &reference::AXUM,
    &reference::MONOIO,
    &reference::TOKIO_URING,
];
