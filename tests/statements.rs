//! What a node asks PostgreSQL, counted by PostgreSQL itself: by the statements in its log.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use crate::support::postgres::Cluster;
use crate::support::readers::Readers;
use crate::support::{Config, Driver, Node, Request, session};

/// Every statement stands in the log, behind the name of its role.
const SETTINGS: &str = "log_statement = 'all'\nlog_line_prefix = '%u '\n";

/// Sessions in a table, so many, each of a user of its own.
fn sessions(count: usize) -> String {
    format!(
        r#"CREATE TABLE "Session" (
               id text PRIMARY KEY,
               "sessionToken" text NOT NULL UNIQUE,
               "userId" text NOT NULL,
               expires timestamp(3) NOT NULL
           );
           ALTER PUBLICATION tailrace ADD TABLE "Session";
           GRANT SELECT ON "Session" TO tailrace;
           INSERT INTO "User" SELECT 'user-' || n, 'U', 'x' FROM generate_series(0, {count} - 1) n;
           INSERT INTO "OrganizationMember" ("organizationId", "userId")
           SELECT 'acme', 'user-' || n FROM generate_series(0, {count} - 1) n;
           INSERT INTO "Session" SELECT 's-' || n, 'token-of-session-' || n, 'user-' || n, now() + interval '1 day'
           FROM generate_series(0, {count} - 1) n;"#
    )
}

fn with_sessions(config: Config) -> Config {
    config
        .set("auth.mode", "[\"jwt\", \"session\"]")
        .text("session.table", "Session")
}

/// How many of the node's own statements the server has logged that name this.
fn statements(cluster: &Cluster, name: &str) -> usize {
    let log = cluster.log();
    let of_the_node = log
        .lines()
        .filter(|line| line.starts_with("tailrace LOG:  "));
    of_the_node.filter(|line| line.contains(name)).count()
}

#[test]
fn ten_thousand_sessions_cost_at_most_twenty_one_statements() {
    const STREAMS: usize = 10_000;
    /// Of one statement, on the average of a storm.
    const SESSIONS: usize = 500;
    /// Of one statement at most.
    const SESSIONS_MAX: usize = 640;
    const LIMIT: Duration = Duration::from_secs(120);
    // It wants the machine to itself, as far as it can have it.
    static ALONE: Mutex<()> = Mutex::new(());
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    let cluster = Arc::new(Cluster::with_settings(SETTINGS));
    let database = cluster.create_database();
    database.connect().run(&sessions(STREAMS));
    let mut config = with_sessions(Config::new(&database, Driver::Uring));
    config.descriptors = Some(20_000);
    let mut node = Node::start(&config.text("http.heartbeat", "10m"));
    // A session that is known before the restart is not known after it.
    let known = Request::stream("organizationId=acme");
    let known = known.field("cookie", "authjs.session-token=token-of-session-0");
    node.stream(&known);
    node.kill_and_launch();
    node.wait_ready();
    let before = statements(&cluster, "\"Session\"");
    let mut readers = Readers::of_sessions(node.address(), 4);
    readers.open(STREAMS);
    readers.wait_for(STREAMS, 0, LIMIT);
    assert_eq!(readers.count().lost, 0);
    let asked = statements(&cluster, "\"Session\"") - before;
    println!("{STREAMS} sessions: {asked} statements");
    assert!(asked <= 1 + STREAMS / SESSIONS, "{asked} statements");
    assert!(
        asked >= STREAMS / SESSIONS_MAX,
        "each was looked up: {asked} statements"
    );
}

#[test]
fn not_a_member_and_no_such_organisation_cost_and_say_the_same() {
    let cluster = Arc::new(Cluster::with_settings(SETTINGS));
    let database = cluster.create_database();
    database.connect().run(&sessions(2));
    let config = with_sessions(Config::new(&database, Driver::Uring));
    let others = config.clone().on_another_port();
    let others = others.text("engine.driver", Driver::Epoll.setting());
    // Whatever is asked about people, sessions and organisations.
    let asked =
        || ["\"Session\"", "\"Organization", "\"User\""].map(|table| statements(&cluster, table));
    for config in [config, others] {
        let node = Node::start(&config);
        // A token, a row that has to be looked up, and the same row, which is known by now.
        let of = |number: usize| {
            [
                format!("session={}", session::token("alice")),
                format!("authjs.session-token=token-of-session-{number}"),
                format!("authjs.session-token=token-of-session-{number}"),
            ]
        };
        let told = |organization: &str, cookies: [String; 3]| {
            cookies.map(|cookie| {
                let request = Request::stream(&format!("organizationId={organization}"));
                let before = asked();
                let answer = request.field("cookie", &cookie).send(node.address());
                let after = asked();
                let fields: Vec<usize> = after.iter().zip(before).map(|(a, b)| a - b).collect();
                (answer, fields)
            })
        };
        let foreign = told("globex", of(0));
        let absent = told("nobody", of(1));
        for ((foreign, asked), (absent, asked_of_absent)) in foreign.iter().zip(&absent) {
            assert_eq!(foreign.head.status, 403, "{foreign:?}");
            assert_eq!(format!("{foreign:?}"), format!("{absent:?}"), "to the byte");
            assert_eq!(asked, asked_of_absent);
        }
        let costs: Vec<usize> = foreign
            .iter()
            .map(|(_, asked)| asked.iter().sum())
            .collect();
        assert_eq!(
            costs,
            [0, 1, 0],
            "a session is looked up once, a membership never"
        );
    }
}
