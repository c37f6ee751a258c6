//! Who is measured: one file for each server, or for several that are started alike.

mod reference;

use crate::contestant::Contestant;

/// All of them, in the order of the tables: ours, the floors, the peers, the references.
pub(crate) const ALL: &[&dyn Contestant] = &[&reference::MONOIO, &reference::TOKIO_URING];
