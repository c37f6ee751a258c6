//! What an operator looks at: `/livez`, `/readyz`, `/metrics` and the log.

use std::time::Duration;

use crate::support::commands;
use crate::support::config::SERVICE_KEY;
use crate::support::directory::Directory;
use crate::support::process::Program;
use crate::support::{Config, Database, Driver, Node, Request, World};
use crate::support::{on_both_drivers, session, wait_until};

on_both_drivers!(
    the_driver_is_the_one_that_was_asked_for,
    a_node_is_alive_before_it_is_ready,
    metrics_count_what_happens,
    the_start_says_what_the_node_can_hold,
    the_log_tells_who_came_and_went,
    the_log_says_what_is_wrong_with_the_configuration,
    without_a_publication_it_prints_the_statement_that_makes_one,
);

fn the_driver_is_the_one_that_was_asked_for(driver: Driver) {
    // Where the kernel refuses io_uring this fails; it does not skip.
    let world = World::new(driver);
    let readiness = world.node.readiness();
    assert_eq!(readiness["ready"], true);
    assert_eq!(readiness["driver"], driver.reported(), "{readiness}");
    assert_eq!(world.node.get("/livez").head.status, 200);
}

fn a_node_is_alive_before_it_is_ready(driver: Driver) {
    let database = Database::new();
    let sql = database.connect();
    // A slot is created once every transaction that writes has ended: this one takes its time.
    sql.run(r#"BEGIN; INSERT INTO "Weather" VALUES (1, 'fog')"#);
    let mut node = Node::launch(&Config::new(&database, driver));
    let limit = Duration::from_secs(20);
    let request = Request::get("/readyz");
    let mut answer = None;
    wait_until("it waits for the slot", limit, || {
        answer = request.try_send(node.address()).ok();
        answer
            .as_ref()
            .is_some_and(|answer| answer.body.contains("waiting for slot"))
    });
    let answer = answer.expect("it has answered");
    assert_eq!(answer.head.status, 503);
    assert_eq!(answer.json()["ready"], false);
    assert!(answer.head.value("retry-after").is_some() || answer.json()["reason"].is_string());
    assert_eq!(node.get("/livez").head.status, 200);
    // A native EventSource would give up on a 503, so it is told softly; our client is not.
    let request = Request::stream("organizationId=acme").user("alice");
    let soft = request.send(node.address());
    assert_eq!(soft.head.status, 200, "{soft:?}");
    assert!(
        soft.body.starts_with("retry: ") && soft.body.contains("event: refused\n"),
        "{soft:?}"
    );
    let hard = request
        .field("x-tailrace-client", "test")
        .send(node.address());
    assert_eq!(hard.head.status, 503, "{hard:?}");
    assert!(hard.head.value("retry-after").is_some());
    sql.run("COMMIT");
    node.wait_ready();
    node.open("acme", "alice");
    drop(node);
}

fn metrics_count_what_happens(driver: Driver) {
    let world = World::new(driver);
    let mut alice = world.node.open("acme", "alice");
    let mut bob = world.node.open("globex", "bob");
    let refused = Request::stream("organizationId=globex").user("alice");
    assert_eq!(refused.send(world.node.address()).head.status, 403);
    let sql = world.database.connect();
    for organization in ["acme", "acme", "globex"] {
        sql.run(&format!(
            r#"INSERT INTO "Client" ("organizationId", name, "apiToken")
               VALUES ('{organization}', 'C', 'marker-token')"#
        ));
    }
    alice.events(2);
    bob.event();
    assert_eq!(
        world.node.resume("acme", "alice", "foreign").verdict(),
        "reset"
    );
    drop(bob);
    let limit = Duration::from_secs(20);
    // The lag counts what other databases of the server write, until a keepalive passes it.
    wait_until("the figures follow", limit, || {
        let metrics = world.node.metrics();
        metrics.value("tailrace_streams") == 1.0
            && metrics.value("tailrace_streams_opened_total") >= 3.0
            && metrics.sum("tailrace_deliveries_total") >= 3.0
            && metrics.value("tailrace_wal_lag_bytes") < 1024.0 * 1024.0
    });
    let metrics = world.node.metrics();
    assert_eq!(metrics.value("tailrace_streams_opened_total"), 3.0);
    assert_eq!(
        metrics.value("tailrace_streams_closed_total{reason=\"client_gone\"}"),
        2.0
    );
    assert_eq!(metrics.value("tailrace_events_total"), 3.0);
    assert_eq!(metrics.value("tailrace_deliveries_total"), 3.0);
    assert_eq!(
        metrics.value("tailrace_resets_total{reason=\"unknown_position\"}"),
        1.0
    );
    assert_eq!(metrics.value("tailrace_send_failures_total"), 0.0);
    assert_eq!(metrics.sum("tailrace_refusals_total"), 1.0);
    let withheld = metrics
        .names()
        .find(|name| name.starts_with("tailrace_withheld_columns"));
    assert!(withheld.is_some_and(|name| name.contains("Client") && name.contains("apiToken")));
    assert!(metrics.value("tailrace_wal_lag_seconds") < 60.0);
    assert!(metrics.value("tailrace_log_bytes") > 0.0);
    assert!(metrics.value("tailrace_log_span_seconds") < 60.0);
    assert!(metrics.has("tailrace_delivery_seconds", "histogram"));
    let small = "tailrace_delivery_seconds_count{class=\"small\"}";
    assert_eq!(metrics.value(small), 3.0, "every event has one class here");
    assert_eq!(metrics.value(&small.replace("small", "large")), 0.0);
    // No tenant's or person's name, and nothing of a payload.
    for name in metrics.names() {
        assert!(!name.contains("acme") && !name.contains("alice"), "{name}");
    }
}

fn the_start_says_what_the_node_can_hold(driver: Driver) {
    const DESCRIPTORS: u32 = 600;
    // Two engines; the rest is the node's own.
    const STREAMS: u32 = DESCRIPTORS - 64 - 2 * 4;
    let database = Database::new();
    let mut config = Config::new(&database, driver);
    config.descriptors = Some(DESCRIPTORS);
    let node = Node::start(&config);
    let says = format!("capacity {STREAMS}: limited by RLIMIT_NOFILE; ");
    let log = node.log();
    let line = log.lines().find(|line| line.contains(&says));
    let line = line.unwrap_or_else(|| panic!("{says:?} is not in: {log}"));
    assert!(line.contains("WARN"), "{line}");
    for mend in ["raise LimitNOFILE to ", "--ulimit nofile=", "ulimit -Hn "] {
        assert!(line.contains(mend), "{mend} is not in: {line}");
    }
    let metric = "tailrace_capacity_streams{limit=\"RLIMIT_NOFILE\"}";
    assert_eq!(node.metrics().value(metric), f64::from(STREAMS));

    // `check` looks with the same eyes.
    let directory = Directory::new();
    let file = directory.join("tailrace.toml");
    std::fs::write(&file, config.render()).expect("the directory of a test can be written");
    let check = Program::new(env!("CARGO_BIN_EXE_tailrace"))
        .args(["check", "--json", "--config", &file])
        .descriptors(DESCRIPTORS);
    let said = commands::said(&check).out;
    let says = format!("{STREAMS} streams: limited by RLIMIT_NOFILE (600 descriptors)");
    assert!(said.contains(&says), "{says:?} is not in: {said}");
}

fn the_log_tells_who_came_and_went(driver: Driver) {
    let world = World::new(driver);
    let mut alice = world.node.open("acme", "alice");
    let id = alice.connected["connectionId"]
        .as_str()
        .expect("an id")
        .to_owned();
    assert_eq!(alice.connected["clientId"], alice.connected["connectionId"]);
    world.node.wait_for_log(&format!(
        "[SSE] Client connected: {id}, userId: alice, organization: acme"
    ));
    world.database.connect().run(
        r#"INSERT INTO "Property" ("organizationId", name) VALUES ('acme', 'marker-payload')"#,
    );
    alice.event();
    world
        .node
        .wait_for_log("[SSE] Published property.insert to 1 clients");
    drop(alice);
    world
        .node
        .wait_for_log(&format!("[SSE] Client disconnected: {id} (client_gone, "));
    let log = world.node.log();
    let line = log
        .lines()
        .find(|line| line.contains("Client disconnected"))
        .expect("it is there");
    assert!(line.contains(" s, 1 events)"), "{line}");
    let token = session::token("alice");
    let signature = token.rsplit('.').next().expect("three parts");
    for secret in ["marker-payload", signature, SERVICE_KEY, "correct-horse"] {
        assert!(!log.contains(secret), "{secret} in the log");
    }
}

fn the_log_says_what_is_wrong_with_the_configuration(driver: Driver) {
    let database = Database::new();
    let config = Config::new(&database, driver);
    let wrong = [
        (config.clone().set("http.hartbeat", "\"1s\""), "hartbeat"),
        (
            config.clone().text("http.heartbeat", "often"),
            "http.heartbeat",
        ),
        (
            config.clone().text("engine.driver", "kqueue"),
            "engine.driver",
        ),
        (config.text("http.listen", "nowhere"), "http.listen"),
    ];
    for (config, key) in wrong {
        let mut node = Node::launch(&config);
        let status = node.process().wait(Duration::from_secs(20));
        assert!(!status.success());
        let log = node.log();
        assert!(log.contains(key), "{key} is not in: {log}");
        assert!(
            !log.contains("panicked") && !log.contains("correct-horse"),
            "{log}"
        );
    }
}

fn without_a_publication_it_prints_the_statement_that_makes_one(driver: Driver) {
    let database = Database::new();
    database.connect().run("DROP PUBLICATION tailrace");
    let mut node = Node::launch(&Config::new(&database, driver));
    let status = node.process().wait(Duration::from_secs(20));
    assert!(!status.success());
    assert!(node.log().contains("CREATE PUBLICATION"), "{}", node.log());
    let count = database
        .connect()
        .value("SELECT count(*) FROM pg_publication");
    assert_eq!(count, "0", "the publication is made by a person");
}
