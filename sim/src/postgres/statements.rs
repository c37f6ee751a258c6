//! The statements that the reader asks, told by how they begin, and their answers. What is not known here
//! is no statement of the reader's, and ends the world.

use super::backend::Creating;
use super::schema::{AUDIT, Identity, MEMBER, ORGANIZATION, REVOCATION, TABLES, Table, USER};
use super::walsender::Sender;
use super::{Advance, DATABASE_OID, LineId, PUBLICATION, Postgres};
use crate::time::Time;

/// A row of an answer, in text.
type Fields = Vec<Option<String>>;

/// What the server answers.
pub(super) enum Answer {
    Rows(Vec<Fields>),
    Done(&'static str),
    Error(&'static str, String),
    /// Not yet: it waits for other transactions.
    Later,
    Stream(Sender),
}

/// A place as PostgreSQL prints it.
fn lsn(place: u64) -> String {
    format!("{:X}/{:X}", place >> 32, place & 0xffff_ffff)
}

/// A place as it stands in a statement.
fn place(text: &str) -> u64 {
    let half = |digits: &str| u64::from_str_radix(digits, 16).expect("half a place");
    let (high, low) = text.split_once('/').expect("a place has two halves");
    half(high) << 32 | half(low)
}

fn fact(is_so: bool) -> Option<String> {
    Some(if is_so { "t" } else { "f" }.to_owned())
}

fn some(text: impl ToString) -> Option<String> {
    Some(text.to_string())
}

/// What stands in quotation marks of a kind, one after the other.
fn quoted(sql: &str, mark: char) -> Vec<&str> {
    sql.split(mark).skip(1).step_by(2).collect()
}

/// The number at the end of a statement.
fn number(sql: &str) -> u64 {
    let digits = sql.rsplit([' ', '=']).next().unwrap_or_default();
    digits
        .parse()
        .unwrap_or_else(|_| panic!("a number at the end of {sql}"))
}

impl Postgres {
    pub(super) fn execute(&mut self, now: Time, line: LineId, sql: &str) -> Answer {
        let begins = |words: &str| sql.starts_with(words);
        if begins("IDENTIFY_SYSTEM") {
            let (timeline, flushed) = (self.wal.timeline, lsn(self.wal.flushed));
            let row = vec![
                some(self.system),
                some(timeline),
                Some(flushed),
                some("app"),
            ];
            Answer::Rows(vec![row])
        } else if begins("TIMELINE_HISTORY ") {
            self.timeline_history(number(sql))
        } else if begins("START_REPLICATION ") {
            self.start_replication(now, line, sql)
        } else if begins("CREATE_REPLICATION_SLOT ") {
            self.create_slot(now, line, sql)
        } else if begins("ALTER_REPLICATION_SLOT ") {
            Answer::Done("ALTER_REPLICATION_SLOT")
        } else if begins("SELECT lsn FROM pg_catalog.pg_copy_logical_replication_slot(") {
            let names = quoted(sql, '\'');
            self.copy_slot(names[0], names[1], Some(line))
        } else if begins("SELECT pg_catalog.pg_copy_logical_replication_slot(") {
            let names = quoted(sql, '\'');
            self.copy_slot(names[0], names[1], None)
        } else if begins("SELECT pg_catalog.pg_drop_replication_slot(") {
            self.drop_lost(quoted(sql, '\'')[0])
        } else if begins("SELECT CASE WHEN left(pg_catalog.pg_walfile_name(") {
            self.advance(sql)
        } else {
            self.ask_catalog(now, line, sql)
        }
    }

    fn ask_catalog(&mut self, now: Time, line: LineId, sql: &str) -> Answer {
        let begins = |words: &str| sql.starts_with(words);
        if begins("SELECT d.oid, pg_catalog.current_setting('wal_level')") {
            self.survey(sql)
        } else if begins("SELECT s.wal_status, s.confirmed_flush_lsn") {
            self.slot_status(sql)
        } else if begins("SELECT t.schemaname, t.tablename") {
            Answer::Rows(published().map(table_row).collect())
        } else if begins("SELECT n.nspname, c.relname, c.oid") {
            let named = quoted(sql.split_once(" IN (('").map_or("", |(_, it)| it), '\'');
            let is_named = |table: &&Table| named.contains(&table.name);
            let row = |table: &Table| vec![some(table.schema), some(table.name), some(table.oid)];
            Answer::Rows(TABLES.iter().filter(is_named).map(row).collect())
        } else {
            self.read(now, line, sql)
        }
    }

    /// What is asked on the connection that reads the memberships.
    fn read(&mut self, now: Time, line: LineId, sql: &str) -> Answer {
        let snapshot = self.snapshot();
        let (insert, flushed) = (lsn(self.wal.insert), lsn(self.wal.flushed));
        let backend = self.backends.get_mut(&line).expect("it has asked");
        let begins = |words: &str| sql.starts_with(words);
        if begins("SET lock_timeout = ") {
            backend.lock_timeout_ms = number(sql);
            return Answer::Done("SET");
        }
        if begins("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY") {
            (backend.is_in_transaction, backend.snapshot) = (true, None);
            return Answer::Done("BEGIN");
        }
        assert!(
            backend.is_in_transaction,
            "no statement of the reader's: {sql}"
        );
        // Taken by the first statement, whatever that is.
        let snapshot = backend.snapshot.get_or_insert(snapshot).clone();
        if begins("SELECT pg_catalog.pg_current_snapshot()::text") {
            let row = vec![Some(snapshot.text()), Some(insert), Some(flushed)];
            Answer::Rows(vec![row])
        } else if begins("SELECT w.what, n.nspname, c.relname") {
            Answer::Rows(described(sql))
        } else if begins("DECLARE rights NO SCROLL CURSOR FOR SELECT m.") {
            let rows = self.members(&snapshot, sql);
            self.declare(line, rows)
        } else if begins("DECLARE rights NO SCROLL CURSOR FOR SELECT u.") {
            let rows = self.bans(&snapshot, sql);
            self.declare(line, rows)
        } else if begins("DECLARE rights NO SCROLL CURSOR FOR SELECT id, ") {
            let now_text = super::schema::moment(now.unix_us() / 1_000);
            let rows = self.rows.all_seen(REVOCATION, &snapshot);
            // The texts of times are in the order of the times.
            let rows = rows.filter(|row| row[5].as_deref() > Some(now_text.as_str()));
            let text = |value: &super::schema::Value| value.as_deref().map(str::to_owned);
            let rows = rows.map(|row| row.iter().map(text).collect());
            let rows: Vec<Fields> = rows.collect();
            self.declare(line, rows)
        } else if begins("FETCH FORWARD ") {
            let count = sql.split(' ').nth(2).and_then(|it| it.parse().ok());
            let count: usize = count.expect("how many rows");
            let count = count.min(backend.cursor.len());
            Answer::Rows(backend.cursor.drain(..count).collect())
        } else if begins("SAVEPOINT rights") {
            Answer::Done("SAVEPOINT")
        } else if begins("ROLLBACK TO SAVEPOINT rights") {
            backend.cursor.clear();
            Answer::Done("ROLLBACK")
        } else if begins("COMMIT") {
            (backend.is_in_transaction, backend.snapshot) = (false, None);
            Answer::Done("COMMIT")
        } else {
            panic!("no statement of the reader's: {sql}")
        }
    }

    /// Opens the cursor of a connection over these rows.
    fn declare(&mut self, line: LineId, rows: Vec<Fields>) -> Answer {
        self.backends.get_mut(&line).expect("it has asked").cursor = rows.into();
        Answer::Done("DECLARE CURSOR")
    }

    fn timeline_history(&self, timeline: u64) -> Answer {
        let line = |(timeline, at): &(u32, u64)| {
            format!("{timeline}\t{}\tno recovery target specified\n\n", lsn(*at))
        };
        let content: String = self.wal.left.iter().map(line).collect();
        Answer::Rows(vec![vec![
            some(format!("{timeline:08X}.history")),
            Some(content),
        ]])
    }

    fn survey(&self, sql: &str) -> Answer {
        let (_, tail) = sql.split_once("s.slot_name = ").expect("which slot");
        let names = quoted(tail, '\'');
        let anchor = format!("{}{DATABASE_OID}{}", names[0], names[1]);
        let slot = self.slots.get(&anchor);
        let status = slot.map(|slot| {
            if slot.lost_by.is_some() {
                "lost"
            } else {
                "reserved"
            }
        });
        Answer::Rows(vec![vec![
            some(DATABASE_OID),
            some("logical"),
            fact(false),
            fact(sql.contains(&format!("pubname = '{PUBLICATION}'"))),
            slot.map(|slot| slot.name.clone()),
            status.map(str::to_owned),
            some(self.version.number),
            some(lsn(self.wal.flushed)),
        ]])
    }

    fn slot_status(&self, sql: &str) -> Answer {
        let (_, tail) = sql.split_once("s.slot_name = ").expect("which slot");
        let slot = self.slots.get(quoted(tail, '\'')[0]);
        let status = slot.map(|slot| {
            if slot.lost_by.is_some() {
                "lost"
            } else {
                "reserved"
            }
        });
        let since_17 = self.version.major >= 17;
        let why = slot.and_then(|slot| slot.lost_by).filter(|_| since_17);
        Answer::Rows(vec![vec![
            status.map(str::to_owned),
            slot.map(|slot| lsn(slot.confirmed)),
            slot.filter(|slot| slot.lost_by.is_none())
                .map(|slot| lsn(slot.restart)),
            None,
            why.map(str::to_owned),
            some(lsn(self.wal.insert)),
            fact(true),
            fact(false),
            None,
        ]])
    }

    fn create_slot(&mut self, now: Time, line: LineId, sql: &str) -> Answer {
        let name = quoted(sql, '"')[0].to_owned();
        let is_temporary = sql.contains(" TEMPORARY ");
        if sql.contains("FAILOVER") && self.version.major < 17 {
            let words = "unrecognized option: failover".to_owned();
            return Answer::Error("42601", words);
        }
        if self.slots.get(&name).is_some() {
            let words = format!("replication slot \"{name}\" already exists");
            return Answer::Error("42710", words);
        }
        let snapshot = self.snapshot();
        if snapshot.running.is_empty() {
            return self.create(line, &name, is_temporary);
        }
        let backend = self.backends.get_mut(&line).expect("it has asked");
        let timeout_ms = backend.lock_timeout_ms;
        backend.creating = Some(Creating {
            name,
            is_temporary,
            waits_for: snapshot.running.into_iter().collect(),
            until: (timeout_ms > 0).then(|| now + Time::from_ms(timeout_ms)),
        });
        Answer::Later
    }

    /// Makes a slot that begins here.
    pub(super) fn create(&mut self, line: LineId, name: &str, is_temporary: bool) -> Answer {
        if self.slots.get(name).is_some() {
            let words = format!("replication slot \"{name}\" already exists");
            return Answer::Error("42710", words);
        }
        // The record of the transactions that run.
        let restart = self.wal.write(24);
        self.wal.flush();
        let at = self.wal.insert;
        let owner = is_temporary.then_some(line);
        self.slots.create(name, owner, at, restart);
        Answer::Rows(vec![vec![
            some(name),
            some(lsn(at)),
            None,
            some("pgoutput"),
        ]])
    }

    fn copy_slot(&mut self, from: &str, to: &str, owner: Option<LineId>) -> Answer {
        let Some(slot) = self.slots.get(from).cloned() else {
            return no_slot(from);
        };
        if slot.lost_by.is_some() {
            let words = "cannot copy a replication slot that doesn't reserve WAL".to_owned();
            return Answer::Error("55000", words);
        }
        if self.slots.get(to).is_some() {
            let words = format!("replication slot \"{to}\" already exists");
            return Answer::Error("42710", words);
        }
        self.slots.create(to, owner, slot.confirmed, slot.restart);
        match owner {
            Some(_) => Answer::Rows(vec![vec![some(lsn(slot.confirmed))]]),
            None => Answer::Rows(vec![vec![some(format!("({to},{})", lsn(slot.confirmed)))]]),
        }
    }

    fn drop_lost(&mut self, name: &str) -> Answer {
        let slot = self.slots.get(name).filter(|slot| slot.lost_by.is_some());
        if slot.is_none() {
            return Answer::Rows(Vec::new());
        }
        self.slots.remove(name);
        Answer::Rows(vec![vec![some("")]])
    }

    fn advance(&mut self, sql: &str) -> Answer {
        let texts = quoted(sql, '\'');
        let (timeline, name) = (texts[0], texts[1]);
        if timeline != format!("{:08X}", self.wal.timeline) {
            return Answer::Rows(vec![vec![None]]);
        }
        let target = place(texts[2]).min(self.wal.flushed);
        let Some(slot) = self.slots.get(name) else {
            return no_slot(name);
        };
        if slot.lost_by.is_some() {
            let words = format!("can no longer access replication slot \"{name}\"");
            return Answer::Error("55000", words);
        }
        if slot.active.is_some() {
            let words = format!("replication slot \"{name}\" is active for PID 7");
            return Answer::Error("55006", words);
        }
        if target < slot.confirmed {
            let words = format!(
                "cannot advance replication slot to {}, minimum is {}",
                lsn(target),
                lsn(slot.confirmed)
            );
            return Answer::Error("55000", words);
        }
        let from = slot.confirmed;
        self.slots.confirm(name, target);
        self.advances.push(Advance { from, to: target });
        Answer::Rows(vec![vec![some(lsn(target))]])
    }

    fn start_replication(&mut self, now: Time, line: LineId, sql: &str) -> Answer {
        assert!(
            sql.contains("proto_version '1'") && sql.contains("messages 'true'"),
            "only whole transactions are spoken here: {sql}"
        );
        let name = quoted(sql, '"')[0];
        let (_, tail) = sql.split_once(" LOGICAL ").expect("a logical slot");
        let asked = place(tail.split(' ').next().unwrap_or_default());
        let Some(slot) = self.slots.get_mut(name) else {
            return no_slot(name);
        };
        if slot.lost_by.is_some() {
            let words = format!("can no longer access replication slot \"{name}\"");
            return Answer::Error("55000", words);
        }
        if slot.active.is_some() {
            let words = format!("replication slot \"{name}\" is active for PID 7");
            return Answer::Error("55006", words);
        }
        slot.active = Some(line);
        let from = slot.confirmed.max(asked);
        assert!(
            from <= self.wal.flushed,
            "nobody begins beyond the end of the log"
        );
        let next = self.wal.first_at(from);
        Answer::Stream(Sender::new(name, next, from, now))
    }

    /// The rows that make somebody a member, as the statement wants them.
    fn members(&self, snapshot: &super::rows::Snapshot, sql: &str) -> Vec<Fields> {
        let (_, list) = sql.split_once(" FOR SELECT ").expect("a cursor");
        let (list, conditions) = list.split_once(" FROM ").expect("of a table");
        let (table, conditions) = conditions.split_once(" m WHERE ").expect("with conditions");
        assert_eq!(table, "\"public\".\"Member\"", "the table of memberships");
        let member = MEMBER.table();
        let column = |text: &str| {
            let name = quoted(text, '"').first().copied().expect("a column");
            let found = member.columns.iter().position(|column| column.name == name);
            found.expect("a column of the table")
        };
        let columns: Vec<usize> = list.split(", ").map(column).collect();
        let is_of_organisations =
            conditions.contains("EXISTS (SELECT FROM \"public\".\"Organization\" o");
        assert!(is_of_organisations, "what else is asked for: {conditions}");
        let rows = self.rows.all_seen(MEMBER, snapshot).filter(|row| {
            let organisation = row[2].as_deref().unwrap_or_default();
            let is_named = row[1].as_deref().is_some_and(|user| !user.is_empty());
            is_named
                && self
                    .rows
                    .seen(ORGANIZATION, organisation, snapshot)
                    .is_some()
        });
        let fields = |row: &super::schema::Row| {
            let values = columns
                .iter()
                .map(|at| row[*at].as_deref().map(str::to_owned));
            values.collect()
        };
        rows.map(fields).collect()
    }

    /// The users who are banned. Bans have no end here.
    fn bans(&self, snapshot: &super::rows::Snapshot, sql: &str) -> Vec<Fields> {
        let is_known =
            sql.contains(" u.\"id\", NULL FROM \"public\".\"User\" u WHERE u.\"banned\" AND ");
        assert!(is_known, "what else is asked for: {sql}");
        let rows = self.rows.all_seen(USER, snapshot);
        let banned = rows.filter(|row| row[1].as_deref() == Some("t"));
        let id = |row: &super::schema::Row| row[0].as_deref().map(str::to_owned);
        banned.map(|row| vec![id(row), None]).collect()
    }
}

fn no_slot(name: &str) -> Answer {
    Answer::Error(
        "42704",
        format!("replication slot \"{name}\" does not exist"),
    )
}

fn published() -> impl Iterator<Item = &'static Table> {
    let mut tables: Vec<&Table> = TABLES.iter().filter(|table| table.is_published).collect();
    tables.sort_by_key(|table| (table.schema, table.name));
    assert!(!AUDIT.table().is_published, "something is not");
    tables.into_iter()
}

fn table_row(table: &Table) -> Fields {
    vec![
        some(table.schema),
        some(table.name),
        some(table.oid),
        None,
        None,
    ]
}

/// The columns of the tables that are asked for, as `('members', NULL, 'Member'), …` names them.
fn described(sql: &str) -> Vec<Fields> {
    let (_, list) = sql.split_once("FROM (VALUES ").expect("which tables");
    let (list, _) = list
        .split_once(") AS w (what, schema, name)")
        .expect("which tables");
    let mut rows = Vec::new();
    for wanted in list.trim_matches(['(', ')']).split("), (") {
        let names = quoted(wanted, '\'');
        let (what, name) = (names[0], names[names.len() - 1]);
        let is_named = |table: &&Table| table.name == name;
        for table in TABLES.iter().filter(is_named) {
            for column in table.columns {
                rows.push(vec![
                    some(what),
                    some(table.schema),
                    some(table.name),
                    some(char::from(table.identity.letter())),
                    fact(table.is_published),
                    fact(false),
                    some(column.name),
                    some(column.kind.type_oid()),
                    fact(column.is_key || table.identity == Identity::Full),
                    fact(true),
                ]);
            }
        }
    }
    rows.sort_by(|one, other| (&one[..3], &one[6]).cmp(&(&other[..3], &other[6])));
    rows
}
