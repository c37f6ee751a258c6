//! What a stream got of its organisation's events: each once and in order, or not.

/// The events of one organisation, as one stream got them.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Tally {
    /// The number after the highest that arrived; none before the first.
    next: Option<u64>,
}

/// What the arrival of an event says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Arrival {
    /// It is new, and so many before it are missing.
    New { missed: u64 },
    /// It, or a later one, arrived before.
    Again,
}

impl Tally {
    /// An event arrived. The first may have any number: what was before it is unknown.
    #[inline]
    pub(crate) fn take(&mut self, sequence: u64) -> Arrival {
        let expected = self.next.unwrap_or(sequence);
        match sequence.checked_sub(expected) {
            Some(missed) => {
                self.next = Some(sequence.saturating_add(1));
                Arrival::New { missed }
            }
            None => Arrival::Again,
        }
    }

    /// The number after the highest that arrived.
    pub(crate) fn next(self) -> Option<u64> {
        self.next
    }

    /// Whether this event, or a later one, has arrived.
    pub(crate) fn has(self, sequence: u64) -> bool {
        self.next.is_some_and(|next| next > sequence)
    }
}

#[cfg(test)]
mod tests {
    use super::{Arrival, Tally};

    #[test]
    fn gaps_and_repetitions_are_told_apart() {
        let mut tally = Tally::default();
        let mut take = |sequence| tally.take(sequence);
        assert_eq!(take(5), Arrival::New { missed: 0 });
        assert_eq!(take(6), Arrival::New { missed: 0 });
        assert_eq!(take(9), Arrival::New { missed: 2 });
        assert_eq!(take(9), Arrival::Again);
        assert_eq!(take(7), Arrival::Again);
        assert_eq!(take(10), Arrival::New { missed: 0 });
        assert!(tally.has(10) && !tally.has(11));
        assert_eq!(tally.next(), Some(11));
    }

    #[test]
    fn nothing_is_known_before_the_first() {
        assert!(!Tally::default().has(0));
        assert_eq!(Tally::default().next(), None);
    }
}
