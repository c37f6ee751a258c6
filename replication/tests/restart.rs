//! The server goes away and comes back: nothing is lost, nothing comes twice, nothing hangs.

use std::collections::BTreeSet;
use std::time::Duration;

use replication::Rules;
use serde_json::Value;
use wire::Batch;

use crate::cluster::{Cluster, Stop};
use crate::drive::Drive;

const SCHEMA: &str = r#"
    CREATE TABLE "Property" (id int PRIMARY KEY, "organizationId" text DEFAULT 'acme');
    CREATE PUBLICATION tailrace FOR TABLE "Property";
"#;

fn insert(from: u32, to: u32) -> String {
    format!(r#"INSERT INTO "Property" SELECT generate_series({from}, {to})"#)
}

/// Every row came exactly once, in ascending order of positions.
fn assert_rows(drive: &Drive, count: usize) {
    let ids: Vec<_> = drive.frames.iter().map(|frame| frame.id()).collect();
    assert!(
        ids.windows(2).all(|pair| pair[0] < pair[1]),
        "out of order, or twice"
    );
    let rows: BTreeSet<i64> = drive
        .events("acme")
        .iter()
        .map(|event| event["payload"]["record"]["id"].as_i64().unwrap())
        .collect();
    assert_eq!((rows.len(), ids.len()), (count, count));
}

fn gaps(drive: &Drive) -> usize {
    drive
        .batches
        .iter()
        .filter(|batch| matches!(batch, Batch::Gap(_)))
        .count()
}

#[test]
fn a_fast_shutdown_does_not_wait_for_us_and_nothing_is_lost() {
    let mut cluster = Cluster::start(SCHEMA);
    let mut drive = Drive::streaming(&cluster, Rules::default());
    cluster.sql(&insert(1, 10));
    drive.catch_up(&cluster);
    // Confirmed, and then taken back: what was confirmed must not stand.
    drive.pass(Duration::from_millis(1_200));
    cluster.sql(&insert(11, 20));
    let stopped = std::thread::scope(|scope| {
        let stopping = scope.spawn(|| cluster.stop(Stop::Fast));
        while !stopping.is_finished() {
            drive.pass(Duration::from_millis(10));
        }
        stopping.join().unwrap()
    });
    assert!(stopped < Duration::from_secs(5), "{stopped:?}");
    drive.until("waiting", |drive| !drive.status().ready);
    assert!(
        drive
            .status()
            .reason
            .unwrap()
            .starts_with("connecting to PostgreSQL")
    );
    cluster.resume();
    cluster.sql(&insert(21, 30));
    drive.until("streaming again", |drive| drive.status().ready);
    drive.catch_up(&cluster);
    assert_rows(&drive, 30);
    assert_eq!((gaps(&drive), drive.status().reconnects), (0, 1));
}

#[test]
fn a_killed_server_loses_and_repeats_nothing() {
    let mut cluster = Cluster::start(SCHEMA);
    let mut drive = Drive::streaming(&cluster, Rules::default());
    let mut count = 0;
    for _ in 0..3 {
        cluster.sql(&insert(count + 1, count + 50));
        drive.pass(Duration::from_millis(100));
        cluster.sql(&insert(count + 51, count + 100));
        cluster.stop(Stop::Kill);
        cluster.resume();
        cluster.sql(&insert(count + 101, count + 150));
        count += 150;
        drive.until("streaming again", |drive| drive.status().ready);
        drive.catch_up(&cluster);
    }
    assert_rows(&drive, 450);
    assert_eq!(gaps(&drive), 0);
}

#[test]
fn a_connection_that_breaks_within_a_transaction_goes_on_where_it_was() {
    let cluster = Cluster::start(SCHEMA);
    // Slow enough to be in the midst of it when the walsender is ended.
    let mut drive = Drive::new(&cluster, Rules::default()).read_at_most(512);
    drive.until("streaming", |drive| drive.status().ready);
    cluster.sql(&insert(1, 20_000));
    drive.until("half through", |drive| drive.frames.len() > 5_000);
    cluster.sql("SELECT pg_terminate_backend(pid) FROM pg_stat_replication");
    let mut drive = drive.read_at_most(64 * 1024);
    drive.until("streaming again", |drive| {
        drive.status().reconnects == 1 && drive.status().ready
    });
    drive.catch_up(&cluster);
    assert_rows(&drive, 20_000);
    let ends = drive.batches.iter().filter(|batch| match batch {
        Batch::Commit(commit) => !commit.frames.is_empty() && commit.end.is_some(),
        _ => false,
    });
    assert_eq!(ends.count(), 1);
}

// Case: 47
#[test]
fn a_slot_that_is_set_back_by_a_restart_repeats_nothing() {
    let mut cluster = Cluster::start(SCHEMA);
    let mut drive = Drive::with(&cluster, |config| config.window_ms = 1_000);
    drive.until("streaming", |drive| drive.status().ready);
    let confirmed = |cluster: &Cluster| -> wire::Lsn {
        let sql = "SELECT confirmed_flush_lsn FROM pg_replication_slots WHERE NOT temporary";
        cluster.sql(sql).parse().unwrap()
    };
    cluster.sql("CHECKPOINT");
    for from in [1, 11, 21] {
        cluster.sql(&insert(from, from + 9));
        drive.catch_up(&cluster);
        drive.pass(Duration::from_millis(700));
    }
    let last = drive.frames.last().unwrap().id().lsn;
    drive.until("moved on", |_| confirmed(&cluster) >= last);
    let before = confirmed(&cluster);
    // Where a position is kept in memory alone, a crash sets it back, and on some a clean end as well.
    cluster.stop(Stop::Kill);
    cluster.resume();
    let after = confirmed(&cluster);
    assert!(after < before, "set back: {after} {before}");
    cluster.sql(&insert(31, 40));
    drive.until("streaming again", |drive| {
        drive.status().reconnects == 1 && drive.status().ready
    });
    drive.catch_up(&cluster);
    assert_rows(&drive, 40);
    assert_eq!(gaps(&drive), 0);
    // Who starts now reads what others have confirmed, with the same ids.
    let mut next = Drive::streaming(&cluster, Rules::default());
    next.catch_up(&cluster);
    let ids = |drive: &Drive| -> Vec<_> { drive.frames.iter().map(|frame| frame.id()).collect() };
    assert!(next.frames.len() >= 10 && ids(&drive).ends_with(&ids(&next)));
}

#[test]
fn a_new_node_reads_the_window_again_with_the_same_ids() {
    let cluster = Cluster::start(SCHEMA);
    let mut first = Drive::streaming(&cluster, Rules::default());
    cluster.sql(&insert(1, 10));
    first.catch_up(&cluster);
    let ids = |drive: &Drive| -> Vec<_> { drive.frames.iter().map(|frame| frame.id()).collect() };
    let seen = ids(&first);
    drop(first);
    let mut second = Drive::streaming(&cluster, Rules::default());
    second.catch_up(&cluster);
    assert_eq!(ids(&second), seen);
    assert_rows(&second, 10);
}

#[test]
fn keepalives_are_progress_where_nothing_is_for_us() {
    let cluster = Cluster::start(SCHEMA);
    cluster.sql("CREATE TABLE other (id int)");
    let mut drive = Drive::streaming(&cluster, Rules::default());
    let before = drive.status().applied.unwrap();
    cluster.sql("INSERT INTO other SELECT generate_series(1, 10000)");
    let end = cluster
        .sql("SELECT pg_current_wal_flush_lsn()")
        .parse()
        .unwrap();
    drive.until("progress", |drive| {
        drive.status().applied.unwrap().lsn >= end
    });
    assert!(drive.status().applied.unwrap() > before);
    assert_eq!(drive.frames.len(), 0);
    let is_confirmed = "SELECT bool_and(confirmed_flush_lsn >= $1) FROM pg_replication_slots \
         WHERE temporary"
        .replace("$1", &format!("'{end}'"));
    drive.pass(Duration::from_millis(1_500));
    assert_eq!(cluster.sql(&is_confirmed), "t");
    // No commit may wait for a reader, however the server is configured.
    let standby = "SELECT flush_lsn IS NULL OR flush_lsn = '0/0' FROM pg_stat_replication";
    assert_eq!(cluster.sql(standby), "t");
}

#[test]
fn commits_do_not_wait_for_us_even_if_every_standby_is_synchronous() {
    let cluster = Cluster::start(SCHEMA);
    let mut drive = Drive::streaming(&cluster, Rules::default());
    cluster.sql(&insert(1, 10));
    drive.catch_up(&cluster);
    cluster.sql("ALTER SYSTEM SET synchronous_standby_names = '*'");
    cluster.sql("SELECT pg_reload_conf()");
    drive.pass(Duration::from_millis(1_500));
    let state = "SELECT string_agg(sync_state, ',') FROM pg_stat_replication";
    assert_eq!(cluster.sql(state), "async");
}

// Case: 70
#[test]
fn a_full_engine_keeps_the_rest_in_the_server_and_the_connection_alive() {
    let cluster = Cluster::start(SCHEMA);
    let mut drive = Drive::streaming(&cluster, Rules::default());
    drive.set_full(true);
    cluster.sql(&insert(1, 50_000));
    // Longer than the server's patience of 12 s, and than ours with its silence.
    drive.pass(Duration::from_secs(25));
    assert_eq!((drive.frames.len(), drive.status().reconnects), (0, 0));
    let unconfirmed = "SELECT confirmed_flush_lsn < pg_current_wal_flush_lsn() - 1000000 \
         FROM pg_replication_slots WHERE temporary";
    assert_eq!(cluster.sql(unconfirmed), "t");
    drive.set_full(false);
    drive.catch_up(&cluster);
    assert_rows(&drive, 50_000);
    assert_eq!(drive.status().reconnects, 0);
}

#[test]
fn a_publication_that_vanishes_is_said_and_not_hammered() {
    let cluster = Cluster::start(SCHEMA);
    let mut drive = Drive::streaming(&cluster, Rules::default());
    cluster.sql("DROP PUBLICATION tailrace");
    cluster.sql(&insert(1, 1));
    drive.until("waiting", |drive| !drive.status().ready);
    drive.pass(Duration::from_secs(3));
    let status = drive.status();
    assert_eq!(status.fatal, None, "a node that has streamed goes on");
    assert!(
        status
            .reason
            .unwrap()
            .contains("CREATE PUBLICATION \"tailrace\"")
    );
    assert!(drive.notices.len() < 8, "{:?}", drive.notices);
    let events: [Value; 0] = [];
    assert_eq!(drive.events("acme"), events);
}
