//! How much of the past is kept, and where: `[slot]` and `[history]`.

use std::time::Duration;

use replication::SlotMode;

use super::{ConfigError, bytes, duration, raw};

/// The least log an engine works with: a quarter of it is one organisation's share.
const LOG_BYTES_MIN: u64 = 16 << 20;

/// The least that the slot is held back by: less than a segment of the log says nothing.
const WAL_BYTES_MIN: u64 = 16 << 20;

/// `[slot]`.
#[derive(Clone, Debug)]
pub(crate) struct Slot {
    /// Whether the past outlives the node.
    pub(crate) mode: SlotMode,
    /// Bumped to begin anew.
    pub(crate) generation: u32,
    /// Whether it is meant that nothing bounds what the slot holds back.
    pub(crate) accept_unbounded: bool,
}

/// `[history]`.
#[derive(Clone, Debug)]
pub(crate) struct History {
    /// How far the slot is held back.
    pub(crate) window: Duration,
    /// How much of the write-ahead log it is held back by at the most, in bytes; 0 is no bound.
    pub(crate) wal_bytes: u64,
    /// The bound of an engine's log, in bytes.
    pub(crate) max_bytes: usize,
}

pub(super) fn slot(raw: &raw::Slot) -> Result<Slot, ConfigError> {
    let mode = match raw.mode.as_str() {
        "anchor" => SlotMode::Anchor,
        "temporary" => SlotMode::Temporary,
        mode => {
            let mend = "write \"anchor\" or \"temporary\"";
            return Err(ConfigError::new("slot.mode", mode, mend));
        }
    };
    Ok(Slot {
        mode,
        generation: raw.generation,
        accept_unbounded: raw.accept_unbounded,
    })
}

pub(super) fn history(raw: &raw::History) -> Result<History, ConfigError> {
    let window = duration("history.window", &raw.window)?;
    let wal_bytes = bytes("history.wal_bytes", &raw.wal_bytes)?;
    if wal_bytes != 0 && wal_bytes < WAL_BYTES_MIN {
        let mend = "write at least \"16MiB\", a segment of the log, or \"0B\" for no bound";
        return Err(ConfigError::new("history.wal_bytes", &raw.wal_bytes, mend));
    }
    let max_bytes = bytes("history.max_bytes", &raw.max_bytes)?;
    if max_bytes < LOG_BYTES_MIN {
        let mend = "write at least \"16MiB\": a quarter of it is one organisation's share";
        return Err(ConfigError::new("history.max_bytes", &raw.max_bytes, mend));
    }
    let max_bytes = usize::try_from(max_bytes).map_err(|_| {
        ConfigError::new(
            "history.max_bytes",
            &raw.max_bytes,
            "more than this machine can address",
        )
    })?;
    Ok(History {
        window,
        wal_bytes,
        max_bytes,
    })
}
