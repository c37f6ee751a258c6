//! An anchor that is lost: with the node's own stream alive, and without; as the server takes it, and as
//! somebody drops it.

use std::time::Duration;

use replication::{Rules, SlotMode};
use wire::GapReason;

use crate::cluster::Cluster;
use crate::drive::Drive;

const SCHEMA: &str = r#"
    CREATE TABLE "Property" (id serial PRIMARY KEY, "organizationId" text DEFAULT 'acme');
    CREATE TABLE other (body text);
    ALTER TABLE other ALTER body SET STORAGE EXTERNAL;
    CREATE PUBLICATION tailrace FOR TABLE "Property";
"#;

const INSERT: &str = r#"INSERT INTO "Property" DEFAULT VALUES"#;
const ANCHORS: &str = "SELECT count(*) FROM pg_replication_slots WHERE NOT temporary AND \
                       wal_status <> 'lost'";
const DROP: &str = "SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots \
                    WHERE NOT temporary";
const END_STREAMS: &str = "SELECT pg_terminate_backend(pid) FROM pg_stat_replication";

/// Writes some 17 MB of log, and lets the server look at what it keeps.
fn write_a_segment(cluster: &Cluster) {
    cluster.sql("INSERT INTO other SELECT repeat('x', 100000) FROM generate_series(1, 170)");
    cluster.sql("SELECT pg_switch_wal()");
    cluster.sql("CHECKPOINT");
}

// Case: 55
#[test]
fn an_anchor_that_is_dropped_while_we_stream_is_made_anew_and_nobody_is_reset() {
    let cluster = Cluster::start(SCHEMA);
    let mut drive = Drive::streaming(&cluster, Rules::default());
    cluster.sql(INSERT);
    drive.catch_up(&cluster);
    for lost in 1..=3 {
        cluster.sql(DROP);
        drive.until("made anew", |drive| {
            let status = drive.status();
            status.anchors_lost == lost && status.slot.is_some_and(|it| it.wal_status.is_some())
        });
        assert_eq!(cluster.sql(ANCHORS), "1");
    }
    assert!(drive.has_said("anchor=lost") && drive.has_said("anchor=created"));
    // It reaches back to our own place: nothing is missing when the stream breaks then.
    cluster.sql(END_STREAMS);
    cluster.sql(INSERT);
    drive.until("streaming again", |drive| {
        drive.status().reconnects == 1 && drive.status().ready
    });
    drive.catch_up(&cluster);
    assert_eq!((drive.frames.len(), drive.gaps()), (2, vec![]));
    // Not for ever.
    cluster.sql(DROP);
    drive.until("given up", |drive| drive.has_said("anchor=missing"));
    drive.pass(Duration::from_secs(3));
    assert_eq!(cluster.sql(ANCHORS), "0");
    assert_eq!((drive.status().anchors_lost, drive.gaps()), (4, vec![]));
    cluster.sql(INSERT);
    drive.catch_up(&cluster);
    assert_eq!((drive.frames.len(), drive.status().ready), (3, true));
}

// Case: 55
#[test]
fn an_anchor_that_the_server_gives_up_while_we_stream_is_made_anew() {
    let settings = [
        "max_slot_wal_keep_size=96MB",
        "min_wal_size=32MB",
        "max_wal_size=48MB",
    ];
    let cluster = Cluster::start_with(&settings, SCHEMA);
    let mut drive = Drive::streaming(&cluster, Rules::default());
    drive.until("looked after", |drive| drive.status().slot.is_some());
    // It is not moved: the window is longer than this test. Our own slot is.
    for _ in 0..8 {
        write_a_segment(&cluster);
        drive.catch_up(&cluster);
        drive.pass(Duration::from_millis(1_500));
    }
    drive.until("made anew", |drive| {
        let status = drive.status();
        status.anchors_lost > 0 && status.slot.is_some_and(|it| it.wal_status.is_some())
    });
    drive.until("there", |_| cluster.sql(ANCHORS) == "1");
    cluster.sql(INSERT);
    drive.catch_up(&cluster);
    assert_eq!((drive.frames.len(), drive.gaps()), (1, vec![]));
}

// Case: 55
#[test]
fn what_the_server_gives_up_with_us_away_is_a_gap_and_made_anew_three_times_an_hour() {
    let settings = [
        "max_slot_wal_keep_size=16MB",
        "min_wal_size=32MB",
        "max_wal_size=48MB",
    ];
    let cluster = Cluster::start_with(&settings, SCHEMA);
    let mut drive = Drive::streaming(&cluster, Rules::default());
    let lost =
        "SELECT count(*) FROM pg_replication_slots WHERE NOT temporary AND wal_status = 'lost'";
    for round in 1..=4 {
        cluster.sql(INSERT);
        drive.catch_up(&cluster);
        cluster.sql(END_STREAMS);
        while cluster.sql(lost) != "1" {
            write_a_segment(&cluster);
        }
        if round == 4 {
            break;
        }
        drive.until("streaming again", |drive| {
            drive.status().gaps == round && drive.status().ready
        });
        assert_eq!(cluster.sql(ANCHORS), "1");
    }
    drive.until("given up", |drive| {
        let reason = drive.status().reason.unwrap_or_default();
        reason.starts_with("waiting for slot: ") && reason.contains("max_slot_wal_keep_size")
    });
    assert_eq!(drive.gaps(), [GapReason::SlotLost; 3]);
    assert_eq!((drive.frames.len(), drive.status().anchors_lost), (4, 3));
    assert!(!drive.status().ready);
}

// Case: 54
#[test]
fn who_was_away_for_longer_than_the_window_begins_anew() {
    let cluster = Cluster::start(SCHEMA);
    let window = |config: &mut replication::Config| config.window_ms = 1_000;
    let mut away = Drive::with(&cluster, window);
    away.until("streaming", |drive| drive.status().ready);
    cluster.sql(INSERT);
    away.catch_up(&cluster);
    let last = away.frames[0].id();
    // It is cut off, and hears of nothing; another node goes on.
    cluster.sql(END_STREAMS);
    let mut other = Drive::with(&cluster, window);
    other.until("streaming", |drive| drive.status().ready);
    cluster.sql(INSERT);
    other.until("moved on", |drive| {
        let slot = drive.status().slot;
        drive.frames.len() == 2
            && slot.is_some_and(|slot| slot.confirmed > drive.frames[1].id().lsn)
    });
    away.until("streaming again", |drive| {
        drive.status().reconnects == 1 && drive.status().ready
    });
    cluster.sql(INSERT);
    away.catch_up(&cluster);
    assert_eq!(
        (away.gaps(), away.frames.len()),
        (vec![GapReason::SlotLost], 2)
    );
    let floor = away.batches.iter().rev().find_map(|batch| match batch {
        wire::Batch::Gap(gap) => Some(gap.floor),
        _ => None,
    });
    assert!(floor > Some(last), "nobody goes on from what it had before");
    assert_eq!(other.gaps(), []);
}

#[test]
fn without_an_anchor_nothing_is_left_behind_and_a_lost_connection_is_a_gap() {
    let cluster = Cluster::start(SCHEMA);
    let temporary = |config: &mut replication::Config| config.mode = SlotMode::Temporary;
    let mut drive = Drive::with(&cluster, temporary);
    drive.until("streaming", |drive| drive.status().ready);
    cluster.sql(INSERT);
    drive.catch_up(&cluster);
    assert_eq!(cluster.sql(ANCHORS), "0");
    drive.until("looked after", |drive| drive.status().slot.is_some());
    cluster.sql(END_STREAMS);
    cluster.sql(INSERT);
    drive.until("streaming again", |drive| {
        drive.status().reconnects == 1 && drive.status().ready
    });
    cluster.sql(INSERT);
    drive.catch_up(&cluster);
    assert_eq!(
        (drive.gaps(), drive.frames.len()),
        (vec![GapReason::SlotLost], 2)
    );
    assert_eq!(
        (drive.status().anchors_lost, drive.has_said("anchor=")),
        (0, false)
    );
    drop(drive);
    std::thread::sleep(Duration::from_millis(500));
    assert_eq!(
        cluster.sql("SELECT count(*) FROM pg_replication_slots"),
        "0"
    );
}

mod from_18 {
    use super::*;

    // Case: 55
    #[test]
    #[ignore = "needs PostgreSQL 18 or later: script/test --all-postgres"]
    fn an_anchor_that_is_looked_after_is_not_idle_and_one_that_was_idle_is_made_anew() {
        let cluster = Cluster::start_with(&["idle_replication_slot_timeout=4s"], SCHEMA);
        let mut drive = Drive::streaming(&cluster, Rules::default());
        for _ in 0..8 {
            drive.pass(Duration::from_secs(1));
            cluster.sql("CHECKPOINT");
        }
        assert_eq!(
            (cluster.sql(ANCHORS), drive.status().anchors_lost),
            ("1".to_owned(), 0)
        );
        // Nobody looks after it now.
        std::thread::sleep(Duration::from_secs(6));
        cluster.sql("CHECKPOINT");
        assert_eq!(cluster.sql(ANCHORS), "0");
        drive.until("made anew", |drive| drive.has_said("idle_timeout"));
        drive.until("there", |_| cluster.sql(ANCHORS) == "1");
        cluster.sql(INSERT);
        drive.catch_up(&cluster);
        assert_eq!((drive.frames.len(), drive.gaps()), (1, vec![]));
    }
}
