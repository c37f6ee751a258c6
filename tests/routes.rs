//! `[[route]]`: types, channels, columns and users that the configuration says by hand.

use std::time::Duration;

use serde_json::json;

use crate::support::{Driver, World, on_both_drivers, wait_until};

on_both_drivers!(
    a_route_has_types_a_channel_and_columns_of_its_own,
    a_template_names_every_action,
    a_route_with_a_user_reaches_that_user_alone,
    a_table_without_an_organisation_is_counted_and_not_guessed,
);

fn a_route_has_types_a_channel_and_columns_of_its_own(driver: Driver) {
    let route = "
[[route]]
table = \"Activity\"
type = { insert = \"user.activity\", delete = \"user.forgotten\" }
channel = \"feed\"
columns = { id = \"id\", verb = \"action\" }
";
    let world = World::with(driver, |config| config.with(route));
    let mut alice = world.node.open("acme", "alice");
    world.database.connect().run(
        r#"INSERT INTO "Activity" VALUES ('a', 'acme', 'signed', 'marker-internal');
           UPDATE "Activity" SET verb = 'read' WHERE id = 'a';
           DELETE FROM "Activity" WHERE id = 'a';"#,
    );
    let events = alice.events(3);
    let types: Vec<&str> = events
        .iter()
        .filter_map(|event| event["type"].as_str())
        .collect();
    assert_eq!(
        types,
        ["user.activity", "activity.update", "user.forgotten"]
    );
    assert!(events.iter().all(|event| event["channel"] == "feed"));
    assert_eq!(
        events[0]["payload"]["record"],
        json!({ "id": "a", "action": "signed" })
    );
    assert_eq!(events[2]["payload"]["old"], json!({ "id": "a" }));
    assert!(!alice.has_received("marker-internal"));
}

fn a_template_names_every_action(driver: Driver) {
    let route = "
[[route]]
table = \"public.Activity\"
type = \"{channel}:{created|updated|deleted}\"
";
    let world = World::with(driver, |config| config.with(route));
    let mut alice = world.node.open("acme", "alice");
    world.database.connect().run(
        r#"INSERT INTO "Activity" VALUES ('a', 'acme', 'signed', NULL);
           UPDATE "Activity" SET verb = 'read' WHERE id = 'a';
           DELETE FROM "Activity" WHERE id = 'a';"#,
    );
    let events = alice.events(3);
    let types: Vec<&str> = events
        .iter()
        .filter_map(|event| event["type"].as_str())
        .collect();
    assert_eq!(
        types,
        ["activity:created", "activity:updated", "activity:deleted"]
    );
}

fn a_route_with_a_user_reaches_that_user_alone(driver: Driver) {
    let route = "
[[route]]
table = \"Notification\"
type = \"notification.new\"
channel = \"notifications\"
user = \"userId\"
";
    let world = World::with(driver, |config| config.with(route));
    let mut alice = world.node.open("acme", "alice");
    let mut alice_again = world.node.open("acme", "alice");
    let mut carol = world.node.open("acme", "carol");
    let mut carol_at_globex = world.node.open("globex", "carol");
    world.database.connect().run(
        r#"INSERT INTO "Property" ("organizationId", name) VALUES ('acme', 'Before');
           INSERT INTO "Notification" VALUES ('n', 'acme', 'alice', 'marker-for-alice');
           INSERT INTO "Property" ("organizationId", name) VALUES ('acme', 'P');
           INSERT INTO "Property" ("organizationId", name) VALUES ('globex', 'P');"#,
    );
    for stream in [&mut alice, &mut alice_again] {
        assert_eq!(stream.event()["payload"]["record"]["name"], "Before");
        let notification = stream.event();
        assert_eq!(notification["type"], "notification.new");
        assert_eq!(notification["channel"], "notifications");
        assert_eq!(
            notification["payload"]["record"]["title"],
            "marker-for-alice"
        );
        assert_eq!(stream.event()["payload"]["record"]["name"], "P");
    }
    assert_eq!(carol.event()["payload"]["record"]["name"], "Before");
    assert_eq!(carol.event()["payload"]["record"]["name"], "P");
    assert_eq!(carol_at_globex.event()["type"], "property.insert");
    assert!(!carol.has_received("marker-for-alice"));
    assert!(!carol_at_globex.has_received("marker-for-alice"));
}

fn a_table_without_an_organisation_is_counted_and_not_guessed(driver: Driver) {
    let world = World::new(driver);
    let mut alice = world.node.open("acme", "alice");
    world.database.connect().run(
        r#"INSERT INTO "Weather" VALUES (1, 'marker-weather'), (2, 'marker-weather');
           INSERT INTO "Property" (id, "organizationId", name) VALUES ('p', 'acme', 'P');"#,
    );
    assert_eq!(alice.event()["payload"]["record"]["id"], "p");
    assert!(!alice.has_received("marker-weather"));
    // Counted by the thread that reads, shown a moment later.
    wait_until("both are counted", Duration::from_secs(20), || {
        let metrics = world.node.metrics();
        let of_weather = |name: &&str| name.contains("Weather");
        let unroutable: Vec<&str> = metrics.names().filter(of_weather).collect();
        matches!(unroutable[..], [name] if metrics.value(name) == 2.0)
    });
}
