//! 4: events spread over three thousand small organisations: the highest rate at which 99 of 100
//! deliveries come within 250 ms.

use anyhow::Result;
use swarm::Layout;

use super::Experiment;
use super::course::{self, Course, Crowd, estimate};
use super::rates::Rates;
use crate::bench::Bench;
use crate::cell::Figures;
use crate::plan::{Ask, Field, Plan};
use crate::report::{Column, Plot};

const FLOOR: &str = "floor-coalesce";

/// How many organisations there are, of one to ten streams in turn.
const ORGANISATIONS: u32 = 3_000;

/// By how much rates are higher than those for an organisation of thousands.
const FACTOR: f64 = 1_000.0;

pub(super) struct Organisations;

impl Experiment for Organisations {
    fn number(&self) -> u32 {
        4
    }

    fn name(&self) -> &'static str {
        "organisations"
    }

    fn title(&self) -> &'static str {
        "Three thousand organisations"
    }

    fn about(&self) -> &'static str {
        "3,000 organisations of one to ten streams, 16,500 in all; events of 300 B, each for the next \
         organisation, so that one event is for 5.5 streams in the mean. The highest rate is searched \
         for as in experiment 3. With rows, each event is a row of its own and the database is beside \
         the readers on the load's core: where that core is full, the cell says so. In the full run the \
         peers of the quick one take part, once: whether many organisations cost them more than one. \
         The node with its database has one driver here: what a row costs does not depend on it."
    }

    fn cells(&self, plan: &Plan) -> Vec<Ask> {
        plan.asks(Field::EngineAndSomePeers, &[FLOOR], estimate(plan))
    }

    fn measure(&self, bench: &Bench<'_>) -> Result<Figures> {
        let organisations = bench.plan.streams(ORGANISATIONS);
        let layout = Layout::Spread { organisations };
        let crowd = Crowd {
            streams: layout.streams().expect("such a layout has an end"),
            layout,
            organisations: 0..organisations,
        };
        Course::new(bench, 1, crowd).run(&Rates::of(bench.plan.size).times(FACTOR))
    }

    fn columns(&self) -> Vec<Column> {
        vec![
            Column::new("events/s", "events_per_second", 0),
            Column::new("deliveries/s", "deliveries_per_second", 0),
            Column::new("CPU, µs per delivery", "cpu_us", 2),
            Column::new("events per read", "coalesced", 1),
            Column::new("p50, ms", "p50_ms", 1),
            Column::new("p99, ms", "p99_ms", 1),
            Column::new("memory grown per stream, B", "memory_grown_bytes", 0),
            Column::new("server, cores", "server_cores", 2),
            Column::new("swarm, cores", "swarm_cores", 2),
            Column::new("beside, cores", "beside_cores", 2),
            Column::new("generator late, p99 ms", "late_ms", 1),
        ]
    }

    fn plot(&self) -> Plot {
        course::plot()
    }
}
