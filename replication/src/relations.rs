//! The tables and types that the server has described on this connection.
//!
//! By oid, never by "the last one": a partition's description may come between its root's and the
//! rows. Every connection begins with none, since the server describes them again.

use std::collections::BTreeMap;

use crate::Rules;
use crate::limits::RELATIONS_MAX;
use crate::pgoutput::{Relation, Tuple};
use crate::protocol::Malformed;
use crate::routing::Table;
use crate::values::Shape;

/// What was described.
#[derive(Debug, Default)]
pub(crate) struct Relations {
    tables: BTreeMap<u32, Table>,
    types: BTreeMap<u32, Shape>,
}

impl Relations {
    /// Remembers a table, as the rules see it; what was known of it before is forgotten.
    pub(crate) fn describe(
        &mut self,
        relation: &Relation,
        rules: &Rules,
    ) -> Result<&mut Table, Malformed> {
        let types = &self.types;
        let shape = |oid| {
            types
                .get(&oid)
                .copied()
                .unwrap_or_else(|| Shape::of_oid(oid, rules.style))
        };
        let table = Table::new(relation, rules, shape);
        bounded(&self.tables)?;
        Ok(self
            .tables
            .entry(relation.oid)
            .insert_entry(table)
            .into_mut())
    }

    /// Remembers a type of the application's own.
    pub(crate) fn describe_type(&mut self, oid: u32, shape: Shape) -> Result<(), Malformed> {
        bounded(&self.types)?;
        self.types.insert(oid, shape);
        Ok(())
    }

    /// The table of a change, whose rows must have as many columns as it has.
    pub(crate) fn table<'a>(
        &self,
        oid: u32,
        rows: impl IntoIterator<Item = Tuple<'a>>,
    ) -> Result<&Table, Malformed> {
        let table = self.tables.get(&oid).ok_or(Malformed::UnknownRelation)?;
        if rows.into_iter().any(|row| row.len() != table.columns_count) {
            return Err(Malformed::UnknownRelation);
        }
        Ok(table)
    }
}

fn bounded<T>(map: &BTreeMap<u32, T>) -> Result<(), Malformed> {
    if map.len() < RELATIONS_MAX {
        Ok(())
    } else {
        Err(Malformed::TooMany)
    }
}
