//! A run: the plan is printed, every cell that is not there yet is measured, the report is written.
//! A cell that fails leaves its reason and ends nothing.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use jiff::Timestamp;

use crate::bench::{Bench, on_load_cores};
use crate::cell::{Cell, Key, Outcome, Results, Run};
use crate::command_line::{Command, CommandLine};
use crate::cores::Cores;
use crate::experiments::{self, Experiment};
use crate::interrupt;
use crate::machine::Machine;
use crate::plan::{Ask, Plan};
use crate::report;

/// A cell that is still to be measured.
type Todo = (&'static dyn Experiment, Ask, Key);

/// Does what the command line says.
pub(crate) fn obey(line: CommandLine) -> Result<()> {
    if let Some(Command::Report { directory }) = line.command {
        if !Results::path(&directory).exists() {
            bail!("no results in {}", directory.display());
        }
        let results = Results::open(&directory)?;
        let page = report::write(&directory, &results, experiments::ALL)?;
        println!("{}", page.display());
        return Ok(());
    }
    let options = line.options;
    let mut plan = options.plan();
    check_names(&plan)?;
    let directory = options
        .resume
        .unwrap_or_else(|| options.results.join(now("%Y-%m-%dT%H-%M-%S")));
    plan.profiles = options.profile.then(|| directory.join("profiles"));
    let mut todo = plan.cells(experiments::ALL);
    if Results::path(&directory).exists() {
        let results = Results::open(&directory)?;
        todo.retain(|(_, _, key)| !results.is_measured(key));
    }
    print_plan(&todo);
    if options.plan {
        return Ok(());
    }
    interrupt::listen()?;
    let mut results = Results::open(&directory)?;
    results.add_run(Run {
        at: now("%Y-%m-%d %H:%M UTC"),
        command: std::env::args()
            .skip(1)
            .fold("benches/run".to_owned(), |line, next| line + " " + &next),
        machine: Machine::this(),
    })?;
    println!("results in {}\n", directory.display());
    let failed = on_load_cores(|| measure(&plan, todo, &mut results))??;
    let page = report::write(&directory, &results, experiments::ALL)?;
    println!("\n{}", page.display());
    if failed > 0 {
        println!("{failed} cells could not be measured; the report says why");
    }
    Ok(())
}

/// An error where somebody is named whom nobody knows.
fn check_names(plan: &Plan) -> Result<()> {
    let known: Vec<&str> = crate::contestants::ALL
        .iter()
        .map(|known| known.name())
        .collect();
    for name in &plan.contestants {
        if !known.contains(&name.as_str()) {
            bail!("no contestant {name:?}; there are {}", known.join(", "));
        }
    }
    for number in &plan.only {
        if !experiments::ALL
            .iter()
            .any(|experiment| experiment.number() == *number)
        {
            bail!("no experiment {number}");
        }
    }
    Ok(())
}

/// What will be done, and how long it will take.
fn print_plan(todo: &[Todo]) {
    println!(
        "{}; {}",
        Machine::this().in_words(),
        Cores::of_machine(1).in_words()
    );
    let sum = |cells: &mut dyn Iterator<Item = &Todo>| cells.map(|(_, ask, _)| ask.estimate).sum();
    for experiment in experiments::ALL {
        let mut its = todo
            .iter()
            .filter(|(other, ..)| other.number() == experiment.number());
        let count = its.clone().count();
        if count > 0 {
            let time = in_minutes(sum(&mut its));
            println!(
                "{:>3}  {:<56} {count:>3} cells  {time}",
                experiment.number(),
                experiment.title()
            );
        }
    }
    let time = in_minutes(sum(&mut todo.iter()));
    println!("     {:<56} {:>3} cells  {time}\n", "together", todo.len());
}

fn in_minutes(time: Duration) -> String {
    format!("about {:.1} minutes", time.as_secs_f64() / 60.0)
}

/// Measures the cells, and says how many could not be.
fn measure(plan: &Plan, todo: Vec<Todo>, results: &mut Results) -> Result<usize> {
    let count = todo.len();
    let mut failed = 0;
    for (place, (experiment, ask, key)) in todo.into_iter().enumerate() {
        let Key {
            contestant,
            variant,
            repetition,
            ..
        } = &key;
        let comma = if variant.is_empty() { "" } else { ", " };
        let name = format!(
            "{}, {contestant}{comma}{variant}, {repetition}",
            experiment.name()
        );
        println!("[{}/{count}] {name}", place + 1);
        let began = Instant::now();
        let (about, outcome) = measure_one(experiment, plan, &ask);
        if interrupt::is_interrupted() {
            let directory = results.directory.display();
            bail!("interrupted; go on with --resume {directory}");
        }
        match &outcome {
            Outcome::Measured(figures) => {
                let figures = figures
                    .values
                    .iter()
                    .map(|(name, value)| format!("{name} {value:.4}"));
                println!("    {}", figures.collect::<Vec<_>>().join(", "));
            }
            Outcome::Failed(reason) => {
                failed += 1;
                println!("    not measured: {reason}");
            }
        }
        let (version, configuration) = about;
        results.add(Cell {
            key,
            at: now("%Y-%m-%dT%H:%M:%SZ"),
            took: began.elapsed().as_secs_f64(),
            version,
            configuration,
            outcome,
        })?;
    }
    Ok(failed)
}

/// Measures a cell; whatever goes wrong is its outcome.
fn measure_one(experiment: &dyn Experiment, plan: &Plan, ask: &Ask) -> ((String, String), Outcome) {
    let bench = match Bench::new(plan, ask) {
        Ok(bench) => bench,
        Err(error) => return (<_>::default(), Outcome::Failed(format!("{error:#}"))),
    };
    // A mistake of ours in one cell shall not cost the hours of the others.
    let measured = catch_unwind(AssertUnwindSafe(|| experiment.measure(&bench)));
    let outcome = match measured {
        Ok(Ok(figures)) => Outcome::Measured(figures),
        Ok(Err(error)) => Outcome::Failed(format!("{error:#}")),
        Err(panic) => Outcome::Failed(format!("the runner panicked: {}", message(panic.as_ref()))),
    };
    (bench.about(), outcome)
}

fn message(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<String>().cloned();
    text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()))
        .unwrap_or_default()
}

/// The time, as this format says, in UTC.
fn now(format: &str) -> String {
    Timestamp::now().strftime(format).to_string()
}
