//! `tailrace publish`: the same events from the command line.

use std::fs;

use serde_json::json;

use crate::support::commands::said;
use crate::support::directory::Directory;
use crate::support::process::Program;
use crate::support::{Config, Database, Driver, Node};

#[test]
fn an_event_is_published_from_the_command_line() {
    let database = Database::new();
    let config = Config::new(&database, Driver::Epoll);
    let node = Node::start(&config);
    let mut alice = node.open("acme", "alice");
    let directory = Directory::new();
    let file = directory.join("tailrace.toml");
    fs::write(&file, config.render()).expect("the directory of a test can be written");
    let publish = |arguments: &[&str]| {
        let program = Program::new(env!("CARGO_BIN_EXE_tailrace"));
        let program = program.args(["publish", "--config", &file]);
        let program = arguments
            .iter()
            .fold(program, |program, argument| program.args([*argument]));
        said(&program)
    };
    let data = "{\"price\": 1.50}";
    for arguments in [
        &["--type", "a.b", "--organization", "acme", "--data", data] as &[&str],
        &["--type", "a.b", "--user", "alice", "--id", "once"],
        &["--type", "a.b", "--user", "alice", "--id", "once"],
        &["--type", "a.b", "--user", "carol", "--organization", "acme"],
        &["--type", "last", "--global", "--channel", "c"],
    ] {
        let said = publish(arguments);
        assert_eq!((said.status, said.error.as_str()), (0, ""), "{arguments:?}");
    }
    for (arguments, error) in [
        (&["--type", "a"] as &[&str], "--organization"),
        (&["--type", "bye", "--global"], "choose another type"),
        (
            &["--type", "a", "--global", "--user", "u"],
            "cannot be used with",
        ),
        (
            &["--type", "a", "--user", "u", "--data", "1,\"global\":true"],
            "--data",
        ),
    ] {
        let said = publish(arguments);
        assert!(
            said.status != 0 && said.error.contains(error),
            "{}",
            said.error
        );
    }
    let events = alice.events(3);
    let shown: Vec<_> = events
        .iter()
        .map(|event| (&event["channel"], &event["payload"]))
        .collect();
    let first = json!({"organizationId": "acme", "data": {"price": 1.50}});
    let own = json!({"userId": "alice", "data": null});
    let last = json!({"data": null});
    let channels = [json!("a"), json!("user:alice"), json!("c")];
    assert_eq!(
        shown,
        [
            (&channels[0], &first),
            (&channels[1], &own),
            (&channels[2], &last)
        ]
    );
    assert!(
        alice.has_received("1.50"),
        "data is passed on as it was said"
    );
}
