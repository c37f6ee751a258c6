//! The results: one line of JSON for every cell that was measured or could not be, and for every run
//! that added to the file. A run that is resumed reads from it what is done already.

use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::io::Write as _;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use serde::{Deserialize, Serialize};

use crate::machine::Machine;

/// What a cell is of.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(crate) struct Key {
    /// The name of the experiment.
    pub(crate) experiment: String,
    /// The contestant, with its driver where it has the choice: `tailrace-batches, epoll`.
    pub(crate) contestant: String,
    /// Which of the experiment's cells for this contestant: `10,000 streams`.
    pub(crate) variant: String,
    /// From 1.
    pub(crate) repetition: u32,
}

/// A cell that is done.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Cell {
    #[serde(flatten)]
    pub(crate) key: Key,
    /// When it was done.
    pub(crate) at: String,
    /// How long it took, from before the server's start, in seconds.
    pub(crate) took: f64,
    /// The contestant's version and configuration; empty where it did not start.
    pub(crate) version: String,
    pub(crate) configuration: String,
    #[serde(flatten)]
    pub(crate) outcome: Outcome,
}

/// What became of a cell.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Outcome {
    Measured(Figures),
    /// Why there are no figures.
    Failed(String),
}

/// What was measured.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Figures {
    /// Figures by name; the unit is in the name.
    pub(crate) values: BTreeMap<String, f64>,
    /// Curves by name.
    #[serde(default)]
    pub(crate) curves: BTreeMap<String, Vec<(f64, f64)>>,
    /// What a reader of the table has to know of this cell.
    #[serde(default)]
    pub(crate) notes: Vec<String>,
}

impl Figures {
    /// Adds a figure; one that is no number is left out, as JSON has none.
    pub(crate) fn set(&mut self, name: &str, value: f64) {
        if value.is_finite() {
            self.values.insert(name.to_owned(), value);
        }
    }

    /// Adds a figure where there is one.
    pub(crate) fn set_some(&mut self, name: &str, value: Option<f64>) {
        if let Some(value) = value {
            self.set(name, value);
        }
    }

    /// Adds a remark.
    pub(crate) fn note(&mut self, note: impl Into<String>) {
        self.notes.push(note.into());
    }
}

impl Cell {
    /// A figure, where it was measured.
    pub(crate) fn figure(&self, name: &str) -> Option<f64> {
        match &self.outcome {
            Outcome::Measured(figures) => figures.values.get(name).copied(),
            Outcome::Failed(_) => None,
        }
    }

    /// Adds a figure that follows from others, where this cell was measured.
    pub(crate) fn add(&mut self, name: &str, value: Option<f64>) {
        if let Outcome::Measured(figures) = &mut self.outcome {
            figures.set_some(name, value);
        }
    }
}

/// A line of the file.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Line {
    Run(Run),
    Cell(Cell),
}

/// A run that added cells.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Run {
    pub(crate) at: String,
    pub(crate) command: String,
    pub(crate) machine: Machine,
}

/// The file of results, and what it holds.
pub(crate) struct Results {
    file: File,
    pub(crate) directory: PathBuf,
    pub(crate) runs: Vec<Run>,
    /// In the order of the file; of several for one key only the last.
    pub(crate) cells: Vec<Cell>,
}

impl Results {
    /// The file of a run, in its directory.
    pub(crate) fn path(directory: &Path) -> PathBuf {
        directory.join("cells.jsonl")
    }

    /// Opens the file, or makes it, and reads it.
    pub(crate) fn open(directory: &Path) -> Result<Self> {
        std::fs::create_dir_all(directory)
            .with_context(|| format!("cannot make {}", directory.display()))?;
        let path = Self::path(directory);
        let file = OpenOptions::new()
            .read(true)
            .append(true)
            .create(true)
            .open(&path);
        let file = file.with_context(|| format!("cannot open {}", path.display()))?;
        let text = std::fs::read_to_string(&path)
            .with_context(|| format!("cannot read {}", path.display()))?;
        let mut results = Self {
            file,
            directory: directory.to_owned(),
            runs: Vec::new(),
            cells: Vec::new(),
        };
        results
            .read(&text)
            .with_context(|| format!("in {}", path.display()))?;
        Ok(results)
    }

    fn read(&mut self, text: &str) -> Result<()> {
        for (number, line) in text.split_inclusive('\n').enumerate() {
            // A run that was killed may have left half a line: that cell is not done.
            let Some(line) = line.strip_suffix('\n') else {
                self.file.write_all(b"\n").context("cannot be written")?;
                break;
            };
            match serde_json::from_str(line) {
                Ok(Line::Run(run)) => self.runs.push(run),
                Ok(Line::Cell(cell)) => self.keep(cell),
                // What was half a line when a run was resumed.
                Err(error) if error.is_eof() => {}
                Err(error) => {
                    return Err(error).with_context(|| format!("line {} is no result", number + 1));
                }
            }
        }
        Ok(())
    }

    fn keep(&mut self, cell: Cell) {
        self.cells.retain(|other| other.key != cell.key);
        self.cells.push(cell);
    }

    /// Adds a run.
    pub(crate) fn add_run(&mut self, run: Run) -> Result<()> {
        self.write(&Line::Run(run.clone()))?;
        self.runs.push(run);
        Ok(())
    }

    /// Adds a cell; it is in the file when this returns.
    pub(crate) fn add(&mut self, cell: Cell) -> Result<()> {
        self.write(&Line::Cell(cell.clone()))?;
        self.keep(cell);
        Ok(())
    }

    fn write(&mut self, line: &Line) -> Result<()> {
        let mut text = serde_json::to_string(line).context("a result is JSON")?;
        text.push('\n');
        self.file
            .write_all(text.as_bytes())
            .context("the results cannot be written")
    }

    /// Whether this cell was measured; one that failed is tried again.
    pub(crate) fn is_measured(&self, key: &Key) -> bool {
        let cell = self.cells.iter().find(|cell| cell.key == *key);
        cell.is_some_and(|cell| matches!(cell.outcome, Outcome::Measured(_)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Directory(PathBuf);

    impl Directory {
        fn new(name: &str) -> Self {
            let name = format!("tailrace-runner-{}-{name}", std::process::id());
            Self(std::env::temp_dir().join(name))
        }
    }

    impl Drop for Directory {
        fn drop(&mut self) {
            let _ = std::fs::remove_dir_all(&self.0);
        }
    }

    fn key(contestant: &str) -> Key {
        Key {
            experiment: "memory".to_owned(),
            contestant: contestant.to_owned(),
            variant: "all".to_owned(),
            repetition: 1,
        }
    }

    fn cell(contestant: &str, outcome: Outcome) -> Cell {
        Cell {
            key: key(contestant),
            at: "2026-01-01T00:00:00Z".to_owned(),
            took: 1.5,
            version: "1".to_owned(),
            configuration: String::new(),
            outcome,
        }
    }

    fn measured(value: f64) -> Outcome {
        let mut figures = Figures::default();
        figures.set("user_bytes", value);
        figures.set("nothing", f64::NAN);
        figures.curves.insert("p99".to_owned(), vec![(1.0, 2.5)]);
        Outcome::Measured(figures)
    }

    #[test]
    fn what_was_written_is_read_again() {
        let directory = Directory::new("again");
        let mut results = Results::open(&directory.0).unwrap();
        let run = Run {
            at: "now".to_owned(),
            command: "runner".to_owned(),
            machine: Machine::default(),
        };
        results.add_run(run.clone()).unwrap();
        results.add(cell("floor", measured(1.0))).unwrap();
        results
            .add(cell("node", Outcome::Failed("not installed".to_owned())))
            .unwrap();
        let read = Results::open(&directory.0).unwrap();
        assert_eq!(read.runs, [run]);
        assert_eq!(read.cells, results.cells);
        assert_eq!(read.cells[0].figure("user_bytes"), Some(1.0));
        assert_eq!(read.cells[0].figure("nothing"), None);
    }

    #[test]
    fn a_resumed_run_skips_what_was_measured_and_tries_again_what_failed() {
        let directory = Directory::new("resumed");
        let mut results = Results::open(&directory.0).unwrap();
        results.add(cell("floor", measured(1.0))).unwrap();
        results
            .add(cell("node", Outcome::Failed("not installed".to_owned())))
            .unwrap();
        let mut results = Results::open(&directory.0).unwrap();
        assert!(results.is_measured(&key("floor")));
        assert!(!results.is_measured(&key("node")));
        assert!(!results.is_measured(&Key {
            repetition: 2,
            ..key("floor")
        }));
        results.add(cell("node", measured(2.0))).unwrap();
        let results = Results::open(&directory.0).unwrap();
        assert!(results.is_measured(&key("node")));
        assert_eq!(results.cells.len(), 2);
    }

    #[test]
    fn half_a_line_is_a_cell_that_is_not_done() {
        let directory = Directory::new("half");
        let mut results = Results::open(&directory.0).unwrap();
        results.add(cell("floor", measured(1.0))).unwrap();
        results
            .file
            .write_all(b"{\"cell\":{\"experiment\":\"memo")
            .unwrap();
        let mut results = Results::open(&directory.0).unwrap();
        assert_eq!(results.cells.len(), 1);
        results.add(cell("node", measured(2.0))).unwrap();
        let results = Results::open(&directory.0).unwrap();
        assert!(results.is_measured(&key("floor")) && results.is_measured(&key("node")));
    }

    #[test]
    fn a_line_that_is_no_result_is_an_error() {
        let directory = Directory::new("broken");
        let mut results = Results::open(&directory.0).unwrap();
        results.file.write_all(b"{\"cell\":7}\n").unwrap();
        assert!(Results::open(&directory.0).is_err());
    }
}
