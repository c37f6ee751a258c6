//! Event ids as the design writes them: `EPOCH.TIMELINE.LSN.INDEX` in lower-case hexadecimal
//! without padding. Read here by code that is not the node's.

use std::str::FromStr;

/// A position, ordered as the write-ahead log is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Position {
    pub(crate) epoch: u64,
    pub(crate) timeline: u64,
    pub(crate) lsn: u64,
    pub(crate) index: u64,
}

impl FromStr for Position {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let fields: Vec<u64> = text
            .split('.')
            .map(|digits| u64::from_str_radix(digits, 16).map_err(|_| ()))
            .collect::<Result<_, _>>()?;
        let [epoch, timeline, lsn, index] = fields[..] else {
            return Err(());
        };
        let position = Self {
            epoch,
            timeline,
            lsn,
            index,
        };
        // One spelling: what was read prints as what was written.
        (position.to_string() == text).then_some(position).ok_or(())
    }
}

impl std::fmt::Display for Position {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "{:x}.{:x}.{:x}.{:x}",
            self.epoch, self.timeline, self.lsn, self.index
        )
    }
}
