//! The statements of a plan, in an order in which no write of the application ever fails: the role,
//! indexes, replica identities, and only then the publication.

use std::fmt::Write as _;

use replication::{Provider, Rules};

use super::plan::{self, Chosen, Plan};
use super::revocation;
use crate::catalog::{Catalog, Part, Publication};
use crate::database::{identifier, literal};

/// How long a statement that takes a table's lock waits for it: behind it, everybody else waits too.
const LOCK_TIMEOUT: &str = "5s";

/// One statement.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Step {
    /// Why, for the line above it.
    pub(crate) why: String,
    pub(crate) sql: String,
    pub(crate) kind: Kind,
}

/// How a statement is run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// At once.
    Plain,
    /// Makes the role.
    Role,
    /// Waits for other transactions and blocks nobody meanwhile: not in a transaction, not hurried.
    Index,
    /// Takes a table's lock for a moment, and must not wait long for it.
    Lock,
    /// Changes the server: for a superuser.
    Server,
}

/// The statements of a plan.
pub(crate) fn steps(plan: &Plan) -> Vec<Step> {
    let mut steps = Vec::new();
    server_steps(plan, &mut steps);
    role_steps(plan, &mut steps);
    identity_steps(&plan.chosen, &mut steps);
    // Without a publication nobody hears of a row of it.
    if plan.publication.is_some() || !plan.chosen.is_empty() {
        revocation::steps(plan, &mut steps);
    }
    publication_steps(plan, &mut steps);
    steps
}

/// The plan as a script for psql.
pub(crate) fn script(plan: &Plan, steps: &[Step]) -> String {
    let server = &plan.server;
    let mut text = format!(
        "-- What Tailrace needs in the database {}, for the owner of its tables to read and run. No\n\
         -- statement is in a transaction: if one fails, mend the cause and begin anew.\n",
        comment(&server.database)
    );
    text.push_str(&said(steps));
    for why in &plan.left_out {
        let _ = writeln!(text, "\n-- Left out: {}.", comment(why));
    }
    if plan.chosen.is_empty() {
        text.push_str("\n-- No table can be published yet: nothing says whose any row is.\n");
    }
    if steps.is_empty() {
        text.push_str("\n-- Nothing is missing.\n");
    }
    text
}

/// The statements with the reason above each group.
fn said(steps: &[Step]) -> String {
    let mut text = String::new();
    let mut why = "";
    for (at, step) in steps.iter().enumerate() {
        if step.why != why {
            let _ = writeln!(text, "\n-- {}", comment(&step.why).replace(". ", ".\n-- "));
            why = &step.why;
        }
        let before = at.checked_sub(1).map(|at| steps[at].kind);
        if step.kind == Kind::Lock && before != Some(Kind::Lock) {
            let _ = writeln!(text, "SET lock_timeout = '{LOCK_TIMEOUT}';");
        }
        let _ = writeln!(text, "{}", step.sql);
        let after = steps.get(at + 1).map(|step| step.kind);
        if step.kind == Kind::Lock && after != Some(Kind::Lock) {
            text.push_str("RESET lock_timeout;\n");
        }
    }
    text
}

/// What makes a publication that is missing, its identities before it.
pub(super) fn of_publication(
    catalog: &Catalog,
    publication: &str,
    rules: &Rules,
    parts: &[Part],
    version: i32,
) -> String {
    let (chosen, mut left_out) = plan::all_with_organisation(catalog, rules);
    let (chosen, unfit) = plan::with_people(chosen, parts, catalog, version);
    left_out.extend(unfit);
    let mut steps = Vec::new();
    identity_steps(&chosen, &mut steps);
    match chosen.as_slice() {
        [] => return format!("{}\n", create(publication, "\"YourTable\"")),
        chosen => steps.push(Step {
            why: "Leave out what no browser needs.".to_owned(),
            sql: create(publication, &list(chosen)),
            kind: Kind::Plain,
        }),
    }
    let mut text = said(&steps).trim_start().to_owned();
    for why in left_out {
        let _ = writeln!(text, "-- Left out: {}.", comment(&why));
    }
    text
}

fn server_steps(plan: &Plan, steps: &mut Vec<Step>) {
    let server = &plan.server;
    if server.text("wal_level") != "logical" {
        steps.push(Step {
            why: "The log has the rows only on this level. It takes a restart of PostgreSQL."
                .to_owned(),
            sql: "ALTER SYSTEM SET wal_level = 'logical';".to_owned(),
            kind: Kind::Server,
        });
    }
    if server.number("max_slot_wal_keep_size") < 0 {
        let why = "A node that is away makes PostgreSQL keep its log, until the disk is full; this \
                   bounds it.";
        let size = literal(&plan.keep_size);
        for sql in [
            format!("ALTER SYSTEM SET max_slot_wal_keep_size = {size};"),
            "SELECT pg_reload_conf();".to_owned(),
        ] {
            steps.push(Step {
                why: why.to_owned(),
                sql,
                kind: Kind::Server,
            });
        }
    }
}

fn role_steps(plan: &Plan, steps: &mut Vec<Step>) {
    let name = identifier(&plan.role_name);
    let why = "The role of the nodes, with the rights they need and no others. Give it a password: \
               psql's \\password asks for one.";
    let mut push = |sql: String, kind| {
        steps.push(Step {
            why: why.to_owned(),
            sql,
            kind,
        });
    };
    let may_replicate = plan.role.as_ref().is_some_and(|role| role.may_replicate);
    match (&plan.role, plan.is_rds) {
        (None, false) => push(format!("CREATE ROLE {name} LOGIN REPLICATION;"), Kind::Role),
        (None, true) => push(format!("CREATE ROLE {name} LOGIN;"), Kind::Role),
        (Some(_), false) if !may_replicate => {
            push(format!("ALTER ROLE {name} LOGIN REPLICATION;"), Kind::Plain);
        }
        _ => {}
    }
    if plan.is_rds && !may_replicate {
        push(Provider::Rds.replication_right(&name), Kind::Plain);
    }
    if !plan.server.is_open_to_public {
        let database = identifier(&plan.server.database);
        push(
            format!("GRANT CONNECT ON DATABASE {database} TO {name};"),
            Kind::Plain,
        );
    }
    for grant in &plan.grants {
        push(grant.clone(), Kind::Plain);
    }
}

fn identity_steps(chosen: &[Chosen], steps: &mut Vec<Step>) {
    let why = "A deleted row has to say whose it was: what is logged of it must contain the \
               organisation. These block no writes.";
    for one in chosen {
        for sql in &one.identities.indexes {
            let concurrently = sql.contains(" CONCURRENTLY ");
            steps.push(Step {
                why: why.to_owned(),
                sql: sql.clone(),
                kind: if concurrently {
                    Kind::Index
                } else {
                    Kind::Lock
                },
            });
        }
    }
    for one in chosen {
        let why = match one.identities.is_full {
            true => {
                "The organisation may be null, so no index can stand for the row: the whole old row is \
                 logged."
            }
            false => "Each takes its table's lock for a moment.",
        };
        for sql in &one.identities.identities {
            steps.push(Step {
                why: why.to_owned(),
                sql: sql.clone(),
                kind: Kind::Lock,
            });
        }
    }
}

fn publication_steps(plan: &Plan, steps: &mut Vec<Step>) {
    let mut push = |why: &str, sql: String| {
        steps.push(Step {
            why: why.to_owned(),
            sql,
            kind: Kind::Plain,
        });
    };
    let why = "What may leave the database. Leave out what no browser needs.";
    let Some(publication) = &plan.publication else {
        if !plan.chosen.is_empty() {
            let tables = format!("{},\n    {}", list(&plan.chosen), revocation::sql_name());
            push(why, create(&plan.publication_name, &tables));
        }
        return;
    };
    let name = identifier(&publication.name);
    let is_missing = |one: &&Chosen| publication.table(one.table.oid).is_none();
    for one in plan.chosen.iter().filter(is_missing) {
        if !publication.is_for_all_tables {
            push(
                why,
                format!("ALTER PUBLICATION {name} ADD TABLE {};", one.entry),
            );
        }
    }
    let has_revocations = plan.revocation.is_published(Some(publication));
    if !has_revocations && !publication.is_for_all_tables {
        let table = revocation::sql_name();
        push(
            "What nodes hear of those who are thrown out.",
            format!("ALTER PUBLICATION {name} ADD TABLE {table};"),
        );
    }
    if !sends_everything(publication) {
        push(
            "Every kind of change, and partitions as their table.",
            set_everything(&name),
        );
    }
}

/// Whether a publication sends every kind of change, and partitions as their table.
pub(crate) fn sends_everything(publication: &Publication) -> bool {
    publication.inserts
        && publication.updates
        && publication.deletes
        && publication.truncates
        && publication.is_via_root
}

/// The statement after which it does; the name is quoted already.
pub(crate) fn set_everything(name: &str) -> String {
    format!(
        "ALTER PUBLICATION {name} SET (publish = 'insert, update, delete, truncate', \
         publish_via_partition_root = true);"
    )
}

fn create(publication: &str, tables: &str) -> String {
    format!(
        "CREATE PUBLICATION {} FOR TABLE\n    {tables}\n    WITH (publish_via_partition_root = true);",
        identifier(publication)
    )
}

fn list(chosen: &[Chosen]) -> String {
    let names: Vec<String> = chosen.iter().map(|one| one.entry.clone()).collect();
    names.join(",\n    ")
}

/// A text that stays within its line: names may hold line ends.
pub(super) fn comment(text: &str) -> String {
    text.replace(|letter: char| letter.is_control(), " ")
}
