//! What the feed counts, by table and by reason. Bounded: tables beyond the bound share one entry.

use std::collections::BTreeMap;

use crate::application::Refused;
use crate::limits::COUNTED_TABLES_MAX;
use crate::routing::Table;

/// The name of the entry that the tables beyond the bound share.
const OTHERS: &str = "(others)";

/// The counters of a feed. They outlive its connections.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    unroutable: BTreeMap<String, u64>,
    withheld: BTreeMap<String, Vec<String>>,
    refused: BTreeMap<Refused, u64>,
    pub(crate) events: u64,
    pub(crate) replayed: u64,
}

impl Tally {
    /// A change went to nobody. Says whether it is the first of its table.
    pub(crate) fn on_unroutable(&mut self, table: &str) -> bool {
        let full = self.unroutable.len() >= COUNTED_TABLES_MAX;
        let name = if full && !self.unroutable.contains_key(table) {
            OTHERS
        } else {
            table
        };
        match self.unroutable.get_mut(name) {
            Some(count) => {
                *count += 1;
                false
            }
            None => {
                self.unroutable.insert(name.to_owned(), 1);
                true
            }
        }
    }

    /// A table was described. Says whether what it withholds is news.
    pub(crate) fn on_table(&mut self, table: &Table) -> bool {
        let known = self.withheld.get(&table.name);
        if known.map_or(&[][..], Vec::as_slice) == table.withheld {
            return false;
        }
        if known.is_none() && self.withheld.len() >= COUNTED_TABLES_MAX {
            return false;
        }
        self.withheld
            .insert(table.name.clone(), table.withheld.clone());
        true
    }

    pub(crate) fn on_refused(&mut self, reason: Refused) -> bool {
        let count = self.refused.entry(reason).or_default();
        *count += 1;
        *count == 1
    }

    pub(crate) fn unroutable(&self) -> Vec<(String, u64)> {
        self.unroutable
            .iter()
            .map(|(table, count)| (table.clone(), *count))
            .collect()
    }

    pub(crate) fn withheld(&self) -> Vec<(String, Vec<String>)> {
        let listed = self
            .withheld
            .iter()
            .filter(|(_, columns)| !columns.is_empty());
        listed
            .map(|(table, columns)| (table.clone(), columns.clone()))
            .collect()
    }

    pub(crate) fn refused(&self) -> Vec<(&'static str, u64)> {
        self.refused
            .iter()
            .map(|(reason, count)| (reason.as_str(), *count))
            .collect()
    }
}
