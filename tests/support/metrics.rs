//! A reader of `/metrics`: Prometheus' text format, checked while it is read.

use std::collections::{BTreeMap, BTreeSet};

use super::http::Response;

/// The page, read.
#[derive(Debug)]
pub(crate) struct Metrics {
    /// Value by name and labels as written: `name{label="value"}`.
    samples: BTreeMap<String, f64>,
    /// Type by name.
    types: BTreeMap<String, String>,
}

impl Metrics {
    /// Reads the page; a panic where it is not well formed.
    pub(crate) fn parse(response: &Response) -> Self {
        assert_eq!(response.head.status, 200, "{response:?}");
        let content_type = response.head.value("content-type");
        assert!(content_type.is_some_and(|text| text.starts_with("text/plain; version=0.0.4")));
        let mut samples = BTreeMap::new();
        let mut types = BTreeMap::new();
        let mut helped = BTreeSet::new();
        for line in response.body.lines() {
            if let Some(rest) = line.strip_prefix("# HELP ") {
                let (name, text) = rest.split_once(' ').expect("HELP has a text");
                assert!(!text.is_empty() && helped.insert(name.to_owned()), "{line}");
            } else if let Some(rest) = line.strip_prefix("# TYPE ") {
                let (name, kind) = rest.split_once(' ').expect("TYPE has a type");
                assert!(matches!(kind, "counter" | "gauge" | "histogram"), "{line}");
                assert!(
                    types.insert(name.to_owned(), kind.to_owned()).is_none(),
                    "{line}"
                );
            } else {
                let (name, value) = line.rsplit_once(' ').expect("a sample has a value");
                let value = value
                    .parse()
                    .unwrap_or_else(|_| panic!("not a number: {line}"));
                let family = family(name);
                assert!(types.contains_key(family), "{line} has no TYPE before it");
                assert!(helped.contains(family), "{line} has no HELP before it");
                assert!(
                    samples.insert(name.to_owned(), value).is_none(),
                    "{line} twice"
                );
            }
        }
        assert!(response.body.ends_with('\n'), "the last line ends");
        Self { samples, types }
    }

    /// The value of a sample, written with its labels.
    pub(crate) fn value(&self, sample: &str) -> f64 {
        let value = self.samples.get(sample);
        *value.unwrap_or_else(|| panic!("no {sample} in {:#?}", self.samples.keys()))
    }

    /// The sum of all samples of a name, over their labels.
    pub(crate) fn sum(&self, name: &str) -> f64 {
        let of_name = |sample: &&String| sample.split('{').next() == Some(name);
        self.samples
            .keys()
            .filter(of_name)
            .map(|sample| self.samples[sample])
            .sum()
    }

    /// Whether there is a metric of this name and type.
    pub(crate) fn has(&self, name: &str, kind: &str) -> bool {
        self.types.get(name).is_some_and(|found| found == kind)
    }

    /// Every line, for searches.
    pub(crate) fn names(&self) -> impl Iterator<Item = &str> {
        self.samples.keys().map(String::as_str)
    }
}

/// The metric that a sample belongs to: its name without labels and a histogram's endings.
fn family(sample: &str) -> &str {
    let name = sample.split('{').next().expect("a split has a first part");
    ["_bucket", "_sum", "_count"]
        .iter()
        .find_map(|ending| name.strip_suffix(ending))
        .unwrap_or(name)
}
