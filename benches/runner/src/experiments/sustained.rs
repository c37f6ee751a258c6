//! 3: the highest rate of events at which 99 of 100 deliveries come within 250 ms.

use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use swarm::Layout;

use super::Experiment;
use crate::bench::Bench;
use crate::cell::Figures;
use crate::generator::Flow;
use crate::plan::{Ask, Field, Plan, Size};
use crate::report::{Axis, Bar, Budget, Column, Plot};
use crate::stage::{Loaded, Stage};

const FLOOR: &str = "floor-coalesce";
const PEER: &str = "durable-streams";

/// How many readers there are, all of one organisation.
const STREAMS: u32 = 10_000;

/// The bound on the 99th percentile.
const P99_MAX_MS: f64 = 250.0;

/// Which part of the deliveries that were due within the measured time must have come in it.
const DELIVERED_MIN: f64 = 0.97;

pub(super) struct Sustained;

impl Experiment for Sustained {
    fn number(&self) -> u32 {
        3
    }

    fn name(&self) -> &'static str {
        "sustained"
    }

    fn title(&self) -> &'static str {
        "Sustained load"
    }

    fn about(&self) -> &'static str {
        "Events of 300 B to 10,000 streams of one organisation, published at a fixed rate whatever \
         becomes of them; latencies count from when an event was due. A rate holds when the 99th \
         percentile is at most 250 ms, what was due was delivered, and no stream missed an event. \
         Short probes find the neighbourhood; then whole steps are measured, up by a tenth while \
         they hold and down while they do not, with one more between the last two. The figures are \
         those of the highest rate that held. RSS grown is per stream, against a step at an eighth of \
         it. Where the swarm's core was full and the server's was not, the cell says so: then the \
         figure is the swarm's."
    }

    fn cells(&self, plan: &Plan) -> Vec<Ask> {
        let step = plan.warm_up + plan.measured + Duration::from_millis(600);
        let probes = match plan.size {
            Size::Smoke => Duration::from_secs(4),
            Size::Quick | Size::Full => Duration::from_secs(30),
        };
        let entrants = plan.entrants(Field::WithPeers, &[FLOOR]).into_iter();
        entrants
            .map(|entrant| Ask::of(entrant, "", probes + step.mul_f64(4.5)))
            .collect()
    }

    fn measure(&self, bench: &Bench<'_>) -> Result<Figures> {
        measure(bench, 1)
    }

    fn columns(&self) -> Vec<Column> {
        columns()
    }

    fn plot(&self) -> Plot {
        Plot::Curves {
            curve: "p99",
            x: Axis::logarithmic("deliveries per second"),
            y: Axis::logarithmic("99th percentile of latency, ms"),
            bound: Some(P99_MAX_MS),
        }
    }

    fn budgets(&self) -> Vec<Budget> {
        let budget = |title, figure, bar| Budget {
            title,
            variant: String::new(),
            figure,
            bar,
            unit: "B",
        };
        let rate = "deliveries_per_second";
        vec![
            budget(
                "sustained deliveries at p99 ≤ 250 ms",
                rate,
                Bar::LeastTimes(0.9, FLOOR),
            ),
            budget("… beside Durable Streams", rate, Bar::LeastTimes(5.0, PEER)),
            // As much as a burst may leave behind.
            budget(
                "RSS grown per stream under load",
                "rss_grown_bytes",
                Bar::Most(64.0),
            ),
        ]
    }
}

/// The columns of this experiment, and of the one on drivers.
pub(super) fn columns() -> Vec<Column> {
    vec![
        Column::new("deliveries/s", "deliveries_per_second", 0),
        Column::new("… per second of its CPU", "deliveries_per_cpu_second", 0),
        Column::new("p50, ms", "p50_ms", 1),
        Column::new("p99, ms", "p99_ms", 1),
        Column::new("RSS per stream, B", "rss_per_stream_bytes", 0),
        Column::new("RSS grown, B", "rss_grown_bytes", 0),
        Column::new("server, cores", "server_cores", 2),
        Column::new("swarm, cores", "swarm_cores", 2),
        Column::new("beside, cores", "beside_cores", 2),
        Column::new("generator late, p99 ms", "late_ms", 1),
    ]
}

/// Searches the highest rate of the bench's contestant on so many threads.
pub(super) fn measure(bench: &Bench<'_>, threads: usize) -> Result<Figures> {
    let mut course = Course {
        bench,
        threads,
        streams: bench.plan.streams(STREAMS),
        stage: None,
        steps: Vec::new(),
    };
    let rates = Rates::of(bench.plan.size);
    let highest = rates.search(|rate, kind| course.holds(rate, kind))?;
    let Some(highest) = highest else {
        bail!(
            "not even {} events a second hold: {}",
            rates.lowest,
            course.last_in_words()
        );
    };
    course.holds(highest / 8.0, Kind::Step)?;
    course.figures(highest)
}

/// What is tried: a short probe that only finds the neighbourhood, or a whole step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Probe,
    Step,
}

/// How rates are chosen.
struct Rates {
    /// Where probes begin, and below which nothing is tried.
    first: f64,
    lowest: f64,
    /// Beyond which nothing is tried.
    highest: f64,
    /// By what probes grow, and how near to each other their last two are.
    growth: f64,
    near: f64,
    /// By what steps grow and shrink.
    step: f64,
}

impl Rates {
    fn of(size: Size) -> Self {
        let rates = Self {
            first: 4.0,
            lowest: 0.5,
            highest: 20_000.0,
            growth: 3.0,
            near: 1.2,
            step: 1.1,
        };
        match size {
            // Two steps are enough to see that searching works.
            Size::Smoke => Self {
                first: 20.0,
                highest: 40.0,
                near: 3.0,
                ..rates
            },
            Size::Quick | Size::Full => rates,
        }
    }

    /// The highest rate whose step held, while that of one not far above did not. None if none held.
    fn search(&self, mut holds: impl FnMut(f64, Kind) -> Result<bool>) -> Result<Option<f64>> {
        let (mut low, mut high) = (self.first, self.first);
        while high < self.highest && holds(high, Kind::Probe)? {
            low = high;
            high *= self.growth;
        }
        let mut high = high.min(self.highest);
        while high / low > self.near {
            let between = (low * high).sqrt();
            if holds(between, Kind::Probe)? {
                low = between;
            } else {
                high = between;
            }
        }
        let (mut held, mut failed) = (None, None);
        let mut rate = low;
        while held.is_none() || failed.is_none() {
            if holds(rate, Kind::Step)? {
                held = Some(rate);
                rate *= self.step;
                if rate > self.highest {
                    return Ok(held);
                }
            } else {
                failed = Some(rate);
                rate /= self.step;
                if rate < self.lowest {
                    return Ok(None);
                }
            }
        }
        let between = held
            .zip(failed)
            .map(|(held, failed)| (held * failed).sqrt());
        if let Some(between) = between
            && holds(between, Kind::Step)?
        {
            held = Some(between);
        }
        Ok(held)
    }
}

/// The server under rising load.
struct Course<'a> {
    bench: &'a Bench<'a>,
    threads: usize,
    streams: u32,
    /// A server that is not in trouble; none where one has to be started.
    stage: Option<Stage>,
    /// The whole steps, with their rates.
    steps: Vec<(f64, Loaded)>,
}

impl Course<'_> {
    /// Whether this rate holds.
    fn holds(&mut self, rate: f64, kind: Kind) -> Result<bool> {
        let plan = self.bench.plan;
        let (warm_up, measured) = match kind {
            Kind::Step => (plan.warm_up, plan.measured),
            Kind::Probe => {
                let short = Duration::from_secs(2);
                (plan.warm_up.min(short / 2), plan.measured.min(short))
            }
        };
        let mut stage = match self.stage.take() {
            Some(stage) => stage,
            None => self.fresh()?,
        };
        let flows = [Flow {
            per_second: rate,
            organisations: vec![0],
        }];
        let loaded = stage.load(&flows, warm_up, measured)?;
        let holds = does_hold(rate, self.streams, &loaded);
        // What a server has not delivered by now would be in the way of the next rate.
        if loaded.is_complete {
            self.stage = Some(stage);
        }
        if kind == Kind::Step {
            self.steps.push((rate, loaded));
        }
        Ok(holds)
    }

    fn fresh(&self) -> Result<Stage> {
        let layout = Layout::Equal {
            streams_per_organisation: self.streams,
        };
        let mut stage = self.bench.start_with(self.streams, layout, |setting| {
            setting.threads = self.threads
        })?;
        stage.open(0, self.streams)?;
        Ok(stage)
    }

    fn last_in_words(&self) -> String {
        let words = |(_, loaded): &(f64, Loaded)| {
            let (p99, gaps) = (loaded.latency_ms(99.0), loaded.drained.gaps);
            format!("p99 {p99:.0} ms, {gaps} events missed")
        };
        self.steps.last().map(words).unwrap_or_default()
    }

    /// The figures of the step with this rate, and the curves of all.
    fn figures(mut self, highest: f64) -> Result<Figures> {
        let streams = f64::from(self.streams);
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
        figures.set("p50_ms", best.latency_ms(50.0));
        figures.set("p99_ms", best.latency_ms(99.0));
        figures.set("rss_per_stream_bytes", best.rss as f64 / streams);
        figures.set(
            "rss_grown_bytes",
            (best.rss as f64 - lowest.rss as f64) / streams,
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
        let foreign: u64 = self
            .steps
            .iter()
            .map(|(_, loaded)| loaded.drained.foreign)
            .sum();
        if foreign > 0 {
            bail!("{foreign} events reached streams of other organisations");
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
            .insert("rss".to_owned(), curve(|loaded| loaded.rss as f64));
        Ok(figures)
    }
}

fn does_hold(rate: f64, streams: u32, loaded: &Loaded) -> bool {
    let due = rate * f64::from(streams);
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

    /// Searches for a capacity, and says what was found and what was tried.
    fn search(capacity: f64, probe_capacity: f64) -> (Option<f64>, Vec<(f64, Kind)>) {
        let mut tried = Vec::new();
        let found = Rates::of(Size::Quick).search(|rate, kind| {
            tried.push((rate, kind));
            Ok(rate
                <= if kind == Kind::Probe {
                    probe_capacity
                } else {
                    capacity
                })
        });
        (found.unwrap(), tried)
    }

    #[test]
    fn the_highest_rate_is_found_to_a_twentieth() {
        for capacity in [5.0, 6.1, 47.0, 290.0, 300.0, 3_000.0] {
            let (found, tried) = search(capacity, capacity);
            let found = found.unwrap();
            assert!(
                found <= capacity && capacity / found < 1.05,
                "{found} of {capacity}"
            );
            let steps = tried.iter().filter(|(_, kind)| *kind == Kind::Step).count();
            assert!(steps <= 5, "{steps} steps for {capacity}");
            assert!(tried.len() - steps <= 11, "{tried:?}");
        }
    }

    #[test]
    fn probes_that_mislead_cost_steps_and_no_truth() {
        for probe_capacity in [60.0, 170.0] {
            let found = search(100.0, probe_capacity).0.unwrap();
            assert!(found <= 100.0 && 100.0 / found < 1.05, "{found}");
        }
    }

    #[test]
    fn a_server_below_the_first_probe_is_measured_too() {
        let found = search(1.0, 1.0).0.unwrap();
        assert!(found <= 1.0 && 1.0 / found < 1.05, "{found}");
        assert_eq!(search(0.1, 0.1).0, None);
    }

    #[test]
    fn what_no_rate_breaks_ends_at_the_highest() {
        let (found, _) = search(1e9, 1e9);
        assert!(found.unwrap() > 15_000.0);
    }

    #[test]
    fn an_error_ends_the_search() {
        let result = Rates::of(Size::Quick).search(|_, _| bail!("it ended"));
        assert!(result.is_err());
    }
}
