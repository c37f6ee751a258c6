//! The publication, as it was last seen: what it has, what has left it, and what it lacks.
//!
//! A table that leaves is not in the stream: it simply says nothing any more. So the catalog is asked
//! now and then, and what follows from its answers is decided here.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use crate::Rules;
use crate::limits::{LEFT_TABLES_MAX, PUBLISHED_TABLES_MAX};
use crate::protocol::backend::Row;
use crate::sql::{identifier, literal};

/// A table's schema and name.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct TableName {
    pub(crate) schema: String,
    pub(crate) name: String,
}

impl fmt::Display for TableName {
    /// As it stands in SQL.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", identifier(&self.schema), identifier(&self.name))
    }
}

/// A table of the publication.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Published {
    oid: u32,
    /// The partitioned table that it is a part of, where it is one.
    root: Option<TableName>,
}

/// The tables of the publication.
pub(crate) type Tables = BTreeMap<TableName, Published>;

/// The tables that are in the database, of those that were asked for, with their oids.
pub(crate) type Existing = BTreeMap<TableName, u32>;

/// What is known of the publication.
#[derive(Debug)]
pub(crate) struct Publication {
    /// The tables it had when it was last there.
    tables: Tables,
    is_there: bool,
    /// Tables that were published, are still there, and are not published any more; and whether they
    /// are others of the same name, which nobody will have meant to leave out.
    left: BTreeMap<TableName, bool>,
}

/// What has changed since it was last looked at.
#[derive(Debug, PartialEq)]
pub(crate) enum Change {
    /// It is gone.
    Gone,
    /// These tables have left it.
    Left(Vec<TableName>),
    /// It is there again, or these tables are.
    Back(Vec<TableName>),
}

impl Publication {
    /// As it is when streaming begins.
    pub(crate) fn new(tables: Tables) -> Self {
        Self {
            tables,
            is_there: true,
            left: BTreeMap::new(),
        }
    }

    /// The tables that have been published and are not any more, if those that are published are
    /// these: to be asked whether they are still in the database.
    pub(crate) fn absent(&self, tables: &Tables) -> Vec<TableName> {
        let roots: BTreeSet<&TableName> = tables
            .values()
            .filter_map(|table| table.root.as_ref())
            .collect();
        let is_absent = |name: &TableName, root: Option<&TableName>| {
            // A partition that was detached or dropped is nothing that the application reads.
            !tables.contains_key(name) && root.is_none_or(|root| !roots.contains(root))
        };
        let published = self.tables.iter();
        published
            .filter(|(name, table)| is_absent(name, table.root.as_ref()))
            .map(|(name, _)| name)
            .chain(self.left.keys().filter(|name| is_absent(name, None)))
            .take(LEFT_TABLES_MAX)
            .cloned()
            .collect()
    }

    /// Takes what was found: the tables that are published, `None` without a publication, and which
    /// of those that [`Self::absent`] named are in the database.
    pub(crate) fn observe(&mut self, found: Option<Tables>, existing: &Existing) -> Vec<Change> {
        let Some(tables) = found else {
            let is_news = std::mem::replace(&mut self.is_there, false);
            return Vec::from_iter(is_news.then_some(Change::Gone));
        };
        let absent = self.absent(&tables);
        let mut left = BTreeMap::new();
        for name in absent {
            if let Some(oid) = existing.get(&name) {
                let before = self.tables.get(&name).map(|table| table.oid);
                let was_another = self.left.get(&name).copied();
                let is_another = was_another.unwrap_or(before != Some(*oid));
                left.insert(name, is_another);
            }
        }
        let is_new = |name: &&TableName| !self.left.contains_key(*name);
        let gone: Vec<TableName> = left.keys().filter(is_new).cloned().collect();
        let is_back = |name: &&TableName| tables.contains_key(*name);
        let back: Vec<TableName> = self.left.keys().filter(is_back).cloned().collect();
        let was_there = std::mem::replace(&mut self.is_there, true);
        (self.tables, self.left) = (tables, left);
        let mut changes = Vec::new();
        if !was_there || !back.is_empty() {
            changes.push(Change::Back(back));
        }
        if !gone.is_empty() {
            changes.push(Change::Left(gone));
        }
        changes
    }

    /// It is there, and everybody who missed something without it has been told so.
    pub(crate) fn on_reset(&mut self) {
        self.is_there = true;
    }

    pub(crate) fn is_there(&self) -> bool {
        self.is_there
    }

    /// The tables that are missing in it: those that have left, and those that the rules name.
    pub(crate) fn missing(&self, rules: &Rules) -> Vec<String> {
        let left = self.left.keys().map(TableName::to_string);
        let mut missing: Vec<String> = left.collect();
        missing.extend(self.unrouted(rules));
        missing
    }

    /// The same without those that somebody took out of it: nobody can want these to be missing.
    pub(crate) fn mistakes(&self, rules: &Rules) -> Vec<String> {
        let another = self.left.iter().filter(|(_, is_another)| **is_another);
        let mut mistakes: Vec<String> = another.map(|(name, _)| name.to_string()).collect();
        mistakes.extend(self.unrouted(rules));
        mistakes
    }

    /// The tables that routes name and that are not published.
    fn unrouted(&self, rules: &Rules) -> Vec<String> {
        let is_published = |route: &&crate::Route| {
            self.tables.iter().any(|(name, table)| {
                let names = [Some(name), table.root.as_ref()];
                names
                    .into_iter()
                    .flatten()
                    .any(|name| route.concerns(&name.schema, &name.name))
            })
        };
        let is_left = |route: &&crate::Route| {
            let mut left = self.left.iter();
            left.any(|(name, is_another)| *is_another && route.concerns(&name.schema, &name.name))
        };
        let missing = rules.routes.iter();
        missing
            .filter(|route| !is_published(route) && !is_left(route))
            .map(|route| match route.table.split_once('.') {
                Some((schema, name)) => format!("{}.{}", identifier(schema), identifier(name)),
                None => identifier(&route.table),
            })
            .collect()
    }
}

/// Asks for the tables of a publication.
pub(crate) fn tables_question(publication: &str) -> String {
    format!(
        "SELECT t.schemaname, t.tablename, c.oid, rn.nspname, r.relname FROM \
         pg_catalog.pg_publication_tables t JOIN pg_catalog.pg_namespace n ON n.nspname = \
         t.schemaname JOIN pg_catalog.pg_class c ON c.relnamespace = n.oid AND c.relname = \
         t.tablename LEFT JOIN pg_catalog.pg_class r ON c.relispartition AND r.oid = \
         pg_catalog.pg_partition_root(c.oid) LEFT JOIN pg_catalog.pg_namespace rn ON rn.oid = \
         r.relnamespace WHERE t.pubname = {} ORDER BY 1, 2 LIMIT {PUBLISHED_TABLES_MAX}",
        literal(publication)
    )
}

/// Reads its answer.
pub(crate) fn parse_tables(rows: &[Row]) -> Option<Tables> {
    rows.iter()
        .map(|row| {
            let [schema, name, oid, root_schema, root] = row.as_slice() else {
                return None;
            };
            let root = root_schema.clone().zip(root.clone());
            let published = Published {
                oid: oid.as_ref()?.parse().ok()?,
                root: root.map(|(schema, name)| TableName { schema, name }),
            };
            let (schema, name) = (schema.clone()?, name.clone()?);
            Some((TableName { schema, name }, published))
        })
        .collect()
}

/// Asks which of some tables are in the database.
pub(crate) fn existing_question(names: &[TableName]) -> String {
    let pair =
        |table: &TableName| format!("({}, {})", literal(&table.schema), literal(&table.name));
    let pairs: Vec<String> = names.iter().map(pair).collect();
    format!(
        "SELECT n.nspname, c.relname, c.oid FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n \
         ON n.oid = c.relnamespace WHERE c.relkind IN ('r', 'p') AND (n.nspname, c.relname) IN ({})",
        pairs.join(", ")
    )
}

/// Reads its answer.
pub(crate) fn parse_existing(rows: &[Row]) -> Option<Existing> {
    rows.iter()
        .map(|row| {
            let [Some(schema), Some(name), Some(oid)] = row.as_slice() else {
                return None;
            };
            let (schema, name) = (schema.clone(), name.clone());
            Some((TableName { schema, name }, oid.parse().ok()?))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Route;

    fn name(name: &str) -> TableName {
        let (schema, name) = ("public".to_owned(), name.to_owned());
        TableName { schema, name }
    }

    /// Tables, each with its oid and the table that it is a partition of.
    fn tables(list: &[(&str, u32, Option<&str>)]) -> Tables {
        let table = |(table, oid, root): &(&str, u32, Option<&str>)| {
            let (oid, root) = (*oid, root.map(name));
            (name(table), Published { oid, root })
        };
        list.iter().map(table).collect()
    }

    fn existing(list: &[(&str, u32)]) -> Existing {
        list.iter()
            .map(|(table, oid)| (name(table), *oid))
            .collect()
    }

    #[test]
    fn a_table_that_leaves_is_said_once_and_again_when_it_is_back() {
        let both = tables(&[("A", 1, None), ("B", 2, None)]);
        let one = tables(&[("A", 1, None)]);
        let mut publication = Publication::new(both.clone());
        assert_eq!(publication.absent(&one), [name("B")]);
        let still = existing(&[("B", 2)]);
        let left = publication.observe(Some(one.clone()), &still);
        assert_eq!(left, [Change::Left(vec![name("B")])]);
        assert_eq!(publication.observe(Some(one), &still), []);
        let rules = Rules::default();
        assert_eq!(publication.missing(&rules), ["\"public\".\"B\""]);
        assert_eq!(
            publication.mistakes(&rules),
            [""; 0],
            "somebody took it out"
        );
        let back = publication.observe(Some(both), &Existing::new());
        assert_eq!(back, [Change::Back(vec![name("B")])]);
        assert_eq!(publication.missing(&rules), [""; 0]);
    }

    #[test]
    fn a_table_that_was_made_anew_is_a_mistake_and_one_that_was_dropped_is_not() {
        let mut publication = Publication::new(tables(&[("A", 1, None), ("B", 2, None)]));
        let another = existing(&[("B", 3)]);
        let left = publication.observe(Some(Tables::new()), &another);
        assert_eq!(left, [Change::Left(vec![name("B")])]);
        let rules = Rules::default();
        assert_eq!(publication.mistakes(&rules), ["\"public\".\"B\""]);
        assert_eq!(publication.observe(Some(Tables::new()), &another), []);
        assert_eq!(publication.mistakes(&rules).len(), 1, "as before");
    }

    #[test]
    fn partitions_come_and_go() {
        let january = [("m1", 1, Some("m")), ("m2", 2, Some("m"))];
        let mut publication = Publication::new(tables(&january));
        let february = tables(&[("m2", 2, Some("m")), ("m3", 3, Some("m"))]);
        assert_eq!(publication.absent(&february), []);
        assert_eq!(publication.observe(Some(february), &Existing::new()), []);
        let absent = publication.absent(&Tables::new());
        assert_eq!(absent, [name("m2"), name("m3")], "the whole of it has left");
    }

    #[test]
    fn a_publication_that_is_gone_is_said_once_and_its_tables_are_remembered() {
        let both = tables(&[("A", 1, None), ("B", 2, None)]);
        let mut publication = Publication::new(both);
        assert_eq!(publication.observe(None, &Existing::new()), [Change::Gone]);
        assert_eq!(publication.observe(None, &Existing::new()), []);
        assert!(!publication.is_there());
        let changes = publication.observe(Some(tables(&[("A", 1, None)])), &existing(&[("B", 2)]));
        let expected = [Change::Back(vec![]), Change::Left(vec![name("B")])];
        assert_eq!(changes, expected);
    }

    #[test]
    fn a_route_wants_its_table_or_a_part_of_it() {
        let publication = Publication::new(tables(&[("A", 1, None), ("m1", 2, Some("m"))]));
        let routes = ["A", "public.A", "m", "m1", "C", "other.A"].map(Route::new);
        let rules = Rules {
            routes: routes.into(),
            ..Rules::default()
        };
        assert_eq!(publication.mistakes(&rules), ["\"C\"", "\"other\".\"A\""]);
    }

    #[test]
    fn what_is_no_answer_is_not_read() {
        let some = |text: &str| Some(text.to_owned());
        let good = vec![some("public"), some("A"), some("7"), None, None];
        assert_eq!(parse_tables(&[good]).unwrap(), tables(&[("A", 7, None)]));
        let number = vec![some("public"), some("A"), some("x"), None, None];
        for row in [vec![], number, vec![None; 5]] {
            assert_eq!(parse_tables(std::slice::from_ref(&row)), None);
            assert_eq!(parse_existing(&[row]), None);
        }
    }
}
