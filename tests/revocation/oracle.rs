//! The oracle: in which order PostgreSQL committed what, said by its own output plugin
//! `test_decoding`. It shares nothing with the product.

use std::collections::HashMap;

use crate::decoding::{Datum, Line};
use crate::support::sql::Sql;

const SLOT: &str = "revocation_oracle";

/// The tables whose inserts are the events of a run.
pub(crate) const EVENT_TABLES: [&str; 2] = ["Property", "Activity"];

/// Makes the slot. What was written before is not seen.
pub(crate) fn create_slot(sql: &Sql) {
    sql.value(&format!(
        "SELECT lsn FROM pg_create_logical_replication_slot('{SLOT}', 'test_decoding')"
    ));
}

/// The order of the commits of a run. A place is the number of a transaction in it.
pub(crate) struct Order {
    transactions: HashMap<u64, usize>,
    rows: HashMap<String, usize>,
    /// The rows, in order.
    pub(crate) events: Vec<String>,
}

impl Order {
    /// Reads the whole run.
    pub(crate) fn read(sql: &Sql) -> Self {
        let mut order = Self {
            transactions: HashMap::new(),
            rows: HashMap::new(),
            events: Vec::new(),
        };
        let query = format!("SELECT data FROM pg_logical_slot_peek_changes('{SLOT}', NULL, NULL)");
        let rows = sql.try_rows(&query).expect("the slot is ours");
        for line in rows.into_iter().flatten().flatten() {
            order.note(&line);
        }
        order
    }

    fn note(&mut self, line: &str) {
        if let Some(xid) = line.strip_prefix("BEGIN ") {
            let place = self.transactions.len();
            let xid = xid.parse().expect("a transaction has a number");
            self.transactions.insert(xid, place);
            return;
        }
        if line.starts_with("COMMIT") {
            return;
        }
        let Line::Row(row) = Line::parse(line) else {
            panic!("nobody writes messages here: {line}");
        };
        if row.action != "INSERT" || !EVENT_TABLES.contains(&row.table.as_str()) {
            return;
        }
        let columns = row.new.expect("an insert has a new row");
        let id = columns.into_iter().find(|column| column.name == "id");
        let Some(Datum::Text(id)) = id.map(|column| column.value) else {
            panic!("a row without an id: {line}");
        };
        // BEGIN comes before, and counted it.
        self.rows.insert(id.clone(), self.transactions.len() - 1);
        self.events.push(id);
    }

    /// The place of a transaction.
    pub(crate) fn transaction(&self, xid: u64) -> usize {
        let place = self.transactions.get(&(xid & u64::from(u32::MAX)));
        *place.unwrap_or_else(|| panic!("transaction {xid} was committed"))
    }

    /// The place of the transaction that wrote this row; `None` where nobody did.
    pub(crate) fn row(&self, id: &str) -> Option<usize> {
        self.rows.get(id).copied()
    }
}
