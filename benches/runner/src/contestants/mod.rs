//! Who is measured: one file for each server, or for several that are started alike.

mod floor;
mod reference;
mod tailrace_batches;
mod tailrace_rows;

use crate::contestant::Contestant;

/// All of them, in the order of the tables: ours, the floors, the peers, the references.
pub(crate) const ALL: &[&dyn Contestant] = &[
    &tailrace_rows::TailraceRows,
    &tailrace_batches::TailraceBatches,
    &floor::COALESCE,
    &floor::SEND,
    &floor::CONNECT,
    &reference::MONOIO,
    &reference::TOKIO_URING,
];
