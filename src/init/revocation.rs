//! The table of revocations, by which an application without tables of its own for it closes streams:
//! `tailrace.revocation`, whose rows every node applies at their place in the log.

use replication::REVOCATION_TABLE;
use tokio_postgres::Client;

use super::plan::Plan;
use super::statements::{Kind, Step};
use crate::catalog::{Catalog, Publication, Role, Table};
use crate::database::{DatabaseError, identifier};

/// Why these statements are there, for the line above them.
const WHY: &str = "Whom the application throws out without a table of its own that says so: POST \
                   /api/realtime/revoke writes a row, and every node closes the streams.";

/// The table as it is in the database.
#[derive(Clone, Debug, Default)]
pub(crate) struct RevocationTable {
    table: Option<Table>,
    /// Whether the node's role may read it and write to it.
    is_usable: bool,
}

impl RevocationTable {
    /// Finds it, and what the role may do with it.
    ///
    /// # Errors
    ///
    /// Where the database cannot be asked.
    pub(crate) async fn read(
        client: &Client,
        catalog: &Catalog,
        role: Option<&Role>,
    ) -> Result<Self, DatabaseError> {
        let table = find(catalog).cloned();
        let is_usable = match (&table, role) {
            (Some(table), Some(role)) => {
                let row = client.query_one(RIGHTS, &[&role.name, &table.oid]).await;
                row.map_err(DatabaseError::of)?.get(0)
            }
            _ => false,
        };
        Ok(Self { table, is_usable })
    }

    /// Whether it is there.
    pub(crate) fn is_there(&self) -> bool {
        self.table.is_some()
    }

    /// Whether the role may read it and write to it.
    pub(crate) fn is_usable(&self) -> bool {
        self.is_usable
    }

    /// Whether its rows are sent.
    pub(crate) fn is_published(&self, publication: Option<&Publication>) -> bool {
        let (Some(table), Some(publication)) = (&self.table, publication) else {
            return false;
        };
        publication.table(table.oid).is_some()
    }
}

const RIGHTS: &str = "
SELECT pg_catalog.has_table_privilege($1::text::name, c.oid, 'SELECT')
    AND pg_catalog.has_table_privilege($1::text::name, c.oid, 'INSERT')
    AND pg_catalog.has_schema_privilege($1::text::name, c.relnamespace, 'USAGE')
FROM pg_catalog.pg_class AS c WHERE c.oid = $2";

/// The table, where the database has it.
pub(crate) fn find(catalog: &Catalog) -> Option<&Table> {
    catalog.tables.iter().find(|table| is_revocation(table))
}

/// Whether it is this table.
pub(crate) fn is_revocation(table: &Table) -> bool {
    (table.schema.as_str(), table.name.as_str()) == REVOCATION_TABLE
}

/// Its name, as SQL has it.
pub(super) fn sql_name() -> String {
    let (schema, name) = REVOCATION_TABLE;
    format!("{schema}.{name}")
}

/// What makes it, and lets the role use it. That it is published is for the publication's statements.
pub(super) fn steps(plan: &Plan, steps: &mut Vec<Step>) {
    let mut push = |sql: String| {
        steps.push(Step {
            why: WHY.to_owned(),
            sql,
            kind: Kind::Plain,
        });
    };
    let (schema, name) = (REVOCATION_TABLE.0, sql_name());
    if !plan.revocation.is_there() {
        push(format!("CREATE SCHEMA IF NOT EXISTS {schema};"));
        push(format!(
            "CREATE TABLE {name} (\n    \
                 id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,\n    \
                 \"user\" text,\n    \
                 session text,\n    \
                 organization text,\n    \
                 issued_before timestamptz,\n    \
                 until timestamptz NOT NULL,\n    \
                 created_at timestamptz NOT NULL DEFAULT now()\n);"
        ));
    }
    if !plan.revocation.is_usable() {
        let role = identifier(&plan.role_name);
        push(format!("GRANT USAGE ON SCHEMA {schema} TO {role};"));
        push(format!("GRANT SELECT, INSERT ON {name} TO {role};"));
    }
}

/// What takes it back; its schema too, where nothing else is in it.
pub(super) fn undo(catalog: &Catalog) -> String {
    if find(catalog).is_none() {
        return String::new();
    }
    let schema = REVOCATION_TABLE.0;
    let mut in_schema = catalog.tables.iter().filter(|table| table.schema == schema);
    let drop = format!("DROP TABLE {};\n", sql_name());
    match in_schema.all(is_revocation) {
        true => format!("{drop}DROP SCHEMA {schema};\n"),
        false => drop,
    }
}
