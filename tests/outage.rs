//! PostgreSQL is out of reach, and with it whatever says who may see what: nobody new is let in, those
//! who are there stay for a while, and nobody is ever shown what they may not see any more.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use crate::support::cable::Cable;
use crate::support::http::Connection;
use crate::support::{Config, Database, End, Node, Pair, Request, Stream, wait_until};

const LIMIT: Duration = Duration::from_secs(60);

/// Two nodes at the far end of a cable.
struct Remote {
    // Dropped in this order: the nodes let go before the rest does.
    pair: Pair,
    cable: Cable,
}

impl Remote {
    fn with(change: impl FnOnce(Config) -> Config) -> Self {
        let database = Database::new();
        let cable = Cable::to(database.address());
        let url = database.url_through(cable.port());
        let pair = Pair::on(database, |config| change(config.text("database.url", &url)));
        Self { pair, cable }
    }

    fn insert(&self, id: &str) {
        self.pair.database.connect().run(&format!(
            r#"INSERT INTO "Property" (id, "organizationId", name) VALUES ('{id}', 'acme', 'P')"#
        ));
    }
}

/// Says that a stream is silent for a moment, and open.
fn assert_silent(stream: &mut Stream) {
    loop {
        match stream.try_next(Duration::from_millis(300)) {
            Ok(block) => assert!(!block.is_data() && block.event.as_deref() != Some("bye")),
            Err(end) => return assert_eq!(end, End::Silent),
        }
    }
}

fn is_let_in(node: &Node, request: &Request) -> bool {
    let hard = request.clone().field("x-tailrace-client", "test");
    let mut connection = Connection::open(node.address()).expect("the node takes connections");
    connection.send(&hard.bytes()).expect("it is read");
    let status = connection.read_head().expect("it is answered").status;
    assert!(matches!(status, 200 | 503), "{status}");
    status == 200
}

// What reliability calls E9.
#[test]
fn who_is_removed_while_the_database_is_out_of_reach_sees_nothing_of_what_follows() {
    let remote = Remote::with(|config| config);
    let nodes = &remote.pair.nodes;
    let mut alices: Vec<Stream> = nodes
        .iter()
        .map(|node| node.open("acme", "alice"))
        .collect();
    let mut carols: Vec<Stream> = nodes
        .iter()
        .map(|node| node.open("acme", "carol"))
        .collect();
    remote.insert("before");
    for stream in alices.iter_mut().chain(&mut carols) {
        assert_eq!(stream.event()["payload"]["record"]["id"], "before");
    }
    remote.cable.cut();
    let sql = remote.pair.database.connect();
    sql.run(r#"DELETE FROM "OrganizationMember" WHERE "userId" = 'alice'"#);
    remote.insert("after");
    // Nobody could be told yet, and nobody is shown anything.
    alices.iter_mut().chain(&mut carols).for_each(assert_silent);
    remote.cable.mend();
    for stream in &mut alices {
        let bye = stream.control("bye").json();
        assert_eq!(bye["reason"], "membership_revoked", "{bye}");
        assert!(!stream.has_received("after"), "she saw what came after");
    }
    for stream in &mut carols {
        assert_eq!(stream.event()["payload"]["record"]["id"], "after");
    }
    for node in nodes {
        let request = Request::stream("organizationId=acme").user("alice");
        assert_eq!(request.send(node.address()).head.status, 403);
    }
}

#[test]
fn after_the_grace_every_stream_of_a_user_ends_and_nobody_new_is_let_in() {
    let remote = Remote::with(|config| config.text("auth.grace", "3s"));
    let nodes = &remote.pair.nodes;
    let mut alices: Vec<Stream> = nodes
        .iter()
        .map(|node| node.open("acme", "alice"))
        .collect();
    let request = Request::stream("organizationId=acme").user("alice");
    remote.cable.cut();
    // They live on for the grace ...
    alices.iter_mut().for_each(assert_silent);
    // ... and no longer, since nobody could be told to leave.
    for stream in &mut alices {
        let bye = stream.control("bye").json();
        assert_eq!(bye["reason"], "feed_stale", "{bye}");
    }
    for node in nodes {
        wait_until("nobody new is let in", LIMIT, || !is_let_in(node, &request));
        assert_eq!(node.get("/readyz").head.status, 503);
        assert_eq!(node.get("/livez").head.status, 200);
        let soft = request.send(node.address());
        assert!(soft.body.contains("event: refused\n"), "{soft:?}");
    }
    remote.cable.mend();
    // The first one last: the grace is short, and a starved server may outlast it once more.
    for node in nodes.iter().rev() {
        wait_until("the node is ready again", LIMIT, || {
            node.get("/readyz").head.status == 200 && is_let_in(node, &request)
        });
    }
    let mut alice = nodes[0].open("acme", "alice");
    remote.insert("again");
    assert_eq!(alice.event()["payload"]["record"]["id"], "again");
}

#[test]
fn who_waits_for_a_place_is_not_let_in_when_everybody_has_to_leave() {
    let remote = Remote::with(|config| {
        let config = config.set("limits.connections_per_user", "1");
        config.text("auth.grace", "3s")
    });
    let node = &remote.pair.nodes[0];
    let mut alice = node.open("acme", "alice");
    remote.cable.cut();
    let request = Request::stream("organizationId=acme").user("alice");
    let request = request.field("x-tailrace-client", "test");
    let is_over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        // Each waits for up to a second, so that one is waiting at any moment.
        let newcomer = || {
            let mut seen = Vec::new();
            while !is_over.load(Ordering::Relaxed) {
                let connection = Connection::open(node.address());
                let mut connection = connection.expect("the node takes connections");
                connection.send(&request.bytes()).expect("it is read");
                seen.push(connection.read_head().expect("it is answered").status);
                std::thread::sleep(Duration::from_millis(20));
            }
            seen
        };
        let newcomers = [scope.spawn(newcomer), scope.spawn(newcomer)];
        let bye = alice.control("bye").json();
        assert_eq!(bye["reason"], "feed_stale", "{bye}");
        std::thread::sleep(Duration::from_millis(1_500));
        is_over.store(true, Ordering::Relaxed);
        for newcomer in newcomers {
            let seen = newcomer.join().expect("it asks until it is over");
            assert!(seen.contains(&503) && !seen.contains(&200), "{seen:?}");
        }
    });
}

#[test]
fn while_sessions_cannot_be_looked_up_nobody_new_is_let_in_and_streams_live_on() {
    let database = Database::new();
    let sql = database.connect();
    sql.run(
        r#"CREATE TABLE "Session" (
               id text PRIMARY KEY,
               "sessionToken" text NOT NULL UNIQUE,
               "userId" text NOT NULL,
               expires timestamp(3) NOT NULL
           );
           ALTER PUBLICATION tailrace ADD TABLE "Session";
           GRANT SELECT ON "Session" TO tailrace;
           INSERT INTO "Session" SELECT 's' || n, 'token-of-session-' || n, 'alice', now() + interval '1 day'
           FROM generate_series(1, 9) n;"#,
    );
    let pair = Pair::on(database, |config| {
        config
            .set("auth.mode", "[\"jwt\", \"session\"]")
            .text("session.table", "Session")
    });
    let of = |number: usize| {
        let cookie = format!("authjs.session-token=token-of-session-{number}");
        Request::stream("organizationId=acme").field("cookie", &cookie)
    };
    let mut streams: Vec<Stream> = pair.nodes.iter().map(|node| node.stream(&of(1))).collect();
    // The table is there, and says nothing: the store of sessions alone is away.
    sql.run(r#"REVOKE SELECT ON "Session" FROM tailrace"#);
    for (number, node) in pair.nodes.iter().enumerate() {
        assert!(!is_let_in(node, &of(2 + number)));
    }
    sql.run(r#"INSERT INTO "Property" (id, "organizationId", name) VALUES ('p', 'acme', 'P')"#);
    for stream in &mut streams {
        assert_eq!(stream.event()["payload"]["record"]["id"], "p");
    }
    sql.run(r#"GRANT SELECT ON "Session" TO tailrace"#);
    for (number, node) in pair.nodes.iter().enumerate() {
        wait_until("it is let in again", LIMIT, || {
            is_let_in(node, &of(4 + number))
        });
    }
}
