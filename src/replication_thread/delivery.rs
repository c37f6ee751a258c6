//! A batch on its way to every engine.

use driver::Port;
use wire::Batch;

/// How long an engine may take nothing at all, in milliseconds. Its channel holds dozens of batches
/// and load only slows it down, so one that takes none is a bug.
const STUCK_MS: u64 = 30_000;

/// A batch that not every engine has taken yet.
pub(super) struct Delivery {
    batch: Batch,
    /// The engines that have not taken it.
    missing: Vec<usize>,
    since_ms: u64,
}

impl Delivery {
    pub(super) fn new(batch: Batch, engines: usize, now_ms: u64) -> Self {
        Self {
            batch,
            missing: (0..engines).collect(),
            since_ms: now_ms,
        }
    }

    /// Offers it to the engines that have not taken it, and says whether all have now.
    pub(super) fn advance(&mut self, ports: &[Port]) -> bool {
        self.missing
            .retain(|engine| ports[*engine].try_batch(self.batch.clone()).is_err());
        self.missing.is_empty()
    }

    /// The engines that have taken nothing for so long that they never will.
    pub(super) fn stuck(&self, now_ms: u64) -> Option<&[usize]> {
        let is_stuck = !self.missing.is_empty() && now_ms >= self.since_ms + STUCK_MS;
        is_stuck.then_some(&self.missing)
    }
}
