//! Positions, read by the model itself.

use std::fmt;

/// The position of a change, or with index 0 the place behind a commit: what stands behind the epoch in the
/// text of an id.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Position {
    /// The timeline.
    pub timeline: u32,
    /// The commit's place in the log.
    pub lsn: u64,
    /// The change within the transaction, from 1.
    pub index: u32,
}

impl Position {
    /// Reads an id, `EPOCH.TIMELINE.LSN.INDEX` in hexadecimal; the epoch comes first.
    pub fn parse(text: &str) -> Option<(u32, Self)> {
        let mut numbers = text
            .split('.')
            .map(|digits| u64::from_str_radix(digits, 16).ok());
        let mut number = || numbers.next().flatten();
        let (epoch, timeline, lsn, index) = (number()?, number()?, number()?, number()?);
        if numbers.next().is_some() {
            return None;
        }
        let position = Self {
            timeline: timeline.try_into().ok()?,
            lsn,
            index: index.try_into().ok()?,
        };
        Some((epoch.try_into().ok()?, position))
    }

    /// Whether it lies before another on a line of history that has both.
    pub(super) fn is_before(self, other: Self) -> bool {
        (self.lsn, self.index) < (other.lsn, other.index)
    }
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:x}.{:x}.{:x}", self.timeline, self.lsn, self.index)
    }
}
