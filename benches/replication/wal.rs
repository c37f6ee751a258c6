//! The write-ahead log that is read: a database with rows behind an anchor slot.

use replication::Config;
use rustix::process::Pid;
use rustix::thread::{CpuSet, sched_setaffinity};
use wire::Keys;

use super::drain;
use super::support::Database;
use super::support::sql::Sql;

/// How many rows a transaction inserts.
const TRANSACTION: usize = 100;

/// The core of PostgreSQL's processes; whoever drains them has the one before.
const SERVER_CORE: usize = 1;

/// The rows of neighbours belong to different ones of so many organisations.
const ORGANISATIONS: usize = 1_000;

/// What the rows look like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Rows {
    /// Six columns: numbers, an organisation, short texts; some 80 bytes of text.
    Narrow,
    /// Twenty columns of many types, some 1 KB of text.
    Wide,
    /// Narrow, and nine in ten of a table that has no organisation.
    OneInTen,
}

impl Rows {
    /// Its name in the tables.
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Narrow => "narrow",
            Self::Wide => "wide",
            Self::OneInTen => "narrow, 1 in 10 routed",
        }
    }

    /// How many of the rows become events.
    pub(super) fn events(self, rows: usize) -> usize {
        match self {
            Self::Narrow | Self::Wide => rows,
            Self::OneInTen => rows / 10,
        }
    }

    /// The statements that insert transaction number `t`.
    fn inserts(self) -> String {
        let organisation = format!("md5((n * 7 % {ORGANISATIONS})::text)::uuid");
        let narrow = |table: &str, first: usize, last: usize| {
            format!(
                "INSERT INTO \"{table}\" SELECT n, {organisation}, n % 500, n * 31 % 100000,
                        'celsius', 'read at the gate ' || n % 90
                   FROM generate_series(t * {TRANSACTION} + {first}, t * {TRANSACTION} + {last}) AS n;"
            )
        };
        match self {
            Self::Narrow => narrow("Reading", 1, TRANSACTION),
            Self::OneInTen => {
                let routed = TRANSACTION / 10;
                narrow("Trace", 1, TRANSACTION - routed)
                    + &narrow("Reading", TRANSACTION - routed + 1, TRANSACTION)
            }
            Self::Wide => format!(
                "INSERT INTO \"Estate\" SELECT md5(n::text)::uuid, {organisation},
                        'Harbour View ' || n, 'active', 'apartment', 425000.50 + n, 81.25, 3, 7::smallint,
                        n % 2 = 0, n || ' Longshore Drive', 'Port Elizabeth', 'ZA',
                        repeat('South-facing rooms, quiet and bright. ', 17),
                        E'He said \"call first\".\\nKeys at number ' || n % 90,
                        ARRAY['sea', 'garden', 'two bathrooms'],
                        jsonb_build_object('heating', 'gas', 'year', 1974, 'rooms', ARRAY[12, 14, 31],
                                           'agent', 'agent-' || n % 40, 'rating', 4.5),
                        '2024-05-01 12:00:00.125', NULL, '2024-06-01 09:30:00+02'
                   FROM generate_series(t * {TRANSACTION} + 1, (t + 1) * {TRANSACTION}) AS n;"
            ),
        }
    }
}

const TABLES: &str = "
CREATE TABLE \"Reading\" (
    id bigint PRIMARY KEY, \"organizationId\" uuid NOT NULL, sensor integer NOT NULL,
    value integer NOT NULL, unit text NOT NULL, note text
);
CREATE TABLE \"Trace\" (
    id bigint PRIMARY KEY, \"accountId\" uuid NOT NULL, sensor integer NOT NULL,
    value integer NOT NULL, unit text NOT NULL, note text
);
CREATE TABLE \"Estate\" (
    id uuid PRIMARY KEY, \"organizationId\" uuid NOT NULL, title text NOT NULL, status text NOT NULL,
    kind varchar(20) NOT NULL, price numeric(12, 2), area float8, rooms integer, floor smallint,
    \"isListed\" boolean NOT NULL, street text, city text, country char(2), description text,
    notes text, tags text[], details jsonb, \"listedAt\" timestamp(3), \"soldAt\" timestamptz,
    \"updatedAt\" timestamptz NOT NULL
);
ALTER PUBLICATION tailrace ADD TABLE \"Reading\", \"Trace\", \"Estate\";
";

/// A database whose log has rows behind the node's anchor slot.
pub(super) struct Wal {
    pub(super) kind: Rows,
    pub(super) rows: usize,
    pub(super) database: Database,
    pub(super) sql: Sql,
    /// PostgreSQL's first process, whose children serve.
    pub(super) postmaster: Pid,
}

impl Wal {
    /// Has a node make its anchor, and then writes the rows.
    pub(super) fn prepare(kind: Rows, rows: usize) -> Self {
        let database = Database::new();
        let sql = database.connect();
        let postmaster = sql.value("SELECT split_part(pg_read_file('postmaster.pid'), E'\\n', 1)");
        let postmaster = postmaster.parse().ok().and_then(Pid::from_raw);
        let wal = Self {
            kind,
            rows,
            database,
            sql,
            postmaster: postmaster.expect("its first line is the number of a process"),
        };
        pin(wal.postmaster, SERVER_CORE);
        wal.sql.run(TABLES);
        drain::make_anchor(&wal);
        wal.sql.run("SET synchronous_commit = off");
        wal.sql.run(&format!(
            "DO $$ BEGIN FOR t IN 0 .. {} LOOP {} COMMIT; END LOOP; END $$",
            rows / TRANSACTION - 1,
            kind.inserts(),
        ));
        wal
    }

    /// How many walsenders of this database there are of which this is true.
    pub(super) fn walsenders(&self, condition: &str) -> usize {
        let query = format!(
            "SELECT count(*) FROM pg_stat_replication JOIN pg_stat_activity USING (pid)
              WHERE datname = current_database() AND {condition}"
        );
        let count = self.sql.value(&query);
        count.parse().expect("a count is a number")
    }

    /// The configuration of a reader as the node of the tests has it.
    pub(super) fn reader(&self) -> Config {
        let url = self.database.socket_url();
        Config::new(url.parse().expect("it is a good URL"), Keys::new([9; 16]))
    }
}

/// Keeps a process on one core, and what it starts from now on.
pub(super) fn pin(process: Pid, core: usize) {
    let mut set = CpuSet::new();
    set.set(core);
    sched_setaffinity(Some(process), &set)
        .unwrap_or_else(|error| panic!("this bench needs two cores, has no core {core}: {error}"));
}
