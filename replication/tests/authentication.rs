//! How the server wants to be convinced: trust, password, md5, SCRAM-SHA-256.

use std::time::Duration;

use replication::{Host, Notice};

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

#[test]
fn every_usual_method_lets_us_in() {
    let cluster = Cluster::start(SCHEMA);
    cluster.set_hba(RULES);
    for user in ["scram", "hashed"] {
        drive(&cluster, user, "hunter2%20%C3%BC").until(user, |drive| drive.status().ready);
    }
    cluster.set_hba(&RULES.replace("scram scram-sha-256", "scram password"));
    drive(&cluster, "scram", "hunter2%20%C3%BC").until("clear", |drive| drive.status().ready);
}

#[test]
fn a_refusal_is_said_once_with_its_reason_and_without_the_password() {
    let cluster = Cluster::start(SCHEMA);
    cluster.set_hba(RULES);
    let cases = [
        ("scram", "wrongpass", "28P01"),
        ("hashed", "wrongpass", "28P01"),
        ("powerless", "x", "replication"),
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
