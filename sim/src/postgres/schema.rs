//! The application's tables: what the catalog says of them, and what a row of one is.

use std::sync::Arc;

/// The value of a column, as PostgreSQL prints it; `None` is NULL.
pub type Value = Option<Arc<str>>;

/// A row: its values in the order of the table's columns. The first is its primary key.
pub type Row = Arc<[Value]>;

/// What a column holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// `text`.
    Text,
    /// `text` whose long values are stored out of line, and are not sent where they did not change.
    LongText,
    /// `bigint`.
    Number,
    /// `boolean`.
    Flag,
    /// `timestamptz`.
    Moment,
}

impl Kind {
    /// The oid of the type (PostgreSQL, `pg_type.dat`).
    pub fn type_oid(self) -> u32 {
        match self {
            Self::Text | Self::LongText => 25,
            Self::Number => 20,
            Self::Flag => 16,
            Self::Moment => 1184,
        }
    }
}

/// A column.
#[derive(Clone, Copy, Debug)]
pub struct Column {
    /// Its name.
    pub name: &'static str,
    /// What it holds.
    pub kind: Kind,
    /// Whether it is part of the replica identity.
    pub is_key: bool,
}

/// What is logged of a row before its change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Identity {
    /// Its primary key.
    Default,
    /// The columns of a unique index.
    Index,
    /// All of it.
    Full,
}

impl Identity {
    /// `pg_class.relreplident`.
    pub fn letter(self) -> u8 {
        match self {
            Self::Default => b'd',
            Self::Index => b'i',
            Self::Full => b'f',
        }
    }
}

/// A table.
#[derive(Clone, Copy, Debug)]
pub struct Table {
    /// Its oid.
    pub oid: u32,
    /// Its schema.
    pub schema: &'static str,
    /// Its name.
    pub name: &'static str,
    /// Its replica identity.
    pub identity: Identity,
    /// Whether the publication has it.
    pub is_published: bool,
    /// Its columns.
    pub columns: &'static [Column],
}

/// Names a table: its place in [`TABLES`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct TableId(pub u8);

impl TableId {
    /// The table.
    pub fn table(self) -> &'static Table {
        &TABLES[usize::from(self.0)]
    }
}

/// Rows of an organisation, whose identity names the organisation: a move is seen.
pub const PROPERTY: TableId = TableId(0);
/// Rows for one user of an organisation, whose whole old row is logged.
pub const NOTIFICATION: TableId = TableId(1);
/// Rows that a role alone may see, whose identity does not name the organisation.
pub const REPORT: TableId = TableId(2);
/// Who belongs to which organisation.
pub const MEMBER: TableId = TableId(3);
/// Who is logged in.
pub const SESSION: TableId = TableId(4);
/// Who there is.
pub const USER: TableId = TableId(5);
/// The organisations.
pub const ORGANIZATION: TableId = TableId(6);
/// The revocations that a node applies in the order of the log.
pub const REVOCATION: TableId = TableId(7);
/// What no publication has.
pub const AUDIT: TableId = TableId(8);

/// The role that sees what is in [`REPORT`].
pub const REPORT_ROLE: &str = "admin";

const fn key(name: &'static str) -> Column {
    Column {
        name,
        kind: Kind::Text,
        is_key: true,
    }
}

const fn column(name: &'static str, kind: Kind) -> Column {
    Column {
        name,
        kind,
        is_key: false,
    }
}

const fn table(
    oid: u32,
    name: &'static str,
    identity: Identity,
    columns: &'static [Column],
) -> Table {
    Table {
        oid,
        schema: "public",
        name,
        identity,
        is_published: true,
        columns,
    }
}

/// Every table.
pub const TABLES: [Table; 9] = [
    table(
        16_401,
        "Property",
        Identity::Index,
        &[
            key("id"),
            key("organizationId"),
            column("name", Kind::Text),
            column("body", Kind::LongText),
            column("price", Kind::Number),
            column("isOpen", Kind::Flag),
        ],
    ),
    table(
        16_402,
        "Notification",
        Identity::Full,
        &[
            key("id"),
            key("organizationId"),
            key("userId"),
            Column {
                name: "body",
                kind: Kind::LongText,
                is_key: true,
            },
        ],
    ),
    table(
        16_403,
        "Report",
        Identity::Default,
        &[
            key("id"),
            column("organizationId", Kind::Text),
            column("body", Kind::LongText),
        ],
    ),
    table(
        16_404,
        "Member",
        Identity::Default,
        &[
            key("id"),
            column("userId", Kind::Text),
            column("organizationId", Kind::Text),
            column("role", Kind::Text),
        ],
    ),
    table(
        16_405,
        "Session",
        Identity::Default,
        &[
            key("id"),
            column("userId", Kind::Text),
            column("expires", Kind::Moment),
        ],
    ),
    table(
        16_406,
        "User",
        Identity::Default,
        &[key("id"), column("banned", Kind::Flag)],
    ),
    table(
        16_407,
        "Organization",
        Identity::Default,
        &[key("id"), column("name", Kind::Text)],
    ),
    Table {
        schema: "tailrace",
        ..table(
            16_408,
            "revocation",
            Identity::Default,
            &[
                key("id"),
                column("user", Kind::Text),
                column("session", Kind::Text),
                column("organization", Kind::Text),
                column("issued_before", Kind::Moment),
                column("until", Kind::Moment),
            ],
        )
    },
    Table {
        is_published: false,
        ..table(
            16_409,
            "Audit",
            Identity::Default,
            &[key("id"), column("body", Kind::Text)],
        )
    },
];

/// A time as sessions print it that asked for `DateStyle=ISO` and `TimeZone=UTC`.
pub fn moment(unix_ms: u64) -> String {
    let (seconds, ms) = (unix_ms / 1_000, unix_ms % 1_000);
    let (days, second) = (seconds / 86_400, seconds % 86_400);
    let (year, month, day) = date(days);
    let (hour, minute, second) = (second / 3_600, second / 60 % 60, second % 60);
    let mut text = *b"0000-00-00 00:00:00.000+00";
    let fields = [
        (0, 4, year),
        (5, 2, month),
        (8, 2, day),
        (11, 2, hour),
        (14, 2, minute),
        (17, 2, second),
        (20, 3, ms),
    ];
    for (at, len, mut number) in fields {
        for digit in text[at..at + len].iter_mut().rev() {
            *digit = b'0' + (number % 10) as u8;
            number /= 10;
        }
    }
    text.iter().map(|byte| char::from(*byte)).collect()
}

/// How many days after 1970-01-01 a date is. Years are counted from March, so that a leap day is the last of one.
pub(super) fn days(year: u64, month: u64, day: u64) -> u64 {
    let year = year - u64::from(month < 3);
    let of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    (365 * year + year / 4 - year / 100 + year / 400 + of_year) - BEFORE_1970
}

/// The days from the first of March of the year 0 to 1970-01-01.
const BEFORE_1970: u64 = 719_468;

/// The date that is so many days after 1970-01-01.
fn date(after: u64) -> (u64, u64, u64) {
    let year = 1970 + after / 366;
    let is_later = |year: u64| days(year + 1, 1, 1) <= after;
    let year = (year..).find(|year| !is_later(*year)).expect("years go on");
    let mut months = (1..=12).rev().map(|month| (month, days(year, month, 1)));
    let (month, first) = months
        .find(|(_, first)| *first <= after)
        .expect("it is of the year");
    (year, month, after - first + 1)
}

/// A value.
pub fn text(value: &str) -> Value {
    Some(Arc::from(value))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_moment_is_printed_as_postgresql_prints_it() {
        assert_eq!(moment(0), "1970-01-01 00:00:00.000+00");
        assert_eq!(moment(1_800_000_000_123), "2027-01-15 08:00:00.123+00");
        assert_eq!(moment(951_782_400_000), "2000-02-29 00:00:00.000+00");
    }
}
