//! What a publisher is told where PostgreSQL is away, late, or lost in the midst of it.

use std::sync::Arc;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::json;

use super::{ids, open, publish, publish_again};
use crate::support::pair::Pair;
use crate::support::postgres::Cluster;
use crate::support::{Config, Driver, Node, wait_until};

const LIMIT: Duration = Duration::from_secs(30);

#[test]
fn without_postgresql_nothing_is_pretended() {
    let cluster = Arc::new(Cluster::start());
    let pair = Pair::on(cluster.create_database(), |config| config);
    let mut alice = open(&pair, "acme", "alice");
    let body = |data: &str| json!({"type": "a", "organizationId": "acme", "data": data});
    ids(&publish(&pair.nodes[0], &body("before")));
    cluster.stop(Signal::INT);
    let asked = Instant::now();
    let response = publish(&pair.nodes[0], &body("marker-lost"));
    assert_eq!(response.head.status, 503, "{response:?}");
    assert_eq!(response.refusal().0, "unavailable");
    assert!(response.head.value("retry-after").is_some());
    assert!(asked.elapsed() < LIMIT, "it is refused, not held");
    assert!(
        !response.body.contains("correct-horse"),
        "no password is shown"
    );
    cluster.restart();
    let mut told = None;
    wait_until("it is published again", LIMIT, || {
        let response = publish_again(&pair.nodes[0], "after", &body("after"));
        told = (response.head.status == 202).then(|| ids(&response));
        told.is_some()
    });
    for stream in &mut alice {
        assert_eq!(stream.event()["payload"]["data"], "before");
        assert_eq!(stream.event()["payload"]["data"], "after");
        assert!(!stream.has_received("marker-lost"));
    }
}

/// A server process of PostgreSQL's that stands still.
struct Frozen(Pid);

impl Frozen {
    fn new(pid: &str) -> Self {
        let pid = Pid::from_raw(pid.parse().expect("a process id")).expect("it is not 0");
        kill_process(pid, Signal::STOP).expect("the server is ours");
        Self(pid)
    }
}

impl Drop for Frozen {
    fn drop(&mut self) {
        // It may have ended.
        let _ = kill_process(self.0, Signal::CONT);
    }
}

#[test]
fn what_is_committed_and_not_seen_yet_is_pending_and_comes() {
    let cluster = Arc::new(Cluster::start());
    let database = cluster.create_database();
    let node = Node::start(&Config::new(&database, Driver::Uring));
    let mut alice = node.open("acme", "alice");
    let body = json!({"type": "a", "organizationId": "acme", "data": "late"});
    let sql = cluster.sql();
    let walsender = Frozen::new(&sql.value("SELECT pid FROM pg_stat_replication"));
    let response = publish_again(&node, "k", &body);
    assert_eq!(response.head.status, 202);
    assert_eq!(response.json(), json!({"ids": [], "pending": true}));
    drop(walsender);
    let shown = alice.event();
    assert_eq!(shown["payload"]["data"], "late");
    let known = ids(&publish_again(&node, "k", &body));
    assert_eq!(json!(known[0]), shown["id"], "whoever asks again is told");
}

#[test]
fn what_nobody_knows_is_said_to_be_unknown() {
    let cluster = Arc::new(Cluster::start());
    let database = cluster.create_database();
    let node = Node::start(&Config::new(&database, Driver::Epoll));
    let mut alice = node.open("acme", "alice");
    let body = |data: &str| json!({"type": "a", "organizationId": "acme", "data": data});
    ids(&publish(&node, &body("first")));
    let writer = "SELECT pid FROM pg_stat_activity WHERE query LIKE '%pg_logical_emit_message%' \
                  AND pid <> pg_backend_pid()";
    let writer = Frozen::new(&cluster.sql().value(writer));
    let response = publish_again(&node, "k", &body("second"));
    assert_eq!(response.head.status, 504, "{response:?}");
    let (code, message) = response.refusal();
    assert_eq!(code, "outcome_unknown");
    assert!(message.contains("same Idempotency-Key"), "{message}");
    // Sent again it is written on another connection, and whatever becomes of the first, shown once.
    let told = ids(&publish_again(&node, "k", &body("second")));
    drop(writer);
    ids(&publish(&node, &body("third")));
    let shown = alice.events(3);
    let data: Vec<_> = shown
        .iter()
        .map(|event| &event["payload"]["data"])
        .collect();
    assert_eq!(data, ["first", "second", "third"]);
    assert_eq!(shown[1]["id"], told[0]);
}
