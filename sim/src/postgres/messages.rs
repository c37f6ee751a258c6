//! Messages of the server, and the framing of those of its clients (PostgreSQL, "Message Formats",
//! "Streaming Replication Protocol", "Logical Replication Message Formats").

use super::schema::{Identity, Kind, Row, TableId, Value};
use super::wal::{Change, Transaction, What};

/// Microseconds from 1970 to 2000, where PostgreSQL's times begin.
const EPOCH_2000_US: i64 = 946_684_800_000_000;

/// From this length on a value is stored out of line.
const OUT_OF_LINE_BYTES: usize = 2_000;

/// A time of PostgreSQL's, of one in microseconds since 1970.
pub(super) fn postgres_us(unix_us: u64) -> i64 {
    i64::try_from(unix_us).expect("the world ends before the numbers do") - EPOCH_2000_US
}

/// Appends a message: its tag, its length and its body.
pub(super) fn message(out: &mut Vec<u8>, tag: u8, body: impl FnOnce(&mut Vec<u8>)) {
    out.push(tag);
    let start = out.len();
    out.extend_from_slice(&[0; 4]);
    body(out);
    let len = u32::try_from(out.len() - start).expect("a message is short");
    out[start..start + 4].copy_from_slice(&len.to_be_bytes());
}

fn text(out: &mut Vec<u8>, text: &str) {
    out.extend_from_slice(text.as_bytes());
    out.push(0);
}

/// A client is let in: what the server is and does.
pub(super) fn greeting(out: &mut Vec<u8>, version: &str, time_zone: &str) {
    message(out, b'R', |out| out.extend_from_slice(&0_u32.to_be_bytes()));
    let parameters = [
        ("application_name", "tailrace"),
        ("client_encoding", "UTF8"),
        ("DateStyle", "ISO, MDY"),
        ("integer_datetimes", "on"),
        ("IntervalStyle", "postgres"),
        ("server_encoding", "UTF8"),
        ("server_version", version),
        ("standard_conforming_strings", "on"),
        ("TimeZone", time_zone),
    ];
    for (name, value) in parameters {
        message(out, b'S', |out| {
            text(out, name);
            text(out, value);
        });
    }
    message(out, b'K', |out| {
        out.extend_from_slice(&[0, 0, 0, 7, 1, 2, 3, 4])
    });
    ready(out, false);
}

/// The next query may come.
pub(super) fn ready(out: &mut Vec<u8>, is_in_transaction: bool) {
    let status = if is_in_transaction { b'T' } else { b'I' };
    message(out, b'Z', |out| out.push(status));
}

/// Something went wrong.
pub(super) fn error(out: &mut Vec<u8>, severity: &str, code: &str, words: &str) {
    message(out, b'E', |out| {
        for (field, value) in [
            (b'S', severity),
            (b'V', severity),
            (b'C', code),
            (b'M', words),
        ] {
            out.push(field);
            text(out, value);
        }
        out.push(0);
    });
}

/// Something that a server says in between, at any time, and that changes nothing.
pub(super) fn aside(out: &mut Vec<u8>, which: u64) {
    match which % 3 {
        0 => message(out, b'N', |out| {
            for (field, value) in [
                (b'S', "WARNING"),
                (b'C', "01000"),
                (b'M', "the disk is warm"),
            ] {
                out.push(field);
                text(out, value);
            }
            out.push(0);
        }),
        1 => message(out, b'S', |out| {
            text(out, "application_name");
            text(out, "somebody");
        }),
        _ => message(out, b'A', |out| {
            out.extend_from_slice(&7_u32.to_be_bytes());
            text(out, "channel");
            text(out, "payload");
        }),
    }
}

/// The rows of an answer, in text. Whoever asked knows the columns.
pub(super) fn rows(out: &mut Vec<u8>, rows: &[Vec<Option<String>>], tag: &str) {
    message(out, b'T', |out| out.extend_from_slice(&0_u16.to_be_bytes()));
    for row in rows {
        message(out, b'D', |out| {
            out.extend_from_slice(&u16::try_from(row.len()).expect("few columns").to_be_bytes());
            for value in row {
                match value {
                    None => out.extend_from_slice(&u32::MAX.to_be_bytes()),
                    Some(value) => counted(out, value.as_bytes()),
                }
            }
        });
    }
    complete(out, tag);
}

/// A command was carried out.
pub(super) fn complete(out: &mut Vec<u8>, tag: &str) {
    message(out, b'C', |out| text(out, tag));
}

/// Streaming begins.
pub(super) fn copy_both(out: &mut Vec<u8>) {
    message(out, b'W', |out| out.extend_from_slice(&[0, 0, 0]));
}

/// Everything up to a place was sent.
pub(super) fn keepalive(out: &mut Vec<u8>, end: u64, unix_us: u64, reply: bool) {
    message(out, b'd', |out| {
        out.push(b'k');
        out.extend_from_slice(&end.to_be_bytes());
        out.extend_from_slice(&postgres_us(unix_us).to_be_bytes());
        out.push(u8::from(reply));
    });
}

/// A message of pgoutput, with the place that it is said to be of.
fn wal_data(out: &mut Vec<u8>, lsn: u64, unix_us: u64, body: impl FnOnce(&mut Vec<u8>)) {
    message(out, b'd', |out| {
        out.push(b'w');
        for place in [lsn, lsn] {
            out.extend_from_slice(&place.to_be_bytes());
        }
        out.extend_from_slice(&postgres_us(unix_us).to_be_bytes());
        body(out);
    });
}

pub(super) fn begin(out: &mut Vec<u8>, unix_us: u64, transaction: &Transaction) {
    let first = transaction
        .changes
        .first()
        .map_or(transaction.commit, |change| change.lsn);
    wal_data(out, first, unix_us, |out| {
        out.push(b'B');
        out.extend_from_slice(&transaction.commit.to_be_bytes());
        out.extend_from_slice(&postgres_us(transaction.unix_us).to_be_bytes());
        out.extend_from_slice(&(transaction.xid as u32).to_be_bytes());
    });
}

pub(super) fn commit(out: &mut Vec<u8>, unix_us: u64, transaction: &Transaction) {
    wal_data(out, transaction.end, unix_us, |out| {
        out.extend_from_slice(b"C\0");
        out.extend_from_slice(&transaction.commit.to_be_bytes());
        out.extend_from_slice(&transaction.end.to_be_bytes());
        out.extend_from_slice(&postgres_us(transaction.unix_us).to_be_bytes());
    });
}

/// What a table is. It is said before its first change.
pub(super) fn relation(out: &mut Vec<u8>, unix_us: u64, id: TableId) {
    let table = id.table();
    wal_data(out, 0, unix_us, |out| {
        out.push(b'R');
        out.extend_from_slice(&table.oid.to_be_bytes());
        text(out, table.schema);
        text(out, table.name);
        out.push(table.identity.letter());
        out.extend_from_slice(&(table.columns.len() as u16).to_be_bytes());
        for column in table.columns {
            out.push(u8::from(column.is_key || table.identity == Identity::Full));
            text(out, column.name);
            out.extend_from_slice(&column.kind.type_oid().to_be_bytes());
            out.extend_from_slice(&u32::MAX.to_be_bytes());
        }
    });
}

/// The tables that a change names.
pub(super) fn tables_of(change: &Change) -> &[TableId] {
    match &change.what {
        What::Insert { table, .. } | What::Update { table, .. } | What::Delete { table, .. } => {
            std::slice::from_ref(table)
        }
        What::Truncate(tables) => tables,
        What::Message { .. } => &[],
    }
}

pub(super) fn change(out: &mut Vec<u8>, unix_us: u64, change: &Change) {
    wal_data(out, change.lsn, unix_us, |out| match &change.what {
        What::Insert { table, new } => {
            out.push(b'I');
            out.extend_from_slice(&table.table().oid.to_be_bytes());
            out.push(b'N');
            tuple(out, new.iter().map(Sent::of));
        }
        What::Update { table, old, new } => {
            out.push(b'U');
            out.extend_from_slice(&table.table().oid.to_be_bytes());
            update(out, *table, old, new);
        }
        What::Delete { table, old } => {
            out.push(b'D');
            out.extend_from_slice(&table.table().oid.to_be_bytes());
            old_row(out, *table, old);
        }
        What::Truncate(tables) => {
            out.push(b'T');
            out.extend_from_slice(&(tables.len() as u32).to_be_bytes());
            out.push(0);
            for table in tables {
                out.extend_from_slice(&table.table().oid.to_be_bytes());
            }
        }
        What::Message {
            prefix, content, ..
        } => application(out, true, change.lsn, prefix, content),
    });
}

/// A message that belongs to no transaction.
pub(super) fn loose_message(
    out: &mut Vec<u8>,
    unix_us: u64,
    lsn: u64,
    prefix: &str,
    content: &str,
) {
    wal_data(out, lsn, unix_us, |out| {
        application(out, false, lsn, prefix, content)
    });
}

fn application(out: &mut Vec<u8>, transactional: bool, lsn: u64, prefix: &str, content: &str) {
    out.push(b'M');
    out.push(u8::from(transactional));
    out.extend_from_slice(&lsn.to_be_bytes());
    text(out, prefix);
    counted(out, content.as_bytes());
}

fn update(out: &mut Vec<u8>, id: TableId, old: &Row, new: &Row) {
    let table = id.table();
    let mut pairs = table.columns.iter().zip(old.iter().zip(new.iter()));
    let is_moved = pairs.any(|(column, (old, new))| column.is_key && old != new);
    if table.identity == Identity::Full || is_moved {
        old_row(out, id, old);
    }
    out.push(b'N');
    let values = table.columns.iter().zip(old.iter().zip(new.iter()));
    tuple(
        out,
        values.map(|(column, (old, new))| {
            let is_out_of_line = column.kind == Kind::LongText && is_long(new);
            if is_out_of_line && old == new {
                Sent::Unchanged
            } else {
                Sent::of(new)
            }
        }),
    );
}

/// Whether a value is stored out of line.
pub(crate) fn is_long(value: &Value) -> bool {
    value
        .as_ref()
        .is_some_and(|text| text.len() >= OUT_OF_LINE_BYTES)
}

/// What is logged of a row as it was.
fn old_row(out: &mut Vec<u8>, id: TableId, old: &Row) {
    let table = id.table();
    if table.identity == Identity::Full {
        out.push(b'O');
        tuple(out, old.iter().map(Sent::of));
        return;
    }
    out.push(b'K');
    let values = table.columns.iter().zip(old.iter());
    tuple(
        out,
        values.map(|(column, value)| match column.is_key {
            true => Sent::of(value),
            false => Sent::Null,
        }),
    );
}

/// What is sent of a value.
enum Sent<'a> {
    Null,
    Unchanged,
    Text(&'a str),
}

impl<'a> Sent<'a> {
    fn of(value: &'a Value) -> Self {
        value.as_deref().map_or(Self::Null, Self::Text)
    }
}

fn tuple<'a>(out: &mut Vec<u8>, values: impl ExactSizeIterator<Item = Sent<'a>>) {
    out.extend_from_slice(&(values.len() as u16).to_be_bytes());
    for value in values {
        match value {
            Sent::Null => out.push(b'n'),
            Sent::Unchanged => out.push(b'u'),
            Sent::Text(text) => {
                out.push(b't');
                counted(out, text.as_bytes());
            }
        }
    }
}

fn counted(out: &mut Vec<u8>, bytes: &[u8]) {
    let len = u32::try_from(bytes.len()).expect("a value is short");
    out.extend_from_slice(&len.to_be_bytes());
    out.extend_from_slice(bytes);
}

/// What a client says.
#[derive(Debug, PartialEq)]
pub(super) enum Said {
    /// Its settings: the first that comes.
    Startup(Vec<(String, String)>),
    Query(String),
    /// Where a stream's reader stands.
    Status {
        write: u64,
        flush: u64,
        wants_reply: bool,
    },
    /// It goes.
    Terminate,
}

/// Takes the next message out of what has arrived; `None` where it is not all there.
///
/// # Panics
///
/// Where a client says what none of ours does.
pub(super) fn hear(inbox: &mut Vec<u8>, is_first: bool) -> Option<Said> {
    let head = usize::from(!is_first);
    let len = inbox.get(head..head + 4)?;
    let len = u32::from_be_bytes(len.try_into().expect("four bytes")) as usize;
    let bytes = inbox.get(head + 4..head + len)?.to_vec();
    let tag = inbox[0];
    inbox.drain(..head + len);
    if is_first {
        let (version, rest) = bytes.split_at(4);
        assert_eq!(version, [0, 3, 0, 0], "protocol 3.0");
        let texts = String::from_utf8(rest.to_vec()).expect("settings are text");
        let mut texts = texts.split('\0').map(str::to_owned);
        let mut settings = Vec::new();
        while let (Some(name), Some(value)) =
            (texts.next().filter(|it| !it.is_empty()), texts.next())
        {
            settings.push((name, value));
        }
        return Some(Said::Startup(settings));
    }
    Some(match tag {
        b'Q' => {
            let sql = bytes.strip_suffix(b"\0").expect("a query ends with a NUL");
            Said::Query(String::from_utf8(sql.to_vec()).expect("a query is text"))
        }
        b'd' => status(&bytes),
        b'X' => Said::Terminate,
        tag => panic!("a client says {:?}", char::from(tag)),
    })
}

fn status(bytes: &[u8]) -> Said {
    assert!(
        bytes.len() == 34 && bytes[0] == b'r',
        "a standby status update"
    );
    let place = |at: usize| u64::from_be_bytes(bytes[at..at + 8].try_into().expect("eight bytes"));
    Said::Status {
        write: place(1),
        flush: place(9),
        wants_reply: bytes[33] != 0,
    }
}
