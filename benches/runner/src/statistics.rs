//! What is made of several figures: slopes, medians, the spread.

use crate::report::number;

/// The slope of the least-squares line through points.
pub(crate) fn slope(points: &[(f64, f64)]) -> f64 {
    let count = points.len() as f64;
    let mean_x = points.iter().map(|(x, _)| x).sum::<f64>() / count;
    let mean_y = points.iter().map(|(_, y)| y).sum::<f64>() / count;
    let covariance: f64 = points
        .iter()
        .map(|(x, y)| (x - mean_x) * (y - mean_y))
        .sum();
    let variance: f64 = points.iter().map(|(x, _)| (x - mean_x).powi(2)).sum();
    covariance / variance
}

/// The median of the slopes between neighbours: whatever else the machine did during one step makes
/// no difference.
pub(crate) fn median_slope(points: &[(f64, f64)]) -> Option<f64> {
    let slope = |pair: &[(f64, f64)]| (pair[1].1 - pair[0].1) / (pair[1].0 - pair[0].0);
    median(&points.windows(2).map(slope).collect::<Vec<_>>())
}

/// The median; of an even number the mean of the two in the middle, and none of none.
pub(crate) fn median(values: &[f64]) -> Option<f64> {
    let mut values = values.to_vec();
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    match values.len() {
        0 => None,
        count if count % 2 == 1 => Some(values[middle]),
        _ => Some(values[middle - 1].midpoint(values[middle])),
    }
}

/// The value below which this share of the values lies (nearest rank), and none of none.
pub(crate) fn quantile(values: &[f64], share: f64) -> Option<f64> {
    let mut values = values.to_vec();
    values.sort_by(f64::total_cmp);
    let rank = (share * values.len() as f64).ceil() as usize;
    values.get(rank.saturating_sub(1)).copied()
}

/// A median with its least and greatest value.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Spread {
    pub(crate) median: f64,
    pub(crate) least: f64,
    pub(crate) greatest: f64,
    pub(crate) count: usize,
}

impl Spread {
    /// Of some values; none of none.
    pub(crate) fn of(values: &[f64]) -> Option<Self> {
        Some(Self {
            median: median(values)?,
            least: values.iter().copied().fold(f64::INFINITY, f64::min),
            greatest: values.iter().copied().fold(f64::NEG_INFINITY, f64::max),
            count: values.len(),
        })
    }

    /// `6.0`, and of several values `6.0 (5.0–9.0)`.
    pub(crate) fn in_words(&self, decimals: usize) -> String {
        let show = |value| number(value, decimals);
        let median = show(self.median);
        if self.count == 1 {
            return median;
        }
        format!("{median} ({}–{})", show(self.least), show(self.greatest))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_slope_is_that_of_the_line_through_uneven_steps() {
        let points = [(1.0, 5.0), (2.0, 7.0), (4.0, 11.0), (8.0, 19.0)];
        assert_eq!(slope(&points), 2.0);
        // By hand: means 2 and 10/3, covariance 3, variance 2.
        assert_eq!(slope(&[(1.0, 2.0), (2.0, 3.0), (3.0, 5.0)]), 1.5);
    }

    #[test]
    fn one_disturbed_step_does_not_move_the_median_slope() {
        let points = [
            (0.0, 0.0),
            (10.0, 20.0),
            (20.0, 940.0),
            (30.0, 960.0),
            (40.0, 980.0),
        ];
        assert_eq!(median_slope(&points), Some(2.0));
        assert_eq!(median_slope(&points[..1]), None);
    }

    #[test]
    fn medians_of_odd_and_even_numbers() {
        assert_eq!(median(&[3.0, 1.0, 2.0]), Some(2.0));
        assert_eq!(median(&[4.0, 1.0, 2.0, 3.0]), Some(2.5));
        assert_eq!(median(&[]), None);
    }

    #[test]
    fn a_quantile_is_the_nearest_rank() {
        let values: Vec<f64> = (1..=100).rev().map(f64::from).collect();
        assert_eq!(quantile(&values, 0.99), Some(99.0));
        assert_eq!(quantile(&values, 0.5), Some(50.0));
        assert_eq!(quantile(&values, 1.0), Some(100.0));
        assert_eq!(quantile(&[7.0], 0.5), Some(7.0));
        assert_eq!(quantile(&[], 0.5), None);
    }

    #[test]
    fn a_spread_names_its_ends() {
        let spread = Spread {
            median: 2.0,
            least: 1.0,
            greatest: 9.0,
            count: 3,
        };
        assert_eq!(Spread::of(&[9.0, 1.0, 2.0]), Some(spread));
        assert_eq!(Spread::of(&[]), None);
    }
}
