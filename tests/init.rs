//! `tailrace init`: what it prints is run by psql, what it applies is what it printed, both leave a
//! database that `check` is content with, and what is taken back leaves nothing.

mod people;

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::sync::Arc;
use std::time::Duration;

use crate::support::commands::{psql, said, tailrace, tailrace_in};
use crate::support::directory::Directory;
use crate::support::ports::free_port;
use crate::support::postgres::Cluster;
use crate::support::process::{Process, Program, Signal};
use crate::support::sql::Sql;
use crate::support::{Database, Request, wait_until};

/// An application's tables as its ORM made them: nobody has thought of replication. Some names are
/// no pleasure.
const TABLES: &str = r#"
CREATE TABLE "Organization" (id text PRIMARY KEY);
CREATE TABLE "OrganizationMember" (
    id text PRIMARY KEY, "organizationId" text NOT NULL, "userId" text NOT NULL, role text,
    UNIQUE ("organizationId", "userId"));
CREATE TABLE "Property" (id text PRIMARY KEY, "organizationId" text NOT NULL, name text);
CREATE TABLE "Draft" (id text PRIMARY KEY, "organizationId" text);
CREATE TABLE "Log" ("organizationId" text NOT NULL, line text);
CREATE TABLE "Weather" (id int PRIMARY KEY);
CREATE TABLE "Visit" (id int, "organizationId" text NOT NULL, at date, PRIMARY KEY (id, at))
    PARTITION BY RANGE (at);
CREATE TABLE "Visit_old" PARTITION OF "Visit" FOR VALUES FROM (MINVALUE) TO ('2026-01-01');
CREATE TABLE "Visit_new" PARTITION OF "Visit" FOR VALUES FROM ('2026-01-01') TO (MAXVALUE);
CREATE SCHEMA crm;
CREATE TABLE crm."it's
DROP TABLE ""Property""; */ --" (id text PRIMARY KEY, tenant_id text NOT NULL);
CREATE TABLE a_name_that_is_as_long_as_a_name_can_be_in_postgresql_63_bytes (
    id int PRIMARY KEY, organization_id int NOT NULL);
"#;

/// Everything that may have been changed, as text. A list of rights that was never written down means
/// the same as the one that is there by default.
const CATALOGUES: &str = "
SELECT string_agg(line, E'\\n' ORDER BY line) FROM (
    SELECT format('class %s %s %s %s', oid::regclass, relkind, relreplident,
        coalesce(relacl, acldefault('r', relowner))) FROM pg_class WHERE relnamespace >= 16384 OR
        relnamespace = 'public'::regnamespace
    UNION ALL SELECT format('column %s %s %s', attrelid::regclass, attname, attacl)
        FROM pg_attribute WHERE attacl IS NOT NULL AND attrelid >= 16384
    UNION ALL SELECT format('index %s %s %s', indexrelid::regclass, indisreplident, indisvalid)
        FROM pg_index WHERE indrelid >= 16384
    UNION ALL SELECT format('publication %s', to_jsonb(p)) FROM pg_publication AS p
    UNION ALL SELECT format('published %s', to_jsonb(p)) FROM pg_publication_rel AS p
    UNION ALL SELECT format('slot %s', slot_name) FROM pg_replication_slots
    UNION ALL SELECT format('schema %s %s', nspname, coalesce(nspacl, acldefault('n', nspowner)))
        FROM pg_namespace WHERE nspname !~ '^pg_(toast_)?temp'
    UNION ALL SELECT format('database %s %s', datname, coalesce(datacl, acldefault('d', datdba)))
        FROM pg_database WHERE datname = current_database()
    UNION ALL SELECT format('comment %s', to_jsonb(d)) FROM pg_description AS d WHERE objoid >= 16384
    UNION ALL SELECT format('setting %s', to_jsonb(s)) FROM pg_db_role_setting AS s
) AS lines (line)";

/// A database with the tables and nothing else of ours, and a role's name that no other test has.
struct Fresh {
    database: Database,
    role: String,
}

impl Fresh {
    fn new() -> Self {
        let database = Cluster::shared().create_empty_database();
        psql(&database.owner_url(), TABLES);
        let role = format!("node_{}", database.name());
        Self { database, role }
    }

    /// What it prints.
    fn init<const N: usize>(&self, more: [&str; N]) -> String {
        let url = self.database.owner_url();
        let mut arguments = vec!["init", "--database-url", &url, "--role", &self.role];
        arguments.extend(more);
        let program = arguments.iter().fold(
            Program::new(env!("CARGO_BIN_EXE_tailrace")),
            |program, argument| program.args([*argument]),
        );
        let said = said(&program);
        assert_eq!(said.status, 0, "{}", said.error);
        said.out
    }

    /// The script without what would change the server that tests share.
    fn harmless(script: &str) -> String {
        let is_ours = |line: &&str| !line.starts_with("ALTER SYSTEM");
        script
            .lines()
            .filter(is_ours)
            .map(|line| format!("{line}\n"))
            .collect()
    }

    fn catalogues(&self) -> String {
        self.sql().value(CATALOGUES)
    }

    fn roles(&self) -> String {
        let role = &self.role;
        self.sql().value(&format!(
            "SELECT count(*) FROM pg_roles WHERE rolname = '{role}'"
        ))
    }

    fn sql(&self) -> Sql {
        self.database.connect()
    }

    /// Looks at it as the role, which has a password by now.
    fn is_well(&self) {
        let role = &self.role;
        self.sql()
            .run(&format!("ALTER ROLE {role} PASSWORD 'correct-horse'"));
        let directory = Directory::new();
        let file = directory.join("tailrace.toml");
        let text = "[slot]\naccept_unbounded = true\n[engine]\ndriver = \"epoll\"\n[keys]\n\
                    service = \"0123456789abcdef\"\n[membership]\ntable = \"OrganizationMember\"\n";
        fs::write(&file, text).expect("the directory of a test can be written");
        let url = self.database.url_as(role);
        let said = tailrace_in(
            &directory,
            ["check", "--config", &file, "--database-url", &url],
        );
        assert_eq!(said.status, 0, "{}", said.out);
    }
}

#[test]
fn what_it_prints_is_a_script_for_psql() {
    let fresh = Fresh::new();
    let script = fresh.init([]);
    assert!(
        script.contains("ALTER SYSTEM SET max_slot_wal_keep_size = '10GB';"),
        "{script}"
    );
    assert!(
        script.contains("Left out: Log has no primary key"),
        "{script}"
    );
    psql(&fresh.database.owner_url(), &Fresh::harmless(&script));
    fresh.is_well();
    let published = fresh.sql().value(
        "SELECT string_agg(tablename, ' ' ORDER BY tablename) FROM pg_publication_tables
         WHERE schemaname = 'public'",
    );
    assert_eq!(
        published,
        "Draft Organization OrganizationMember Property Visit \
         a_name_that_is_as_long_as_a_name_can_be_in_postgresql_63_bytes"
    );
    // The hostile name is one table among others, and dropped none.
    let count = fresh
        .sql()
        .value("SELECT count(*) FROM pg_publication_tables WHERE schemaname <> 'tailrace'");
    assert_eq!(count, "7");
    // The node's role writes revocations, and everybody hears of them.
    let revoke = r#"INSERT INTO tailrace.revocation ("user", until) VALUES ('eve', now())"#;
    let sql = fresh.sql();
    sql.run(&format!("SET ROLE {}; {revoke}; RESET ROLE", fresh.role));
    let published =
        "SELECT EXISTS (SELECT FROM pg_publication_tables WHERE tablename = 'revocation')";
    assert_eq!(sql.value(published), "t");
    // The members' own index will do, and nothing more is missing.
    assert!(script.contains(r#"USING INDEX "OrganizationMember_organizationId_userId_key""#));
    let again = Fresh::harmless(&fresh.init([]));
    assert!(
        !again
            .lines()
            .any(|line| line.starts_with("CREATE") || line.starts_with("ALTER")),
        "{again}"
    );
}

#[test]
fn the_configuration_that_it_prints_is_one() {
    let fresh = Fresh::new();
    let script = fresh.init([]);
    let text = script
        .split("tailrace.toml:\n")
        .nth(1)
        .expect("a configuration");
    let text = text.split("*/").next().expect("it ends");
    let table: toml::Table = text
        .parse()
        .unwrap_or_else(|error| panic!("{error}\n{text}"));
    assert_eq!(
        table["membership"]["table"].as_str(),
        Some("OrganizationMember")
    );
    assert_eq!(table["membership"]["role"].as_str(), Some("role"));
    // Batches change what pages receive, so nobody gets them unasked.
    assert!(text.contains("\n# [batch]\n# over = 50\n") && !table.contains_key("batch"));
}

#[test]
fn tables_that_cannot_be_published_are_refused_by_name() {
    let fresh = Fresh::new();
    let url = fresh.database.owner_url();
    let refused = |table: &str| {
        let said = tailrace(["init", "--database-url", &url, "--table", table]);
        assert_eq!(said.status, 1, "{}", said.out);
        said.error
    };
    assert!(refused("Property,Log").contains("Log has no primary key"));
    assert!(refused("Weather").contains("nothing says whose its rows are"));
    assert!(refused("property").contains("there is no such table"));
    let script = fresh.init(["--table", "Property"]);
    assert!(script.contains(r#""public"."Property""#) && !script.contains(r#""public"."Draft""#));
    // Who belongs where is read in any case.
    assert!(
        script.contains(r#""public"."OrganizationMember""#),
        "{script}"
    );
}

#[test]
fn nothing_is_applied_without_a_yes() {
    let fresh = Fresh::new();
    let before = fresh.catalogues();
    let url = fresh.database.owner_url();
    let said = tailrace([
        "init",
        "--apply",
        "--database-url",
        &url,
        "--role",
        &fresh.role,
    ]);
    assert_eq!(said.status, 1);
    assert!(said.error.contains("--yes"), "{}", said.error);
    assert_eq!(fresh.catalogues(), before);
    assert_eq!(fresh.roles(), "0");
}

#[test]
fn what_is_applied_can_be_taken_back() {
    let fresh = Fresh::new();
    // Of what was there before, only what `init` made itself is known to be its own.
    fresh
        .sql()
        .run(r#"DROP TABLE "OrganizationMember", "Draft""#);
    let before = fresh.catalogues();
    let script = Fresh::harmless(&fresh.init([]));
    psql(&fresh.database.owner_url(), &script);
    assert_ne!(fresh.catalogues(), before);
    psql(&fresh.database.owner_url(), &fresh.init(["--undo"]));
    assert_eq!(fresh.catalogues(), before);
    assert_eq!(fresh.roles(), "0");
}

#[test]
fn a_table_that_is_locked_stops_nobody() {
    let cluster = Arc::new(Cluster::start());
    let database = cluster.create_empty_database();
    psql(&database.owner_url(), TABLES);
    let reader = database.connect();
    reader.run(r#"BEGIN; SELECT FROM "Draft""#);
    let application = database.connect();
    application.run("SET statement_timeout = '8s'");
    let url = database.owner_url();
    let directory = Directory::new();
    let program = Program::new(env!("CARGO_BIN_EXE_tailrace"))
        .args(["init", "--apply", "--yes", "--database-url", &url])
        .directory(directory.path())
        .output(directory.join("out"));
    let mut init = Process::spawn(&program, Signal::KILL);
    let printed = || fs::read_to_string(directory.join("out")).unwrap_or_default();
    wait_until("it meets the lock", Duration::from_secs(60), || {
        printed().contains("trying again")
    });
    // Nobody waits behind it for longer than its own patience.
    application.run(r#"SELECT FROM "Draft""#);
    reader.run("COMMIT");
    assert!(
        init.wait(Duration::from_secs(60)).success(),
        "{}",
        printed()
    );
    assert!(
        printed().contains("done  CREATE PUBLICATION"),
        "{}",
        printed()
    );
}

/// The blocks of the README's section on an existing database.
fn readme() -> Vec<String> {
    let text = include_str!("../README.md");
    let section = text
        .split("\n## With your own database\n")
        .nth(1)
        .expect("the section");
    let section = section.split("\n## ").next().expect("it ends");
    let blocks = section.split("```").skip(1).step_by(2);
    blocks
        .map(|block| block.trim_start_matches("sh\n").trim_start().to_owned())
        .collect()
}

#[test]
fn the_readme_is_followed_word_for_word() {
    let cluster = Arc::new(Cluster::start());
    let database = cluster.create_empty_database();
    psql(&database.owner_url(), TABLES);
    // As PostgreSQL comes.
    let sql = database.connect();
    sql.run("DROP ROLE tailrace");
    sql.run("ALTER SYSTEM SET wal_level = 'replica'");
    drop(sql);
    cluster.kill();
    cluster.restart();
    let directory = Directory::new();
    let blocks = readme();
    let [set_up, node, tail] = blocks.as_slice() else {
        panic!("three blocks: {blocks:?}");
    };
    // The address is the reader's own, and the program is where it was built.
    let address = "postgresql://owner:password@localhost:5432/app";
    assert!(set_up.contains(address), "{set_up}");
    let set_up = set_up.replace(address, &database.owner_url());
    let path = std::path::Path::new(env!("CARGO_BIN_EXE_tailrace"));
    let bin = path.parent().expect("it is in a directory").display();
    let search = format!("{bin}:{}", std::env::var("PATH").unwrap_or_default());
    // Each line as it stands, on a terminal: the answer is typed.
    let (before, after) = set_up
        .split_once("# restart PostgreSQL")
        .expect("the restart is named");
    let shell = |text: &str| {
        fs::write(directory.join("typed.sh"), format!("set -e\n{text}"))
            .expect("it can be written");
        let typed = format!(
            "echo yes | script --quiet --return --command 'sh {}' /dev/null",
            directory.join("typed.sh")
        );
        let program = Program::new("sh").args(["-c", &typed]).env("PATH", &search);
        said(&program.directory(directory.path()))
    };
    let applied = shell(before);
    assert_eq!(applied.status, 0, "{}{}", applied.out, applied.error);
    cluster.kill();
    cluster.restart();
    let (_, rest) = after.split_once('\n').expect("a line follows");
    let (export, _) = set_up.split_once('\n').expect("a line follows");
    // The same shell, for the reader.
    let checked = shell(&format!("{export}\n{rest}"));
    // What the machine's kernel grants is not the README's business, so only the database's half.
    assert!(!checked.out.contains("fail "), "{}", checked.out);
    let database_half = checked
        .out
        .split("Connection")
        .nth(1)
        .expect("it got there");
    assert!(!database_half.contains("warn "), "{database_half}");
    let mode = fs::metadata(directory.join("tailrace.toml"))
        .expect("it was written")
        .permissions();
    assert_eq!(mode.mode() & 0o777, 0o600, "there are secrets in it");

    let port = free_port();
    let run = |line: &str, out: &str| {
        let program = Program::new("sh").args(["-c", &format!("exec {}", line.trim())]);
        let program = program
            .env("PATH", &search)
            .env("TAILRACE_HTTP_LISTEN", format!("127.0.0.1:{port}"));
        Process::spawn(
            &program
                .directory(directory.path())
                .output(directory.join(out)),
            Signal::KILL,
        )
    };
    let mut node = run(node, "node");
    let printed = |name: &str| fs::read_to_string(directory.join(name)).unwrap_or_default();
    let address = std::net::SocketAddr::from(([127, 0, 0, 1], port));
    wait_until("the node is ready", Duration::from_secs(60), || {
        assert!(node.is_running(), "{}", printed("node"));
        Request::get("/readyz")
            .try_send(address)
            .is_ok_and(|answer| answer.head.status == 200)
    });
    let _tail = run(tail, "tail");
    let sql = database.connect();
    let mut count = 0;
    wait_until("a row is printed", Duration::from_secs(30), || {
        count += 1;
        sql.run(&format!(
            r#"INSERT INTO "Property" VALUES ('{count}', 'acme', 'marker')"#
        ));
        std::thread::sleep(Duration::from_millis(100));
        printed("tail").contains("property.insert")
    });
}
