//! 1: what an idle stream costs in memory, and what is left of a burst.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use anyhow::Result;
use swarm::Layout;

use super::Experiment;
use crate::bench::Bench;
use crate::cell::{Cell, Figures};
use crate::contestant::Driver;
use crate::interrupt::sleep;
use crate::measure::Kernel;
use crate::plan::{Ask, Entrant, Field, Plan, Size};
use crate::report::{Bar, Budget, Column, Plot};
use crate::stage::Stage;
use crate::statistics::{median_slope, slope};

/// What is beyond this one's kernel memory is not the socket's.
const FLOOR: &str = "floor-send";

/// Ours with nothing beside the engine.
const BATCHES: &str = "tailrace-batches";

/// Ours as it is in production.
const ROWS: &str = "tailrace-rows";

/// How much of the past Tailrace keeps here: less than the events that are published before the streams
/// are opened, so that it is full by then.
const LOG_BYTES: u64 = 32 * 1024 * 1024;

/// After this time a node has forgotten whom it has verified.
const FORGET: Duration = Duration::from_secs(75);

/// After this time a node has given back what a burst needed: it looks every ten seconds, and the burst is
/// over when a look finds none of it.
const GIVE_BACK: Duration = Duration::from_secs(25);

const MANY: &str = "100 streams per organisation";
const ALONE: &str = "one stream per organisation";

/// How many events a stream may be behind during the burst: it comes as fast as streams take it, and
/// nobody loses events because the readers share a core with the load.
const BEHIND_MAX: u64 = 50;

pub(super) struct Memory;

/// How much is opened and sent.
struct Amounts {
    step: u32,
    steps: u32,
    /// How long a server may tidy up before its memory is read.
    settle: Duration,
    /// How many events every stream gets, and how long that may take.
    burst: u64,
    burst_within: Duration,
    rest: Duration,
    /// How long streams are idle before they count as at rest.
    idle: Duration,
    /// How long a server has, once the log is full and before anybody comes.
    before: Duration,
}

impl Amounts {
    fn of(plan: &Plan) -> Self {
        let (steps, settle_ms, burst, within, rest, idle) = match plan.size {
            Size::Smoke => (3, 100, 20, 2, 0, 0),
            Size::Quick => (6, 1_000, 1_000, 20, 15, 5),
            Size::Full => (7, 1_000, 1_000, 60, 60, 5),
        };
        Self {
            step: plan.streams(2_500),
            steps,
            settle: Duration::from_millis(settle_ms),
            burst,
            burst_within: Duration::from_secs(within),
            rest: Duration::from_secs(rest),
            idle: Duration::from_secs(idle),
            before: Duration::from_millis(settle_ms),
        }
    }

    /// The same for one entrant: a node keeps for a minute whom it has verified, and ours keep for ten
    /// seconds and more what a burst needed.
    fn for_entrant(plan: &Plan, entrant: Option<Entrant>) -> Self {
        let mut amounts = Self::of(plan);
        let Some(entrant) = entrant.filter(|_| plan.size != Size::Smoke) else {
            return amounts;
        };
        if entrant.contestant.name() == ROWS {
            amounts.idle = FORGET;
        }
        if entrant.is_ours() {
            amounts.rest = amounts.rest.max(GIVE_BACK);
            amounts.before = GIVE_BACK;
        }
        amounts
    }
}

impl Experiment for Memory {
    fn number(&self) -> u32 {
        1
    }

    fn name(&self) -> &'static str {
        "memory"
    }

    fn title(&self) -> &'static str {
        "Memory per idle stream"
    }

    fn about(&self) -> &'static str {
        "Streams of distinct users are opened in steps of 2,500 up to 17,500 (quick: 15,000) and left \
         idle. User memory is the least-squares slope over the steps of what is resident of the server, but \
         for pages of files: those of the program and its libraries the kernel takes from a server that \
         rests, and they come back with the burst. Kernel \
         memory is the median step of each of the slab caches that sockets, watches and operations in \
         flight are taken from (the whole machine's, so it wants a machine that does nothing else), and \
         beyond the floor: less than that of a bare loop, which has nothing in the kernel but the \
         sockets. At rest is what it grew by from the first step to the last, each read 5 s after it was \
         opened, and 75 s for the node, which keeps for a minute whom it has verified. Then every \
         stream is sent 1,000 events, as fast as the streams take them and for at most a minute (quick: \
         20 s; the cell says who has had fewer), and after a minute's rest (quick: 15 s, for Tailrace 25) it is read \
         again: what it grew by, per stream. With a stream for each organisation there is no burst. As \
         many events were published before the first stream was opened (for Tailrace 25 s before), and \
         Tailrace's log holds 32 MiB, so that what a server keeps for those who come back is there before \
         and after."
    }

    fn cells(&self, plan: &Plan) -> Vec<Ask> {
        let amounts = Amounts::of(plan);
        let step = amounts.settle + Duration::from_millis(500);
        let filling = Duration::from_secs(2) + step * amounts.steps;
        let mut asks = Vec::new();
        for entrant in plan.entrants(Field::WithPeers, &[FLOOR]) {
            let its = Amounts::for_entrant(plan, Some(entrant));
            let filling = filling + its.idle * 2;
            // Few take a burst as fast as the engine does.
            let burst = amounts
                .burst_within
                .mul_f64(if entrant.is_ours() { 0.2 } else { 0.9 });
            asks.push(Ask::of(
                entrant,
                MANY,
                its.before + filling + burst + its.rest,
            ));
            // In the quick run without a database, which is where it is seen.
            let is_shown = plan.size == Size::Full || entrant.contestant.name() == BATCHES;
            if entrant.is_ours() && is_shown && entrant.driver == Some(Driver::Uring) {
                asks.push(Ask::of(entrant, ALONE, filling));
            }
        }
        asks
    }

    fn measure(&self, bench: &Bench<'_>) -> Result<Figures> {
        let amounts = Amounts::for_entrant(bench.plan, bench.ask.entrant);
        let is_many = bench.ask.variant == MANY;
        let streams = amounts.step * amounts.steps;
        let layout = Layout::Equal {
            streams_per_organisation: if is_many { 100 } else { 1 },
        };
        let mut stage =
            bench.start_with(streams, layout, |setting| setting.log_bytes = LOG_BYTES)?;
        let mut figures = Figures::default();
        if is_many {
            fill_the_log(&mut stage, &amounts, streams)?;
        }
        let first = fill(&mut stage, &amounts, &mut figures)?;
        sleep(amounts.idle)?;
        let filled = stage.sample().memory as f64;
        let more = f64::from(streams - amounts.step);
        figures.set("idle_bytes", (filled - first) / more);
        // With an organisation for each stream that would be millions of events.
        if is_many {
            burst(&mut stage, &amounts, streams, &mut figures)?;
            sleep(amounts.rest)?;
            let grown = stage.sample().memory as f64 - filled;
            figures.set("grown_bytes", grown / f64::from(streams));
        }
        stage.running.check()?;
        Ok(figures)
    }

    fn derive(&self, cells: &mut [Cell]) {
        let kernel = |cell: &Cell| cell.figure("kernel_bytes");
        // The floor has no organisations, and one variant.
        let floor = cells
            .iter()
            .find(|cell| cell.key.contestant == FLOOR)
            .and_then(kernel);
        let Some(floor) = floor else { return };
        for cell in cells {
            let beyond = kernel(cell).map(|bytes| bytes - floor);
            cell.add("kernel_beyond_bytes", beyond);
        }
    }

    fn columns(&self) -> Vec<Column> {
        vec![
            Column::new("user, B", "user_bytes", 0),
            Column::new("user at rest, B", "idle_bytes", 0),
            Column::new("more after the burst, B", "grown_bytes", 0),
            Column::new("kernel, B", "kernel_bytes", 0),
            Column::new("kernel beyond the floor, B", "kernel_beyond_bytes", 0),
            Column::new("RSS at the last step, MB", "rss_bytes", 1).scaled(1e-6),
            Column::new("events in the burst", "burst_events", 0),
        ]
    }

    fn plot(&self) -> Plot {
        Plot::bars("user memory at rest, bytes per stream", "idle_bytes", 1.0)
    }

    fn budgets(&self) -> Vec<Budget> {
        let budget = |title, figure, bound| Budget {
            title,
            variant: MANY.to_owned(),
            figure,
            bar: Bar::Most(bound),
            unit: "B",
        };
        vec![
            budget("user memory per idle stream", "idle_bytes", 160.0),
            budget("… more after a burst", "grown_bytes", 64.0),
            budget(
                "kernel memory beyond the socket",
                "kernel_beyond_bytes",
                256.0,
            ),
        ]
    }
}

/// Publishes as many events as the burst will have, before anybody listens.
fn fill_the_log(stage: &mut Stage, amounts: &Amounts, streams: u32) -> Result<()> {
    let organisations: Vec<u32> = (0..stage.setting.layout.organisations(streams)).collect();
    let began = Instant::now();
    for _ in 0..amounts.burst {
        if began.elapsed() > amounts.burst_within {
            break;
        }
        stage.publish(&organisations)?;
    }
    stage.running.publisher.settle()?;
    sleep(amounts.before)
}

/// Opens the streams step by step. Returns what the process had when the first of them were at rest: what a
/// server does once, and what it freed before anybody came, makes no difference to what the others cost.
fn fill(stage: &mut Stage, amounts: &Amounts, figures: &mut Figures) -> Result<f64> {
    let mut user = Vec::new();
    let mut caches: BTreeMap<String, Vec<(f64, f64)>> = BTreeMap::new();
    let mut rss = 0.0;
    for step in 0..amounts.steps {
        stage.open(step * amounts.step, amounts.step)?;
        let settle = match step {
            0 => amounts.idle.max(amounts.settle),
            _ => amounts.settle,
        };
        sleep(settle)?;
        let sample = stage.sample();
        rss = sample.rss as f64;
        let streams = f64::from((step + 1) * amounts.step);
        user.push((streams, sample.memory as f64));
        for (cache, bytes) in Kernel::now().slab.into_iter().flatten() {
            caches
                .entry(cache)
                .or_default()
                .push((streams, bytes as f64));
        }
    }
    figures.set("user_bytes", slope(&user));
    figures.set("rss_bytes", rss);
    if caches.is_empty() {
        figures.note("only root may read the kernel's slab caches");
    } else {
        let (kernel, parts) = by_cache(&caches);
        figures.set("kernel_bytes", kernel);
        figures.note(format!("the kernel's bytes per stream: {parts}"));
    }
    let (_, first) = *user.first().expect("there are steps");
    figures.curves.insert("memory".to_owned(), user);
    Ok(first)
}

/// What a stream takes of all caches together, and in words of each of which it takes some. The median
/// is that of each cache alone: whatever else the machine did during one step touched few of them.
fn by_cache(caches: &BTreeMap<String, Vec<(f64, f64)>>) -> (f64, String) {
    const SOME: f64 = 4.0;
    let slopes = caches
        .iter()
        .filter_map(|(cache, steps)| Some((cache, median_slope(steps)?)));
    let mut slopes: Vec<(&String, f64)> = slopes.collect();
    slopes.sort_by(|left, right| right.1.total_cmp(&left.1));
    let words = |(cache, bytes): &(&String, f64)| format!("{cache} {bytes:.0}");
    let parts = slopes.iter().filter(|(_, bytes)| bytes.abs() >= SOME);
    let parts: Vec<String> = parts.map(words).collect();
    (
        slopes.iter().map(|(_, bytes)| bytes).sum(),
        parts.join(", "),
    )
}

/// Sends every stream its events.
fn burst(stage: &mut Stage, amounts: &Amounts, streams: u32, figures: &mut Figures) -> Result<()> {
    const CHECKED_EVERY: u64 = 10;
    let organisations: Vec<u32> = (0..stage.setting.layout.organisations(streams)).collect();
    stage.readers.record()?;
    let began = Instant::now();
    let mut sent = 0;
    while sent < amounts.burst && began.elapsed() < amounts.burst_within {
        stage.publish(&organisations)?;
        sent += 1;
        if sent.is_multiple_of(CHECKED_EVERY) {
            let expected = sent.saturating_sub(BEHIND_MAX) * u64::from(streams);
            while stage.readers.report()?.events < expected
                && began.elapsed() < amounts.burst_within
            {
                sleep(Duration::from_millis(2))?;
            }
        }
    }
    stage.running.publisher.settle()?;
    let (report, is_complete) = stage.drain()?;
    figures.set("burst_events", sent as f64);
    if sent < amounts.burst {
        figures.note(format!(
            "the burst ended after {sent} events, when its time was over"
        ));
    }
    if !is_complete || report.gaps > 0 {
        let expected = sent * u64::from(streams);
        let missing = expected.saturating_sub(report.events);
        figures.note(format!(
            "of {expected} deliveries in the burst {missing} did not come"
        ));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::test_cell as cell;

    #[test]
    fn what_one_step_changes_in_one_cache_makes_no_difference() {
        let steps = |bytes: [f64; 4]| -> Vec<(f64, f64)> {
            let streams = [10.0, 20.0, 30.0, 40.0];
            streams.into_iter().zip(bytes).collect()
        };
        let caches = BTreeMap::from([
            (
                "TCP".to_owned(),
                steps([23_680.0, 47_360.0, 71_040.0, 94_720.0]),
            ),
            (
                "io_kiocb".to_owned(),
                steps([2_560.0, 5_120.0, 7_680.0, 10_240.0]),
            ),
            (
                "kmalloc-64".to_owned(),
                steps([640.0, 640.0, 6_400.0, 6_400.0]),
            ),
        ]);
        let (kernel, parts) = by_cache(&caches);
        assert_eq!(kernel, 2_368.0 + 256.0);
        assert_eq!(parts, "TCP 2368, io_kiocb 256");
    }

    #[test]
    fn kernel_memory_is_beyond_the_floors() {
        let mut cells = [
            cell("ours", MANY, 1, &[("kernel_bytes", 3_000.0)]),
            cell("ours", ALONE, 1, &[("kernel_bytes", 3_010.0)]),
            cell("other", MANY, 1, &[]),
            cell(FLOOR, MANY, 1, &[("kernel_bytes", 2_800.0)]),
        ];
        Memory.derive(&mut cells);
        let beyond = cells.map(|cell| cell.figure("kernel_beyond_bytes"));
        assert_eq!(beyond, [Some(200.0), Some(210.0), None, Some(0.0)]);
    }
}
