//! What a change says of the row as it was, by the table's replica identity.

use replication::Rules;
use serde_json::{Value, json};

use crate::cluster::Cluster;
use crate::drive::Drive;

/// A table for each identity.
const SCHEMA: &str = "
    CREATE TABLE by_key (id int PRIMARY KEY, tenant_id text NOT NULL, name text, body text);
    CREATE TABLE by_index (LIKE by_key INCLUDING ALL);
    CREATE UNIQUE INDEX by_index_identity ON by_index (tenant_id, id);
    ALTER TABLE by_index REPLICA IDENTITY USING INDEX by_index_identity;
    CREATE TABLE by_row (LIKE by_key INCLUDING ALL);
    ALTER TABLE by_row REPLICA IDENTITY FULL;
    CREATE PUBLICATION tailrace FOR TABLE by_key, by_index, by_row;
";

/// A value that PostgreSQL stores out of line.
const LONG: &str = "(SELECT string_agg(md5(n::text), '') FROM generate_series(1, 1000) n)";

fn drive(cluster: &Cluster) -> Drive {
    Drive::streaming(cluster, Rules::default())
}

/// Action, record and old of each event of an organisation.
fn told(drive: &Drive, organisation: &str) -> Vec<(String, Value, Value)> {
    let payloads = drive.payloads(organisation).into_iter();
    let told = |mut payload: Value| {
        let action = payload["action"].as_str().unwrap().to_owned();
        (action, payload["record"].take(), payload["old"].take())
    };
    payloads.map(told).collect()
}

fn event(action: &str, record: Value, old: Value) -> (String, Value, Value) {
    (action.to_owned(), record, old)
}

/// A row as it is in a record.
fn row(organisation: &str, name: &str) -> Value {
    json!({"id": 1, "tenant_id": organisation, "name": name, "body": null})
}

// Case: 15, 20
#[test]
fn an_update_by_the_default_identity_has_the_new_row_only_even_if_nothing_changed() {
    let cluster = Cluster::start(SCHEMA);
    let mut drive = drive(&cluster);
    cluster.sql("INSERT INTO by_key VALUES (1, 'acme', 'a')");
    cluster.sql("UPDATE by_key SET name = 'b'");
    cluster.sql("UPDATE by_key SET name = name");
    drive.catch_up(&cluster);
    let expected = [
        event("insert", row("acme", "a"), Value::Null),
        event("update", row("acme", "b"), Value::Null),
        event("update", row("acme", "b"), Value::Null),
    ];
    assert_eq!(told(&drive, "acme"), expected);
    assert!(
        drive
            .payloads("acme")
            .iter()
            .all(|payload| payload.get("changed").is_none())
    );
}

// Case: 20
#[test]
fn an_update_of_nothing_is_an_event_that_lists_no_column_under_full() {
    let cluster = Cluster::start(SCHEMA);
    let mut drive = drive(&cluster);
    cluster.sql("INSERT INTO by_row VALUES (1, 'acme', 'a')");
    cluster.sql("UPDATE by_row SET name = name");
    drive.catch_up(&cluster);
    let expected = event("update", row("acme", "a"), row("acme", "a"));
    assert_eq!(told(&drive, "acme")[1], expected);
    assert_eq!(drive.payloads("acme")[1]["changed"], json!([]));
}

// Case: 16
#[test]
fn a_move_by_an_index_with_the_organisation_is_a_delete_there_and_an_insert_here() {
    let cluster = Cluster::start(SCHEMA);
    let mut drive = drive(&cluster);
    cluster.sql("INSERT INTO by_index VALUES (1, 'acme', 'a')");
    cluster.sql("UPDATE by_index SET tenant_id = 'globex', name = 'secretly'");
    drive.catch_up(&cluster);
    let gone = event("delete", Value::Null, json!({"id": 1, "tenant_id": "acme"}));
    assert_eq!(told(&drive, "acme")[1..], [gone]);
    let come = event("insert", row("globex", "secretly"), Value::Null);
    assert_eq!(told(&drive, "globex"), [come]);
    let acme = format!("{:?}", drive.events("acme"));
    assert!(
        !acme.contains("secretly") && !acme.contains("globex"),
        "{acme}"
    );
    assert!(!format!("{:?}", drive.events("globex")).contains("acme"));
    assert_eq!(drive.status().unscoped, []);
}

// Case: 17
#[test]
fn a_move_under_full_shows_each_its_own_row() {
    let cluster = Cluster::start(SCHEMA);
    let mut drive = drive(&cluster);
    cluster.sql("INSERT INTO by_row VALUES (1, 'acme', 'a')");
    cluster.sql("UPDATE by_row SET tenant_id = 'globex', name = 'secretly'");
    drive.catch_up(&cluster);
    let gone = event("delete", Value::Null, row("acme", "a"));
    assert_eq!(told(&drive, "acme")[1..], [gone]);
    let come = event("insert", row("globex", "secretly"), Value::Null);
    assert_eq!(told(&drive, "globex"), [come]);
    assert_eq!(drive.payloads("globex")[0].get("changed"), None);
    assert_eq!(drive.status().unscoped, []);
}

// Case: 17
#[test]
fn a_move_by_the_default_identity_reaches_the_new_organisation_alone_and_is_counted() {
    let cluster = Cluster::start(SCHEMA);
    let mut drive = drive(&cluster);
    cluster.sql("INSERT INTO by_key VALUES (1, 'acme', 'a')");
    cluster.sql("UPDATE by_key SET tenant_id = 'globex'");
    drive.catch_up(&cluster);
    assert_eq!(told(&drive, "acme").len(), 1);
    let come = event("update", row("globex", "a"), Value::Null);
    assert_eq!(told(&drive, "globex"), [come]);
    assert_eq!(drive.status().unscoped, [("by_key".to_owned(), 1)]);
}

// Case: 18
#[test]
fn a_delete_shows_its_identity_to_its_organisation_and_without_one_to_nobody() {
    let cluster = Cluster::start(SCHEMA);
    let mut drive = drive(&cluster);
    for table in ["by_index", "by_row", "by_key"] {
        cluster.sql(&format!(
            "INSERT INTO {table} VALUES (1, 'acme', 'a'); DELETE FROM {table}"
        ));
    }
    drive.catch_up(&cluster);
    let deletes: Vec<_> = told(&drive, "acme")
        .into_iter()
        .filter(|(action, ..)| action == "delete")
        .collect();
    let by_index = event("delete", Value::Null, json!({"id": 1, "tenant_id": "acme"}));
    assert_eq!(
        deletes,
        [by_index, event("delete", Value::Null, row("acme", "a"))]
    );
    // Five frames in all: nobody else got the third delete.
    assert_eq!((drive.frames.len(), drive.events("acme").len()), (5, 5));
    assert_eq!(drive.status().unroutable, [("by_key".to_owned(), 1)]);
}

// Case: 19
#[test]
fn a_key_that_changes_is_shown_old_and_new() {
    let cluster = Cluster::start(SCHEMA);
    let mut drive = drive(&cluster);
    for table in ["by_key", "by_index", "by_row"] {
        cluster.sql(&format!("INSERT INTO {table} VALUES (7, 'acme', 'a')"));
        cluster.sql(&format!("UPDATE {table} SET id = 1"));
    }
    drive.catch_up(&cluster);
    let updates: Vec<Value> = told(&drive, "acme")
        .into_iter()
        .filter(|(action, ..)| action == "update")
        .map(|(_, record, old)| {
            assert_eq!(record, row("acme", "a"));
            old
        })
        .collect();
    let mut whole = row("acme", "a");
    whole["id"] = json!(7);
    assert_eq!(
        updates,
        [
            json!({"id": 7}),
            json!({"id": 7, "tenant_id": "acme"}),
            whole
        ]
    );
}

// Case: 24
#[test]
fn a_long_value_that_did_not_change_is_listed_and_never_null() {
    let cluster = Cluster::start(SCHEMA);
    let mut drive = drive(&cluster);
    for table in ["by_key", "by_index", "by_row"] {
        cluster.sql(&format!(
            "INSERT INTO {table} VALUES (1, 'acme', 'a', {LONG})"
        ));
        cluster.sql(&format!("UPDATE {table} SET name = 'b'"));
        cluster.sql(&format!("UPDATE {table} SET body = 'short'"));
    }
    drive.catch_up(&cluster);
    let payloads = drive.payloads("acme");
    let body = |at: usize| payloads[at]["record"].get("body").and_then(Value::as_str);
    for (table, is_whole) in [(0, false), (3, false), (6, true)] {
        assert_eq!(body(table).map(str::len), Some(32_000));
        // With the whole old row it is filled in.
        assert_eq!(body(table + 1).map(str::len), is_whole.then_some(32_000));
        let listed = (!is_whole).then(|| json!(["body"]));
        assert_eq!(payloads[table + 1].get("unchanged"), listed.as_ref());
        assert_eq!(body(table + 2), Some("short"));
        assert_eq!(payloads[table + 2].get("unchanged"), None);
    }
    assert_eq!(payloads[7]["changed"], json!(["name"]));
    assert_eq!(payloads[8]["changed"], json!(["body"]));
}

// Case: 18, 24
#[test]
fn an_organisation_that_was_not_sent_is_the_old_rows_or_nobodys() {
    let cluster = Cluster::start(SCHEMA);
    let mut drive = drive(&cluster);
    for table in ["by_key", "by_row"] {
        cluster.sql(&format!("INSERT INTO {table} VALUES (1, {LONG}, 'a')"));
        cluster.sql(&format!("UPDATE {table} SET name = 'b'"));
    }
    drive.catch_up(&cluster);
    // Of the key's table the update is nobody's: its organisation lies out of line.
    assert_eq!(drive.frames.len(), 3);
    assert_eq!(drive.status().unroutable, [("by_key".to_owned(), 1)]);
    let topics: Vec<_> = drive
        .frames
        .iter()
        .map(|frame| frame.audience().topic)
        .collect();
    assert!(topics.iter().all(|topic| *topic == topics[0]));
    assert_eq!(
        crate::drive::json(&drive.frames[2])["payload"]["action"],
        "update"
    );
}
