//! `tailrace slots`: what nodes leave behind, what it costs, and taking it away.

use std::time::Duration;

use crate::support::commands::tailrace;
use crate::support::process::Signal;
use crate::support::{Config, Database, Driver, Node};

/// Everything in a database that is not the application's own rows.
const CATALOGUES: &str = "
SELECT string_agg(line, E'\\n' ORDER BY line) FROM (
    SELECT format('class %s', to_jsonb(c) - ARRAY['relpages', 'reltuples', 'relallvisible',
        'relfrozenxid', 'relminmxid', 'relhasindex']) FROM pg_class AS c WHERE oid >= 16384
    UNION ALL SELECT format('publication %s', to_jsonb(p)) FROM pg_publication AS p
    UNION ALL SELECT format('published %s', to_jsonb(p)) FROM pg_publication_rel AS p
    UNION ALL SELECT format('slot %s', slot_name) FROM pg_replication_slots
        WHERE database = current_database()
    UNION ALL SELECT format('schema %s', to_jsonb(n)) FROM pg_namespace AS n
        WHERE nspname !~ '^pg_(toast_)?temp'
    UNION ALL SELECT format('function %s', to_jsonb(p)) FROM pg_proc AS p WHERE oid >= 16384
    UNION ALL SELECT format('role %s', rolname) FROM pg_roles WHERE rolname = 'tailrace'
) AS lines (line)";

fn stop(node: &mut Node) {
    node.process().signal(Signal::TERM);
    assert!(node.process().wait(Duration::from_secs(30)).success());
}

#[test]
fn what_a_stopped_node_leaves_is_told_everywhere_and_taken_away() {
    let database = Database::new();
    let sql = database.connect();
    let before = sql.value(CATALOGUES);
    let url = database.url();
    let mut node = Node::start(&Config::new(&database, Driver::Epoll));
    let oid = sql.value("SELECT oid FROM pg_database WHERE datname = current_database()");
    let anchor = format!("tailrace_{oid}");

    let listed = tailrace(["slots", "--database-url", &url]);
    assert!(
        listed.out.contains("a node's own copy, of this database"),
        "{}",
        listed.out
    );
    let busy = tailrace(["slots", "drop", "--database-url", &url]);
    assert_eq!(busy.status, 1);
    assert!(
        busy.error.contains("Stop every node first"),
        "{}",
        busy.error
    );

    stop(&mut node);
    let log = node.log();
    let last = log.lines().last().expect("it has logged");
    assert!(last.contains("the node has stopped; its slot"), "{last}");
    // Some log is kept, and the rate says for how long that goes well.
    sql.run(
        r#"INSERT INTO "Weather" SELECT n, repeat('x', 1000) FROM generate_series(1, 20000) n"#,
    );
    let listed = tailrace(["slots", "list", "--database-url", &url]);
    let checked = tailrace(["check", "--database-url", &url]);
    for said in [last, &listed.out, &checked.out] {
        let words = said.split_whitespace().collect::<Vec<_>>().join(" ");
        assert!(words.contains(&anchor), "{said}");
        assert!(
            words.contains("holds back") && words.contains("of the write-ahead log"),
            "{said}"
        );
        // The tests' own server has no bound; its disk is ours, or is not to be seen.
        assert!(words.contains("nothing bounds it"), "{said}");
    }
    assert!(
        listed.out.contains(" MiB of the write-ahead log"),
        "{}",
        listed.out
    );
    assert!(listed.out.contains("a day"), "{}", listed.out);
    let told = tailrace(["slots", "--database-url", &url, "--disk-free", "100GiB"]);
    assert!(told.out.contains("100.0 GiB"), "{}", told.out);

    let dropped = tailrace(["slots", "drop", "--database-url", &url]);
    assert_eq!(dropped.status, 0, "{}", dropped.error);
    assert!(
        dropped.out.contains(&format!("dropped  {anchor}\n")),
        "{}",
        dropped.out
    );
    assert!(dropped.out.contains("init --undo"), "{}", dropped.out);
    assert_eq!(sql.value(CATALOGUES), before);
}

#[test]
fn slots_of_others_stay() {
    let (database, other) = (Database::new(), Database::new());
    let (sql, url) = (database.connect(), database.url());
    let oid = sql.value("SELECT oid FROM pg_database WHERE datname = current_database()");
    let oid_of_other = other
        .connect()
        .value("SELECT oid FROM pg_database WHERE datname = current_database()");
    let create =
        |name: &str| format!("SELECT pg_create_logical_replication_slot('{name}', 'pgoutput')");
    let (current, older) = (format!("tailrace_{oid}"), format!("tailrace_{oid}_g3"));
    let (foreign, theirs) = (format!("tailrace_{oid_of_other}"), format!("backup_{oid}"));
    for name in [&current, &older, &theirs] {
        sql.run(&create(name));
    }
    other.connect().run(&create(&foreign));

    let listed = tailrace(["slots", "--database-url", &url]).out;
    assert!(
        listed.contains(&older) && listed.contains("in generation 3"),
        "{listed}"
    );
    assert!(
        listed.contains(&format!("{foreign}\n    the anchor of the database")),
        "{listed}"
    );
    assert!(!listed.contains(&theirs), "{listed}");
    // What is not moved by this configuration is worth a word.
    let checked = tailrace(["check", "--database-url", &url]).out;
    assert!(checked.contains("another anchor"), "{checked}");

    for name in [&foreign, &theirs] {
        let refused = tailrace(["slots", "drop", "--database-url", &url, name]);
        assert_eq!(refused.status, 1, "{}", refused.out);
        assert!(
            refused.error.contains("no slot of ours in this database"),
            "{}",
            refused.error
        );
    }
    // An owner of tables need not be allowed to.
    sql.run(&format!(
        "CREATE ROLE app_{oid} LOGIN PASSWORD 'correct-horse'"
    ));
    let owner = database.url_as(&format!("app_{oid}"));
    let refused = tailrace(["slots", "drop", "--database-url", &owner]);
    assert!(
        refused
            .error
            .contains("REPLICATION: name it by --database-url"),
        "{}",
        refused.error
    );
    let names = || {
        let sql = database.connect();
        sql.value(&format!(
            "SELECT string_agg(slot_name, ' ' ORDER BY slot_name) FROM pg_replication_slots
             WHERE slot_name IN ('{current}', '{older}', '{foreign}', '{theirs}')"
        ))
    };
    assert_eq!(
        tailrace(["slots", "drop", "--database-url", &url]).status,
        0
    );
    let mut left = [theirs.clone(), foreign.clone(), older.clone()];
    left.sort();
    assert_eq!(names(), left.join(" "));
    assert_eq!(
        tailrace(["slots", "drop", "--all", "--database-url", &url]).status,
        0
    );
    let mut left = [theirs.clone(), foreign.clone()];
    left.sort();
    assert_eq!(names(), left.join(" "));
}
