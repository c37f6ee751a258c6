//! The tables that are read in the snapshot, as the database's catalog describes them, and how they are read.
//! The other statements are in `rows`.

use super::concerns::whole_identity;
use super::identity::REVOCATION_TABLE;
use super::rows::unexpected;
use super::{Identity, MembershipTable, UserTable};
use crate::limits::{BANS_MAX, BANS_OVER_MS, NAME_BYTES_MAX};
use crate::protocol::backend::Row;
use crate::sql::{identifier, literal};

/// The oid of `boolean`, and of `uuid`, as the catalog's answer has them.
const BOOLEAN: &str = "16";
const UUID: &str = "2950";

/// A table as the catalog has it.
#[derive(Clone, Debug, Default)]
pub(super) struct Described {
    /// Its name as it stands in SQL.
    name: String,
    is_published: bool,
    /// Whether it is published only in part: by its partitions, or by some of its rows.
    is_partial: bool,
    is_whole_identity: bool,
    columns: Vec<DescribedColumn>,
}

#[derive(Clone, Debug)]
struct DescribedColumn {
    name: String,
    type_oid: String,
    is_key: bool,
    may_be_read: bool,
}

/// What has to be known of a table.
const MEMBERS: &str = "members";
const USER: &str = "user";
const ORGANISATION: &str = "organisation";
const REVOCATION: &str = "revocation";

/// Asks for the tables that are read, and whether the publication says everything of them.
pub(super) fn question(identity: &Identity, publication: &str) -> String {
    let members = identity.members().map(|it| (MEMBERS, it.table.as_str()));
    let user = identity.bans().map(|it| (USER, it.table.as_str()));
    let organisation = identity.organisation.as_ref();
    let organisation = organisation.map(|it| (ORGANISATION, it.table.as_str()));
    let named = members.into_iter().chain(user).chain(organisation);
    let mut wanted: Vec<String> = named
        .map(|(what, table)| match table.split_once('.') {
            Some((schema, name)) => {
                format!(
                    "({}, {}, {})",
                    literal(what),
                    literal(schema),
                    literal(name)
                )
            }
            None => format!("({}, NULL, {})", literal(what), literal(table)),
        })
        .collect();
    if identity.revocation {
        let (schema, name) = REVOCATION_TABLE;
        wanted.push(format!(
            "({}, {}, {})",
            literal(REVOCATION),
            literal(schema),
            literal(name)
        ));
    }
    format!(
        "SELECT w.what, n.nspname, c.relname, c.relreplident, p.tablename IS NOT NULL AND b.pubinsert \
         AND b.pubupdate AND b.pubdelete AND b.pubtruncate, EXISTS (SELECT FROM \
         pg_catalog.pg_publication_rel r WHERE r.prrelid = c.oid AND r.prpubid = b.oid AND \
         pg_catalog.to_jsonb(r) ->> 'prqual' IS NOT NULL) OR c.relkind = 'p' AND NOT b.pubviaroot, \
         a.attname, a.atttypid, c.relreplident = 'f' OR EXISTS (SELECT FROM pg_catalog.pg_index i \
         WHERE i.indrelid = c.oid AND (c.relreplident = 'd' AND i.indisprimary OR c.relreplident = \
         'i' AND i.indisreplident) AND a.attnum = ANY ((i.indkey::int2[])[0:i.indnkeyatts - 1])), \
         pg_catalog.has_column_privilege(c.oid, a.attnum, 'SELECT') \
         FROM (VALUES {}) AS w (what, schema, name) JOIN pg_catalog.pg_class c ON c.relname = w.name \
         AND c.relkind IN ('r', 'p') JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace AND \
         n.nspname = coalesce(w.schema, n.nspname) JOIN pg_catalog.pg_attribute a ON a.attrelid = \
         c.oid AND a.attnum > 0 AND NOT a.attisdropped LEFT JOIN pg_catalog.pg_publication b ON \
         b.pubname = {1} LEFT JOIN pg_catalog.pg_publication_tables p ON p.pubname = b.pubname AND \
         p.schemaname = n.nspname AND p.tablename = c.relname ORDER BY 1, 2, 3, a.attname COLLATE \
         \"C\"",
        wanted.join(", "),
        literal(publication),
    )
}

/// The tables, by what they are.
#[derive(Debug, Default)]
pub(super) struct Catalog {
    members: Vec<Described>,
    user: Vec<Described>,
    organisation: Vec<Described>,
    revocation: Vec<Described>,
}

impl Catalog {
    /// Reads the answer to [`question`].
    pub(super) fn parse(rows: &[Row]) -> Result<Self, String> {
        let mut catalog = Self::default();
        for row in rows {
            let row: Option<Vec<&str>> = row.iter().map(|it| it.as_deref().or(Some(""))).collect();
            let Some(
                [
                    what,
                    schema,
                    table,
                    identity,
                    is_published,
                    is_partial,
                    column,
                    type_oid,
                    is_key,
                    may_read,
                ],
            ) = row.as_deref()
            else {
                return Err(unexpected());
            };
            let tables = match *what {
                MEMBERS => &mut catalog.members,
                USER => &mut catalog.user,
                ORGANISATION => &mut catalog.organisation,
                REVOCATION => &mut catalog.revocation,
                _ => return Err(unexpected()),
            };
            let name = format!("{}.{}", identifier(schema), identifier(table));
            if tables.last().is_none_or(|last| last.name != name) {
                tables.push(Described {
                    name,
                    is_published: *is_published == "t",
                    is_partial: *is_partial == "t",
                    is_whole_identity: *identity == "f",
                    columns: Vec::new(),
                });
            }
            let last = tables.last_mut().expect("one was just put there");
            last.columns.push(DescribedColumn {
                name: (*column).to_owned(),
                type_oid: (*type_oid).to_owned(),
                is_key: *is_key == "t",
                may_be_read: *may_read == "t",
            });
        }
        Ok(catalog)
    }

    /// Whether there is a table of revocations.
    pub(super) fn has_revocations(&self) -> bool {
        !self.revocation.is_empty()
    }

    /// How memberships are read.
    pub(super) fn members(
        &self,
        table: &MembershipTable,
        identity: &Identity,
        publication: &str,
    ) -> Result<MembersPlan, String> {
        let described = one(&self.members, &table.table)?;
        described.check(table, publication)?;
        let organisation = match &identity.organisation {
            Some(of) => Some((one(&self.organisation, &of.table)?, of.id.as_str())),
            None => None,
        };
        // It is only asked where a role that reads no more than it has to may read it: what is deleted
        // takes its members along in all but the strangest schemas.
        let may_be_read = |(table, id): &(&Described, &str)| {
            table.column(id).is_ok_and(|column| column.may_be_read)
        };
        let organisation = organisation.filter(may_be_read);
        described.plan(table, organisation)
    }

    /// The cursor over the users who are banned, or were until lately: who, and until when. `window_ms` is how
    /// far back the stream may begin, or why it is not asked.
    pub(super) fn bans(&self, table: &UserTable, window_ms: u64) -> Result<String, String> {
        let described = one(&self.user, &table.table)?;
        if !described.is_published || described.is_partial {
            let name = &described.name;
            return Err(format!(
                "the publication does not have all of {name}, so that nothing says when a ban is lifted"
            ));
        }
        described.bans(table, window_ms)
    }
}

/// The table of a name, of those that are called so.
fn one<'a>(tables: &'a [Described], name: &str) -> Result<&'a Described, String> {
    let mut published = tables.iter().filter(|it| it.is_published);
    match (published.next(), published.next(), tables) {
        (Some(_), Some(_), _) | (None, _, [_, _, ..]) => Err(format!(
            "there are several tables {name:?}; write the schema before the name"
        )),
        (Some(one), None, _) | (None, _, [one]) => Ok(one),
        (None, _, []) => Err(format!("there is no table {name:?}")),
    }
}

/// The condition that a column is a name that a request could say.
fn is_name(column: &str) -> String {
    format!("pg_catalog.octet_length({column}::text) BETWEEN 1 AND {NAME_BYTES_MAX}")
}

/// How memberships are read.
#[derive(Clone, Debug)]
pub(super) struct MembersPlan {
    /// The columns of the replica identity, in the order of their names: the first of each row.
    pub(super) identity_columns: Vec<String>,
    pub(super) user_is_uuid: bool,
    pub(super) organisation_is_uuid: bool,
    /// The cursor over all rows that make somebody a member: identity, user, organisation, role.
    pub(super) declare: String,
}

impl Described {
    fn column(&self, name: &str) -> Result<&DescribedColumn, String> {
        let found = self.columns.iter().find(|column| column.name == name);
        found.ok_or_else(|| format!("the table {} has no column {name:?}", self.name))
    }

    /// Whether the stream says who leaves.
    fn check(&self, table: &MembershipTable, publication: &str) -> Result<(), String> {
        let Self { name, .. } = self;
        let publication = identifier(publication);
        if self.is_partial {
            return Err(format!(
                "the publication has the table {name} by its partitions, or not all of its rows: give \
                 it the whole table, with ALTER PUBLICATION {publication} SET \
                 (publish_via_partition_root = true) where it is partitioned"
            ));
        }
        if !self.is_published {
            return Err(format!(
                "the publication does not say who leaves {name}: ALTER PUBLICATION {publication} ADD \
                 TABLE {name}, and SET (publish = 'insert, update, delete, truncate') where it says less"
            ));
        }
        if !self.columns.iter().any(|column| column.is_key) {
            return Err(format!(
                "the table {name} has no replica identity, so that nothing says which of its rows \
                 are deleted: give it a primary key, or ALTER TABLE {name} REPLICA IDENTITY FULL"
            ));
        }
        let named = [&table.user, &table.organisation].into_iter();
        let mut named = named.chain(&table.role).chain(&table.active);
        named.try_for_each(|column| self.column(column).map(drop))
    }

    fn bans(&self, table: &UserTable, window_ms: u64) -> Result<String, String> {
        let of = |name: &str| {
            let column = self.column(name)?;
            match column.may_be_read {
                true => Ok((column, format!("u.{}", identifier(name)))),
                false => Err(format!("the role may not read {name:?} of {}", self.name)),
            }
        };
        let (_, id) = of(&table.id)?;
        let banned = table.banned.as_deref().expect("it says who is banned");
        let (column, banned) = of(banned)?;
        let mut conditions = vec![
            match column.type_oid.as_str() {
                BOOLEAN => banned,
                _ => format!("{banned} IS NOT NULL"),
            },
            is_name(&id),
        ];
        let mut until = "NULL".to_owned();
        if let Some(name) = &table.banned_until {
            (_, until) = of(name)?;
            let over_ms = window_ms.saturating_add(BANS_OVER_MS);
            conditions.push(format!(
                "({until} IS NULL OR {until} > pg_catalog.clock_timestamp() - INTERVAL '{over_ms} ms')"
            ));
        }
        Ok(format!(
            "DECLARE rights NO SCROLL CURSOR FOR SELECT {id}, {until} FROM {} u WHERE {} LIMIT {}",
            self.name,
            conditions.join(" AND "),
            BANS_MAX + 1,
        ))
    }

    fn plan(
        &self,
        table: &MembershipTable,
        organisation: Option<(&Self, &str)>,
    ) -> Result<MembersPlan, String> {
        let (user, of) = (self.column(&table.user)?, self.column(&table.organisation)?);
        let mut identity_columns: Vec<String> = if self.is_whole_identity {
            whole_identity(table)
        } else {
            let keys = self.columns.iter().filter(|column| column.is_key);
            keys.map(|column| column.name.clone()).collect()
        };
        identity_columns.sort();
        let role = table
            .role
            .as_ref()
            .map(|name| self.column(name))
            .transpose()?;
        let columns = identity_columns.iter().map(|name| Some(name.as_str()));
        let columns = columns.chain([
            Some(user.name.as_str()),
            Some(of.name.as_str()),
            role.map(|role| role.name.as_str()),
        ]);
        // Never cast: what the type prints is what the stream says too.
        let columns = columns.map(|name| match name {
            Some(name) => format!("m.{}", identifier(name)),
            None => "NULL".to_owned(),
        });
        let columns: Vec<String> = columns.collect();
        let mut conditions: Vec<String> = [&user.name, &of.name]
            .into_iter()
            .map(|name| is_name(&format!("m.{}", identifier(name))))
            .collect();
        if let Some(active) = &table.active {
            let column = self.column(active)?;
            let name = identifier(&column.name);
            conditions.push(match column.type_oid.as_str() {
                BOOLEAN => format!("m.{name}"),
                _ => format!("m.{name} IS NULL"),
            });
        }
        if let Some((organisations, id)) = organisation {
            let id = identifier(&organisations.column(id)?.name);
            conditions.push(format!(
                "EXISTS (SELECT FROM {} o WHERE o.{id}::text = m.{}::text)",
                organisations.name,
                identifier(&of.name),
            ));
        }
        Ok(MembersPlan {
            identity_columns,
            user_is_uuid: user.type_oid == UUID,
            organisation_is_uuid: of.type_oid == UUID,
            declare: format!(
                "DECLARE rights NO SCROLL CURSOR FOR SELECT {} FROM {} m WHERE {}",
                columns.join(", "),
                self.name,
                conditions.join(" AND "),
            ),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(column: &str, type_oid: &str, is_key: &str) -> Row {
        let fields = [
            "members", "app", "Member", "d", "t", "f", column, type_oid, is_key, "t",
        ];
        fields.map(|field| Some(field.to_owned())).to_vec()
    }

    #[test]
    fn a_table_is_read_by_its_identity_and_its_columns() {
        let rows = [
            row("deletedAt", "1184", "f"),
            row("id", "25", "t"),
            row("orgId", "2950", "f"),
            row("user\"Id", "25", "f"),
        ];
        let table = MembershipTable {
            active: Some("deletedAt".to_owned()),
            ..MembershipTable::new("Member", "user\"Id", "orgId")
        };
        let catalog = Catalog::parse(&rows).unwrap();
        let identity = Identity::default();
        let plan = catalog.members(&table, &identity, "tailrace").unwrap();
        assert_eq!(plan.identity_columns, ["id"]);
        assert!(plan.organisation_is_uuid && !plan.user_is_uuid);
        assert_eq!(
            plan.declare,
            "DECLARE rights NO SCROLL CURSOR FOR SELECT m.\"id\", m.\"user\"\"Id\", m.\"orgId\", NULL \
             FROM \"app\".\"Member\" m WHERE pg_catalog.octet_length(m.\"user\"\"Id\"::text) BETWEEN 1 \
             AND 8192 AND pg_catalog.octet_length(m.\"orgId\"::text) BETWEEN 1 AND 8192 AND \
             m.\"deletedAt\" IS NULL"
        );
        let missing = MembershipTable::new("Member", "userId", "orgId");
        let error = catalog
            .members(&missing, &identity, "tailrace")
            .unwrap_err();
        assert_eq!(
            error,
            "the table \"app\".\"Member\" has no column \"userId\""
        );
    }

    #[test]
    fn a_table_that_says_too_little_is_refused_with_its_mend() {
        let table = MembershipTable::new("Member", "u", "o");
        let refused = |rows: Vec<Row>| {
            let catalog = Catalog::parse(&rows).unwrap();
            catalog
                .members(&table, &Identity::default(), "Tail")
                .unwrap_err()
        };
        let rows = || vec![row("u", "25", "f"), row("o", "25", "f")];
        assert!(refused(Vec::new()).contains("no table \"Member\""));
        assert!(refused(rows()).contains("REPLICA IDENTITY FULL"));
        let mut unpublished = rows();
        unpublished
            .iter_mut()
            .for_each(|row| row[4] = Some("f".to_owned()));
        assert!(
            refused(unpublished)
                .contains("ALTER PUBLICATION \"Tail\" ADD TABLE \"app\".\"Member\"")
        );
        let mut partial = rows();
        partial
            .iter_mut()
            .for_each(|row| row[5] = Some("t".to_owned()));
        assert!(refused(partial).contains("publish_via_partition_root"));
        let mut twice = rows();
        twice[1][1] = Some("other".to_owned());
        assert!(refused(twice).contains("several tables"));
    }
}
