//! The statements that change what of an old row is logged: an index first where one is needed, then
//! the replica identity, so that no write of the application ever fails in between.

use super::{Identity, Index, Table};
use crate::database::identifier;

/// The end of the names of the indexes that we advise.
const SUFFIX: &str = "_tailrace_identity";

/// PostgreSQL cuts names at 63 bytes ("Identifiers and Key Words").
const NAME_BYTES_MAX: usize = 63;

/// What is to be run, in this order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Identities {
    /// Indexes: without locks on a table, but for the last one of a partitioned table.
    pub(crate) indexes: Vec<String>,
    /// The identities: each takes the table's lock for a moment.
    pub(crate) identities: Vec<String>,
    /// Whether a whole old row is logged, for want of columns that are never null.
    pub(crate) is_full: bool,
}

impl Identities {
    /// What has to be run until an old row is logged with these columns; nothing where it is already.
    pub(crate) fn with(table: &Table, needed: &[&str]) -> Self {
        let mut all = Self::default();
        for leaf in &table.leaves {
            all.add(leaf, needed, true);
        }
        all.add(table, needed, !table.is_partitioned);
        all
    }

    /// Both halves, one after the other.
    pub(crate) fn statements(self) -> Vec<String> {
        let mut all = self.indexes;
        all.extend(self.identities);
        all
    }

    fn add(&mut self, table: &Table, needed: &[&str], concurrently: bool) {
        let columns = table.identity_columns();
        if columns.is_some_and(|columns| needed.iter().all(|name| columns.contains(name))) {
            return;
        }
        let alter =
            |identity: &str| format!("ALTER TABLE {} REPLICA IDENTITY {identity};", table.sql());
        let using = |name: &str| alter(&format!("USING INDEX {}", identifier(name)));
        if let Some(index) = table.narrowest_with(needed) {
            let key_suffices = index.is_primary && table.identity != Identity::Default;
            self.identities.push(match key_suffices {
                true => alter("DEFAULT"),
                false => using(&index.name),
            });
            return;
        }
        let never_null = |name: &&str| table.column(name).is_some_and(|column| column.is_not_null);
        let Some(key) = table
            .narrowest_with(&[])
            .filter(|_| needed.iter().all(never_null))
        else {
            self.is_full = true;
            self.identities.push(alter("FULL"));
            return;
        };
        let name = index_name(table);
        let is_left_over = |index: &&Index| index.name == name && !index.is_valid;
        if table.indexes.iter().any(|index| is_left_over(&index)) {
            let how = if concurrently { "CONCURRENTLY " } else { "" };
            let (schema, name) = (identifier(&table.schema), identifier(&name));
            self.indexes
                .push(format!("DROP INDEX {how}{schema}.{name};"));
        }
        let key = key.columns.iter().map(String::as_str);
        let more = key.filter(|column| !needed.contains(column));
        let columns: Vec<String> = needed.iter().copied().chain(more).map(identifier).collect();
        self.indexes.push(format!(
            "CREATE UNIQUE INDEX {}{} ON {} ({});",
            if concurrently { "CONCURRENTLY " } else { "" },
            identifier(&name),
            table.sql(),
            columns.join(", ")
        ));
        self.identities.push(using(&name));
    }
}

impl Table {
    /// The smallest index that may stand for the row and has these columns.
    fn narrowest_with(&self, needed: &[&str]) -> Option<&Index> {
        let has = |index: &&Index| {
            let named = |name: &&str| index.columns.iter().any(|column| column == name);
            self.can_be_identity(index) && needed.iter().all(named)
        };
        // The primary key first among equals: nothing has to be named for it.
        let size = |index: &&Index| (index.columns.len(), !index.is_primary);
        self.indexes.iter().filter(has).min_by_key(size)
    }
}

/// The name of the index that we advise for a table.
pub(crate) fn index_name(table: &Table) -> String {
    let plain = format!("{}{SUFFIX}", table.name);
    if plain.len() <= NAME_BYTES_MAX {
        return plain;
    }
    // PostgreSQL would cut the end off, which is what tells it from the table's own name.
    let end = format!("_{}{SUFFIX}", table.oid);
    let mut stem = table.name.as_str();
    while stem.len() + end.len() > NAME_BYTES_MAX {
        let mut letters = stem.chars();
        letters.next_back();
        stem = letters.as_str();
    }
    format!("{stem}{end}")
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::catalog::Column;

    pub(crate) fn table(name: &str) -> Table {
        Table {
            oid: 7,
            schema: "public".into(),
            name: name.into(),
            is_partition: false,
            is_partitioned: false,
            identity: Identity::Default,
            columns: vec![column("id", true), column("organizationId", true)],
            indexes: vec![Index {
                is_primary: true,
                ..index("key", &["id"])
            }],
            leaves: Vec::new(),
        }
    }

    pub(crate) fn column(name: &str, is_not_null: bool) -> Column {
        Column {
            name: name.into(),
            number: 1,
            is_not_null,
            is_generated: false,
        }
    }

    pub(crate) fn index(name: &str, columns: &[&str]) -> Index {
        Index {
            name: name.into(),
            columns: columns.iter().map(|name| (*name).to_owned()).collect(),
            is_primary: false,
            is_identity: false,
            is_valid: true,
            is_unique: true,
        }
    }

    fn mend(table: &Table) -> Vec<String> {
        Identities::with(table, &["organizationId"]).statements()
    }

    #[test]
    fn an_index_is_made_where_none_will_do() {
        assert_eq!(
            mend(&table("Property")),
            [
                "CREATE UNIQUE INDEX CONCURRENTLY \"Property_tailrace_identity\" ON \
                 \"public\".\"Property\" (\"organizationId\", \"id\");",
                "ALTER TABLE \"public\".\"Property\" REPLICA IDENTITY USING INDEX \
                 \"Property_tailrace_identity\";"
            ]
        );
    }

    #[test]
    fn an_index_that_is_there_is_taken() {
        let mut member = table("Member");
        member
            .indexes
            .push(index("wide", &["organizationId", "id", "x"]));
        member.indexes.push(index("fit", &["organizationId", "id"]));
        let taken = "ALTER TABLE \"public\".\"Member\" REPLICA IDENTITY USING INDEX \"fit\";";
        assert_eq!(mend(&member), [taken]);
        for spoil in [
            (|index| index.is_unique = false) as fn(&mut Index),
            |index| index.is_valid = false,
            |index| index.columns.push("nullable".into()),
        ] {
            let mut spoilt = member.clone();
            spoilt.columns.push(column("nullable", false));
            spoil(&mut spoilt.indexes[2]);
            assert!(!mend(&spoilt).iter().any(|sql| sql == taken));
        }
        let mut well = member;
        well.identity = Identity::Index;
        well.indexes[2].is_identity = true;
        assert!(mend(&well).is_empty());
    }

    #[test]
    fn a_column_that_may_be_null_needs_the_whole_row() {
        let mut note = table("Note");
        note.columns[1].is_not_null = false;
        let full = "ALTER TABLE \"public\".\"Note\" REPLICA IDENTITY FULL;";
        assert_eq!(mend(&note), [full]);
        let mut keyless = table("Note");
        keyless.indexes.clear();
        assert_eq!(mend(&keyless), [full]);
        keyless.identity = Identity::Full;
        assert!(mend(&keyless).is_empty());
    }

    #[test]
    fn a_key_that_was_switched_off_is_switched_on_again() {
        let mut log = table("Log");
        log.identity = Identity::Nothing;
        assert!(!log.is_writable_when_published());
        let sql = Identities::with(&log, &[]).statements();
        assert_eq!(
            sql,
            ["ALTER TABLE \"public\".\"Log\" REPLICA IDENTITY DEFAULT;"]
        );
        // An identity whose index was dropped is none.
        log.identity = Identity::Index;
        assert!(!log.is_writable_when_published());
    }

    #[test]
    fn partitions_come_before_the_whole() {
        let mut whole = table("Event");
        whole.is_partitioned = true;
        whole.leaves = vec![table("Event_1")];
        let sql = mend(&whole);
        assert!(
            sql[0].starts_with("CREATE UNIQUE INDEX CONCURRENTLY \"Event_1_"),
            "{sql:?}"
        );
        assert!(
            sql[1].starts_with("CREATE UNIQUE INDEX \"Event_tailrace"),
            "{sql:?}"
        );
        assert!(
            sql[2].starts_with("ALTER TABLE \"public\".\"Event_1\" "),
            "{sql:?}"
        );
        assert!(
            sql[3].starts_with("ALTER TABLE \"public\".\"Event\" "),
            "{sql:?}"
        );
    }

    #[test]
    fn a_long_name_keeps_what_tells_it_apart() {
        let long = table(&"ü".repeat(31));
        let name = index_name(&long);
        assert!(
            name.len() <= NAME_BYTES_MAX && name.ends_with("_7_tailrace_identity"),
            "{name}"
        );
        assert_eq!(index_name(&table("T")), "T_tailrace_identity");
    }
}
