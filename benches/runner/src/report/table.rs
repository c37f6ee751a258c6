//! A table in Markdown: a line for each contestant and variant, with the median of the repetitions and
//! their spread. A cell without figures says why.

use std::fmt::Write as _;

use crate::cell::{Cell, Outcome};
use crate::statistics::Spread;

/// A column of a table.
#[derive(Clone, Debug)]
pub(crate) struct Column {
    /// What stands above it, with the unit.
    pub(crate) title: &'static str,
    /// The name of the figure.
    pub(crate) figure: &'static str,
    /// By what the figure is multiplied to get the title's unit.
    pub(crate) scale: f64,
    pub(crate) decimals: usize,
}

impl Column {
    /// A column of a figure in its own unit.
    pub(crate) fn new(title: &'static str, figure: &'static str, decimals: usize) -> Self {
        Self {
            title,
            figure,
            scale: 1.0,
            decimals,
        }
    }

    /// The same in another unit.
    pub(crate) fn scaled(self, scale: f64) -> Self {
        Self { scale, ..self }
    }

    /// The median of this figure over cells, and the spread of several.
    fn text(&self, cells: &[&Cell]) -> String {
        let figures = cells.iter().filter_map(|cell| cell.figure(self.figure));
        let values: Vec<f64> = figures.map(|value| value * self.scale).collect();
        let Some(spread) = Spread::of(&values) else {
            return "–".to_owned();
        };
        spread.in_words(self.decimals)
    }
}

/// The line of a contestant and variant: its cells, one for each repetition.
pub(super) struct Row<'a> {
    pub(super) contestant: &'a str,
    pub(super) variant: &'a str,
    pub(super) cells: Vec<&'a Cell>,
}

impl<'a> Row<'a> {
    /// Those of its cells that have figures.
    pub(super) fn measured(&self) -> Vec<&'a Cell> {
        let is_measured = |cell: &&Cell| matches!(cell.outcome, Outcome::Measured(_));
        self.cells.iter().copied().filter(is_measured).collect()
    }

    /// Both names: `node, 10,000 streams`.
    pub(super) fn name(&self) -> String {
        match self.variant {
            "" => self.contestant.to_owned(),
            variant => format!("{}, {variant}", self.contestant),
        }
    }
}

/// Gathers cells into lines, in the order in which they were first measured.
pub(super) fn rows<'a>(cells: &[&'a Cell]) -> Vec<Row<'a>> {
    let mut rows: Vec<Row<'a>> = Vec::new();
    for &cell in cells {
        let (contestant, variant) = (cell.key.contestant.as_str(), cell.key.variant.as_str());
        let its = |row: &&mut Row<'_>| row.contestant == contestant && row.variant == variant;
        match rows.iter_mut().find(its) {
            Some(row) => row.cells.push(cell),
            None => rows.push(Row {
                contestant,
                variant,
                cells: vec![cell],
            }),
        }
    }
    rows
}

/// The table, and under it what has to be known of single cells.
pub(super) fn table(columns: &[Column], cells: &[&Cell]) -> String {
    let rows = rows(cells);
    let has_variants = rows.iter().any(|row| !row.variant.is_empty());
    let (mut head, mut rule) = (String::from("| contestant |"), String::from("| --- |"));
    if has_variants {
        head.push_str(" |");
        rule.push_str(" --- |");
    }
    for column in columns {
        let _ = write!(head, " {} |", column.title);
        rule.push_str(" ---: |");
    }
    let mut text = format!("{head}\n{rule}\n");
    for row in &rows {
        let _ = write!(text, "| {} |", row.contestant);
        if has_variants {
            let _ = write!(text, " {} |", row.variant);
        }
        text.push_str(&figures(columns, row));
        text.push('\n');
    }
    text.push_str(&remarks(&rows));
    text
}

/// The figures of a line, or why there are none.
fn figures(columns: &[Column], row: &Row<'_>) -> String {
    let measured = row.measured();
    let reason = row.cells.iter().find_map(|cell| match &cell.outcome {
        Outcome::Failed(reason) => Some(reason),
        Outcome::Measured(_) => None,
    });
    match reason {
        Some(reason) if measured.is_empty() => {
            let rest = " |".repeat(columns.len().saturating_sub(1));
            format!(" not measured: {} |{rest}", one_line(reason))
        }
        _ => {
            let figure = |column: &Column| format!(" {} |", column.text(&measured));
            columns.iter().map(figure).collect()
        }
    }
}

/// The remarks of all cells, each once for its line, and the failures among several repetitions.
fn remarks(rows: &[Row<'_>]) -> String {
    let mut text = String::new();
    for row in rows {
        let has_figures = !row.measured().is_empty();
        let mut notes: Vec<String> = Vec::new();
        for cell in &row.cells {
            let said = match &cell.outcome {
                Outcome::Measured(figures) => figures.notes.clone(),
                Outcome::Failed(reason) if has_figures => {
                    let repetition = cell.key.repetition;
                    vec![format!("repetition {repetition}: {}", one_line(reason))]
                }
                Outcome::Failed(_) => Vec::new(),
            };
            for note in said {
                if !notes.contains(&note) {
                    notes.push(note);
                }
            }
        }
        if !notes.is_empty() {
            let gap = if text.is_empty() { "\n" } else { "" };
            let _ = writeln!(text, "{gap}- {}: {}.", row.name(), notes.join("; "));
        }
    }
    text
}

/// A reason as a table can hold it.
fn one_line(reason: &str) -> String {
    let words: Vec<&str> = reason.split_whitespace().collect();
    words.join(" ").replace('|', "/")
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::cell::{Figures, Key};

    pub(crate) fn cell(
        contestant: &str,
        variant: &str,
        repetition: u32,
        figures: &[(&str, f64)],
    ) -> Cell {
        let values = figures
            .iter()
            .map(|(name, value)| ((*name).to_owned(), *value))
            .collect();
        Cell {
            key: Key {
                experiment: "memory".to_owned(),
                contestant: contestant.to_owned(),
                variant: variant.to_owned(),
                repetition,
            },
            at: String::new(),
            took: 0.0,
            version: String::new(),
            configuration: String::new(),
            outcome: Outcome::Measured(Figures {
                values,
                ..Figures::default()
            }),
        }
    }

    fn failed(contestant: &str, repetition: u32, reason: &str) -> Cell {
        let mut cell = cell(contestant, "", repetition, &[]);
        cell.outcome = Outcome::Failed(reason.to_owned());
        cell
    }

    #[test]
    fn a_line_has_the_median_and_the_spread_of_its_repetitions() {
        let cells = [
            cell("floor", "", 1, &[("us", 6.0)]),
            cell("ours", "", 1, &[("us", 7.0)]),
            cell("floor", "", 2, &[("us", 5.0)]),
            cell("floor", "", 3, &[("us", 9.0)]),
        ];
        let cells: Vec<&Cell> = cells.iter().collect();
        assert_eq!(
            table(&[Column::new("µs", "us", 1)], &cells),
            "| contestant | µs |\n| --- | ---: |\n| floor | 6.0 (5.0–9.0) |\n| ours | 7.0 |\n"
        );
    }

    #[test]
    fn a_cell_without_figures_says_why() {
        let mut second = cell("node", "", 2, &[("us", 8.0)]);
        if let Outcome::Measured(figures) = &mut second.outcome {
            figures.note("3 events were lost");
        }
        let cells = [
            failed("nchan", 1, "not installed:\n a|b"),
            failed("node", 1, "it ended"),
            second,
        ];
        let cells: Vec<&Cell> = cells.iter().collect();
        let columns = [Column::new("µs", "us", 1), Column::new("ms", "ms", 1)];
        let text = table(&columns, &cells);
        assert!(
            text.contains("| nchan | not measured: not installed: a/b | |\n"),
            "{text}"
        );
        assert!(text.contains("| node | 8.0 | – |\n"), "{text}");
        assert!(
            text.ends_with("\n- node: repetition 1: it ended; 3 events were lost.\n"),
            "{text}"
        );
    }
}
