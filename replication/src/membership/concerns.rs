//! What a table of the stream means for rights: which of its columns say what. Looked up by name once, when
//! the server describes the table.

use wire::{Key, Keys};

use super::identity::REVOCATION_TABLE;
use super::{Identity, MembershipTable};
use crate::Action;
use crate::pgoutput::{Old, Relation, Tuple, Value};
use crate::rules::is_named;
use crate::time::{unix_ms_of_text, unix_ms_of_text_since_1970};

/// The type of a boolean, by its oid.
const BOOLEAN: u32 = 16;

/// What the changes of a table mean. One table may be several things, as one of users with a column of
/// their organisation.
#[derive(Clone, Debug, Default)]
pub(crate) struct Concerns {
    pub(crate) members: Option<Members>,
    pub(crate) session: Option<Session>,
    pub(crate) user: Option<User>,
    /// The column by which organisations are known.
    pub(crate) organisation: Option<Column>,
    pub(crate) revocation: Option<RevocationColumns>,
}

/// A column, which may be missing in what is published.
pub(crate) type Column = Option<usize>;

/// The columns of the table of memberships.
#[derive(Clone, Debug)]
pub(crate) struct Members {
    /// Those of the replica identity, in the order of their names; of a table whose identity is the whole
    /// row, those that count.
    pub(crate) identity: Vec<(String, usize)>,
    /// Whether it is the whole row, so that there may be several that are the same.
    pub(crate) is_whole: bool,
    /// `None` where a column is not published that is needed.
    pub(crate) columns: Option<MemberColumns>,
}

/// Where the columns of a membership are.
#[derive(Clone, Copy, Debug)]
pub(crate) struct MemberColumns {
    pub(crate) user: usize,
    pub(crate) organisation: usize,
    pub(crate) role: Option<usize>,
    pub(crate) active: Option<Flag>,
}

/// A column that says yes or no.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Flag {
    pub(crate) index: usize,
    is_boolean: bool,
}

/// The columns of the table of sessions.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Session {
    pub(crate) id: Column,
    pub(crate) user: Column,
    pub(crate) expires: Column,
}

/// The columns of the table of users.
#[derive(Clone, Copy, Debug)]
pub(crate) struct User {
    pub(crate) id: Column,
    pub(crate) banned: Option<Flag>,
    /// The column of the time when a ban ends.
    pub(crate) banned_until: Column,
}

/// The columns of our own table of revocations.
#[derive(Clone, Copy, Debug)]
pub(crate) struct RevocationColumns {
    pub(crate) id: Column,
    pub(crate) user: Column,
    pub(crate) session: Column,
    pub(crate) organisation: Column,
    pub(crate) issued_before: Column,
    pub(crate) until: Column,
}

impl Concerns {
    /// What a table means, if it means anything.
    pub(crate) fn new(relation: &Relation, identity: &Identity) -> Option<Box<Self>> {
        let schema = relation.namespace.as_str();
        let is = |name: &str| is_named(name, schema, &relation.name);
        let index = |name: &str| relation.columns.iter().position(|it| it.name == name);
        let flag = |name: &String| {
            let index = index(name)?;
            let is_boolean = relation.columns[index].type_oid == BOOLEAN;
            Some(Flag { index, is_boolean })
        };
        let optional = |name: &Option<String>| name.as_ref().and_then(|name| index(name));
        let members = identity.members().filter(|it| is(&it.table));
        let session = identity.session.as_ref().filter(|it| is(&it.table));
        let user = identity.user.as_ref().filter(|it| is(&it.table));
        let organisation = identity.organisation.as_ref().filter(|it| is(&it.table));
        let is_ours = (schema, relation.name.as_str()) == REVOCATION_TABLE;
        let concerns = Self {
            members: members.map(|it| Members::new(relation, it)),
            session: session.map(|it| Session {
                id: index(&it.id),
                user: index(&it.user),
                expires: optional(&it.expires),
            }),
            user: user.map(|it| User {
                id: index(&it.id),
                banned: it.banned.as_ref().and_then(flag),
                banned_until: optional(&it.banned_until),
            }),
            organisation: organisation.map(|it| index(&it.id)),
            revocation: (is_ours && identity.revocation).then(|| RevocationColumns {
                id: index("id"),
                user: index("user"),
                session: index("session"),
                organisation: index("organization"),
                issued_before: index("issued_before"),
                until: index("until"),
            }),
        };
        concerns.is_any().then(|| Box::new(concerns))
    }

    /// Whether such a change may take a right away, so that what came before it has to go before it. It hangs
    /// on the log alone, so that all nodes hand over the same pieces.
    pub(crate) fn may_revoke(&self, action: Action) -> bool {
        action != Action::Insert || self.revocation.is_some()
    }

    fn is_any(&self) -> bool {
        self.members.is_some()
            || self.session.is_some()
            || self.user.is_some()
            || self.organisation.is_some()
            || self.revocation.is_some()
    }
}

impl Members {
    fn new(relation: &Relation, table: &MembershipTable) -> Self {
        let index = |name: &str| relation.columns.iter().position(|it| it.name == name);
        let optional = |name: &Option<String>| match name {
            Some(name) => index(name).map(Some),
            None => Some(None),
        };
        let columns = || {
            Some(MemberColumns {
                user: index(&table.user)?,
                organisation: index(&table.organisation)?,
                role: optional(&table.role)?,
                active: optional(&table.active)?.map(|index| Flag {
                    index,
                    is_boolean: relation.columns[index].type_oid == BOOLEAN,
                }),
            })
        };
        let mut identity: Vec<(String, usize)> = if relation.replica_identity == b'f' {
            let names = whole_identity(table).into_iter();
            names
                .filter_map(|name| Some((name.clone(), index(&name)?)))
                .collect()
        } else {
            let columns = relation.columns.iter().enumerate();
            let keys = columns.filter(|(_, column)| column.key);
            keys.map(|(index, column)| (column.name.clone(), index))
                .collect()
        };
        identity.sort();
        Self {
            identity,
            is_whole: relation.replica_identity == b'f',
            columns: columns(),
        }
    }

    /// The key of a row, by the columns of its identity; `None` where one of them was not sent.
    pub(crate) fn key(
        &self,
        tuple: Tuple<'_>,
        other: Option<Tuple<'_>>,
        keys: &Keys,
    ) -> Option<Key> {
        let mut identity = RowIdentity::default();
        for (name, index) in &self.identity {
            let value = match tuple.value(*index) {
                Value::Unchanged => other?.value(*index),
                value => value,
            };
            match value {
                Value::Null => identity.push(name, None),
                Value::Text(text) => identity.push(name, Some(text)),
                Value::Unchanged | Value::Oversized => return None,
            }
        }
        Some(identity.key(keys))
    }
}

/// The columns by which rows are told apart where their identity is the whole row: those that count, so that
/// a change of any other is none.
pub(crate) fn whole_identity(table: &MembershipTable) -> Vec<String> {
    let optional = [&table.role, &table.active];
    let mut names = vec![table.user.clone(), table.organisation.clone()];
    names.extend(optional.into_iter().flatten().cloned());
    names.sort();
    names.dedup();
    names
}

/// The values of a replica identity, as bytes that are those of no other.
#[derive(Debug, Default)]
pub(crate) struct RowIdentity {
    bytes: Vec<u8>,
}

impl RowIdentity {
    pub(crate) fn push(&mut self, name: &str, value: Option<&[u8]>) {
        for text in [Some(name.as_bytes()), value] {
            let len = text.map_or(u64::MAX, |text| text.len() as u64);
            self.bytes.extend_from_slice(&len.to_be_bytes());
            self.bytes.extend_from_slice(text.unwrap_or_default());
        }
    }

    pub(crate) fn key(&self, keys: &Keys) -> Key {
        keys.row(&self.bytes)
    }
}

impl Session {
    /// When a row says that its session ends, in milliseconds since 1970; `None` where that cannot be read.
    pub(crate) fn ends_ms(&self, new: Tuple<'_>) -> Option<i64> {
        text(new, self.expires).and_then(unix_ms_of_text)
    }

    /// Whether a row says that its session had ended at this time, in milliseconds since 1970.
    pub(crate) fn is_over(&self, new: Tuple<'_>, now_ms: i64) -> bool {
        self.ends_ms(new).is_some_and(|ends_ms| ends_ms <= now_ms)
    }
}

impl User {
    /// Whether a row says that its user was banned at this time, in milliseconds since 1970. A ban without an
    /// end, or with one that cannot be read, has none.
    pub(crate) fn is_banned(&self, new: Tuple<'_>, now_ms: i64) -> bool {
        let until_ms = || text(new, self.banned_until).and_then(unix_ms_of_text);
        self.has_ban(new) && until_ms().is_none_or(|until_ms| until_ms > now_ms)
    }

    /// The same, whether its time is over or not.
    pub(crate) fn has_ban(&self, new: Tuple<'_>) -> bool {
        let is_set = |flag: Flag| flag.is_set(new.value(flag.index));
        self.banned.is_some_and(is_set)
    }

    /// When the ban of a row is over, in milliseconds since 1970; `None` where it has no end, or one that cannot
    /// be read.
    pub(crate) fn banned_until_ms(&self, new: Tuple<'_>) -> Option<u64> {
        text(new, self.banned_until).and_then(unix_ms_of_text_since_1970)
    }
}

impl Flag {
    /// Whether a row is active by it: true, or of a time when it ended NULL.
    pub(crate) fn is_active(self, value: Value<'_>) -> Option<bool> {
        match value {
            Value::Unchanged => None,
            Value::Text(text) if self.is_boolean => Some(text == b"t"),
            Value::Null => Some(!self.is_boolean),
            Value::Text(_) | Value::Oversized => Some(false),
        }
    }

    /// Whether it says that somebody is banned: true, or a time since when.
    pub(crate) fn is_set(self, value: Value<'_>) -> bool {
        match value {
            Value::Unchanged | Value::Null => false,
            Value::Text(text) => !self.is_boolean || text == b"t",
            Value::Oversized => true,
        }
    }
}

/// The text of a column; `None` where it is NULL, or was not sent.
pub(crate) fn text(tuple: Tuple<'_>, column: Column) -> Option<&str> {
    match tuple.value(column?) {
        Value::Text(text) => std::str::from_utf8(text).ok(),
        Value::Null | Value::Unchanged | Value::Oversized => None,
    }
}

/// The text of a column of an old row. What is not part of its key was not sent, which looks like NULL.
pub(crate) fn old_text(old: Old<'_>, column: Column) -> Option<&str> {
    text(old.tuple, column)
}
