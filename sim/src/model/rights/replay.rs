//! The commit log is replayed row by row: what each change means for who may see what.

use std::collections::{BTreeMap, BTreeSet};

use super::{Cut, Kept, Rights, Roles, SESSION_END, Scope};
use crate::model::names::Names;
use crate::model::position::Position;
use crate::postgres::schema::{
    self, MEMBER, ORGANIZATION, REVOCATION, Row, SESSION, TableId, USER,
};
use crate::postgres::{What, unix_ms};

impl Rights {
    /// Takes a change. `emptied` is the table that it empties.
    pub(in crate::model) fn push(
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
