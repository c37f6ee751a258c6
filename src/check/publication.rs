//! The publication: whether it is there, and what it sends.

use tokio_postgres::Client;

use super::Finding;
use crate::catalog::{Catalog, Publication, Table};
use crate::config::Config;
use crate::database::{DatabaseError, identifier};
use crate::init;

/// All of it but its tables one by one.
pub(super) async fn findings(
    client: &Client,
    config: &Config,
    publication: Option<&Publication>,
    catalog: &Catalog,
) -> Result<Vec<Finding>, DatabaseError> {
    let name = &config.database.publication;
    let Some(publication) = publication else {
        let script = init::publication_script(client, config).await?;
        return Ok(vec![
            Finding::fail(
                format!("publication {name}"),
                "there is none in this database",
            )
            .because("It is the list of what may leave, and a node does not start without it.")
            .because("As the owner of the tables, after leaving out what no browser needs:")
            .mends(statements(&script)),
        ]);
    };
    let mut findings = vec![existing(publication, catalog)];
    findings.extend(all_tables(publication, catalog));
    findings.extend(kinds(publication, catalog));
    Ok(findings)
}

/// The statements of a script without its comments.
fn statements(script: &str) -> Vec<String> {
    let lines = script
        .lines()
        .filter(|line| !line.starts_with("--") && !line.is_empty());
    lines.map(str::to_owned).collect()
}

fn existing(publication: &Publication, catalog: &Catalog) -> Finding {
    let about = format!("publication {}", publication.name);
    let known = publication
        .tables
        .iter()
        .filter(|table| catalog.table(table.oid).is_some());
    match known.count() {
        0 => Finding::fail(about, "no table is in it")
            .because("Nothing is ever sent. Add those whose changes may leave:")
            .mend(add(publication, "\"YourTable\"")),
        count => Finding::ok(about, format!("{count} tables")),
    }
}

/// A list that nobody has written by hand takes in whatever comes.
fn all_tables(publication: &Publication, catalog: &Catalog) -> Option<Finding> {
    let name = identifier(&publication.name);
    let what = match (
        publication.is_for_all_tables,
        publication.schemas.as_slice(),
    ) {
        (true, _) => "it is FOR ALL TABLES".to_owned(),
        (false, []) => return None,
        (false, schemas) => format!("it takes all tables of the schemas {}", schemas.join(", ")),
    };
    let finding = Finding::warn("tables", what)
        .because(
            "A table that is made later is in it at once, a migration tool's own as well: without a primary \
             key its updates and deletes fail from then on, and its columns leave.",
        );
    let tables = publication
        .tables
        .iter()
        .filter_map(|table| catalog.table(table.oid));
    let tables: Vec<String> = tables.map(|table| table.sql()).collect();
    Some(match publication.is_for_all_tables {
        // Only by being made anew, which nothing that was written before survives.
        true => finding
            .because(
                "It cannot be altered into a list. With all nodes stopped, and knowing that every page \
                 refetches afterwards (bump slot.generation, too):",
            )
            .mend(format!(
                "BEGIN;\nDROP PUBLICATION {name};\nCREATE PUBLICATION {name} FOR TABLE\n    {}\n    \
                 WITH (publish_via_partition_root = true);\nCOMMIT;",
                tables.join(",\n    ")
            )),
        false => {
            let schemas: Vec<String> = publication.schemas.iter().map(|name| identifier(name)).collect();
            finding
                .because("The same tables as a list:")
                .mend(format!("ALTER PUBLICATION {name} SET TABLE {};", tables.join(", ")))
                .because(format!("(It replaces TABLES IN SCHEMA {}.)", schemas.join(", ")))
        }
    })
}

fn kinds(publication: &Publication, catalog: &Catalog) -> Vec<Finding> {
    let missing: Vec<&str> = [
        (publication.inserts, "insert"),
        (publication.updates, "update"),
        (publication.deletes, "delete"),
        (publication.truncates, "truncate"),
    ]
    .into_iter()
    .filter_map(|(is_sent, kind)| (!is_sent).then_some(kind))
    .collect();
    let mend = init::set_everything(&identifier(&publication.name));
    let mut findings = Vec::new();
    findings.push(match missing.as_slice() {
        [] => Finding::ok("publish", "insert, update, delete, truncate"),
        kinds => Finding::warn("publish", format!("it does not send: {}", kinds.join(", ")))
            .because("Pages are not told of these, and memberships that end that way are not seen.")
            .mend(mend.clone()),
    });
    let mut tables = publication
        .tables
        .iter()
        .filter_map(|table| catalog.table(table.oid));
    if !publication.is_via_root && tables.any(|table| table.is_partition) {
        findings.push(
            Finding::warn("partitions", "changes are sent under the partitions' own names")
                .because("Each partition is a table of its own, with a channel of its own, for pages and routes.")
                .mend(mend),
        );
    }
    findings
}

/// The statement that adds a table, whose name is quoted already.
pub(super) fn add(publication: &Publication, table: &str) -> String {
    format!(
        "ALTER PUBLICATION {} ADD TABLE {table};",
        identifier(&publication.name)
    )
}

/// The statement that takes a table out, whose name is quoted already.
pub(super) fn take_out(publication: &Publication, table: &str) -> String {
    format!(
        "ALTER PUBLICATION {} DROP TABLE {table};",
        identifier(&publication.name)
    )
}

/// The statements that publish a table anew, with more columns: a list cannot be altered.
pub(super) fn with_columns(publication: &Publication, table: &Table, more: &[&str]) -> Vec<String> {
    let Some(published) = publication.table(table.oid) else {
        return Vec::new();
    };
    let listed = published.columns.as_deref().unwrap_or_default();
    let is_sent = |name: &str, number| listed.contains(&number) || more.contains(&name);
    let columns = table
        .columns
        .iter()
        .filter(|column| is_sent(&column.name, column.number));
    let names: Vec<String> = columns.map(|column| identifier(&column.name)).collect();
    let filter = match &published.filter {
        Some(condition) => format!(" WHERE ({condition})"),
        None => String::new(),
    };
    let entry = format!("{} ({}){filter}", table.sql(), names.join(", "));
    vec![
        "BEGIN;".to_owned(),
        take_out(publication, &table.sql()),
        add(publication, &entry),
        "COMMIT;".to_owned(),
    ]
}
