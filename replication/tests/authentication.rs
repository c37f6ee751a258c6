//! How the server wants to be convinced: trust, password, md5, SCRAM-SHA-256; and how it is said that it
//! is not.

use std::time::Duration;

use replication::{Host, Notice, Rules};

use crate::cluster::Cluster;
use crate::drive::Drive;

const SCHEMA: &str = "
    CREATE TABLE t (id int PRIMARY KEY, tenant_id text);
    CREATE PUBLICATION tailrace FOR TABLE t;
    SET password_encryption = 'scram-sha-256';
    CREATE ROLE scram LOGIN REPLICATION PASSWORD 'hunter2 ü';
    SET password_encryption = 'md5';
    CREATE ROLE hashed LOGIN REPLICATION PASSWORD 'hunter2 ü';
    CREATE ROLE powerless LOGIN;
";

const RULES: &str = "
    local all postgres trust
    local all scram scram-sha-256
    local all hashed md5
    local all powerless trust
";

fn drive(cluster: &Cluster, user: &str, password: &str) -> Drive {
    let url = cluster.url();
    let (_, rest) = url.split_once('@').unwrap();
    let url = format!("postgresql://{user}:{password}@{rest}");
    Drive::with(cluster, |config| config.connect = url.parse().unwrap())
}

// Case: 1
#[test]
fn every_usual_method_lets_us_in() {
    let cluster = Cluster::start(SCHEMA);
    cluster.set_hba(RULES);
    for user in ["postgres", "scram", "hashed"] {
        drive(&cluster, user, "hunter2%20%C3%BC").until(user, |drive| drive.status().ready);
    }
    cluster.set_hba(&RULES.replace("scram scram-sha-256", "scram password"));
    drive(&cluster, "scram", "hunter2%20%C3%BC").until("clear", |drive| drive.status().ready);
}

// Case: 1
#[test]
fn a_refusal_is_said_once_with_its_reason_and_without_the_password() {
    let cluster = Cluster::start(SCHEMA);
    cluster.set_hba(RULES);
    let cases = [
        ("scram", "wrongpass", "28P01"),
        ("hashed", "wrongpass", "28P01"),
        ("powerless", "x", "42501"),
        ("unknown", "x", "28000"),
    ];
    for (user, password, expected) in cases {
        let mut drive = drive(&cluster, user, password);
        drive.until("refused", |drive| !drive.notices.is_empty());
        drive.pass(Duration::from_millis(1_500));
        let [Notice::Waiting { reason }] = drive.notices.as_slice() else {
            panic!("{user}: {:?}", drive.notices);
        };
        assert!(reason.contains(expected), "{user}: {reason}");
        assert_eq!(drive.status().fatal, None, "somebody may mend it");
        assert!(!format!("{:?}", drive.reader).contains("wrongpass"));
    }
}

#[test]
fn a_server_that_is_not_there_is_said() {
    let cluster = Cluster::start(SCHEMA);
    let mut drive = Drive::with(&cluster, |config| {
        config.connect.host = Host::Unix("/nonexistent".into());
    });
    drive.until("refused", |drive| !drive.notices.is_empty());
    let reason = drive.status().reason.unwrap();
    assert!(reason.starts_with("connecting to PostgreSQL: "), "{reason}");
    assert_eq!(drive.status().fatal, None);
}

// Case: 1
#[test]
fn a_wrong_password_is_tried_again_until_it_is_right() {
    let cluster = Cluster::start(SCHEMA);
    cluster.set_hba(RULES);
    let mut drive = drive(&cluster, "scram", "wrongpass");
    assert!(refused(&mut drive).contains("28P01"));
    // Somebody gives the role the password that we have.
    cluster.sql("SET password_encryption = 'scram-sha-256'; ALTER ROLE scram PASSWORD 'wrongpass'");
    drive.until("ready", |drive| drive.status().ready);
    let said = |notice: &&Notice| matches!(notice, Notice::Waiting { .. });
    assert_eq!(drive.notices.iter().filter(said).count(), 1);
}

// Case: 10
#[test]
fn a_role_that_may_not_replicate_is_told_how_it_may() {
    let cluster = Cluster::start(SCHEMA);
    cluster.set_hba(RULES);
    let mut drive = drive(&cluster, "powerless", "x");
    let mend = "ALTER ROLE \"powerless\" REPLICATION;";
    assert!(refused(&mut drive).contains(mend));
    cluster.sql(mend);
    drive.until("ready", |drive| drive.status().ready);
}

// Case: 10
#[test]
fn the_line_that_pg_hba_lacks_is_printed_and_works() {
    let cluster = Cluster::start(SCHEMA);
    // The keyword admits physical replication, and not us.
    let rules = "local all postgres trust\nlocal replication scram trust\n";
    cluster.set_hba(rules);
    let mut drive = drive(&cluster, "scram", "hunter2%20%C3%BC");
    let reason = refused(&mut drive);
    let line = "local \"app\" \"scram\" scram-sha-256";
    assert!(
        reason.contains("pg_hba.conf") && reason.contains(line),
        "{reason}"
    );
    assert!(reason.contains("the word replication"), "{reason}");
    cluster.set_hba(&format!("{line}\n{rules}"));
    drive.until("ready", |drive| drive.status().ready);
}

// Case: 10
#[test]
fn a_server_without_a_free_walsender_is_tried_again() {
    let cluster = Cluster::start_with(&["max_wal_senders=1"], SCHEMA);
    let first = Drive::streaming(&cluster, Rules::default());
    let mut second = Drive::new(&cluster, Rules::default());
    let reason = refused(&mut second);
    assert!(
        reason.contains("53300") && reason.contains("SET max_wal_senders"),
        "{reason}"
    );
    drop(first);
    second.until("ready", |drive| drive.status().ready);
    assert_eq!(second.status().fatal, None);
}

// Case: 10
#[test]
fn a_server_without_a_free_slot_is_tried_again() {
    let cluster = Cluster::start_with(&["max_replication_slots=2"], SCHEMA);
    cluster.sql("SELECT pg_create_physical_replication_slot('somebody')");
    let mut drive = Drive::new(&cluster, Rules::default());
    let reason = refused(&mut drive);
    assert!(reason.contains("SET max_replication_slots"), "{reason}");
    cluster.sql("SELECT pg_drop_replication_slot('somebody')");
    drive.until("ready", |drive| drive.status().ready);
}

// Case: 9
#[test]
fn a_server_that_does_not_decode_is_told_how_it_does() {
    let cluster = Cluster::start_with(&["wal_level=replica"], SCHEMA);
    let mut drive = Drive::new(&cluster, Rules::default());
    let reason = refused(&mut drive);
    assert!(
        reason.contains("ALTER SYSTEM SET wal_level = 'logical'"),
        "{reason}"
    );
    assert_eq!(
        drive.status().fatal,
        Some(reason),
        "it takes a restart of the server"
    );
}

// Case: 12
#[test]
fn what_a_role_or_a_database_sets_does_not_change_the_values() {
    let cluster = Cluster::start(
        "CREATE TABLE t (id int PRIMARY KEY, tenant_id text, at timestamptz, local timestamp, day date,
             span interval, bytes bytea, number float8);
         CREATE PUBLICATION tailrace FOR TABLE t;",
    );
    let mut drives = vec![Drive::streaming(&cluster, Rules::default())];
    for whose in [
        "ROLE postgres",
        "DATABASE app",
        "ROLE postgres IN DATABASE app",
    ] {
        cluster.sql(&format!(
            "ALTER {whose} SET datestyle = 'German, DMY'; ALTER {whose} SET intervalstyle = 'iso_8601';
             ALTER {whose} SET timezone = 'Asia/Tokyo'; ALTER {whose} SET bytea_output = 'escape';
             ALTER {whose} SET extra_float_digits = -15; ALTER {whose} SET client_encoding = 'LATIN1';
             ALTER {whose} SET standard_conforming_strings = off;"
        ));
        drives.push(Drive::streaming(&cluster, Rules::default()));
    }
    assert_eq!(
        cluster.sql("SHOW datestyle"),
        "German, DMY",
        "they are in force"
    );
    cluster.sql(
        "INSERT INTO t VALUES (1, 'a', '2026-01-05 12:34:56.5+02', '2026-01-05 12:34:56.5', '2026-01-05',
             '1 day 02:03:04', decode('deadbeef', 'hex'), 0.1::float8 + 0.2)",
    );
    for drive in &mut drives {
        drive.catch_up(&cluster);
        let expected = serde_json::json!({
            "id": 1,
            "tenant_id": "a",
            "at": "2026-01-05T10:34:56.5+00:00",
            "local": "2026-01-05T12:34:56.5Z",
            "day": "2026-01-05",
            "span": "1 day 02:03:04",
            "bytes": "\\xdeadbeef",
            "number": 0.30000000000000004,
        });
        assert_eq!(drive.events("a")[0]["payload"]["record"], expected);
    }
}

/// What is said of the first attempt.
fn refused(drive: &mut Drive) -> String {
    drive.until("refused", |drive| !drive.notices.is_empty());
    match &drive.notices[0] {
        Notice::Waiting { reason } => reason.clone(),
        other => panic!("{other}"),
    }
}
