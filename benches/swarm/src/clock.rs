//! The clock by which publishers and readers agree.

use rustix::time::{ClockId, clock_gettime};

/// Nanoseconds of `CLOCK_MONOTONIC`, which is the same in every process of a machine.
pub fn monotonic_nanoseconds() -> u64 {
    let time = clock_gettime(ClockId::Monotonic);
    let seconds = u64::try_from(time.tv_sec).expect("the monotonic clock begins at zero");
    let rest = u64::try_from(time.tv_nsec).expect("a part of a second is positive");
    seconds * 1_000_000_000 + rest
}
