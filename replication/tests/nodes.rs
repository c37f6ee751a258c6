//! Several nodes on one database: the same bytes, and one anchor that all of them move.

use std::time::Duration;

use replication::Rules;
use wire::Lsn;

use crate::cluster::Cluster;
use crate::drive::Drive;

const SCHEMA: &str = r#"
    CREATE TABLE "Property" (id int PRIMARY KEY, "organizationId" text NOT NULL, name text,
        UNIQUE ("organizationId", id));
    ALTER TABLE "Property" REPLICA IDENTITY USING INDEX "Property_organizationId_id_key";
    CREATE TABLE "Note" (id int PRIMARY KEY, "organizationId" text NOT NULL, body jsonb);
    ALTER TABLE "Note" REPLICA IDENTITY FULL;
    CREATE PUBLICATION tailrace FOR TABLE "Property", "Note";

    -- One of every kind of transaction, by number; the keys of a writer are its own.
    CREATE PROCEDURE write(writer int, count int) LANGUAGE plpgsql AS $$
    DECLARE
        key int;
        org text;
    BEGIN
        FOR number IN 1..count LOOP
            key := writer * 1000000 + number;
            org := 'org' || number % 3;
            INSERT INTO "Property" VALUES (key, org, 'n' || number);
            IF number % 4 = 1 THEN
                UPDATE "Property" SET name = repeat('ä', number % 50) WHERE id = key;
            ELSIF number % 4 = 2 THEN
                UPDATE "Property" SET "organizationId" = 'org' || (number + 1) % 3 WHERE id = key;
                INSERT INTO "Note" VALUES (key, org, jsonb_build_object('of', number));
            ELSIF number % 4 = 3 THEN
                BEGIN
                    INSERT INTO "Note" VALUES (key, org, 'null');
                    RAISE division_by_zero;
                EXCEPTION WHEN division_by_zero THEN
                    DELETE FROM "Property" WHERE id = key - 1;
                END;
            ELSE
                PERFORM pg_logical_emit_message(true, 'tailrace', json_build_object(
                    'organizationId', org, 'type', 'note', 'channel', 'notes', 'data', number)::text);
                DELETE FROM "Note" WHERE id = key - 2;
            END IF;
            IF number % 10 = 0 THEN
                ROLLBACK;
            ELSE
                COMMIT;
            END IF;
        END LOOP;
    END $$;
"#;

// Case: 44
#[test]
fn two_nodes_make_the_same_bytes_of_ten_thousand_transactions() {
    let cluster = Cluster::start(SCHEMA);
    let mut first = Drive::streaming(&cluster, Rules::default());
    let mut writers: Vec<_> = (1..=4)
        .map(|writer| cluster.sql_in_background(&format!("CALL write({writer}, 2800)")))
        .collect();
    // The second comes in the midst of it, and reads what it has missed from the window.
    first.until("under way", |drive| drive.frames.len() > 1_000);
    let mut second = Drive::new(&cluster, Rules::default()).read_at_most(1_000);
    while writers
        .iter_mut()
        .any(|writer| writer.try_wait().unwrap().is_none())
    {
        first.pass(Duration::from_millis(20));
        second.pass(Duration::from_millis(20));
    }
    let mut second = second.read_at_most(64 * 1024);
    first.catch_up(&cluster);
    second.catch_up(&cluster);
    let transactions: std::collections::BTreeSet<Lsn> =
        first.frames.iter().map(|frame| frame.id().lsn).collect();
    assert!(transactions.len() >= 10_000, "{}", transactions.len());
    assert_eq!(first.frames.len(), second.frames.len());
    for (one, other) in first.frames.iter().zip(&second.frames) {
        assert_eq!((one.id(), one.bytes()), (other.id(), other.bytes()));
        assert_eq!(one.audience(), other.audience());
    }
}

// Case: 53
#[test]
fn nodes_that_come_and_go_and_move_the_anchor_together_move_it_forward_alone() {
    let cluster = Cluster::start(SCHEMA);
    let window = |config: &mut replication::Config| {
        config.window_ms = 500;
        config.visit_ms = 100;
    };
    let mut nodes = [Drive::with(&cluster, window), Drive::with(&cluster, window)];
    for node in &mut nodes {
        node.until("streaming", |drive| drive.status().ready);
    }
    let confirmed = "SELECT confirmed_flush_lsn FROM pg_replication_slots WHERE NOT temporary";
    let mut moved = vec![cluster.sql(confirmed).parse::<Lsn>().unwrap()];
    for round in 1..=12 {
        let write = format!("INSERT INTO \"Property\" VALUES ({round}, 'acme', 'x')");
        cluster.sql(&write);
        // Another copy is made while both are at it, and it reads from where the anchor was.
        let mut third = Drive::with(&cluster, window);
        third.until("streaming", |drive| drive.status().ready);
        for node in &mut nodes {
            node.pass(Duration::from_millis(150));
        }
        third.catch_up(&cluster);
        let ids: Vec<_> = third.frames.iter().map(|frame| frame.id()).collect();
        nodes[0].catch_up(&cluster);
        let all: Vec<_> = nodes[0].frames.iter().map(|frame| frame.id()).collect();
        assert!(all.ends_with(&ids), "the same, from there on");
        moved.push(cluster.sql(confirmed).parse().unwrap());
    }
    assert!(moved.is_sorted(), "{moved:?}");
    assert!(
        moved.windows(2).filter(|pair| pair[0] < pair[1]).count() >= 4,
        "{moved:?}"
    );
    nodes[1].catch_up(&cluster);
    for node in &nodes {
        assert_eq!(
            (node.frames.len(), node.gaps(), node.status().reconnects),
            (12, vec![], 0)
        );
        assert!(!node.has_said("anchor=stuck"), "{:?}", node.notices);
    }
}
