//! The memberships: read in a snapshot, kept by the stream, and asked for by whoever wants to be let in.

use std::time::Duration;

use replication::{
    Admission, Identity, MembershipSource, MembershipTable, OrganisationTable, Place, Rules, Wanted,
};
use wire::{Batch, CloseReason, EventId, Revocation, RevocationScope};

use crate::cluster::Cluster;
use crate::drive::Drive;

const SCHEMA: &str = r#"
    CREATE TABLE horse (id serial PRIMARY KEY, tenant_id text DEFAULT 'acme');
    CREATE TABLE organization (id text PRIMARY KEY);
    CREATE TABLE "Member" (id serial PRIMARY KEY, "userId" text, "orgId" text, role text);
    INSERT INTO "Member" ("userId", "orgId", role) VALUES
        ('ada', 'acme', 'admin'), ('bob', 'acme', 'reader'), ('bob', 'globex', 'reader');
    CREATE PUBLICATION tailrace FOR TABLE horse, organization, "Member";
"#;

const HORSE: &str = "INSERT INTO horse DEFAULT VALUES";
const END_STREAMS: &str = "SELECT pg_terminate_backend(pid) FROM pg_stat_replication";

fn table() -> MembershipTable {
    MembershipTable {
        role: Some("role".to_owned()),
        ..MembershipTable::new("Member", "userId", "orgId")
    }
}

fn rules_of(table: MembershipTable) -> Rules {
    Rules {
        identity: Identity {
            membership: MembershipSource::Table(table),
            ..Identity::default()
        },
        ..Rules::default()
    }
}

fn rules() -> Rules {
    rules_of(table())
}

fn named(name: &str) -> Wanted {
    Wanted::Named(name.to_owned())
}

/// The role by which somebody is let in; `None` where they are no member.
fn role(drive: &Drive, user: &str, organisation: &str) -> Option<String> {
    match drive.admit(user, named(organisation)) {
        Admission::Admitted(Place { role, .. }) => Some(role.unwrap_or_default()),
        Admission::NotAMember => None,
        other => panic!("{user} in {organisation}: {other:?}"),
    }
}

fn since(drive: &Drive, user: &str, organisation: &str) -> Option<EventId> {
    match drive.admit(user, named(organisation)) {
        Admission::Admitted(place) => place.since,
        other => panic!("{user} in {organisation}: {other:?}"),
    }
}

/// What was revoked, in order: whose streams, and why.
fn revoked(drive: &Drive) -> Vec<(String, CloseReason)> {
    let revocations = drive.batches.iter().filter_map(|batch| match batch {
        Batch::Revoke(revocation) => Some(revocation),
        _ => None,
    });
    let told = |it: &Revocation| (scope(drive, it.scope), it.reason);
    revocations.map(told).collect()
}

fn scope(drive: &Drive, scope: RevocationScope) -> String {
    let users = ["ada", "bob", "eve"];
    for organisation in ["acme", "globex"] {
        let key = drive.keys.organisation(organisation);
        if scope == RevocationScope::Organisation(key) {
            return organisation.to_owned();
        }
        for user in users {
            let user_key = drive.keys.user(user);
            let member = RevocationScope::Member {
                user: user_key,
                organisation: key,
            };
            if scope == member {
                return format!("{user} in {organisation}");
            }
        }
    }
    format!("{scope:?}")
}

fn lost(who: &str) -> (String, CloseReason) {
    (who.to_owned(), CloseReason::MembershipRevoked)
}

// Case: 61
#[test]
fn who_is_deleted_loses_the_streams_of_that_organisation_before_any_later_event() {
    let cluster = Cluster::start(SCHEMA);
    let mut drive = Drive::streaming(&cluster, rules());
    assert_eq!(role(&drive, "bob", "acme").as_deref(), Some("reader"));
    assert_eq!(
        drive.admit("bob", Wanted::Only),
        Admission::SeveralOrganisations
    );
    // The row that is deleted says nothing but its id.
    cluster.sql(&format!(
        r#"BEGIN; {HORSE}; DELETE FROM "Member" WHERE "userId" = 'bob' AND "orgId" = 'acme'; {HORSE}; COMMIT"#
    ));
    cluster.sql(HORSE);
    drive.catch_up(&cluster);
    assert_eq!(revoked(&drive), [lost("bob in acme")]);
    let handed: Vec<usize> = drive
        .batches
        .iter()
        .filter_map(|batch| match batch {
            Batch::Commit(commit) => Some(commit.frames.len()),
            Batch::Revoke(_) => Some(99),
            _ => None,
        })
        .collect();
    assert_eq!(handed, [1, 99, 1, 1], "each in its place");
    assert_eq!(role(&drive, "bob", "acme"), None);
    assert_eq!(role(&drive, "bob", "globex").as_deref(), Some("reader"));
    assert!(matches!(
        drive.admit("bob", Wanted::Only),
        Admission::Admitted(_)
    ));
    assert_eq!(role(&drive, "ada", "acme").as_deref(), Some("admin"));
    assert_eq!(drive.admit("eve", Wanted::Only), Admission::NotAMember);
    let preferred = drive.admit("bob", Wanted::Preferred("acme".to_owned()));
    assert!(
        matches!(preferred, Admission::Admitted(place) if place.organisation.as_deref() == Some("globex"))
    );
}

// Case: 62, 66
#[test]
fn who_was_deleted_within_the_window_is_never_let_in_again_by_a_node_that_starts() {
    let cluster = Cluster::start(SCHEMA);
    let mut first = Drive::streaming(&cluster, rules());
    cluster.sql(r#"INSERT INTO "Member" ("userId", "orgId") VALUES ('eve', 'acme')"#);
    cluster.sql(HORSE);
    cluster.sql(r#"DELETE FROM "Member" WHERE "userId" = 'eve'"#);
    cluster
        .sql(r#"UPDATE "Member" SET role = 'writer' WHERE "userId" = 'bob' AND "orgId" = 'acme'"#);
    first.catch_up(&cluster);
    let bob_since = since(&first, "bob", "acme").expect("it changed");
    drop(first);
    let mut again = Drive::new(&cluster, rules()).read_at_most(50);
    let mut early = 0;
    while !again.status().memberships.ready {
        assert_eq!(again.admit("eve", named("acme")), Admission::NotReady);
        assert_eq!(again.admit("ada", named("acme")), Admission::NotReady);
        assert!(!again.status().ready);
        early += 1;
        again.pass(Duration::from_micros(1));
    }
    assert!(early > 1, "there was a time before");
    assert_eq!(role(&again, "eve", "acme"), None);
    again.until("ready", |again| again.status().ready);
    again.catch_up(&cluster);
    assert_eq!(role(&again, "eve", "acme"), None);
    assert_eq!(role(&again, "bob", "acme").as_deref(), Some("writer"));
    // It had the event between, and knows where what it knows of the others begins.
    assert_eq!(again.frames.len(), 1);
    assert_eq!(since(&again, "bob", "acme"), Some(bob_since));
    assert_eq!(since(&again, "ada", "acme"), None);
}

// Case: 63
#[test]
fn who_is_inserted_while_the_snapshot_is_taken_is_there_after_the_commit_once() {
    let cluster = Cluster::start(SCHEMA);
    let mut writer = cluster.sql_in_background(
        r#"BEGIN; INSERT INTO "Member" ("userId", "orgId") VALUES ('eve', 'acme');
           DELETE FROM "Member" WHERE "userId" = 'ada'; SELECT pg_sleep(3); COMMIT"#,
    );
    let waits = "SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'PgSleep'";
    while cluster.sql(waits) != "1" {
        std::thread::sleep(Duration::from_millis(10));
    }
    // The slot waits for the transaction, so that it has to be there before.
    let make = "SELECT pg_create_logical_replication_slot('tailrace_' || oid, 'pgoutput') FROM \
                pg_database WHERE datname = 'app'";
    writer.wait().unwrap();
    cluster.sql(make);
    let mut writer = cluster.sql_in_background(
        r#"BEGIN; DELETE FROM "Member" WHERE "userId" = 'eve';
           INSERT INTO "Member" ("userId", "orgId") VALUES ('ada', 'acme'), ('ada', 'globex');
           SELECT pg_sleep(3); COMMIT"#,
    );
    while cluster.sql(waits) != "1" {
        std::thread::sleep(Duration::from_millis(10));
    }
    let mut drive = Drive::streaming(&cluster, rules());
    assert_eq!(cluster.sql(waits), "1", "it was read meanwhile");
    assert!(role(&drive, "eve", "acme").is_some() && role(&drive, "ada", "acme").is_none());
    writer.wait().unwrap();
    drive.catch_up(&cluster);
    assert_eq!(revoked(&drive), [lost("eve in acme")]);
    assert!(role(&drive, "eve", "acme").is_none() && role(&drive, "ada", "acme").is_some());
    cluster.sql(r#"DELETE FROM "Member" WHERE "userId" = 'ada' AND "orgId" = 'acme'"#);
    drive.catch_up(&cluster);
    assert_eq!(role(&drive, "ada", "acme"), None, "it was there once");
}

// Case: 64
#[test]
fn a_membership_that_changes_closes_what_was_open_by_it() {
    let cluster = Cluster::start(SCHEMA);
    let mut drive = Drive::streaming(&cluster, rules());
    for sql in [
        r#"UPDATE "Member" SET role = 'writer' WHERE "userId" = 'bob' AND "orgId" = 'acme'"#,
        // What is the same right is no change, and takes no past away.
        r#"UPDATE "Member" SET role = 'writer' WHERE "userId" = 'bob' AND "orgId" = 'acme'"#,
        r#"UPDATE "Member" SET "orgId" = 'globex' WHERE "userId" = 'ada'"#,
        r#"UPDATE "Member" SET id = 77 WHERE "userId" = 'ada'"#,
        // A second row is a second role; without it, it is one less.
        r#"INSERT INTO "Member" VALUES (99, 'ada', 'globex', 'owner')"#,
        r#"DELETE FROM "Member" WHERE id = 99"#,
        r#"UPDATE "Member" SET "userId" = NULL WHERE "userId" = 'ada'"#,
    ] {
        cluster.sql(sql);
    }
    drive.catch_up(&cluster);
    let role_changed = |who: &str| (who.to_owned(), CloseReason::RoleChanged);
    assert_eq!(
        revoked(&drive),
        [
            role_changed("bob in acme"),
            lost("ada in acme"),
            role_changed("ada in globex"),
            role_changed("ada in globex"),
            lost("ada in globex"),
        ]
    );
    assert_eq!(role(&drive, "bob", "acme").as_deref(), Some("writer"));
}

#[test]
fn who_was_removed_and_came_back_has_no_past() {
    let cluster = Cluster::start(SCHEMA);
    let mut drive = Drive::streaming(&cluster, rules());
    assert_eq!(since(&drive, "ada", "acme"), None);
    cluster.sql(r#"DELETE FROM "Member" WHERE "userId" = 'ada'"#);
    cluster.sql(HORSE);
    cluster
        .sql(r#"INSERT INTO "Member" ("userId", "orgId", role) VALUES ('ada', 'acme', 'admin')"#);
    drive.catch_up(&cluster);
    let back = since(&drive, "ada", "acme").expect("it changed");
    assert!(back > drive.frames[0].id());
    // A node that starts reads the same.
    let mut again = Drive::streaming(&cluster, rules());
    again.catch_up(&cluster);
    assert_eq!(since(&again, "ada", "acme"), Some(back));
}

#[test]
fn a_row_that_is_put_out_of_force_is_no_membership() {
    for (column, off, on) in [
        (
            "active boolean DEFAULT true",
            "active = false",
            "active = true",
        ),
        (
            "active boolean DEFAULT true",
            "active = NULL",
            "active = true",
        ),
        (
            "\"deletedAt\" timestamptz",
            "\"deletedAt\" = now()",
            "\"deletedAt\" = NULL",
        ),
    ] {
        let cluster = Cluster::start(SCHEMA);
        cluster.sql(&format!(r#"ALTER TABLE "Member" ADD {column}"#));
        cluster.sql(&format!(
            r#"UPDATE "Member" SET {off} WHERE "orgId" = 'globex'"#
        ));
        let name = column.split(' ').next().unwrap().trim_matches('"');
        let mut drive = Drive::streaming(
            &cluster,
            rules_of(MembershipTable {
                active: Some(name.to_owned()),
                ..table()
            }),
        );
        assert_eq!(role(&drive, "bob", "globex"), None);
        cluster.sql(&format!(
            r#"UPDATE "Member" SET {off} WHERE "userId" = 'ada'"#
        ));
        drive.catch_up(&cluster);
        assert_eq!(revoked(&drive), [lost("ada in acme")], "{off}");
        assert_eq!(role(&drive, "ada", "acme"), None);
        cluster.sql(&format!(r#"UPDATE "Member" SET {on}"#));
        drive.catch_up(&cluster);
        assert!(role(&drive, "ada", "acme").is_some() && role(&drive, "bob", "globex").is_some());
        assert_eq!(revoked(&drive).len(), 1);
    }
}

#[test]
fn whatever_the_identity_of_the_rows_is_their_end_is_understood() {
    let index = r#"CREATE UNIQUE INDEX key ON "Member" ("orgId", "userId");
        ALTER TABLE "Member" ALTER "orgId" SET NOT NULL, ALTER "userId" SET NOT NULL;
        ALTER TABLE "Member" REPLICA IDENTITY USING INDEX key"#;
    let full = r#"ALTER TABLE "Member" REPLICA IDENTITY FULL"#;
    let twice = r#"ALTER TABLE "Member" REPLICA IDENTITY FULL; ALTER TABLE "Member" DROP id;
        INSERT INTO "Member" VALUES ('ada', 'acme', 'admin')"#;
    for identity in [index, full, twice] {
        let cluster = Cluster::start(SCHEMA);
        cluster.sql(identity);
        let mut drive = Drive::streaming(&cluster, rules());
        if identity == twice {
            cluster.sql(
                r#"DELETE FROM "Member" WHERE ctid = (SELECT min(ctid) FROM "Member" WHERE "userId" = 'ada')"#,
            );
            drive.catch_up(&cluster);
            assert!(revoked(&drive).is_empty() && role(&drive, "ada", "acme").is_some());
        }
        cluster.sql(r#"UPDATE "Member" SET role = 'x' WHERE "userId" = 'ada'"#);
        cluster.sql(r#"DELETE FROM "Member" WHERE "userId" = 'ada'"#);
        drive.catch_up(&cluster);
        let changed = ("ada in acme".to_owned(), CloseReason::RoleChanged);
        assert_eq!(
            revoked(&drive),
            [changed, lost("ada in acme")],
            "{identity}"
        );
        assert_eq!(drive.status().memberships.loads, 1);
    }
}

#[test]
fn rows_whose_identity_is_altered_are_read_again_before_anything_later() {
    let cluster = Cluster::start(SCHEMA);
    let mut drive = Drive::streaming(&cluster, rules());
    cluster.sql(r#"ALTER TABLE "Member" REPLICA IDENTITY FULL"#);
    cluster.sql(&format!(
        r#"BEGIN; DELETE FROM "Member" WHERE "userId" = 'ada'; {HORSE}; COMMIT"#
    ));
    drive.until("read again", |drive| drive.status().memberships.loads == 2);
    drive.catch_up(&cluster);
    assert_eq!(revoked(&drive), [lost("ada in acme")]);
    let place = |is: fn(&Batch) -> bool| drive.batches.iter().position(is);
    let (revoke, commit) = (
        place(|batch| matches!(batch, Batch::Revoke(_))),
        place(|batch| matches!(batch, Batch::Commit(_))),
    );
    assert!(revoke < commit, "{:?}", drive.batches);
    assert!(role(&drive, "ada", "acme").is_none() && role(&drive, "bob", "acme").is_some());
}

#[test]
fn a_column_of_the_users_is_a_membership_and_uuids_have_one_spelling() {
    let ada = "6f1c7b1e-0000-4000-8000-00000000000a";
    let cluster = Cluster::start(&format!(
        "CREATE TABLE users (id uuid PRIMARY KEY, tenant uuid, name text);
         INSERT INTO users VALUES ('{ada}', '{ada}'), (gen_random_uuid(), NULL);
         CREATE PUBLICATION tailrace FOR TABLE users"
    ));
    let mut drive = Drive::streaming(
        &cluster,
        rules_of(MembershipTable::new("users", "id", "tenant")),
    );
    let upper = ada.to_uppercase();
    let Admission::Admitted(place) = drive.admit(&upper, named(&upper)) else {
        panic!("a member")
    };
    assert_eq!(
        (place.user.as_str(), place.organisation.as_deref()),
        (ada, Some(ada))
    );
    assert_eq!(drive.status().memberships.count, 1);
    cluster.sql("UPDATE users SET name = 'Ada'");
    cluster.sql("UPDATE users SET tenant = NULL");
    drive.catch_up(&cluster);
    assert_eq!(revoked(&drive).len(), 1);
    assert_eq!(drive.admit(ada, Wanted::Only), Admission::NotAMember);
}

#[test]
fn what_was_lost_in_a_gap_is_lost_before_anything_behind_it() {
    let cluster = Cluster::start(SCHEMA);
    let mut drive = Drive::streaming(&cluster, rules());
    cluster.sql(END_STREAMS);
    cluster.sql(
        "SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots WHERE NOT temporary",
    );
    cluster.sql(r#"DELETE FROM "Member" WHERE "userId" = 'ada'"#);
    cluster.sql(r#"UPDATE "Member" SET role = 'owner' WHERE "orgId" = 'globex'"#);
    drive.until("a gap", |drive| {
        !drive.gaps().is_empty() && drive.status().ready
    });
    cluster.sql(HORSE);
    drive.catch_up(&cluster);
    let changed = ("bob in globex".to_owned(), CloseReason::RoleChanged);
    let mut all = revoked(&drive);
    all.sort_by(|one, other| one.0.cmp(&other.0));
    assert_eq!(all, [lost("ada in acme"), changed]);
    assert_eq!(
        (drive.status().memberships.loads, drive.frames.len()),
        (2, 1)
    );
    assert_eq!(role(&drive, "bob", "globex").as_deref(), Some("owner"));
}

#[test]
fn memberships_of_no_organisation_do_not_count() {
    let cluster = Cluster::start(SCHEMA);
    cluster.sql("INSERT INTO organization VALUES ('acme')");
    let mut rules = rules();
    rules.identity.organisation = Some(OrganisationTable {
        table: "organization".to_owned(),
        id: "id".to_owned(),
    });
    let mut drive = Drive::streaming(&cluster, rules);
    assert!(role(&drive, "ada", "acme").is_some() && role(&drive, "bob", "globex").is_none());
    cluster.sql("DELETE FROM organization");
    drive.catch_up(&cluster);
    let deleted = ("acme".to_owned(), CloseReason::OrganizationDeleted);
    assert_eq!(revoked(&drive), [deleted]);
    assert_eq!(
        (
            role(&drive, "ada", "acme"),
            drive.status().memberships.count
        ),
        (None, 0)
    );
}

#[test]
fn what_cannot_be_read_is_said_with_its_mend_and_nobody_is_let_in_until_it_is() {
    let cluster = Cluster::start(SCHEMA);
    cluster.sql(
        r#"CREATE ROLE node LOGIN REPLICATION; ALTER PUBLICATION tailrace DROP TABLE "Member""#,
    );
    let mut drive = Drive::with(&cluster, |config| {
        config.rules = rules();
        config.connect.user = "node".to_owned();
    });
    let trouble = |drive: &Drive| drive.status().memberships.trouble.unwrap_or_default();
    drive.until("unread", |drive| {
        trouble(drive).contains(r#"ADD TABLE "public"."Member""#)
    });
    assert_eq!(drive.admit("ada", Wanted::Only), Admission::NotReady);
    drive.until("said", |drive| drive.has_said("memberships=unread"));
    assert!(!drive.status().ready);
    // What is not for users goes on.
    cluster.sql(HORSE);
    drive.until("an event", |drive| drive.frames.len() == 1);
    cluster.sql(r#"ALTER PUBLICATION tailrace ADD TABLE "Member""#);
    drive.until("unread", |drive| {
        trouble(drive).contains(r#"GRANT SELECT ON "Member" TO "node""#)
    });
    cluster.sql(r#"GRANT SELECT ON "Member" TO node"#);
    drive.until("ready", |drive| drive.status().ready);
    assert_eq!(role(&drive, "ada", "acme").as_deref(), Some("admin"));
    drive.until("said", |drive| drive.has_said("memberships=read count=3"));
}

#[test]
fn where_there_are_more_than_may_be_kept_nobody_unknown_is_let_in() {
    let cluster = Cluster::start(SCHEMA);
    let mut drive = Drive::streaming(&cluster, rules_of(MembershipTable { max: 3, ..table() }));
    cluster.sql(r#"INSERT INTO "Member" ("userId", "orgId") VALUES ('eve', 'acme')"#);
    drive.catch_up(&cluster);
    assert_eq!(drive.admit("eve", named("acme")), Admission::NotReady);
    assert_eq!(role(&drive, "ada", "acme").as_deref(), Some("admin"));
    assert!(drive.status().memberships.full);
    // When there is room again, all are read again.
    cluster.sql(r#"DELETE FROM "Member" WHERE "userId" = 'bob'"#);
    drive.until("read again", |drive| drive.status().memberships.loads == 2);
    drive.until("ready", |drive| drive.status().ready);
    drive.catch_up(&cluster);
    assert!(role(&drive, "eve", "acme").is_some() && !drive.status().memberships.full);
}
