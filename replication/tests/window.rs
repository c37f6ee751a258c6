//! What the anchor holds back: the window, by time and by bytes, and what is older than that.

use std::time::{Duration, Instant};

use replication::{Notice, Rules};
use wire::Lsn;

use crate::cluster::Cluster;
use crate::drive::Drive;

const SCHEMA: &str = r#"
    CREATE TABLE "Property" (id serial PRIMARY KEY, "organizationId" text DEFAULT 'acme');
    CREATE TABLE other (body text);
    ALTER TABLE other ALTER body SET STORAGE EXTERNAL;
    CREATE PUBLICATION tailrace FOR TABLE "Property";
"#;

const INSERT: &str = r#"INSERT INTO "Property" DEFAULT VALUES"#;

/// How much of the log lies behind the end of it, as the anchor was confirmed and as it is kept.
fn held(cluster: &Cluster) -> (u64, u64) {
    let behind = cluster.sql(
        "SELECT pg_current_wal_lsn() - confirmed_flush_lsn, pg_current_wal_lsn() - restart_lsn
         FROM pg_replication_slots WHERE NOT temporary",
    );
    let (confirmed, kept) = behind.split_once('|').unwrap();
    (confirmed.parse().unwrap(), kept.parse().unwrap())
}

/// Writes so many megabytes that are nothing to us.
fn write(cluster: &Cluster, megabytes: u32) {
    let rows = megabytes * 10;
    cluster.sql(&format!(
        "INSERT INTO other SELECT repeat('x', 100000) FROM generate_series(1, {rows})"
    ));
}

// Case: 49
#[test]
fn a_gigabyte_of_other_writes_beside_idle_tables_is_not_held_back() {
    let cluster = Cluster::start(SCHEMA);
    let mut drive = Drive::with(&cluster, |config| config.window_ms = 2_000);
    drive.until("streaming", |drive| drive.status().ready);
    for _ in 0..10 {
        write(&cluster, 103);
        drive.pass(Duration::from_millis(200));
    }
    let end: Lsn = cluster.sql("SELECT pg_current_wal_lsn()").parse().unwrap();
    drive.until("confirmed", |drive| {
        drive
            .status()
            .slot
            .is_some_and(|slot| slot.confirmed >= end)
    });
    // The position that is kept follows with what a checkpoint writes, and the next move after it.
    let begun = Instant::now();
    while held(&cluster).1 > 1_000_000 {
        assert!(
            begun.elapsed() < Duration::from_secs(30),
            "{:?}",
            held(&cluster)
        );
        cluster.sql("CHECKPOINT");
        drive.pass(Duration::from_millis(700));
    }
    drive.until("said", |drive| {
        drive
            .status()
            .slot
            .is_some_and(|slot| slot.retained_bytes < 2_000_000)
    });
    assert_eq!((drive.frames.len(), drive.gaps()), (0, vec![]));
}

#[test]
fn the_bound_in_bytes_holds_where_the_window_in_time_does_not() {
    const BYTES: u64 = 32 << 20;
    let cluster = Cluster::start(SCHEMA);
    let mut drive = Drive::with(&cluster, |config| config.window_bytes = BYTES);
    drive.until("streaming", |drive| drive.status().ready);
    cluster.sql(INSERT);
    write(&cluster, 20);
    drive.catch_up(&cluster);
    drive.pass(Duration::from_secs(2));
    assert!(
        held(&cluster).0 > 20 << 20,
        "as long as it is less than that"
    );
    for _ in 0..6 {
        write(&cluster, 20);
        drive.catch_up(&cluster);
        drive.pass(Duration::from_millis(1_100));
    }
    // Transactions of 20 MB: there is no position to move to within one.
    drive.until("moved", |_| held(&cluster).0 < BYTES + (22 << 20));
    assert!(held(&cluster).0 >= BYTES, "what is within it is kept");
    assert_eq!((drive.frames.len(), drive.gaps()), (1, vec![]));
}

// Case: 50
#[test]
fn an_old_transaction_holds_the_log_back_which_is_said_and_loses_nothing() {
    let cluster = Cluster::start(SCHEMA);
    let mut drive = Drive::with(&cluster, |config| config.window_ms = 2_000);
    drive.until("streaming", |drive| drive.status().ready);
    let mut writer =
        cluster.sql_in_background(&format!("BEGIN; {INSERT}; SELECT pg_sleep(12); COMMIT"));
    drive.pass(Duration::from_millis(500));
    cluster.sql(INSERT);
    drive.catch_up(&cluster);
    write(&cluster, 20);
    drive.until("said", |drive| {
        let held = |notice: &Notice| match notice {
            Notice::HeldBack { seconds, .. } => seconds.is_some_and(|age| age > 2),
            _ => false,
        };
        drive.notices.iter().any(held)
    });
    drive.until("measured", |drive| {
        drive.status().slot.is_some_and(|slot| {
            slot.oldest_transaction_s > Some(2) && slot.before_window_bytes > 10 << 20
        })
    });
    writer.wait().unwrap();
    drive.catch_up(&cluster);
    assert_eq!(drive.frames.len(), 2);
    cluster.sql("CHECKPOINT");
    drive.until("over", |drive| {
        drive
            .status()
            .slot
            .is_some_and(|slot| slot.oldest_transaction_s.is_none())
    });
    let mut next = Drive::streaming(&cluster, Rules::default());
    next.catch_up(&cluster);
    let said = drive
        .notices
        .iter()
        .filter(|it| matches!(it, Notice::HeldBack { .. }));
    assert_eq!(
        (said.count(), drive.gaps(), next.gaps()),
        (1, vec![], vec![])
    );
}
