//! What the database's catalogue says of tables: their columns, their indexes, what of an old row is
//! logged, and what is published. Read once and kept as values; what is well and what is not is
//! judged by `check`, what is to be run is written by `init` and `identity`.

mod identity;
pub(crate) mod parts;
mod publication;
mod read;
mod role;
mod server;

pub(crate) use identity::{Identities, index_name};
pub(crate) use parts::{Kind, Named, Part};
pub(crate) use publication::{Publication, Published};
pub(crate) use read::Catalog;
pub(crate) use role::{Rights, Role};
pub(crate) use server::Server;

use crate::database::identifier;

/// A permanent table, or a partitioned one as a whole.
#[derive(Clone, Debug)]
pub(crate) struct Table {
    pub(crate) oid: u32,
    pub(crate) schema: String,
    pub(crate) name: String,
    pub(crate) is_partition: bool,
    pub(crate) is_partitioned: bool,
    pub(crate) identity: Identity,
    pub(crate) columns: Vec<Column>,
    pub(crate) indexes: Vec<Index>,
    /// The partitions that hold rows, where it is partitioned.
    pub(crate) leaves: Vec<Table>,
}

/// A column.
#[derive(Clone, Debug)]
pub(crate) struct Column {
    pub(crate) name: String,
    /// Its place in the table, as the publication's lists have it.
    pub(crate) number: i16,
    pub(crate) is_not_null: bool,
    pub(crate) is_generated: bool,
}

/// An index, as far as it can tell rows apart.
#[derive(Clone, Debug)]
pub(crate) struct Index {
    pub(crate) name: String,
    pub(crate) columns: Vec<String>,
    pub(crate) is_primary: bool,
    /// Whether `REPLICA IDENTITY USING INDEX` names it.
    pub(crate) is_identity: bool,
    pub(crate) is_valid: bool,
    /// Unique, at once, over columns and over every row.
    pub(crate) is_unique: bool,
}

/// What of an old row is logged (PostgreSQL, "ALTER TABLE", REPLICA IDENTITY).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Identity {
    /// The primary key.
    Default,
    /// The columns of an index.
    Index,
    /// The whole row.
    Full,
    /// Nothing.
    Nothing,
}

impl Table {
    /// Its name in SQL.
    pub(crate) fn sql(&self) -> String {
        format!("{}.{}", identifier(&self.schema), identifier(&self.name))
    }

    /// Its name for a person, and in a configuration.
    pub(crate) fn label(&self) -> String {
        match self.schema.as_str() {
            "public" => self.name.clone(),
            schema => format!("{schema}.{}", self.name),
        }
    }

    /// Whether a configuration that says `Property` or `public.Property` means it.
    pub(crate) fn is_called(&self, name: &str) -> bool {
        match name.split_once('.') {
            Some((schema, table)) if self.schema == schema && self.name == table => true,
            _ => self.name == name,
        }
    }

    /// The column of this name.
    pub(crate) fn column(&self, name: &str) -> Option<&Column> {
        self.columns.iter().find(|column| column.name == name)
    }

    /// The first of these columns that it has.
    pub(crate) fn first_of<'a>(&self, names: &'a [String]) -> Option<&'a str> {
        let found = names.iter().find(|name| self.column(name).is_some());
        found.map(String::as_str)
    }

    /// The columns that an old row is logged with; `None` where nothing is, so that updates and
    /// deletes fail as soon as it is published.
    pub(crate) fn identity_columns(&self) -> Option<Vec<&str>> {
        let of = |index: &'_ Index| -> Vec<String> { index.columns.clone() };
        let names = match self.identity {
            Identity::Full => self
                .columns
                .iter()
                .map(|column| column.name.clone())
                .collect(),
            Identity::Default => of(self.indexes.iter().find(|index| self.is_key(index))?),
            Identity::Index => of(self.indexes.iter().find(|index| index.is_identity)?),
            Identity::Nothing => return None,
        };
        let is_one = |column: &&Column| names.contains(&column.name);
        Some(
            self.columns
                .iter()
                .filter(is_one)
                .map(|column| column.name.as_str())
                .collect(),
        )
    }

    /// Whether an old row is logged with all of these columns, in every partition too.
    pub(crate) fn identity_has(&self, needed: &[&str]) -> bool {
        let has = |table: &Self| {
            let columns = table.identity_columns();
            columns.is_some_and(|columns| needed.iter().all(|name| columns.contains(name)))
        };
        has(self) && self.leaves.iter().all(has)
    }

    /// Whether the application's updates and deletes go on working once it is published.
    pub(crate) fn is_writable_when_published(&self) -> bool {
        match self.leaves.as_slice() {
            // Rows live in partitions alone, and their identities count.
            [] => self.is_partitioned || self.identity_columns().is_some(),
            leaves => leaves.iter().all(|leaf| leaf.identity_columns().is_some()),
        }
    }

    /// Whether the index is a primary key that may stand for the row: a deferrable one may not.
    fn is_key(&self, index: &Index) -> bool {
        index.is_primary && index.is_unique
    }

    /// Whether the index may stand for the row: `REPLICA IDENTITY USING INDEX` takes it.
    fn can_be_identity(&self, index: &Index) -> bool {
        let is_not_null =
            |name: &String| self.column(name).is_some_and(|column| column.is_not_null);
        index.is_unique && index.is_valid && index.columns.iter().all(is_not_null)
    }
}
