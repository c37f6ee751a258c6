//! The application: writers whose transactions do everything that a stream has to follow, and the two
//! special transactions of a run, the long one that strikes aim at and the last one.
//!
//! A commit whose answer was lost may have happened or not; that is for the oracle to know.

use std::time::Duration;

use crate::course::is_our_mistake;
use crate::random::Random;
use crate::stage::Stage;
use crate::support::Database;
use crate::support::sql::Sql;

/// The organisations.
pub(crate) const ORGANISATIONS: [&str; 3] = ["acme", "globex", "initech"];

/// What stands in every event of a long transaction, before its number.
pub(crate) const LONG: &str = r#""name":"long "#;

/// What stands in the last event of an organisation.
pub(crate) const END: &str = r#""type":"crash.end""#;

/// How many rows a long transaction has: dozens of batches, so that a strike finds it half read.
const LONG_ROWS: u32 = 4_000;

/// How long a writer rests between two transactions, at the most.
const REST: Duration = Duration::from_millis(180);

/// Of how many rows a writer remembers that they are there.
const ROWS_MAX: usize = 500;

/// One of the application's servers.
pub(crate) struct Writer<'a> {
    pub(crate) number: usize,
    pub(crate) stage: &'a Stage,
    pub(crate) random: Random,
    /// Rows that should be there, and whose they are.
    rows: Vec<Row>,
}

#[derive(Clone)]
struct Row {
    table: &'static str,
    id: String,
    organisation: &'static str,
}

impl<'a> Writer<'a> {
    pub(crate) fn new(number: usize, stage: &'a Stage, random: Random) -> Self {
        Self {
            number,
            stage,
            random,
            rows: Vec::new(),
        }
    }

    /// Writes until the run closes; connects again whenever the server is gone. Returns how many
    /// commits were answered.
    pub(crate) fn run(mut self, database: &Database) -> u64 {
        let _actor = self.stage.actor();
        let mut answered = 0;
        while !self.stage.is_closing() {
            let Ok(sql) = database.try_connect() else {
                self.stage
                    .sleep(Duration::from_millis(50), Stage::is_closing);
                continue;
            };
            while !self.stage.is_closing() {
                match self.transaction(&sql) {
                    Ok(true) => answered += 1,
                    Ok(false) => {}
                    Err(error) if error.as_db_error().is_some_and(is_our_mistake) => {
                        panic!("a writer's statement is wrong: {error:?}")
                    }
                    Err(_) => break,
                }
                let rest = self.random.duration(REST);
                self.stage.sleep(rest, Stage::is_closing);
            }
        }
        answered
    }

    /// One transaction; says whether it was committed.
    fn transaction(&mut self, sql: &Sql) -> Result<bool, tokio_postgres::Error> {
        let before = self.rows.clone();
        let commits = self.random.chance(90);
        let outcome = self.statements(sql, if commits { "COMMIT" } else { "ROLLBACK" });
        if !commits || outcome.is_err() {
            // Where the answer was lost this may be wrong, and an update finds no row: no harm.
            self.rows = before;
        }
        let excess = self.rows.len().saturating_sub(ROWS_MAX);
        self.rows.drain(..excess);
        outcome.map(|()| commits)
    }

    fn statements(&mut self, sql: &Sql, ending: &str) -> Result<(), tokio_postgres::Error> {
        sql.try_run("BEGIN")?;
        for _ in 0..=self.random.below(5) {
            if !self.random.chance(15) {
                self.change(sql)?;
                continue;
            }
            let before = self.rows.clone();
            sql.try_run("SAVEPOINT here")?;
            for _ in 0..=self.random.below(3) {
                self.change(sql)?;
            }
            if self.random.chance(50) {
                sql.try_run("ROLLBACK TO SAVEPOINT here")?;
                self.rows = before;
            } else {
                sql.try_run("RELEASE SAVEPOINT here")?;
            }
        }
        sql.try_run(ending)
    }

    /// One statement that changes something.
    fn change(&mut self, sql: &Sql) -> Result<(), tokio_postgres::Error> {
        let statement = match self.random.below(100) {
            0..10 => self.message(),
            10..50 => self.insert(),
            _ if self.rows.is_empty() => self.insert(),
            50..75 => self.update(),
            75..80 => self.rename(),
            80..90 => self.move_away(),
            _ => self.delete(),
        };
        sql.try_run(&statement)
    }

    fn insert(&mut self) -> String {
        let organisation = *self.random.pick(&ORGANISATIONS);
        let number = self.stage.number();
        let id = format!("{}-{number}", self.number);
        let row = |table, id| Row {
            table,
            id,
            organisation,
        };
        if self.random.chance(20) {
            self.rows.push(row("Client", id.clone()));
            return format!(
                r#"INSERT INTO "Client" (id, "organizationId", name, "apiToken")
                   VALUES ('{id}', '{organisation}', 'It''s client {number}: "\', 'a-secret')"#
            );
        }
        // Mostly one row; sometimes as many as one statement of an import.
        let count = if self.random.chance(10) {
            1 + self.random.below(40)
        } else {
            1
        };
        let all = (1..=count).map(|n| row("Property", format!("{id}-{n}")));
        self.rows.extend(all);
        // Sometimes so long that it lies out of line, and an update does not send it.
        let notes = match self.random.below(20) {
            0 => "(SELECT string_agg(md5(n::text || i), '') FROM generate_series(1, 150) i)",
            1 => "E'two\\nlines, \\u00fc \\U0001F600'",
            _ => "NULL",
        };
        format!(
            r#"INSERT INTO "Property" (id, "organizationId", name, rooms, "isListed", notes)
               SELECT '{id}-' || n, '{organisation}', 'property', {number}, n % 2 = 0, {notes}
               FROM generate_series(1, {count}) n"#
        )
    }

    fn update(&mut self) -> String {
        let Row { table, id, .. } = self.random.pick(&self.rows);
        let number = self.stage.number();
        match *table {
            "Property" => format!(r#"UPDATE "Property" SET rooms = {number} WHERE id = '{id}'"#),
            _ => format!(r#"UPDATE "{table}" SET name = 'client {number}' WHERE id = '{id}'"#),
        }
    }

    /// The key changes.
    fn rename(&mut self) -> String {
        let index = self.random.below(self.rows.len() as u64) as usize;
        let number = self.stage.number();
        let row = &mut self.rows[index];
        let before = std::mem::replace(&mut row.id, format!("{}-{number}", self.number));
        let Row { table, id, .. } = row;
        format!(r#"UPDATE "{table}" SET id = '{id}' WHERE id = '{before}'"#)
    }

    /// The organisation changes.
    fn move_away(&mut self) -> String {
        let index = self.random.below(self.rows.len() as u64) as usize;
        let organisation = *self.random.pick(&ORGANISATIONS);
        let number = self.stage.number();
        let row = &mut self.rows[index];
        row.organisation = organisation;
        let Row { table, id, .. } = row;
        format!(
            r#"UPDATE "{table}" SET "organizationId" = '{organisation}', name = 'moved {number}'
               WHERE id = '{id}'"#
        )
    }

    fn delete(&mut self) -> String {
        let index = self.random.below(self.rows.len() as u64) as usize;
        let Row { table, id, .. } = self.rows.swap_remove(index);
        format!(r#"DELETE FROM "{table}" WHERE id = '{id}'"#)
    }

    fn message(&mut self) -> String {
        let organisation = *self.random.pick(&ORGANISATIONS);
        let number = self.stage.number();
        let prefix = if self.random.chance(80) {
            "tailrace"
        } else {
            "somebody else's"
        };
        let content = message(organisation, "crash.note", number);
        let prefix = prefix.replace('\'', "''");
        format!("SELECT pg_logical_emit_message(true, '{prefix}', '{content}')")
    }
}

/// Writes a long transaction of one organisation.
pub(crate) fn write_long(
    database: &Database,
    organisation: &str,
    number: u64,
) -> Result<(), tokio_postgres::Error> {
    database.try_connect()?.try_run(&format!(
        r#"INSERT INTO "Property" (id, "organizationId", name, rooms, notes)
           SELECT 'long-{number}-' || n, '{organisation}', 'long {number}', n, repeat('x', 300)
           FROM generate_series(1, {LONG_ROWS}) n"#
    ))
}

/// Writes the last event of every organisation, until that was answered.
pub(crate) fn write_end(database: &Database, stage: &Stage) {
    let end = |organisation: &&str| {
        let content = message(organisation, "crash.end", stage.number());
        format!("SELECT pg_logical_emit_message(true, 'tailrace', '{content}');")
    };
    let statements: String = ORGANISATIONS.iter().map(end).collect();
    database.connect().run(&statements);
}

fn message(organisation: &str, event_type: &str, number: u64) -> String {
    format!(
        r#"{{"type":"{event_type}","organizationId":"{organisation}","data":{{"number":{number}}}}}"#
    )
}
