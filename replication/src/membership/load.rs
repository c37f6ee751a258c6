//! Reading the memberships, who is banned, and the revocations in force, in one snapshot: a short-lived
//! connection of its own. The stream waits meanwhile, so that what it says next is judged by what was read.
//!
//! ```text
//! Resting ─► Opening ─► Begin ─► Snapshot ─► Savepoint ─► Catalog ─► [Members ─► Fetch…]
//!         ─► [Revocations ─► Fetch…] ─► [Bans ─► Fetch…] ─► End ─► Resting
//! ```

use wire::Keys;

use super::bans::Ban;
use super::catalog::{self, Catalog};
use super::concerns::{RowIdentity, end_of_ban_ms};
use super::kept::Kept;
use super::map::{Map, Row as MemberRow};
use super::rights::{Loaded, Rights};
use super::rows;
use super::spelling::Spelling;
use super::visibility::Visibility;
use crate::limits::{
    BANS_MAX, BANS_MS_MAX, LOAD_AGAIN_MAX, LOAD_AGAIN_MS, LOAD_MS_MAX, LOAD_PAUSE_MS,
};
use crate::protocol::backend::{Row, ServerError};
use crate::session::{Event, Session};
use crate::{Config, Protection};

/// The role may not read a table.
const INSUFFICIENT_PRIVILEGE: &str = "42501";

/// Reads the memberships when it is asked to.
#[derive(Debug, Default)]
pub(crate) struct Load {
    state: State,
    /// Not before then is it tried again.
    next_at_ms: u64,
    failures: u32,
    /// How often it was too early in a row.
    early: u32,
}

#[derive(Debug, Default)]
enum State {
    /// Waits for: being asked. Next: Opening.
    #[default]
    Resting,
    /// Waits for: a connection. Next: Asking.
    Opening,
    /// Waits for: the answer. Next: Asking, Resting.
    Asking(Box<Visit>),
}

/// A reading under way.
struct Visit {
    session: Session,
    until_ms: u64,
    step: Step,
    visibility: Visibility,
    catalog: Catalog,
    identity_columns: Vec<String>,
    spelling: Spelling,
    map: Map,
    /// Who is banned, or why that is not known.
    bans: Result<Vec<Ban>, String>,
    kept: Kept,
}

/// The question that waits for its answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    Ready,
    Begin,
    Snapshot,
    Savepoint,
    Catalog,
    Members,
    FetchMembers,
    CloseMembers,
    Revocations,
    FetchRevocations,
    CloseRevocations,
    Bans,
    FetchBans,
    End,
}

/// What came of what arrived.
#[derive(Debug)]
pub(crate) enum Outcome {
    /// Nothing yet.
    Going,
    /// The connection is to be closed, and this was read.
    Loaded(Box<Loaded>),
    /// The connection is to be closed, and this went wrong.
    Failed(String),
}

impl Load {
    /// Whether a connection is wanted now. `wants` says that there is something to be read.
    pub(crate) fn wants_open(&mut self, wants: bool, now_ms: u64) -> bool {
        let opens = wants && matches!(self.state, State::Resting) && now_ms >= self.next_at_ms;
        if opens {
            self.state = State::Opening;
        }
        opens
    }

    /// Whether the stream has to wait.
    pub(crate) fn holds(&self, wants: bool, now_ms: u64) -> bool {
        match self.state {
            State::Resting => wants && (self.early > 0 || now_ms >= self.next_at_ms),
            State::Opening | State::Asking(_) => true,
        }
    }

    /// What was read until now is of no use any more, if anything. Says whether a connection is to be closed.
    pub(crate) fn begin_anew(&mut self) -> bool {
        self.next_at_ms = 0;
        self.early = 0;
        let was_asking = matches!(self.state, State::Asking(_));
        if was_asking {
            self.state = State::Resting;
        }
        was_asking
    }

    pub(crate) fn handle_opened(&mut self, config: &Config, protection: Protection, now_ms: u64) {
        assert!(
            matches!(self.state, State::Opening),
            "opened because it was asked for"
        );
        let max = config.rules.identity.members().map_or(0, |it| it.max);
        self.state = State::Asking(Box::new(Visit {
            session: Session::new(&config.connect, protection, false),
            until_ms: now_ms + LOAD_MS_MAX,
            step: Step::Ready,
            visibility: Visibility::default(),
            catalog: Catalog::default(),
            identity_columns: Vec::new(),
            spelling: Spelling::default(),
            map: Map::new(max),
            bans: Err("it was not read".to_owned()),
            kept: Kept::default(),
        }));
    }

    /// Bytes arrived.
    pub(crate) fn handle_bytes(
        &mut self,
        bytes: &[u8],
        config: &Config,
        rights: &Rights,
        now_ms: u64,
    ) -> Outcome {
        let State::Asking(visit) = &mut self.state else {
            return Outcome::Going;
        };
        visit.session.push(bytes);
        loop {
            let answer = match visit.session.next() {
                Ok(None) => return Outcome::Going,
                Ok(Some(Event::Ready)) => Ok(Vec::new()),
                Ok(Some(Event::Answer(answer))) => answer,
                Ok(Some(_)) => continue,
                Err(broken) => {
                    let why = broken.to_string();
                    return self.handle_failed(&why, now_ms);
                }
            };
            match visit.on_answer(answer, config, rights) {
                Ok(Some((step, sql))) => {
                    if step == Step::Bans {
                        visit.until_ms = now_ms + BANS_MS_MAX;
                    }
                    visit.step = step;
                    visit.session.ask(&sql);
                }
                Ok(None) => return self.end(),
                Err(why) => return self.handle_failed(&why, now_ms),
            }
        }
    }

    /// What was read is enough.
    fn end(&mut self) -> Outcome {
        let State::Asking(visit) = std::mem::take(&mut self.state) else {
            unreachable!("only a visit has read something");
        };
        Outcome::Loaded(Box::new(visit.loaded()))
    }

    /// What was read is good.
    pub(crate) fn on_adopted(&mut self) {
        *self = Self::default();
    }

    /// What was read was read too early; it is tried again at once. Returns why not, where it was so often
    /// that something else is wrong.
    pub(crate) fn on_too_early(&mut self, now_ms: u64) -> Option<String> {
        self.early += 1;
        self.next_at_ms = now_ms + LOAD_AGAIN_MS;
        if self.early < LOAD_AGAIN_MAX {
            return None;
        }
        let why = "the server does not show what it has sent: a commit that waits for a standby?";
        self.fail(now_ms);
        Some(why.to_owned())
    }

    /// The connection could not be made, or broke, or takes too long.
    pub(crate) fn handle_failed(&mut self, why: &str, now_ms: u64) -> Outcome {
        if let State::Asking(visit) = &mut self.state {
            match visit.step {
                // That it is not known who is banned is no reason to let nobody in.
                Step::Bans | Step::FetchBans => {
                    visit.bans = Err(why.to_owned());
                    return self.end();
                }
                // Everything was read.
                Step::End => return self.end(),
                _ => {}
            }
        }
        self.fail(now_ms);
        Outcome::Failed(why.to_owned())
    }

    fn fail(&mut self, now_ms: u64) {
        let (first, longest) = LOAD_PAUSE_MS;
        let pause_ms = (first << self.failures.min(16)).min(longest);
        *self = Self {
            state: State::Resting,
            next_at_ms: now_ms + pause_ms,
            failures: self.failures.saturating_add(1),
            early: 0,
        };
    }

    pub(crate) fn is_overdue(&self, now_ms: u64) -> bool {
        matches!(&self.state, State::Asking(visit) if now_ms >= visit.until_ms)
    }

    /// When there is something to do.
    pub(crate) fn deadline_ms(&self, wants: bool) -> u64 {
        match &self.state {
            State::Resting if wants => self.next_at_ms,
            State::Resting | State::Opening => u64::MAX,
            State::Asking(visit) => visit.until_ms,
        }
    }

    pub(crate) fn outbox(&mut self) -> Option<&mut Vec<u8>> {
        match &mut self.state {
            State::Asking(visit) => Some(visit.session.outbox()),
            State::Resting | State::Opening => None,
        }
    }
}

impl Visit {
    /// Takes the answer to the last question, and returns the next one; `None` after the last.
    fn on_answer(
        &mut self,
        answer: Result<Vec<Row>, ServerError>,
        config: &Config,
        rights: &Rights,
    ) -> Result<Option<(Step, String)>, String> {
        let identity = &config.rules.identity;
        let rows = answer.map_err(|error| match error.code.as_str() {
            INSUFFICIENT_PRIVILEGE => {
                let grant = rows::grant(identity, &config.connect.user);
                format!("{error}; as their owner: {grant}")
            }
            _ => error.to_string(),
        })?;
        let next = match self.step {
            Step::Ready => (Step::Begin, rows::BEGIN.to_owned()),
            Step::Begin => (Step::Snapshot, rows::SNAPSHOT.to_owned()),
            Step::Snapshot => {
                self.visibility = rows::visibility(&rows)?;
                (Step::Savepoint, rows::SAVEPOINT.to_owned())
            }
            Step::Savepoint => {
                let sql = catalog::question(identity, &config.publication);
                (Step::Catalog, sql)
            }
            Step::Catalog => {
                self.catalog = Catalog::parse(&rows)?;
                let Some(table) = identity.members() else {
                    return Ok(Some(self.ask_for_revocations(config)));
                };
                let plan = self.catalog.members(table, identity, &config.publication)?;
                self.identity_columns = plan.identity_columns;
                self.spelling = Spelling {
                    user_is_uuid: plan.user_is_uuid,
                    organisation_is_uuid: plan.organisation_is_uuid,
                };
                (Step::Members, plan.declare)
            }
            Step::Members => (Step::FetchMembers, rows::fetch()),
            Step::FetchMembers => {
                let keys = rights.keys();
                rows.iter().try_for_each(|row| self.member(row, keys))?;
                match rows::may_have_more(&rows) {
                    true => (Step::FetchMembers, rows::fetch()),
                    false => (Step::CloseMembers, rows::LET_GO.to_owned()),
                }
            }
            Step::CloseMembers => self.ask_for_revocations(config),
            Step::Revocations => (Step::FetchRevocations, rows::fetch()),
            Step::FetchRevocations => {
                rows.iter()
                    .try_for_each(|row| self.revocation(row, rights))?;
                match rows::may_have_more(&rows) {
                    true => (Step::FetchRevocations, rows::fetch()),
                    false => (Step::CloseRevocations, rows::LET_GO.to_owned()),
                }
            }
            Step::CloseRevocations => self.ask_for_bans(config),
            Step::Bans => (Step::FetchBans, rows::fetch()),
            Step::FetchBans => {
                let keys = rights.keys();
                rows.iter().try_for_each(|row| self.ban(row, keys))?;
                match rows::may_have_more(&rows) {
                    true => (Step::FetchBans, rows::fetch()),
                    false => (Step::End, rows::END.to_owned()),
                }
            }
            Step::End => return Ok(None),
        };
        Ok(Some(next))
    }

    fn ask_for_revocations(&mut self, config: &Config) -> (Step, String) {
        match self.catalog.has_revocations() {
            true => (Step::Revocations, rows::declare_revocations()),
            false => self.ask_for_bans(config),
        }
    }

    fn ask_for_bans(&mut self, config: &Config) -> (Step, String) {
        let table = config.rules.identity.bans();
        let declare = table.map(|table| self.catalog.bans(table, config.window_ms));
        self.bans = Ok(Vec::new());
        match declare {
            Some(Ok(declare)) => return (Step::Bans, declare),
            Some(Err(why)) => self.bans = Err(why),
            None => {}
        }
        (Step::End, rows::END.to_owned())
    }

    fn member(&mut self, row: &Row, keys: &Keys) -> Result<(), String> {
        let identity_len = self.identity_columns.len();
        let (identity, [Some(user), Some(organisation), role]) = row
            .split_at_checked(identity_len)
            .ok_or_else(rows::unexpected)?
        else {
            return Err(rows::unexpected());
        };
        let mut id = RowIdentity::default();
        for (name, value) in self.identity_columns.iter().zip(identity) {
            id.push(name, value.as_ref().map(String::as_bytes));
        }
        let is_name =
            |role: &&String| !role.is_empty() && role.len() <= crate::limits::NAME_BYTES_MAX;
        let row = MemberRow {
            user: keys.user(user),
            organisation: keys.organisation(organisation),
            role: role
                .as_ref()
                .filter(is_name)
                .map(|role| role.as_str().into()),
            copies: 1,
        };
        self.map.insert(id.key(keys), row, organisation);
        Ok(())
    }

    fn ban(&mut self, row: &Row, keys: &Keys) -> Result<(), String> {
        let [Some(user), until] = row.as_slice() else {
            return Err(rows::unexpected());
        };
        let Ok(bans) = &mut self.bans else {
            return Ok(());
        };
        if bans.len() == BANS_MAX {
            self.bans = Err(format!("more than {BANS_MAX} users are banned"));
            return Ok(());
        }
        bans.push(Ban {
            user: keys.user(user),
            until_ms: until.as_deref().and_then(end_of_ban_ms),
        });
        Ok(())
    }

    fn revocation(&mut self, row: &Row, rights: &Rights) -> Result<(), String> {
        let [Some(id), fields @ ..] = row.as_slice() else {
            return Err(rows::unexpected());
        };
        let fields: Vec<Option<&str>> = fields.iter().map(Option::as_deref).collect();
        let fields = fields.try_into().map_err(|_| rows::unexpected())?;
        if let Some(kept) = rights.kept_row(fields, self.spelling) {
            self.kept.insert(rights.keys().row(id.as_bytes()), kept, 0);
        }
        Ok(())
    }

    fn loaded(self) -> Loaded {
        Loaded {
            visibility: self.visibility,
            identity_columns: self.identity_columns,
            spelling: self.spelling,
            map: self.map,
            bans: self.bans,
            kept: self.kept,
        }
    }
}

impl std::fmt::Debug for Visit {
    /// Without anybody's name.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Visit")
            .field("step", &self.step)
            .finish_non_exhaustive()
    }
}
