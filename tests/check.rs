//! `tailrace check` on databases that are set up wrongly: it finds what is wrong, and is content after
//! the very statements that it printed were run by psql.

mod people;
mod publications;

use std::fs;
use std::sync::Arc;
use std::time::Duration;

use crate::support::commands::{self, psql, tailrace, tailrace_in, try_psql};
use crate::support::directory::Directory;
use crate::support::ports::free_port;
use crate::support::postgres::Cluster;
use crate::support::sql::Sql;
use crate::support::{Config, Database, Driver, becomes_true, wait_until};

/// Where statements stand in what it prints: deeper than any other text.
const STATEMENT_COLUMN: usize = 38;

/// A database in which nothing is wrong, and the configuration of a node on it.
struct Subject {
    database: Database,
    config: Config,
}

/// What `check` said.
struct Looked {
    status: i32,
    text: String,
}

impl Subject {
    /// On the server that tests share: it bounds no slot, which is said to be meant.
    fn new() -> Self {
        Self::of(Database::new()).with(|config| config.set("slot.accept_unbounded", "true"))
    }

    /// On a server of its own.
    fn alone() -> Self {
        let subject = Self::of(Arc::new(Cluster::start()).create_database());
        let bound = "ALTER SYSTEM SET max_slot_wal_keep_size = '1GB'";
        subject.database.connect().run(bound);
        subject.database.connect().run("SELECT pg_reload_conf()");
        subject
    }

    fn of(database: Database) -> Self {
        // A table whose rows are nobody's.
        database
            .connect()
            .run(r#"ALTER PUBLICATION tailrace DROP TABLE "Weather""#);
        // What the machine's kernel grants is not what is tested here.
        let config = Config::new(&database, Driver::Epoll);
        Self { database, config }
    }

    fn with(mut self, change: impl FnOnce(Config) -> Config) -> Self {
        self.config = change(self.config);
        self
    }

    fn run(&self, statements: &str) {
        self.database.connect().run(statements);
    }

    fn look(&self) -> Looked {
        look(&self.config)
    }

    /// Looks until it ends so: a server reads its files anew when it gets to it.
    fn look_until(&self, status: i32) -> Looked {
        let mut looked = self.look();
        let limit = Duration::from_secs(30);
        becomes_true(limit, || {
            let is_so = looked.status == status;
            if !is_so {
                looked = self.look();
            }
            is_so
        });
        looked
    }

    /// Runs what it printed, as a superuser and with psql.
    fn mend(&self, looked: &Looked) {
        let script = looked.statements();
        assert!(
            !script.trim().is_empty(),
            "no statement in:\n{}",
            looked.text
        );
        psql(&self.database.owner_url(), &script);
    }

    /// It says this and ends so; after what it printed was run, it is content.
    fn is_mended(&self, status: i32, says: &str) {
        let looked = self.look();
        looked.says(status, says);
        self.mend(&looked);
        self.look().is_content();
    }

    /// The same, where the server has to start again.
    fn is_mended_by_a_restart(&self, status: i32, says: &str) {
        let looked = self.look();
        looked.says(status, says);
        assert!(
            looked.text.contains("restart PostgreSQL"),
            "{}",
            looked.text
        );
        self.mend(&looked);
        self.restart();
        self.look().is_content();
    }

    fn restart(&self) {
        self.database.cluster().kill();
        self.database.cluster().restart();
    }
}

impl Looked {
    fn says(&self, status: i32, text: &str) {
        // Lines are broken at blanks.
        let words: Vec<&str> = self.text.split_whitespace().collect();
        assert!(
            words.join(" ").contains(text),
            "{text:?} is not in:\n{}",
            self.text
        );
        assert_eq!(self.status, status, "{}", self.text);
    }

    fn is_content(&self) {
        self.says(0, "All is well.");
    }

    /// Everything that is printed to be run.
    fn statements(&self) -> String {
        let margin = " ".repeat(STATEMENT_COLUMN);
        let lines = self
            .text
            .lines()
            .filter_map(|line| line.strip_prefix(&margin));
        lines.map(|line| format!("{line}\n")).collect()
    }
}

fn look(config: &Config) -> Looked {
    let directory = Directory::new();
    let file = directory.join("node.toml");
    fs::write(&file, config.render()).expect("the directory of a test can be written");
    let said = tailrace_in(&directory, ["check", "--config", &file]);
    assert!(!said.out.contains("correct-horse"), "a password is printed");
    Looked {
        status: said.status,
        text: said.out,
    }
}

fn fails(sql: &Sql, statement: &str) -> bool {
    sql.try_run(statement).is_err()
}

#[test]
fn where_nothing_is_wrong_it_is_content() {
    Subject::new().look().is_content();
}

// Case: 9
#[test]
fn wal_level_that_is_not_logical() {
    let subject = Subject::alone();
    subject.run("ALTER SYSTEM SET wal_level = 'replica'");
    subject.restart();
    subject.is_mended_by_a_restart(2, "it is replica, and must be logical");
}

#[test]
fn a_role_without_the_right_to_replicate() {
    let subject = Subject::new();
    let role = format!("plain_{}", subject.database.name());
    subject.run(&format!(
        r#"CREATE ROLE {role} LOGIN PASSWORD 'correct-horse';
           GRANT SELECT ON "OrganizationMember" TO {role}"#
    ));
    let url = subject.database.url_as(&role);
    let subject = subject.with(|config| config.text("database.url", &url));
    subject.is_mended(2, "has no right to replicate");
}

#[test]
fn a_pooled_host_is_named_with_the_direct_one() {
    let subject = Subject::new();
    let direct = subject.database.url().replace("127.0.0.1", "localhost");
    let pooled = direct.replace("localhost", "localhost-pooler");
    let subject = subject.with(|config| config.text("database.url", &pooled));
    let looked = subject.look();
    assert_eq!(looked.status, 2, "{}", looked.text);
    assert!(looked.text.contains("pooler"), "{}", looked.text);
    assert!(
        looked.text.contains(" localhost"),
        "the direct host is not in:\n{}",
        looked.text
    );
    subject
        .with(|config| config.text("database.url", &direct))
        .look()
        .is_content();
}

#[test]
fn a_server_that_does_not_admit_the_database() {
    let subject = Subject::alone();
    let cluster = subject.database.cluster();
    // The word stands for physical replication, whatever people hope.
    let rules = "local all postgres trust\nhost all postgres 127.0.0.1/32 scram-sha-256\n\
                 host replication tailrace 127.0.0.1/32 scram-sha-256";
    cluster.admit(rules, false);
    let looked = subject.look_until(2);
    looked.says(2, "At the top of pg_hba.conf, and then as a superuser:");
    let statements = looked.statements();
    let (line, reload) = statements.split_once('\n').expect("two lines");
    cluster.admit(line, true);
    psql(&subject.database.owner_url(), reload);
    subject.look_until(0).is_content();
}

#[test]
fn a_publication_that_is_missing() {
    let subject = Subject::new();
    subject.run("DROP PUBLICATION tailrace");
    subject.is_mended(2, "there is none in this database");
}

#[test]
fn a_table_without_an_organisation() {
    let subject = Subject::new();
    subject.run(r#"ALTER PUBLICATION tailrace ADD TABLE "Weather""#);
    subject.is_mended(1, "nothing says whose its rows are");
}

#[test]
fn an_identity_that_cannot_scope_deletes() {
    let subject = Subject::new();
    subject.run(
        r#"ALTER TABLE "Property" REPLICA IDENTITY DEFAULT;
           DROP INDEX "Property_key";
           ALTER TABLE "Client" REPLICA IDENTITY DEFAULT;
           ALTER TABLE "Activity" REPLICA IDENTITY DEFAULT;
           ALTER TABLE "Activity" ALTER "organizationId" DROP NOT NULL;"#,
    );
    let looked = subject.look();
    looked.says(1, "a deleted row does not say its organizationId");
    // An index where there is none, the one that is there, the whole row where it may be null.
    let statements = looked.statements();
    for statement in [
        r#"CREATE UNIQUE INDEX CONCURRENTLY "Property_tailrace_identity""#,
        r#"ALTER TABLE "public"."Client" REPLICA IDENTITY USING INDEX "Client_key";"#,
        r#"ALTER TABLE "public"."Activity" REPLICA IDENTITY FULL;"#,
    ] {
        assert!(
            statements.contains(statement),
            "{statement} is not in:\n{statements}"
        );
    }
    subject.is_mended(1, "Deletes of it reach nobody");
}

#[test]
fn a_table_whose_writes_fail_while_it_is_published() {
    let subject = Subject::new();
    subject.run(
        r#"CREATE TABLE "Log" ("organizationId" text, line text);
           INSERT INTO "Log" VALUES ('acme', 'one');
           ALTER PUBLICATION tailrace ADD TABLE "Log";"#,
    );
    let application = subject.database.connect();
    assert!(fails(&application, r#"DELETE FROM "Log""#));
    subject.is_mended(2, "the application's own updates and deletes FAIL");
    application.run(r#"DELETE FROM "Log""#);
}

#[test]
fn no_slot_that_is_free() {
    let subject = Subject::alone();
    subject.run("ALTER SYSTEM SET max_replication_slots = 2");
    subject.restart();
    subject.run("SELECT pg_create_physical_replication_slot('one'), pg_create_physical_replication_slot('two')");
    subject.is_mended_by_a_restart(2, "2 of 2 replication slots are in use");
}

#[test]
fn a_log_that_nothing_bounds() {
    let subject = Subject::alone();
    subject.run("ALTER SYSTEM RESET max_slot_wal_keep_size");
    subject.run("SELECT pg_reload_conf()");
    look(&subject.config.clone().set("slot.accept_unbounded", "true")).is_content();
    subject.is_mended(1, "it is -1: nothing bounds what is kept");
}

#[test]
fn an_anchor_that_is_lost_or_left_over() {
    let subject = Subject::alone();
    subject.run(
        "SELECT pg_create_logical_replication_slot('tailrace_' || oid, 'pgoutput')
         FROM pg_database WHERE datname = current_database()",
    );
    subject
        .look()
        .says(0, "No node runs: it grows until one does");
    let temporary = subject.config.clone().text("slot.mode", "temporary");
    look(&temporary).says(1, "slot.mode is temporary, so nobody moves it");
    // The log goes on without it, beyond its bound.
    subject.run("ALTER SYSTEM SET max_slot_wal_keep_size = '1MB'");
    subject.run("SELECT pg_reload_conf()");
    let sql = subject.database.connect();
    wait_until("the slot is given up", Duration::from_secs(60), || {
        for step in [
            "SELECT pg_switch_wal()",
            "CREATE TABLE filler (x int)",
            "DROP TABLE filler",
            "CHECKPOINT",
        ] {
            sql.run(step);
        }
        let status = "SELECT wal_status = 'lost' FROM pg_replication_slots";
        sql.optional(status).as_deref() == Some("t")
    });
    subject.run("ALTER SYSTEM SET max_slot_wal_keep_size = '1GB'");
    subject.run("SELECT pg_reload_conf()");
    let looked = subject.look();
    looked.says(1, "the server has given tailrace_");
    subject.mend(&looked);
    subject.look().is_content();
    look(&temporary).is_content();
}

#[test]
fn memberships_that_are_not_published_or_not_readable() {
    let subject = Subject::new();
    subject.run(
        r#"ALTER PUBLICATION tailrace DROP TABLE "OrganizationMember";
           ALTER TABLE "OrganizationMember" REPLICA IDENTITY DEFAULT;"#,
    );
    subject.is_mended(2, "nobody could be told to leave an organisation");
    subject.run(r#"REVOKE SELECT ON "OrganizationMember" FROM tailrace"#);
    subject.is_mended(2, "tailrace may not read it");
}

#[test]
fn memberships_that_are_elsewhere() {
    let subject = Subject::new();
    let named = |name: &str, value: &str| look(&subject.config.clone().text(name, value));
    named("membership.table", "Members").says(2, "there is no such table");
    named("membership.user", "personId").says(2, "it has no column personId");
}

#[test]
fn what_a_table_does_not_send_is_told() {
    let subject = Subject::new();
    subject.run(r#"ALTER TABLE "Property" ADD tag text GENERATED ALWAYS AS (lower(name)) STORED"#);
    let looked = subject.look();
    looked.is_content();
    looked.says(0, "generated columns: tag");
    looked.says(0, "Withheld: apiToken.");
}

#[test]
fn a_transaction_that_is_open_for_longer_than_the_window() {
    let subject = Subject::alone().with(|config| config.text("history.window", "1s"));
    let sql = subject.database.connect();
    sql.run(r#"BEGIN; INSERT INTO "Weather" VALUES (1, 'fog')"#);
    let pid = sql.value("SELECT pg_backend_pid()");
    subject.run("GRANT pg_read_all_stats TO tailrace");
    std::thread::sleep(Duration::from_secs(2));
    let looked = subject.look();
    looked.says(
        1,
        &format!("process {pid} of postgres (idle in transaction) has a transaction open"),
    );
    subject.mend(&looked);
    subject.look().is_content();
}

#[test]
fn a_server_that_is_not_there() {
    let url = format!("postgres://u@127.0.0.1:{}/x", free_port());
    let said = tailrace(["check", "--database-url", &url]);
    assert_eq!(said.status, 2);
    assert!(said.out.contains("fail  connection"), "{}", said.out);
    // What needs no server is looked at all the same.
    assert!(said.out.contains("capacity"), "{}", said.out);
}

#[test]
fn a_program_reads_the_same() {
    let subject = Subject::new();
    subject.run(r#"ALTER PUBLICATION tailrace ADD TABLE "Weather""#);
    let url = subject.database.url();
    let said = tailrace(["check", "--json", "--database-url", &url]);
    let value: serde_json::Value = serde_json::from_str(&said.out).expect("it is JSON");
    assert_eq!(value["status"], said.status);
    let groups = value["groups"].as_array().expect("a list");
    let findings = groups
        .iter()
        .flat_map(|group| group["findings"].as_array().expect("a list"));
    let weather = findings
        .filter(|finding| finding["about"] == "table Weather")
        .collect::<Vec<_>>();
    assert_eq!(weather.len(), 1, "{}", said.out);
    assert_eq!(weather[0]["level"], "warn");
    let mend = weather[0]["mend"][0].as_str().expect("a statement");
    assert_eq!(try_psql(&subject.database.owner_url(), mend).status, 0);
    let again: commands::Said = tailrace(["check", "--json", "--database-url", &url]);
    assert!(!again.out.contains("table Weather"), "{}", again.out);
}
