//! Sessions of the real libraries, from their own sign-in to the node's `connected`, and to the end of
//! the stream when the library ends them. The applications are in `tests/packages`; what they need in
//! the database beside their own tables is here.

pub(crate) mod application;
mod authjs;
mod better_auth;
mod documented;
mod introspection;
mod jwks;
mod next_auth;

use std::net::SocketAddr;
use std::time::Duration;

use serde_json::Value;

use crate::support::postgres::Cluster;
use crate::support::{
    Config, Database, End, Node, Pair, Request, Stream, becomes_true, wait_until,
};
pub(crate) use application::{Application, Browser};

/// How long what was committed may take to be known.
const KNOWN_MAX: Duration = Duration::from_secs(20);

/// Something of an organisation's that streams.
const TASKS: &str = r#"
CREATE TABLE "Task" (
    id text NOT NULL,
    "organizationId" text NOT NULL,
    PRIMARY KEY ("organizationId", id)
);
"#;

/// Who belongs to what, for the libraries that know nothing of it: as Prisma makes such tables.
const MEMBERS: &str = r#"
CREATE TABLE "OrganizationMember" (
    id text PRIMARY KEY DEFAULT gen_random_uuid()::text,
    "organizationId" text NOT NULL,
    "userId" text NOT NULL,
    role text NOT NULL DEFAULT 'member'
);
"#;

/// A database with nothing of the application's in it yet.
fn empty_database() -> Database {
    Cluster::shared().create_empty_database()
}

/// A database whose people are alice of acme and bob of globex, with no tables of a library's.
fn database_of_members() -> Database {
    let database = empty_database();
    database.connect().run(&format!(
        r#"{TASKS}{MEMBERS}
        INSERT INTO "OrganizationMember" ("organizationId", "userId", role)
        VALUES ('acme', 'alice', 'owner'), ('globex', 'bob', 'owner');"#
    ));
    publish(&database, &["Task", "OrganizationMember"]);
    database
}

/// Lets the node read these tables, in the stream and by SQL.
fn publish(database: &Database, tables: &[&str]) {
    let quoted: Vec<_> = tables.iter().map(|name| format!("\"{name}\"")).collect();
    let list = quoted.join(", ");
    database.connect().run(&format!(
        "CREATE PUBLICATION tailrace FOR TABLE {list}; GRANT SELECT ON {list} TO tailrace;"
    ));
}

/// The configuration of the tests without the sessions and the members that it has by default.
fn bare(config: Config) -> Config {
    config.without("auth.secret").without("membership.table")
}

/// Adds a row that streams.
fn add_task(database: &Database, organization: &str, id: &str) {
    database.connect().run(&format!(
        r#"INSERT INTO "Task" (id, "organizationId") VALUES ('{id}', '{organization}')"#
    ));
}

/// A request for the stream of an organisation with this `Cookie` field.
fn with_cookie(organization: &str, cookie: &str) -> Request {
    Request::stream(&format!("organizationId={organization}")).field("cookie", cookie)
}

/// The same with a token.
fn with_token(organization: &str, token: &str) -> Request {
    Request::stream(&format!("organizationId={organization}"))
        .field("authorization", &format!("Bearer {token}"))
}

/// What a request for a stream is answered; the stream itself is not waited for.
fn status(address: SocketAddr, request: &Request) -> u16 {
    let mut connection =
        crate::support::http::Connection::open(address).expect("the node takes connections");
    connection
        .send(&request.bytes())
        .expect("a fresh connection takes a request");
    connection
        .read_head()
        .expect("a request is answered")
        .status
}

/// Opens the stream on both nodes, once what was committed before is known there.
fn open_on_both(pair: &Pair, request: &Request) -> Vec<Stream> {
    let open = |node: &Node| {
        let address = node.address();
        // Asked so, who is put off for a moment is answered with a status and no stream.
        let hard = request.clone().field("x-tailrace-client", "test");
        let is_admitted = || status(address, &hard) == 200;
        assert!(
            becomes_true(KNOWN_MAX, is_admitted),
            "not admitted: {:?}",
            request.send(address)
        );
        node.stream(request)
    };
    pair.nodes.iter().map(open).collect()
}

/// Both nodes refuse it with this status, from now on.
fn is_refused_by_both(pair: &Pair, request: &Request, expected: u16) {
    for node in &pair.nodes {
        let response = request.send(node.address());
        assert_eq!(response.head.status, expected, "{response:?}");
        response.refusal();
    }
}

/// Every stream ends with a `bye` of this reason, and nothing stands between.
fn all_end(streams: Vec<Stream>, reason: &str) {
    for mut stream in streams {
        let bye = stream.control("bye").json();
        assert_eq!(bye["reason"], reason, "{bye}");
        assert_eq!(stream.try_next(KNOWN_MAX), Err(End::Closed));
    }
}

/// The streams go on: each shows a row that is written now.
fn all_live(pair: &Pair, streams: &mut [Stream], organization: &str, id: &str) {
    add_task(&pair.database, organization, id);
    for stream in streams {
        assert_eq!(stream.event()["payload"]["record"]["id"], id);
    }
}

/// A text in what a library answered.
fn text<'a>(answer: &'a Value, pointer: &str) -> &'a str {
    let found = answer.pointer(pointer).and_then(Value::as_str);
    found.unwrap_or_else(|| panic!("no {pointer} in {answer}"))
}

/// No secret of a session is in the log of either node.
fn logs_are_free_of(pair: &Pair, secrets: &[&str]) {
    for node in &pair.nodes {
        wait_until("the node logs", KNOWN_MAX, || !node.log().is_empty());
        for secret in secrets {
            assert!(!node.log().contains(secret), "a secret is in the log");
        }
    }
}
