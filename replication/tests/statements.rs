//! Statements, and how their transactions end.

use replication::Rules;
use serde_json::json;
use wire::{EventId, Lsn};

use crate::cluster::Cluster;
use crate::drive::Drive;

const SCHEMA: &str = "
    CREATE TABLE owner (id int PRIMARY KEY, tenant_id text NOT NULL, UNIQUE (tenant_id, id));
    CREATE TABLE horse (
        id int PRIMARY KEY, tenant_id text NOT NULL, owner int REFERENCES owner ON DELETE CASCADE,
        name text, UNIQUE (tenant_id, id)
    );
    ALTER TABLE owner REPLICA IDENTITY USING INDEX owner_tenant_id_id_key;
    ALTER TABLE horse REPLICA IDENTITY USING INDEX horse_tenant_id_id_key;
    CREATE PUBLICATION tailrace FOR TABLE owner, horse;
";

/// The types of an organisation's events.
fn types(drive: &Drive, organisation: &str) -> Vec<String> {
    let events = drive.events(organisation).into_iter();
    events
        .map(|event| event["type"].as_str().unwrap().to_owned())
        .collect()
}

fn ids(drive: &Drive) -> Vec<EventId> {
    drive.frames.iter().map(|frame| frame.id()).collect()
}

fn indexes(drive: &Drive) -> Vec<u32> {
    ids(drive).iter().map(|id| id.index).collect()
}

fn is_one_transaction(drive: &Drive) -> bool {
    ids(drive).iter().all(|id| id.lsn == ids(drive)[0].lsn)
}

// Case: 13
#[test]
fn an_insert_is_an_event_at_the_place_of_its_commit() {
    let cluster = Cluster::start(SCHEMA);
    let mut drive = Drive::streaming(&cluster, Rules::default());
    let before: Lsn = cluster
        .sql("SELECT pg_current_wal_insert_lsn()")
        .parse()
        .unwrap();
    cluster.sql("INSERT INTO owner VALUES (1, 'acme')");
    let after: Lsn = cluster
        .sql("SELECT pg_current_wal_insert_lsn()")
        .parse()
        .unwrap();
    drive.catch_up(&cluster);
    let [event] = &drive.events("acme")[..] else {
        panic!("one event: {:?}", drive.frames)
    };
    assert_eq!(
        (drive.frames.len(), &event["type"], &event["channel"]),
        (1, &json!("owner.insert"), &json!("owner"))
    );
    let id = drive.frames[0].id();
    assert_eq!(event["id"], id.to_string());
    assert_eq!((id.timeline, id.index), (1, 1));
    assert!(id.epoch != 0 && before <= id.lsn && id.lsn < after, "{id}");
    let system = cluster.sql("SELECT (EXTRACT(epoch FROM now()) * 1000)::bigint");
    let age_ms = system.parse::<i64>().unwrap() - event["timestamp"].as_i64().unwrap();
    assert!((0..60_000).contains(&age_ms), "{age_ms}");
}

// Case: 14
#[test]
fn rows_that_are_copied_in_share_a_commit_and_are_numbered() {
    let cluster = Cluster::start(SCHEMA);
    let mut drive = Drive::streaming(&cluster, Rules::default());
    cluster.sql(r"COPY owner FROM PROGRAM 'printf ''1\tacme\n2\tacme\n3\tacme\n'''");
    drive.catch_up(&cluster);
    assert_eq!(
        (drive.events("acme").len(), indexes(&drive)),
        (3, vec![1, 2, 3])
    );
    assert!(is_one_transaction(&drive));
}

// Case: 21
#[test]
fn a_conflict_is_nothing_or_an_update_and_a_lock_is_nothing() {
    let cluster = Cluster::start(SCHEMA);
    let mut drive = Drive::streaming(&cluster, Rules::default());
    cluster.sql("INSERT INTO owner VALUES (1, 'acme')");
    let again = "INSERT INTO owner VALUES (1, 'acme') ON CONFLICT (id) DO";
    cluster.sql(&format!("{again} NOTHING"));
    cluster.sql("BEGIN; SELECT FROM owner FOR UPDATE; COMMIT");
    drive.catch_up(&cluster);
    assert_eq!(types(&drive, "acme"), ["owner.insert"]);
    cluster.sql(&format!("{again} UPDATE SET tenant_id = 'acme'"));
    drive.catch_up(&cluster);
    assert_eq!(types(&drive, "acme"), ["owner.insert", "owner.update"]);
    assert_eq!(drive.frames.len(), 2);
}

// Case: 22
#[test]
fn a_cascade_is_the_parents_delete_and_then_its_childrens() {
    let cluster = Cluster::start(SCHEMA);
    let mut drive = Drive::streaming(&cluster, Rules::default());
    cluster.sql("INSERT INTO owner VALUES (1, 'acme'); INSERT INTO horse VALUES (1, 'acme', 1), (2, 'acme', 1)");
    drive.catch_up(&cluster);
    drive.frames.clear();
    cluster.sql("DELETE FROM owner");
    drive.catch_up(&cluster);
    assert_eq!(
        types(&drive, "acme"),
        ["owner.delete", "horse.delete", "horse.delete"]
    );
    assert_eq!(indexes(&drive), [1, 2, 3]);
    assert!(is_one_transaction(&drive));
}

// Case: 23
#[test]
fn what_was_rolled_back_is_nothing_and_leaves_no_hole() {
    let cluster = Cluster::start(SCHEMA);
    let mut drive = Drive::streaming(&cluster, Rules::default());
    cluster.sql("BEGIN; INSERT INTO owner VALUES (1, 'acme'); ROLLBACK");
    cluster.sql(
        "BEGIN; INSERT INTO owner VALUES (2, 'acme'); SAVEPOINT s; INSERT INTO owner VALUES (3, 'acme');
         ROLLBACK TO s; INSERT INTO owner VALUES (4, 'acme'); SAVEPOINT t;
         INSERT INTO owner VALUES (5, 'acme'); RELEASE t; COMMIT",
    );
    drive.catch_up(&cluster);
    let kept: Vec<_> = drive
        .payloads("acme")
        .iter()
        .map(|it| it["record"]["id"].clone())
        .collect();
    assert_eq!(
        (kept, indexes(&drive)),
        (vec![json!(2), json!(4), json!(5)], vec![1, 2, 3])
    );
    assert!(is_one_transaction(&drive));
}

// Case: 32
#[test]
fn a_prepared_transaction_is_there_when_it_is_committed() {
    let cluster = Cluster::start(SCHEMA);
    let mut drive = Drive::streaming(&cluster, Rules::default());
    cluster.sql("BEGIN; INSERT INTO owner VALUES (1, 'acme'); PREPARE TRANSACTION 'kept'");
    cluster.sql("BEGIN; INSERT INTO owner VALUES (2, 'acme'); PREPARE TRANSACTION 'dropped'");
    cluster.sql("INSERT INTO owner VALUES (3, 'acme')");
    drive.catch_up(&cluster);
    assert_eq!(drive.frames.len(), 1);
    cluster.sql("COMMIT PREPARED 'kept'");
    cluster.sql("ROLLBACK PREPARED 'dropped'");
    drive.catch_up(&cluster);
    let rows: Vec<_> = drive
        .payloads("acme")
        .iter()
        .map(|it| it["record"]["id"].clone())
        .collect();
    assert_eq!(rows, [json!(3), json!(1)]);
    assert!(ids(&drive).is_sorted() && indexes(&drive) == [1, 1]);
}

// Case: 33
#[test]
fn what_is_no_change_of_a_published_row_is_nothing() {
    let cluster = Cluster::start(SCHEMA);
    cluster.sql("INSERT INTO owner VALUES (1, 'acme')");
    let mut drive = Drive::streaming(&cluster, Rules::default());
    let statements = [
        "CREATE UNLOGGED TABLE u (id int PRIMARY KEY, tenant_id text); INSERT INTO u VALUES (1, 'acme')",
        "CREATE TEMP TABLE t (id int PRIMARY KEY, tenant_id text); INSERT INTO t VALUES (1, 'acme')",
        "CREATE MATERIALIZED VIEW m AS SELECT * FROM owner",
        "REFRESH MATERIALIZED VIEW m; DROP MATERIALIZED VIEW m",
        "VACUUM FULL owner",
        "CLUSTER owner USING owner_pkey",
        "ALTER TABLE owner ALTER id TYPE bigint",
        "CREATE TABLE copied AS SELECT * FROM owner",
        "CREATE SEQUENCE s; SELECT nextval('s')",
    ];
    statements.iter().for_each(|sql| drop(cluster.sql(sql)));
    drive.catch_up(&cluster);
    assert!(drive.frames.is_empty(), "{:?}", drive.frames);
    cluster.sql("INSERT INTO owner VALUES (2, 'acme')");
    drive.catch_up(&cluster);
    assert_eq!(drive.payloads("acme")[0]["record"]["id"], json!("2"));
}
