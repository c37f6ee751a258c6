//! The budgets: a figure against a bound, or against another contestant's in the same repetition.

use std::fmt::Write as _;

use crate::cell::Cell;
use crate::statistics::Spread;

/// A budget, for each of our contestants that has the figure.
#[derive(Clone, Debug)]
pub(crate) struct Budget {
    /// What it bounds.
    pub(crate) title: &'static str,
    /// The variant of the cells that decide it.
    pub(crate) variant: String,
    pub(crate) figure: &'static str,
    pub(crate) bar: Bar,
    /// The unit of the figure, where the bar is no ratio.
    pub(crate) unit: &'static str,
}

/// Where the bar is.
#[derive(Clone, Debug)]
pub(crate) enum Bar {
    /// The figure is at most this.
    Most(f64),
    /// It is at most so many times the same figure of this contestant.
    MostTimes(f64, &'static str),
    /// It is at least so many times the same figure of this contestant.
    LeastTimes(f64, &'static str),
}

impl Bar {
    /// What is compared with the bound: the cell's figure, or its ratio to the other contestant's.
    fn value(&self, figure: &str, of: &Cell, cells: &[&Cell]) -> Option<f64> {
        let value = of.figure(figure)?;
        let (Self::MostTimes(_, other) | Self::LeastTimes(_, other)) = self else {
            return Some(value);
        };
        let beside = cells.iter().find(|cell| {
            cell.key.contestant == *other
                && cell.key.variant == of.key.variant
                && cell.key.repetition == of.key.repetition
        })?;
        Some(value / beside.figure(figure)?)
    }

    fn bound(&self) -> f64 {
        match self {
            Self::Most(bound) | Self::MostTimes(bound, _) | Self::LeastTimes(bound, _) => *bound,
        }
    }

    fn holds(&self, value: f64) -> bool {
        match self {
            Self::Most(bound) | Self::MostTimes(bound, _) => value <= *bound,
            Self::LeastTimes(bound, _) => value >= *bound,
        }
    }

    fn in_words(&self, unit: &str) -> String {
        match self {
            Self::Most(bound) => format!("≤ {bound} {unit}"),
            Self::MostTimes(bound, other) => format!("≤ {bound} × {other}"),
            Self::LeastTimes(bound, other) => format!("≥ {bound} × {other}"),
        }
    }

    /// What became of it: in the median, and in each repetition.
    fn verdict(&self, values: &[f64], repetitions: usize) -> String {
        let Some(spread) = Spread::of(values) else {
            return "not measured".to_owned();
        };
        let held = values.iter().filter(|value| self.holds(**value)).count();
        let missed_by = (spread.median / self.bound() - 1.0).abs() * 100.0;
        let word = if self.holds(spread.median) {
            "**holds**".to_owned()
        } else if missed_by < 1.0 {
            "missed by less than 1 %".to_owned()
        } else {
            format!("missed by {missed_by:.0} %")
        };
        if repetitions == 1 {
            word
        } else {
            format!("{word}; held in {held} of {repetitions} repetitions")
        }
    }
}

/// The head of the table of budgets.
pub(super) const HEAD: &str = "| budget | bar | contestant | measured | |\n\
                               | --- | --- | --- | ---: | --- |\n";

/// The lines of a budget, from the cells of its experiment: one for each of our contestants that was
/// to be measured.
pub(super) fn lines(budget: &Budget, cells: &[&Cell], ours: &[String]) -> String {
    let Budget {
        title,
        variant,
        figure,
        bar,
        unit,
    } = budget;
    let decimals = if bar.bound() < 10.0 { 2 } else { 0 };
    let mut text = String::new();
    for contestant in ours {
        let its =
            |cell: &&&Cell| cell.key.contestant == *contestant && cell.key.variant == *variant;
        let its: Vec<&Cell> = cells.iter().filter(its).copied().collect();
        if its.is_empty() {
            continue;
        }
        let values = its.iter().filter_map(|cell| bar.value(figure, cell, cells));
        let values: Vec<f64> = values.collect();
        let measured =
            Spread::of(&values).map_or("–".to_owned(), |spread| spread.in_words(decimals));
        let verdict = bar.verdict(&values, its.len());
        let bar = bar.in_words(unit);
        let _ = writeln!(
            text,
            "| {title} | {bar} | {contestant} | {measured} | {verdict} |"
        );
    }
    text
}

#[cfg(test)]
mod tests {
    use super::super::table::tests::cell;
    use super::*;

    fn budget(figure: &'static str, bar: Bar) -> Budget {
        Budget {
            title: "it",
            variant: String::new(),
            figure,
            bar,
            unit: "B",
        }
    }

    fn line(budget: &Budget, cells: &[Cell]) -> String {
        let cells: Vec<&Cell> = cells.iter().collect();
        lines(budget, &cells, &["ours".to_owned()])
    }

    #[test]
    fn a_ratio_is_of_the_same_repetition() {
        let cells = [
            cell("floor", "", 1, &[("us", 10.0)]),
            cell("ours", "", 1, &[("us", 10.5)]),
            cell("floor", "", 2, &[("us", 20.0)]),
            cell("ours", "", 2, &[("us", 24.0)]),
            cell("floor", "", 3, &[("us", 10.0)]),
            cell("ours", "", 3, &[("us", 10.8)]),
        ];
        assert_eq!(
            line(&budget("us", Bar::MostTimes(1.1, "floor")), &cells),
            "| it | ≤ 1.1 × floor | ours | 1.08 (1.05–1.20) \
             | **holds**; held in 2 of 3 repetitions |\n"
        );
    }

    #[test]
    fn what_is_missed_says_by_how_much() {
        let cells = [
            cell("floor", "", 1, &[("rate", 100.0)]),
            cell("ours", "", 1, &[("rate", 45.0)]),
        ];
        assert_eq!(
            line(&budget("rate", Bar::LeastTimes(0.9, "floor")), &cells),
            "| it | ≥ 0.9 × floor | ours | 0.45 | missed by 50 % |\n"
        );
        assert_eq!(
            line(&budget("rate", Bar::Most(40.0)), &cells),
            "| it | ≤ 40 B | ours | 45 | missed by 12 % |\n"
        );
    }

    #[test]
    fn the_bound_itself_holds() {
        let cells = [cell("ours", "", 1, &[("bytes", 160.0)])];
        let text = line(&budget("bytes", Bar::Most(160.0)), &cells);
        assert!(text.contains("**holds**"), "{text}");
    }

    #[test]
    fn without_its_floor_or_its_cell_nothing_is_decided() {
        let cells = [cell("ours", "", 1, &[("us", 10.5)])];
        let text = line(&budget("us", Bar::MostTimes(1.1, "floor")), &cells);
        assert!(text.ends_with("| – | not measured |\n"), "{text}");
        let other = [cell("ours", "another variant", 1, &[("us", 1.0)])];
        assert_eq!(line(&budget("us", Bar::Most(2.0)), &other), "");
    }
}
