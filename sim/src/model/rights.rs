//! Who may see what, at every place of a line of history. How that is replayed from the commit log is in `replay`.

mod replay;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;

use super::names::Name;
use super::position::Position;
use crate::postgres::schema::Row;

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

/// The roles of a member: whether it has [`REPORT_ROLE`](crate::postgres::schema::REPORT_ROLE), and whether it has another.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Roles {
    has_report_role: bool,
    has_another: bool,
}

impl Roles {
    /// Whether what is for [`REPORT_ROLE`](crate::postgres::schema::REPORT_ROLE) may be seen.
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

/// That somebody is there, and not banned, or is not, from a place on.
type Word = (Position, bool);

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
    organisations: BTreeMap<Name, Vec<Word>>,
    users: BTreeMap<Name, Vec<Word>>,
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
        let has_organisation = last(self.organisations.get(&organisation), at).unwrap_or(false);
        let member = last(self.members.get(&(user, organisation)), at).flatten();
        member.filter(|_| has_user && has_organisation)
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
