//! Time as the engine sees it: an argument, never a clock.

/// The time of an event, from the caller's clocks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Now {
    /// Milliseconds of a monotonic clock since some start.
    pub monotonic_ms: u64,
    /// Microseconds of the same clock since the last whole millisecond: only delays are measured so
    /// finely.
    pub micros: u16,
    /// Milliseconds since 1970.
    pub wall_ms: u64,
}

impl Now {
    /// Microseconds of the monotonic clock since the same start.
    pub(crate) fn monotonic_us(self) -> u64 {
        self.monotonic_ms * 1_000 + u64::from(self.micros)
    }
}

/// When `turn` wants to be called again if nothing happens before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// At once: work is pending. Look for events without waiting, then turn again.
    Now,
    /// At this time of the monotonic clock, in milliseconds, at the latest.
    At(u64),
}

/// A deadline as the table keeps it, 4 bytes: tenths of a second of the monotonic clock, which
/// last for 13 years.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Tick(pub(crate) u32);

impl Tick {
    /// Later than every deadline.
    pub(crate) const NEVER: Self = Self(u32::MAX);

    /// The tick in which a time lies.
    pub(crate) fn at(monotonic_ms: u64) -> Self {
        Self(u32::try_from(monotonic_ms / 100).expect("a boot lasts less than 13 years"))
    }

    /// The first tick that is not before `delay_ms` from now; far deadlines become the last tick.
    pub(crate) fn after(now: Now, delay_ms: u64) -> Self {
        let ticks = now.monotonic_ms.saturating_add(delay_ms).div_ceil(100);
        Self(
            u32::try_from(ticks)
                .unwrap_or(u32::MAX - 1)
                .min(u32::MAX - 1),
        )
    }

    /// The tick that lies so much earlier, the first one at most.
    pub(crate) fn before_ms(self, ms: u64) -> Self {
        Self(
            self.0
                .saturating_sub(u32::try_from(ms / 100).unwrap_or(u32::MAX)),
        )
    }

    /// The beginning of the tick, in milliseconds.
    pub(crate) fn start_ms(self) -> u64 {
        u64::from(self.0) * 100
    }
}
