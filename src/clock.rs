//! The time of day.

use std::time::{SystemTime, UNIX_EPOCH};

/// Milliseconds since 1970.
pub(crate) fn unix_ms() -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    let ms = now
        .expect("the clock of this machine stands after 1970")
        .as_millis();
    u64::try_from(ms).unwrap_or(u64::MAX)
}
