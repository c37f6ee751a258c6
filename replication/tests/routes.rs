//! `[[route]]`, and what the application says itself.

use replication::{Column, EventTypes, Organisation, Route, Rules};
use serde_json::{Value, json};
use wire::{Name, Topic};

use crate::cluster::Cluster;
use crate::drive::{Drive, json};

const SCHEMA: &str = r#"
    CREATE TABLE "Horse" (id text PRIMARY KEY, "organizationId" text, name text, token text);
    CREATE UNIQUE INDEX horse_identity ON "Horse" ("organizationId", id);
    ALTER TABLE "Horse" ALTER "organizationId" SET NOT NULL;
    ALTER TABLE "Horse" REPLICA IDENTITY USING INDEX horse_identity;
    CREATE TABLE "Note" (id text PRIMARY KEY, "organizationId" text, "userId" text, body text);
    ALTER TABLE "Note" REPLICA IDENTITY FULL;
    CREATE TABLE "User" (id text PRIMARY KEY, name text, email text, "passwordHash" text);
    CREATE TABLE setting (id text PRIMARY KEY, value text);
    CREATE PUBLICATION tailrace FOR TABLE "Horse", "Note", "User", setting;
"#;

fn name(text: &str) -> Name {
    Name::new(text).unwrap()
}

fn column(name: &str, renamed: Option<&str>) -> Column {
    Column {
        name: name.to_owned(),
        renamed: renamed.map(str::to_owned),
    }
}

fn rules() -> Rules {
    let horses = Route {
        types: EventTypes::uniform("{channel}:{created|updated|deleted}".parse().unwrap()),
        channel: Some(name("horses")),
        columns: Some(vec![column("id", None), column("name", Some("called"))]),
        roles: Some(vec![name("owner")]),
        ..Route::new("public.Horse")
    };
    let notes = Route {
        user: Some("userId".to_owned()),
        ..Route::new("Note")
    };
    let users = Route {
        columns: Some(vec![column("id", None), column("name", None)]),
        organisation: Some(Organisation::Constant("acme".to_owned())),
        ..Route::new("User")
    };
    let settings = Route {
        organisation: Some(Organisation::Constant("acme".to_owned())),
        types: EventTypes::uniform("settings".parse().unwrap()),
        ..Route::new("setting")
    };
    let rules = Rules {
        routes: vec![horses, notes, users, settings],
        ..Rules::default()
    };
    rules.check().unwrap();
    rules
}

#[test]
fn a_route_names_types_channel_columns_and_roles() {
    let cluster = Cluster::start(SCHEMA);
    let mut drive = Drive::streaming(&cluster, rules());
    cluster.sql(r#"INSERT INTO "Horse" VALUES ('h1', 'acme', 'Star', 'hidden')"#);
    cluster.sql(r#"UPDATE "Horse" SET name = 'Sun'; DELETE FROM "Horse""#);
    drive.catch_up(&cluster);
    let events = drive.events("acme");
    let types: Vec<&Value> = events.iter().map(|event| &event["type"]).collect();
    assert_eq!(
        types,
        ["horses:created", "horses:updated", "horses:deleted"]
    );
    assert!(events.iter().all(|event| event["channel"] == "horses"));
    assert_eq!(
        events[0]["payload"]["record"],
        json!({"id": "h1", "called": "Star"})
    );
    assert_eq!(events[0]["payload"]["withheld"], json!(["token"]));
    assert_eq!(events[2]["payload"]["old"], json!({"id": "h1"}));
    let roles = drive.frames[0].audience().roles.clone().unwrap();
    assert_eq!(roles.as_ref(), [name("owner")]);
    assert!(!format!("{:?}", drive.frames).contains("hidden"));
}

#[test]
fn a_row_of_a_user_goes_to_the_user_alone_and_moves_with_the_user() {
    let cluster = Cluster::start(SCHEMA);
    let mut drive = Drive::streaming(&cluster, rules());
    cluster.sql(r#"INSERT INTO "Note" VALUES ('n1', 'acme', 'alice', 'hello')"#);
    cluster.sql(r#"UPDATE "Note" SET "userId" = 'carol', body = 'secretly'"#);
    cluster.sql(r#"INSERT INTO "Note" VALUES ('n2', 'acme', NULL, 'nobody')"#);
    drive.catch_up(&cluster);
    assert_eq!(drive.events("acme"), [] as [Value; 0]);
    let actions = |user: &str| -> Vec<Value> {
        let events = drive.events_of(Topic::User(drive.keys.user(user)));
        events
            .iter()
            .map(|event| event["payload"]["action"].clone())
            .collect()
    };
    assert_eq!(actions("alice"), ["insert", "delete"]);
    assert_eq!(actions("carol"), ["insert"]);
    let alice = drive.events_of(Topic::User(drive.keys.user("alice")));
    assert!(!format!("{alice:?}").contains("secretly"));
    let within = Some(drive.keys.organisation("acme"));
    assert!(
        drive
            .frames
            .iter()
            .all(|frame| frame.audience().within == within)
    );
    assert_eq!(drive.status().unroutable, [("Note".to_owned(), 1)]);
}

#[test]
fn a_row_of_a_user_that_moves_between_organisations_leaves_the_one_and_enters_the_other() {
    let cluster = Cluster::start(SCHEMA);
    let mut drive = Drive::streaming(&cluster, rules());
    cluster.sql(r#"INSERT INTO "Note" VALUES ('n1', 'acme', 'carol', 'hello')"#);
    cluster.sql(r#"UPDATE "Note" SET "organizationId" = 'globex'"#);
    drive.catch_up(&cluster);
    let within = |name: &str| -> Vec<Value> {
        let within = Some(drive.keys.organisation(name));
        let frames = drive
            .frames
            .iter()
            .filter(|frame| frame.audience().within == within);
        frames
            .map(|frame| json(frame)["payload"]["action"].clone())
            .collect()
    };
    assert_eq!(
        (within("acme"), within("globex")),
        (
            vec![json!("insert"), json!("delete")],
            vec![json!("insert")]
        )
    );
    assert_eq!(drive.frames[1].id(), drive.frames[2].id());
}

#[test]
fn a_table_of_identity_shows_only_the_columns_that_are_named() {
    let cluster = Cluster::start(SCHEMA);
    let mut drive = Drive::streaming(&cluster, rules());
    cluster.sql(r#"INSERT INTO "User" VALUES ('u1', 'Ann', 'hidden@example.org', 'hidden')"#);
    cluster.sql("INSERT INTO setting VALUES ('s1', 'v'); DELETE FROM setting");
    drive.catch_up(&cluster);
    let events = drive.events("acme");
    assert_eq!(
        events[0]["payload"]["record"],
        json!({"id": "u1", "name": "Ann"})
    );
    assert_eq!(
        (&events[1]["type"], &events[2]["type"]),
        (&json!("settings"), &json!("settings"))
    );
    assert_eq!(events[2]["payload"]["old"], json!({"id": "s1"}));
    assert!(!format!("{:?}", drive.frames).contains("hidden"));
}

// Case: 37
#[test]
fn an_application_event_stands_among_the_rows_of_its_transaction() {
    let cluster = Cluster::start(SCHEMA);
    let mut drive = Drive::streaming(&cluster, rules());
    cluster.sql(
        r#"BEGIN; INSERT INTO "Horse" VALUES ('h1', 'acme', 'Star');
           SELECT pg_logical_emit_message(true, 'tailrace',
             '{"type":"horses:viewed","organizationId":"acme","data":{"by": "carol"}}');
           SELECT pg_logical_emit_message(true, 'elsewhere', 'not for us');
           INSERT INTO "Horse" VALUES ('h2', 'acme', 'Moon'); COMMIT;
           BEGIN; SELECT pg_logical_emit_message(true, 'tailrace',
             '{"type":"horses:viewed","organizationId":"acme"}'); ROLLBACK"#,
    );
    cluster.sql(
        r#"SELECT pg_logical_emit_message(true, 'tailrace', '{"type":"broken"');
           SELECT pg_logical_emit_message(true, 'tailrace', '{"type":"to.nobody"}');
           SELECT pg_logical_emit_message(false, 'tailrace',
             '{"type":"early","organizationId":"acme"}')"#,
    );
    drive.catch_up(&cluster);
    let events = drive.events("acme");
    let indexes: Vec<u32> = drive.frames.iter().map(|frame| frame.id().index).collect();
    assert_eq!((events.len(), indexes), (3, vec![1, 2, 4]));
    let said = json(&drive.frames[1]);
    assert_eq!(
        (&said["source"], &said["channel"]),
        (&json!("application"), &json!("horses"))
    );
    assert_eq!(
        said["payload"],
        json!({"organizationId": "acme", "data": {"by": "carol"}})
    );
    let refused = drive.status().refused_messages;
    let ours: Vec<_> = refused
        .iter()
        .filter(|(reason, _)| *reason != "prefix")
        .collect();
    let expected = [("not_transactional", 1), ("malformed", 1), ("nobody", 1)];
    assert_eq!(ours, expected.iter().collect::<Vec<_>>());
}
