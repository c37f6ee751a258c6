//! What is measured: one file for each experiment. An experiment names its cells, measures one of
//! them at a time, and says how its table and its plot look; everything else is the runner's.

mod course;
mod delivery;
mod drivers;
mod growth;
mod latency;
mod memory;
mod neighbour;
mod organisations;
mod rates;
mod slow;
mod storm;
mod sustained;

use anyhow::Result;

use crate::bench::Bench;
use crate::cell::{Cell, Figures};
use crate::plan::{Ask, Plan};
use crate::report::{Budget, Column, Plot};

/// All of them, by their numbers.
pub(crate) const ALL: &[&dyn Experiment] = &[
    &memory::Memory,
    &delivery::Delivery,
    &sustained::Sustained,
    &organisations::Organisations,
    &neighbour::Neighbour,
    &storm::Storm,
    &slow::Slow,
    &latency::Latency,
    &drivers::Drivers,
    &growth::Growth,
];

/// An experiment.
pub(crate) trait Experiment: Sync {
    /// Its number, for the command line and the order of the report.
    fn number(&self) -> u32;

    /// Its name, in one word.
    fn name(&self) -> &'static str;

    /// Its title in the report.
    fn title(&self) -> &'static str;

    /// What is done and what the columns mean: a paragraph above the table.
    fn about(&self) -> &'static str;

    /// The cells it wants.
    fn cells(&self, plan: &Plan) -> Vec<Ask>;

    /// Measures one. An error is the reason that stands in the table.
    fn measure(&self, bench: &Bench<'_>) -> Result<Figures>;

    /// Adds to the cells of one repetition what follows from several of them, such as what is beyond
    /// the floor.
    fn derive(&self, cells: &mut [Cell]) {
        let _ = cells;
    }

    /// The columns of the table.
    fn columns(&self) -> Vec<Column>;

    /// The plot.
    fn plot(&self) -> Plot;

    /// The budgets that its cells decide.
    fn budgets(&self) -> Vec<Budget> {
        Vec::new()
    }
}
