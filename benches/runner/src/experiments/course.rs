//! A server under rising load: one rate after the other is tried, and it is said whether it holds and
//! what was seen. Which rates are tried is in `rates`; whose streams they are is the experiment's matter.

use std::io::ErrorKind;
use std::ops::Range;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use swarm::{Layout, Report};

use super::rates::{Kind, Rates};
use crate::bench::Bench;
use crate::cell::Figures;
use crate::generator::Flow;
use crate::plan::{Plan, Size};
use crate::profile::Profile;
use crate::report::{Axis, Plot};
use crate::stage::{Loaded, Stage};

/// The bound on the 99th percentile.
const P99_MAX_MS: f64 = 250.0;

/// How much of the past Tailrace keeps here, the least that it can be configured with, and how many
/// events are published before the streams are opened: they fill it, so that what memory grows by under
/// load is not history.
const LOG_BYTES: u64 = 16 * 1024 * 1024;
const EVENTS_BEFORE: usize = 60_000;

/// Which part of the deliveries that were due within the measured time must have come in it.
const DELIVERED_MIN: f64 = 0.97;

/// Whose streams are open, and whose events are published.
#[derive(Clone, Debug)]
pub(super) struct Crowd {
    pub(super) streams: u32,
    pub(super) layout: Layout,
    /// The organisations that have an event in turn.
    pub(super) organisations: Range<u32>,
}

impl Crowd {
    /// So many streams of one organisation.
    pub(super) fn of_one(streams: u32) -> Self {
        let layout = Layout::Equal {
            streams_per_organisation: streams,
        };
        Self {
            streams,
            layout,
            organisations: 0..1,
        }
    }

    /// How many streams an event is for, in the mean.
    fn readers(&self) -> f64 {
        let sizes = self.organisations.clone().map(|it| self.layout.size(it));
        f64::from(sizes.sum::<u32>()) / self.organisations.len() as f64
    }

    /// So many events a second.
    pub(super) fn flow(&self, per_second: f64) -> Flow {
        Flow {
            per_second,
            organisations: self.organisations.clone().collect(),
        }
    }
}

/// The plot of a search: latency over load, of all whole steps.
pub(super) fn plot() -> Plot {
    Plot::Curves {
        curve: "p99",
        x: Axis::logarithmic("deliveries per second"),
        y: Axis::logarithmic("99th percentile of latency, ms"),
        bound: Some(P99_MAX_MS),
    }
}

/// How long a search takes, about.
pub(super) fn estimate(plan: &Plan) -> Duration {
    let (drained, (warm_up, measured)) = (Duration::from_millis(600), first(plan));
    let whole = plan.warm_up + step(plan) + drained;
    // The full run tries those again that do not hold.
    let steps = if plan.size == Size::Full { 6.5 } else { 4.5 };
    estimate_of_probes(plan) + warm_up + measured + drained + whole.mul_f64(steps)
}

/// How long a whole step is measured. A search has at least four with the first: in the full run they
/// add up to the time of a cell.
fn step(plan: &Plan) -> Duration {
    plan.measured_of(4)
}

/// How long the first step warms up and is measured, at a low rate. In the quick run others are the
/// cell's measurement, and this only shows what memory and latency are without a load.
fn first(plan: &Plan) -> (Duration, Duration) {
    match plan.size {
        Size::Full => (plan.warm_up, step(plan)),
        Size::Quick | Size::Smoke => (plan.warm_up / 5, plan.measured * 2 / 5),
    }
}

/// How long a rate is tried before it is measured, and how long it is.
fn times(plan: &Plan, kind: Kind) -> (Duration, Duration) {
    match kind {
        Kind::First => first(plan),
        Kind::Step => (plan.warm_up, step(plan)),
        Kind::Probe => {
            let short = Duration::from_secs(2);
            (plan.warm_up.min(short / 2), plan.measured.min(short))
        }
    }
}

/// How long its probes take, about.
pub(super) fn estimate_of_probes(plan: &Plan) -> Duration {
    match plan.size {
        Size::Smoke => Duration::from_secs(4),
        Size::Quick | Size::Full => Duration::from_secs(45),
    }
}

/// A server under rising load.
pub(super) struct Course<'a> {
    bench: &'a Bench<'a>,
    threads: usize,
    crowd: Crowd,
    /// A server that is not in trouble; none where one has to be started.
    stage: Option<Stage>,
    /// The whole steps, with their rates.
    steps: Vec<(f64, Loaded)>,
}

impl<'a> Course<'a> {
    /// A course of the bench's contestant on so many threads.
    pub(super) fn new(bench: &'a Bench<'a>, threads: usize, crowd: Crowd) -> Self {
        Self {
            bench,
            threads,
            crowd,
            stage: None,
            steps: Vec::new(),
        }
    }

    /// Measures at a low rate, then searches the highest.
    pub(super) fn run(mut self, rates: &Rates) -> Result<Figures> {
        // First, since memory that a server took under load it seldom gives back.
        self.holds(rates.first / 4.0, Kind::First)?;
        let highest = rates.search(|rate, kind| self.holds(rate, kind))?;
        let Some(highest) = highest else {
            bail!(
                "not even {} events a second hold: {}",
                rates.lowest,
                self.last_in_words()
            );
        };
        self.figures(highest)
    }

    /// About the highest rate, by probes alone; and the server, not in trouble.
    pub(super) fn neighbourhood(mut self, rates: &Rates) -> Result<(f64, Stage)> {
        let rate = rates.neighbourhood(|rate, kind| self.holds(rate, kind))?;
        let Some(rate) = rate else {
            bail!("not even {} events a second hold", rates.lowest);
        };
        let stage = self.stage.take();
        Ok((rate, stage.map_or_else(|| self.fresh(rate), Ok)?))
    }

    /// Whether this rate holds.
    fn holds(&mut self, rate: f64, kind: Kind) -> Result<bool> {
        let (warm_up, measured) = times(self.bench.plan, kind);
        let mut stage = match self.stage.take() {
            Some(stage) => stage,
            None => self.fresh(rate)?,
        };
        let profile = self.profile(&stage, rate, kind)?;
        let loaded = stage.load(&[self.crowd.flow(rate)], warm_up, measured);
        profile.map_or(Ok(()), Profile::end)?;
        let loaded = match loaded {
            Ok(loaded) => loaded,
            // It is far behind, and the next rate gets a fresh one.
            Err(error) if takes_no_more(&error) => return Ok(false),
            Err(error) => return Err(error),
        };
        let keeps_all = self.keeps_all(&stage, &loaded);
        let holds = keeps_all && does_hold(rate * self.crowd.readers(), &loaded);
        // What a server has not delivered by now would be in the way of the next rate, and streams that it ended
        // are missing there.
        if keeps_all && loaded.is_complete {
            self.stage = Some(stage);
        }
        if kind != Kind::Probe {
            self.steps.push((rate, loaded));
        }
        Ok(holds)
    }

    /// Whether the server has ended no stream for good.
    fn keeps_all(&self, stage: &Stage, loaded: &Loaded) -> bool {
        stage.running.target.reopens || loaded.drained.streams_open == u64::from(self.crowd.streams)
    }

    /// A new server with all its streams, through which some of this rate has gone: sockets that
    /// carried nothing yet have the smallest windows, and a rate that holds on others is too much for them. Whoever
    /// comes to it from a lower one has such sockets.
    fn fresh(&self, rate: f64) -> Result<Stage> {
        const SOME: f64 = 0.25;
        const FOR_SO_LONG: Duration = Duration::from_secs(2);
        let Crowd {
            streams, layout, ..
        } = self.crowd;
        let threads = self.threads;
        let mut stage = self.bench.start_with(streams, layout, |setting| {
            setting.threads = threads;
            setting.log_bytes = LOG_BYTES;
        })?;
        let organisations = self.crowd.organisations.clone();
        let before: Vec<u32> = organisations.cycle().take(EVENTS_BEFORE).collect();
        stage.open_after(&before, streams)?;
        match stage.load(&[self.crowd.flow(rate * SOME)], Duration::ZERO, FOR_SO_LONG) {
            // A server that takes no more of it will not hold the whole rate either.
            Err(error) if !takes_no_more(&error) => Err(error),
            _ => Ok(stage),
        }
    }

    /// Begins the profile of a whole step where profiles are wanted: `tailrace-rows-uring-1170-1.txt` says
    /// whose it is, at how many events a second, and which of the steps.
    fn profile(&self, stage: &Stage, rate: f64, kind: Kind) -> Result<Option<Profile>> {
        let Bench { plan, ask, .. } = self.bench;
        let directory = plan.profiles.as_ref().filter(|_| kind == Kind::Step);
        let begin = |directory: &PathBuf| {
            let label = ask.label.replace(", ", "-");
            let name = format!("{label}-{rate:.0}-{}.txt", self.steps.len());
            let (warm_up, measured) = times(plan, kind);
            Profile::begin(
                &directory.join(name),
                &stage.setting.cores,
                warm_up,
                measured,
            )
        };
        directory.map(begin).transpose()
    }

    fn last_in_words(&self) -> String {
        let words = |(_, loaded): &(f64, Loaded)| {
            let (p99, per_second) = (loaded.latency_ms(99.0), loaded.deliveries_per_second());
            let Report {
                gaps, streams_open, ..
            } = loaded.drained;
            format!(
                "p99 {p99:.0} ms, {per_second:.0} deliveries a second, {gaps} events missed, \
                 {streams_open} streams open"
            )
        };
        self.steps.last().map(words).unwrap_or_default()
    }

    /// The figures of the step with this rate, and the curves of all.
    fn figures(mut self, highest: f64) -> Result<Figures> {
        let streams = f64::from(self.crowd.streams);
        self.steps.sort_by(|left, right| left.0.total_cmp(&right.0));
        let place = self.steps.iter().rposition(|(rate, _)| *rate == highest);
        let place = place.context("the highest rate was a step")?;
        let (rate, best) = &self.steps[place];
        let lowest = &self.steps[0].1;
        let mut figures = Figures::default();
        figures.set("events_per_second", *rate);
        figures.set("deliveries_per_second", best.deliveries_per_second());
        figures.set(
            "deliveries_per_cpu_second",
            best.report.events as f64 / best.server.cpu,
        );
        figures.set("cpu_us", best.cpu_us());
        figures.set("system_percent", best.server.system_share * 100.0);
        figures.set("p50_ms", best.latency_ms(50.0));
        figures.set("p99_ms", best.latency_ms(99.0));
        figures.set("rss_per_stream_bytes", best.rss as f64 / streams);
        figures.set(
            "memory_grown_bytes",
            (best.memory as f64 - lowest.memory as f64) / streams,
        );
        figures.set("server_cores", best.server.cores());
        figures.set("swarm_cores", best.swarm.cores());
        if best.beside.cpu > 0.0 {
            figures.set("beside_cores", best.beside.cores());
        }
        figures.set("late_ms", best.generated.late.percentile_milliseconds(99.0));
        figures.set("block_bytes", best.block_bytes());
        figures.set(
            "coalesced",
            best.report.events as f64 / best.report.reads as f64,
        );
        figures.note(format!(
            "busiest threads, in cores: {}",
            best.server.threads_in_words()
        ));
        if let Some((_, above)) = self.steps.get(place + 1) {
            figures
                .notes
                .extend(limited_by_the_swarm(above, self.threads));
        } else {
            figures.note("no higher rate was tried");
        }
        let lost: u64 = self
            .steps
            .iter()
            .map(|(_, loaded)| loaded.drained.gaps)
            .sum();
        if lost > 0 {
            figures.note(format!("{lost} deliveries were lost over all steps"));
        }
        let curve = |value: fn(&Loaded) -> f64| {
            let point =
                |(_, loaded): &(f64, Loaded)| (loaded.deliveries_per_second(), value(loaded));
            self.steps.iter().map(point).collect()
        };
        figures
            .curves
            .insert("p99".to_owned(), curve(|loaded| loaded.latency_ms(99.0)));
        figures
            .curves
            .insert("p50".to_owned(), curve(|loaded| loaded.latency_ms(50.0)));
        figures
            .curves
            .insert("memory".to_owned(), curve(|loaded| loaded.memory as f64));
        Ok(figures)
    }
}

/// Whether the load failed because the server took no event for a long time.
fn takes_no_more(error: &anyhow::Error) -> bool {
    let io = error.downcast_ref::<std::io::Error>();
    io.is_some_and(|error| error.kind() == ErrorKind::TimedOut)
}

/// Whether so many deliveries a second came in time.
fn does_hold(due: f64, loaded: &Loaded) -> bool {
    loaded.latency_ms(99.0) <= P99_MAX_MS
        && loaded.deliveries_per_second() >= DELIVERED_MIN * due
        && loaded.is_complete
        && loaded.drained.gaps == 0
}

/// What is to be said where a rate failed because the readers had no time left, not the server.
fn limited_by_the_swarm(failed: &Loaded, threads: usize) -> Option<String> {
    const FULL: f64 = 0.9;
    let (server, swarm) = (failed.server.cores(), failed.swarm.cores());
    let is_limit = swarm + failed.beside.cores() >= FULL && server < FULL * threads as f64;
    is_limit.then(|| {
        format!(
            "limited by the load's core: at the rate that failed the server used {server:.2} cores, \
             the swarm {swarm:.2} and what is beside the server {:.2}",
            failed.beside.cores()
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_server_that_takes_nothing_fails_a_rate_instead_of_the_cell() {
        let failed = |kind: ErrorKind| {
            let failed = Err::<(), _>(std::io::Error::from(kind));
            failed.context("publishing at a fixed rate").unwrap_err()
        };
        assert!(takes_no_more(&failed(ErrorKind::TimedOut)));
        assert!(!takes_no_more(&failed(ErrorKind::ConnectionReset)));
        assert!(!takes_no_more(&anyhow::anyhow!("the swarm has ended")));
    }

    #[test]
    fn an_event_is_for_the_mean_of_the_sizes() {
        assert_eq!(Crowd::of_one(10_000).readers(), 10_000.0);
        let spread = Crowd {
            streams: 110,
            layout: Layout::Spread { organisations: 20 },
            organisations: 0..20,
        };
        assert_eq!(spread.readers(), 5.5);
        assert_eq!(spread.flow(7.0).organisations.len(), 20);
    }
}
