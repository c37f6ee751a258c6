//! Measures Tailrace beside its peers and beside bare loops, one cell after the other, and writes
//! what came of it: `benches/run` builds everything and calls this.
//!
//! A cell is one contestant in one variant of one experiment, once. `experiments` says what is
//! measured, `contestants` who is; the rest is the same for all: starting and pinning (`process`,
//! `cores`), readers and load (`readers`, `generator`, `stage`), what is read from `/proc`
//! (`measure`), the file of results (`cell`) and what is made of it (`statistics`, `report`).

#![expect(
    dead_code,
    reason = "what further experiments and contestants need stands ready"
)]

mod bench;
mod cell;
mod command_line;
mod contestant;
mod contestants;
mod cores;
mod experiments;
mod generator;
mod http;
mod interrupt;
mod machine;
mod measure;
mod metrics;
mod plan;
mod postgres;
mod probe;
mod process;
mod profile;
mod readers;
mod report;
mod rows;
mod run;
mod stage;
mod statistics;

use std::process::ExitCode;

use clap::Parser as _;

use command_line::CommandLine;

fn main() -> ExitCode {
    // Before anything is pinned.
    cores::cores_of_machine();
    match run::obey(CommandLine::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error:#}");
            ExitCode::FAILURE
        }
    }
}
