//! Another server answers: a standby that was promoted, or an older state of the same one.

use std::time::Duration;

use replication::Rules;
use wire::{Batch, GapReason, Lsn};

use crate::cluster::{Cluster, Stop};
use crate::drive::Drive;

const SCHEMA: &str = r#"
    CREATE TABLE "Property" (id int PRIMARY KEY, "organizationId" text DEFAULT 'acme');
    CREATE PUBLICATION tailrace FOR TABLE "Property";
"#;

fn insert(from: u32, to: u32) -> String {
    format!(r#"INSERT INTO "Property" SELECT generate_series({from}, {to})"#)
}

fn lsn(cluster: &Cluster, function: &str) -> Lsn {
    cluster
        .sql(&format!("SELECT {function}()"))
        .parse()
        .unwrap()
}

/// Goes on until the standby has everything that the primary has.
fn follow(drive: &mut Drive, primary: &Cluster, standby: &Cluster) {
    let end = lsn(primary, "pg_current_wal_flush_lsn");
    drive.until("followed", |_| {
        let sql = "SELECT coalesce(pg_last_wal_replay_lsn(), '0/0')";
        standby.sql(sql).parse::<Lsn>().unwrap() >= end
    });
}

/// Promotes the standby, which is the server from now on.
fn promote(drive: &mut Drive, primary: &mut Cluster, standby: &Cluster) {
    primary.stop(Stop::Fast);
    drive.go_to(standby.directory());
    standby.sql("SELECT pg_promote()");
}

fn timelines(drive: &Drive) -> Vec<u32> {
    drive
        .frames
        .iter()
        .map(|frame| frame.id().timeline)
        .collect()
}

// Case: 52
#[test]
fn an_older_state_of_the_server_is_never_asked_for_what_it_has_not_got() {
    let mut cluster = Cluster::start(SCHEMA);
    let mut drive = Drive::streaming(&cluster, Rules::default());
    cluster.sql(&insert(1, 10));
    drive.catch_up(&cluster);
    let mut older = cluster.copy();
    drive.until("streaming again", |drive| drive.status().ready);
    cluster.sql(&insert(11, 2_000));
    drive.catch_up(&cluster);
    let seen = drive.status().applied.unwrap();
    cluster.stop(Stop::Fast);
    older.resume();
    drive.go_to(older.directory());
    drive.take_a_batch_every(Duration::from_millis(200));
    drive.until("a gap", |drive| !drive.gaps().is_empty());
    let status = drive.status();
    assert!(status.applied.unwrap() < seen, "it begins anew");
    assert!(!status.ready, "and has the past before it");
    drive.take_a_batch_every(Duration::ZERO);
    drive.until("ready", |drive| drive.status().ready);
    assert_eq!(drive.gaps(), [GapReason::HistoryChanged]);
    let end = lsn(&older, "pg_current_wal_lsn");
    assert!(end < seen.lsn, "it has not got that far");
    // What comes now lies before what was seen, and is not taken for it.
    let before = drive.frames.len();
    older.sql(&insert(5_001, 5_010));
    drive.catch_up(&older);
    let new = &drive.frames[before..];
    assert!(
        new.iter().filter(|frame| frame.id() < seen).count() >= 10,
        "{}",
        new.len()
    );
    let last = drive.events("acme").pop().unwrap();
    assert_eq!(last["payload"]["record"]["id"], 5_010);
}

// Case: 58
#[test]
fn after_a_promotion_positions_are_of_the_new_timeline_and_the_lost_slot_is_a_gap() {
    let mut primary = Cluster::start(SCHEMA);
    let standby = primary.standby();
    let mut drive = Drive::streaming(&primary, Rules::default());
    primary.sql(&insert(1, 10));
    drive.catch_up(&primary);
    follow(&mut drive, &primary, &standby);
    promote(&mut drive, &mut primary, &standby);
    drive.until("streaming again", |drive| {
        drive.status().gaps == 1 && drive.status().ready
    });
    standby.sql(&insert(11, 20));
    drive.catch_up(&standby);
    // A slot follows only if both servers are set up for it.
    assert_eq!(drive.gaps(), [GapReason::SlotLost]);
    assert_eq!(timelines(&drive), [[1; 10], [2; 10]].concat());
    let lineage = drive.batches.iter().rev().find_map(|batch| match batch {
        Batch::Start(start) => Some(start.lineage.clone()),
        _ => None,
    });
    let lineage = lineage.unwrap();
    assert!(drive.frames.iter().all(|frame| lineage.admits(frame.id())));
}

mod from_17 {
    use super::*;

    // Case: 58
    #[test]
    #[ignore = "needs PostgreSQL 17 or later: script/test --all-postgres"]
    fn an_anchor_that_follows_a_failover_replays_the_window_with_the_same_ids() {
        let mut primary = Cluster::start_with(&["hot_standby_feedback=on"], SCHEMA);
        let standby = primary.standby();
        primary.sql("SELECT pg_create_physical_replication_slot('standby', true)");
        let primary_conninfo = standby.sql("SHOW primary_conninfo");
        for setting in [
            "primary_slot_name = 'standby'".to_owned(),
            format!("primary_conninfo = '{primary_conninfo} dbname=postgres'"),
            "sync_replication_slots = on".to_owned(),
        ] {
            standby.sql(&format!("ALTER SYSTEM SET {setting}"));
        }
        standby.sql("SELECT pg_reload_conf()");
        // The slot of the standby begins where the anchor has moved past what the standby still needs
        // of the catalog: with a short window, soon.
        let mut drive = Drive::with(&primary, |config| config.window_ms = 1_000);
        drive.until("streaming", |drive| drive.status().ready);
        let failover = "SELECT bool_and(failover) FROM pg_replication_slots WHERE slot_type = \
                        'logical' AND NOT temporary";
        assert_eq!(primary.sql(failover), "t");
        let synced = "SELECT count(*) FROM pg_replication_slots WHERE synced AND NOT temporary";
        for _ in 0..50 {
            if standby.sql(synced) == "1" {
                break;
            }
            primary.sql("SELECT pg_log_standby_snapshot(); CHECKPOINT");
            drive.pass(Duration::from_millis(500));
        }
        assert_eq!(standby.sql(synced), "1");
        // From now on it is held back.
        drop(drive);
        let mut drive = Drive::streaming(&primary, Rules::default());
        primary.sql(&insert(1, 10));
        drive.catch_up(&primary);
        drive.pass(Duration::from_secs(2));
        follow(&mut drive, &primary, &standby);
        promote(&mut drive, &mut primary, &standby);
        drive.until("streaming again", |drive| {
            drive.status().reconnects > 0 && drive.status().ready
        });
        standby.sql(&insert(11, 20));
        drive.catch_up(&standby);
        assert_eq!(drive.gaps(), []);
        assert_eq!(timelines(&drive), [[1; 10], [2; 10]].concat());
        // Who starts now reads the window of both timelines again.
        let mut next = Drive::streaming(&standby, Rules::default());
        next.catch_up(&standby);
        let ids = |drive: &Drive| -> Vec<_> { drive.frames.iter().map(|it| it.id()).collect() };
        assert_eq!(ids(&next), ids(&drive));
    }
}
