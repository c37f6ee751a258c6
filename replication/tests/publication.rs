//! A publication that goes, comes late, or loses a table: said, reset, and never hammered.

use std::time::Duration;

use replication::{Notice, Route, Rules};
use wire::GapReason;

use crate::cluster::Cluster;
use crate::drive::Drive;

const SCHEMA: &str = r#"
    CREATE TABLE "Property" (id serial PRIMARY KEY, "organizationId" text DEFAULT 'acme');
    CREATE TABLE "Client" (id serial PRIMARY KEY, "organizationId" text DEFAULT 'acme');
    CREATE PUBLICATION tailrace FOR TABLE "Property", "Client";
"#;

const INSERT: &str = r#"INSERT INTO "Property" DEFAULT VALUES"#;

// Case: 11
#[test]
fn a_publication_that_is_dropped_is_said_and_one_that_is_made_anew_is_read_after_a_reset() {
    let cluster = Cluster::start(SCHEMA);
    let mut drive = Drive::streaming(&cluster, Rules::default());
    cluster.sql(INSERT);
    drive.catch_up(&cluster);
    cluster.sql("DROP PUBLICATION tailrace");
    cluster.sql(INSERT);
    drive.until("said", |drive| {
        let reason = drive.status().reason.unwrap_or_default();
        reason.contains("CREATE PUBLICATION \"tailrace\"")
    });
    assert!(!drive.status().ready && drive.status().fatal.is_none());
    let (notices, reconnects) = (drive.notices.len(), drive.status().reconnects);
    drive.pass(Duration::from_secs(8));
    // A few attempts, further and further apart.
    assert!(
        drive.status().reconnects <= reconnects + 2,
        "{:?}",
        drive.notices
    );
    assert!(drive.notices.len() <= notices + 6, "{:?}", drive.notices);
    cluster.sql(r#"CREATE PUBLICATION tailrace FOR TABLE "Property", "Client""#);
    drive.until("ready", |drive| drive.status().ready);
    cluster.sql(INSERT);
    drive.catch_up(&cluster);
    assert_eq!(drive.frames.len(), 2, "what was written without it is lost");
    drive.pass(Duration::from_secs(2));
    let gaps = drive.gaps();
    assert!(gaps.len() <= 4 && gaps.iter().all(|gap| *gap == GapReason::PublicationChanged));
    assert!(!gaps.is_empty());
    // And it lasts: nobody has to read that part of the log again.
    cluster.sql("SELECT pg_terminate_backend(pid) FROM pg_stat_replication");
    cluster.sql(INSERT);
    drive.pass(Duration::from_millis(500));
    drive.until("streaming again", |drive| drive.status().ready);
    drive.catch_up(&cluster);
    assert_eq!((drive.frames.len(), drive.gaps()), (3, gaps));
}

#[test]
fn a_publication_that_is_younger_than_the_slot_is_read_from_its_making_on() {
    let cluster = Cluster::start(SCHEMA);
    drop(Drive::streaming(&cluster, Rules::default()));
    cluster.sql("DROP PUBLICATION tailrace");
    cluster.sql(INSERT);
    cluster.sql(r#"CREATE PUBLICATION tailrace FOR TABLE "Property""#);
    let made = cluster.sql("SELECT pg_current_wal_lsn()").parse().unwrap();
    let mut drive = Drive::new(&cluster, Rules::default());
    drive.until("a gap", |drive| drive.status().gaps > 0);
    drive.until("ready", |drive| drive.status().ready);
    cluster.sql(INSERT);
    drive.catch_up(&cluster);
    assert_eq!(drive.frames.len(), 1);
    let gaps = drive.gaps();
    assert!(gaps.len() <= 3, "{gaps:?} {:?}", drive.notices);
    assert!(gaps.iter().all(|gap| *gap == GapReason::PublicationChanged));
    // The anchor is moved past it, for whoever starts next.
    drive.until("moved", |drive| {
        let slot = drive.status().slot;
        slot.is_some_and(|slot| slot.confirmed >= made)
    });
    let mut next = Drive::streaming(&cluster, Rules::default());
    next.catch_up(&cluster);
    assert_eq!((next.gaps(), next.status().reconnects), (vec![], 0));
}

// Case: 29
#[test]
fn a_table_that_is_made_anew_has_left_the_publication_which_is_said_until_it_is_back() {
    let cluster = Cluster::start(SCHEMA);
    let mut drive = Drive::streaming(&cluster, Rules::default());
    cluster.sql(INSERT);
    drive.catch_up(&cluster);
    cluster.sql(
        r#"DROP TABLE "Property";
           CREATE TABLE "Property" (id serial PRIMARY KEY, "organizationId" text DEFAULT 'acme')"#,
    );
    cluster.sql(INSERT);
    drive.until("said", |drive| drive.has_said("publication=lacks"));
    let status = drive.status();
    assert_eq!(status.unpublished, ["\"public\".\"Property\""]);
    assert_eq!((status.streaming, status.ready), (true, false));
    assert_eq!(drive.gaps(), [GapReason::PublicationChanged]);
    // The statement that it names mends it.
    let reason = status.reason.unwrap();
    cluster.sql(&reason[reason.find("ALTER PUBLICATION").unwrap()..]);
    drive.until("ready", |drive| drive.status().ready);
    drive.until("reset", |drive| drive.gaps().len() == 2);
    cluster.sql(INSERT);
    drive.catch_up(&cluster);
    assert_eq!(drive.frames.len(), 2);
    assert_eq!(drive.status().unpublished, [""; 0]);
}

#[test]
fn a_table_that_somebody_takes_out_is_said_and_one_that_is_dropped_is_not() {
    let cluster = Cluster::start(SCHEMA);
    let mut drive = Drive::streaming(&cluster, Rules::default());
    cluster.sql(r#"ALTER PUBLICATION tailrace DROP TABLE "Client""#);
    drive.until("said", |drive| drive.has_said("publication=lacks"));
    let status = drive.status();
    assert_eq!(status.unpublished, ["\"public\".\"Client\""]);
    assert_eq!(
        (drive.gaps().len(), status.ready),
        (1, true),
        "it was meant"
    );
    cluster.sql(r#"DROP TABLE "Client", "Property""#);
    drive.until("forgotten", |drive| drive.status().unpublished.is_empty());
    drive.pass(Duration::from_secs(2));
    assert_eq!(drive.gaps().len(), 1);
    let left = |notice: &&Notice| matches!(notice, Notice::TablesLeft { .. });
    assert_eq!(drive.notices.iter().filter(left).count(), 1);
}

#[test]
fn what_was_left_out_long_ago_is_told_to_who_reads_it_late() {
    let cluster = Cluster::start(SCHEMA);
    drop(Drive::streaming(&cluster, Rules::default()));
    cluster.sql(r#"INSERT INTO "Property" SELECT generate_series(1, 5000)"#);
    cluster.sql("DROP PUBLICATION tailrace");
    cluster.sql(r#"INSERT INTO "Property" VALUES (5001)"#);
    cluster.sql(r#"CREATE PUBLICATION tailrace FOR TABLE "Property", "Client""#);
    // The publication has been looked at, and found well, long before that place is read.
    let mut drive = Drive::new(&cluster, Rules::default()).read_at_most(64);
    drive.until("on its way", |drive| drive.frames.len() > 500);
    drive.set_full(true);
    drive.until("looked at", |drive| drive.status().slot.is_some());
    assert_eq!(drive.gaps(), []);
    drive.set_full(false);
    let mut drive = drive.read_at_most(64 * 1024);
    drive.until("a gap", |drive| !drive.gaps().is_empty());
    drive.until("ready", |drive| drive.status().ready);
    cluster.sql(r#"INSERT INTO "Property" VALUES (5002)"#);
    drive.catch_up(&cluster);
    drive.pass(Duration::from_secs(2));
    assert_eq!(drive.frames.len(), 5_001);
    assert_eq!(drive.gaps(), [GapReason::PublicationChanged]);
}

#[test]
fn a_route_wants_its_table_in_the_publication() {
    let cluster = Cluster::start(SCHEMA);
    cluster.sql(r#"ALTER PUBLICATION tailrace DROP TABLE "Client""#);
    let rules = Rules {
        routes: vec![Route::new("Client")],
        ..Rules::default()
    };
    let mut drive = Drive::new(&cluster, rules);
    drive.until("streaming", |drive| drive.status().streaming);
    drive.pass(Duration::from_secs(2));
    let status = drive.status();
    assert_eq!((status.ready, drive.gaps()), (false, vec![]));
    let reason = status.reason.unwrap();
    cluster.sql(&reason[reason.find("ALTER PUBLICATION").unwrap()..]);
    drive.until("ready", |drive| drive.status().ready);
}
