//! 7: what those who read notice of those who do not, and what these cost.

use std::time::{Duration, Instant};

use anyhow::Result;

use super::Experiment;
use super::course::Crowd;
use crate::bench::Bench;
use crate::cell::Figures;
use crate::measure::{Kernel, open_files};
use crate::metrics::Metrics;
use crate::plan::{Ask, Field, Plan, Size};
use crate::report::{Column, Plot};
use crate::stage::Loaded;

const FLOOR: &str = "floor-coalesce";

const STREAMS: u32 = 10_000;

/// How many of a hundred stop reading.
const SLOW_PERCENT: u32 = 1;

/// Events of this size, and so many a second, fill the buffers of a socket within seconds, and leave
/// the server half of its core.
const BLOCK_BYTES: usize = 4 * 1024;
const PER_SECOND: f64 = 5.0;

/// How long the buffers of those who do not read are given to fill, how long they are then watched, and
/// when after their last read nobody waits any longer for their end: Tailrace closes who has taken
/// nothing for 30 s.
const FILL: Duration = Duration::from_secs(10);
const WATCH: Duration = Duration::from_secs(12);
const UNTIL: Duration = Duration::from_secs(48);

const MIB: f64 = 1024.0 * 1024.0;

pub(super) struct Slow;

impl Experiment for Slow {
    fn number(&self) -> u32 {
        7
    }

    fn name(&self) -> &'static str {
        "slow"
    }

    fn title(&self) -> &'static str {
        "One of a hundred never reads"
    }

    fn about(&self) -> &'static str {
        "10,000 streams of one organisation and 5 events of 4 KiB a second. First all of them read; \
         then 100 stop, and go on not reading. When their buffers have had 10 s to fill, the others' \
         99th percentile and what memory the server and the kernel have taken since are measured; \
         the kernel's is that of both ends, since readers and server share a machine. 48 s after they \
         stopped, it is counted how many of their connections the server has given up. In the full run the \
         peers of the quick one take part, once: they do this each in their own way. The node with its \
         database has one driver there: slow readers are the engine's matter."
    }

    fn cells(&self, plan: &Plan) -> Vec<Ask> {
        let times = Times::of(plan.size);
        let estimate = Duration::from_secs(4) + plan.warm_up + before(plan) + times.until;
        plan.asks(Field::EngineAndSomePeers, &[FLOOR], estimate)
    }

    fn measure(&self, bench: &Bench<'_>) -> Result<Figures> {
        let plan = bench.plan;
        let times = Times::of(plan.size);
        let crowd = Crowd::of_one(plan.streams(STREAMS));
        let slow = (crowd.streams * SLOW_PERCENT / 100).max(1);
        let flows = [crowd.flow(PER_SECOND)];
        let mut stage = bench.start_with(crowd.streams, crowd.layout, |setting| {
            setting.block_bytes = BLOCK_BYTES
        })?;
        stage.open(0, crowd.streams)?;
        let all = stage.load(&flows, plan.warm_up, before(plan))?;
        let (kernel, files) = (Kernel::now(), open_files(&stage.running.server_ids()));
        let metrics = Metrics::of(&stage.running)?;

        let stopped = Instant::now();
        stage.readers.stall(crowd.streams - slow, slow)?;
        let watched = stage.load(&flows, times.fill, times.watch)?;
        let kernel_then = Kernel::now();
        let left = times.until.saturating_sub(stopped.elapsed());
        let later = stage.load(&flows, Duration::ZERO, left.max(Duration::from_secs(1)))?;
        let files_then = open_files(&stage.running.server_ids());
        let metrics_then = Metrics::of(&stage.running)?;

        let mut figures = Figures::default();
        let slow = f64::from(slow);
        for (name, loaded) in [("all", &all), ("watched", &watched), ("later", &later)] {
            add(&mut figures, name, loaded);
        }
        figures.set("rss_mib", all.rss as f64 / MIB);
        figures.set("rss_grown_mib", grown(all.rss, watched.rss) / MIB);
        let buffers = grown(kernel.socket_buffers, kernel_then.socket_buffers);
        figures.set("kernel_grown_mib", buffers / MIB);
        figures.set("kernel_per_slow_kib", buffers / slow / 1024.0);
        figures.set("given_up", files as f64 - files_then as f64);
        let too_slow = metrics.zip(metrics_then).and_then(|(before, after)| {
            let closed = "tailrace_streams_closed_total{reason=\"too_slow\"}";
            after.grown(&before, closed)
        });
        figures.set_some("too_slow", too_slow);
        Ok(figures)
    }

    fn columns(&self) -> Vec<Column> {
        vec![
            Column::new("all read, p99 ms", "all_p99_ms", 1),
            Column::new("1 % do not, others' p99 ms", "watched_p99_ms", 1),
            Column::new("while they are closed, p99 ms", "later_p99_ms", 1),
            Column::new("CPU, µs per delivery, all read", "all_cpu_us", 2),
            Column::new("… 1 % do not", "watched_cpu_us", 2),
            Column::new("RSS, MiB", "rss_mib", 1),
            Column::new("RSS grown, MiB", "rss_grown_mib", 1),
            Column::new("kernel's buffers grown, MiB", "kernel_grown_mib", 1),
            Column::new(
                "… per stream that does not read, KiB",
                "kernel_per_slow_kib",
                0,
            ),
            Column::new("given up after 48 s", "given_up", 0),
            Column::new("closed as too slow, by its metrics", "too_slow", 0),
        ]
    }

    fn plot(&self) -> Plot {
        Plot::bars(
            "99th percentile of those who read, while 1 % do not, ms",
            "watched_p99_ms",
            1.0,
        )
    }
}

/// How long everything takes after some have stopped reading.
struct Times {
    fill: Duration,
    watch: Duration,
    until: Duration,
}

impl Times {
    fn of(size: Size) -> Self {
        match size {
            // Nobody is closed so soon: this only shows that it works.
            Size::Smoke => Self {
                fill: Duration::from_secs(1),
                watch: Duration::from_secs(1),
                until: Duration::from_secs(4),
            },
            Size::Quick | Size::Full => Self {
                fill: FILL,
                watch: WATCH,
                until: UNTIL,
            },
        }
    }
}

/// How long is measured while everybody reads; what comes after is the other half of a cell.
fn before(plan: &Plan) -> Duration {
    plan.measured_of(2)
}

fn grown(before: u64, after: u64) -> f64 {
    after as f64 - before as f64
}

/// Adds what those who read saw of a load, and what it cost.
fn add(figures: &mut Figures, name: &str, loaded: &Loaded) {
    figures.set(&format!("{name}_p50_ms"), loaded.latency_ms(50.0));
    figures.set(&format!("{name}_p99_ms"), loaded.latency_ms(99.0));
    figures.set(&format!("{name}_cpu_us"), loaded.cpu_us());
    if loaded.drained.gaps > 0 || !loaded.is_complete {
        figures.note(format!(
            "{name}: not every stream that reads had every event"
        ));
    }
}
