//! Bugs that are built in on purpose, to see that the simulation finds them, of what stands in for the
//! control thread here. Those of the product are in `planted.rs` of its crates.

/// What had been applied is noted after the session was read, and not before.
pub(crate) const JUDGED_AFTER_READ: bool = cfg!(planted = "judged_after_read");
