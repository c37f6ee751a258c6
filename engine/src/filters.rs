//! Filters that classes have in common: each is kept once, however many organisations have a class for it.

use std::collections::BTreeMap;

use wire::Filter;

/// The filters of all classes, and how many classes have each.
#[derive(Debug, Default)]
pub(crate) struct Filters(BTreeMap<Filter, u32>);

impl Filters {
    /// The one copy of a filter, for a class that is made.
    pub(crate) fn take(&mut self, filter: Filter) -> Filter {
        if filter == Filter::default() {
            // It holds nothing that could be shared.
            return filter;
        }
        let kept = self.0.range(&filter..).next();
        let kept = kept.filter(|(kept, _)| **kept == filter);
        let filter = kept.map_or(filter, |(kept, _)| kept.clone());
        *self.0.entry(filter.clone()).or_default() += 1;
        filter
    }

    /// Whether no class has one.
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// A class that has a filter is no more.
    pub(crate) fn give_back(&mut self, filter: &Filter) {
        if let Some(classes) = self.0.get_mut(filter) {
            *classes -= 1;
            if *classes == 0 {
                self.0.remove(filter);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use wire::Name;

    use super::*;

    fn filter(channel: &str) -> Filter {
        Filter::new(vec![Name::new(channel).unwrap()], vec![], vec![])
    }

    #[test]
    fn a_filter_is_kept_while_a_class_has_it() {
        let mut filters = Filters::default();
        let (one, two) = (filters.take(filter("a")), filters.take(filter("a")));
        assert!(std::ptr::eq(one.channels(), two.channels()));
        filters.take(filter("b"));
        filters.take(Filter::default());
        assert_eq!(filters.0.len(), 2);
        for filter in [&one, &filter("b"), &Filter::default()] {
            filters.give_back(filter);
        }
        assert_eq!(filters.0.len(), 1);
        filters.give_back(&two);
        assert!(filters.0.is_empty());
    }
}
