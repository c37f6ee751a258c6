//! Which transactions a snapshot has seen (PostgreSQL, "Transaction ID and Snapshot Information
//! Functions").

use std::collections::BTreeSet;

use wire::Lsn;

/// What `pg_current_snapshot()` says, and how far the log had been written when it was asked.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Visibility {
    /// All below have ended.
    xmin: u64,
    /// None from here on had ended.
    xmax: u64,
    /// Those in between that were running.
    running: BTreeSet<u64>,
    /// Everything that it has seen was committed before this place. It may not be on disk yet, and there it
    /// is only when somebody needs it to be, so that nobody can wait for the stream to get there.
    end: Lsn,
    /// What was on disk.
    flushed: Lsn,
}

impl Visibility {
    /// Reads `xmin:xmax:xid,xid`, with the places up to which the log had been written and flushed.
    pub(crate) fn parse(text: &str, end: Lsn, flushed: Lsn) -> Option<Self> {
        let mut fields = text.split(':');
        let mut number = || fields.next()?.parse().ok();
        let (xmin, xmax): (u64, u64) = (number()?, number()?);
        let running = fields.next()?;
        let running: Result<_, _> = match running {
            "" => Ok(BTreeSet::new()),
            list => list.split(',').map(str::parse).collect(),
        };
        let is_all = fields.next().is_none() && xmin <= xmax;
        let running = running.ok().filter(|_| is_all)?;
        Some(Self {
            xmin,
            xmax,
            running,
            end,
            flushed,
        })
    }

    /// Whether it has seen the transaction that was committed at this place. Numbers of transactions come
    /// around after four billion of them, places in the log never do: what was committed behind the
    /// snapshot it has not seen, whatever its number.
    pub(crate) fn has_seen(&self, xid: u32, commit: Lsn) -> bool {
        commit < self.end && self.sees(xid)
    }

    /// Whether it has seen a transaction that ended lately, wherever that was.
    pub(crate) fn sees(&self, xid: u32) -> bool {
        let xid = self.whole(xid);
        xid < self.xmin || (xid < self.xmax && !self.running.contains(&xid))
    }

    /// The place before which everything was committed that it has seen.
    pub(crate) fn end(&self) -> Lsn {
        self.end
    }

    /// How much of the log was on disk.
    pub(crate) fn flushed(&self) -> Lsn {
        self.flushed
    }

    /// The 64 bits of a number that is within two billion of the snapshot's. No server comes to the end of
    /// them, but one can say that it did.
    fn whole(&self, xid: u32) -> u64 {
        const ROUND: u64 = 1 << 32;
        let near = self.xmax & !(ROUND - 1) | u64::from(xid);
        if near > self.xmax.saturating_add(ROUND / 2) {
            near.saturating_sub(ROUND)
        } else if near.saturating_add(ROUND / 2) < self.xmax {
            near.saturating_add(ROUND)
        } else {
            near
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn snapshot(text: &str) -> Visibility {
        Visibility::parse(text, Lsn(1_000), Lsn(900)).unwrap()
    }

    #[test]
    fn it_has_seen_what_had_ended() {
        let snapshot = snapshot("100:105:100,103");
        let seen: Vec<u32> = (98..108)
            .filter(|xid| snapshot.has_seen(*xid, Lsn(5)))
            .collect();
        assert_eq!(seen, [98, 99, 101, 102, 104]);
        assert!(!snapshot.has_seen(98, Lsn(1_000)), "committed behind it");
        assert!(snapshot.has_seen(98, Lsn(999)));
    }

    #[test]
    fn numbers_that_came_around_are_told_apart() {
        let round = 1_u64 << 32;
        let snapshot = snapshot(&format!("{0}:{0}:", 3 * round + 10));
        assert!(snapshot.sees(9) && !snapshot.sees(10));
        assert!(snapshot.sees(u32::MAX), "of the round before");
        let snapshot =
            Visibility::parse(&format!("{0}:{0}:", 3 * round - 10), Lsn(1), Lsn(1)).unwrap();
        assert!(!snapshot.sees(3), "of the next round");
        assert!(snapshot.sees(u32::MAX - 10) && !snapshot.sees(u32::MAX - 9));
    }

    #[test]
    fn what_is_no_snapshot_is_refused() {
        for text in ["", "1", "1:2", "1:2:3:4", "2:1:", "a:b:", "1:2:x", "1:2:1,"] {
            assert_eq!(Visibility::parse(text, Lsn(1), Lsn(1)), None, "{text:?}");
        }
    }

    #[test]
    fn the_greatest_numbers_are_numbers() {
        let max = u64::MAX;
        let snapshot = snapshot(&format!("{max}:{max}:"));
        assert!(snapshot.sees(u32::MAX - 1) && !snapshot.sees(u32::MAX) && !snapshot.sees(0));
    }
}
