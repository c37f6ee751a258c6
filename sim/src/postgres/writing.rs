//! What the application's transactions do: begin, write, commit, abort, prepare.
//!
//! The rules are PostgreSQL's: a row that another open transaction has written cannot be written; what a
//! transaction wrote is seen by others when it has ended, which may be a moment after its commit is in the
//! log, and after a walsender has sent it.

use std::sync::Arc;

use super::Postgres;
use super::rows::Snapshot;
use super::schema::{MEMBER, Row, TableId};
use super::wal::{Change, LooseMessage, Meaning, Record, Transaction, What};
use crate::sometimes::State;
use crate::time::Time;

/// A transaction of more changes than these is a large one.
const LARGE: usize = 50;

/// The number of a transaction, in all its 64 bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Xid(pub u64);

/// Why something cannot be written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// The server is down, or the transaction went with it.
    Gone,
    /// Another transaction that has not ended has written the row; a real one would wait.
    Locked,
    /// There is no such row, or there is one where there must be none.
    NoSuchRow,
}

/// A transaction that has not ended.
#[derive(Clone, Debug, Default)]
pub(super) struct Open {
    changes: Vec<Change>,
    /// The rows that were written, in order.
    written: Vec<(TableId, Arc<str>)>,
    /// Where it was prepared, if it was: from there on it outlives its connection, and the server.
    pub(super) prepared_at: Option<u64>,
}

/// A place within a transaction to which it can go back.
#[derive(Clone, Copy, Debug)]
pub struct Savepoint {
    changes: usize,
    written: usize,
}

impl Postgres {
    /// Begins a transaction.
    ///
    /// # Errors
    ///
    /// Where the server is down.
    pub fn begin(&mut self) -> Result<Xid, Refusal> {
        if !self.is_up() {
            return Err(Refusal::Gone);
        }
        let xid = self.next_xid;
        self.next_xid += 1;
        self.begun.push((self.wal.insert, xid));
        self.open.insert(xid, Open::default());
        Ok(Xid(xid))
    }

    /// Writes a new row.
    ///
    /// # Errors
    ///
    /// Where there is one by its key, or the transaction is gone.
    pub fn insert(&mut self, xid: Xid, table: TableId, new: Row) -> Result<(), Refusal> {
        let key = new[0].clone().expect("a primary key is not NULL");
        if self.writable(xid, table, &key)?.is_some() {
            return Err(Refusal::NoSuchRow);
        }
        self.put(
            xid,
            table,
            key,
            Some(new.clone()),
            What::Insert { table, new },
        )
    }

    /// Makes another of a row: `change` is given its values.
    ///
    /// # Errors
    ///
    /// Where there is no such row, another transaction has written it, or this one is gone.
    pub fn update(
        &mut self,
        xid: Xid,
        table: TableId,
        key: &str,
        change: impl FnOnce(&mut Vec<super::schema::Value>),
    ) -> Result<(), Refusal> {
        let old = self.writable(xid, table, key)?.ok_or(Refusal::NoSuchRow)?;
        let mut values = old.to_vec();
        change(&mut values);
        let new: Row = values.into();
        let key = old[0].clone().expect("a primary key is not NULL");
        assert_eq!(old[0], new[0], "the primary key stays");
        let what = What::Update {
            table,
            old,
            new: new.clone(),
        };
        self.put(xid, table, key, Some(new), what)
    }

    /// Deletes a row.
    ///
    /// # Errors
    ///
    /// As for [`Self::update`].
    pub fn delete(&mut self, xid: Xid, table: TableId, key: &str) -> Result<(), Refusal> {
        let old = self.writable(xid, table, key)?.ok_or(Refusal::NoSuchRow)?;
        let key = old[0].clone().expect("a primary key is not NULL");
        self.put(xid, table, key, None, What::Delete { table, old })
    }

    /// Empties tables.
    ///
    /// # Errors
    ///
    /// Where another transaction has written a row of one, or this one is gone.
    pub fn truncate(&mut self, xid: Xid, tables: &[TableId]) -> Result<(), Refusal> {
        let mut all = Vec::new();
        for table in tables {
            let keys: Vec<Arc<str>> = self.rows.keys(*table).cloned().collect();
            for key in keys {
                if self.writable(xid, *table, &key)?.is_some() {
                    all.push((*table, key));
                }
            }
        }
        for (table, key) in all {
            self.rows.write(table, &key, xid.0, None);
            self.opened(xid)?.written.push((table, key));
        }
        let published = tables.iter().filter(|table| table.table().is_published);
        let published: Vec<TableId> = published.copied().collect();
        if published.is_empty() {
            return Ok(());
        }
        self.record(xid, 16, What::Truncate(published))
    }

    /// Emits a message within the transaction (`pg_logical_emit_message(true, …)`).
    ///
    /// # Errors
    ///
    /// Where the transaction is gone.
    pub fn emit(
        &mut self,
        xid: Xid,
        prefix: &str,
        content: &str,
        meaning: Option<Meaning>,
    ) -> Result<(), Refusal> {
        let what = What::Message {
            prefix: Arc::from(prefix),
            content: Arc::from(content),
            meaning: meaning.map(Arc::new),
        };
        self.record(xid, 16 + content.len(), what)
    }

    /// Emits one that belongs to no transaction (`pg_logical_emit_message(false, …)`).
    ///
    /// # Errors
    ///
    /// Where the server is down.
    pub fn emit_loose(&mut self, prefix: &str, content: &str) -> Result<(), Refusal> {
        if !self.is_up() {
            return Err(Refusal::Gone);
        }
        let lsn = self.wal.write(content.len());
        self.wal.flush();
        self.wal.push(Record::Message(Arc::new(LooseMessage {
            lsn,
            end: self.wal.insert,
            prefix: Arc::from(prefix),
            content: Arc::from(content),
        })));
        Ok(())
    }

    /// Where the transaction stands.
    ///
    /// # Errors
    ///
    /// Where it is gone.
    pub fn savepoint(&mut self, xid: Xid) -> Result<Savepoint, Refusal> {
        let open = self.opened(xid)?;
        Ok(Savepoint {
            changes: open.changes.len(),
            written: open.written.len(),
        })
    }

    /// Takes back everything behind a place of the transaction.
    ///
    /// # Errors
    ///
    /// Where it is gone.
    pub fn roll_back_to(&mut self, xid: Xid, savepoint: Savepoint) -> Result<(), Refusal> {
        let open = self.opened(xid)?;
        open.changes.truncate(savepoint.changes);
        let written = open.written.split_off(savepoint.written);
        self.take_back(xid, written);
        Ok(())
    }

    /// Whether others see everything that was committed.
    pub fn is_seen(&self) -> bool {
        self.hidden.is_empty()
    }

    /// Commits. Others see it when some time has passed: with `hidden` it waits so long for a synchronous
    /// standby.
    ///
    /// # Errors
    ///
    /// Where the transaction is gone.
    pub fn commit(&mut self, now: Time, xid: Xid, hidden: Time) -> Result<(), Refusal> {
        self.opened(xid)?;
        let open = self.open.remove(&xid.0).expect("it was just there");
        self.note_members(&open.changes);
        let commit = self.wal.write(0);
        self.wal.flush();
        let end = self.wal.insert;
        // Before PostgreSQL 15 a transaction of which nothing is published is told, too.
        if !open.changes.is_empty() || self.version.major < 15 {
            self.wal.push(Record::Transaction(Arc::new(Transaction {
                timeline: self.wal.timeline,
                commit,
                end,
                unix_us: now.unix_us(),
                xid: xid.0,
                changes: open.changes,
            })));
        }
        if hidden > Time(0) {
            self.hidden.insert(xid.0, now + hidden);
        }
        Ok(())
    }

    /// Gives up everything that the transaction wrote.
    ///
    /// # Errors
    ///
    /// Where it is gone.
    pub fn abort(&mut self, xid: Xid) -> Result<(), Refusal> {
        self.opened(xid)?;
        let open = self.open.remove(&xid.0).expect("it was just there");
        if open.changes.len() > LARGE {
            self.reached.reach(State::LargeAborted);
        }
        self.take_back(xid, open.written);
        self.wal.write(0);
        Ok(())
    }

    /// Prepares it to be committed (`PREPARE TRANSACTION`): it outlives a crash.
    ///
    /// # Errors
    ///
    /// Where it is gone.
    pub fn prepare(&mut self, xid: Xid) -> Result<(), Refusal> {
        self.opened(xid)?;
        self.wal.write(128);
        self.wal.flush();
        let end = self.wal.insert;
        self.opened(xid)?.prepared_at = Some(end);
        Ok(())
    }

    /// Whether a transaction has ended, for everybody to see.
    pub fn has_ended(&self, xid: Xid) -> bool {
        !self.open.contains_key(&xid.0) && !self.hidden.contains_key(&xid.0)
    }

    /// A row as a statement sees it that is asked now.
    pub fn row(&self, table: TableId, key: &str) -> Option<&Row> {
        self.rows.seen(table, key, &self.snapshot())
    }

    /// All rows of a table as a statement sees them that is asked now.
    pub fn rows_of(&self, table: TableId) -> Vec<Row> {
        self.rows
            .all_seen(table, &self.snapshot())
            .cloned()
            .collect()
    }

    /// What a statement sees that is asked now.
    pub(super) fn snapshot(&self) -> Snapshot {
        let running = self.open.keys().chain(self.hidden.keys());
        Snapshot {
            xmax: self.next_xid,
            running: running.copied().collect(),
        }
    }

    /// The newest version of a row, if this transaction may write it.
    fn writable(&mut self, xid: Xid, table: TableId, key: &str) -> Result<Option<Row>, Refusal> {
        self.opened(xid)?;
        let Some((writer, row)) = self.rows.newest(table, key) else {
            return Ok(None);
        };
        let is_ended = !self.open.contains_key(&writer) && !self.hidden.contains_key(&writer);
        if writer == xid.0 || is_ended {
            Ok(row.cloned())
        } else {
            Err(Refusal::Locked)
        }
    }

    fn put(
        &mut self,
        xid: Xid,
        table: TableId,
        key: Arc<str>,
        row: Option<Row>,
        what: What,
    ) -> Result<(), Refusal> {
        let values = row.iter().flat_map(|row| row.iter().flatten());
        let bytes: usize = values.map(|value| value.len()).sum();
        self.rows.write(table, &key, xid.0, row);
        self.opened(xid)?.written.push((table, key));
        if table.table().is_published {
            self.record(xid, bytes, what)
        } else {
            self.wal.write(bytes);
            Ok(())
        }
    }

    fn record(&mut self, xid: Xid, bytes: usize, what: What) -> Result<(), Refusal> {
        self.opened(xid)?;
        let lsn = self.wal.write(bytes);
        self.opened(xid)?.changes.push(Change { lsn, what });
        Ok(())
    }

    /// Notes who goes, and who is back.
    fn note_members(&mut self, changes: &[Change]) {
        let pair = |row: &Row| (row[1].clone(), row[2].clone());
        for change in changes {
            match &change.what {
                What::Delete { table: MEMBER, old } => {
                    self.removed.insert(pair(old));
                }
                What::Insert { table: MEMBER, new } if self.removed.contains(&pair(new)) => {
                    self.reached.reach(State::MemberRemovedAndBack);
                }
                _ => {}
            }
        }
    }

    fn take_back(&mut self, xid: Xid, written: Vec<(TableId, Arc<str>)>) {
        for (table, key) in written.into_iter().rev() {
            self.rows.take_back(table, &key, xid.0);
        }
    }

    fn opened(&mut self, xid: Xid) -> Result<&mut Open, Refusal> {
        self.open.get_mut(&xid.0).ok_or(Refusal::Gone)
    }
}
