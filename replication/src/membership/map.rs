//! The memberships that are known: the rows of the table, by their replica identity and by their user.
//!
//! Of users and rows only keys are held, 16 bytes each; the names of organisations and roles once. Several
//! rows of one user and organisation are several roles of one membership.

use std::collections::BTreeSet;
use std::sync::Arc;

use wire::{EventId, Key};

use super::table::{self, Table};

/// The rows, bounded in number.
#[derive(Debug)]
pub(crate) struct Map {
    rows: Table<Row>,
    by_user: Table<Ids>,
    /// Organisation and row.
    by_organisation: BTreeSet<(Key, Key)>,
    organisations: Table<Name>,
    roles: BTreeSet<Arc<str>>,
    /// Where the last change of a row was, if one was seen.
    since: Table<EventId>,
    max: usize,
    /// Whether a row was left out.
    is_full: bool,
}

/// One row that makes somebody a member.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Row {
    pub(crate) user: Key,
    pub(crate) organisation: Key,
    /// The role, or several with commas between them.
    pub(crate) role: Option<Arc<str>>,
    /// How many rows cannot be told from each other: more than one only where the identity is the whole
    /// row, and a table has the same row twice.
    pub(crate) copies: u32,
}

/// The rows of a user.
#[derive(Debug)]
enum Ids {
    One(Key),
    /// Several, or what is left of several.
    Several(BTreeSet<Listed>),
}

/// A row, with its organisation before it.
type Listed = (Key, Key);

/// An organisation's name, and how many rows are of it.
#[derive(Debug)]
struct Name {
    name: Box<str>,
    rows: usize,
}

/// What the rows of one user and one organisation say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Membership {
    /// Every role once, in order.
    pub(crate) roles: Vec<String>,
    pub(crate) since: Option<EventId>,
}

impl Map {
    pub(crate) fn new(max: usize) -> Self {
        Self {
            rows: Table::default(),
            by_user: Table::default(),
            by_organisation: BTreeSet::new(),
            organisations: Table::default(),
            roles: BTreeSet::new(),
            since: Table::default(),
            max,
            is_full: false,
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.rows.len()
    }

    /// Whether there are rows that were left out, so that who is not found may be a member all the same.
    pub(crate) fn is_full(&self) -> bool {
        self.is_full
    }

    /// Whether rows were left out, and there is room again for a good part of them.
    pub(crate) fn has_room_again(&self) -> bool {
        self.is_full && self.rows.len() < self.max - self.max / 8
    }

    pub(crate) fn get(&self, id: Key) -> Option<&Row> {
        self.rows.get(&id)
    }

    /// Puts a row in, which is not there, with the name of its organisation.
    pub(crate) fn insert(&mut self, id: Key, mut row: Row, organisation: &str) {
        if let Some(same) = self.rows.get_mut(&id) {
            same.copies = same.copies.saturating_add(1);
            return;
        }
        if self.rows.len() >= self.max {
            self.is_full = true;
            return;
        }
        row.role = row.role.map(|role| self.intern(role));
        self.list(&row, id);
        self.by_organisation.insert((row.organisation, id));
        let name = self.organisations.entry(row.organisation);
        let name = name.or_insert_with(|| Name {
            name: organisation.into(),
            rows: 0,
        });
        name.rows += 1;
        self.rows.insert(id, row);
    }

    /// Takes a row out, or one of its copies.
    pub(crate) fn remove(&mut self, id: Key) -> Option<Row> {
        let row = self.rows.get_mut(&id)?;
        row.copies -= 1;
        if row.copies > 0 {
            return Some(row.clone());
        }
        let row = table::take(&mut self.rows, id)?;
        table::take(&mut self.since, id);
        self.strike(&row, id);
        self.by_organisation.remove(&(row.organisation, id));
        let name = self.organisations.get_mut(&row.organisation);
        let name = name.expect("a row's organisation has its name");
        name.rows -= 1;
        if name.rows == 0 {
            table::take(&mut self.organisations, row.organisation);
        }
        // Beside the list itself and this row nobody has it.
        if let Some(role) = &row.role
            && Arc::strong_count(role) == 2
        {
            self.roles.remove(role);
        }
        Some(row)
    }

    /// Takes out all rows of an organisation.
    pub(crate) fn remove_organisation(&mut self, organisation: Key) {
        while let Some((of, id)) = self
            .by_organisation
            .range((organisation, Key::NOBODY)..)
            .next()
            .copied()
            && of == organisation
        {
            self.rows.get_mut(&id).expect("it is listed").copies = 1;
            self.remove(id);
        }
    }

    /// Takes everything out.
    pub(crate) fn clear(&mut self) {
        *self = Self::new(self.max);
    }

    /// Where a row was changed the last time.
    pub(crate) fn since(&self, id: Key) -> Option<EventId> {
        self.since.get(&id).copied()
    }

    /// A row was changed here.
    pub(crate) fn touch(&mut self, id: Key, at: EventId) {
        if self.rows.contains_key(&id) {
            self.since.insert(id, at);
        }
    }

    /// The rows of a user and an organisation were changed here.
    pub(crate) fn touch_membership(&mut self, user: Key, organisation: Key, at: EventId) {
        let ids: Vec<Key> = self.ids(user, organisation).collect();
        for id in ids {
            self.since.insert(id, at);
        }
    }

    /// What a user is in an organisation.
    pub(crate) fn membership(&self, user: Key, organisation: Key) -> Option<Membership> {
        let mut found: Option<Membership> = None;
        for id in self.ids(user, organisation) {
            let membership = found.get_or_insert_with(|| Membership {
                roles: Vec::new(),
                since: None,
            });
            let role = self.rows[&id].role.as_deref().unwrap_or_default();
            let roles = role
                .split(',')
                .map(str::trim)
                .filter(|role| !role.is_empty());
            membership.roles.extend(roles.map(str::to_owned));
            membership.since = membership.since.max(self.since.get(&id).copied());
        }
        if let Some(membership) = &mut found {
            membership.roles.sort_unstable();
            membership.roles.dedup();
        }
        found
    }

    /// The organisations of a user, each once.
    pub(crate) fn organisations(&self, user: Key) -> impl Iterator<Item = Key> {
        let (one, several) = self.of_user(user);
        each_once(
            one.into_iter()
                .chain(several.into_iter().flatten().copied()),
        )
    }

    /// What an organisation is called.
    pub(crate) fn name(&self, organisation: Key) -> Option<&str> {
        self.organisations.get(&organisation).map(|it| &*it.name)
    }

    /// Every user with every organisation, each pair once.
    pub(crate) fn pairs(&self) -> impl Iterator<Item = (Key, Key)> {
        let users = self.by_user.keys();
        users.flat_map(|user| self.organisations(*user).map(|of| (*user, of)))
    }

    /// The rows of a user and an organisation.
    fn ids(&self, user: Key, organisation: Key) -> impl Iterator<Item = Key> {
        let (one, several) = self.of_user(user);
        let several = several.map(|several| several.range((organisation, Key::NOBODY)..));
        let rows = one
            .into_iter()
            .chain(several.into_iter().flatten().copied());
        rows.take_while(move |(of, _)| *of == organisation)
            .map(|(_, id)| id)
    }

    /// The rows of a user: the one, or several.
    fn of_user(&self, user: Key) -> (Option<Listed>, Option<&BTreeSet<Listed>>) {
        match self.by_user.get(&user) {
            None => (None, None),
            Some(Ids::One(id)) => (Some((self.rows[id].organisation, *id)), None),
            Some(Ids::Several(several)) => (None, Some(several)),
        }
    }

    /// Lists a row with its user's.
    fn list(&mut self, row: &Row, id: Key) {
        let new = (row.organisation, id);
        let ids = self.by_user.entry(row.user).or_insert(Ids::One(id));
        match ids {
            Ids::One(first) if *first == id => {}
            Ids::One(first) => {
                let first = (self.rows[&*first].organisation, *first);
                *ids = Ids::Several(BTreeSet::from([first, new]));
            }
            Ids::Several(several) => {
                several.insert(new);
            }
        }
    }

    /// Strikes a row from its user's.
    fn strike(&mut self, row: &Row, id: Key) {
        let is_last = match self.by_user.get_mut(&row.user) {
            Some(Ids::Several(several)) => {
                several.remove(&(row.organisation, id));
                several.is_empty()
            }
            Some(Ids::One(_)) | None => true,
        };
        if is_last {
            table::take(&mut self.by_user, row.user);
        }
    }

    fn intern(&mut self, role: Arc<str>) -> Arc<str> {
        match self.roles.get(&role) {
            Some(known) => Arc::clone(known),
            None => {
                self.roles.insert(Arc::clone(&role));
                role
            }
        }
    }
}

/// The organisations of rows that are in their order.
fn each_once(rows: impl Iterator<Item = Listed>) -> impl Iterator<Item = Key> {
    let mut last = None;
    rows.filter_map(move |(of, _)| (last.replace(of) != Some(of)).then_some(of))
}

impl Membership {
    /// The roles with commas between them; `None` where there is none.
    pub(crate) fn role(&self) -> Option<String> {
        (!self.roles.is_empty()).then(|| self.roles.join(","))
    }
}

#[cfg(test)]
mod tests {
    use wire::Keys;

    use super::*;

    fn key(name: &str) -> Key {
        Keys::new([1; 16]).organisation(name)
    }

    fn put(map: &mut Map, id: &str, user: &str, organisation: &str, role: &str) {
        let row = Row {
            user: key(user),
            organisation: key(organisation),
            role: Some(role.into()),
            copies: 1,
        };
        map.insert(key(id), row, organisation);
    }

    fn role(map: &Map, user: &str, organisation: &str) -> Option<String> {
        map.membership(key(user), key(organisation))?.role()
    }

    #[test]
    fn several_rows_are_several_roles_of_one_membership() {
        let mut map = Map::new(10);
        put(&mut map, "1", "ada", "acme", "writer, reader");
        put(&mut map, "2", "ada", "acme", "admin");
        put(&mut map, "3", "ada", "globex", "reader");
        assert_eq!(
            role(&map, "ada", "acme").as_deref(),
            Some("admin,reader,writer")
        );
        assert_eq!(map.organisations(key("ada")).count(), 2);
        assert_eq!(map.pairs().count(), 2);
        map.remove(key("1"));
        assert_eq!(role(&map, "ada", "acme").as_deref(), Some("admin"));
        map.remove(key("2"));
        assert_eq!(role(&map, "ada", "acme"), None);
        assert_eq!(map.name(key("acme")), None);
        assert_eq!(map.name(key("globex")), Some("globex"));
    }

    #[test]
    fn an_organisation_leaves_with_all_its_rows_and_nothing_stays_behind() {
        let mut map = Map::new(10);
        put(&mut map, "1", "ada", "acme", "a");
        put(&mut map, "1", "ada", "acme", "a");
        put(&mut map, "2", "bob", "acme", "b");
        put(&mut map, "3", "bob", "globex", "b");
        map.remove_organisation(key("acme"));
        assert_eq!((map.len(), role(&map, "ada", "acme")), (1, None));
        map.remove(key("3"));
        assert!(map.roles.is_empty() && map.organisations.is_empty());
        assert!(map.by_user.is_empty() && map.by_organisation.is_empty());
    }

    #[test]
    fn rows_that_are_the_same_are_counted() {
        let mut map = Map::new(10);
        put(&mut map, "1", "ada", "acme", "a");
        put(&mut map, "1", "ada", "acme", "a");
        map.remove(key("1"));
        assert!(role(&map, "ada", "acme").is_some());
        map.remove(key("1"));
        assert!(role(&map, "ada", "acme").is_none());
        assert_eq!(map.remove(key("1")), None);
    }

    #[test]
    fn beyond_its_bound_it_says_so() {
        let mut map = Map::new(8);
        (0..8).for_each(|id| put(&mut map, &id.to_string(), "ada", "acme", "a"));
        assert!(!map.is_full());
        put(&mut map, "8", "bob", "acme", "a");
        assert!(map.is_full() && map.len() == 8 && !map.has_room_again());
        map.remove(key("0"));
        map.remove(key("1"));
        assert!(map.has_room_again());
    }

    #[test]
    fn a_membership_is_as_new_as_its_newest_row() {
        let mut map = Map::new(8);
        put(&mut map, "1", "ada", "acme", "a");
        put(&mut map, "2", "ada", "acme", "b");
        let at = |index| EventId {
            index,
            ..EventId::default()
        };
        let since = |map: &Map| map.membership(key("ada"), key("acme")).unwrap().since;
        assert_eq!(since(&map), None);
        map.touch(key("2"), at(7));
        map.touch(key("1"), at(3));
        map.touch(key("9"), at(9));
        assert_eq!(since(&map), Some(at(7)));
        map.remove(key("2"));
        assert_eq!(since(&map), Some(at(3)));
        map.touch_membership(key("ada"), key("acme"), at(8));
        assert_eq!(since(&map), Some(at(8)));
    }
}
