//! The swarm from the runner's side: as many of its processes as the streams need, told and asked as
//! if they were one.

use std::collections::BTreeMap;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use swarm::{Answer, Opened, Order, Reconnected, Report, Target, Until};

use crate::process::{Process, executable};

/// How many streams one process holds: it may open 20,000 descriptors where nothing was raised.
const STREAMS_MAX: u32 = 18_000;

/// From how many addresses streams are opened. Each has some 28,000 ports, and a port rests for a minute
/// after its stream: one address alone would be used up by two cells.
const SOURCES: u8 = 32;

/// How long an order may take, beyond what it says itself.
const ANSWER_WITHIN: Duration = Duration::from_secs(120);

/// The swarm of one server.
pub(crate) struct Readers(Vec<Process>);

/// A range of streams in one process: its place, the first stream and how many.
type Part = (usize, u32, u32);

impl Readers {
    /// Starts what so many streams need; none is opened yet.
    pub(crate) fn start(target: &Target, streams: u32, cores: &[usize]) -> Result<Self> {
        let mut target = target.clone();
        if target.sources.is_empty() {
            target.sources = swarm::sources(SOURCES);
        }
        let target = serde_json::to_string(&target).context("a target is JSON")?;
        let program = executable("swarm")?;
        let start = |_| {
            let mut process = Process::start(Command::new(&program), cores)?;
            process.tell(&target)?;
            Ok(process)
        };
        Ok(Self(
            (0..streams.div_ceil(STREAMS_MAX).max(1))
                .map(start)
                .collect::<Result<_>>()?,
        ))
    }

    /// No swarm at all.
    pub(crate) fn none() -> Self {
        Self(Vec::new())
    }

    /// Opens streams, as fast as the server answers where `per_second` is zero. An error unless every
    /// one is open.
    pub(crate) fn open(&mut self, first: u32, streams: u32, per_second: u32) -> Result<Opened> {
        let parts = self.parts(first, streams);
        let processes = u32::try_from(parts.len()).expect("few processes");
        let order = |first, streams| Order::Open {
            first,
            streams,
            per_second: per_second.div_ceil(processes),
            stalled: false,
        };
        let mut sum = Opened::default();
        for answer in self.tell(&parts, order, ANSWER_WITHIN)? {
            match answer {
                Answer::Opened(opened) => sum.merge(&opened),
                answer => return unexpected(&answer),
            }
        }
        if sum.opened != u64::from(streams) {
            let (refused, failed) = (counts(&sum.refused), counts(&sum.failed));
            bail!(
                "{} of {streams} streams opened; refused: {refused}; failed: {failed}",
                sum.opened
            );
        }
        Ok(sum)
    }

    /// Drops streams all at once and brings them back; the answer says whether all came.
    pub(crate) fn reconnect(
        &mut self,
        first: u32,
        streams: u32,
        resume: bool,
        until: &Until,
        timeout_seconds: u32,
    ) -> Result<Reconnected> {
        let order = |first, streams| Order::Reconnect {
            first,
            streams,
            resume,
            until: until.clone(),
            timeout_seconds,
        };
        let within = ANSWER_WITHIN + Duration::from_secs(timeout_seconds.into());
        let mut sum = Reconnected::default();
        for answer in self.tell(&self.parts(first, streams), order, within)? {
            match answer {
                Answer::Reconnected(reconnected) => sum.merge(&reconnected),
                answer => return unexpected(&answer),
            }
        }
        Ok(sum)
    }

    /// Makes streams stop reading.
    pub(crate) fn stall(&mut self, first: u32, streams: u32) -> Result<()> {
        let order = |first, streams| Order::Stall { first, streams };
        self.carry_out(&self.parts(first, streams), order)
    }

    /// Drops streams.
    pub(crate) fn drop_streams(&mut self, first: u32, streams: u32) -> Result<()> {
        let order = |first, streams| Order::Drop { first, streams };
        self.carry_out(&self.parts(first, streams), order)
    }

    /// Forgets what was counted.
    pub(crate) fn record(&mut self) -> Result<()> {
        self.carry_out(&self.everything(), |_, _| Order::Record)
    }

    /// What was counted since. An error where an event reached a stream of another organisation: whatever
    /// else such a server does is not worth measuring.
    pub(crate) fn report(&mut self) -> Result<Report> {
        let mut sum = Report::default();
        for answer in self.tell(&self.everything(), |_, _| Order::Report, ANSWER_WITHIN)? {
            match answer {
                Answer::Report(report) => sum.merge(&report),
                answer => return unexpected(&answer),
            }
        }
        isolated(sum)
    }

    /// The numbers of its processes.
    pub(crate) fn ids(&self) -> Vec<u32> {
        self.0.iter().map(Process::id).collect()
    }

    fn everything(&self) -> Vec<Part> {
        (0..self.0.len()).map(|place| (place, 0, 0)).collect()
    }

    /// Which processes hold these streams.
    fn parts(&self, first: u32, streams: u32) -> Vec<Part> {
        parts(self.0.len(), first, streams)
    }

    fn carry_out(&mut self, parts: &[Part], order: impl Fn(u32, u32) -> Order) -> Result<()> {
        for answer in self.tell(parts, order, ANSWER_WITHIN)? {
            if answer != Answer::Done {
                return unexpected(&answer);
            }
        }
        Ok(())
    }

    /// Tells each part its order, and then reads the answers: they work at the same time.
    fn tell(
        &mut self,
        parts: &[Part],
        order: impl Fn(u32, u32) -> Order,
        within: Duration,
    ) -> Result<Vec<Answer>> {
        for &(place, first, streams) in parts {
            let line = serde_json::to_string(&order(first, streams)).context("an order is JSON")?;
            self.0[place].tell(&line)?;
        }
        let mut answers = Vec::with_capacity(parts.len());
        for &(place, ..) in parts {
            let line = self.0[place].line(within)?;
            let answer = serde_json::from_str(&line)
                .with_context(|| format!("the swarm answered {line:?}"))?;
            if let Answer::Failed(reason) = answer {
                bail!("the swarm: {reason}");
            }
            answers.push(answer);
        }
        Ok(answers)
    }
}

/// The report, unless an event went where it should not have.
fn isolated(report: Report) -> Result<Report> {
    if report.foreign > 0 {
        bail!(
            "{} events reached streams of other organisations",
            report.foreign
        );
    }
    Ok(report)
}

/// Divides a range of streams by the process that holds them.
fn parts(processes: usize, first: u32, streams: u32) -> Vec<Part> {
    let part = |place: usize| {
        let start = u32::try_from(place).expect("few processes") * STREAMS_MAX;
        // The last process has whatever is left.
        let end = if place + 1 == processes {
            u32::MAX
        } else {
            start + STREAMS_MAX
        };
        let (from, to) = (first.max(start), (first + streams).min(end));
        (from < to).then(|| (place, from, to - from))
    };
    (0..processes).filter_map(part).collect()
}

fn unexpected<T>(answer: &Answer) -> Result<T> {
    bail!("the swarm answered something else: {answer:?}")
}

/// `503 4 times`, or `none`.
fn counts<K: std::fmt::Display>(counts: &BTreeMap<K, u64>) -> String {
    if counts.is_empty() {
        return "none".to_owned();
    }
    let words: Vec<String> = counts
        .iter()
        .map(|(what, count)| format!("{what} {count} times"))
        .collect();
    words.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_range_is_divided_by_the_process_that_holds_it() {
        assert_eq!(parts(1, 0, 10_000), [(0, 0, 10_000)]);
        assert_eq!(
            parts(2, 17_000, 3_000),
            [(0, 17_000, 1_000), (1, 18_000, 2_000)]
        );
        assert_eq!(parts(2, 18_000, 5), [(1, 18_000, 5)]);
        assert_eq!(parts(3, 0, 0), []);
    }

    #[test]
    fn one_event_of_another_organisation_is_the_end_of_a_cell() {
        let mut report = Report {
            events: 1_000,
            ..Report::default()
        };
        assert!(isolated(report.clone()).is_ok());
        report.foreign = 1;
        let error = isolated(report).unwrap_err().to_string();
        assert!(error.starts_with("1 events reached streams"), "{error}");
    }
}
