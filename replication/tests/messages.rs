//! Application messages that are not as they should be.

use std::time::Duration;

use replication::{Notice, Rules};

use crate::cluster::Cluster;
use crate::drive::{Drive, json};

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

/// Messages that are sent again count once, and whoever asks is told of the first, also after a
/// connection broke and on a node that begins anew.
#[test]
fn a_message_with_an_id_counts_once_within_the_window_on_every_node() {
    let cluster = Cluster::start(EMPTY);
    let mut drive = Drive::streaming(&cluster, Rules::default());
    let event = |members: &str| said(true, "tailrace", &format!(r#"{{"type":"a",{members}}}"#));
    let (one, other) = (r#""organizationId":"acme""#, r#""organizationId":"globex""#);
    cluster.sql(&format!(
        "BEGIN; {}; {}; {}; COMMIT",
        event(&format!(r#""id":"1",{one},"data":1"#)),
        event(&format!(r#""id":"1",{one},"data":2"#)),
        event(&format!(r#""id":"1",{other},"data":3"#)),
    ));
    // A transaction in which everything is a repetition shows nothing.
    cluster.sql(&event(&format!(r#""id":"1",{one},"data":4"#)));
    cluster.sql(&event(&format!(r#"{one},"data":5"#)));
    cluster.sql(&event(&format!(r#"{one},"data":5"#)));
    cluster.sql(&format!(
        "BEGIN; {}; ROLLBACK",
        event(&format!(r#""id":"2",{one}"#))
    ));
    cluster.sql(&event(&format!(r#""id":"2",{one},"data":6"#)));
    drive.catch_up(&cluster);
    let data = |drive: &Drive| -> Vec<i64> {
        let payloads = drive
            .frames
            .iter()
            .map(|frame| json(frame)["payload"]["data"].clone());
        payloads.filter_map(|data| data.as_i64()).collect()
    };
    assert_eq!(data(&drive), [1, 3, 5, 5, 6]);
    let key = |drive: &Drive, organisation: &str, id: &str| {
        let key = drive.keys.message(Some(organisation), None, id);
        drive.reader.published(key, drive.now_ms())
    };
    assert_eq!(key(&drive, "acme", "1"), Some(drive.frames[0].id()));
    assert_eq!(key(&drive, "globex", "1"), Some(drive.frames[1].id()));
    assert_eq!(key(&drive, "acme", "2"), Some(drive.frames[4].id()));
    assert_eq!(key(&drive, "acme", "3"), None);
    let refused = drive.status().refused_messages;
    assert!(refused.contains(&("repeated", 2)), "{refused:?}");
    // It is nothing that anybody has to mend.
    assert!(!drive.has_said("repeated"));

    // The connection breaks, and the server sends again what it has no confirmation of.
    cluster.sql("SELECT pg_terminate_backend(pid) FROM pg_stat_replication");
    drive.until("it streams again", |drive| drive.status().reconnects > 0);
    cluster.sql(&event(&format!(r#""id":"2",{one},"data":7"#)));
    cluster.sql(&event(&format!(r#""id":"3",{one},"data":8"#)));
    drive.catch_up(&cluster);
    assert_eq!(data(&drive), [1, 3, 5, 5, 6, 8]);

    // A node that begins anew has read the window.
    let mut anew = Drive::streaming(&cluster, Rules::default());
    anew.catch_up(&cluster);
    assert_eq!(data(&anew), data(&drive));
    let ids = |drive: &Drive| {
        drive
            .frames
            .iter()
            .map(|frame| frame.id())
            .collect::<Vec<_>>()
    };
    assert_eq!(ids(&anew), ids(&drive));
    cluster.sql(&event(&format!(r#""id":"1",{one},"data":9"#)));
    anew.catch_up(&cluster);
    assert_eq!(anew.frames.len(), 6);
    assert_eq!(key(&anew, "acme", "1"), Some(drive.frames[0].id()));
}
