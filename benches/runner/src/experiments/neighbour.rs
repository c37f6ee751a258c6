//! 5: what small organisations notice of a large one under load.

use std::time::Duration;

use anyhow::Result;
use swarm::{Layout, Report};

use super::Experiment;
use super::course::{Course, Crowd, estimate_of_probes};
use super::rates::Rates;
use crate::bench::Bench;
use crate::cell::Figures;
use crate::generator::Flow;
use crate::metrics::{Delays, Metrics};
use crate::plan::{Ask, Field, Plan};
use crate::readers::Readers;
use crate::report::{Bar, Budget, Column, Plot};
use crate::stage::{Loaded, Stage};

const FLOOR: &str = "floor-coalesce";

/// The streams of the large organisation.
const LARGE: u32 = 15_000;

/// How many small organisations there are, of how many streams each.
const SMALL: u32 = 200;
const STREAMS_OF_SMALL: u32 = 10;

/// How many events a second all small ones have together.
const SMALL_PER_SECOND: f64 = 200.0;

/// Which part of what it sustains the large one has.
const PART: f64 = 0.5;

/// How many loads are compared: none on the large organisation, and that.
const LOADS: u32 = 2;

/// How long a small organisation's event may take within the node, at the 99th percentile.
const DELAY_MAX_MS: f64 = 5.0;

pub(super) struct Neighbour;

impl Experiment for Neighbour {
    fn number(&self) -> u32 {
        5
    }

    fn name(&self) -> &'static str {
        "neighbour"
    }

    fn title(&self) -> &'static str {
        "Small organisations beside a large one"
    }

    fn about(&self) -> &'static str {
        "One organisation of 15,000 streams and 200 of ten. Probes find what the large one sustains at \
         a 99th percentile of 250 ms; then the small ones have 200 events of 300 B a second, first \
         alone, and then while the large one has half of what it sustains. The readers of the small \
         ones are a process of their own, on the same core as those of the large one: their latency is \
         from when an event was due until they have read it. Within the node it is from the batch taken \
         to the last send of the sweep that carried the event, by the node's own metrics. Both are over \
         the whole load, with its warm-up. The two loads share a cell's time in the full run. There \
         the peers of the quick one take part, once, with what their readers notice; and the node with \
         its database has one driver, since what is shown is the engine's."
    }

    fn cells(&self, plan: &Plan) -> Vec<Ask> {
        let loads = (plan.warm_up + plan.measured_of(LOADS)) * LOADS;
        let opening = Duration::from_secs(4);
        let estimate = opening + estimate_of_probes(plan) + loads;
        plan.asks(Field::EngineAndSomePeers, &[FLOOR], estimate)
    }

    fn measure(&self, bench: &Bench<'_>) -> Result<Figures> {
        let plan = bench.plan;
        let (large, count) = (plan.streams(LARGE), plan.streams(SMALL));
        let layout = Layout::OneLarge {
            large,
            small: STREAMS_OF_SMALL,
        };
        let crowd = Crowd {
            streams: large + count * STREAMS_OF_SMALL,
            layout,
            organisations: 0..1,
        };
        let course = Course::new(bench, 1, crowd.clone());
        let (sustained, mut stage) = course.neighbourhood(&Rates::of(plan.size))?;
        let small = Flow {
            per_second: SMALL_PER_SECOND,
            organisations: (1..=count).collect(),
        };
        let mut readers = readers_of_their_own(&mut stage, large)?;
        let mut figures = Figures::default();
        figures.set("sustained_per_second", sustained);
        let flows = [small, crowd.flow(sustained * PART)];
        let alone = Seen::during(&mut stage, &mut readers, bench, &flows[..1])?;
        alone.add_small(&mut figures, "alone");
        let beside = Seen::during(&mut stage, &mut readers, bench, &flows)?;
        beside.add_small(&mut figures, "beside");
        figures.set("large_p99_ms", beside.loaded.latency_ms(99.0));
        let delays = beside.delays("large");
        figures.set_some("node_large_p99_ms", delays.map(|it| it.percentile(99.0)));
        figures.set(
            "deliveries_per_second",
            beside.loaded.deliveries_per_second(),
        );
        figures.set("server_cores", beside.loaded.server.cores());
        figures.set("swarm_cores", beside.loaded.swarm.cores());
        Ok(figures)
    }

    fn columns(&self) -> Vec<Column> {
        vec![
            Column::new("large sustains, events/s", "sustained_per_second", 0),
            Column::new("deliveries/s at half", "deliveries_per_second", 0),
            Column::new("small alone, p99 ms", "alone_p99_ms", 1),
            Column::new("small beside, p50 ms", "beside_p50_ms", 1),
            Column::new("small beside, p99 ms", "beside_p99_ms", 1),
            Column::new("in the node alone, p99 ms", "alone_node_p99_ms", 2),
            Column::new("in the node beside, p50 ms", "beside_node_p50_ms", 2),
            Column::new("in the node beside, p99 ms", "beside_node_p99_ms", 2),
            Column::new("of it above 5 ms, %", "beside_node_above_percent", 2),
            Column::new("large, p99 ms", "large_p99_ms", 1),
            Column::new("large in the node, p99 ms", "node_large_p99_ms", 1),
            Column::new("server, cores", "server_cores", 2),
        ]
    }

    fn plot(&self) -> Plot {
        Plot::bars(
            "99th percentile of small organisations beside a large one, ms",
            "beside_p99_ms",
            1.0,
        )
    }

    fn budgets(&self) -> Vec<Budget> {
        vec![Budget {
            title: "small organisation's delay in the node while 15,000 are swept, p99",
            variant: String::new(),
            figure: "beside_node_p99_ms",
            bar: Bar::Most(DELAY_MAX_MS),
            unit: "ms",
        }]
    }
}

/// Opens the streams of the small organisations once more, in a swarm that has no others.
fn readers_of_their_own(stage: &mut Stage, large: u32) -> Result<Readers> {
    let streams = stage.setting.streams;
    let cores = &stage.setting.cores.load;
    let mut readers = Readers::start(&stage.running.target, streams, cores)?;
    stage.readers.drop_streams(large, streams - large)?;
    readers.open(large, streams - large, 0)?;
    Ok(readers)
}

/// What was seen during a load: by the readers, and by the server where it says so.
struct Seen {
    loaded: Loaded,
    small: Report,
    metrics: Option<(Metrics, Metrics)>,
}

impl Seen {
    fn during(
        stage: &mut Stage,
        readers: &mut Readers,
        bench: &Bench<'_>,
        flows: &[Flow],
    ) -> Result<Self> {
        let before = Metrics::of(&stage.running)?;
        readers.record()?;
        let loaded = stage.load(flows, bench.plan.warm_up, bench.plan.measured_of(LOADS))?;
        let after = Metrics::of(&stage.running)?;
        Ok(Self {
            loaded,
            small: readers.report()?,
            metrics: before.zip(after),
        })
    }

    /// How long events took within the server.
    fn delays(&self, class: &str) -> Option<Delays> {
        let (before, after) = self.metrics.as_ref()?;
        after.delays(before, class)
    }

    /// Adds what became of the small organisations' events.
    fn add_small(&self, figures: &mut Figures, name: &str) {
        for (word, share) in [("p50", 50.0), ("p99", 99.0)] {
            let at_readers = self.small.latency().percentile_milliseconds(share);
            figures.set(&format!("{name}_{word}_ms"), at_readers);
            let in_node = self.delays("small").map(|delays| delays.percentile(share));
            figures.set_some(&format!("{name}_node_{word}_ms"), in_node);
        }
        let above = self.delays("small");
        let above = above.map(|delays| delays.percent_above(DELAY_MAX_MS));
        figures.set_some(&format!("{name}_node_above_percent"), above);
        let is_complete = self.loaded.is_complete && self.small.behind == 0;
        if self.loaded.drained.gaps + self.small.gaps > 0 || !is_complete {
            figures.note(format!("{name}: not every stream had every event"));
        }
    }
}
