//! Reading the catalogue: three questions for all tables, whatever their number.

use std::collections::HashMap;

use tokio_postgres::{Client, Row};

use super::{Column, Identity, Index, Table};
use crate::database::DatabaseError;

/// All permanent tables of the database that are not the system's.
#[derive(Clone, Debug, Default)]
pub(crate) struct Catalog {
    /// Partitions too, each by itself, beside the tables whose leaves they are.
    pub(crate) tables: Vec<Table>,
}

impl Catalog {
    /// Reads them.
    ///
    /// # Errors
    ///
    /// Where the database cannot be asked.
    pub(crate) async fn read(client: &Client) -> Result<Self, DatabaseError> {
        let ask = async |sql: String| client.query(&sql, &[]).await.map_err(DatabaseError::of);
        let mut columns: HashMap<u32, Vec<Column>> = HashMap::new();
        for row in ask(format!("{TABLES} {COLUMNS}")).await? {
            columns.entry(row.get(0)).or_default().push(column(&row));
        }
        let mut indexes: HashMap<u32, Vec<Index>> = HashMap::new();
        for row in ask(format!("{TABLES} {INDEXES}")).await? {
            indexes.entry(row.get(0)).or_default().push(index(&row));
        }
        let rows = ask(format!("{TABLES} {RELATIONS}")).await?;
        let table = |row: &Row| {
            let oid = row.get(0);
            Table {
                oid,
                schema: row.get(1),
                name: row.get(2),
                is_partitioned: row.get(3),
                is_partition: row.get(4),
                identity: identity(row.get(5)),
                columns: columns.remove(&oid).unwrap_or_default(),
                indexes: indexes.remove(&oid).unwrap_or_default(),
                leaves: Vec::new(),
            }
        };
        let ancestors: Vec<Vec<u32>> = rows.iter().map(|row| row.get(6)).collect();
        let mut tables: Vec<Table> = rows.iter().map(table).collect();
        let leaves: Vec<(Vec<u32>, Table)> = ancestors
            .into_iter()
            .zip(tables.iter().cloned())
            .filter(|(_, table)| table.is_partition && !table.is_partitioned)
            .collect();
        for whole in tables.iter_mut().filter(|table| table.is_partitioned) {
            let own = leaves
                .iter()
                .filter(|(above, _)| above.contains(&whole.oid));
            whole.leaves = own.map(|(_, leaf)| leaf.clone()).collect();
        }
        Ok(Self { tables })
    }

    /// The table of this number.
    pub(crate) fn table(&self, oid: u32) -> Option<&Table> {
        self.tables.iter().find(|table| table.oid == oid)
    }

    /// The table that a configuration calls so, with or without its schema; that of `public` where
    /// several are.
    pub(crate) fn called(&self, name: &str) -> Option<&Table> {
        let called = || self.tables.iter().filter(|table| table.is_called(name));
        called()
            .find(|table| table.schema == "public")
            .or_else(|| called().next())
    }
}

/// What the three questions are about.
const TABLES: &str = "
WITH tables AS (
    SELECT c.oid, n.nspname::text AS schema, c.relname::text AS name, c.relkind = 'p' AS is_partitioned,
        c.relispartition, c.relreplident::text AS identity
    FROM pg_catalog.pg_class AS c JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace
    WHERE c.relkind IN ('r', 'p') AND c.relpersistence = 'p'
        AND n.nspname <> 'information_schema' AND n.nspname !~ '^pg_'
)";

const RELATIONS: &str = "
SELECT oid, schema, name, is_partitioned, relispartition, identity,
    ARRAY(SELECT relid::oid FROM pg_catalog.pg_partition_ancestors(oid))
FROM tables ORDER BY schema, name";

const COLUMNS: &str = "
SELECT a.attrelid, a.attname::text, a.attnum, a.attnotnull, a.attgenerated <> ''
FROM tables AS t JOIN pg_catalog.pg_attribute AS a ON a.attrelid = t.oid
WHERE a.attnum > 0 AND NOT a.attisdropped ORDER BY a.attrelid, a.attnum";

// Columns that an index merely includes are not part of an identity.
const INDEXES: &str = "
SELECT i.indrelid, x.relname::text, i.indisprimary, i.indisreplident, i.indisvalid,
    i.indisunique AND i.indimmediate AND i.indpred IS NULL AND i.indexprs IS NULL,
    ARRAY(SELECT a.attname::text
        FROM unnest(i.indkey) WITH ORDINALITY AS part(attnum, place)
        JOIN pg_catalog.pg_attribute AS a ON a.attrelid = i.indrelid AND a.attnum = part.attnum
        WHERE part.place <= i.indnkeyatts ORDER BY part.place)
FROM tables AS t JOIN pg_catalog.pg_index AS i ON i.indrelid = t.oid
JOIN pg_catalog.pg_class AS x ON x.oid = i.indexrelid ORDER BY x.relname";

fn column(row: &Row) -> Column {
    Column {
        name: row.get(1),
        number: row.get(2),
        is_not_null: row.get(3),
        is_generated: row.get(4),
    }
}

fn index(row: &Row) -> Index {
    Index {
        name: row.get(1),
        is_primary: row.get(2),
        is_identity: row.get(3),
        is_valid: row.get(4),
        is_unique: row.get(5),
        columns: row.get(6),
    }
}

fn identity(letter: &str) -> Identity {
    match letter {
        "d" => Identity::Default,
        "i" => Identity::Index,
        "f" => Identity::Full,
        _ => Identity::Nothing,
    }
}
