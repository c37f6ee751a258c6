//! The oracle: a slot of `test_decoding`, read over SQL while the run goes on, so that it holds back
//! no more of the log than the product itself. It shares nothing with the product.

use std::time::Duration;

use crate::decoding::Line;
use crate::stage::Stage;
use crate::support::Database;
use crate::support::sql::Sql;
use crate::writers::{END, ORGANISATIONS};

const SLOT: &str = "crash_oracle";

/// How long it rests between two looks.
const REST: Duration = Duration::from_secs(5);

/// After how many changes a look ends; a transaction comes whole.
const CHANGES_MAX: usize = 2_000;

/// A committed transaction.
pub(crate) struct Transaction {
    /// The position after its commit record.
    pub(crate) end: u64,
    /// The time of its commit, as PostgreSQL writes it.
    pub(crate) at: String,
    /// What it did, line by line as `test_decoding` says it.
    pub(crate) changes: Vec<String>,
}

/// Makes the slot. What was written before is not seen.
pub(crate) fn create_slot(sql: &Sql) {
    sql.value(&format!(
        "SELECT lsn FROM pg_create_logical_replication_slot('{SLOT}', 'test_decoding')"
    ));
}

/// Reads until the last event of every organisation; whatever goes away meanwhile.
pub(crate) fn read(stage: &Stage, database: &Database) -> Vec<Transaction> {
    let _actor = stage.actor();
    let mut transactions: Vec<Transaction> = Vec::new();
    let mut ends_seen = 0;
    while !stage.is_broken_off() && ends_seen < ORGANISATIONS.len() {
        let look = database
            .try_connect()
            .and_then(|sql| look(&sql, &mut transactions));
        match look {
            Ok(new) if new > 0 => {
                let new = transactions.iter().rev().take(new);
                let lines = new.flat_map(|transaction| &transaction.changes);
                ends_seen += lines.filter(|line| line.contains(END)).count();
            }
            Ok(_) | Err(_) => {
                stage.sleep(REST, Stage::is_closing);
                // At the end there is nothing else to do than to look.
                stage.sleep(Duration::from_millis(100), Stage::is_broken_off);
            }
        }
    }
    transactions
}

/// Takes what is new, and says how many transactions that were. They are looked at first and the slot
/// is moved after they are here: an answer may be lost with the server.
fn look(sql: &Sql, all: &mut Vec<Transaction>) -> Result<usize, tokio_postgres::Error> {
    let known = all.last().map_or(0, |last| last.end);
    let before = all.len();
    let rows = sql.try_rows(&format!(
        "SELECT lsn - '0/0'::pg_lsn, data FROM pg_logical_slot_peek_changes('{SLOT}', NULL, \
         {CHANGES_MAX}, 'include-timestamp', '1')"
    ))?;
    let mut changes = Vec::new();
    for row in rows {
        let [Some(lsn), Some(data)] = <[_; 2]>::try_from(row).expect("two columns") else {
            panic!("a change without a position or a text");
        };
        if data.starts_with("BEGIN") {
            changes.clear();
        } else if data.starts_with("COMMIT") {
            let Line::Commit { at } = Line::parse(&data) else {
                panic!("no commit: {data}");
            };
            let end = lsn.parse().expect("a position is a number");
            let changes = std::mem::take(&mut changes);
            // After a crash a slot may go back to an earlier position.
            if end > known {
                all.push(Transaction { end, at, changes });
            }
        } else {
            changes.push(data);
        }
    }
    if let Some(last) = all.last() {
        let end = last.end;
        sql.try_rows(&format!(
            "SELECT pg_replication_slot_advance('{SLOT}', '0/0'::pg_lsn + {end})"
        ))?;
    }
    Ok(all.len() - before)
}
