//! The anchor slot: created, waited for, held back, moved on, and lost.

use std::time::Duration;

use replication::{Notice, Rules};
use wire::{Batch, GapReason, Lsn};

use crate::cluster::Cluster;
use crate::drive::Drive;

const SCHEMA: &str = r#"
    CREATE TABLE "Property" (id serial PRIMARY KEY, "organizationId" text DEFAULT 'acme');
    CREATE PUBLICATION tailrace FOR TABLE "Property";
"#;

const INSERT: &str = r#"INSERT INTO "Property" DEFAULT VALUES"#;

const SLOT: &str = "SELECT slot_name FROM pg_replication_slots WHERE NOT temporary";
const CONFIRMED: &str = "SELECT confirmed_flush_lsn FROM pg_replication_slots WHERE NOT temporary";

fn oid(cluster: &Cluster) -> String {
    cluster.sql("SELECT oid FROM pg_database WHERE datname = 'app'")
}

#[test]
fn one_persistent_slot_and_a_temporary_copy_that_leaves_nothing_behind() {
    let cluster = Cluster::start(SCHEMA);
    let first = Drive::streaming(&cluster, Rules::default());
    let second = Drive::with(&cluster, |config| config.generation = 7);
    let second = {
        let mut second = second;
        second.until("streaming", |drive| drive.status().ready);
        second
    };
    let oid = oid(&cluster);
    let expected = format!("tailrace_{oid}\ntailrace_{oid}_g7");
    assert_eq!(cluster.sql(&format!("{SLOT} ORDER BY 1")), expected);
    let copies = "SELECT count(*) FROM pg_replication_slots WHERE temporary";
    assert_eq!(cluster.sql(copies), "2");
    drop((first, second));
    std::thread::sleep(Duration::from_millis(500));
    assert_eq!(cluster.sql(copies), "0");
    assert_eq!(cluster.sql(&format!("{SLOT} ORDER BY 1")), expected);
}

// Case: 57
#[test]
fn a_slot_that_cannot_be_made_yet_is_waited_for() {
    let cluster = Cluster::start(SCHEMA);
    let mut writer = cluster.sql_in_background(&format!("BEGIN; {INSERT}; SELECT pg_sleep(7)"));
    std::thread::sleep(Duration::from_millis(500));
    let mut drive = Drive::new(&cluster, Rules::default());
    drive.until("waiting", |drive| {
        drive
            .status()
            .reason
            .is_some_and(|reason| reason.starts_with("waiting for slot: "))
    });
    drive.until("said", |drive| {
        drive
            .notices
            .iter()
            .any(|notice| notice.to_string().contains("have ended"))
    });
    assert!(!drive.status().ready);
    writer.wait().unwrap();
    drive.until("streaming", |drive| drive.status().ready);
    cluster.sql(INSERT);
    drive.catch_up(&cluster);
    assert_eq!(drive.frames.len(), 1);
}

#[test]
fn the_anchor_is_held_back_by_the_window_and_moved_on_after_it() {
    let cluster = Cluster::start(SCHEMA);
    let mut drive = Drive::with(&cluster, |config| config.window_ms = 3_000);
    drive.until("streaming", |drive| drive.status().ready);
    let created: Lsn = cluster.sql(CONFIRMED).parse().unwrap();
    cluster.sql(INSERT);
    drive.catch_up(&cluster);
    let applied = drive.status().applied.unwrap().lsn;
    assert_eq!(cluster.sql(CONFIRMED).parse(), Ok(created));
    drive.until("moved", |drive| {
        drive
            .status()
            .slot
            .is_some_and(|slot| slot.confirmed > created)
    });
    let moved: Lsn = cluster.sql(CONFIRMED).parse().unwrap();
    assert!(created < moved && moved <= applied.max(drive.status().applied.unwrap().lsn));
    assert_eq!(drive.status().slot.unwrap().confirmed, moved);
}

#[test]
fn an_anchor_that_was_lost_while_we_were_away_is_a_gap() {
    let cluster = Cluster::start(SCHEMA);
    let mut drive = Drive::streaming(&cluster, Rules::default());
    cluster.sql(INSERT);
    drive.catch_up(&cluster);
    cluster.sql(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_replication;
         SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots WHERE NOT temporary",
    );
    cluster.sql(INSERT);
    drive.until("streaming again", |drive| {
        drive.status().reconnects == 1 && drive.status().ready
    });
    cluster.sql(INSERT);
    drive.catch_up(&cluster);
    let gaps: Vec<_> = drive
        .batches
        .iter()
        .filter_map(|batch| match batch {
            Batch::Gap(gap) => Some(gap.reason),
            _ => None,
        })
        .collect();
    assert_eq!(gaps, [GapReason::SlotLost]);
    assert!(
        drive
            .notices
            .iter()
            .any(|notice| matches!(notice, Notice::Gap { .. }))
    );
    assert_eq!((drive.status().gaps, drive.frames.len()), (1, 2));
}

#[test]
fn a_missing_publication_is_fatal_for_who_never_streamed_and_says_what_to_do() {
    let cluster = Cluster::start(r#"CREATE TABLE "Property" (id int, "organizationId" text)"#);
    let mut drive = Drive::new(&cluster, Rules::default());
    drive.until("fatal", |drive| drive.status().fatal.is_some());
    let fatal = drive.status().fatal.unwrap();
    let statement = &fatal[fatal.find("CREATE PUBLICATION").unwrap()..];
    cluster.sql(statement);
    drive.until("streaming", |drive| drive.status().ready);
    assert_eq!(drive.status().fatal, None);
    cluster.sql(r#"INSERT INTO "Property" VALUES (1, 'acme')"#);
    drive.catch_up(&cluster);
    assert_eq!(drive.events("acme").len(), 1);
}

#[test]
fn a_publication_may_have_any_name() {
    let cluster = Cluster::start(SCHEMA);
    cluster.sql(r#"CREATE PUBLICATION "Edge ""P"", it's" FOR TABLE "Property""#);
    let mut drive = Drive::with(&cluster, |config| {
        config.publication = r#"Edge "P", it's"#.to_owned();
    });
    drive.until("streaming", |drive| drive.status().ready);
    cluster.sql(INSERT);
    drive.catch_up(&cluster);
    assert_eq!(drive.frames.len(), 1);
}
