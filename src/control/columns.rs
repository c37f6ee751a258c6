//! The types of a table's columns, as the database has them: by them a value is compared in a way for
//! which its index is used, and what is no value of the type never reaches the statement.

use std::collections::HashMap;

use tokio_postgres::Client;

use crate::database::{DatabaseError, literal};

/// How a column is compared with text, so that its index is used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ColumnType {
    Text,
    Uuid,
    Integer,
    Boolean,
    /// With a time zone or without: without, it holds UTC, as the ORMs of our users write it.
    Timestamp,
    /// Compared by its text, without an index.
    Other,
}

/// The columns of one table.
pub(super) struct Columns {
    /// The table, as it stands in SQL.
    table: String,
    types: HashMap<String, ColumnType>,
}

impl Columns {
    /// Looks a table's columns up. `key` is the configuration's name for the table.
    ///
    /// # Errors
    ///
    /// Where the database cannot be asked, or has no such table.
    pub(super) async fn read(
        client: &Client,
        table: &str,
        key: &str,
    ) -> Result<Self, DatabaseError> {
        let sql = format!(
            "SELECT a.attname::text, t.typname::text FROM pg_attribute AS a \
             JOIN pg_type AS t ON t.oid = a.atttypid \
             WHERE a.attrelid = to_regclass({}) AND a.attnum > 0 AND NOT a.attisdropped",
            literal(table)
        );
        let rows = client.query(&sql, &[]).await.map_err(DatabaseError::of)?;
        if rows.is_empty() {
            return Err(refused(format!("there is no table {table} ({key}.table)")));
        }
        let column = |row: &tokio_postgres::Row| (row.get(0), ColumnType::of(row.get(1)));
        Ok(Self {
            table: table.to_owned(),
            types: rows.iter().map(column).collect(),
        })
    }

    /// A table whose columns are known.
    #[cfg(test)]
    pub(super) fn of_table<'a>(
        table: &str,
        types: impl IntoIterator<Item = (&'a str, ColumnType)>,
    ) -> Self {
        Self {
            table: table.to_owned(),
            types: types
                .into_iter()
                .map(|(name, of)| (name.to_owned(), of))
                .collect(),
        }
    }

    /// The type of a column.
    ///
    /// # Errors
    ///
    /// Where the table has no such column.
    pub(super) fn of(&self, column: &str) -> Result<ColumnType, DatabaseError> {
        let table = &self.table;
        self.types
            .get(column)
            .copied()
            .ok_or_else(|| refused(format!("the table {table} has no column {column:?}")))
    }

    /// The same, where it must be of a certain type.
    ///
    /// # Errors
    ///
    /// Where the table has no such column, or one of another type.
    pub(super) fn expect(
        &self,
        column: &str,
        expected: ColumnType,
        words: &str,
    ) -> Result<(), DatabaseError> {
        match self.of(column)? == expected {
            true => Ok(()),
            false => {
                let table = &self.table;
                Err(refused(format!(
                    "the column {column:?} of the table {table} is no {words}"
                )))
            }
        }
    }
}

fn refused(message: String) -> DatabaseError {
    DatabaseError::Refused {
        message,
        is_temporary: false,
        mend: Vec::new(),
    }
}

impl ColumnType {
    pub(super) fn of(type_name: &str) -> Self {
        match type_name {
            "text" | "varchar" => Self::Text,
            "uuid" => Self::Uuid,
            "int2" | "int4" | "int8" => Self::Integer,
            "bool" => Self::Boolean,
            "timestamp" | "timestamptz" => Self::Timestamp,
            _ => Self::Other,
        }
    }

    /// The comparison of a column with text.
    pub(super) fn equals(self, column: &str, value: &str) -> String {
        match self {
            Self::Text => format!("{column} = {value}"),
            Self::Uuid => format!("{column} = {value}::uuid"),
            Self::Integer => format!("{column} = {value}::bigint"),
            Self::Boolean | Self::Timestamp | Self::Other => format!("{column}::text = {value}"),
        }
    }

    /// Whether PostgreSQL takes the text for a value of this type.
    pub(super) fn admits(self, text: &str) -> bool {
        match self {
            Self::Uuid => {
                let is_hyphen = |at: usize| matches!(at, 8 | 13 | 18 | 23);
                text.len() == 36
                    && text
                        .bytes()
                        .enumerate()
                        .all(|(at, byte)| match is_hyphen(at) {
                            true => byte == b'-',
                            false => byte.is_ascii_hexdigit(),
                        })
            }
            // One spelling only: the answer is found again by the text of its question.
            Self::Integer => text
                .parse::<i64>()
                .is_ok_and(|number| number.to_string() == text),
            Self::Text | Self::Boolean | Self::Timestamp | Self::Other => !text.contains('\0'),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_values_of_a_columns_type_are_asked_for() {
        assert!(ColumnType::Uuid.admits("6f1c7b1e-0000-4000-8000-000000000001"));
        for text in [
            "",
            "ada",
            "6f1c7b1e-0000-4000-8000-00000000000g",
            "6f1c7b1e000040008000000000000001",
        ] {
            assert!(!ColumnType::Uuid.admits(text), "{text:?}");
        }
        assert!(ColumnType::Integer.admits("42") && ColumnType::Integer.admits("-1"));
        for text in ["", "042", "+1", "1.0", "99999999999999999999", " 1"] {
            assert!(!ColumnType::Integer.admits(text), "{text:?}");
        }
        assert!(ColumnType::Text.admits("anything 'at' all"));
        assert!(!ColumnType::Text.admits("nul\0"));
    }
}
