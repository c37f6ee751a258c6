//! Tables that are emptied, divided, altered, or published in part.

use replication::{Identity, MembershipSource, MembershipTable, Organisation, Route, Rules};
use serde_json::{Value, json};
use wire::{Batch, RevocationScope, Topic};

use crate::cluster::Cluster;
use crate::drive::{Drive, json};

/// Type and payload of every event, whoever receives it.
fn told(drive: &Drive) -> Vec<(String, Value)> {
    let events = drive.frames.iter().map(json);
    events
        .map(|mut event| {
            (
                event["type"].as_str().unwrap().to_owned(),
                event["payload"].take(),
            )
        })
        .collect()
}

fn types(drive: &Drive) -> Vec<String> {
    told(drive).into_iter().map(|(name, _)| name).collect()
}

// Case: 26
#[test]
fn a_table_that_is_emptied_is_an_event_to_all_who_hear_of_it() {
    let cluster = Cluster::start(
        "CREATE TABLE owner (id int PRIMARY KEY, tenant_id text);
         CREATE TABLE horse (id int PRIMARY KEY, tenant_id text, owner int REFERENCES owner);
         CREATE TABLE log (id int PRIMARY KEY);
         CREATE TABLE setting (id int PRIMARY KEY);
         CREATE PUBLICATION tailrace FOR TABLE owner, horse, log, setting",
    );
    let rules = Rules {
        routes: vec![
            Route {
                roles: Some(vec![wire::Name::new("admin").unwrap()]),
                types: replication::EventTypes::uniform(
                    "{channel}:{a|b|c|emptied}".parse().unwrap(),
                ),
                ..Route::new("horse")
            },
            Route {
                organisation: Some(Organisation::Constant("acme".to_owned())),
                ..Route::new("setting")
            },
        ],
        ..Rules::default()
    };
    let mut drive = Drive::streaming(&cluster, rules);
    cluster.sql("INSERT INTO owner VALUES (1, 'acme'), (2, 'globex'); TRUNCATE owner CASCADE");
    cluster.sql("TRUNCATE setting, log");
    drive.catch_up(&cluster);
    let rows = told(&drive);
    let emptied = |table: &str, organisation: Value| json!({"organizationId": organisation, "table": table, "action": "truncate", "record": null, "old": null});
    let mut cascade = rows[2..4].to_vec();
    cascade.sort_by_key(|(name, _)| name.clone());
    let horse = ("horse:emptied".to_owned(), emptied("horse", Value::Null));
    let owner = ("owner.truncated".to_owned(), emptied("owner", Value::Null));
    assert_eq!(cascade, [horse, owner]);
    let setting = (
        "setting.truncated".to_owned(),
        emptied("setting", json!("acme")),
    );
    assert_eq!(rows[4..], [setting]);
    // Every table has a place of its own, so that each event can be the last that a client has seen.
    let ids: Vec<_> = drive.frames.iter().map(|frame| frame.id()).collect();
    assert!(ids.is_sorted_by(|one, two| one < two), "{ids:?}");
    for frame in &drive.frames[2..4] {
        let audience = frame.audience();
        assert_eq!(audience.topic, Topic::Global);
        assert_eq!(audience.roles.is_some(), frame.channel() == "horse");
    }
    let acme = Topic::Organisation(drive.keys.organisation("acme"));
    assert_eq!(drive.frames[4].audience().topic, acme);
    // Nobody would receive a row of it either.
    assert_eq!(drive.status().unroutable, [("log".to_owned(), 1)]);
}

// Case: 26
#[test]
fn memberships_that_are_emptied_close_every_stream_at_their_place() {
    let cluster = Cluster::start(
        r#"CREATE TABLE horse (id int PRIMARY KEY, tenant_id text);
           CREATE TABLE "Member" (id int PRIMARY KEY, tenant_id text, user_id text);
           CREATE PUBLICATION tailrace FOR TABLE horse, "Member""#,
    );
    let rules = Rules {
        identity: Identity {
            membership: MembershipSource::Table(MembershipTable::new(
                "public.Member",
                "user_id",
                "tenant_id",
            )),
            ..Identity::default()
        },
        ..Rules::default()
    };
    let mut drive = Drive::streaming(&cluster, rules.clone());
    cluster.sql(
        r#"BEGIN; INSERT INTO horse VALUES (1, 'acme'); TRUNCATE "Member";
           INSERT INTO horse VALUES (2, 'acme'); COMMIT"#,
    );
    drive.catch_up(&cluster);
    let handed: Vec<Option<usize>> = drive
        .batches
        .iter()
        .filter_map(|batch| match batch {
            Batch::Commit(commit) => Some(Some(commit.frames.len())),
            Batch::Revoke(revocation) => {
                assert_eq!(revocation.scope, RevocationScope::Everybody);
                Some(None)
            }
            _ => None,
        })
        .collect();
    assert_eq!(handed[..3], [Some(1), None, Some(1)]);
    // Read again, it is what it was.
    let mut again = Drive::streaming(&cluster, rules);
    again.catch_up(&cluster);
    let is_revoked = again
        .batches
        .iter()
        .any(|batch| matches!(batch, Batch::Revoke(_)));
    assert!(is_revoked && told(&again) == told(&drive));
}

const PARTITIONED: &str = "
    CREATE TABLE visit (id int, tenant_id text NOT NULL, month int, PRIMARY KEY (id, month))
        PARTITION BY LIST (month);
    CREATE TABLE visit_1 PARTITION OF visit FOR VALUES IN (1);
    CREATE TABLE visit_2 PARTITION OF visit FOR VALUES IN (2);
    CREATE UNIQUE INDEX visit_1_identity ON visit_1 (tenant_id, id);
    CREATE UNIQUE INDEX visit_2_identity ON visit_2 (tenant_id, id);
    ALTER TABLE visit_1 REPLICA IDENTITY USING INDEX visit_1_identity;
    ALTER TABLE visit_2 REPLICA IDENTITY USING INDEX visit_2_identity;
";

/// What happens to partitions in the tests.
const VISITS: [&str; 5] = [
    "INSERT INTO visit VALUES (1, 'acme', 1)",
    "UPDATE visit SET month = 2",
    "CREATE TABLE visit_3 PARTITION OF visit FOR VALUES IN (3); INSERT INTO visit VALUES (3, 'acme', 3)",
    "ALTER TABLE visit DETACH PARTITION visit_2; INSERT INTO visit_2 VALUES (4, 'acme', 2)",
    "INSERT INTO visit VALUES (5, 'acme', 1)",
];

/// Whether the server's walsender hears too late that a partition was detached: it goes on with what it
/// knew of the table.
fn is_late(cluster: &Cluster) -> bool {
    cluster.major() < 15
}

// Case: 27
#[test]
fn partitions_are_their_root_where_that_is_published() {
    let cluster = Cluster::start(&format!(
        "{PARTITIONED} CREATE PUBLICATION tailrace FOR TABLE visit WITH (publish_via_partition_root)"
    ));
    let mut drive = Drive::streaming(&cluster, Rules::default());
    VISITS.iter().for_each(|sql| drop(cluster.sql(sql)));
    drive.catch_up(&cluster);
    // The move is a delete and an insert; of the detached partition nothing is heard.
    let mut expected = ["insert", "delete", "insert", "insert", "insert"].to_vec();
    if is_late(&cluster) {
        expected.push("insert");
    }
    let expected: Vec<String> = expected.iter().map(|it| format!("visit.{it}")).collect();
    assert_eq!(types(&drive), expected);
    let old = json!({"id": 1, "tenant_id": "acme"});
    assert_eq!(told(&drive)[1].1["old"], old);
    let last = types(&drive).len() - 1;
    let months: Vec<Value> = [0, 2, 3, last]
        .map(|at| told(&drive)[at].1["record"]["month"].clone())
        .into();
    assert_eq!(months, [json!(1), json!(2), json!(3), json!(1)]);
}

// Case: 27
#[test]
fn partitions_are_themselves_where_they_are_published() {
    let cluster = Cluster::start(&format!(
        "{PARTITIONED} CREATE PUBLICATION tailrace FOR TABLE visit"
    ));
    let mut drive = Drive::streaming(&cluster, Rules::default());
    VISITS.iter().for_each(|sql| drop(cluster.sql(sql)));
    drive.catch_up(&cluster);
    let mut expected = vec![
        "visit_1.insert",
        "visit_1.delete",
        "visit_2.insert",
        "visit_3.insert",
        "visit_1.insert",
    ];
    if is_late(&cluster) {
        expected.insert(4, "visit_2.insert");
    }
    assert_eq!(types(&drive), expected);
    assert_eq!(
        told(&drive)[1].1["old"],
        json!({"id": 1, "tenant_id": "acme"})
    );
}

// Case: 26
#[test]
fn a_root_that_is_emptied_is_one_event_or_one_for_each_of_its_leaves() {
    for (options, whole, leaf) in [
        (
            "WITH (publish_via_partition_root)",
            vec!["visit.truncated"],
            vec![],
        ),
        (
            "",
            vec!["visit_1.truncated", "visit_2.truncated"],
            vec!["visit_1.truncated"],
        ),
    ] {
        let cluster = Cluster::start(&format!(
            "{PARTITIONED} CREATE PUBLICATION tailrace FOR TABLE visit {options}"
        ));
        let mut drive = Drive::streaming(&cluster, Rules::default());
        cluster.sql("TRUNCATE visit");
        drive.catch_up(&cluster);
        let mut emptied = types(&drive);
        emptied.sort();
        assert_eq!(emptied, whole);
        drive.frames.clear();
        // Of a leaf under its root PostgreSQL says nothing.
        cluster.sql("TRUNCATE visit_1");
        drive.catch_up(&cluster);
        assert_eq!(types(&drive), leaf);
    }
}

// Case: 28
#[test]
fn a_table_has_at_every_place_the_columns_it_had_there() {
    let cluster = Cluster::start(
        "CREATE TABLE horse (id int PRIMARY KEY, tenant_id text, name text);
         CREATE PUBLICATION tailrace FOR TABLE horse",
    );
    let mut drive = Drive::streaming(&cluster, Rules::default());
    let statements = [
        "INSERT INTO horse VALUES (1, 'acme', 'Star')",
        "ALTER TABLE horse ADD age int DEFAULT 4",
        "UPDATE horse SET name = 'Moon'",
        "ALTER TABLE horse RENAME name TO called",
        "UPDATE horse SET called = 'Sun'",
        "ALTER TABLE horse ALTER age TYPE text",
        "UPDATE horse SET age = '5'",
        "ALTER TABLE horse DROP called",
        "ALTER TABLE horse RENAME TO pony",
        "BEGIN; UPDATE pony SET age = '6'; ALTER TABLE pony ADD tail bool; UPDATE pony SET tail = true; COMMIT",
        "ALTER TABLE pony RENAME tenant_id TO owner",
        "UPDATE pony SET age = '7'",
    ];
    for sql in statements {
        cluster.sql(sql);
        drive.catch_up(&cluster);
    }
    let expected = [
        (
            "horse.insert",
            json!({"id": 1, "tenant_id": "acme", "name": "Star"}),
        ),
        (
            "horse.update",
            json!({"id": 1, "tenant_id": "acme", "name": "Moon", "age": 4}),
        ),
        (
            "horse.update",
            json!({"id": 1, "tenant_id": "acme", "called": "Sun", "age": 4}),
        ),
        (
            "horse.update",
            json!({"id": 1, "tenant_id": "acme", "called": "Sun", "age": "5"}),
        ),
        (
            "pony.update",
            json!({"id": 1, "tenant_id": "acme", "age": "6"}),
        ),
        (
            "pony.update",
            json!({"id": 1, "tenant_id": "acme", "age": "6", "tail": true}),
        ),
    ];
    let seen = |drive: &Drive| -> Vec<(String, Value)> {
        let rows = told(drive).into_iter();
        rows.map(|(name, mut payload)| (name, payload["record"].take()))
            .collect()
    };
    let expected = expected.map(|(name, record)| (name.to_owned(), record));
    assert_eq!(seen(&drive), expected);
    // Without the column of the organisation it is nobody's.
    assert_eq!(drive.status().unroutable, [("pony".to_owned(), 1)]);
    // Whoever reads the same log later sees the same.
    let mut again = Drive::streaming(&cluster, Rules::default());
    again.catch_up(&cluster);
    assert_eq!(seen(&again), expected);
    assert_eq!(again.bytes(), drive.bytes());
}

// Case: 30
#[test]
fn a_row_enters_and_leaves_what_is_published_of_its_table() {
    let cluster = Cluster::start(
        "CREATE TABLE horse (id int, tenant_id text NOT NULL, open bool NOT NULL, note text, name text);
         CREATE UNIQUE INDEX horse_identity ON horse (tenant_id, id, open);
         ALTER TABLE horse ALTER id SET NOT NULL;
         ALTER TABLE horse REPLICA IDENTITY USING INDEX horse_identity",
    );
    if cluster.major() < 15 {
        // There it is no syntax at all.
        let sql = "DO $$BEGIN EXECUTE 'CREATE PUBLICATION p FOR TABLE horse (id)';
            RAISE 'it is'; EXCEPTION WHEN syntax_error THEN END$$";
        cluster.sql(sql);
        return;
    }
    cluster.sql(
        "CREATE PUBLICATION tailrace FOR TABLE horse (id, tenant_id, open, name) WHERE (open)",
    );
    let mut drive = Drive::streaming(&cluster, Rules::default());
    for sql in [
        "INSERT INTO horse VALUES (1, 'acme', false, 'hidden', 'Star')",
        "UPDATE horse SET name = 'Moon'",
        "UPDATE horse SET open = true",
        "UPDATE horse SET note = 'still hidden'",
        "UPDATE horse SET open = false",
    ] {
        cluster.sql(sql);
    }
    drive.catch_up(&cluster);
    assert_eq!(
        types(&drive),
        ["horse.insert", "horse.update", "horse.delete"]
    );
    let record = json!({"id": 1, "tenant_id": "acme", "open": true, "name": "Moon"});
    assert_eq!(
        (&told(&drive)[0].1["record"], &told(&drive)[1].1["record"]),
        (&record, &record)
    );
    let old = json!({"id": 1, "tenant_id": "acme", "open": true});
    assert_eq!(told(&drive)[2].1["old"], old);
}

// Case: 31
#[test]
fn a_stored_generated_column_is_there_where_it_is_published() {
    let cluster = Cluster::start(
        "CREATE TABLE horse (
             id int PRIMARY KEY, tenant_id text, n int, twice int GENERATED ALWAYS AS (2 * n) STORED
         );
         CREATE PUBLICATION tailrace FOR TABLE horse",
    );
    let mut drive = Drive::streaming(&cluster, Rules::default());
    cluster.sql("INSERT INTO horse VALUES (1, 'acme', 4)");
    let is_published = cluster.major() >= 18;
    if is_published {
        cluster.sql("ALTER PUBLICATION tailrace SET (publish_generated_columns = stored)");
    }
    cluster.sql("INSERT INTO horse VALUES (2, 'acme', 5)");
    drive.catch_up(&cluster);
    let twice = |at: usize| told(&drive)[at].1["record"].get("twice").cloned();
    assert_eq!(twice(0), None);
    assert_eq!(twice(1), is_published.then(|| json!(10)));
    assert_eq!(told(&drive)[1].1["record"]["n"], json!(5));
}
