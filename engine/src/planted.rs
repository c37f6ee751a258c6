//! Bugs that are built in on purpose, to see that the simulation finds them: each is switched on by
//! `--cfg planted="its name"`, which only `script/simulation --planted` gives. No product is built with
//! one.

/// A stream comes back into step with frames of its own user before it.
pub(crate) const REJOIN_WITH_OWN_FRAMES: bool = cfg!(planted = "rejoin_with_own_frames");

/// A heartbeat says the applied position to a stream that has frames before it.
pub(crate) const HEARTBEAT_AHEAD: bool = cfg!(planted = "heartbeat_ahead");

/// An id that this node has not reached yet is taken for none of ours.
pub(crate) const HELD_IS_FOREIGN: bool = cfg!(planted = "held_is_foreign");

/// A stream whose frames were evicted goes on behind them, and is told nothing.
pub(crate) const EVICT_WITHOUT_VERDICT: bool = cfg!(planted = "evict_without_verdict");

/// A stream that lacks just the last frame that was evicted does not count as having lost one.
pub(crate) const FLOOR_OFF_BY_ONE: bool = cfg!(planted = "floor_off_by_one");

/// Whether a stream has stalled is looked at only when its socket takes bytes again, which that of one who reads
/// nothing never does.
pub(crate) const DEADLINE_IN_WRITE_PATH: bool = cfg!(planted = "deadline_in_write_path");
