//! A plot, as SVG: bars of one figure, or a curve for each contestant.

use std::ops::Range;
use std::path::Path;

use anyhow::{Result, anyhow};
use plotters::coord::Shift;
use plotters::coord::ranged1d::{KeyPointHint, NoDefaultFormatting, Ranged, ValueFormatter};
use plotters::coord::types::RangedCoordf64;
use plotters::prelude::*;

use super::number;
use super::table::{Row, rows};
use crate::cell::{Cell, Outcome};
use crate::statistics::median;

/// The plot of an experiment.
#[derive(Clone, Debug)]
pub(crate) enum Plot {
    /// A bar for each line of the table.
    Bars {
        /// What the bars are, with the unit.
        title: &'static str,
        figure: &'static str,
        /// By what the figure is multiplied to get the title's unit.
        scale: f64,
    },
    /// A curve for each line of the table, through the points of the first repetition that has some.
    Curves {
        /// The name of the curve.
        curve: &'static str,
        x: Axis,
        y: Axis,
        /// A bound on y, drawn as a line.
        bound: Option<f64>,
    },
}

/// An axis of curves.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Axis {
    pub(crate) title: &'static str,
    /// Whether it is logarithmic: then points that are not above zero are left out.
    pub(crate) is_logarithmic: bool,
}

const WIDTH: u32 = 900;
const MARGIN: i32 = 20;
const FONT: &str = "sans-serif";
const INK: RGBColor = RGBColor(40, 40, 40);

/// Colours that differ also for people who cannot tell red from green (Okabe and Ito), and how a
/// line is drawn when they are used up: the turn after the first is dashed.
const COLOURS: [RGBColor; 7] = [
    RGBColor(0, 114, 178),
    RGBColor(230, 159, 0),
    RGBColor(0, 158, 115),
    RGBColor(213, 94, 0),
    RGBColor(204, 121, 167),
    RGBColor(86, 180, 233),
    RGBColor(90, 90, 90),
];

impl Axis {
    pub(crate) fn linear(title: &'static str) -> Self {
        Self {
            title,
            is_logarithmic: false,
        }
    }

    pub(crate) fn logarithmic(title: &'static str) -> Self {
        Self {
            title,
            is_logarithmic: true,
        }
    }

    /// Where a value is on the axis.
    fn place(self, value: f64) -> Option<f64> {
        match self.is_logarithmic {
            false => Some(value),
            true => (value > 0.0).then(|| value.log10()),
        }
    }

    /// What stands at a place.
    fn label(self, place: f64) -> String {
        short(if self.is_logarithmic {
            10_f64.powf(place)
        } else {
            place
        })
    }

    /// The places of a range that get a label.
    fn marks(self, range: &Range<f64>) -> Vec<f64> {
        const LABELS: usize = 10;
        if !self.is_logarithmic {
            return RangedCoordf64::from(range.clone()).key_points(LABELS);
        }
        // 1, 2 and 5 of each power of ten, or the powers alone where those are enough.
        let powers = range.start.floor() as i32..=range.end.ceil() as i32;
        let digits: &[f64] = if range.end - range.start > 4.0 {
            &[1.0]
        } else {
            &[1.0, 2.0, 5.0]
        };
        let of_power = |power| {
            digits
                .iter()
                .map(move |digit| digit.log10() + f64::from(power))
        };
        let marks = powers.flat_map(of_power);
        marks.filter(|place| range.contains(place)).collect()
    }

    /// From a little before the first place to a little after the last.
    fn range(self, places: impl Iterator<Item = f64> + Clone) -> Range<f64> {
        let first = places.clone().fold(f64::INFINITY, f64::min);
        let last = places.fold(f64::NEG_INFINITY, f64::max);
        // A linear axis begins at zero: differences shall not look larger than they are.
        let first = if self.is_logarithmic {
            first
        } else {
            first.min(0.0)
        };
        let margin = ((last - first) * 0.05).max(0.05);
        let before = if self.is_logarithmic {
            first - margin
        } else {
            first
        };
        before..last + margin
    }
}

/// An axis on which something is drawn: from where to where.
struct Scale {
    axis: Axis,
    range: Range<f64>,
}

impl Ranged for Scale {
    type FormatOption = NoDefaultFormatting;
    type ValueType = f64;

    fn map(&self, value: &f64, limit: (i32, i32)) -> i32 {
        RangedCoordf64::from(self.range.clone()).map(value, limit)
    }

    fn key_points<Hint: KeyPointHint>(&self, _: Hint) -> Vec<f64> {
        self.axis.marks(&self.range)
    }

    fn range(&self) -> Range<f64> {
        self.range.clone()
    }
}

impl ValueFormatter<f64> for Scale {
    fn format(place: &f64) -> String {
        short(*place)
    }
}

impl Plot {
    /// Bars of a figure.
    pub(crate) fn bars(title: &'static str, figure: &'static str, scale: f64) -> Self {
        Self::Bars {
            title,
            figure,
            scale,
        }
    }

    /// Draws it for these cells; `false` where there is nothing to draw.
    pub(crate) fn draw(&self, heading: &str, cells: &[&Cell], path: &Path) -> Result<bool> {
        let rows = rows(cells);
        match self {
            Self::Bars {
                title,
                figure,
                scale,
            } => {
                let bar = |row: &Row<'_>| {
                    let figures = row.cells.iter().filter_map(|cell| cell.figure(figure));
                    let value = median(&figures.collect::<Vec<_>>())?;
                    Some((row.name(), value * scale))
                };
                let bars: Vec<(String, f64)> = rows.iter().filter_map(bar).collect();
                draw_bars(&format!("{heading}: {title}"), &bars, path)
            }
            Self::Curves { curve, x, y, bound } => {
                let points = |row: &Row<'_>| {
                    let points = row.cells.iter().find_map(|cell| match &cell.outcome {
                        Outcome::Measured(figures) => figures.curves.get(*curve),
                        Outcome::Failed(_) => None,
                    })?;
                    // In the order of the load: where it is too much the curve turns back.
                    let places: Vec<(f64, f64)> = points
                        .iter()
                        .filter_map(|(at, value)| Some((x.place(*at)?, y.place(*value)?)))
                        .collect();
                    (!places.is_empty()).then(|| (row.name(), places))
                };
                let curves: Vec<Curve> = rows.iter().filter_map(points).collect();
                draw_curves(heading, &curves, (*x, *y), *bound, path)
            }
        }
    }
}

/// A name and the places that the curve goes through.
type Curve = (String, Vec<(f64, f64)>);

fn draw_bars(heading: &str, bars: &[(String, f64)], path: &Path) -> Result<bool> {
    const ROW: i32 = 24;
    const NAMES: i32 = 330;
    const FIGURES: i32 = 110;
    const TOP: i32 = 56;
    let greatest = bars.iter().map(|(_, value)| *value).fold(0.0, f64::max);
    if greatest <= 0.0 {
        return Ok(false);
    }
    let height = TOP + ROW * i32::try_from(bars.len())? + MARGIN;
    let area = SVGBackend::new(path, (WIDTH, u32::try_from(height)?)).into_drawing_area();
    let width = f64::from(WIDTH as i32 - NAMES - FIGURES - MARGIN);
    let error = |error| anyhow!("the plot cannot be drawn: {error}");
    area.fill(&WHITE).map_err(error)?;
    let text = |size: i32| TextStyle::from((FONT, size).into_font()).color(&INK);
    area.draw_text(heading, &text(18), (MARGIN, MARGIN))
        .map_err(error)?;
    for (place, (name, value)) in bars.iter().enumerate() {
        let top = TOP + ROW * i32::try_from(place)?;
        let end = NAMES + (width * value.max(0.0) / greatest) as i32;
        let corners = [(NAMES, top), (end, top + ROW - 7)];
        let colour = COLOURS[0].filled();
        area.draw(&Rectangle::new(corners, colour)).map_err(error)?;
        area.draw_text(name, &text(14), (MARGIN, top + 1))
            .map_err(error)?;
        area.draw_text(&short(*value), &text(14), (end + 6, top + 1))
            .map_err(error)?;
    }
    area.present().map_err(error)?;
    Ok(true)
}

fn draw_curves(
    heading: &str,
    curves: &[Curve],
    (x, y): (Axis, Axis),
    bound: Option<f64>,
    path: &Path,
) -> Result<bool> {
    const HEIGHT: u32 = 540;
    if curves.is_empty() {
        return Ok(false);
    }
    let bound = bound.and_then(|bound| y.place(bound));
    let places = || curves.iter().flat_map(|(_, places)| places);
    let across = Scale {
        axis: x,
        range: x.range(places().map(|place| place.0)),
    };
    let up = Scale {
        axis: y,
        range: y.range(places().map(|place| place.1).chain(bound)),
    };
    let area = SVGBackend::new(path, (WIDTH, HEIGHT)).into_drawing_area();
    draw_chart(&area, heading, curves, (across, up), bound)
        .map_err(|error| anyhow!("the plot cannot be drawn: {error}"))?;
    Ok(true)
}

fn draw_chart<DB: DrawingBackend>(
    area: &DrawingArea<DB, Shift>,
    heading: &str,
    curves: &[Curve],
    (across, up): (Scale, Scale),
    bound: Option<f64>,
) -> Result<(), DrawingAreaErrorKind<DB::ErrorType>> {
    area.fill(&WHITE)?;
    let (x, y, ends) = (across.axis, up.axis, across.range());
    let mut chart = ChartBuilder::on(area)
        .caption(heading, TextStyle::from((FONT, 18).into_font()).color(&INK))
        .margin(MARGIN)
        .x_label_area_size(45)
        .y_label_area_size(75)
        .build_cartesian_2d(across, up)?;
    chart
        .configure_mesh()
        .x_desc(x.title)
        .y_desc(y.title)
        .x_label_formatter(&|place| x.label(*place))
        .y_label_formatter(&|place| y.label(*place))
        .light_line_style(WHITE)
        .bold_line_style(RGBColor(225, 225, 225))
        .label_style((FONT, 13))
        .draw()?;
    if let Some(bound) = bound {
        let ends = [(ends.start, bound), (ends.end, bound)];
        chart.draw_series(DashedLineSeries::new(ends, 4, 4, INK.stroke_width(1)))?;
    }
    for (number, (name, places)) in curves.iter().enumerate() {
        let colour = COLOURS[number % COLOURS.len()];
        let is_dashed = number >= COLOURS.len();
        let style = colour.stroke_width(2);
        let series = if is_dashed {
            chart.draw_series(DashedLineSeries::new(places.iter().copied(), 8, 5, style))?
        } else {
            chart.draw_series(LineSeries::new(places.iter().copied(), style))?
        };
        series.label(name).legend(move |(left, middle)| {
            let end = if is_dashed { left + 9 } else { left + 18 };
            PathElement::new([(left, middle), (end, middle)], style)
        });
        let point = |place: &(f64, f64)| Circle::new(*place, 3, colour.filled());
        chart.draw_series(places.iter().map(point))?;
    }
    chart
        .configure_series_labels()
        .position(SeriesLabelPosition::UpperLeft)
        .background_style(WHITE.mix(0.85))
        .border_style(RGBColor(200, 200, 200))
        .label_font((FONT, 13))
        .draw()?;
    area.present()
}

/// A number on an axis: `2.5 M`, `30 k`, `0.12`.
fn short(value: f64) -> String {
    let trimmed = |value: f64, unit: &str| {
        let decimals = if value.abs() >= 100.0 { 0 } else { 1 };
        let text = format!("{value:.decimals$}");
        let text = text.strip_suffix(".0").unwrap_or(&text);
        format!("{text}{unit}")
    };
    match value.abs() {
        size if size >= 1e6 => trimmed(value / 1e6, " M"),
        size if size >= 1e4 => trimmed(value / 1e3, " k"),
        size if size >= 1.0 || size == 0.0 => trimmed(value, ""),
        _ => number(value, 3),
    }
}

#[cfg(test)]
mod tests {
    use super::super::table::tests::cell;
    use super::*;
    use crate::cell::Figures;

    #[test]
    fn numbers_on_an_axis_are_short() {
        let texts = [2_500_000.0, 30_000.0, 250.0, 12.34, 0.0, 0.125].map(short);
        assert_eq!(texts, ["2.5 M", "30 k", "250", "12.3", "0", "0.125"]);
    }

    #[test]
    fn a_logarithmic_axis_has_no_place_for_zero() {
        let axis = Axis::logarithmic("ms");
        assert_eq!(axis.place(0.0), None);
        assert_eq!(axis.place(1000.0), Some(3.0));
        assert_eq!(axis.label(3.0), "1000");
        let labels = axis
            .marks(&(0.9..2.4))
            .into_iter()
            .map(|place| axis.label(place));
        assert_eq!(labels.collect::<Vec<_>>(), ["10", "20", "50", "100", "200"]);
        assert_eq!(Axis::linear("ms").range([2.0, 10.0].into_iter()).start, 0.0);
    }

    #[test]
    fn plots_name_whom_they_show_and_nothing_is_drawn_of_nothing() {
        let path = std::env::temp_dir().join(format!("tailrace-plot-{}.svg", std::process::id()));
        let bars = Plot::bars("bytes per stream", "user_bytes", 1.0);
        let mut ours = cell("ours", "", 1, &[("user_bytes", 150.0)]);
        assert!(bars.draw("Memory", &[&ours], &path).unwrap());
        let text = std::fs::read_to_string(&path).unwrap();
        assert!(text.contains("ours") && text.contains("150"), "{text}");
        let curves = Plot::Curves {
            curve: "p99",
            x: Axis::linear("rate"),
            y: Axis::logarithmic("ms"),
            bound: Some(250.0),
        };
        assert!(!curves.draw("Sustained", &[&ours], &path).unwrap());
        let mut figures = Figures::default();
        figures
            .curves
            .insert("p99".to_owned(), vec![(1.0, 5.0), (2.0, 0.0), (3.0, 500.0)]);
        ours.outcome = Outcome::Measured(figures);
        assert!(curves.draw("Sustained", &[&ours], &path).unwrap());
        let text = std::fs::read_to_string(&path).unwrap();
        assert!(
            text.contains("Sustained") && text.contains("ours"),
            "{text}"
        );
        std::fs::remove_file(&path).unwrap();
    }
}
