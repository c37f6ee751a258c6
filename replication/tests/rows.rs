//! Rows of one table: inserted, changed, deleted, rolled back, moved.

use expect_test::expect;
use replication::{Rules, Status};
use serde_json::{Value, json};

use crate::cluster::Cluster;
use crate::drive::Drive;

const SCHEMA: &str = r#"
    CREATE TABLE "Property" (
        id text PRIMARY KEY, "organizationId" text NOT NULL, name text, price numeric, notes text
    );
    CREATE UNIQUE INDEX property_identity ON "Property" ("organizationId", id);
    ALTER TABLE "Property" REPLICA IDENTITY USING INDEX property_identity;
    CREATE TABLE "User" (id text PRIMARY KEY, name text, "passwordHash" text);
    CREATE PUBLICATION tailrace FOR TABLE "Property", "User";
"#;

fn payloads(events: &[Value]) -> Vec<Value> {
    events
        .iter()
        .map(|event| event["payload"].clone())
        .collect()
}

#[test]
fn an_insert_an_update_and_a_delete_are_events_of_their_organisation() {
    let cluster = Cluster::start(SCHEMA);
    let mut drive = Drive::streaming(&cluster, Rules::default());
    cluster.sql(r#"INSERT INTO "Property" VALUES ('p1', 'acme', 'Mill', 1.50, NULL)"#);
    cluster.sql(r#"UPDATE "Property" SET name = 'Old "Mill"' WHERE id = 'p1'"#);
    cluster.sql(r#"DELETE FROM "Property" WHERE id = 'p1'"#);
    drive.catch_up(&cluster);
    assert_eq!(drive.events("globex"), [] as [Value; 0]);
    let events = drive.events("acme");
    let named: Vec<_> = events
        .iter()
        .map(|event| (&event["type"], &event["channel"]))
        .collect();
    assert_eq!(
        named,
        [
            (&json!("property.insert"), &json!("property")),
            (&json!("property.update"), &json!("property")),
            (&json!("property.delete"), &json!("property")),
        ]
    );
    let expected = expect![[r#"
        {"action":"insert","old":null,"organizationId":"acme","record":{"id":"p1","name":"Mill","notes":null,"organizationId":"acme","price":"1.50"},"table":"Property"}
        {"action":"update","old":null,"organizationId":"acme","record":{"id":"p1","name":"Old \"Mill\"","notes":null,"organizationId":"acme","price":"1.50"},"table":"Property"}
        {"action":"delete","old":{"id":"p1","organizationId":"acme"},"organizationId":"acme","record":null,"table":"Property"}
    "#]];
    let lines: String = payloads(&events)
        .iter()
        .map(|payload| format!("{payload}\n"))
        .collect();
    expected.assert_eq(&lines);
    let ids: Vec<_> = drive.frames.iter().map(|frame| frame.id()).collect();
    assert!(
        ids.is_sorted() && ids.iter().all(|id| id.index == 1),
        "{ids:?}"
    );
}

#[test]
fn rows_of_one_transaction_are_numbered_in_order_and_aborted_ones_are_nothing() {
    let cluster = Cluster::start(SCHEMA);
    let mut drive = Drive::streaming(&cluster, Rules::default());
    cluster.sql(
        r#"BEGIN; INSERT INTO "Property" SELECT 'a' || n, 'acme' FROM generate_series(1, 3) n;
           SAVEPOINT s; INSERT INTO "Property" VALUES ('x', 'acme'); ROLLBACK TO s;
           INSERT INTO "User" VALUES ('u', 'U', 'secret');
           INSERT INTO "Property" VALUES ('b1', 'globex'); COMMIT;"#,
    );
    cluster.sql(r#"BEGIN; INSERT INTO "Property" VALUES ('y', 'acme'); ROLLBACK"#);
    drive.catch_up(&cluster);
    let indexes: Vec<u32> = drive.frames.iter().map(|frame| frame.id().index).collect();
    // The row of the user is counted though nobody receives it.
    assert_eq!(indexes, [1, 2, 3, 5]);
    assert!(
        drive
            .frames
            .iter()
            .all(|frame| frame.id().lsn == drive.frames[0].id().lsn)
    );
    assert_eq!(drive.events("acme").len(), 3);
    assert_eq!(drive.events("globex").len(), 1);
}

#[test]
fn a_row_that_moves_is_a_delete_there_and_an_insert_here() {
    let cluster = Cluster::start(SCHEMA);
    let mut drive = Drive::streaming(&cluster, Rules::default());
    cluster.sql(r#"INSERT INTO "Property" VALUES ('p1', 'acme', 'Mill')"#);
    cluster.sql(r#"UPDATE "Property" SET "organizationId" = 'globex', name = 'New' "#);
    drive.catch_up(&cluster);
    let acme = payloads(&drive.events("acme"));
    assert_eq!(acme[1]["action"], "delete");
    assert_eq!(acme[1]["record"], Value::Null);
    assert_eq!(
        acme[1]["old"],
        json!({"id": "p1", "organizationId": "acme"})
    );
    assert!(
        !acme
            .iter()
            .any(|payload| payload.to_string().contains("globex"))
    );
    let globex = payloads(&drive.events("globex"));
    assert_eq!(globex.len(), 1);
    assert_eq!(
        (&globex[0]["action"], &globex[0]["old"]),
        (&json!("insert"), &Value::Null)
    );
    assert!(!globex[0].to_string().contains("acme"));
}

#[test]
fn a_full_identity_shows_the_old_row_what_changed_and_unchanged_toast() {
    let cluster = Cluster::start(SCHEMA);
    cluster.sql(r#"ALTER TABLE "Property" REPLICA IDENTITY FULL"#);
    let mut drive = Drive::streaming(&cluster, Rules::default());
    let long = "SELECT string_agg(md5(n::text), '') FROM generate_series(1, 1000) n";
    cluster.sql(&format!(
        r#"INSERT INTO "Property" VALUES ('p1', 'acme', 'Mill', 1, ({long}))"#
    ));
    cluster.sql(r#"UPDATE "Property" SET name = 'Weir'"#);
    drive.catch_up(&cluster);
    let events = payloads(&drive.events("acme"));
    assert_eq!(events[1]["changed"], json!(["name"]));
    assert_eq!(events[1]["old"]["name"], "Mill");
    assert_eq!(
        events[1]["record"]["notes"].as_str().map(str::len),
        Some(32_000)
    );
    assert_eq!(events[1].get("unchanged"), None);
}

#[test]
fn unchanged_toast_is_absent_and_listed_and_a_large_row_is_truncated() {
    let cluster = Cluster::start(SCHEMA);
    let mut drive = Drive::streaming(&cluster, Rules::default());
    let long = "SELECT string_agg(md5(n::text), '') FROM generate_series(1, 1000) n";
    cluster.sql(&format!(
        r#"INSERT INTO "Property" VALUES ('p1', 'acme', 'Mill', 1, ({long}))"#
    ));
    cluster.sql(r#"UPDATE "Property" SET name = 'Weir'"#);
    cluster.sql(r#"UPDATE "Property" SET notes = repeat('x', 2000000)"#);
    drive.catch_up(&cluster);
    let events = payloads(&drive.events("acme"));
    assert_eq!(events[1]["unchanged"], json!(["notes"]));
    assert_eq!(events[1]["record"].get("notes"), None);
    assert_eq!(events[2]["truncated"], true);
    assert_eq!(
        events[2]["record"],
        json!({"id": "p1", "organizationId": "acme"})
    );
}

#[test]
fn what_names_no_organisation_goes_to_nobody_and_is_counted() {
    let cluster = Cluster::start(SCHEMA);
    cluster.sql(
        r#"CREATE TABLE "Task" (id text PRIMARY KEY, "organizationId" text, token text);
           CREATE TABLE log (id int PRIMARY KEY); ALTER PUBLICATION tailrace ADD TABLE "Task", log"#,
    );
    let mut drive = Drive::streaming(&cluster, Rules::default());
    cluster.sql(r#"INSERT INTO "Task" VALUES ('t1', 'acme', 'hidden'), ('t2', NULL, 'hidden')"#);
    cluster.sql(r#"DELETE FROM "Task" WHERE id = 't1'; INSERT INTO log VALUES (1); TRUNCATE log"#);
    cluster.sql(r#"INSERT INTO "User" VALUES ('u', 'U', 'hidden')"#);
    drive.catch_up(&cluster);
    assert_eq!(drive.frames.len(), 1);
    assert_eq!(
        drive.events("acme")[0]["payload"]["withheld"],
        json!(["token"])
    );
    assert!(!format!("{:?}", drive.frames).contains("hidden"));
    let Status {
        unroutable,
        withheld,
        ..
    } = drive.status();
    assert_eq!(unroutable, [("Task".to_owned(), 2), ("log".to_owned(), 2)]);
    let listed = |table: &str, column: &str| (table.to_owned(), vec![column.to_owned()]);
    assert_eq!(withheld, [listed("Task", "token"), listed("User", "*")]);
}

#[test]
fn a_large_transaction_comes_in_parts_of_bounded_size() {
    let cluster = Cluster::start(SCHEMA);
    let mut drive = Drive::streaming(&cluster, Rules::default());
    cluster.sql(
        r#"INSERT INTO "Property"
           SELECT n::text, 'acme', repeat('x', 1000) FROM generate_series(1, 2000) n"#,
    );
    drive.catch_up(&cluster);
    let commits: Vec<_> = drive
        .batches
        .iter()
        .filter_map(|batch| match batch {
            wire::Batch::Commit(commit) => Some(commit),
            _ => None,
        })
        .collect();
    assert!(commits.len() > 5, "{}", commits.len());
    assert_eq!(
        commits.iter().filter(|commit| commit.end.is_some()).count(),
        1
    );
    assert!(commits.last().unwrap().end.is_some());
    for commit in &commits {
        let bytes: usize = commit.frames.iter().map(|frame| frame.bytes().len()).sum();
        assert!(bytes <= 256 * 1024, "{bytes}");
    }
    let indexes: Vec<u32> = drive.frames.iter().map(|frame| frame.id().index).collect();
    assert_eq!(indexes, (1..=2000).collect::<Vec<u32>>());
}

#[test]
fn however_the_bytes_are_cut_the_events_are_the_same() {
    let cluster = Cluster::start(SCHEMA);
    let mut whole = Drive::streaming(&cluster, Rules::default());
    let mut cut = Drive::new(&cluster, Rules::default()).read_at_most(1);
    cut.until("streaming", |drive| drive.status().ready);
    cluster.sql(
        r#"BEGIN; INSERT INTO "Property" SELECT n::text, 'acme' FROM generate_series(1, 20) n;
           UPDATE "Property" SET price = 1; DELETE FROM "Property" WHERE id > '5'; COMMIT"#,
    );
    whole.catch_up(&cluster);
    cut.catch_up(&cluster);
    let events = |drive: &Drive| {
        drive
            .frames
            .iter()
            .map(crate::drive::json)
            .collect::<Vec<_>>()
    };
    assert_eq!(events(&whole), events(&cut));
    assert!(events(&whole).len() > 40);
}

#[test]
fn the_longest_event_is_whole_and_a_byte_more_is_its_key() {
    const BYTES_MAX: usize = 1_000;
    let cluster = Cluster::start(SCHEMA);
    let rules = Rules {
        event_bytes_max: BYTES_MAX,
        ..Rules::default()
    };
    let mut drive = Drive::streaming(&cluster, rules);
    cluster.sql(
        r#"INSERT INTO "Property" SELECT lpad(n::text, 4, '0'), 'acme', 'Mill', 1, repeat('x', n)
           FROM generate_series(1, 1200) n"#,
    );
    drive.catch_up(&cluster);
    let lengths: Vec<usize> = drive.bytes().iter().map(|bytes| bytes.len()).collect();
    let is_whole = |payload: &Value| payload.get("truncated").is_none();
    let payloads = payloads(&drive.events("acme"));
    let whole = payloads
        .iter()
        .take_while(|payload| is_whole(payload))
        .count();
    assert_eq!(
        lengths[whole - 1],
        BYTES_MAX,
        "each is a byte longer than the one before"
    );
    assert!(lengths[..whole].iter().all(|bytes| *bytes <= BYTES_MAX));
    assert_eq!(payloads.len(), 1_200);
    assert!(!payloads[whole..].iter().any(is_whole));
}
