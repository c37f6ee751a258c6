//! What a change of the stream does to the rights: what is known changes, and what takes a right away
//! becomes a revocation.
//!
//! A change whose transaction the snapshot has seen is known already: of the memberships it only moves
//! `since`. Of sessions, users and organisations the snapshot says at most who is banned, so that their changes
//! always count; where nobody has a stream yet, they close none.

use wire::{CloseReason, EventId, Extension, Key, Revocation, RevocationScope};

use super::concerns::{
    Column, Concerns, Members, RevocationColumns, Session, User, old_text, text,
};
use super::kept::{KeptRow, Target};
use super::map::{Membership, Row as MemberRow};
use super::rights::Rights;
use super::spelling::Spelling;
use crate::Action;
use crate::limits::NAME_BYTES_MAX;
use crate::pgoutput::{Old, Tuple, Value};
use crate::router::Row;
use crate::time::unix_ms_of_text_since_1970;

/// Where a change comes from.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Origin {
    pub(crate) at: EventId,
    pub(crate) xid: u32,
    /// When it was committed, in milliseconds since 1970.
    pub(crate) commit_ms: i64,
}

/// What follows for streams that are open.
#[derive(Clone, Debug)]
pub(crate) enum Effect {
    Revoke(Revocation),
    Extend(Extension),
}

/// What a change says of a column of a membership.
enum Said<T> {
    /// This.
    New(T),
    /// That it is what it was.
    Same,
}

impl Rights {
    /// A row was changed.
    pub(crate) fn handle_row(
        &mut self,
        concerns: &Concerns,
        row: Row<'_>,
        origin: Origin,
    ) -> Vec<Effect> {
        self.on_shown(origin.xid);
        self.note_absences(concerns, row, origin);
        let mut effects = Vec::new();
        if let Some(members) = &concerns.members {
            self.member_changed(members, row, origin, &mut effects);
        }
        if let Some(session) = &concerns.session {
            self.session_changed(session, row, origin, &mut effects);
        }
        if let Some(user) = &concerns.user {
            self.user_changed(user, row, origin, &mut effects);
        }
        if let Some(id) = concerns.organisation {
            self.organisation_changed(id, row, origin, &mut effects);
        }
        if let Some(columns) = &concerns.revocation {
            self.revocation_changed(columns, row, origin, &mut effects);
        }
        self.remember(&effects, origin.at);
        self.note_standing(concerns, row, origin);
        effects
    }

    /// A table was emptied.
    pub(crate) fn handle_truncate(&mut self, concerns: &Concerns, origin: Origin) -> Vec<Effect> {
        self.on_shown(origin.xid);
        let mut effects = Vec::new();
        let has_seen = self.has_seen(origin);
        if concerns.members.is_some() {
            effects.push(everybody(CloseReason::MembershipRevoked));
            if !has_seen {
                self.map.clear();
            }
        } else if concerns.session.is_some() || concerns.user.is_some() {
            effects.push(everybody(CloseReason::SessionRevoked));
        } else if concerns.organisation.is_some() {
            effects.push(everybody(CloseReason::OrganizationDeleted));
            if !has_seen {
                self.map.clear();
            }
        }
        if concerns.revocation.is_some() {
            self.absences.everybody(origin.at);
            if !has_seen {
                self.kept = super::kept::Kept::default();
            }
        }
        self.remember(&effects, origin.at);
        effects
    }

    fn member_changed(
        &mut self,
        members: &Members,
        row: Row<'_>,
        origin: Origin,
        effects: &mut Vec<Effect>,
    ) {
        if self.visibility.is_none() {
            // They are yet to be read, and what is read then has this.
            self.unfollowed = Some(origin.at);
            return;
        }
        let Row { new, old, .. } = row;
        let old_tuple = old.map(|old| old.tuple);
        let new_id = new.and_then(|new| members.key(new, old_tuple, &self.keys));
        let old_id = match old_tuple {
            Some(old) => members.key(old, None, &self.keys),
            None => new_id,
        };
        if self.has_seen(origin) {
            match new_id.filter(|_| self.is_known_identity(members)) {
                Some(id) => self.map.touch(id, origin.at),
                None => self.touch_named(members, new, old_tuple, origin.at),
            }
            return;
        }
        let is_lost = !self.is_known_identity(members)
            || (new.is_some() && new_id.is_none())
            || (row.action != Action::Insert && old_id.is_none());
        // Where there can be only one row of an identity, a new one takes the place of any other.
        let removed = old_id.filter(|_| row.action != Action::Insert || !members.is_whole);
        let before = removed.and_then(|id| self.map.get(id)).cloned();
        let said = match new.map(|new| self.said(members, new, old_tuple, before.as_ref())) {
            Some(Err(Unknown)) => return self.lose_track(),
            Some(Ok(said)) => said,
            None => None,
        };
        if is_lost {
            return self.lose_track();
        }
        let pairs: Vec<(Key, Key)> = [
            before.as_ref().map(|row| (row.user, row.organisation)),
            said.as_ref().map(|(row, _)| (row.user, row.organisation)),
        ]
        .into_iter()
        .flatten()
        .collect();
        let were: Vec<Option<Membership>> = self.memberships(&pairs);
        let since = removed.and_then(|id| self.map.since(id));
        if let Some(id) = removed {
            self.map.remove(id);
        }
        if let (Some((row, organisation)), Some(id)) = (said, new_id) {
            let is_same = before.as_ref().is_some_and(|before| before.is_like(&row));
            self.map.insert(id, row, &organisation);
            // A change of anything else takes nobody's past away.
            match (is_same, since) {
                (true, None) => {}
                (true, Some(since)) => self.map.touch(id, since),
                (false, _) => self.map.touch(id, origin.at),
            }
        }
        for ((user, organisation), was) in pairs.into_iter().zip(were) {
            let is = self.map.membership(user, organisation);
            effects.extend(
                lost(was.as_ref(), is.as_ref())
                    .map(|reason| revoke(RevocationScope::Member { user, organisation }, reason)),
            );
        }
        // Both rows of one membership: it is one loss.
        effects.dedup_by(|one, other| match (one, other) {
            (Effect::Revoke(one), Effect::Revoke(other)) => one.scope == other.scope,
            _ => false,
        });
        if self.map.has_room_again() {
            self.wants_load = true;
        }
    }

    /// What a new row says; `None` where it makes nobody a member.
    fn said(
        &self,
        members: &Members,
        new: Tuple<'_>,
        old: Option<Tuple<'_>>,
        before: Option<&MemberRow>,
    ) -> Result<Option<(MemberRow, String)>, Unknown> {
        let columns = members.columns.ok_or(Unknown)?;
        let is_active = match columns.active {
            None => true,
            Some(flag) => match flag.is_active(value(new, old, flag.index)) {
                Some(is_active) => is_active,
                None => before.is_some(),
            },
        };
        if !is_active {
            return Ok(None);
        }
        let user = match name(new, old, columns.user) {
            Said::New(None) => return Ok(None),
            Said::New(Some(name)) => self.keys.user(name),
            Said::Same => before.ok_or(Unknown)?.user,
        };
        let (organisation, called) = match name(new, old, columns.organisation) {
            Said::New(None) => return Ok(None),
            Said::New(Some(name)) => (self.keys.organisation(name), name.to_owned()),
            Said::Same => {
                let organisation = before.ok_or(Unknown)?.organisation;
                let name = self.map.name(organisation).ok_or(Unknown)?;
                (organisation, name.to_owned())
            }
        };
        let role = match columns.role.map(|index| name(new, old, index)) {
            None | Some(Said::New(None)) => None,
            Some(Said::New(Some(role))) => Some(role.into()),
            Some(Said::Same) => before.ok_or(Unknown)?.role.clone(),
        };
        let row = MemberRow {
            user,
            organisation,
            role,
            copies: 1,
        };
        Ok(Some((row, called)))
    }

    /// A row that was changed before the snapshot, and whose identity was another then.
    fn touch_named(
        &mut self,
        members: &Members,
        new: Option<Tuple<'_>>,
        old: Option<Tuple<'_>>,
        at: EventId,
    ) {
        let (Some(columns), Some(new)) = (members.columns, new) else {
            return;
        };
        let user = name(new, old, columns.user);
        let organisation = name(new, old, columns.organisation);
        if let (Said::New(Some(user)), Said::New(Some(organisation))) = (user, organisation) {
            let user = self.keys.user(user);
            let organisation = self.keys.organisation(organisation);
            self.map.touch_membership(user, organisation, at);
        }
    }

    fn memberships(&self, pairs: &[(Key, Key)]) -> Vec<Option<Membership>> {
        let of = |(user, organisation): &(Key, Key)| self.map.membership(*user, *organisation);
        pairs.iter().map(of).collect()
    }

    /// Whether rows have the identity by which they are known.
    fn is_known_identity(&self, members: &Members) -> bool {
        let names = members.identity.iter().map(|(name, _)| name);
        names.eq(&self.identity_columns)
    }

    /// A change of a membership cannot be understood: all are read again, before anything later is handed
    /// over.
    fn lose_track(&mut self) {
        self.wants_load = true;
    }

    fn session_changed(
        &self,
        session: &Session,
        row: Row<'_>,
        origin: Origin,
        effects: &mut Vec<Effect>,
    ) {
        let Session { id, user, .. } = *session;
        let key = |id: &str| self.keys.session(id);
        let ended = |id: &str| {
            revoke(
                RevocationScope::Session(key(id)),
                CloseReason::SessionRevoked,
            )
        };
        let Row { action, new, old } = row;
        match (action, new, old) {
            (Action::Delete, _, Some(old)) => effects.push(match old_text(old, id) {
                Some(id) => ended(id),
                None => everybody(CloseReason::FeedStale),
            }),
            (Action::Update, Some(new), old) => {
                let (is, was) = (text(new, id), old.and_then(|old| old_text(old, id)));
                let Some(is) = is else {
                    return effects.push(everybody(CloseReason::FeedStale));
                };
                if let Some(was) = was.filter(|was| *was != is) {
                    return effects.push(ended(was));
                }
                let is_another = |old: Old<'_>| {
                    old.whole && user.is_some() && text(new, user) != old_text(old, user)
                };
                if old.is_some_and(is_another) {
                    return effects.push(ended(is));
                }
                let Some(expires_ms) = session.ends_ms(new) else {
                    return;
                };
                effects.push(if expires_ms <= origin.commit_ms {
                    ended(is)
                } else {
                    Effect::Extend(Extension {
                        session: key(is),
                        user: text(new, user).map(|user| self.keys.user(user)),
                        expires_ms: expires_ms.try_into().unwrap_or(0),
                    })
                });
            }
            _ => {}
        }
    }

    fn user_changed(&self, user: &User, row: Row<'_>, origin: Origin, effects: &mut Vec<Effect>) {
        let out = |id: &str| {
            revoke(
                RevocationScope::User(self.keys.user(id)),
                CloseReason::SessionRevoked,
            )
        };
        let Row { action, new, old } = row;
        match (action, new, old) {
            (Action::Delete, _, Some(old)) => effects.push(match old_text(old, user.id) {
                Some(id) => out(id),
                None => everybody(CloseReason::FeedStale),
            }),
            (Action::Update, Some(new), old) => {
                let Some(is) = text(new, user.id) else {
                    return effects.push(everybody(CloseReason::FeedStale));
                };
                let was = old.and_then(|old| old_text(old, user.id));
                effects.extend(was.filter(|was| *was != is).map(out));
                if user.is_banned(new, origin.commit_ms) {
                    effects.push(out(is));
                }
            }
            _ => {}
        }
    }

    fn organisation_changed(
        &mut self,
        id: Column,
        row: Row<'_>,
        origin: Origin,
        effects: &mut Vec<Effect>,
    ) {
        let Row { action, new, old } = row;
        let was = old.and_then(|old| old_text(old, id));
        let is_same = new.is_some() && new.and_then(|new| text(new, id)) == was;
        let gone = match (action, old) {
            (Action::Delete, Some(_)) => was,
            (Action::Update, Some(_)) if !is_same => was,
            _ => return,
        };
        let Some(gone) = gone else {
            if action == Action::Delete {
                effects.push(everybody(CloseReason::FeedStale));
                self.lose_track();
            }
            return;
        };
        let organisation = self.keys.organisation(gone);
        let scope = RevocationScope::Organisation(organisation);
        effects.push(revoke(scope, CloseReason::OrganizationDeleted));
        if !self.has_seen(origin) {
            self.map.remove_organisation(organisation);
        }
    }

    fn revocation_changed(
        &mut self,
        columns: &RevocationColumns,
        row: Row<'_>,
        origin: Origin,
        effects: &mut Vec<Effect>,
    ) {
        let has_seen = self.has_seen(origin);
        let id = |tuple: Tuple<'_>| text(tuple, columns.id).map(|id| self.keys.row(id.as_bytes()));
        let old = row.old.and_then(|old| id(old.tuple));
        let new = row.new.and_then(|new| Some((id(new)?, new)));
        if let Some(old) = old.filter(|_| !has_seen) {
            self.kept.remove(old);
        }
        let Some((id, new)) = new else { return };
        let Some(kept) = self.kept_of(columns, new) else {
            return;
        };
        effects.push(Effect::Revoke(kept.revocation()));
        if !has_seen {
            let now_ms = u64::try_from(origin.commit_ms).unwrap_or(0);
            self.kept.insert(id, kept, now_ms);
        }
    }

    /// Reads a row of our own table as the stream has it.
    pub(super) fn kept_of(&self, columns: &RevocationColumns, new: Tuple<'_>) -> Option<KeptRow> {
        let fields = [
            text(new, columns.user),
            text(new, columns.session),
            text(new, columns.organisation),
            text(new, columns.issued_before),
            text(new, columns.until),
        ];
        self.kept_row(fields, self.spelling)
    }

    /// Reads a row of our own table: user, session, organisation, issued before, until.
    pub(crate) fn kept_row(
        &self,
        fields: [Option<&str>; 5],
        spelling: Spelling,
    ) -> Option<KeptRow> {
        let [user, session, organisation, issued_before, until] = fields;
        let of_user = |user: &str| self.keys.user(&spelling.user(user));
        let of_organisation = |name: &str| self.keys.organisation(&spelling.organisation(name));
        let target = match (session, user, organisation) {
            (Some(session), _, _) => Target::Session(self.keys.session(session)),
            (None, Some(user), Some(organisation)) => {
                Target::Member(of_user(user), of_organisation(organisation))
            }
            (None, Some(user), None) => Target::User(of_user(user)),
            (None, None, Some(organisation)) => Target::Organisation(of_organisation(organisation)),
            (None, None, None) => return None,
        };
        let ms = unix_ms_of_text_since_1970;
        Some(KeptRow {
            target,
            issued_before_ms: issued_before.and_then(ms),
            // A time that cannot be read is no reason to let somebody in.
            until_ms: until.and_then(ms).unwrap_or(u64::MAX),
        })
    }
}

/// Nothing says what the row is.
struct Unknown;

impl MemberRow {
    /// Whether two rows give the same right.
    fn is_like(&self, other: &Self) -> bool {
        (self.user, self.organisation, &self.role) == (other.user, other.organisation, &other.role)
    }
}

/// Why streams of a membership close, where it is not what it was.
pub(crate) fn lost(was: Option<&Membership>, is: Option<&Membership>) -> Option<CloseReason> {
    match (was, is) {
        (Some(_), None) => Some(CloseReason::MembershipRevoked),
        (Some(was), Some(is)) if was.roles != is.roles => Some(CloseReason::RoleChanged),
        _ => None,
    }
}

pub(crate) fn everybody(reason: CloseReason) -> Effect {
    revoke(RevocationScope::Everybody, reason)
}

pub(crate) fn revoke(scope: RevocationScope, reason: CloseReason) -> Effect {
    Effect::Revoke(Revocation { scope, reason })
}

/// A value of a row; where it did not change, what it was.
fn value<'a>(new: Tuple<'a>, old: Option<Tuple<'a>>, index: usize) -> Value<'a> {
    match (new.value(index), old) {
        (Value::Unchanged, Some(old)) => match old.value(index) {
            // What is not part of the identity was not sent.
            Value::Null => Value::Unchanged,
            value => value,
        },
        (value, _) => value,
    }
}

/// What a column calls somebody. A name that no request could say is nobody's.
fn name<'a>(new: Tuple<'a>, old: Option<Tuple<'a>>, index: usize) -> Said<Option<&'a str>> {
    match value(new, old, index) {
        Value::Unchanged => Said::Same,
        Value::Null | Value::Oversized => Said::New(None),
        Value::Text(text) => Said::New(
            std::str::from_utf8(text)
                .ok()
                .filter(|name| !name.is_empty() && name.len() <= NAME_BYTES_MAX),
        ),
    }
}
