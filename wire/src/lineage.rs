//! Which positions are real: the cluster's epoch and its timeline history.
//!
//! After a promotion the same LSN, and even the same transaction id, mean another transaction, so a
//! position is one of ours only if its timeline was the current one at its LSN.

use crate::{EventId, Lsn};

/// The epoch and the timelines of the cluster that is being read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lineage {
    epoch: u32,
    /// The timelines that were left, oldest first, each with the LSN at which it was left.
    left: Vec<(u32, Lsn)>,
    current: u32,
}

impl Lineage {
    /// A cluster whose timeline `current` follows those in `left`, oldest first, each with the LSN
    /// at which it was left (PostgreSQL, "Continuous Archiving", timeline history files).
    pub fn new(epoch: u32, left: Vec<(u32, Lsn)>, current: u32) -> Self {
        assert!(
            left.is_sorted_by_key(|(timeline, lsn)| (*timeline, *lsn)),
            "history out of order"
        );
        Self {
            epoch,
            left,
            current,
        }
    }

    /// The timeline that is written on.
    pub fn timeline(&self) -> u32 {
        self.current
    }

    /// The epoch of every position of this cluster.
    pub fn epoch(&self) -> u32 {
        self.epoch
    }

    /// The position of a change, with the timeline that was current at its LSN.
    pub fn position(&self, lsn: Lsn, index: u32) -> EventId {
        EventId {
            epoch: self.epoch,
            timeline: self.timeline_at(lsn),
            lsn,
            index,
        }
    }

    /// Whether the position can be one of this cluster's. The place behind everything that a timeline has is
    /// still its own: whoever has come there has all of what was left.
    pub fn admits(&self, id: EventId) -> bool {
        let is_end = id.index == 0 && self.left.contains(&(id.timeline, id.lsn));
        id.epoch == self.epoch && (is_end || id.timeline == self.timeline_at(id.lsn))
    }

    fn timeline_at(&self, lsn: Lsn) -> u32 {
        let past = self.left.iter().find(|(_, left_at)| lsn < *left_at);
        past.map_or(self.current, |(timeline, _)| *timeline)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_position_belongs_to_the_timeline_of_its_lsn() {
        let lineage = Lineage::new(7, vec![(1, Lsn(100)), (2, Lsn(200))], 4);
        let timelines = [99, 100, 199, 200, 1000].map(|lsn| lineage.position(Lsn(lsn), 1).timeline);
        assert_eq!(timelines, [1, 2, 2, 4, 4]);
    }

    #[test]
    fn a_position_beyond_a_fork_or_of_another_cluster_is_foreign() {
        let lineage = Lineage::new(7, vec![(1, Lsn(100))], 2);
        let id = |epoch, timeline, lsn| EventId {
            epoch,
            timeline,
            lsn: Lsn(lsn),
            index: 1,
        };
        assert!(lineage.admits(id(7, 1, 99)));
        assert!(lineage.admits(id(7, 2, 100)));
        assert!(!lineage.admits(id(7, 1, 100)));
        assert!(!lineage.admits(id(7, 2, 99)));
        assert!(!lineage.admits(id(8, 1, 99)));
    }

    #[test]
    fn who_has_everything_of_a_timeline_that_was_left_has_missed_nothing() {
        let lineage = Lineage::new(7, vec![(1, Lsn(100)), (2, Lsn(200))], 3);
        let end = |timeline, lsn| EventId {
            epoch: 7,
            timeline,
            lsn: Lsn(lsn),
            index: 0,
        };
        assert!(lineage.admits(end(1, 100)) && lineage.admits(end(2, 200)));
        assert!(!lineage.admits(end(1, 101)) && !lineage.admits(end(1, 200)));
    }
}
