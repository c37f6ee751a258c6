//! The rows, in as many versions as somebody may see: a row has one writer at a time, and who reads sees
//! what had ended when the snapshot was taken (PostgreSQL, "Concurrency Control").

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::schema::{Row, TABLES, TableId};

/// What a statement, or a transaction, sees.
#[derive(Clone, Debug)]
pub(super) struct Snapshot {
    /// No transaction from here on had ended.
    pub(super) xmax: u64,
    /// Those before that had not either.
    pub(super) running: BTreeSet<u64>,
}

impl Snapshot {
    pub(super) fn sees(&self, xid: u64) -> bool {
        xid < self.xmax && !self.running.contains(&xid)
    }

    /// As `pg_current_snapshot()` prints it.
    pub(super) fn text(&self) -> String {
        let xmin = self.running.first().copied().unwrap_or(self.xmax);
        let running: Vec<String> = self.running.iter().map(u64::to_string).collect();
        format!("{xmin}:{}:{}", self.xmax, running.join(","))
    }
}

/// What a transaction made of a row.
#[derive(Clone, Debug)]
struct Version {
    xid: u64,
    /// `None` where it is gone.
    row: Option<Row>,
}

/// The rows of every table, by their primary keys.
#[derive(Clone, Debug, Default)]
pub(super) struct Rows {
    tables: [BTreeMap<Arc<str>, Vec<Version>>; TABLES.len()],
}

impl Rows {
    /// The newest version of a row and who wrote it.
    pub(super) fn newest(&self, table: TableId, key: &str) -> Option<(u64, Option<&Row>)> {
        let versions = self.table(table).get(key)?;
        versions.last().map(|last| (last.xid, last.row.as_ref()))
    }

    /// Every row with its newest version.
    pub(super) fn keys(&self, table: TableId) -> impl Iterator<Item = &Arc<str>> {
        self.table(table).keys()
    }

    /// A row as a snapshot sees it.
    pub(super) fn seen(&self, table: TableId, key: &str, snapshot: &Snapshot) -> Option<&Row> {
        seen(self.table(table).get(key)?, snapshot)
    }

    /// All of a table as a snapshot sees them.
    pub(super) fn all_seen<'a>(
        &'a self,
        table: TableId,
        snapshot: &'a Snapshot,
    ) -> impl Iterator<Item = &'a Row> {
        let rows = self.table(table).values();
        rows.filter_map(|versions| seen(versions, snapshot))
    }

    /// A transaction makes this of a row.
    pub(super) fn write(&mut self, table: TableId, key: &Arc<str>, xid: u64, row: Option<Row>) {
        let versions = self.tables[usize::from(table.0)].entry(key.clone());
        versions.or_default().push(Version { xid, row });
    }

    /// Takes back the newest version of a row, which a transaction wrote.
    pub(super) fn take_back(&mut self, table: TableId, key: &str, xid: u64) {
        let rows = &mut self.tables[usize::from(table.0)];
        let versions = rows.get_mut(key).expect("it was written");
        let newest = versions.pop().expect("it was written");
        assert_eq!(newest.xid, xid, "a row has one writer at a time");
        if versions.is_empty() {
            rows.remove(key);
        }
    }

    /// Forgets everything that some transactions wrote.
    pub(super) fn forget(&mut self, is_lost: impl Fn(u64) -> bool) {
        for rows in &mut self.tables {
            rows.retain(|_, versions| {
                versions.retain(|version| !is_lost(version.xid));
                !versions.is_empty()
            });
        }
    }

    fn table(&self, table: TableId) -> &BTreeMap<Arc<str>, Vec<Version>> {
        &self.tables[usize::from(table.0)]
    }
}

fn seen<'a>(versions: &'a [Version], snapshot: &Snapshot) -> Option<&'a Row> {
    let mut versions = versions.iter().rev();
    let seen = versions.find(|version| snapshot.sees(version.xid))?;
    seen.row.as_ref()
}
