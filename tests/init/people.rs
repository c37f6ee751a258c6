//! The tables of the libraries that sign people in: `init` knows them, takes of them what a node needs
//! and nothing else, and the configuration that it writes is one that `check` is content with.

use std::fs;

use super::Fresh;
use crate::support::Database;
use crate::support::commands::{psql, tailrace};
use crate::support::directory::Directory;
use crate::support::postgres::Cluster;
use crate::support::process::Program;

/// What Better Auth's own migration makes, with its plugins for organisations and administrators.
const BETTER_AUTH: &str = r#"
CREATE TABLE "user" (
    id text PRIMARY KEY, name text NOT NULL, email text NOT NULL UNIQUE, role text, banned boolean,
    "banReason" text, "banExpires" timestamptz);
CREATE TABLE session (
    id text PRIMARY KEY, "expiresAt" timestamptz NOT NULL, token text NOT NULL UNIQUE,
    "ipAddress" text, "userId" text NOT NULL REFERENCES "user" ON DELETE CASCADE,
    "activeOrganizationId" text);
CREATE TABLE account (
    id text PRIMARY KEY, "userId" text NOT NULL REFERENCES "user" ON DELETE CASCADE, password text);
CREATE TABLE organization (id text PRIMARY KEY, name text NOT NULL);
CREATE TABLE member (
    id text PRIMARY KEY, "organizationId" text NOT NULL REFERENCES organization ON DELETE CASCADE,
    "userId" text NOT NULL REFERENCES "user" ON DELETE CASCADE, role text NOT NULL);
CREATE TABLE horse (id text PRIMARY KEY, "organizationId" text NOT NULL);
"#;

/// An application with Auth.js' adapter for Prisma, whose users have one tenant each.
const AUTH_JS: &str = r#"
CREATE TABLE "User" (
    id text PRIMARY KEY, email text UNIQUE, "passwordHash" text, "tenantId" text, role text);
CREATE TABLE "Session" (
    id text PRIMARY KEY, "sessionToken" text NOT NULL UNIQUE, "userId" text NOT NULL REFERENCES "User",
    expires timestamp(3) NOT NULL);
CREATE TABLE "Horse" (id text PRIMARY KEY, "tenantId" text NOT NULL);
"#;

/// A database with these tables, and a role's name that no other test has.
fn fresh(tables: &str) -> Fresh {
    let database = Cluster::shared().create_empty_database();
    psql(&database.owner_url(), tables);
    let role = format!("node_{}", database.name());
    Fresh { database, role }
}

/// The configuration in what was printed.
fn configuration(script: &str) -> String {
    let text = script
        .split("tailrace.toml:\n")
        .nth(1)
        .expect("a configuration");
    text.split("*/").next().expect("it ends").to_owned()
}

/// Runs what was printed, and looks at the database as the role, with the configuration that was written
/// and a variable of the application.
fn is_well(fresh: &Fresh, script: &str, variable: (&str, &str), modes: &str) {
    let Fresh { database, role } = fresh;
    psql(&database.owner_url(), &Fresh::harmless(script));
    let password = format!("ALTER ROLE {role} PASSWORD 'correct-horse'");
    database.connect().run(&password);
    let directory = Directory::new();
    let file = directory.join("tailrace.toml");
    let more = "[slot]\naccept_unbounded = true\n[engine]\ndriver = \"epoll\"\n";
    fs::write(&file, format!("{}\n{more}", configuration(script))).expect("it can be written");
    let url = database.url_as(role);
    let arguments = ["check", "--config", &file, "--database-url", &url];
    let program = Program::new(env!("CARGO_BIN_EXE_tailrace")).args(arguments);
    let program = program.env(variable.0, variable.1);
    let said = crate::support::commands::said(&program.directory(directory.path()));
    assert_eq!(said.status, 0, "{}\n{}", said.out, configuration(script));
    assert!(
        said.out
            .contains(&format!("sessions open streams ({modes})")),
        "{}",
        said.out
    );
}

/// Whether the role may ask this.
fn may(database: &Database, role: &str, question: &str) -> bool {
    let sql = database.connect();
    let right = |what: &str| {
        let (table, column) = what.split_once('.').expect("a table and a column");
        sql.value(&format!(
            "SELECT has_column_privilege('{role}', '\"{table}\"', '{column}', 'SELECT')"
        )) == "t"
    };
    right(question)
}

/// The columns of a table that the publication sends.
fn sent(database: &Database, table: &str) -> String {
    let question = format!(
        "SELECT array_to_string(attnames, ' ') FROM pg_publication_tables WHERE tablename = '{table}'"
    );
    database.connect().value(&question)
}

/// Publications of PostgreSQL 14 have no lists of columns.
fn has_lists(database: &Database) -> bool {
    let version = database.connect().value("SHOW server_version_num");
    version.parse::<u32>().expect("a number") >= 150_000
}

#[test]
fn better_auth_is_known_by_its_tables() {
    let fresh = fresh(BETTER_AUTH);
    let script = fresh.init([]);
    is_well(
        &fresh,
        &script,
        ("BETTER_AUTH_SECRET", &"s".repeat(32)),
        "better-auth",
    );
    let table: toml::Table = configuration(&script).parse().expect("it is TOML");
    assert_eq!(table["membership"]["table"].as_str(), Some("member"));
    assert_eq!(table["session"]["token"].as_str(), Some("token"));
    assert_eq!(table["user"]["banned_until"].as_str(), Some("banExpires"));
    assert_eq!(
        table["organization"]["table"].as_str(),
        Some("organization")
    );
    let Fresh { database, role } = &fresh;
    assert!(may(database, role, "session.token"));
    for none_of_its_business in ["session.ipAddress", "user.email", "account.password"] {
        assert!(
            !may(database, role, none_of_its_business),
            "{none_of_its_business}"
        );
    }
    if has_lists(database) {
        // Neither a token nor an address is ever in what a node receives.
        assert_eq!(sent(database, "session"), "id expiresAt userId");
        assert_eq!(sent(database, "user"), "id banned banExpires");
    }
    // The application writes as before.
    database.connect().run(
        r#"INSERT INTO "user" VALUES ('u', 'U', 'u@example.com');
           INSERT INTO session VALUES ('s', now(), 'token', NULL, 'u');
           UPDATE session SET "ipAddress" = '::1', token = 'other';
           UPDATE "user" SET email = 'v@example.com', banned = true;
           DELETE FROM "user""#,
    );
    // Nothing more is missing, and all of it can be taken back.
    let again = Fresh::harmless(&fresh.init([]));
    let changes = |line: &str| {
        ["CREATE", "ALTER", "GRANT"]
            .iter()
            .any(|word| line.starts_with(word))
    };
    assert!(!again.lines().any(changes), "{again}");
    psql(&database.owner_url(), &fresh.init(["--undo"]));
    assert_eq!(fresh.roles(), "0");
}

#[test]
fn auth_js_is_known_and_a_column_of_its_users_is_a_membership() {
    let fresh = fresh(AUTH_JS);
    let script = fresh.init([]);
    is_well(
        &fresh,
        &script,
        ("AUTH_SECRET", &"s".repeat(32)),
        "authjs, session",
    );
    let table: toml::Table = configuration(&script).parse().expect("it is TOML");
    let membership = &table["membership"];
    assert_eq!(membership["table"].as_str(), Some("User"));
    assert_eq!(membership["user"].as_str(), Some("id"));
    assert_eq!(membership["organization"].as_str(), Some("tenantId"));
    assert_eq!(table["session"]["token"].as_str(), Some("sessionToken"));
    let Fresh { database, role } = &fresh;
    assert!(may(database, role, "User.tenantId"));
    assert!(!may(database, role, "User.passwordHash"));
    if has_lists(database) {
        assert_eq!(sent(database, "User"), "id tenantId role");
    }
}

#[test]
fn where_nobody_is_a_member_all_of_it_is_left_to_a_person() {
    let tables = BETTER_AUTH.split("CREATE TABLE organization").next();
    let fresh = fresh(tables.expect("there is a beginning"));
    let text = configuration(&fresh.init([]));
    let table: toml::Table = text.parse().expect("it is TOML");
    for name in ["membership", "session", "user"] {
        assert!(
            !table.contains_key(name) && text.contains(&format!("# [{name}]")),
            "{text}"
        );
    }
    let url = fresh.database.owner_url();
    assert_eq!(tailrace(["init", "--database-url", &url]).status, 0);
}
