//! The way to PostgreSQL with TLS: what is encrypted and bound, and what is refused, with the mend.

use std::fs;
use std::sync::Arc;
use std::time::Duration;

use serde_json::json;

use crate::support::certificates::Authority;
use crate::support::http::Request;
use crate::support::postgres::Cluster;
use crate::support::{Config, Database, Driver, Node};

/// Nobody gets in over TCP without TLS.
const RULES: &str = "
local all all trust
hostssl all hashed 127.0.0.1/32 md5
hostssl all clear 127.0.0.1/32 password
hostssl all all 127.0.0.1/32 scram-sha-256
";

/// How long a node that cannot start may take to say so.
const REFUSED_MAX: Duration = Duration::from_secs(20);

/// A server that encrypts, a database on it, and the authority of its certificate in a file.
struct Encrypted {
    cluster: Arc<Cluster>,
    database: Database,
    roots: String,
}

impl Encrypted {
    fn new(authority: &Authority, host: &str) -> Self {
        let cluster = Arc::new(Cluster::encrypted(&authority.sign(host), RULES));
        let database = cluster.create_database();
        let roots = cluster.file("authority.pem");
        fs::write(&roots, authority.pem()).expect("the directory of a test can be written");
        Self {
            cluster,
            database,
            roots,
        }
    }

    fn usual() -> Self {
        Self::new(&Authority::new(&rcgen::PKCS_ECDSA_P256_SHA256), "localhost")
    }

    /// The database's address, by the name in its certificate.
    fn url(&self, parameters: &str) -> String {
        let url = self.database.url().replace("@127.0.0.1:", "@localhost:");
        format!("{url}?hostaddr=127.0.0.1&{parameters}")
    }

    fn verified(&self, more: &str) -> String {
        self.url(&format!(
            "sslmode=verify-full&sslrootcert={}{more}",
            self.roots
        ))
    }

    fn config(&self, url: &str) -> Config {
        Config::new(&self.database, Driver::Epoll).text("database.url", url)
    }

    /// A node that reads a row through this address, and writes an event.
    fn reads(&self, url: &str) -> Node {
        self.reads_with(&self.config(url))
    }

    fn reads_with(&self, config: &Config) -> Node {
        let node = Node::start(config);
        let mut alice = node.open("acme", "alice");
        self.database.connect().run(
            r#"INSERT INTO "Weather" VALUES ((SELECT count(*) FROM "Weather"), 'rain');
                   INSERT INTO "Property" ("id", "organizationId", "name")
                   SELECT 'p' || count(*), 'acme', 'Mill' FROM "Property""#,
        );
        let record = &alice.event()["payload"]["record"];
        assert_eq!(record["name"], json!("Mill"));
        // What is published over HTTP is written over a connection of ordinary SQL.
        let event = json!({ "type": "x.y", "organizationId": "acme", "data": 1 });
        let publish = Request::new("POST", "/api/realtime/publish");
        let response = publish.service().with_json(&event).send(node.address());
        assert_eq!(response.head.status, 202, "{response:?}");
        node
    }

    /// What a node that does not start says.
    fn refused(&self, url: &str) -> String {
        let mut node = Node::launch(&self.config(url));
        let status = node.process().wait(REFUSED_MAX);
        assert!(!status.success());
        let log = node.log();
        assert!(!log.contains("correct-horse"), "{log}");
        log
    }

    /// Which of the node's connections are encrypted: those of the walsender and the others.
    fn encrypted_connections(&self) -> String {
        self.database.connect().value(
            "SELECT string_agg(DISTINCT backend_type || ' ' || ssl, ', ' ORDER BY backend_type || ' ' \
             || ssl) FROM pg_stat_activity JOIN pg_stat_ssl USING (pid) WHERE application_name = \
             'tailrace'",
        )
    }
}

// Case: 1
#[test]
fn both_connections_are_encrypted_and_bound_to_the_certificate() {
    let server = Encrypted::usual();
    let _node = server.reads(&server.verified("&channel_binding=require"));
    let connections = server.encrypted_connections();
    assert_eq!(connections, "client backend true, walsender true");
}

#[test]
fn the_authorities_of_the_system_are_trusted_where_none_is_named() {
    let server = Encrypted::usual();
    let url = server.url("sslmode=verify-full");
    let config = server.config(&url).env("SSL_CERT_FILE", &server.roots);
    drop(server.reads_with(&config));
    let log = server.refused(&url);
    assert!(
        log.contains("not trusted") || log.contains("trusts no authority"),
        "{log}"
    );
}

#[test]
fn the_variables_of_libpq_say_it_all() {
    let server = Encrypted::usual();
    let url = server.database.url();
    let (rest, database) = url.rsplit_once('/').expect("the database is its end");
    let (_, port) = rest.rsplit_once(':').expect("the port stands before it");
    let config = server
        .config("")
        .without("database.url")
        .env("PGHOST", "localhost")
        .env("PGHOSTADDR", "127.0.0.1")
        .env("PGPORT", port)
        .env("PGUSER", "tailrace")
        .env("PGPASSWORD", "correct-horse")
        .env("PGDATABASE", database)
        .env("PGSSLMODE", "verify-full")
        .env("PGSSLROOTCERT", &server.roots)
        .env("PGCHANNELBINDING", "require");
    let _node = server.reads_with(&config);
    let connections = server.encrypted_connections();
    assert_eq!(connections, "client backend true, walsender true");
}

#[test]
fn much_comes_through_the_encryption() {
    let server = Encrypted::usual();
    let node = Node::start(&server.config(&server.verified("")));
    let mut alice = node.open("acme", "alice");
    server.database.connect().run(
        r#"INSERT INTO "Property" ("id", "organizationId", "name")
           SELECT 'q' || n, 'acme', repeat(md5(n::text), 100) FROM generate_series(1, 2000) AS n"#,
    );
    for (event, n) in alice.events(2000).iter().zip(1..) {
        assert_eq!(event["payload"]["record"]["id"], json!(format!("q{n}")));
    }
}

// Case: 1
#[test]
fn passwords_in_clear_text_and_md5_go_over_tls() {
    let server = Encrypted::usual();
    server.cluster.sql().run(
        "SET password_encryption = 'md5'; CREATE ROLE hashed LOGIN REPLICATION PASSWORD 'correct-horse';
         SET password_encryption = 'scram-sha-256';
         CREATE ROLE clear LOGIN REPLICATION PASSWORD 'correct-horse';",
    );
    server
        .database
        .connect()
        .run("GRANT SELECT ON ALL TABLES IN SCHEMA public TO hashed, clear");
    for role in ["hashed", "clear"] {
        let url = server
            .verified("")
            .replace("//tailrace:", &format!("//{role}:"));
        drop(server.reads(&url));
        // Neither proves anything that could be bound.
        let log = server.refused(&format!("{url}&channel_binding=require"));
        assert!(log.contains("channel binding"), "{log}");
    }
}

// Case: 1
#[test]
fn certificates_of_every_hash_are_bound_to_and_others_do_without() {
    let algorithms = [
        (&rcgen::PKCS_ECDSA_P384_SHA384, "&channel_binding=require"),
        // Its signature names no hash, so that nothing can be bound to it.
        (&rcgen::PKCS_ED25519, ""),
    ];
    for (algorithm, more) in algorithms {
        let server = Encrypted::new(&Authority::new(algorithm), "localhost");
        drop(server.reads(&server.verified(more)));
    }
}

// Case: 1
#[test]
fn a_wrong_password_is_said_once_and_never_shown() {
    let server = Encrypted::usual();
    let log = server.refused(
        &server
            .verified("")
            .replace(":correct-horse@", ":battery-staple@"),
    );
    assert_eq!(log.matches("28P01").count(), 1, "{log}");
    assert!(
        log.contains("ALTER ROLE") && !log.contains("battery"),
        "{log}"
    );
}

// Case: 4
#[test]
fn a_server_that_is_not_the_one_that_is_meant_is_refused() {
    let authority = Authority::new(&rcgen::PKCS_ECDSA_P256_SHA256);
    let server = Encrypted::new(&authority, "db.example");
    let log = server.refused(&server.verified(""));
    assert!(
        log.contains("not trusted") && log.contains("subjectAltName"),
        "{log}"
    );
    // The name is the only thing that is wrong with it.
    let authority_alone = format!("sslmode=verify-ca&sslrootcert={}", server.roots);
    drop(server.reads(&server.url(&authority_alone)));
    let other = Authority::new(&rcgen::PKCS_ECDSA_P256_SHA256);
    fs::write(&server.roots, other.pem()).expect("the directory of a test can be written");
    let log = server.refused(&server.url(&authority_alone));
    assert!(
        log.contains("not trusted") && log.contains("sslrootcert="),
        "{log}"
    );
    // Who does not look is told neither.
    drop(server.reads(&server.url("sslmode=require")));
    let log = server.refused(&server.url("sslmode=disable"));
    assert!(
        log.contains("no pg_hba.conf entry") && log.contains("sslmode=verify-full"),
        "{log}"
    );
}

// Case: 4
#[test]
fn a_server_without_tls_is_refused_unless_that_is_meant() {
    let database = Database::new();
    let remote = database.url().replace("@127.0.0.1:", "@db.example:");
    let config = |mode: &str| {
        let url = format!("{remote}?hostaddr=127.0.0.1&sslmode={mode}");
        Config::new(&database, Driver::Epoll).text("database.url", &url)
    };
    let mut node = Node::launch(&config("require"));
    assert!(!node.process().wait(REFUSED_MAX).success());
    let log = node.log();
    assert!(
        log.contains("has no TLS") && log.contains("sslmode=disable"),
        "{log}"
    );
    drop(Node::start(&config("disable")));
}

// Case: 4
#[test]
fn tls_begins_directly_from_17_on_and_is_refused_before() {
    let server = Encrypted::usual();
    let url = server.verified("&sslnegotiation=direct");
    let version = server.cluster.sql().value("SHOW server_version_num");
    if version.parse::<u32>().expect("a number") >= 170_000 {
        drop(server.reads(&url));
    } else {
        let log = server.refused(&url);
        assert!(log.contains("PostgreSQL 17"), "{log}");
    }
}
