//! A row into its event: from the bytes of PostgreSQL's stream to the batch of frames, through the
//! reader as the node drives it. What the server would say is in `said`.

#[path = "../../replication/tests/said.rs"]
mod said;

use criterion::{BatchSize, Criterion, Throughput};
use said::{COLUMNS, relation, streaming, take, transaction};
use wire::Lsn;

/// How many rows a transaction inserts.
const ROWS: u64 = 100;

pub(crate) fn bench(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("row to event");
    group.throughput(Throughput::Elements(ROWS));
    let mut reader = streaming();
    take(&mut reader, &relation(&COLUMNS));
    let mut commit = Lsn(0x2000_0000);
    group.bench_function(format!("{ROWS} inserts"), |bencher| {
        let next = || {
            commit.0 += 0x1_0000;
            transaction(commit, &COLUMNS, ROWS)
        };
        let read = |bytes: Vec<u8>| {
            let frames = take(&mut reader, &bytes);
            assert_eq!(frames, ROWS, "every row is an event");
        };
        bencher.iter_batched(next, read, BatchSize::SmallInput);
    });
    group.finish();
}
