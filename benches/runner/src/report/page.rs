//! The page itself: when and on what machine, the budgets, every experiment, and how each contestant
//! was configured.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};

use super::budget;
use super::table::table;
use crate::cell::{Cell, Results, Run};
use crate::contestant::Kind;
use crate::experiments::Experiment;

/// Writes `report.md` and the plots into the directory of the results, and says where the page is.
pub(crate) fn write(
    directory: &Path,
    results: &Results,
    experiments: &[&'static dyn Experiment],
) -> Result<PathBuf> {
    let mut cells = results.cells.clone();
    derive(&mut cells, experiments);
    let mut page = String::from("# Side by side\n\n");
    page.push_str(&origin(&results.runs));
    let budgets = budgets(&cells, experiments);
    if !budgets.is_empty() {
        let _ = write!(
            page,
            "\n## Budgets\n\nRatios are of the same repetition. \
            With several repetitions: the median, and the least and the greatest in brackets.\n\n\
            {}{budgets}",
            budget::HEAD
        );
    }
    for experiment in experiments {
        let its = of(&cells, *experiment);
        if its.is_empty() {
            continue;
        }
        let (number, title) = (experiment.number(), experiment.title());
        let _ = write!(page, "\n## {number}. {title}\n\n{}\n\n", experiment.about());
        page.push_str(&table(&experiment.columns(), &its));
        let plot = format!("{number}-{}.svg", experiment.name());
        if experiment
            .plot()
            .draw(title, &its, &directory.join(&plot))?
        {
            let _ = write!(page, "\n![{title}]({plot})\n");
        }
    }
    page.push_str(&configurations(&cells));
    let path = directory.join("report.md");
    fs::write(&path, page).with_context(|| format!("cannot write {}", path.display()))?;
    Ok(path)
}

/// The cells of an experiment.
fn of<'a>(cells: &'a [Cell], experiment: &dyn Experiment) -> Vec<&'a Cell> {
    let its = |cell: &&Cell| cell.key.experiment == experiment.name();
    cells.iter().filter(its).collect()
}

/// Lets every experiment add what follows from several cells of a repetition.
fn derive(cells: &mut Vec<Cell>, experiments: &[&'static dyn Experiment]) {
    let repetitions: BTreeSet<u32> = cells.iter().map(|cell| cell.key.repetition).collect();
    let mut derived = Vec::new();
    for repetition in repetitions {
        for experiment in experiments {
            let its = |cell: &&Cell| {
                cell.key.experiment == experiment.name() && cell.key.repetition == repetition
            };
            let mut its: Vec<Cell> = cells.iter().filter(its).cloned().collect();
            experiment.derive(&mut its);
            derived.append(&mut its);
        }
    }
    *cells = derived;
}

/// When, how and on what machine.
fn origin(runs: &[Run]) -> String {
    let mut text = String::new();
    let mut last: Option<&Run> = None;
    for run in runs {
        if last.is_none_or(|last| last.machine != run.machine) {
            let _ = writeln!(text, "{}.\n", run.machine.in_words());
        }
        let _ = writeln!(text, "- {}: `{}`", run.at, run.command);
        last = Some(run);
    }
    text
}

fn budgets(cells: &[Cell], experiments: &[&'static dyn Experiment]) -> String {
    let is_ours = |name: &str| {
        let contestant = name.split(',').next().unwrap_or(name);
        let all = crate::contestants::ALL.iter();
        all.filter(|known| known.kind() == Kind::Ours)
            .any(|ours| ours.name() == contestant)
    };
    let mut ours: Vec<String> = Vec::new();
    for cell in cells {
        let name = &cell.key.contestant;
        if is_ours(name) && !ours.contains(name) {
            ours.push(name.clone());
        }
    }
    let mut text = String::new();
    for experiment in experiments {
        for budget in experiment.budgets() {
            text.push_str(&budget::lines(&budget, &of(cells, *experiment), &ours));
        }
    }
    text
}

/// How each contestant was configured; where cells differ, each way once.
fn configurations(cells: &[Cell]) -> String {
    let mut ways: BTreeMap<&str, Vec<(&str, &str)>> = BTreeMap::new();
    for cell in cells.iter().filter(|cell| !cell.configuration.is_empty()) {
        let way = (cell.version.as_str(), cell.configuration.as_str());
        let its = ways.entry(&cell.key.contestant).or_default();
        if !its.contains(&way) {
            its.push(way);
        }
    }
    if ways.is_empty() {
        return String::new();
    }
    let mut text = String::from("\n## Versions and configuration\n\n");
    for (contestant, its) in ways {
        for (version, configuration) in its {
            // Words in the first line; a file after them, as it is.
            let (words, file) = configuration
                .split_once('\n')
                .unwrap_or((configuration, ""));
            let _ = writeln!(text, "- **{contestant}**, {version}: {words}");
            if !file.trim().is_empty() {
                let _ = write!(text, "\n  ```\n");
                for line in file.lines().filter(|line| !line.trim().is_empty()) {
                    let _ = writeln!(text, "  {line}");
                }
                let _ = write!(text, "  ```\n\n");
            }
        }
    }
    text
}
