//! Who was kept out and may be back: bans, users and organisations that were deleted, sessions that were ended,
//! and rows of `tailrace.revocation`. What was committed before somebody was let in again is not for their eyes,
//! wherever they ask to go on from. Memberships that were removed are no part of it: of them the map knows.
//!
//! What the stream says is known, and who was banned when the rows were read (`bans`). That a ban was lifted before
//! that the stream does not say unless the server sends old rows whole: until it has passed what was read, a row
//! that lets a user in counts as if it had. Of a revocation whose time was over by then nothing is left.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use wire::{EventId, Key};

use super::bans::Ban;
use super::changes::Origin;
use super::concerns::{Column, Concerns, RevocationColumns, Session, User, old_text, text};
use super::kept::{KeptRow, Target};
use super::rights::Rights;
use crate::Action;
use crate::limits::REVOCATIONS_REMEMBERED_MAX;
use crate::pgoutput::Old;
use crate::router::Row;

/// The last words about those who were kept out, bounded in number.
#[derive(Debug, Default)]
pub(crate) struct Absences {
    last: BTreeMap<Target, Absence>,
    /// The words in the order of the log, with those that another followed.
    order: VecDeque<(EventId, Target)>,
    /// Who is back at which time, in milliseconds since 1970, without another word.
    ends: BTreeSet<(u64, Target)>,
    /// The last word that was forgotten, or that concerned everybody.
    everybody: Option<EventId>,
    /// Until when somebody may be out who was forgotten, in milliseconds since 1970.
    forgotten_until_ms: Option<u64>,
}

/// What is known of somebody who was kept out.
#[derive(Clone, Copy, Debug)]
struct Absence {
    /// Where the last word was said.
    at: EventId,
    /// Whether it takes another word to be let in again.
    is_out: bool,
    /// When somebody is back without one, in milliseconds since 1970.
    until_ms: Option<u64>,
}

impl Absences {
    /// Somebody is out here, until another word is said.
    fn out(&mut self, target: Target, at: EventId) {
        self.put(target, at, true, None);
    }

    /// Somebody is out here, until this time; `u64::MAX` is for ever.
    pub(super) fn out_until(&mut self, target: Target, at: EventId, until_ms: u64) {
        let until_ms = Some(until_ms).filter(|until_ms| *until_ms < u64::MAX);
        self.put(target, at, self.is_out(target), until_ms);
    }

    /// One of the things is over that kept somebody out.
    fn over(&mut self, target: Target, at: EventId) {
        self.put(target, at, self.is_out(target), None);
    }

    /// A row lets somebody in. If none kept them out, that says nothing.
    fn back(&mut self, target: Target, at: EventId) {
        if self.is_out(target) {
            self.back_from(target, at);
        }
    }

    /// A row lets somebody in who was kept out.
    fn back_from(&mut self, target: Target, at: EventId) {
        self.put(target, at, false, None);
    }

    /// Something was said that may have concerned anybody.
    pub(super) fn everybody(&mut self, at: EventId) {
        self.everybody = self.everybody.max(Some(at));
    }

    /// What comes now was committed at this time, in milliseconds since 1970, and everything up to this
    /// position was before.
    pub(super) fn pass(&mut self, now_ms: u64, at: EventId) {
        while let Some((until_ms, target)) = self.ends.first().copied()
            && until_ms <= now_ms
        {
            self.ends.pop_first();
            if let Some(absence) = self.last.get_mut(&target) {
                absence.until_ms = None;
            }
            self.over(target, at);
        }
        if self
            .forgotten_until_ms
            .take_if(|it| *it <= now_ms)
            .is_some()
        {
            self.everybody(at);
        }
    }

    /// The place before which nothing is for the eyes of somebody who is all of these. `now_ms` is the time
    /// since 1970, and `known` the position up to which everything is known.
    pub(super) fn since(&self, who: &[Target], now_ms: u64, known: EventId) -> Option<EventId> {
        let of = who.iter().filter_map(|target| self.last.get(target));
        let places = of.map(|absence| match absence.until_ms {
            // Nothing has come yet that was committed later.
            Some(until_ms) if until_ms <= now_ms => known.max(absence.at),
            _ => absence.at,
        });
        places.chain(self.everybody).max()
    }

    fn is_out(&self, target: Target) -> bool {
        self.last.get(&target).is_some_and(|absence| absence.is_out)
    }

    fn put(&mut self, target: Target, at: EventId, is_out: bool, until_ms: Option<u64>) {
        let before = self.last.get(&target).copied();
        // What was said is not taken back where it is said again, or was over when it was said.
        let at = before.map_or(at, |before| at.max(before.at));
        let before_ms = before.and_then(|before| before.until_ms);
        let until_ms = until_ms.max(before_ms);
        if let Some(before_ms) = before_ms {
            self.ends.remove(&(before_ms, target));
        }
        if let Some(until_ms) = until_ms {
            self.ends.insert((until_ms, target));
        }
        let absence = Absence {
            at,
            is_out,
            until_ms,
        };
        self.last.insert(target, absence);
        self.order.push_back((at, target));
        if self.order.len() > REVOCATIONS_REMEMBERED_MAX {
            self.forget_oldest();
        }
    }

    fn forget_oldest(&mut self) {
        let Some((at, target)) = self.order.pop_front() else {
            return;
        };
        if self.last.get(&target).is_none_or(|last| last.at != at) {
            return;
        }
        let oldest = self.last.remove(&target).expect("it was looked at");
        if let Some(until_ms) = oldest.until_ms {
            self.ends.remove(&(until_ms, target));
        }
        self.forgotten_until_ms = self.forgotten_until_ms.max(oldest.until_ms);
        self.everybody(at);
    }
}

impl Rights {
    /// Notes whom a row keeps out or lets in again, before anything else is made of it.
    pub(super) fn note_absences(&mut self, concerns: &Concerns, row: Row<'_>, origin: Origin) {
        if let Some(user) = &concerns.user {
            self.note_user(user, row, origin);
        }
        if let Some(session) = &concerns.session {
            self.note_session(session, row, origin);
        }
        if let Some(id) = concerns.organisation {
            self.note_organisation(id, row, origin.at);
        }
        if let Some(columns) = &concerns.revocation {
            self.note_revocation(columns, row, origin);
        }
    }

    fn note_user(&mut self, user: &User, row: Row<'_>, origin: Origin) {
        let Row { new, old, .. } = row;
        let of = |id: &str| self.keys.user(id);
        let was = old.and_then(|old| old_text(old, user.id)).map(of);
        let is = new.and_then(|new| text(new, user.id)).map(of);
        let gone = was.filter(|was| is != Some(*was));
        if let Some(gone) = gone {
            self.bans.lift(gone);
            self.absences.out(Target::User(gone), origin.at);
        }
        let (Some(is), Some(new)) = (is, new) else {
            return;
        };
        if user.is_banned(new, origin.commit_ms) {
            let until_ms = user.banned_until_ms(new);
            let ban = Ban { user: is, until_ms };
            return self.bans.ban(ban, origin.at.lsn);
        }
        let target = Target::User(is);
        let was_banned = self.bans.lift(is);
        let is_new = row.action == Action::Insert || gone.is_some();
        let may_have_been_out = match is_new {
            true => gone.is_some() || (self.has_seen(origin) && self.may_have_past(is)),
            false => self.may_lift_ban(user, old, origin),
        };
        if was_banned || may_have_been_out {
            self.absences.back_from(target, origin.at);
        } else {
            self.absences.back(target, origin.at);
        }
    }

    /// Whether there may be anything of before for a user whose row is new. Whoever belonged nowhere meanwhile has
    /// no past anyway.
    fn may_have_past(&self, user: Key) -> bool {
        self.identity.members().is_none() || self.map.organisations(user).next().is_some()
    }

    /// Whether a change of a user's row may lift a ban that nobody knew.
    fn may_lift_ban(&self, user: &User, old: Option<Old<'_>>, origin: Origin) -> bool {
        let knows = self.bans.is_whole() && !self.has_seen(origin);
        let had_ban = match old {
            // Also one that was over by itself.
            Some(old) if old.whole => user.has_ban(old.tuple),
            _ => user.banned.is_some(),
        };
        had_ban && !knows
    }

    /// Takes who was banned when the rows were read, where everything was handed over up to here.
    pub(super) fn adopt_bans(&mut self, bans: Option<Vec<Ban>>, at: EventId) {
        for user in self.bans.adopt(bans) {
            self.absences.back_from(Target::User(user), at);
        }
    }

    /// What comes now was committed at this time, and everything up to this position was before.
    pub(super) fn end_bans(&mut self, commit_ms: u64, at: EventId) {
        while let Some(user) = self.bans.pass(commit_ms) {
            self.absences.back_from(Target::User(user), at);
        }
    }

    /// One that is deleted never comes back; what ends it and what makes it last again are changes of its row.
    fn note_session(&mut self, session: &Session, row: Row<'_>, origin: Origin) {
        let (Some(new), true) = (row.new, session.expires.is_some()) else {
            return;
        };
        let Some(id) = text(new, session.id) else {
            return;
        };
        let target = Target::Session(self.keys.session(id));
        match session.is_over(new, origin.commit_ms) {
            true => self.absences.out(target, origin.at),
            false => self.absences.back(target, origin.at),
        }
    }

    fn note_organisation(&mut self, id: Column, row: Row<'_>, at: EventId) {
        let of = |id: &str| Target::Organisation(self.keys.organisation(id));
        let was = row.old.and_then(|old| old_text(old, id)).map(of);
        let is = row.new.and_then(|new| text(new, id)).map(of);
        if let Some(was) = was.filter(|was| is != Some(*was)) {
            self.absences.out(was, at);
        }
        if let Some(is) = is {
            self.absences.back(is, at);
        }
    }

    fn note_revocation(&mut self, columns: &RevocationColumns, row: Row<'_>, origin: Origin) {
        let commit_ms = u64::try_from(origin.commit_ms).unwrap_or(0);
        let id = |tuple| text(tuple, columns.id).map(|id| self.keys.row(id.as_bytes()));
        let new = row.new.and_then(id);
        let old = row.old.and_then(|old| id(old.tuple)).or(new);
        match old.map(|old| self.kept.get(old)) {
            Some(Some(KeptRow {
                target, until_ms, ..
            })) if until_ms > commit_ms => {
                self.absences.over(target, origin.at);
            }
            // A row that the snapshot has not seen any more: whom it kept out, nobody can tell.
            Some(None) if new.is_none() && self.has_seen(origin) => {
                self.absences.everybody(origin.at);
            }
            _ => {}
        }
        let kept = row.new.and_then(|new| self.kept_of(columns, new));
        if let Some(kept) = kept {
            let KeptRow {
                target, until_ms, ..
            } = kept;
            self.absences.out_until(target, origin.at, until_ms);
        }
    }
}

#[cfg(test)]
mod tests;
