//! Who may see what, at every place of a line of history: replayed row by row from the commit log.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;

use super::names::{Name, Names};
use super::position::Position;
use crate::postgres::schema::{
    self, MEMBER, ORGANIZATION, REVOCATION, Row, SESSION, TableId, USER,
};
use crate::postgres::{What, unix_ms};

/// That the end of a session was moved to where it has passed.
const SESSION_END: &str = "the session's end";

/// Whose streams end by something.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Scope {
    Member(Name, Name),
    User(Name),
    Organisation(Name),
    Everybody,
}

/// Where streams end, and by what.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Cut {
    pub(super) at: Position,
    why: &'static str,
}

impl fmt::Display for Cut {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.at, self.why)
    }
}

/// The roles of a member: whether it has [`schema::REPORT_ROLE`], and whether it has another.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Roles {
    has_report_role: bool,
    has_another: bool,
}

impl Roles {
    /// Whether what is for [`schema::REPORT_ROLE`] may be seen.
    pub fn sees_reports(self) -> bool {
        self.has_report_role
    }
}

/// A row that keeps somebody out until a time.
#[derive(Clone, Debug)]
struct Kept {
    at: Position,
    scope: Option<Scope>,
    session: Option<Arc<str>>,
    until_ms: u64,
}

/// What somebody is, from each place on; `None` is nobody.
type Standing = Vec<(Position, Option<Roles>)>;

/// What is known at every place.
#[derive(Clone, Debug, Default)]
pub(super) struct Rights {
    /// What ends streams, and where.
    cuts: BTreeMap<Scope, Vec<Cut>>,
    session_cuts: BTreeMap<Arc<str>, Vec<Cut>>,
    /// Every change of a membership or a revocation, whosever it is.
    of_anybody: BTreeSet<Position>,
    /// The rows of the table of memberships.
    rows: BTreeMap<Arc<str>, Row>,
    /// What somebody is in an organisation, from each place on.
    members: BTreeMap<(Name, Name), Standing>,
    /// Whether an organisation, and whether a user, is there and not banned.
    organisations: BTreeMap<Name, Vec<(Position, bool)>>,
    users: BTreeMap<Name, Vec<(Position, bool)>>,
    /// Where sessions were deleted.
    deleted: BTreeMap<Arc<str>, Position>,
    /// When each session ends, from each place on, in milliseconds since 1970.
    ends: BTreeMap<Arc<str>, Vec<(Position, u64)>>,
    /// Every change of a row that is about somebody, whatever it says; and those that keep somebody out for a
    /// while, whose end is in no log.
    changes: BTreeMap<Scope, Vec<Position>>,
    session_changes: BTreeMap<Arc<str>, Vec<Position>>,
    kept_out: BTreeSet<Scope>,
    /// Rows that keep somebody out, by their keys, as long as they are there.
    kept: BTreeMap<Arc<str>, Kept>,
    kept_out_sessions: BTreeSet<Arc<str>>,
}

impl Rights {
    /// Takes a change. `emptied` is the table that it empties.
    pub(super) fn push(
        &mut self,
        what: &What,
        emptied: Option<TableId>,
        at: Position,
        unix_us: u64,
        names: &mut Names,
    ) {
        if let Some(table) = emptied {
            return self.on_emptied(table, at);
        }
        let (table, old, new) = match what {
            What::Insert { table, new } => (*table, None, Some(new)),
            What::Update { table, old, new } => (*table, Some(old), Some(new)),
            What::Delete { table, old } => (*table, Some(old), None),
            What::Truncate(_) | What::Message { .. } => return,
        };
        match table {
            MEMBER => self.on_member(old, new, at, names),
            SESSION => self.on_session(old, new, at, unix_us),
            USER => self.on_user(old, new, at, names),
            ORGANIZATION => self.on_organisation(old, new, at, names),
            REVOCATION => {
                self.of_anybody.insert(at);
                if let Some(old) = old {
                    self.kept.remove(old[0].as_deref().unwrap_or_default());
                }
                // Also one that is taken back was a word about somebody.
                for row in [old, new].into_iter().flatten() {
                    self.note_revocation(row, at, names);
                }
                self.on_revocation(new, at, names);
            }
            _ => {}
        }
    }

    /// The first place behind another at which the streams of a user, an organisation and a session end.
    pub(super) fn cut_after(
        &self,
        user: Name,
        organisation: Name,
        session: &str,
        since: Position,
    ) -> Option<Cut> {
        let scopes = scopes(user, organisation);
        let lists = scopes.iter().map(|scope| self.cuts.get(scope));
        let lists = lists.chain([self.session_cuts.get(session)]);
        let firsts = lists.flatten().filter_map(|cuts| {
            let at = cuts.partition_point(|cut| !since.is_before(cut.at));
            cuts.get(at).copied()
        });
        firsts.min_by_key(|cut| (cut.at.lsn, cut.at.index))
    }

    /// The last change of a row about a user, an organisation and a session behind a place, and not behind
    /// another.
    pub(super) fn changed_within(
        &self,
        (user, organisation): (Name, Name),
        session: &str,
        from: Position,
        to: Position,
    ) -> Option<Position> {
        let scopes = scopes(user, organisation);
        let lists = scopes.iter().map(|scope| self.changes.get(scope));
        let lists = lists.chain([self.session_changes.get(session)]);
        let lasts = lists.flatten().filter_map(|places| {
            let end = places.partition_point(|at| !to.is_before(*at));
            places[..end].last().copied()
        });
        let last = lasts.max_by_key(|at| (at.lsn, at.index))?;
        from.is_before(last).then_some(last)
    }

    /// Whether a change is one of anybody's membership or revocation.
    pub(super) fn is_of_anybody(&self, at: Position) -> bool {
        self.of_anybody.contains(&at)
    }

    /// Whether there was ever a row that keeps them out for a while.
    pub(super) fn was_kept_out(&self, user: Name, organisation: Name, session: &str) -> bool {
        let scopes = scopes(user, organisation);
        self.kept_out_sessions.contains(session)
            || scopes.iter().any(|scope| self.kept_out.contains(scope))
    }

    /// Whether a row that stood before a place, and stands still, keeps them out at a time in milliseconds since
    /// 1970. One that is only about older sessions is left out: nobody here knows how old a session is.
    pub(super) fn keeps_out(
        &self,
        (user, organisation): (Name, Name),
        session: &str,
        at: Position,
        unix_ms: u64,
    ) -> bool {
        let scopes = scopes(user, organisation);
        let is_of = |kept: &Kept| match (&kept.session, kept.scope) {
            (Some(of), _) => **of == *session,
            (None, Some(scope)) => scopes.contains(&scope),
            (None, None) => false,
        };
        let mut kept = self.kept.values();
        kept.any(|kept| !at.is_before(kept.at) && kept.until_ms > unix_ms && is_of(kept))
    }

    /// Whether the last word about a session, before a place, was that its end has come.
    pub(super) fn was_ended(&self, session: &str, at: Position) -> bool {
        let cuts = self.session_cuts.get(session).into_iter().flatten();
        let last = self.session_changes.get(session).and_then(|all| all.last());
        let mut ends = cuts.filter(|cut| cut.why == SESSION_END);
        ends.any(|cut| Some(&cut.at) == last && !at.is_before(cut.at))
    }

    /// When a session ends, as its row says from some place on: each of its ends, the last one last.
    pub(super) fn ends(&self, session: &str) -> impl Iterator<Item = u64> {
        let ends = self.ends.get(session);
        ends.into_iter().flatten().map(|(_, ends_ms)| *ends_ms)
    }

    /// Whether a session had been deleted by a place. One that had not begun there, or whose end was moved
    /// later, may be known to who asks the database itself.
    pub(super) fn has_ended(&self, session: &str, at: Position) -> bool {
        let deleted = self.deleted.get(session);
        deleted.is_some_and(|deleted| !at.is_before(*deleted))
    }

    /// What somebody is in an organisation at a place; `None` where they may not see anything.
    pub(super) fn roles(&self, user: Name, organisation: Name, at: Position) -> Option<Roles> {
        let has_user = last(self.users.get(&user), at).unwrap_or(false);
        let roles = self.roles_of_member(user, organisation, at);
        roles.filter(|_| has_user)
    }

    /// The same, whether the user is banned or not.
    pub(super) fn roles_of_member(
        &self,
        user: Name,
        organisation: Name,
        at: Position,
    ) -> Option<Roles> {
        let has_organisation = last(self.organisations.get(&organisation), at).unwrap_or(false);
        let member = last(self.members.get(&(user, organisation)), at).flatten();
        member.filter(|_| has_organisation)
    }

    /// Whether a user is let in again later who is out at a place, and was so already at a place before it.
    pub(super) fn is_back(&self, user: Name, at: Position, before: Position) -> bool {
        let states = self.users.get(&user).map_or(&[][..], Vec::as_slice);
        let (passed, coming) = states.split_at(states.partition_point(|it| !at.is_before(it.0)));
        let is_out = |(from, is_in): &(Position, bool)| !is_in && !before.is_before(*from);
        passed.last().is_some_and(is_out) && coming.iter().any(|(_, is_in)| *is_in)
    }

    /// What somebody lacks at a place, in words.
    pub(super) fn lacks(
        &self,
        user: Name,
        organisation: Name,
        session: &str,
        at: Position,
    ) -> String {
        let has_user = last(self.users.get(&user), at).unwrap_or(false);
        let has_organisation = last(self.organisations.get(&organisation), at).unwrap_or(false);
        let member = last(self.members.get(&(user, organisation)), at).flatten();
        let lacks = [
            (has_user, "the user"),
            (has_organisation, "the organisation"),
            (member.is_some(), "the membership"),
            (!self.has_ended(session, at), "the session"),
        ];
        let lacks = lacks.iter().filter(|(has, _)| !has).map(|(_, what)| *what);
        lacks.collect::<Vec<_>>().join(", ")
    }

    fn on_member(&mut self, old: Option<&Row>, new: Option<&Row>, at: Position, names: &mut Names) {
        let pair = |row: &Row, names: &mut Names| {
            let of = |column: usize| row[column].as_deref().unwrap_or_default();
            (names.of(of(1)), names.of(of(2)))
        };
        self.of_anybody.insert(at);
        let mut pairs = BTreeSet::new();
        for row in [old, new].into_iter().flatten() {
            pairs.insert(pair(row, names));
        }
        let key = |row: &Row| row[0].clone().expect("a primary key is not NULL");
        if let Some(old) = old {
            self.rows.remove(&key(old));
        }
        if let Some(new) = new {
            self.rows.insert(key(new), new.clone());
        }
        for (user, organisation) in pairs {
            self.note(Scope::Member(user, organisation), at);
            let mut is: Option<Roles> = None;
            for row in self.rows.values() {
                if pair(row, names) == (user, organisation) {
                    let roles = is.get_or_insert_default();
                    match row[3].as_deref() {
                        Some(schema::REPORT_ROLE) => roles.has_report_role = true,
                        Some(_) => roles.has_another = true,
                        None => {}
                    }
                }
            }
            let states = self.members.entry((user, organisation)).or_default();
            let was = states.last().and_then(|(_, was)| *was);
            states.push((at, is));
            if was.is_some() && was != is {
                let why = match is {
                    Some(_) => "another role",
                    None => "no member",
                };
                self.cut(Scope::Member(user, organisation), at, why);
            }
        }
    }

    fn on_session(&mut self, old: Option<&Row>, new: Option<&Row>, at: Position, unix_us: u64) {
        let Some(row) = new.or(old) else { return };
        let session = row[0].clone().expect("a primary key is not NULL");
        let now = schema::moment(unix_us / 1_000);
        // The texts of times are in the order of the times.
        let lasts = |row: &Row| {
            row[2]
                .as_deref()
                .is_none_or(|expires| expires > now.as_str())
        };
        if new.is_none() {
            self.deleted.insert(session.clone(), at);
        }
        let ends_ms = new.map(|row| row[2].as_deref().map_or(u64::MAX, unix_ms));
        if let Some(ends_ms) = ends_ms {
            let ends = self.ends.entry(session.clone()).or_default();
            ends.push((at, ends_ms));
        }
        let changes = self.session_changes.entry(session.clone()).or_default();
        changes.push(at);
        if old.is_some() && !new.is_some_and(lasts) {
            let why = match new {
                Some(_) => SESSION_END,
                None => "the session deleted",
            };
            let cuts = self.session_cuts.entry(session).or_default();
            cuts.push(Cut { at, why });
        }
    }

    fn on_user(&mut self, old: Option<&Row>, new: Option<&Row>, at: Position, names: &mut Names) {
        let Some(row) = new.or(old) else { return };
        let user = names.of(row[0].as_deref().unwrap_or_default());
        self.note(Scope::User(user), at);
        let is_let_in = new.is_some_and(|row| row[1].as_deref() != Some("t"));
        self.users.entry(user).or_default().push((at, is_let_in));
        if old.is_some() && !is_let_in {
            let why = match new {
                Some(_) => "the user banned",
                None => "the user deleted",
            };
            self.cut(Scope::User(user), at, why);
        }
    }

    fn on_organisation(
        &mut self,
        old: Option<&Row>,
        new: Option<&Row>,
        at: Position,
        names: &mut Names,
    ) {
        let Some(row) = new.or(old) else { return };
        let organisation = names.of(row[0].as_deref().unwrap_or_default());
        self.note(Scope::Organisation(organisation), at);
        let states = self.organisations.entry(organisation).or_default();
        states.push((at, new.is_some()));
        if new.is_none() {
            let scope = Scope::Organisation(organisation);
            self.cut(scope, at, "the organisation deleted");
        }
    }

    fn on_revocation(&mut self, new: Option<&Row>, at: Position, names: &mut Names) {
        let Some(new) = new else { return };
        let mut of = |column: usize| new[column].as_deref().map(|name| names.of(name));
        let (user, organisation) = (of(1), of(3));
        if let (Some(key), None, Some(until)) = (&new[0], &new[4], new[5].as_deref()) {
            let kept = Kept {
                at,
                scope: match (user, organisation) {
                    (Some(user), Some(organisation)) => Some(Scope::Member(user, organisation)),
                    (Some(user), None) => Some(Scope::User(user)),
                    (None, Some(organisation)) => Some(Scope::Organisation(organisation)),
                    (None, None) => None,
                },
                session: new[2].clone(),
                until_ms: unix_ms(until),
            };
            self.kept.insert(key.clone(), kept);
        }
        let scope = match (&new[2], user, organisation) {
            (Some(session), _, _) => {
                let cuts = self.session_cuts.entry(session.clone()).or_default();
                cuts.push(Cut {
                    at,
                    why: "a row that revokes the session",
                });
                return;
            }
            (None, Some(user), Some(organisation)) => Scope::Member(user, organisation),
            (None, Some(user), None) => Scope::User(user),
            (None, None, Some(organisation)) => Scope::Organisation(organisation),
            (None, None, None) => return,
        };
        // Whoever it names may be back when its time is over: it ends streams, and not sessions.
        self.cut(scope, at, "a row that revokes");
    }

    fn note_revocation(&mut self, row: &Row, at: Position, names: &mut Names) {
        if let Some(session) = &row[2] {
            let changes = self.session_changes.entry(session.clone()).or_default();
            changes.push(at);
            self.kept_out_sessions.insert(session.clone());
            return;
        }
        let mut of = |column: usize| row[column].as_deref().map(|name| names.of(name));
        let scope = match (of(1), of(3)) {
            (Some(user), Some(organisation)) => Scope::Member(user, organisation),
            (Some(user), None) => Scope::User(user),
            (None, Some(organisation)) => Scope::Organisation(organisation),
            (None, None) => return,
        };
        self.note(scope, at);
        self.kept_out.insert(scope);
    }

    fn note(&mut self, scope: Scope, at: Position) {
        self.changes.entry(scope).or_default().push(at);
    }

    fn on_emptied(&mut self, table: TableId, at: Position) {
        if table == REVOCATION {
            self.kept.clear();
        }
        if [MEMBER, SESSION, USER, ORGANIZATION, REVOCATION].contains(&table) {
            self.note(Scope::Everybody, at);
        }
        if ![MEMBER, SESSION, USER, ORGANIZATION].contains(&table) {
            return;
        }
        self.cut(Scope::Everybody, at, "the table emptied");
        if table == MEMBER {
            self.rows.clear();
            self.members
                .values_mut()
                .for_each(|states| states.push((at, None)));
        }
        let lists = match table {
            USER => Some(&mut self.users),
            ORGANIZATION => Some(&mut self.organisations),
            _ => None,
        };
        for states in lists.into_iter().flat_map(BTreeMap::values_mut) {
            states.push((at, false));
        }
    }

    fn cut(&mut self, scope: Scope, at: Position, why: &'static str) {
        self.cuts.entry(scope).or_default().push(Cut { at, why });
    }
}

/// Everything that may end the streams of a user in an organisation.
fn scopes(user: Name, organisation: Name) -> [Scope; 4] {
    [
        Scope::Member(user, organisation),
        Scope::User(user),
        Scope::Organisation(organisation),
        Scope::Everybody,
    ]
}

/// What was so at a place.
fn last<T: Copy>(states: Option<&Vec<(Position, T)>>, at: Position) -> Option<T> {
    let states = states?;
    let end = states.partition_point(|(from, _)| !at.is_before(*from));
    states[..end].last().map(|(_, state)| *state)
}
