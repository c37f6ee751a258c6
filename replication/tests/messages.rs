//! Application messages that are not as they should be.

use std::time::Duration;

use replication::{Notice, Rules};

use crate::cluster::Cluster;
use crate::drive::Drive;

const EMPTY: &str = "CREATE PUBLICATION tailrace";

fn said(transactional: bool, prefix: &str, content: &str) -> String {
    format!("SELECT pg_logical_emit_message({transactional}, '{prefix}', $${content}$$)")
}

// Case: 39
#[test]
fn a_message_that_cannot_be_meant_is_dropped_counted_and_said_once_a_minute() {
    let cluster = Cluster::start(EMPTY);
    let mut drive = Drive::streaming(&cluster, Rules::default());
    let long = format!(
        r#"{{"type":"a","organizationId":"acme","data":"{}"}}"#,
        "x".repeat(65_536)
    );
    let name = format!(r#"{{"type":"a","organizationId":"{}"}}"#, "x".repeat(8_193));
    let messages = [
        (true, "other", r#"{"type":"a","organizationId":"acme"}"#),
        (true, "Tailrace", r#"{"type":"a","organizationId":"acme"}"#),
        (true, "tailrace", "not JSON"),
        (
            true,
            "tailrace",
            r#"{"type":"a","organizationId":["acme"]}"#,
        ),
        (true, "tailrace", r#"{"type":"a","organizationID":"acme"}"#),
        (true, "tailrace", &long),
        (
            true,
            "tailrace",
            r#"{"type":"reset","organizationId":"acme"}"#,
        ),
        (true, "tailrace", r#"{"type":"a"}"#),
        (true, "tailrace", r#"{"type":"a","organizationId":""}"#),
        (true, "tailrace", &name),
        (false, "tailrace", r#"{"type":"a","organizationId":"acme"}"#),
    ];
    for (transactional, prefix, content) in messages {
        cluster.sql(&said(transactional, prefix, content));
    }
    cluster.sql(&said(
        true,
        "tailrace",
        r#"{"type":"kept","organizationId":"acme"}"#,
    ));
    drive.catch_up(&cluster);
    let types: Vec<&str> = drive
        .frames
        .iter()
        .map(|frame| frame.event_type())
        .collect();
    assert_eq!(types, ["kept"]);
    // Two were addressed to others, and so were those by which this test knows where it is.
    let refused = drive.status().refused_messages;
    let of = |name: &str| {
        refused
            .iter()
            .find(|(reason, _)| *reason == name)
            .unwrap()
            .1
    };
    assert!(of("prefix") >= 2);
    let reasons = [
        "malformed",
        "too_long",
        "name",
        "nobody",
        "not_transactional",
    ];
    assert_eq!(reasons.map(of), [3, 1, 1, 3, 1]);
    // However many there are, a reason is one line at first, and none before a minute has passed.
    let told = |drive: &Drive| -> Vec<&'static str> {
        let refused = drive.notices.iter().filter_map(|notice| match notice {
            Notice::MessageRefused { reason, .. } => Some(*reason),
            _ => None,
        });
        refused.collect()
    };
    drive.pass(Duration::from_millis(100));
    let mut lines = told(&drive);
    lines.sort_unstable();
    let mut expected = reasons;
    expected.sort_unstable();
    assert_eq!(lines, expected);
    cluster.sql(&said(true, "tailrace", "still not JSON"));
    drive.catch_up(&cluster);
    assert_eq!(
        (told(&drive).len(), drive.status().refused_messages[2].0),
        (5, "too_long")
    );
}

// Case: 39
#[test]
fn a_prefix_longer_than_every_message_is_somebody_elses() {
    let cluster = Cluster::start(EMPTY);
    let mut drive = Drive::streaming(&cluster, Rules::default());
    // Any role of the database may say it.
    cluster.sql("SELECT pg_logical_emit_message(true, repeat('x', 20000000), '{}')");
    cluster.sql(&said(
        true,
        "tailrace",
        r#"{"type":"kept","organizationId":"acme"}"#,
    ));
    drive.catch_up(&cluster);
    assert_eq!(drive.events("acme").len(), 1);
    assert_eq!(drive.status().reconnects, 0);
}

// Case: 40
#[test]
fn a_message_of_another_database_is_not_ours() {
    let cluster = Cluster::start(EMPTY);
    let mut drive = Drive::streaming(&cluster, Rules::default());
    cluster.sql_in(
        "postgres",
        &said(true, "tailrace", r#"{"type":"a","organizationId":"acme"}"#),
    );
    cluster.sql(&said(
        true,
        "tailrace",
        r#"{"type":"b","organizationId":"acme"}"#,
    ));
    drive.catch_up(&cluster);
    let types: Vec<&str> = drive
        .frames
        .iter()
        .map(|frame| frame.event_type())
        .collect();
    assert_eq!(types, ["b"]);
}
