//! 3: the highest rate of events at which 99 of 100 deliveries come within 250 ms. How it is searched
//! for is in `course` and `rates`.

use anyhow::Result;

use super::Experiment;
use super::course::{self, Course, Crowd, estimate};
use super::rates::Rates;
use crate::bench::Bench;
use crate::cell::Figures;
use crate::plan::{Ask, Field, Plan};
use crate::report::{Bar, Budget, Column, Plot};

const FLOOR: &str = "floor-coalesce";
const PEER: &str = "durable-streams";

/// How many readers there are, all of one organisation.
const STREAMS: u32 = 10_000;

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
         percentile is at most 250 ms, what was due was delivered, and no stream missed an event or was ended. \
         Short probes find the neighbourhood; then whole steps are measured, up by a tenth while \
         they hold and down while they do not, with one more between the last two. What does not hold is \
         tried once more (quick: probes alone), since a machine that did something else meanwhile is no \
         one's limit; a server that had to be started again first gets a quarter of the rate for 2 s. The figures are those of the highest rate that held. There are at least three whole steps beside the first, each as \
         long as a cell (full run: a quarter of it, so that all add up to it). Memory grown is per stream, without pages of files, against a \
         first step at one event a second (quick: of 4 s); the log of Tailrace holds 16 MiB here and is full before the \
         streams are opened, by 60,000 events that every server gets. Where the swarm's core was full \
         and the server's was not, the cell says so: then the \
         figure is the swarm's."
    }

    fn cells(&self, plan: &Plan) -> Vec<Ask> {
        plan.asks(Field::WithPeers, &[FLOOR], estimate(plan))
    }

    fn measure(&self, bench: &Bench<'_>) -> Result<Figures> {
        measure(bench, 1)
    }

    fn columns(&self) -> Vec<Column> {
        columns()
    }

    fn plot(&self) -> Plot {
        course::plot()
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
                "memory grown per stream under load",
                "memory_grown_bytes",
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
        Column::new("of it the kernel's, %", "system_percent", 0),
        Column::new("p50, ms", "p50_ms", 1),
        Column::new("p99, ms", "p99_ms", 1),
        Column::new("RSS per stream, B", "rss_per_stream_bytes", 0),
        Column::new("memory grown, B", "memory_grown_bytes", 0),
        Column::new("server, cores", "server_cores", 2),
        Column::new("swarm, cores", "swarm_cores", 2),
        Column::new("beside, cores", "beside_cores", 2),
        Column::new("generator late, p99 ms", "late_ms", 1),
    ]
}

/// Searches the highest rate of the bench's contestant on so many threads.
pub(super) fn measure(bench: &Bench<'_>, threads: usize) -> Result<Figures> {
    let crowd = Crowd::of_one(bench.plan.streams(STREAMS));
    Course::new(bench, threads, crowd).run(&Rates::of(bench.plan.size))
}
