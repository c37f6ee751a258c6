//! The command line, and the plan that it asks for.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand};

use crate::plan::{Plan, Size};

/// Measures Tailrace beside its peers and beside bare loops.
#[derive(Debug, Parser)]
#[command(args_conflicts_with_subcommands = true)]
pub(crate) struct CommandLine {
    #[command(subcommand)]
    pub(crate) command: Option<Command>,
    #[command(flatten)]
    pub(crate) options: Options,
}

/// What else it does than measure.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Makes the tables and plots of a run again, from its file of results alone.
    Report {
        /// The directory of the run.
        directory: PathBuf,
    },
}

/// What is measured. Without any option: everything, which takes hours.
#[derive(Debug, Args)]
pub(crate) struct Options {
    /// About half an hour: few peers, short cells, once.
    #[arg(long, conflicts_with = "smoke")]
    quick: bool,
    /// Seconds: few streams; shows that the harness works, and measures nothing.
    #[arg(long)]
    smoke: bool,
    /// Only the experiments with these numbers.
    #[arg(long, value_delimiter = ',')]
    only: Vec<u32>,
    /// Only these contestants; a floor or a peer that budgets refer to must be among them.
    #[arg(long, value_delimiter = ',')]
    contestants: Vec<String>,
    /// How long a load is measured.
    #[arg(long)]
    cell_seconds: Option<u64>,
    /// How often every cell is measured.
    #[arg(long)]
    repetitions: Option<u32>,
    /// Where the results go, or go on: cells that were measured are not measured again.
    #[arg(long, value_name = "DIRECTORY")]
    pub(crate) resume: Option<PathBuf>,
    /// Where the directories of results are, each with the time of its run.
    #[arg(long, value_name = "DIRECTORY", default_value = "target/side-by-side")]
    pub(crate) results: PathBuf,
    /// Where `benches/peers/install` has put what no package has.
    #[arg(long, value_name = "DIRECTORY", default_value = "target/peers")]
    peers: PathBuf,
    /// Samples the server's cores with `perf` during the whole steps of a search, and writes what was found
    /// to `profiles` beside the results, which are then not to be compared with others.
    #[arg(long)]
    pub(crate) profile: bool,
    /// Prints the plan and measures nothing.
    #[arg(long)]
    pub(crate) plan: bool,
}

impl Options {
    /// The plan.
    pub(crate) fn plan(&self) -> Plan {
        let size = match (self.smoke, self.quick) {
            (true, _) => Size::Smoke,
            (_, true) => Size::Quick,
            _ => Size::Full,
        };
        let (warm_up, measured, repetitions) = match size {
            Size::Smoke => (0.2, 1, 1),
            Size::Quick => (5.0, 10, 1),
            Size::Full => (5.0, 60, 3),
        };
        Plan {
            size,
            warm_up: Duration::from_secs_f64(warm_up),
            measured: Duration::from_secs(self.cell_seconds.unwrap_or(measured)),
            repetitions: self.repetitions.unwrap_or(repetitions),
            only: self.only.clone(),
            contestants: self.contestants.clone(),
            peers: self.peers.clone(),
            profiles: None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory as _;

    #[test]
    fn the_command_line_is_one_that_clap_accepts() {
        CommandLine::command().debug_assert();
    }

    #[test]
    fn options_override_the_size() {
        let line = "runner --quick --only 1,3 --cell-seconds 20 --contestants node,nchan";
        let plan = CommandLine::parse_from(line.split(' ')).options.plan();
        assert_eq!((plan.size, plan.repetitions), (Size::Quick, 1));
        assert_eq!((plan.warm_up.as_secs(), plan.measured.as_secs()), (5, 20));
        assert_eq!(plan.only, [1, 3]);
        assert_eq!(plan.contestants, ["node", "nchan"]);
        let full = CommandLine::parse_from(["runner"]).options.plan();
        assert_eq!(
            (full.size, full.repetitions, full.measured.as_secs()),
            (Size::Full, 3, 60)
        );
    }
}
