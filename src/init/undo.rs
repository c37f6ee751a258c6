//! `tailrace init --undo`: the statements that take back what `init` set up. What may have been
//! there before is left alone, and said.

use std::fmt::Write as _;

use tokio_postgres::Client;

use super::revocation;
use super::statements::comment;
use crate::catalog::{Catalog, Identity, Publication, Role, Table, index_name};
use crate::database::{DatabaseError, identifier};

/// What a role was granted in this database. Rights on our own table go with it.
pub(super) struct Grants {
    /// Whole clauses: `SELECT ON "public"."Member"`.
    clauses: Vec<String>,
}

impl Grants {
    /// Reads what `init` may have granted.
    ///
    /// # Errors
    ///
    /// Where the database cannot be asked.
    pub(super) async fn read(client: &Client, role: &str) -> Result<Self, DatabaseError> {
        let rows = client
            .query(GRANTS, &[&role])
            .await
            .map_err(DatabaseError::of)?;
        Ok(Self {
            clauses: rows.iter().map(|row| row.get(0)).collect(),
        })
    }
}

const GRANTS: &str = "
WITH role AS (SELECT oid FROM pg_catalog.pg_roles WHERE rolname = $1)
SELECT format('SELECT ON %I.%I', n.nspname, c.relname)
FROM role, pg_catalog.pg_class AS c JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace,
    pg_catalog.aclexplode(c.relacl) AS a
WHERE a.grantee = role.oid AND a.privilege_type = 'SELECT'
    AND (n.nspname, c.relname) <> ('tailrace', 'revocation')
UNION ALL
SELECT format('SELECT (%s) ON %I.%I', string_agg(quote_ident(t.attname), ', ' ORDER BY t.attnum),
    n.nspname, c.relname)
FROM role, pg_catalog.pg_class AS c JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace
JOIN pg_catalog.pg_attribute AS t ON t.attrelid = c.oid, pg_catalog.aclexplode(t.attacl) AS a
WHERE a.grantee = role.oid AND a.privilege_type = 'SELECT' GROUP BY n.nspname, c.relname
UNION ALL
SELECT format('USAGE ON SCHEMA %I', n.nspname)
FROM role, pg_catalog.pg_namespace AS n, pg_catalog.aclexplode(n.nspacl) AS a
WHERE a.grantee = role.oid AND a.privilege_type = 'USAGE' AND (n.nspname <> 'tailrace' OR (
    SELECT bool_and(c.relname = 'revocation') FROM pg_catalog.pg_class AS c
    WHERE c.relnamespace = n.oid AND c.relkind IN ('r', 'p')) IS NOT TRUE)
UNION ALL
SELECT format('CONNECT ON DATABASE %I', d.datname)
FROM role, pg_catalog.pg_database AS d, pg_catalog.aclexplode(d.datacl) AS a
WHERE a.grantee = role.oid AND a.privilege_type = 'CONNECT' AND d.datname = current_database()
ORDER BY 1";

/// The statements: the publication first, so that no write of the application fails for want of an
/// identity.
pub(super) fn script(
    catalog: &Catalog,
    publication: Option<&Publication>,
    role: Option<&Role>,
    grants: &Grants,
) -> String {
    let mut text = String::from(
        "-- Takes back what `tailrace init` set up. Stop the nodes, and run `tailrace slots drop`\n\
         -- first: it needs the role.\n",
    );
    if let Some(publication) = publication {
        let _ = writeln!(text, "DROP PUBLICATION {};", identifier(&publication.name));
    }
    text.push_str(&revocation::undo(catalog));
    let theirs = |table: &&Table| !revocation::is_revocation(table);
    for table in catalog.tables.iter().filter(theirs) {
        text.push_str(&identity(table));
        let is_published = publication.is_some_and(|one| one.table(table.oid).is_some());
        if is_published && !is_ours(table) && table.identity != Identity::Default {
            let _ = writeln!(
                text,
                "-- The replica identity of {} is not one of our indexes. If `init` set it:\n\
                 -- ALTER TABLE {} REPLICA IDENTITY DEFAULT;",
                comment(&table.label()),
                comment(&table.sql())
            );
        }
    }
    // Where the whole table had no index, those of its partitions are still there.
    let partitions = catalog.tables.iter().filter(|table| table.is_partition);
    for table in partitions.filter(|table| has_our_index(table)) {
        let (schema, name) = (identifier(&table.schema), identifier(&index_name(table)));
        let _ = writeln!(text, "DROP INDEX IF EXISTS {schema}.{name};");
    }
    if let Some(role) = role {
        let name = identifier(&role.name);
        for clause in &grants.clauses {
            let _ = writeln!(text, "REVOKE {clause} FROM {name};");
        }
        let _ = writeln!(text, "DROP ROLE {name};");
    }
    text.push_str(
        "-- wal_level and max_slot_wal_keep_size are the server's, and others may rely on them:\n\
         -- ALTER SYSTEM RESET wal_level;  -- takes a restart\n\
         -- ALTER SYSTEM RESET max_slot_wal_keep_size; SELECT pg_reload_conf();\n",
    );
    text
}

/// The default identity again, and our index gone; a partition's goes with that of its table.
fn identity(table: &Table) -> String {
    let mut text = String::new();
    if is_ours(table) {
        let _ = writeln!(
            text,
            "ALTER TABLE {} REPLICA IDENTITY DEFAULT;",
            table.sql()
        );
    }
    if !table.is_partition && has_our_index(table) {
        let (schema, name) = (identifier(&table.schema), identifier(&index_name(table)));
        let _ = writeln!(text, "DROP INDEX {schema}.{name};");
    }
    text
}

fn has_our_index(table: &Table) -> bool {
    let name = index_name(table);
    table.indexes.iter().any(|index| index.name == name)
}

fn is_ours(table: &Table) -> bool {
    let name = index_name(table);
    let mut identities = table.indexes.iter().filter(|index| index.is_identity);
    table.identity == Identity::Index && identities.any(|index| index.name == name)
}
