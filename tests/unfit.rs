//! A server that is not fit for a node: what the node says of it, and that doing so helps.

use std::sync::Arc;
use std::time::Duration;

use crate::support::postgres::Cluster;
use crate::support::{Config, Database, Driver, Node};

/// How long a node that cannot start may take to say so.
const REFUSED_MAX: Duration = Duration::from_secs(20);

// Case: 9
#[test]
fn a_server_that_does_not_decode_stops_the_start_with_the_statement_that_mends_it() {
    let cluster = Arc::new(Cluster::with_settings("wal_level = replica"));
    let database = cluster.create_database();
    let config = Config::new(&database, Driver::Epoll);
    let mut node = Node::launch(&config);
    assert!(!node.process().wait(REFUSED_MAX).success());
    let statement = "ALTER SYSTEM SET wal_level = 'logical'";
    assert!(node.log().contains(statement), "{}", node.log());
    cluster.sql().run(statement);
    cluster.kill();
    cluster.restart();
    drop(Node::start(&config));
}

// Case: 10
#[test]
fn a_role_without_the_right_is_told_at_the_start_and_by_readyz_until_it_has_it() {
    let cluster = Arc::new(Cluster::start());
    let database = cluster.create_database();
    cluster.sql().run("ALTER ROLE tailrace NOREPLICATION");
    let mut node = Node::launch(&Config::new(&database, Driver::Epoll));
    let mend = "ALTER ROLE \"tailrace\" REPLICATION;";
    node.wait_for_log("the role has no right to replicate");
    node.wait_for_log("SQLSTATE 42501");
    let reason = node.readiness()["reason"].to_string();
    assert!(reason.contains("REPLICATION;"), "{reason}");
    assert!(node.log().contains(mend), "{}", node.log());
    cluster.sql().run(mend);
    node.wait_ready();
}

#[test]
fn a_node_that_could_tell_nobody_to_leave_does_not_start() {
    let database = Database::new();
    let sql = database.connect();
    let config = Config::new(&database, Driver::Epoll);
    for (spoil, mend) in [
        (
            r#"ALTER PUBLICATION tailrace DROP TABLE "OrganizationMember""#,
            r#"ALTER PUBLICATION "tailrace" ADD TABLE "public"."OrganizationMember";"#,
        ),
        (
            r#"REVOKE SELECT ON "OrganizationMember" FROM tailrace"#,
            r#"GRANT SELECT ("organizationId", "userId", "role") ON "public"."OrganizationMember" TO "tailrace";"#,
        ),
    ] {
        sql.run(spoil);
        let mut node = Node::launch(&config);
        assert!(!node.process().wait(REFUSED_MAX).success());
        assert!(node.log().contains(mend), "{}", node.log());
        sql.run(mend);
    }
    let missing = config.clone().text("membership.user", "personId");
    let mut node = Node::launch(&missing);
    assert!(!node.process().wait(REFUSED_MAX).success());
    let says = r#"has no column "personId" (membership.user)"#;
    assert!(node.log().contains(says), "{}", node.log());
    // A table without the column of the default name has no roles.
    sql.run(r#"ALTER TABLE "OrganizationMember" DROP role"#);
    let node = Node::start(&config);
    let connected = node.open("acme", "alice").connected.clone();
    assert_eq!(connected["organization"]["role"], serde_json::Value::Null);
}
