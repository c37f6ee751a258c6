//! What a server with a publication and an anchor slot says, message by message (PostgreSQL, "Message
//! Formats" and "Logical Replication Message Formats"): log in, a few answers, then transactions of
//! inserts into one table. For the count of allocations and the micro-benches; the tests of the reader
//! play what a real server once said.

use replication::{Config, Line, LineAction, Protection, Reader};
use wire::{Batch, Keys, Lsn};

/// The table's number, and those of its columns' types (`pg_type.dat`).
const TABLE: u32 = 16_400;
pub(crate) const TEXT: u32 = 25;
pub(crate) const NUMERIC: u32 = 1700;
pub(crate) const TIMESTAMPTZ: u32 = 1184;

/// A column: its name, its type, and its value in every row.
pub(crate) type Column<'a> = (&'a str, u32, &'a str);

/// Some columns: 150 bytes, as the sample rows of `tailrace dev`.
pub(crate) const COLUMNS: [Column<'static>; 7] = [
    ("id", TEXT, "clx3k9f0a0000v8l4h2m1q7ab"),
    ("organizationId", TEXT, "clx3k9f0a0001v8l4"),
    ("name", TEXT, "Harbour View 12"),
    ("price", NUMERIC, "425000.00"),
    ("status", TEXT, "active"),
    ("notes", TEXT, "South-facing,\nquiet"),
    ("updatedAt", TIMESTAMPTZ, "2024-05-01 12:00:00+00"),
];

/// Reads bytes of the stream, hands every batch over, and counts the frames.
pub(crate) fn take(reader: &mut Reader, bytes: &[u8]) -> u64 {
    reader.handle_bytes(Line::Stream, bytes, 0);
    let mut frames = 0;
    while let Some(batch) = reader.poll_batch(0) {
        if let Batch::Commit(commit) = batch {
            frames += commit.frames.len() as u64;
        }
        reader.handle_handed_over(0);
    }
    frames
}

/// A reader that has logged in and begun to stream.
pub(crate) fn streaming() -> Reader {
    let connect = "postgres://tailrace@localhost/app".parse();
    let config = Config::new(connect.expect("it is a good URL"), Keys::new([9; 16]));
    let mut reader = Reader::new(config, 1, 0);
    reader.handle_timeout(0);
    assert_eq!(reader.poll_action(), Some(LineAction::Open(Line::Stream)));
    reader.handle_opened(Line::Stream, Protection::None, 0);
    let mut answer = [message(b'R', &0_u32.to_be_bytes()), message(b'Z', b"I")].concat();
    loop {
        reader
            .outbox(Line::Stream)
            .expect("the line is open")
            .clear();
        take(&mut reader, &answer);
        let asked = reader.outbox(Line::Stream).expect("nothing went wrong");
        let asked = String::from_utf8_lossy(asked).into_owned();
        if asked.contains("START_REPLICATION") {
            // CopyBothResponse: text, no columns.
            take(&mut reader, &message(b'W', &[0, 0, 0]));
            return reader;
        }
        answer = answer_to(&asked);
    }
}

/// What a server with a publication and an anchor slot answers.
fn answer_to(question: &str) -> Vec<u8> {
    let fields: &[&str] = match question {
        question if question.contains("IDENTIFY_SYSTEM") => &["7000", "1", "0/10000000", "app"],
        question if question.contains("pg_copy_logical_replication_slot") => &["0/10000000"],
        question if question.contains("pg_publication_tables") => {
            &["public", "Property", "16400", "", ""]
        }
        question if question.contains("wal_level") => {
            let (version, flushed) = ("180004", "0/10000000");
            &[
                "5",
                "logical",
                "f",
                "t",
                "tailrace_5",
                "reserved",
                version,
                flushed,
            ]
        }
        question => panic!("the bench has no answer to {question:?}"),
    };
    let mut row = (fields.len() as u16).to_be_bytes().to_vec();
    for field in fields {
        put_text(&mut row, field);
    }
    [
        message(b'D', &row),
        message(b'C', b"SELECT 1\0"),
        message(b'Z', b"I"),
    ]
    .concat()
}

/// The table's description.
pub(crate) fn relation(columns: &[Column<'_>]) -> Vec<u8> {
    let mut relation = vec![b'R'];
    relation.extend(TABLE.to_be_bytes());
    // Schema, name, replica identity: the primary key.
    relation.extend_from_slice(b"public\0Property\0d");
    relation.extend((columns.len() as u16).to_be_bytes());
    for (name, type_oid, _) in columns {
        relation.push(u8::from(*name == "id"));
        relation.extend_from_slice(name.as_bytes());
        relation.push(0);
        relation.extend(type_oid.to_be_bytes());
        relation.extend((-1_i32).to_be_bytes());
    }
    wal_data(&relation)
}

/// A transaction of inserts.
pub(crate) fn transaction(commit: Lsn, columns: &[Column<'_>], rows: u64) -> Vec<u8> {
    let end = commit.0 + 0x30;
    let mut begin = vec![b'B'];
    begin.extend(commit.0.to_be_bytes());
    // The commit time, in microseconds since 2000; the transaction's number.
    begin.extend(768_000_000_000_000_i64.to_be_bytes());
    begin.extend(700_u32.to_be_bytes());

    let mut insert = vec![b'I'];
    insert.extend(TABLE.to_be_bytes());
    insert.push(b'N');
    insert.extend((columns.len() as u16).to_be_bytes());
    for (_, _, value) in columns {
        insert.push(b't');
        put_text(&mut insert, value);
    }

    let mut committed = vec![b'C', 0];
    committed.extend(commit.0.to_be_bytes());
    committed.extend(end.to_be_bytes());
    committed.extend(768_000_000_000_000_i64.to_be_bytes());

    let mut bytes = wal_data(&begin);
    let insert = wal_data(&insert);
    for _ in 0..rows {
        bytes.extend_from_slice(&insert);
    }
    bytes.extend(wal_data(&committed));
    bytes
}

/// A message of pgoutput within the replication stream.
fn wal_data(payload: &[u8]) -> Vec<u8> {
    let mut data = vec![b'w'];
    // Where the data lies, the end of the server's log, and its clock.
    data.extend([0; 24]);
    data.extend_from_slice(payload);
    message(b'd', &data)
}

fn message(tag: u8, body: &[u8]) -> Vec<u8> {
    let bytes = u32::try_from(4 + body.len()).expect("a short message");
    [&[tag], &bytes.to_be_bytes()[..], body].concat()
}

fn put_text(out: &mut Vec<u8>, text: &str) {
    out.extend((text.len() as u32).to_be_bytes());
    out.extend_from_slice(text.as_bytes());
}
