//! Much at once: long values, large transactions, many of them, and batch events.

use std::time::Duration;

use replication::Rules;
use serde_json::{Value, json};
use wire::{Batch, Commit};

use crate::cluster::Cluster;
use crate::drive::{Drive, json};

const SCHEMA: &str = "
    CREATE TABLE horse (id int PRIMARY KEY, tenant_id text NOT NULL, name text, body text);
    CREATE TABLE other (id int PRIMARY KEY);
    CREATE PUBLICATION tailrace FOR TABLE horse;
";

/// The batches with events or an end of a transaction.
fn commits(drive: &Drive) -> Vec<&Commit> {
    let commits = drive.batches.iter().filter_map(|batch| match batch {
        Batch::Commit(commit) => Some(commit.as_ref()),
        _ => None,
    });
    commits.collect()
}

// Case: 25
#[test]
fn a_row_of_twenty_megabytes_is_its_key_and_the_stream_lives() {
    let cluster = Cluster::start(SCHEMA);
    let mut drive = Drive::streaming(&cluster, Rules::default());
    cluster.sql("INSERT INTO horse VALUES (1, 'acme', 'Star', repeat('x', 20000000))");
    cluster.sql("UPDATE horse SET name = 'Moon'");
    cluster.sql("ALTER TABLE horse REPLICA IDENTITY FULL");
    cluster.sql("UPDATE horse SET body = repeat('y', 20000000)");
    cluster.sql("UPDATE horse SET name = 'Sun'");
    cluster.sql("UPDATE horse SET body = 'short'");
    drive.catch_up(&cluster);
    let payloads = drive.payloads("acme");
    assert_eq!(payloads.len(), 5);
    assert_eq!(
        (&payloads[0]["record"], &payloads[0]["truncated"]),
        (&json!({"id": 1}), &json!(true))
    );
    // By the default identity the long value is not even sent.
    assert_eq!(payloads[1]["record"]["name"], "Moon");
    assert_eq!(
        (&payloads[1]["unchanged"], payloads[1].get("truncated")),
        (&json!(["body"]), None)
    );
    for (at, changed) in [(2, "body"), (3, "name"), (4, "body")] {
        let payload = &payloads[at];
        assert_eq!(
            (&payload["truncated"], &payload["changed"]),
            (&json!(true), &json!([changed])),
            "{at}"
        );
        assert_eq!(payload["record"]["id"], json!(1));
    }
    assert!(drive.frames.iter().all(|frame| frame.bytes().len() < 2_000));
}

// Case: 68
#[test]
fn a_large_transaction_takes_little_memory_and_lets_others_by() {
    const ROWS: usize = 60_000;
    let cluster = Cluster::start(SCHEMA);
    let mut drive = Drive::streaming(&cluster, Rules::default());
    cluster.sql(&format!(
        "INSERT INTO horse SELECT n, 'acme', 'Star ' || n FROM generate_series(1, {ROWS}) n"
    ));
    cluster.sql("INSERT INTO horse VALUES (0, 'globex', 'Moon')");
    drive.until("in the midst of it", |drive| commits(drive).len() > 5);
    // While nobody takes anything, the server hears of us all the same.
    let replied = "SELECT max(reply_time) FROM pg_stat_replication";
    let before = cluster.sql(replied);
    drive.set_full(true);
    let read = drive.frames.len();
    drive.pass(Duration::from_millis(6_000));
    assert_ne!(cluster.sql(replied), before);
    assert_eq!((drive.frames.len(), drive.status().reconnects), (read, 0));
    assert!(read < ROWS / 2);
    drive.set_full(false);
    drive.catch_up(&cluster);
    assert_eq!(drive.events("acme").len(), ROWS);
    // What comes after it has waited for nothing else, and in its order.
    let last = drive.frames.last().unwrap();
    assert_eq!(json(last)["payload"]["record"]["name"], "Moon");
    let largest = commits(&drive).into_iter().map(|commit| {
        commit
            .frames
            .iter()
            .map(|frame| frame.bytes().len())
            .sum::<usize>()
    });
    assert!(largest.max().unwrap() <= 256 * 1024);
    let indexes = drive.frames[..ROWS]
        .iter()
        .map(|frame| frame.id().index as usize);
    assert!(indexes.eq(1..=ROWS));
}

// Case: 69
#[test]
fn transactions_without_anything_for_us_leave_nothing_behind() {
    let cluster = Cluster::start(SCHEMA);
    let mut drive = Drive::streaming(&cluster, Rules::default());
    // Up to 14 each of them is sent as a begin and a commit.
    cluster.sql(
        "DO $$ BEGIN FOR n IN 1..3000 LOOP INSERT INTO other VALUES (n); COMMIT; END LOOP; END $$",
    );
    let applied = drive.status().applied.unwrap();
    let handed = drive.batches.len();
    drive.catch_up(&cluster);
    assert!(drive.status().applied.unwrap() > applied);
    assert!(
        drive.frames.is_empty()
            && commits(&drive)
                .iter()
                .all(|commit| commit.frames.is_empty())
    );
    // Where we are is said once a second, however many there were.
    let handed = drive.batches.len() - handed;
    assert!(handed < 30, "{handed}");
}

fn batching() -> Rules {
    Rules {
        batch_over: 50,
        ..Rules::default()
    }
}

/// The changes of all events of an organisation, whether they came in batches or not.
fn changes(drive: &Drive, organisation: &str) -> Vec<(String, Value)> {
    let mut changes = Vec::new();
    for event in drive.events(organisation) {
        let id = |value: &Value| value["id"].as_str().unwrap().to_owned();
        match event["payload"]["changes"].as_array() {
            Some(list) => {
                assert_eq!(event["payload"]["organizationId"], organisation);
                assert_eq!(id(list.last().unwrap()), id(&event));
                changes.extend(
                    list.iter()
                        .map(|change| (id(change), change["record"].clone())),
                );
            }
            None => changes.push((id(&event), event["payload"]["record"].clone())),
        }
    }
    changes
}

#[test]
fn many_changes_of_a_type_are_few_events_with_every_change() {
    let cluster = Cluster::start(SCHEMA);
    let mut drives =
        [batching(), batching(), Rules::default()].map(|rules| Drive::streaming(&cluster, rules));
    cluster.sql(
        "BEGIN; INSERT INTO horse SELECT n, CASE WHEN n % 200 = 0 THEN 'globex' ELSE 'acme' END, 'Star'
           FROM generate_series(1, 6000) n;
         UPDATE horse SET name = 'Moon' WHERE id <= 50; COMMIT",
    );
    drives.iter_mut().for_each(|drive| drive.catch_up(&cluster));
    let [one, two, single] = &drives;
    let acme = one.events("acme");
    let (batches, alone): (Vec<_>, Vec<_>) = acme
        .iter()
        .partition(|event| event["type"] == "horse.insert.batch");
    assert!((10..60).contains(&batches.len()), "{}", batches.len());
    // Fifty are not more than fifty, nor are the thirty of the other organisation.
    assert_eq!(alone.len(), 50);
    assert!(alone.iter().all(|event| event["type"] == "horse.update"));
    assert_eq!(one.events("globex").len(), 30);
    assert_eq!(changes(one, "acme"), changes(single, "acme"));
    assert_eq!(changes(one, "acme").len(), 6_020);
    // Every node makes the same ones, in the order of their ids.
    assert_eq!(one.bytes(), two.bytes());
    assert!(
        one.frames
            .iter()
            .map(|frame| frame.id())
            .is_sorted_by(|one, two| one < two)
    );
    assert!(
        one.frames
            .iter()
            .all(|frame| frame.bytes().len() <= 64 * 1024)
    );
}

#[test]
fn a_break_in_the_midst_of_a_transaction_makes_no_other_batches() {
    let cluster = Cluster::start(SCHEMA);
    let mut whole = Drive::streaming(&cluster, batching());
    let mut broken = Drive::streaming(&cluster, batching());
    // So wide that more than one hand-over has less than fifty of them.
    cluster.sql(
        "INSERT INTO horse SELECT n, 'acme', 'Star', (SELECT string_agg(md5(n::text || m), '')
           FROM generate_series(1, 300) m) FROM generate_series(1, 200) n",
    );
    whole.catch_up(&cluster);
    broken.until("in the midst of it", |drive| commits(drive).len() > 2);
    broken.set_full(true);
    cluster.sql("SELECT pg_terminate_backend(pid) FROM pg_stat_replication");
    broken.set_full(false);
    broken.catch_up(&cluster);
    assert_eq!(broken.status().reconnects, 1);
    assert_eq!(broken.bytes(), whole.bytes());
    let events = whole.events("acme");
    assert!(
        events
            .iter()
            .any(|event| event["type"] == "horse.insert.batch")
    );
    assert_eq!(changes(&whole, "acme").len(), 200);
}
