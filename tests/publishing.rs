//! `docs/publishing.md`: its `tailrace.ts` is the file beside it, TypeScript takes it at its strictest, and
//! its calls publish over HTTP, over a database client and within transactions.

use serde_json::{Value, json};

use crate::revoke::prepared;
use crate::support::config::SERVICE_KEY;
use crate::support::directory::Directory;
use crate::support::process::Program;
use crate::support::{Config, Driver, Node, Request, World};

const FOLDER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/packages");

#[test]
fn the_page_has_the_file_as_it_is() {
    let page = include_str!("../docs/publishing.md");
    let block = page.split("```ts\n").nth(1).expect("the page has a block");
    let block = block.split("```\n").next().expect("it ends");
    assert_eq!(block, include_str!("../docs/tailrace.ts"));
}

/// The file as JavaScript, in a directory of its own.
fn compiled(directory: &Directory) -> String {
    let compiler = format!("{FOLDER}/node_modules/typescript/bin/tsc");
    assert!(
        std::fs::exists(&compiler).unwrap_or(false),
        "TypeScript is not installed: run `npm ci` in tests/packages, or script/test"
    );
    let file = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/tailrace.ts");
    let strict = "--strict --noUncheckedIndexedAccess --exactOptionalPropertyTypes \
                  --noImplicitReturns --noUnusedLocals --noUnusedParameters";
    let output = format!(
        "--target es2022 --lib es2022,dom --module commonjs --outDir {}",
        directory.path().display()
    );
    let options = strict.split_whitespace().chain(output.split_whitespace());
    let program = options.fold(Program::new("node").args([&compiler]), |program, option| {
        program.args([option])
    });
    program.args([file]).run();
    directory.join("tailrace.js")
}

/// Which of a script's events a stream has shown: type, channel, data.
fn shown(event: &Value) -> (&str, &str, &Value) {
    let text = |name: &str| event[name].as_str().expect("events have it");
    (text("type"), text("channel"), &event["payload"]["data"])
}

#[test]
fn its_calls_publish_over_either_way() {
    let directory = Directory::new();
    let world = World::with(Driver::Uring, |config| config);
    // A number for an id, as some applications have it.
    let mut alice = world.node.open("acme", "alice");
    world.database.connect().run(
        r#"INSERT INTO "User" VALUES ('42', 'Dana', '-');
           INSERT INTO "OrganizationMember" ("organizationId", "userId") VALUES ('acme', '42');
           INSERT INTO "Client" ("organizationId", name) VALUES ('acme', 'Ann')"#,
    );
    // What comes behind it in the log says that the node has read of the membership.
    assert_eq!(alice.event()["type"], "client.insert");
    let mut dana = world.node.open("acme", "42");
    let mut alice = world.node.open("acme", "alice");
    let url = format!("http://{}", world.node.address());
    let said = Program::new("node")
        .args([&format!("{FOLDER}/publishing.cjs")])
        .env("TAILRACE_JS", compiled(&directory))
        .env("NODE_URL", &url)
        .env("NODE_KEY", SERVICE_KEY)
        .env("DATABASE_URL", world.database.owner_url())
        .run();
    let said: Value = serde_json::from_str(&said).expect("it prints JSON");
    assert_eq!(
        said["http"],
        json!([true, true, true, true, true, true, true])
    );
    assert_eq!(said["database"], said["http"]);
    assert_eq!(said["failed"], json!([false, false, false, false, false]));
    let errors = said["errors"].as_array().expect("a list").iter();
    let errors: Vec<&str> = errors.filter_map(Value::as_str).collect();
    assert!(errors[0].starts_with("Tailrace answered 401"), "{errors:?}");
    assert!(errors[1].contains("options.audience"), "{errors:?}");
    assert!(errors[3].starts_with("Tailrace answered 400"), "{errors:?}");
    assert_eq!(errors.len(), 5, "{errors:?}");

    let activity = json!({"entityType": "client", "description": "Client \"Żółw\" was created"});
    let maintenance = json!({"message": "Scheduled maintenance in 10 minutes"});
    let (info, horse, foal) = (
        json!({"type": "info"}),
        json!({"id": 123}),
        json!({"id": 7}),
    );
    let all = [
        ("activity:new", "activity", &activity),
        ("maintenance:scheduled", "global", &maintenance),
        ("notification", "user:42", &info),
        ("horses:created", "user:42", &horse),
        ("pregnancy:confirmed", "breeding", &foal),
        ("horse:shared", "stable:123", &Value::Null),
        ("horses:updated", "horses", &horse),
    ];
    let rest = [
        ("committed", "committed", &Value::Null),
        ("last", "last", &Value::Null),
    ];
    let for_dana: Vec<_> = [&all[..], &all, &rest].concat();
    let for_alice = for_dana
        .iter()
        .filter(|(_, channel, _)| *channel != "user:42");
    let for_alice: Vec<_> = for_alice.copied().collect();
    for (stream, expected) in [(&mut dana, for_dana), (&mut alice, for_alice)] {
        let events = stream.events(expected.len());
        let events: Vec<_> = events.iter().map(shown).collect();
        assert_eq!(events, expected);
    }
}

#[test]
fn what_the_page_asks_over_http_is_answered_as_it_says() {
    let page = include_str!("../docs/publishing.md");
    let database = prepared();
    let node = Node::start(&Config::new(&database, Driver::Epoll));
    let mut alice = node.open("acme", "alice");
    let here = format!("http://{}/", node.address());
    let mut answers = page.split("```sh\n").skip(1).map(|block| {
        let command = block.split("```").next().expect("it ends");
        let command = command.trim_end().replace("http://127.0.0.1:4000/", &here);
        let command = format!("{command} --silent --show-error --write-out ' %{{http_code}}'");
        Program::new("sh")
            .args(["-c", &command])
            .env("KEY", SERVICE_KEY)
            .run()
    });
    let published = answers.next().expect("the page publishes");
    assert!(published.ends_with(" 202"), "{published}");
    assert_eq!(alice.event()["payload"]["data"], json!({"id": 7}));
    let revoked = answers.next().expect("and throws somebody out");
    assert!(revoked.ends_with(" 202"), "{revoked}");
    assert_eq!(answers.next(), None);
}

#[test]
fn what_the_page_shows_of_sql_and_of_an_event_is_so() {
    let page = include_str!("../docs/publishing.md");
    let block = |language: &str| {
        let block = page.split(&format!("```{language}\n")).nth(1);
        block
            .and_then(|rest| rest.split("```").next())
            .expect("the page has it")
    };
    let world = World::new(Driver::Epoll);
    let mut alice = world.node.open("acme", "alice");
    world.database.connect().run(
        r#"INSERT INTO "User" VALUES ('42', 'Dana', '-');
           INSERT INTO "OrganizationMember" ("organizationId", "userId") VALUES ('acme', '42');
           INSERT INTO "Client" ("organizationId", name) VALUES ('acme', 'Ann')"#,
    );
    // What comes behind it in the log says that the node has read of the membership.
    assert_eq!(alice.event()["type"], "client.insert");
    let mut dana = world
        .node
        .stream(&Request::stream("organizationId=acme").user("42"));
    world.database.connect().run(block("sql"));
    let shown = dana.event();
    let mut expected: Value = serde_json::from_str(block("json")).expect("it is JSON");
    for member in ["id", "timestamp"] {
        expected[member] = shown[member].clone();
    }
    assert_eq!(shown, expected);
}
