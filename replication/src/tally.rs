//! What the feed counts, by table and by reason. Bounded: tables beyond the bound share one entry.

use std::collections::{BTreeMap, BTreeSet};

use crate::application::Refused;
use crate::limits::{CHANNELS_MAX, COUNTED_TABLES_MAX};
use crate::routing::Table;

/// The name of the entry that the tables beyond the bound share.
const OTHERS: &str = "(others)";

/// The counters of a feed. They outlive its connections.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    tables: Vec<Counted>,
    /// Where each table is in `tables`.
    places: BTreeMap<String, usize>,
    withheld: BTreeMap<String, Vec<String>>,
    refused: BTreeMap<Refused, u64>,
    channels: BTreeSet<String>,
    pub(crate) events: u64,
    pub(crate) replayed: u64,
}

/// The counters of a table.
#[derive(Debug, Default)]
struct Counted {
    name: String,
    unroutable: u64,
    unscoped: u64,
}

impl Tally {
    /// The place of a table's counters, for [`Table::counted`].
    pub(crate) fn place_of(&mut self, table: &str) -> usize {
        if let Some(place) = self.places.get(table) {
            return *place;
        }
        let is_full = self.tables.len() >= COUNTED_TABLES_MAX;
        if is_full && let Some(place) = self.places.get(OTHERS) {
            return *place;
        }
        let name = if is_full { OTHERS } else { table }.to_owned();
        self.places.insert(name.clone(), self.tables.len());
        self.tables.push(Counted {
            name,
            ..Counted::default()
        });
        self.tables.len() - 1
    }

    /// A change went to nobody. Says whether it is the first of its table.
    pub(crate) fn on_unroutable(&mut self, table: &Table) -> bool {
        let count = &mut self.tables[table.counted].unroutable;
        *count += 1;
        *count == 1
    }

    /// A row changed, and nothing says to whom it belonged before.
    pub(crate) fn on_unscoped(&mut self, table: &Table) {
        self.tables[table.counted].unscoped += 1;
    }

    /// A table was described. Says whether what it withholds is news.
    pub(crate) fn on_withheld(&mut self, table: &Table) -> bool {
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

    pub(crate) fn on_refused(&mut self, reason: Refused) {
        *self.refused.entry(reason).or_default() += 1;
    }

    /// There may be events of this channel.
    pub(crate) fn on_channel(&mut self, channel: &str) {
        // One for each user would be as many as there are users.
        let channel = match channel.split_once(':') {
            Some(("user", _)) => "user",
            _ => channel,
        };
        if self.channels.len() < CHANNELS_MAX && !self.channels.contains(channel) {
            self.channels.insert(channel.to_owned());
        }
    }

    pub(crate) fn channels(&self) -> Vec<String> {
        self.channels.iter().cloned().collect()
    }

    pub(crate) fn unroutable(&self) -> Vec<(String, u64)> {
        self.counts(|table| table.unroutable)
    }

    pub(crate) fn unscoped(&self) -> Vec<(String, u64)> {
        self.counts(|table| table.unscoped)
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

    /// What was counted of each table, sorted by name.
    fn counts(&self, of: impl Fn(&Counted) -> u64) -> Vec<(String, u64)> {
        let places = self.places.values().map(|place| &self.tables[*place]);
        let counted = places.map(|table| (table.name.clone(), of(table)));
        counted.filter(|(_, count)| *count > 0).collect()
    }
}
