//! The report: a page in Markdown with a table and a plot for each experiment, made from the file of
//! results alone.

mod budget;
mod page;
mod plot;
mod table;

pub(crate) use budget::{Bar, Budget};
pub(crate) use page::write;
pub(crate) use plot::{Axis, Plot};
pub(crate) use table::Column;
#[cfg(test)]
pub(crate) use table::tests::cell as test_cell;

/// A number as people write it: so many decimals, thousands apart.
pub(crate) fn number(value: f64, decimals: usize) -> String {
    let text = format!("{:.decimals$}", value.abs());
    let (whole, fraction) = text.split_once('.').unwrap_or((&text, ""));
    let mut grouped = String::new();
    for (place, digit) in whole.chars().enumerate() {
        if place > 0 && (whole.len() - place).is_multiple_of(3) {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    if !fraction.is_empty() {
        grouped.push('.');
        grouped.push_str(fraction);
    }
    let is_zero = !grouped.contains(|character| matches!(character, '1'..='9'));
    if value < 0.0 && !is_zero {
        format!("−{grouped}")
    } else {
        grouped
    }
}

#[cfg(test)]
mod tests {
    use super::number;

    #[test]
    fn thousands_stand_apart() {
        assert_eq!(number(1_234_567.891, 1), "1,234,567.9");
        assert_eq!(number(999.6, 0), "1,000");
        assert_eq!(number(12.0, 2), "12.00");
        assert_eq!(number(-1234.0, 0), "−1,234");
        assert_eq!(number(-0.2, 0), "0");
    }
}
