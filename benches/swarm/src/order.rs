//! What a swarm is told, and what it answers: a line of JSON each.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::latencies::Latencies;
use crate::report::Report;

/// An order, which is answered when it has been carried out. Streams are named by the number of the
/// first and how many follow.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Order {
    /// Opens streams; answered by [`Answer::Opened`] when each is open, or was refused, or has failed.
    Open {
        /// The number of the first.
        first: u32,
        /// How many.
        streams: u32,
        /// How many are opened in a second; zero: as fast as the server answers.
        per_second: u32,
        /// Whether they never read anything after their request.
        stalled: bool,
    },
    /// Forgets what was counted, and counts from now.
    Record,
    /// Asks for what was counted; goes on counting.
    Report,
    /// Makes streams stop reading, for as long as they are open.
    Stall {
        /// The number of the first.
        first: u32,
        /// How many.
        streams: u32,
    },
    /// Drops streams without a word to the server, all at once.
    Drop {
        /// The number of the first.
        first: u32,
        /// How many.
        streams: u32,
    },
    /// Drops what is still open of these streams, all at once, and brings all of them back as fast
    /// as the server answers, those too that were never open. Answered by [`Answer::Reconnected`].
    Reconnect {
        /// The number of the first.
        first: u32,
        /// How many.
        streams: u32,
        /// Whether they say where they were, in the way of [`crate::Resume`].
        resume: bool,
        /// When a stream has caught up.
        until: Until,
        /// After how long it is answered though some have not caught up.
        timeout_seconds: u32,
    },
    /// Drops everything.
    Close,
}

/// The newest event of each organisation by number: a stream has caught up when it is open and has
/// had this event of its own. A stream of an organisation that is not named has caught up when it is
/// open.
pub type Until = BTreeMap<u32, u64>;

/// An answer to an order.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Answer {
    /// To [`Order::Open`].
    Opened(Opened),
    /// To [`Order::Report`].
    Report(Box<Report>),
    /// To [`Order::Reconnect`].
    Reconnected(Reconnected),
    /// To every other one.
    Done,
    /// It could not be carried out, and why.
    Failed(String),
}

/// How the opening went.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Opened {
    /// Streams that are open now.
    pub opened: u64,
    /// Answers other than 200, by their status.
    pub refused: BTreeMap<u16, u64>,
    /// Connections without an answer, by the reason.
    pub failed: BTreeMap<String, u64>,
    /// From the order to the last answer.
    pub seconds: f64,
    /// From the beginning of each connection to the end of its response's head.
    pub connect: Latencies,
}

/// How the coming back went.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Reconnected {
    /// How many were to come back.
    pub streams: u64,
    /// How many are open.
    pub opened: u64,
    /// How many have caught up: fewer than `streams` where time ran out.
    pub caught_up: u64,
    /// Answers other than 200, by their status; each was tried again.
    pub refused: BTreeMap<u16, u64>,
    /// Connections without an answer, by the reason; each was tried again.
    pub failed: BTreeMap<String, u64>,
    /// From the beginning until the last was open.
    pub seconds_until_open: f64,
    /// From the beginning until the last had caught up.
    pub seconds_until_caught_up: f64,
    /// From the beginning of each connection to the end of its response's head.
    pub connect: Latencies,
    /// From the beginning until each stream had caught up.
    pub caught_up_after: Latencies,
}

impl Opened {
    /// Adds what another process opened at the same time.
    pub fn merge(&mut self, other: &Self) {
        self.opened += other.opened;
        add(&mut self.refused, &other.refused);
        add(&mut self.failed, &other.failed);
        self.seconds = self.seconds.max(other.seconds);
        self.connect.merge(&other.connect);
    }

    /// How many were opened in a second.
    pub fn per_second(&self) -> f64 {
        per_second(self.opened, self.seconds)
    }
}

impl Reconnected {
    /// Adds what another process brought back at the same time.
    pub fn merge(&mut self, other: &Self) {
        self.streams += other.streams;
        self.opened += other.opened;
        self.caught_up += other.caught_up;
        add(&mut self.refused, &other.refused);
        add(&mut self.failed, &other.failed);
        self.seconds_until_open = self.seconds_until_open.max(other.seconds_until_open);
        self.seconds_until_caught_up = self
            .seconds_until_caught_up
            .max(other.seconds_until_caught_up);
        self.connect.merge(&other.connect);
        self.caught_up_after.merge(&other.caught_up_after);
    }

    /// How many were opened in a second.
    pub fn connects_per_second(&self) -> f64 {
        per_second(self.opened, self.seconds_until_open)
    }
}

/// Adds counts by name.
pub(crate) fn add<K: Ord + Clone>(sum: &mut BTreeMap<K, u64>, other: &BTreeMap<K, u64>) {
    for (name, count) in other {
        *sum.entry(name.clone()).or_default() += count;
    }
}

fn per_second(count: u64, seconds: f64) -> f64 {
    if seconds > 0.0 {
        count as f64 / seconds
    } else {
        0.0
    }
}

#[cfg(test)]
mod tests {
    use super::{Answer, Opened, Order, Reconnected};

    #[test]
    fn orders_and_answers_are_lines() {
        let order = Order::Reconnect {
            first: 0,
            streams: 10,
            resume: true,
            until: [(0, 17), (3, 4)].into(),
            timeout_seconds: 60,
        };
        let line = serde_json::to_string(&order).unwrap();
        assert!(!line.contains('\n'));
        assert_eq!(serde_json::from_str::<Order>(&line).unwrap(), order);
        assert_eq!(
            serde_json::from_str::<Order>("\"record\"").unwrap(),
            Order::Record
        );
        let mut reconnected = Reconnected::default();
        reconnected.refused.insert(503, 2);
        reconnected.connect.record_nanoseconds(5_000_000);
        let answer = Answer::Reconnected(reconnected);
        let line = serde_json::to_string(&answer).unwrap();
        assert_eq!(serde_json::from_str::<Answer>(&line).unwrap(), answer);
    }

    #[test]
    fn what_several_processes_opened_is_added() {
        let one = Opened {
            opened: 100,
            refused: [(503, 1)].into(),
            seconds: 2.0,
            ..Opened::default()
        };
        let mut sum = Opened {
            opened: 300,
            refused: [(503, 2), (429, 1)].into(),
            seconds: 1.0,
            ..Opened::default()
        };
        sum.merge(&one);
        assert_eq!(sum.refused, [(429, 1), (503, 3)].into());
        assert!((sum.per_second() - 200.0).abs() < 1e-9);
    }
}
