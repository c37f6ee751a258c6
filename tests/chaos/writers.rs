//! The application: rows of every organisation, inserted, changed and deleted, and messages; each holds
//! the marker of its organisation, which nobody else may ever see.

use std::time::Duration;

use crate::course::is_our_mistake;
use crate::random::Random;
use crate::stage::Stage;
use crate::support::Database;
use crate::support::sql::Sql;

/// The organisations.
pub(crate) const ORGANISATIONS: [&str; 3] = ["acme", "globex", "initech"];

/// What stands in the last event of an organisation.
pub(crate) const END: &str = r#""type":"chaos.end""#;

/// How many rows a long transaction has.
const LONG_ROWS: u64 = 2_000;

/// How long a writer rests between two transactions, at the most.
const REST: Duration = Duration::from_millis(160);

/// Of how many rows a writer remembers that they are there.
const ROWS_MAX: usize = 300;

/// What tells the payloads of the organisations apart, 128 bits each.
#[derive(Clone)]
pub(crate) struct Markers([String; 3]);

impl Markers {
    pub(crate) fn new(random: &mut Random) -> Self {
        let mut half = || random.below(u64::MAX);
        Self(ORGANISATIONS.map(|_| format!("{:016x}{:016x}", half(), half())))
    }

    /// The marker of an organisation.
    pub(crate) fn of(&self, organisation: &str) -> &str {
        let place = ORGANISATIONS.iter().position(|name| *name == organisation);
        &self.0[place.expect("there are no others")]
    }

    /// The markers of all others.
    pub(crate) fn foreign(&self, organisation: &str) -> Vec<String> {
        let others = ORGANISATIONS.iter().filter(|name| **name != organisation);
        others.map(|name| self.of(name).to_owned()).collect()
    }
}

/// One of the application's servers.
pub(crate) struct Writer<'a> {
    number: usize,
    stage: &'a Stage,
    random: Random,
    markers: Markers,
    /// Rows that should be there.
    rows: Vec<String>,
}

impl<'a> Writer<'a> {
    pub(crate) fn new(number: usize, stage: &'a Stage, random: Random, markers: Markers) -> Self {
        Self {
            number,
            stage,
            random,
            markers,
            rows: Vec::new(),
        }
    }

    /// Writes until the run closes; connects again whenever the server is gone.
    pub(crate) fn run(mut self, database: &Database) {
        let _actor = self.stage.actor();
        while !self.stage.is_closing() {
            let Ok(sql) = database.try_connect() else {
                self.stage
                    .sleep(Duration::from_millis(50), Stage::is_closing);
                continue;
            };
            while !self.stage.is_closing() {
                match self.transaction(&sql) {
                    Ok(()) => {}
                    Err(error) if error.as_db_error().is_some_and(is_our_mistake) => {
                        panic!("a writer's statement is wrong: {error:?}")
                    }
                    Err(_) => break,
                }
                let rest = self.random.duration(REST);
                self.stage.sleep(rest, Stage::is_closing);
            }
        }
    }

    fn transaction(&mut self, sql: &Sql) -> Result<(), tokio_postgres::Error> {
        sql.try_run("BEGIN")?;
        for _ in 0..=self.random.below(3) {
            let statement = match self.random.below(100) {
                0..10 => self.message(),
                10..60 => self.insert(),
                _ if self.rows.is_empty() => self.insert(),
                60..85 => self.update(),
                _ => self.delete(),
            };
            sql.try_run(&statement)?;
        }
        let ending = if self.random.chance(92) {
            "COMMIT"
        } else {
            "ROLLBACK"
        };
        // Of a transaction that was rolled back some rows are remembered that are not there, and some
        // forgotten that are: an update of the first finds nothing, which is no harm.
        let excess = self.rows.len().saturating_sub(ROWS_MAX);
        self.rows.drain(..excess);
        sql.try_run(ending)
    }

    fn insert(&mut self) -> String {
        let organisation = *self.random.pick(&ORGANISATIONS);
        let marker = self.markers.of(organisation);
        let id = format!("{marker}-{}-{}", self.number, self.stage.number());
        let count = 1 + self.random.below(12);
        self.rows.extend((1..=count).map(|n| format!("{id}-{n}")));
        // What a reader of streams could take for a line, a field or an end of its own.
        let notes = match self.random.below(4) {
            0 => r"E'\n\nevent: reset\ndata: {}\n\n'",
            1 => r"E'a\rb\r\nc\u2028d \u00fc \U0001F600 \ufeff\t\x7f'",
            2 => "repeat('long ', 200)",
            _ => "NULL",
        };
        format!(
            r#"INSERT INTO "Property" (id, "organizationId", name, rooms, notes)
               SELECT '{id}-' || n, '{organisation}', 'property', n, {notes}
               FROM generate_series(1, {count}) n"#
        )
    }

    fn update(&mut self) -> String {
        let id = self.random.pick(&self.rows).clone();
        let number = self.stage.number();
        format!(r#"UPDATE "Property" SET rooms = {number} WHERE id = '{id}'"#)
    }

    fn delete(&mut self) -> String {
        let index = self.random.below(self.rows.len() as u64) as usize;
        let id = self.rows.swap_remove(index);
        format!(r#"DELETE FROM "Property" WHERE id = '{id}'"#)
    }

    fn message(&mut self) -> String {
        let organisation = *self.random.pick(&ORGANISATIONS);
        let content = message(organisation, "chaos.note", self.markers.of(organisation));
        format!("SELECT pg_logical_emit_message(true, 'tailrace', '{content}')")
    }
}

/// Writes a long transaction of one organisation.
pub(crate) fn write_long(
    database: &Database,
    organisation: &str,
    marker: &str,
    number: u64,
) -> Result<(), tokio_postgres::Error> {
    database.try_connect()?.try_run(&format!(
        r#"INSERT INTO "Property" (id, "organizationId", name, rooms, notes)
           SELECT '{marker}-long-{number}-' || n, '{organisation}', 'long', n, repeat('x', 300)
           FROM generate_series(1, {LONG_ROWS}) n"#
    ))
}

/// Writes the last event of every organisation.
pub(crate) fn write_end(database: &Database, markers: &Markers) {
    let end = |organisation: &&str| {
        let content = message(organisation, "chaos.end", markers.of(organisation));
        format!("SELECT pg_logical_emit_message(true, 'tailrace', '{content}');")
    };
    let statements: String = ORGANISATIONS.iter().map(end).collect();
    database.connect().run(&statements);
}

/// An application's event.
pub(crate) fn message(organisation: &str, event_type: &str, marker: &str) -> String {
    format!(
        r#"{{"type":"{event_type}","organizationId":"{organisation}","data":{{"marker":"{marker}"}}}}"#
    )
}
