//! 10: what is not there for somebody costs him nothing: neither the streams of others, nor their
//! events in the log.

use std::collections::BTreeMap;
use std::thread::sleep;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use swarm::{Latencies, Layout, Resume, Until};

use super::Experiment;
use crate::bench::Bench;
use crate::cell::{Cell, Figures};
use crate::contestant::Driver;
use crate::generator::Flow;
use crate::plan::{Ask, Field, Plan, Size};
use crate::readers::Readers;
use crate::report::{Column, Plot, number};
use crate::stage::Stage;
use crate::statistics::median;

/// Streams of each organisation, and events that each of them has missed.
const TEN: u32 = 10;

/// How many others are connected while one organisation gets its events.
const OTHERS: [u32; 3] = [0, 5_000, 17_000];

/// How many events of others are in the log when organisations come back.
const FRAMES: [u32; 3] = [0, 100_000, 1_000_000];

/// How many events a second the one organisation gets: few enough that each finds the node asleep.
const EVENTS_PER_SECOND: f64 = 100.0;

/// How many organisations of ten streams come back at once, so that there is something to measure.
const RETURNING: u32 = 200;

/// The first of the organisations whose events fill the log, and how many they are: one alone may take
/// no more than a quarter of it.
const STRANGERS: (u32, u32) = (10_000, 1_000);

/// Room for a million events.
const LOG_BYTES: u64 = 1 << 30;

/// How many events are handed over at a time when the log is filled.
const FILLED_AT_ONCE: usize = 500;

/// How long a round of coming back takes, about.
const ROUND: Duration = Duration::from_millis(400);

pub(super) struct Growth;

fn event_variant(others: u32) -> String {
    format!("an event, {} other streams", number(others.into(), 0))
}

fn resume_variant(frames: u32) -> String {
    format!("a resume, {} events of others", number(frames.into(), 0))
}

impl Experiment for Growth {
    fn number(&self) -> u32 {
        10
    }

    fn name(&self) -> &'static str {
        "growth"
    }

    fn title(&self) -> &'static str {
        "What others cost"
    }

    fn about(&self) -> &'static str {
        "*An event*: 100 a second for one organisation of ten streams, beside others that get nothing; \
         what the node takes while nothing happens is taken off, and the readers wait in epoll. *A \
         resume*: 200 organisations of ten streams come back all at once with the id of their last event, \
         and have missed ten each; the log holds events of 1,000 other organisations, and some of them lie \
         between. In the full run with both drivers an event, with io_uring and a database everything; peers \
         have no part in it. CPU is that of the whole server, for an event with its ten deliveries, or for a stream \
         that comes back and catches up. Neither may grow."
    }

    fn cells(&self, plan: &Plan) -> Vec<Ask> {
        let times = Times::of(plan);
        let event = Duration::from_secs(2) + plan.warm_up.mul_f64(1.5) + times.idle + times.loaded;
        let (warm_up, counted) = rounds(plan.size);
        // As many as it takes to fill the log, and a fiftieth of it again in every round.
        let resume = |frames: u32| {
            let filled = frames + frames / 50 * (warm_up + counted);
            Duration::from_secs(1)
                + ROUND * (warm_up + counted)
                + Duration::from_secs(u64::from(filled) / 20_000)
        };
        let mut asks = Vec::new();
        for entrant in plan.entrants(Field::Ours, &[]) {
            let is_whole = entrant.contestant.has_database();
            let is_first = entrant.driver != Some(Driver::Epoll);
            // Without others, and beside the most.
            let ends = &[OTHERS[0], OTHERS[2]][..];
            let (others, frames) = match plan.size {
                Size::Full if is_whole && is_first => (ends, &FRAMES[..]),
                Size::Full if is_first => (&OTHERS[..], &FRAMES[..]),
                // The sockets of others are the driver's matter; what is in the log is not.
                Size::Full if !is_whole => (ends, &[][..]),
                // The whole way of an event and of a resume is in the full run.
                Size::Quick | Size::Smoke if !is_whole => (ends, &FRAMES[..2]),
                Size::Full | Size::Quick | Size::Smoke => continue,
            };
            let others = others.iter();
            asks.extend(others.map(|others| Ask::of(entrant, event_variant(*others), event)));
            let frames = frames.iter();
            asks.extend(
                frames.map(|frames| Ask::of(entrant, resume_variant(*frames), resume(*frames))),
            );
        }
        asks
    }

    fn measure(&self, bench: &Bench<'_>) -> Result<Figures> {
        let variant = &bench.ask.variant;
        if let Some(others) = OTHERS
            .iter()
            .find(|others| event_variant(**others) == *variant)
        {
            return event_beside(bench, bench.plan.streams(*others) * u32::from(*others > 0));
        }
        let frames = FRAMES
            .iter()
            .find(|frames| resume_variant(**frames) == *variant);
        let frames = *frames.context("no such variant")?;
        resume_behind(bench, bench.plan.streams(frames) * u32::from(frames > 0))
    }

    /// How much it has grown since there was nobody else.
    fn derive(&self, cells: &mut [Cell]) {
        for variants in [OTHERS.map(event_variant), FRAMES.map(resume_variant)] {
            for (figure, times) in [("cpu_us", "times_cpu"), ("p50_ms", "times_p50")] {
                // By contestant, without anybody else.
                let is_first = |cell: &&Cell| cell.key.variant == variants[0];
                let alone: BTreeMap<String, f64> = cells
                    .iter()
                    .filter(is_first)
                    .filter_map(|cell| Some((cell.key.contestant.clone(), cell.figure(figure)?)))
                    .collect();
                for cell in cells
                    .iter_mut()
                    .filter(|cell| variants.contains(&cell.key.variant))
                {
                    let alone = alone.get(&cell.key.contestant);
                    let ratio = cell.figure(figure).zip(alone).map(|(it, alone)| it / alone);
                    cell.add(times, ratio);
                }
            }
        }
    }

    fn columns(&self) -> Vec<Column> {
        vec![
            Column::new("CPU, µs", "cpu_us", 1),
            Column::new("× alone", "times_cpu", 2),
            Column::new("p50, ms", "p50_ms", 3),
            Column::new("× alone", "times_p50", 2),
            Column::new("p99, ms", "p99_ms", 3),
            Column::new("idle, µs a second", "idle_us", 0),
        ]
    }

    fn plot(&self) -> Plot {
        Plot::bars("CPU, µs for an event or a resume", "cpu_us", 1.0)
    }
}

/// How long the node is watched doing nothing, and while one organisation has its events.
struct Times {
    idle: Duration,
    loaded: Duration,
}

impl Times {
    fn of(plan: &Plan) -> Self {
        match plan.size {
            // Together as long as a cell.
            Size::Full => Self {
                idle: plan.measured / 4,
                loaded: plan.measured * 3 / 4,
            },
            Size::Quick | Size::Smoke => Self {
                idle: plan.measured / 2,
                loaded: plan.measured,
            },
        }
    }
}

/// How often streams come back before it counts, and how often it does.
fn rounds(size: Size) -> (u32, u32) {
    match size {
        Size::Smoke => (1, 2),
        Size::Quick => (2, 10),
        Size::Full => (2, 30),
    }
}

/// The cost of an event for ten, while so many others are connected.
fn event_beside(bench: &Bench<'_>, others: u32) -> Result<Figures> {
    let layout = Layout::Equal {
        streams_per_organisation: TEN,
    };
    let mut stage = bench.start(TEN + others, layout)?;
    // One event at a time wakes its readers.
    stage.running.target.tick_microseconds = 0;
    stage.readers = Readers::start(
        &stage.running.target,
        TEN + others,
        &stage.setting.cores.load,
    )?;
    stage.open(0, TEN + others)?;
    sleep(bench.plan.warm_up / 2);
    let before = stage.sample();
    let times = Times::of(bench.plan);
    sleep(times.idle);
    let idle = stage.sample().since(&before).cores();
    let flows = [Flow {
        per_second: EVENTS_PER_SECOND,
        organisations: vec![0],
    }];
    let loaded = stage.load(&flows, bench.plan.warm_up, times.loaded)?;
    if !loaded.is_complete {
        bail!("not every event arrived");
    }
    let events = loaded.report.events as f64 / f64::from(TEN);
    let cpu = loaded.server.cpu - idle * loaded.server.seconds;
    let mut figures = Figures::default();
    figures.set("cpu_us", cpu * 1e6 / events);
    figures.set("idle_us", idle * 1e6);
    figures.set("p50_ms", loaded.latency_ms(50.0));
    figures.set("p99_ms", loaded.latency_ms(99.0));
    figures.set("events", events);
    Ok(figures)
}

/// The cost of coming back to ten missed events, with so many of others in the log.
fn resume_behind(bench: &Bench<'_>, frames: u32) -> Result<Figures> {
    let organisations = bench.plan.streams(RETURNING);
    let streams = organisations * TEN;
    let layout = Layout::Equal {
        streams_per_organisation: TEN,
    };
    // One organisation more, whose stream stays and sees when the server has read everything.
    let mut stage = bench.start_with(streams + TEN, layout, |setting| {
        setting.log_bytes = LOG_BYTES
    })?;
    if stage.running.target.resume == Resume::Never {
        bail!("no resume");
    }
    stage.open(0, streams + TEN)?;
    let mut log = Log {
        filled: 0,
        witness: organisations,
    };
    log.fill(&mut stage, frames)?;
    let returning: Vec<u32> = (0..organisations).collect();
    // An event before the first round, after which its streams know where they are.
    stage.publish(&returning)?;
    stage.drain()?;
    let (warm_up, counted) = rounds(bench.plan.size);
    let (mut cpu_us, mut caught_up) = (Vec::new(), Latencies::default());
    for round in 0..warm_up + counted {
        stage.readers.drop_streams(0, streams)?;
        for _ in 0..TEN {
            stage.publish(&returning)?;
        }
        // Some lie between where they were and where the log ends.
        log.fill(&mut stage, frames / 50)?;
        let newest = |organisation: &u32| (*organisation, stage.sequences.newest(*organisation));
        let until: Until = returning.iter().map(newest).collect();
        let before = stage.sample();
        let came = stage.readers.reconnect(0, streams, true, &until, 60)?;
        sleep(Duration::from_millis(50));
        let used = stage.sample().since(&before);
        if came.caught_up < came.streams {
            bail!("{} of {} streams caught up", came.caught_up, came.streams);
        }
        if round >= warm_up {
            cpu_us.push(used.cpu * 1e6 / f64::from(streams));
            caught_up.merge(&came.caught_up_after);
        }
    }
    stage.running.check()?;
    let report = stage.readers.report()?;
    if report.gaps > 0 {
        bail!("{} events were lost", report.gaps);
    }
    let mut figures = Figures::default();
    figures.set_some("cpu_us", median(&cpu_us));
    figures.set("p50_ms", caught_up.percentile_milliseconds(50.0));
    figures.set("p99_ms", caught_up.percentile_milliseconds(99.0));
    figures.set("in_log", f64::from(log.filled));
    Ok(figures)
}

/// The events of others.
struct Log {
    filled: u32,
    /// The organisation whose stream sees how far the server has read.
    witness: u32,
}

impl Log {
    /// Adds so many, and waits until the server has taken them and all before them.
    fn fill(&mut self, stage: &mut Stage, frames: u32) -> Result<()> {
        let (first, count) = STRANGERS;
        let mut organisations = (self.filled..self.filled + frames).map(|at| first + at % count);
        loop {
            let some: Vec<u32> = organisations.by_ref().take(FILLED_AT_ONCE).collect();
            if some.is_empty() {
                break;
            }
            stage.publish(&some)?;
        }
        self.filled += frames;
        stage.catch_up(self.witness)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::test_cell;

    fn cell(variant: String, cpu_us: f64) -> Cell {
        test_cell("tailrace-batches", &variant, 1, &[("cpu_us", cpu_us)])
    }

    #[test]
    fn growth_is_told_by_the_cell_in_which_nobody_else_was() {
        let mut cells = [
            cell(event_variant(17_000), 44.0),
            cell(event_variant(0), 40.0),
            cell(resume_variant(100_000), 90.0),
        ];
        Growth.derive(&mut cells);
        assert_eq!(cells[0].figure("times_cpu"), Some(1.1));
        assert_eq!(cells[1].figure("times_cpu"), Some(1.0));
        assert_eq!(
            cells[2].figure("times_cpu"),
            None,
            "there is nothing to tell it by"
        );
    }

    #[test]
    fn every_variant_is_its_own() {
        let names: Vec<String> = OTHERS
            .map(event_variant)
            .into_iter()
            .chain(FRAMES.map(resume_variant))
            .collect();
        assert_eq!(names[1], "an event, 5,000 other streams");
        assert_eq!(names[5], "a resume, 1,000,000 events of others");
    }
}
