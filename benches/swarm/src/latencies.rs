//! A histogram of durations, which travels as text and can be added to another process's.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hdrhistogram::Histogram;
use hdrhistogram::serialization::{Deserializer as HistogramReader, Serializer as _, V2Serializer};
use serde::de::Error as _;
use serde::ser::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// The longest duration that is told apart from longer ones, in microseconds: a quarter of an hour.
const LONGEST: u64 = 15 * 60 * 1_000_000;

/// How many decimal digits of a duration are kept.
const DIGITS: u8 = 3;

/// Durations, counted by their microseconds at three digits.
#[derive(Clone, PartialEq)]
pub struct Latencies(Histogram<u64>);

impl Default for Latencies {
    fn default() -> Self {
        let histogram = Histogram::new_with_bounds(1, LONGEST, DIGITS);
        Self(histogram.expect("the bounds are in order"))
    }
}

impl Latencies {
    /// Counts one duration.
    #[inline]
    pub fn record_nanoseconds(&mut self, nanoseconds: u64) {
        self.0.saturating_record(nanoseconds / 1000);
    }

    /// Adds what another one counted.
    pub fn merge(&mut self, other: &Self) {
        let added = self.0.add(&other.0);
        added.expect("all of them have the same bounds");
    }

    /// Forgets everything.
    pub fn clear(&mut self) {
        self.0.reset();
    }

    /// How many durations were counted.
    pub fn count(&self) -> u64 {
        self.0.len()
    }

    /// The duration in milliseconds that this many of a hundred do not exceed; zero where nothing
    /// was counted.
    pub fn percentile_milliseconds(&self, percentile: f64) -> f64 {
        self.0.value_at_percentile(percentile) as f64 / 1000.0
    }

    /// The longest, in milliseconds.
    pub fn max_milliseconds(&self) -> f64 {
        self.0.max() as f64 / 1000.0
    }

    /// The mean, in milliseconds.
    pub fn mean_milliseconds(&self) -> f64 {
        self.0.mean() / 1000.0
    }
}

impl fmt::Debug for Latencies {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            formatter,
            "{} durations, p50 {} ms, p99 {} ms, longest {} ms",
            self.count(),
            self.percentile_milliseconds(50.0),
            self.percentile_milliseconds(99.0),
            self.max_milliseconds()
        )
    }
}

impl Serialize for Latencies {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut bytes = Vec::new();
        let written = V2Serializer::new().serialize(&self.0, &mut bytes);
        written.map_err(S::Error::custom)?;
        serializer.serialize_str(&STANDARD.encode(bytes))
    }
}

impl<'de> Deserialize<'de> for Latencies {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let bytes = STANDARD.decode(text).map_err(D::Error::custom)?;
        let read: Histogram<u64> = HistogramReader::new()
            .deserialize(&mut bytes.as_slice())
            .map_err(|error| D::Error::custom(format!("not a histogram: {error:?}")))?;
        // What was read may have other bounds than ours: what is added to ours has ours.
        let mut latencies = Self::default();
        let added = latencies.0.add(&read);
        added.map_err(|error| D::Error::custom(format!("a histogram of others: {error:?}")))?;
        Ok(latencies)
    }
}

#[cfg(test)]
mod tests {
    use super::Latencies;

    fn of(milliseconds: impl IntoIterator<Item = u64>) -> Latencies {
        let mut latencies = Latencies::default();
        for duration in milliseconds {
            latencies.record_nanoseconds(duration * 1_000_000);
        }
        latencies
    }

    #[test]
    fn percentiles_are_those_of_what_was_counted() {
        let latencies = of(1..=1000);
        assert_eq!(latencies.count(), 1000);
        let near = |value: f64, expected: f64| (value - expected).abs() <= expected / 900.0;
        assert!(near(latencies.percentile_milliseconds(50.0), 500.0));
        assert!(near(latencies.percentile_milliseconds(99.0), 990.0));
        assert!(near(latencies.max_milliseconds(), 1000.0));
    }

    #[test]
    fn several_processes_become_one() {
        let (one, other) = (of(1..=500), of(501..=1000));
        let text = serde_json::to_string(&other).expect("a histogram is written");
        let read: Latencies = serde_json::from_str(&text).expect("and read");
        assert_eq!(read, other);
        let mut sum = one;
        sum.merge(&read);
        assert_eq!(sum, of(1..=1000));
    }

    #[test]
    fn what_is_longer_than_the_longest_counts_as_the_longest() {
        let latencies = of([24 * 60 * 60 * 1000]);
        assert_eq!(latencies.count(), 1);
        assert!(latencies.max_milliseconds() >= 900_000.0);
    }

    #[test]
    fn what_is_no_histogram_is_refused() {
        assert!(serde_json::from_str::<Latencies>("\"AAAA\"").is_err());
        assert!(serde_json::from_str::<Latencies>("\"not base64!\"").is_err());
    }
}
