//! The rights of users: what is known of them, from when to when. How the stream changes it is in
//! `changes`, the verdict on a newcomer in `verdict`.

use std::collections::VecDeque;

use wire::{CloseReason, EventId, Keys, Lsn, Revocation, RevocationScope};

use super::absences::Absences;
use super::bans::{Ban, Bans};
use super::changes::{Effect, Origin, everybody, lost, revoke};
use super::ends::Ends;
use super::kept::{Kept, KeptRow};
use super::map::Map;
use super::ring::{Mark, Ring};
use super::spelling::Spelling;
use super::visibility::Visibility;
use super::{Identity, MembershipStatus};
use crate::limits::{REVOCATIONS_OF_A_LOAD_MAX, SHOWN_MS, SHOWN_TRANSACTIONS_MAX};

/// What is known of who may have a stream.
pub(crate) struct Rights {
    pub(super) identity: Identity,
    pub(super) keys: Keys,
    pub(super) ring: Ring,
    pub(super) ends: Ends,
    pub(super) map: Map,
    pub(super) kept: Kept,
    pub(super) absences: Absences,
    pub(super) bans: Bans,
    pub(super) spelling: Spelling,
    /// The columns of the replica identity by which the rows are known, in the order of their names.
    pub(super) identity_columns: Vec<String>,
    /// What the rows were read by; `None` before they were.
    pub(super) visibility: Option<Visibility>,
    /// A place from which on nobody has a past: changes before it were not followed, row by row.
    pub(super) unfollowed: Option<EventId>,
    /// Whether the stream has passed the place where they were read.
    has_passed: bool,
    /// Whether they have to be read.
    pub(super) wants_load: bool,
    /// The transactions that were read from the stream lately, and when.
    shown: VecDeque<(u32, u64)>,
    /// Whether streams may be open whose rights were not looked at since a gap.
    is_owed: bool,
    revocations: u64,
    loads: u64,
    trouble: Option<String>,
    pub(super) now_ms: u64,
}

/// What was read in one snapshot.
#[derive(Debug)]
pub(crate) struct Loaded {
    pub(crate) visibility: Visibility,
    pub(crate) identity_columns: Vec<String>,
    pub(crate) spelling: Spelling,
    pub(crate) map: Map,
    /// Who is banned, or why that is not known.
    pub(crate) bans: Result<Vec<Ban>, String>,
    pub(crate) kept: Kept,
}

/// A transaction that the stream has shown is not in the snapshot: it is to be taken again.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct TooEarly;

impl Rights {
    /// Nothing is known yet, nor of anything before this position.
    pub(crate) fn new(identity: Identity, keys: Keys, position: EventId) -> Self {
        let max = identity.members().map_or(0, |members| members.max);
        let mut rights = Self {
            identity,
            keys,
            ring: Ring::default(),
            ends: Ends::default(),
            map: Map::new(max),
            kept: Kept::default(),
            absences: Absences::default(),
            bans: Bans::default(),
            spelling: Spelling::default(),
            identity_columns: Vec::new(),
            visibility: None,
            unfollowed: None,
            has_passed: false,
            wants_load: false,
            shown: VecDeque::new(),
            is_owed: false,
            revocations: 0,
            loads: 0,
            trouble: None,
            now_ms: 0,
        };
        rights.ring.begin(position, true);
        rights.wants_load = rights.is_read();
        rights
    }

    /// Changes were missed before this position. `is_foreign` says that positions and transactions of before
    /// mean nothing any more. Returns what has to be handed over before anything that comes later.
    pub(crate) fn on_gap(&mut self, position: EventId, is_foreign: bool) -> Vec<Effect> {
        self.ring.begin(position, is_foreign);
        self.ends.clear();
        self.bans.clear();
        if is_foreign {
            self.absences = Absences::default();
            self.shown.clear();
        }
        self.wants_load = self.is_read();
        self.has_passed = false;
        // Of who is a member nobody has read whether the organisation is still there.
        let has_organisations = self.identity.organisation.is_some();
        let is_unknown = has_organisations && self.identity.members().is_none();
        if self.identity.session.is_some() || self.identity.user.is_some() || is_unknown {
            // Which sessions ended meanwhile, nobody can tell any more.
            return vec![everybody(CloseReason::FeedStale)];
        }
        self.is_owed = self.wants_load;
        Vec::new()
    }

    /// Another server goes on, which has everything before `passed`. It may lack transactions behind that which
    /// the snapshot has seen, and give their numbers to others: what was read then is read again.
    pub(crate) fn on_fork(&mut self, passed: Lsn) {
        self.ring.on_fork(passed);
        self.bans.on_fork(passed);
        let is_behind = |visibility: &Visibility| visibility.end() > passed;
        if self.visibility.as_ref().is_some_and(is_behind) {
            self.bans.lose_track();
            self.wants_load = true;
            self.is_owed = true;
        }
    }

    /// What the time is, until it is said again.
    pub(crate) fn handle_timeout(&mut self, now_ms: u64) {
        self.now_ms = now_ms;
    }

    /// Everything before this place was read.
    pub(crate) fn on_position(&mut self, lsn: Lsn) {
        let flushed = self.visibility.as_ref().map(Visibility::flushed);
        self.has_passed |= flushed.is_some_and(|flushed| lsn >= flushed);
    }

    /// A transaction begins that was committed at this time, in milliseconds since 1970; everything up to this
    /// position was before it.
    pub(crate) fn on_begin(&mut self, commit_ms: i64, position: EventId) {
        let commit_ms = u64::try_from(commit_ms).unwrap_or(0);
        self.absences.pass(commit_ms, position);
        self.end_bans(commit_ms, position);
    }

    /// Whether the memberships have to be read before anything more is.
    pub(crate) fn wants_load(&self) -> bool {
        self.wants_load
    }

    /// Takes what was read, where everything before `passed` was read of the stream and handed over up to
    /// `position`, and returns what follows for the streams that are open.
    ///
    /// # Errors
    ///
    /// Where it was read too early: PostgreSQL shows a commit to others a moment after it was sent to us.
    pub(crate) fn adopt(
        &mut self,
        loaded: Loaded,
        passed: Lsn,
        position: EventId,
    ) -> Result<Vec<Effect>, TooEarly> {
        let is_seen = |(xid, _): &(u32, u64)| loaded.visibility.sees(*xid);
        if !self.shown.iter().all(is_seen) {
            return Err(TooEarly);
        }
        let effects = self.difference(&loaded);
        self.wants_load = false;
        self.is_owed = false;
        self.has_passed = false;
        if self.loads > 0 {
            // What was known of the single rows' changes goes with the rows.
            self.unfollowed = Some(position);
        }
        self.loads += 1;
        self.trouble = None;
        self.map = loaded.map;
        self.kept = loaded.kept;
        for KeptRow {
            target, until_ms, ..
        } in self.kept.rows()
        {
            self.absences.out_until(target, position, until_ms);
        }
        self.adopt_bans(loaded.bans.ok(), position);
        self.spelling = loaded.spelling;
        self.identity_columns = loaded.identity_columns;
        self.visibility = Some(loaded.visibility);
        self.on_position(passed);
        Ok(effects)
    }

    /// Takes it that there are no memberships yet: a fuzzer has no database to read them from.
    pub(crate) fn load_nothing(&mut self, identity_columns: Vec<String>) {
        self.identity_columns = identity_columns;
        self.visibility = Some(Visibility::default());
        self.wants_load = false;
    }

    /// The memberships could not be read. Returns what follows for the streams that are open: what they
    /// are allowed is not known any more.
    pub(crate) fn on_load_failed(&mut self, why: &str) -> Vec<Effect> {
        self.trouble = Some(why.to_owned());
        self.bans.lose_track();
        let had = self.visibility.take().is_some();
        self.map.clear();
        self.has_passed = false;
        self.wants_load = true;
        let is_owed = std::mem::take(&mut self.is_owed);
        let closes = had || is_owed;
        Vec::from_iter(closes.then(|| everybody(CloseReason::FeedStale)))
    }

    pub(crate) fn keys(&self) -> &Keys {
        &self.keys
    }

    /// Remembers what was revoked here, and which sessions end when.
    pub(crate) fn remember(&mut self, effects: &[Effect], position: EventId) {
        let at_ms = self.now_ms;
        for effect in effects {
            let mark = Mark { position, at_ms };
            match effect {
                Effect::Revoke(Revocation { scope, .. }) => {
                    self.revocations += 1;
                    self.ring.push(*scope, mark);
                    if *scope == RevocationScope::Everybody {
                        self.absences.everybody(position);
                    }
                }
                Effect::Extend(extension) => {
                    self.ends.push(*extension, mark);
                }
            }
        }
    }

    pub(crate) fn status(&self) -> MembershipStatus {
        MembershipStatus {
            ready: self.is_ready(),
            count: self.map.len(),
            full: self.map.is_full(),
            bans: self.bans.count(),
            revocations: self.revocations,
            loads: self.loads,
            trouble: self.trouble.clone(),
            spelling: self.spelling,
        }
    }

    /// Whether what is read before anybody is let in is known, and the stream has passed it.
    pub(super) fn is_ready(&self) -> bool {
        !self.is_read() || (self.visibility.is_some() && self.has_passed && !self.wants_load)
    }

    /// Whether the snapshot has the changes of a transaction.
    pub(super) fn has_seen(&self, origin: Origin) -> bool {
        let visibility = self.visibility.as_ref();
        visibility.is_some_and(|it| it.has_seen(origin.xid, origin.at.lsn))
    }

    /// A transaction was read that concerns rights.
    pub(super) fn on_shown(&mut self, xid: u32) {
        if self.shown.back().is_some_and(|(last, _)| *last == xid) {
            return;
        }
        let old_ms = self.now_ms.saturating_sub(SHOWN_MS);
        while self.shown.len() >= SHOWN_TRANSACTIONS_MAX
            || self.shown.front().is_some_and(|(_, at_ms)| *at_ms < old_ms)
        {
            self.shown.pop_front();
        }
        self.shown.push_back((xid, self.now_ms));
    }

    /// Whether anything is read before somebody is let in.
    fn is_read(&self) -> bool {
        let identity = &self.identity;
        identity.members().is_some() || identity.bans().is_some() || identity.revocation
    }

    /// Who has lost something between what was known and what was read.
    fn difference(&self, loaded: &Loaded) -> Vec<Effect> {
        let lost = self.map.pairs().filter_map(|(user, organisation)| {
            let was = self.map.membership(user, organisation);
            let is = loaded.map.membership(user, organisation);
            let reason = lost(was.as_ref(), is.as_ref())?;
            Some(revoke(
                RevocationScope::Member { user, organisation },
                reason,
            ))
        });
        // A first load has nothing to compare with, and closes nothing.
        let had = self.loads > 0;
        let kept = loaded.kept.beyond(&self.kept).filter(|_| had);
        let kept = kept.map(|row| Effect::Revoke(row.revocation()));
        let effects: Vec<Effect> = lost
            .chain(kept)
            .take(REVOCATIONS_OF_A_LOAD_MAX + 1)
            .collect();
        if effects.len() > REVOCATIONS_OF_A_LOAD_MAX {
            return vec![everybody(CloseReason::FeedStale)];
        }
        effects
    }
}

impl std::fmt::Debug for Rights {
    /// Without the keys, which are a secret of the boot, and without anybody's name.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Rights")
            .field("status", &self.status())
            .finish_non_exhaustive()
    }
}
