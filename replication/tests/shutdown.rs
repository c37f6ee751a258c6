//! PostgreSQL can always stop fast, and never waits for a reader to commit.
//!
//! The bound is one of behaviour: a server that waits for its walsender waits for ever.

use std::time::{Duration, Instant};

use replication::Rules;

use crate::cluster::{Cluster, Stop};
use crate::drive::Drive;

const SCHEMA: &str = r#"
    CREATE TABLE "Property" (id int PRIMARY KEY, "organizationId" text DEFAULT 'acme');
    CREATE PUBLICATION tailrace FOR TABLE "Property";
"#;

/// How long a fast shutdown may take: it takes some 0.2 s by itself, and never ends if it waits for us.
const STOP_MAX: Duration = Duration::from_secs(2);

/// How long a commit may take: some milliseconds, and for ever if it waits for us.
const COMMIT_MAX: Duration = Duration::from_secs(5);

fn insert(from: u32, to: u32) -> String {
    format!(r#"INSERT INTO "Property" SELECT generate_series({from}, {to})"#)
}

/// Does something with the server while the readers go on.
fn meanwhile<T: Send>(drives: &mut [Drive], act: impl FnOnce() -> T + Send) -> T {
    std::thread::scope(|scope| {
        let acting = scope.spawn(act);
        while !acting.is_finished() {
            for drive in &mut *drives {
                drive.pass(Duration::from_millis(1));
            }
        }
        acting.join().unwrap()
    })
}

/// Stops the server while the readers go on, starts it again, and expects every reader to have every row
/// once.
#[track_caller]
fn stop_and_go_on(cluster: &mut Cluster, mut drives: Vec<Drive>, rows: u32) {
    let stopped = meanwhile(&mut drives, || cluster.stop(Stop::Fast));
    assert!(stopped < STOP_MAX, "{stopped:?}");
    cluster.resume();
    cluster.sql(&insert(rows + 1, rows + 10));
    for drive in &mut drives {
        drive.set_full(false);
        drive.take_a_batch_every(Duration::ZERO);
        drive.until("streaming again", |drive| {
            drive.status().ready && drive.status().reconnects > 0
        });
        drive.catch_up(cluster);
        assert_rows(drive, rows + 10);
    }
}

/// Every row came once, in order, and nothing was said to be missing.
#[track_caller]
fn assert_rows(drive: &Drive, rows: u32) {
    let events = drive.events("acme");
    let ids = events.iter().map(|event| &event["payload"]["record"]["id"]);
    assert!(ids.eq(1..=rows), "{} events of {rows} rows", events.len());
    assert_eq!(drive.status().gaps, 0);
}

// Case: 45
#[test]
fn it_stops_fast_while_nodes_stream_and_the_anchor_is_held_back() {
    let mut cluster = Cluster::start(SCHEMA);
    let mut drives: Vec<_> = (0..2)
        .map(|_| Drive::streaming(&cluster, Rules::default()))
        .collect();
    cluster.sql(&insert(1, 10));
    for drive in &mut drives {
        drive.catch_up(&cluster);
        // Confirmed, and taken back: what was confirmed must not stand.
        drive.pass(Duration::from_millis(1_200));
    }
    cluster.sql(&insert(11, 20));
    stop_and_go_on(&mut cluster, drives, 20);
}

// Case: 45
#[test]
fn it_stops_fast_while_every_engine_is_full() {
    let mut cluster = Cluster::start(SCHEMA);
    let mut drives = vec![Drive::streaming(&cluster, Rules::default())];
    drives[0].set_full(true);
    // More than fits into the socket: the server is in the midst of sending it.
    cluster.sql(&insert(1, 50_000));
    drives[0].pass(Duration::from_secs(2));
    assert_eq!(drives[0].frames.len(), 0);
    stop_and_go_on(&mut cluster, drives, 50_000);
}

// Case: 45
#[test]
fn it_stops_fast_while_a_node_is_behind() {
    const ROWS: u32 = 100_000;
    let mut cluster = Cluster::start(SCHEMA);
    let mut drive = Drive::streaming(&cluster, Rules::default());
    drive.take_a_batch_every(Duration::from_millis(100));
    cluster.sql(&insert(1, ROWS));
    drive.pass(Duration::from_secs(4));
    let taken = drive.frames.len();
    assert!((1..ROWS as usize / 2).contains(&taken), "{taken} rows");
    stop_and_go_on(&mut cluster, vec![drive], ROWS);
}

// Case: 46
#[test]
fn it_stops_at_once_and_nothing_is_lost_or_repeated() {
    let mut cluster = Cluster::start(SCHEMA);
    let mut drive = Drive::streaming(&cluster, Rules::default());
    for round in 0..3 {
        let row = round * 10;
        cluster.sql(&insert(row + 1, row + 4));
        drive.pass(Duration::from_millis(100));
        cluster.sql(&insert(row + 5, row + 8));
        cluster.stop(Stop::Immediate);
        cluster.resume();
        cluster.sql(&insert(row + 9, row + 10));
        drive.until("streaming again", |drive| drive.status().ready);
        drive.catch_up(&cluster);
    }
    assert_rows(&drive, 30);
}

// Case: 48
#[test]
fn no_commit_waits_for_us_where_every_standby_is_synchronous() {
    let mut cluster = Cluster::start(SCHEMA);
    let standby = cluster.standby();
    let mut drives = [Drive::streaming(&cluster, Rules::default())];
    cluster.sql(&insert(1, 10));
    drives[0].catch_up(&cluster);
    cluster.sql("ALTER SYSTEM SET synchronous_standby_names = '*'");
    cluster.sql("SELECT pg_reload_conf()");
    let states = "SELECT string_agg(application_name || ' ' || sync_state, ', '
         ORDER BY application_name) FROM pg_stat_replication";
    // Whatever was confirmed to us, before or since, was taken back.
    drives[0].pass(Duration::from_millis(1_500));
    assert_eq!(cluster.sql(states), "standby sync, tailrace async");
    // Not even where we take nothing any more.
    drives[0].set_full(true);
    for row in 11..=20 {
        let insert = insert(row, row);
        let begun = Instant::now();
        meanwhile(&mut drives, || cluster.sql(&insert));
        assert!(begun.elapsed() < COMMIT_MAX, "{:?}", begun.elapsed());
    }
    assert_eq!(cluster.sql(states), "standby sync, tailrace async");
    drives[0].set_full(false);
    drives[0].catch_up(&cluster);
    assert_rows(&drives[0], 20);
    drop(standby);
}
