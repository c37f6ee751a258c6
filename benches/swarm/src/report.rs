//! What was counted since a swarm began to record.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::latencies::Latencies;
use crate::order::add;

/// What arrived, and what did not.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Report {
    /// How long it was counted.
    pub seconds: f64,
    /// Streams that are open now, those included that do not read.
    pub streams_open: u64,
    /// Streams among them that do not read.
    pub streams_stalled: u64,
    /// Streams that were opened.
    pub opened: u64,
    /// Streams that were opened again after the server had ended them.
    pub reopened: u64,
    /// Answers other than 200, by their status.
    pub refused: BTreeMap<u16, u64>,
    /// Connections without an answer, by the reason.
    pub failed: BTreeMap<String, u64>,
    /// Streams that the server ended.
    pub ended: u64,
    /// Events that arrived.
    pub events: u64,
    /// Events that a stream missed: a later one of its organisation arrived before or instead.
    pub gaps: u64,
    /// Events that a stream got again, or after a later one.
    pub duplicates: u64,
    /// Events that reached a stream of another organisation; they count nowhere else.
    pub foreign: u64,
    /// By how many events the streams that read are behind the newest of their organisations that
    /// any stream of this process has had, added up; a stream that has had none counts as one behind.
    pub behind: u64,
    /// Bytes that arrived, with heads and framing.
    pub bytes: u64,
    /// How often something was read from a stream: `events / reads` says how much was coalesced.
    pub reads: u64,
    /// The parts that the layout tells apart.
    pub groups: Vec<Group>,
    /// From the beginning of each connection to the end of its response's head.
    pub connect: Latencies,
}

/// A part of the streams: the large organisation, or the small ones; or all.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Group {
    /// Events that arrived.
    pub events: u64,
    /// From their publication until they were read.
    pub latency: Latencies,
}

impl Report {
    /// Adds what another process counted at the same time.
    pub fn merge(&mut self, other: &Self) {
        self.seconds = self.seconds.max(other.seconds);
        self.streams_open += other.streams_open;
        self.streams_stalled += other.streams_stalled;
        self.opened += other.opened;
        self.reopened += other.reopened;
        add(&mut self.refused, &other.refused);
        add(&mut self.failed, &other.failed);
        self.ended += other.ended;
        self.events += other.events;
        self.gaps += other.gaps;
        self.duplicates += other.duplicates;
        self.foreign += other.foreign;
        self.behind += other.behind;
        self.bytes += other.bytes;
        self.reads += other.reads;
        if self.groups.len() < other.groups.len() {
            self.groups.resize_with(other.groups.len(), Group::default);
        }
        for (sum, other) in self.groups.iter_mut().zip(&other.groups) {
            sum.events += other.events;
            sum.latency.merge(&other.latency);
        }
        self.connect.merge(&other.connect);
    }

    /// The latencies of all groups together.
    pub fn latency(&self) -> Latencies {
        let mut sum = Latencies::default();
        for group in &self.groups {
            sum.merge(&group.latency);
        }
        sum
    }
}

#[cfg(test)]
mod tests {
    use super::{Group, Report};

    fn report(events: u64, groups: usize) -> Report {
        let mut report = Report {
            seconds: 1.0,
            streams_open: 10,
            events,
            ..Report::default()
        };
        for number in 0..groups {
            let mut group = Group::default();
            group.latency.record_nanoseconds(1_000_000 << number);
            report.groups.push(group);
        }
        report
    }

    #[test]
    fn the_reports_of_several_processes_are_added() {
        let mut sum = Report::default();
        sum.merge(&report(5, 2));
        sum.merge(&report(7, 2));
        assert_eq!((sum.events, sum.streams_open), (12, 20));
        assert_eq!(sum.groups.len(), 2);
        assert_eq!(sum.groups[1].latency.count(), 2);
        assert_eq!(sum.latency().count(), 4);
        assert!((sum.seconds - 1.0).abs() < 1e-9);
    }
}
