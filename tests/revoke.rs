//! `POST /api/realtime/revoke`: whoever is thrown out is so on every node, at its place in the log, and
//! stays out until the time that was said. Two nodes of two engines each where streams look on.

use std::time::Duration;

use serde_json::{Value, json};

use crate::support::commands::{psql, tailrace};
use crate::support::config::{ADMIN_KEY, SECRET};
use crate::support::http::Response;
use crate::support::pair::Pair;
use crate::support::session::{seconds_since_1970, signed};
use crate::support::sse::End;
use crate::support::{Config, Database, Driver, Node, Request, Stream, wait_until};

const PATH: &str = "/api/realtime/revoke";

const LIMIT: Duration = Duration::from_secs(30);

/// A database in which `init` has made what is missing.
pub(crate) fn prepared() -> Database {
    let database = Database::new();
    let url = database.owner_url();
    let said = tailrace(["init", "--database-url", &url, "--role", "tailrace"]);
    assert_eq!(said.status, 0, "{}", said.error);
    // Without what would change the server that tests share.
    let is_ours = |line: &&str| !line.starts_with("ALTER SYSTEM");
    let script: Vec<&str> = said.out.lines().filter(is_ours).collect();
    psql(&url, &script.join("\n"));
    database
}

fn revoke(node: &Node, body: &Value) -> Response {
    let request = Request::new("POST", PATH).service();
    request.with_json(body).send(node.address())
}

/// Revokes, and waits until the node has come to it.
fn revoked(node: &Node, body: &Value) {
    let response = revoke(node, body);
    assert_eq!(response.head.status, 202, "{response:?}");
    let answer = response.json();
    assert!(
        answer["id"].is_string() && answer.get("pending").is_none(),
        "{answer}"
    );
}

/// An hour from now, in milliseconds since 1970.
fn in_an_hour() -> u64 {
    (seconds_since_1970() + 3_600) * 1_000
}

/// The stream ends with a `bye` for this reason, and nothing before it.
fn ends(stream: &mut Stream, reason: &str) {
    assert_eq!(stream.control("bye").json()["reason"], reason);
    assert_eq!(stream.try_next(LIMIT), Err(End::Closed));
}

/// What a request for a stream of this session is told.
fn status(node: &Node, organization: &str, token: &str) -> u16 {
    let request = Request::stream(&format!("organizationId={organization}"));
    let request = request.field("cookie", &format!("session={token}"));
    let request = request.field("x-tailrace-client", "test");
    let mut connection =
        crate::support::http::Connection::open(node.address()).expect("it listens");
    connection
        .send(&request.bytes())
        .expect("it takes a request");
    connection.read_head().expect("it answers").status
}

/// A session of this user that was issued so many seconds ago.
fn session(user: &str, id: &str, ago: u64) -> String {
    let now = seconds_since_1970();
    let claims = json!({"sub": user, "jti": id, "iat": now - ago, "exp": now + 3_600});
    signed(&claims, SECRET)
}

fn insert(database: &Database, name: &str) {
    database.connect().run(&format!(
        r#"INSERT INTO "Property" ("organizationId", name) VALUES
           ('acme', '{name}'), ('globex', '{name}')"#
    ));
}

/// The names of the next rows that a stream shows.
fn names(stream: &mut Stream, count: usize) -> Vec<Value> {
    let events = stream.events(count).into_iter();
    events
        .map(|mut event| event["payload"]["record"]["name"].take())
        .collect()
}

#[test]
fn a_user_is_thrown_out_of_every_node_and_kept_out() {
    let pair = Pair::on(prepared(), |config| config);
    let open = |organization: &str, user: &str| {
        [0, 1, 0, 1].map(|at| pair.nodes[at].open(organization, user))
    };
    let (mut alice, mut carol, mut bob) = (
        open("acme", "alice"),
        open("acme", "carol"),
        open("globex", "bob"),
    );
    insert(&pair.database, "before");
    let body = json!({"userId": "alice", "until": in_an_hour()});
    revoked(&pair.nodes[0], &body);
    insert(&pair.database, "after");
    for stream in &mut alice {
        assert_eq!(names(stream, 1), ["before"]);
        ends(stream, "session_revoked");
        assert!(!stream.has_received("after"));
    }
    for stream in carol.iter_mut().chain(&mut bob) {
        assert_eq!(names(stream, 2), ["before", "after"], "nobody else notices");
    }
    for node in &pair.nodes {
        let token = session("alice", "s", 10);
        assert!([401, 403].contains(&status(node, "acme", &token)));
        assert_eq!(status(node, "globex", &session("bob", "s", 10)), 200);
    }
    // A node that starts then has read it.
    let late = Node::start(&Config::new(&pair.database, Driver::Uring));
    assert!([401, 403].contains(&status(&late, "acme", &session("alice", "s", 10))));
    assert_eq!(status(&late, "acme", &session("carol", "s", 10)), 200);
}

#[test]
fn who_signs_in_afterwards_comes_in_and_so_does_who_has_waited() {
    let pair = Pair::on(prepared(), |config| config);
    let mut alice = pair.nodes[1].open("acme", "alice");
    let minute_ago = (seconds_since_1970() - 60) * 1_000;
    let body = json!({"userId": "alice", "until": in_an_hour(), "issuedBefore": minute_ago});
    revoked(&pair.nodes[0], &body);
    ends(&mut alice, "reauthorize");
    for node in &pair.nodes {
        let old = session("alice", "old", 120);
        let both = |status_of_old: u16, status_of_new: u16| {
            [401, 403].contains(&status_of_old) && status_of_new == 200
        };
        wait_until("the node has come to it", LIMIT, || {
            let new = session("alice", "new", 0);
            both(status(node, "acme", &old), status(node, "acme", &new))
        });
    }
    // A time that has passed closes what is open, and keeps nobody out.
    let mut carol = pair.nodes[0].open("acme", "carol");
    let past = json!({"userId": "carol", "until": "2020-01-31T12:00:00Z"});
    revoked(&pair.nodes[1], &past);
    ends(&mut carol, "session_revoked");
    drop(pair.nodes[0].open("acme", "carol"));
}

#[test]
fn a_session_or_an_organisation_or_a_member_is_thrown_out_alone() {
    let pair = Pair::on(prepared(), |config| config);
    let open = |organization: &str, token: &str, at: usize| {
        let request = Request::stream(&format!("organizationId={organization}"));
        pair.nodes[at].stream(&request.field("cookie", &format!("session={token}")))
    };
    let (one, other) = (session("alice", "s-1", 5), session("alice", "s-2", 5));
    let carols = session("carol", "s-3", 5);
    let mut of_one = open("acme", &one, 0);
    let mut of_other = open("acme", &other, 1);
    let mut carol = open("acme", &carols, 1);
    let mut carol_at_globex = open("globex", &carols, 0);
    let node = &pair.nodes[0];
    revoked(node, &json!({"session": "s-1", "until": in_an_hour()}));
    ends(&mut of_one, "session_revoked");
    let member = json!({"userId": "carol", "organizationId": "acme", "until": in_an_hour()});
    revoked(node, &member);
    ends(&mut carol, "membership_revoked");
    insert(&pair.database, "between");
    assert_eq!(names(&mut of_other, 1), ["between"]);
    revoked(
        node,
        &json!({"organizationId": "acme", "until": in_an_hour()}),
    );
    ends(&mut of_other, "membership_revoked");
    insert(&pair.database, "after");
    assert_eq!(names(&mut carol_at_globex, 2), ["between", "after"]);
    assert!([401, 403].contains(&status(node, "acme", &other)));
    assert_eq!(status(node, "globex", &carols), 200);
}

#[test]
fn without_its_table_it_says_what_makes_it() {
    let database = Database::new();
    let node = Node::start(&Config::new(&database, Driver::Epoll));
    let body = json!({"userId": "alice", "until": in_an_hour()});
    let lacks = |what: &str| {
        let response = revoke(&node, &body);
        assert_eq!(response.head.status, 501, "{response:?}");
        let (code, message) = response.refusal();
        assert_eq!(code, "not_implemented");
        assert!(
            message.contains(what) && message.contains("`tailrace init`"),
            "{message}"
        );
    };
    lacks("there is no table");
    let sql = database.connect();
    sql.run(
        "CREATE SCHEMA tailrace;
         CREATE TABLE tailrace.revocation (
             id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, \"user\" text, session text,
             organization text, issued_before timestamptz, until timestamptz NOT NULL)",
    );
    lacks("may not write");
    sql.run(
        "GRANT USAGE ON SCHEMA tailrace TO tailrace;
         GRANT SELECT, INSERT ON tailrace.revocation TO tailrace",
    );
    lacks("not in the publication");
    assert_eq!(sql.value("SELECT count(*) FROM tailrace.revocation"), "0");
}

#[test]
fn a_revocation_that_cannot_be_meant_is_refused_by_its_status() {
    let database = prepared();
    let node = Node::start(&Config::new(&database, Driver::Uring));
    let good = json!({"userId": "alice", "until": in_an_hour()});
    let status = |request: &Request| request.send(node.address()).head.status;
    let post = || Request::new("POST", PATH);
    assert_eq!(status(&post().with_json(&good)), 401);
    assert_eq!(status(&post().user("alice").with_json(&good)), 401);
    let admin = post().field("authorization", &format!("Bearer {ADMIN_KEY}"));
    assert_eq!(status(&admin.with_json(&good)), 403);
    let text = post().service().field("content-type", "text/plain");
    assert_eq!(status(&text.body(&good.to_string())), 415);
    assert_eq!(status(&Request::get(PATH).service()), 405);
    for body in [
        "",
        "not JSON",
        r#"{"userId": "alice"}"#,
        r#"{"until": 1900000000000}"#,
        r#"{"userId": "", "until": 1900000000000}"#,
        r#"{"userId": "a", "session": "s", "until": 1900000000000}"#,
        r#"{"userId": "a", "until": "tomorrow"}"#,
        r#"{"userId": "a", "until": "2026-13-41T00:00:00Z"}"#,
        r#"{"userId": "a", "until": "9999999-01-01"}"#,
        r#"{"userId": "a", "until": -1}"#,
        r#"{"userId": "a", "until": 1900000000000, "reason": "?"}"#,
    ] {
        assert_eq!(status(&post().service().body(body)), 400, "{body}");
    }
    let count = "SELECT count(*) FROM tailrace.revocation";
    assert_eq!(database.connect().value(count), "0");
    let evil = json!({
        "userId": "'); DROP TABLE tailrace.revocation; --\n\u{1f40e}",
        "until": "2030-01-31 12:00:00.5+01:00", "issuedBefore": 1,
    });
    assert_eq!(status(&post().service().with_json(&evil)), 202);
    let row = r#"SELECT "user" || ' ' || extract(epoch FROM until) || ' '
                 || extract(epoch FROM issued_before) FROM tailrace.revocation"#;
    let expected = format!(
        "{} 1896087600.500000 0.001000",
        evil["userId"].as_str().expect("a text")
    );
    assert_eq!(database.connect().value(row), expected);
}
