//! Decoding allocates nothing for a column, and once for a row: its frame. A program of its own, since the
//! counting allocator is that of the whole program.

mod said;

use said::{COLUMNS, Column, NUMERIC, TEXT, TIMESTAMPTZ, relation, streaming, take, transaction};
use wire::Lsn;

const ROWS: u64 = 200;

/// How many allocations a transaction takes that inserts so many rows with these columns, when others
/// like it went before.
fn allocations(columns: &[Column<'_>], rows: u64) -> u64 {
    let mut reader = streaming();
    take(&mut reader, &relation(columns));
    let mut commit = Lsn(0x2000_0000);
    let mut counted = 0;
    for _ in 0..8 {
        commit.0 += 0x1_0000;
        let bytes = transaction(commit, columns, rows);
        let counts = allocation_counter::measure(|| {
            assert_eq!(take(&mut reader, &bytes), rows, "every row is an event");
        });
        counted = counts.count_total;
    }
    counted
}

/// The sample's columns, and so many more, of every kind that is written otherwise.
fn columns(more: usize) -> Vec<Column<'static>> {
    const KINDS: [(u32, &str); 6] = [
        (TEXT, "quoted \"text\", with\ta tab"),
        (NUMERIC, "123456789.123"),
        (TIMESTAMPTZ, "2024-05-01 12:00:00.5+02"),
        // bool, int8, float8.
        (16, "t"),
        (20, "9223372036854775807"),
        (701, "1.5e-07"),
    ];
    let mut columns = COLUMNS.to_vec();
    for number in 0..more {
        let name = Box::leak(format!("column{number}").into_boxed_str());
        let (type_oid, value) = KINDS[number % KINDS.len()];
        columns.push((name, type_oid, value));
    }
    columns
}

#[test]
fn a_column_allocates_nothing() {
    let (few, many) = (columns(0), columns(48));
    let (few, many) = (allocations(&few, ROWS), allocations(&many, ROWS));
    // The lists of a batch double, and it may be cut where its bytes are many.
    assert!(
        many <= few + 16,
        "{few} allocations for 7 columns, {many} for 55, in {ROWS} rows"
    );
}

#[test]
fn a_row_allocates_its_frame_and_nothing_else() {
    let columns = columns(6);
    let (few, many) = (allocations(&columns, 10), allocations(&columns, 10 + ROWS));
    let more = many - few;
    assert!(
        (ROWS..ROWS + 16).contains(&more),
        "{more} allocations for {ROWS} more rows"
    );
}
