//! A publication: what of its tables is sent.

use tokio_postgres::Client;

use crate::database::DatabaseError;

/// From this version on publications have column lists, row filters and schemas.
const LISTS_SINCE: i32 = 150_000;

/// A publication.
#[derive(Clone, Debug)]
pub(crate) struct Publication {
    pub(crate) name: String,
    pub(crate) is_for_all_tables: bool,
    /// The schemas whose tables are all in it.
    pub(crate) schemas: Vec<String>,
    pub(crate) inserts: bool,
    pub(crate) updates: bool,
    pub(crate) deletes: bool,
    pub(crate) truncates: bool,
    /// Whether changes of partitions are sent as the whole table's.
    pub(crate) is_via_root: bool,
    pub(crate) tables: Vec<Published>,
}

/// A table in it.
#[derive(Clone, Debug)]
pub(crate) struct Published {
    pub(crate) oid: u32,
    /// The numbers of the only columns that are sent; `None` where all are.
    pub(crate) columns: Option<Vec<i16>>,
    /// The condition of the rows that are sent.
    pub(crate) filter: Option<String>,
    /// The numbers of the columns in it.
    pub(crate) filter_columns: Vec<i16>,
}

impl Publication {
    /// Reads the publication of this name; `None` where there is none.
    ///
    /// # Errors
    ///
    /// Where the database cannot be asked.
    pub(crate) async fn read(
        client: &Client,
        name: &str,
        version: i32,
    ) -> Result<Option<Self>, DatabaseError> {
        let has_lists = version >= LISTS_SINCE;
        let sql =
            "SELECT puballtables, pubinsert, pubupdate, pubdelete, pubtruncate, pubviaroot, oid
                   FROM pg_catalog.pg_publication WHERE pubname = $1";
        let found = client.query_opt(sql, &[&name]).await;
        let Some(row) = found.map_err(DatabaseError::of)? else {
            return Ok(None);
        };
        let oid: u32 = row.get(6);
        let schemas = match has_lists {
            true => client
                .query(SCHEMAS, &[&oid])
                .await
                .map_err(DatabaseError::of)?,
            false => Vec::new(),
        };
        let tables = if has_lists { TABLES } else { TABLES_UNTIL_14 };
        let tables = client
            .query(tables, &[&name])
            .await
            .map_err(DatabaseError::of)?;
        let published = |row: &tokio_postgres::Row| Published {
            oid: row.get(0),
            columns: row.get(1),
            filter: row.get(2),
            filter_columns: row.get(3),
        };
        Ok(Some(Self {
            name: name.to_owned(),
            is_for_all_tables: row.get(0),
            schemas: schemas.iter().map(|row| row.get(0)).collect(),
            inserts: row.get(1),
            updates: row.get(2),
            deletes: row.get(3),
            truncates: row.get(4),
            is_via_root: row.get(5),
            tables: tables.iter().map(published).collect(),
        }))
    }

    /// The table of this number in it.
    pub(crate) fn table(&self, oid: u32) -> Option<&Published> {
        self.tables.iter().find(|table| table.oid == oid)
    }

    /// Whether it sends what is done to rows that are there already.
    pub(crate) fn needs_identities(&self) -> bool {
        self.updates || self.deletes
    }
}

const SCHEMAS: &str = "
SELECT n.nspname::text FROM pg_catalog.pg_publication_namespace AS p
JOIN pg_catalog.pg_namespace AS n ON n.oid = p.pnnspid WHERE p.pnpubid = $1 ORDER BY 1";

// The columns of a filter are in the text of its expression only: what depends on them does not tell
// them from those of the list.
const TABLES: &str = "
SELECT c.oid, CASE WHEN r.prattrs IS NOT NULL THEN r.prattrs::int2[] END,
    pg_catalog.pg_get_expr(r.prqual, r.prrelid),
    ARRAY(SELECT DISTINCT found[1]::int2
        FROM regexp_matches(r.prqual::text, ':varattno (\\d+)', 'g') AS found)
FROM pg_catalog.pg_publication_tables AS t
JOIN pg_catalog.pg_namespace AS n ON n.nspname = t.schemaname
JOIN pg_catalog.pg_class AS c ON c.relnamespace = n.oid AND c.relname = t.tablename
JOIN pg_catalog.pg_publication AS p ON p.pubname = t.pubname
LEFT JOIN pg_catalog.pg_publication_rel AS r ON r.prpubid = p.oid AND r.prrelid = c.oid
WHERE t.pubname = $1 ORDER BY t.schemaname, t.tablename";

const TABLES_UNTIL_14: &str = "
SELECT c.oid, NULL::int2[], NULL::text, ARRAY[]::int2[]
FROM pg_catalog.pg_publication_tables AS t
JOIN pg_catalog.pg_namespace AS n ON n.nspname = t.schemaname
JOIN pg_catalog.pg_class AS c ON c.relnamespace = n.oid AND c.relname = t.tablename
WHERE t.pubname = $1 ORDER BY t.schemaname, t.tablename";
