//! Nothing crosses between organisations, and nothing that is withheld leaves. Judged by searching
//! every byte of every socket for markers, not by reading events.

use serde_json::json;

use crate::support::{Driver, Request, World, on_both_drivers};

on_both_drivers!(
    nothing_crosses_between_two_organisations,
    a_member_of_both_sees_one_at_a_time,
    a_channel_filters_every_event,
    several_channels_are_one_stream,
    no_withheld_column_leaves,
    a_route_lets_out_the_columns_it_names_and_no_other,
    a_service_key_reads_every_organisation,
);

fn nothing_crosses_between_two_organisations(driver: Driver) {
    let world = World::new(driver);
    let mut acme = world.node.open("acme", "alice");
    let mut globex = world.node.open("globex", "bob");
    let sql = world.database.connect();
    for round in 0..20 {
        for organization in ["acme", "globex"] {
            sql.run(&format!(
                r#"INSERT INTO "Property" (id, "organizationId", name)
                   VALUES ('{organization}-{round}', '{organization}', 'marker-of-{organization}');
                   UPDATE "Property" SET notes = 'marker-of-{organization}'
                   WHERE id = '{organization}-{round}';
                   DELETE FROM "Property" WHERE id = '{organization}-{round}';"#
            ));
        }
    }
    for (stream, own, other) in [
        (&mut acme, "acme", "globex"),
        (&mut globex, "globex", "acme"),
    ] {
        for event in stream.events(60) {
            assert_eq!(event["payload"]["organizationId"], own);
        }
        assert!(stream.has_received(&format!("marker-of-{own}")));
        assert!(!stream.has_received(other), "{other} on a stream of {own}");
    }
}

fn a_member_of_both_sees_one_at_a_time(driver: Driver) {
    let world = World::new(driver);
    let mut acme = world.node.open("acme", "carol");
    let mut globex = world.node.open("globex", "carol");
    let sql = world.database.connect();
    for organization in ["acme", "globex"] {
        sql.run(&format!(
            r#"INSERT INTO "Client" ("organizationId", name) VALUES ('{organization}', 'C')"#
        ));
    }
    assert_eq!(acme.event()["payload"]["organizationId"], "acme");
    assert_eq!(globex.event()["payload"]["organizationId"], "globex");
    assert_eq!(acme.connected["organization"]["role"], "member");
}

fn a_channel_filters_every_event(driver: Driver) {
    let world = World::new(driver);
    let query = "organizationId=acme&channel=property";
    let mut properties = world.node.stream(&Request::stream(query).user("alice"));
    assert_eq!(properties.connected["channels"], json!(["property"]));
    let sql = world.database.connect();
    sql.run(
        r#"INSERT INTO "Client" ("organizationId", name) VALUES ('acme', 'marker-client');
           INSERT INTO "Property" ("organizationId", name) VALUES ('acme', 'P');
           INSERT INTO "Client" ("organizationId", name) VALUES ('acme', 'marker-client');
           INSERT INTO "Property" ("organizationId", name) VALUES ('acme', 'Q');"#,
    );
    for event in properties.events(2) {
        assert_eq!(event["channel"], "property");
    }
    assert!(!properties.has_received("marker-client"));
}

fn several_channels_are_one_stream(driver: Driver) {
    let world = World::new(driver);
    let query = "organizationId=acme&channel=property,client,never-heard-of";
    let mut stream = world.node.stream(&Request::stream(query).user("alice"));
    let channels = stream.connected["channels"]
        .as_array()
        .expect("a list")
        .len();
    assert_eq!(channels, 3, "unknown names are accepted and echoed");
    world.database.connect().run(
        r#"INSERT INTO "Client" ("organizationId", name) VALUES ('acme', 'C');
           INSERT INTO "Activity" ("organizationId", verb) VALUES ('acme', 'marker-activity');
           INSERT INTO "Property" ("organizationId", name) VALUES ('acme', 'P');"#,
    );
    assert_eq!(stream.event()["channel"], "client");
    assert_eq!(stream.event()["channel"], "property");
    assert!(!stream.has_received("marker-activity"));
}

fn no_withheld_column_leaves(driver: Driver) {
    let world = World::new(driver);
    let mut member = world.node.open("acme", "alice");
    let everything = Request::stream("organizationId=*").service();
    let mut service = world.node.stream(&everything);
    world.database.connect().run(
        r#"INSERT INTO "Client" ("organizationId", name, "apiToken")
           VALUES ('acme', 'C', 'marker-token');
           UPDATE "Client" SET "apiToken" = 'marker-token-2';
           INSERT INTO "User" VALUES ('dave', 'Dave', 'marker-hash');
           UPDATE "User" SET "passwordHash" = 'marker-hash-2' WHERE id = 'alice';
           DELETE FROM "User" WHERE id = 'dave';
           UPDATE "OrganizationMember" SET role = 'marker-role' WHERE "userId" = 'carol';
           INSERT INTO "Property" (id, "organizationId", name) VALUES ('last', 'acme', 'P');"#,
    );
    for stream in [&mut member, &mut service] {
        for action in ["insert", "update"] {
            let payload = stream.event()["payload"].take();
            assert_eq!(payload["action"], action);
            assert_eq!(payload["withheld"], json!(["apiToken"]));
            assert_eq!(payload["record"].get("apiToken"), None);
        }
        // No person and no membership came between.
        assert_eq!(stream.event()["payload"]["record"]["id"], "last");
        for marker in ["marker-token", "marker-hash", "marker-role", "passwordHash"] {
            assert!(!stream.has_received(marker), "{marker}");
        }
    }
    for page in [world.node.metrics_page().body, world.node.log()] {
        for marker in ["marker-token", "marker-hash", "marker-role"] {
            assert!(!page.contains(marker), "{marker}");
        }
    }
}

fn a_route_lets_out_the_columns_it_names_and_no_other(driver: Driver) {
    let route = "
[[route]]
table = \"User\"
columns = [\"id\", \"name\"]
organization = { constant = \"acme\" }

[[route]]
table = \"Client\"
columns = [\"id\", \"apiToken\"]
";
    let world = World::with(driver, |config| config.with(route));
    let mut alice = world.node.open("acme", "alice");
    world.database.connect().run(
        r#"UPDATE "User" SET "passwordHash" = 'marker-hash', name = 'Alice A.' WHERE id = 'alice';
           INSERT INTO "Client" VALUES ('c', 'acme', 'marker-name', 'shown on purpose');"#,
    );
    let user = alice.event();
    assert_eq!(
        user["payload"]["record"],
        json!({ "id": "alice", "name": "Alice A." })
    );
    let client = alice.event();
    let record = json!({ "id": "c", "apiToken": "shown on purpose" });
    assert_eq!(client["payload"]["record"], record);
    assert!(!alice.has_received("marker-hash") && !alice.has_received("marker-name"));
}

fn a_service_key_reads_every_organisation(driver: Driver) {
    let world = World::new(driver);
    let mut one = world
        .node
        .stream(&Request::stream("organizationId=globex").service());
    let mut all = world
        .node
        .stream(&Request::stream("organizationId=*").service());
    world.database.connect().run(
        r#"INSERT INTO "Property" ("organizationId", name) VALUES ('acme', 'marker-of-acme');
           INSERT INTO "Property" ("organizationId", name) VALUES ('globex', 'P');"#,
    );
    assert_eq!(one.event()["payload"]["organizationId"], "globex");
    assert!(!one.has_received("marker-of-acme"));
    assert_eq!(all.event()["payload"]["organizationId"], "acme");
    assert_eq!(all.event()["payload"]["organizationId"], "globex");
}
