//! Virtual time. It moves from one event of the world to the next, and nobody reads a clock.

use std::ops::Add;

/// What time it is by the clock of the database when the world begins, in microseconds since 1970:
/// 2027-01-15 08:00 UTC.
pub const WORLD_UNIX_US: u64 = 1_800_000_000_000_000;

/// Microseconds since the world began.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Time(pub u64);

impl Time {
    /// So many milliseconds.
    pub const fn from_ms(ms: u64) -> Self {
        Self(ms * 1_000)
    }

    /// Whole milliseconds since the world began.
    pub const fn ms(self) -> u64 {
        self.0 / 1_000
    }

    /// Microseconds since 1970, by the clock of the database.
    pub const fn unix_us(self) -> u64 {
        WORLD_UNIX_US + self.0
    }

    /// How long it is since an earlier time; nothing where that one is later.
    pub const fn since(self, earlier: Self) -> Self {
        Self(self.0.saturating_sub(earlier.0))
    }
}

impl Add for Time {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self(self.0 + other.0)
    }
}
