//! The table that a run prints, and what must stand in it.

use std::collections::BTreeMap;
use std::fmt;

use crate::faults::Fault;
use crate::plan::Goal;

/// What is said of clients that were told to start anew.
pub(crate) const RESETS: &str = "resets given";

/// What came of a run.
pub(crate) struct Table {
    /// Committed events, by what `test_decoding` says.
    pub(crate) events: u64,
    pub(crate) delivered: u64,
    pub(crate) lost: u64,
    pub(crate) duplicated: u64,
    pub(crate) leaked: u64,
    pub(crate) resets: u64,
    pub(crate) streams: u64,
    pub(crate) refusals: u64,
    pub(crate) byes: u64,
    /// Bytes.
    pub(crate) memory_max: u64,
    /// Beyond those that a node without clients had.
    pub(crate) descriptors_more: usize,
    pub(crate) faults: BTreeMap<Fault, u64>,
    pub(crate) skips: BTreeMap<Fault, String>,
}

impl Table {
    /// The least of it, in a line.
    pub(crate) fn summary(&self) -> String {
        let injected: u64 = self.faults.values().sum();
        format!(
            "{injected} faults of {} kinds, {} skipped; {} events, {} delivered, {} lost, {} duplicated, \
             {} leaked, {} resets",
            self.faults.len(),
            self.skips.len(),
            self.events,
            self.delivered,
            self.lost,
            self.duplicated,
            self.leaked,
            self.resets,
        )
    }

    /// Says which figures are not as they must be.
    pub(crate) fn judge(&self, goal: Goal, memory_max: u64, descriptors_max: usize) -> Vec<String> {
        let injected: u64 = self.faults.values().sum();
        let at_most = [
            ("lost", self.lost, 0),
            ("duplicated on one connection", self.duplicated, 0),
            ("leaked", self.leaked, 0),
            // No fault takes away what a client goes on from.
            (RESETS, self.resets, 0),
            ("bytes of memory", self.memory_max, memory_max),
            (
                "descriptors at the end beyond those at the beginning",
                self.descriptors_more as u64,
                descriptors_max as u64,
            ),
        ];
        let at_least = [
            ("events", self.events, goal.events),
            ("deliveries", self.delivered, goal.deliveries),
            ("faults", injected, goal.faults),
            (
                "kinds of faults",
                self.faults.len() as u64,
                goal.kinds as u64,
            ),
        ];
        let too_many = at_most.iter().filter(|(_, is, may)| is > may);
        let too_many = too_many.map(|(what, is, may)| format!("{is} {what}, not at most {may}"));
        let too_few = at_least.iter().filter(|(_, is, must)| is < must);
        let too_few = too_few.map(|(what, is, must)| format!("{is} {what}, not at least {must}"));
        too_many.chain(too_few).collect()
    }
}

impl fmt::Display for Table {
    /// As Markdown writes tables.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let injected: u64 = self.faults.values().sum();
        let kinds = self.faults.len();
        let megabytes = self.memory_max >> 20;
        writeln!(f, "| | |\n| --- | ---: |")?;
        writeln!(f, "| events committed | {} |", self.events)?;
        writeln!(f, "| delivered | {} |", self.delivered)?;
        writeln!(f, "| lost | {} |", self.lost)?;
        writeln!(f, "| duplicated on one connection | {} |", self.duplicated)?;
        writeln!(f, "| leaked | {} |", self.leaked)?;
        writeln!(f, "| resets given | {} |", self.resets)?;
        writeln!(f, "| streams opened | {} |", self.streams)?;
        writeln!(
            f,
            "| put off, and sent away in words | {}, {} |",
            self.refusals, self.byes
        )?;
        writeln!(f, "| highest RSS of a node | {megabytes} MiB |")?;
        writeln!(
            f,
            "| descriptors at the end, beyond the beginning's | {} |",
            self.descriptors_more
        )?;
        writeln!(f, "| faults | {injected} of {kinds} kinds |")?;
        let by_kind: Vec<String> = self
            .faults
            .iter()
            .map(|(fault, count)| format!("{fault} {count}"))
            .collect();
        writeln!(f, "| by kind | {} |", by_kind.join(", "))?;
        for (fault, why) in &self.skips {
            writeln!(f, "| {fault} | SKIPPED: {why} |")?;
        }
        Ok(())
    }
}
