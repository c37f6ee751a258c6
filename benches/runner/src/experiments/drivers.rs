//! 9: what carries the sockets, and how many engine threads.

use std::time::Duration;

use anyhow::Result;
use swarm::Layout;

use super::{Experiment, course, sustained};
use crate::bench::Bench;
use crate::cell::Figures;
use crate::generator::Flow;
use crate::plan::{Ask, Field, Plan, Size};
use crate::report::{Column, Plot};
use crate::stage::Loaded;

/// Measured without PostgreSQL: what differs is below the engine.
const CONTESTANT: &str = "tailrace-batches";

const STREAMS: u32 = 10_000;

/// Events a second: few enough that none waits for another, and many.
const RATES: [(f64, &str); 2] = [(20.0, "calm"), (100.0, "busy")];

/// Those that are measured: in the quick run many alone.
fn rates(size: Size) -> &'static [(f64, &'static str)] {
    match size {
        Size::Quick => &RATES[1..],
        Size::Full | Size::Smoke => &RATES,
    }
}

/// How many they are.
fn loads(size: Size) -> u32 {
    u32::try_from(rates(size).len()).expect("few rates")
}

/// Whether the highest rate is searched: for one thread that is experiment 3.
fn is_searched(plan: &Plan, threads: usize) -> bool {
    plan.size == Size::Full && threads > 1
}

pub(super) struct Drivers;

fn variant(threads: usize) -> String {
    match threads {
        1 => "one thread".to_owned(),
        threads => format!("{threads} threads"),
    }
}

impl Experiment for Drivers {
    fn number(&self) -> u32 {
        9
    }

    fn name(&self) -> &'static str {
        "drivers"
    }

    fn title(&self) -> &'static str {
        "Both drivers, one engine thread and two"
    }

    fn about(&self) -> &'static str {
        "Batches made in the process, so that only what is below the engine differs. At 20 and at 100 \
         events (quick: 100) of 300 B a second to 10,000 streams: CPU per delivery, what part of it is the \
         kernel's, and the 99th percentile; in the full run, where both rates share a cell's time, also \
         the highest rate of two threads, searched for as in experiment 3, which has that of one. On a machine of two cores the second engine thread shares its core with the swarm: then \
         its CPU per delivery counts, and its rates and latencies are not what two free cores give."
    }

    fn cells(&self, plan: &Plan) -> Vec<Ask> {
        let loads = loads(plan.size);
        let load = plan.warm_up + plan.measured_of(loads) + Duration::from_millis(600);
        let estimate = |threads| {
            let search = if is_searched(plan, threads) {
                course::estimate(plan)
            } else {
                Duration::ZERO
            };
            Duration::from_secs(3) + load * loads + search
        };
        let mut asks = Vec::new();
        let entrants = plan.entrants(Field::WithPeers, &[]).into_iter();
        for entrant in entrants.filter(|entrant| entrant.contestant.name() == CONTESTANT) {
            for threads in [1, 2] {
                asks.push(Ask::of(entrant, variant(threads), estimate(threads)));
            }
        }
        asks
    }

    fn measure(&self, bench: &Bench<'_>) -> Result<Figures> {
        let threads = if bench.ask.variant == variant(1) {
            1
        } else {
            2
        };
        let mut figures = if is_searched(bench.plan, threads) {
            sustained::measure(bench, threads)?
        } else {
            Figures::default()
        };
        let streams = bench.plan.streams(STREAMS);
        let layout = Layout::Equal {
            streams_per_organisation: streams,
        };
        let mut stage = bench.start_with(streams, layout, |setting| setting.threads = threads)?;
        stage.open(0, streams)?;
        for &(rate, name) in rates(bench.plan.size) {
            let flows = [Flow {
                per_second: rate,
                organisations: vec![0],
            }];
            let measured = bench.plan.measured_of(loads(bench.plan.size));
            let loaded = stage.load(&flows, bench.plan.warm_up, measured)?;
            add(&mut figures, name, &loaded);
        }
        if stage.setting.cores.overlap() {
            figures.note("the server shares a core with its load");
        }
        Ok(figures)
    }

    fn columns(&self) -> Vec<Column> {
        vec![
            Column::new("CPU at 20/s, µs per delivery", "calm_cpu_us", 2),
            Column::new("of it the kernel's, %", "calm_system_percent", 0),
            Column::new("p99, ms", "calm_p99_ms", 1),
            Column::new("CPU at 100/s, µs per delivery", "busy_cpu_us", 2),
            Column::new("of it the kernel's, %", "busy_system_percent", 0),
            Column::new("p99, ms", "busy_p99_ms", 1),
            Column::new("highest rate, deliveries/s", "deliveries_per_second", 0),
        ]
    }

    fn plot(&self) -> Plot {
        Plot::bars("CPU at 100 events/s, µs per delivery", "busy_cpu_us", 1.0)
    }
}

/// Adds what was seen at a rate of this name.
fn add(figures: &mut Figures, name: &str, loaded: &Loaded) {
    figures.set(&format!("{name}_cpu_us"), loaded.cpu_us());
    figures.set(
        &format!("{name}_system_percent"),
        loaded.server.system_share * 100.0,
    );
    figures.set(&format!("{name}_p99_ms"), loaded.latency_ms(99.0));
    if loaded.drained.gaps > 0 || !loaded.is_complete {
        figures.note(format!("{name}: not every stream had every event"));
    }
}
