//! What is asked in one reading of the memberships, step by step, and what is made of the answers. When that is
//! done, and what follows when it fails, is in `load`.
//!
//! ```text
//! Ready ─► Begin ─► Snapshot ─► Savepoint ─► Catalog ─► [Members ─► Fetch…] ─► [Revocations ─► Fetch…]
//!       ─► [Bans ─► Fetch…] ─► End
//! ```

use wire::Keys;

use super::bans::Ban;
use super::catalog::{self, Catalog};
use super::concerns::RowIdentity;
use super::kept::Kept;
use super::map::{Map, Row as MemberRow};
use super::rights::{Loaded, Rights};
use super::rows;
use super::spelling::Spelling;
use super::visibility::Visibility;
use crate::limits::{BANS_MAX, BANS_MS_MAX};
use crate::protocol::backend::{Row, ServerError};
use crate::session::Session;
use crate::time::unix_ms_of_text_since_1970;
use crate::{Config, Protection};

/// The role may not read a table.
const INSUFFICIENT_PRIVILEGE: &str = "42501";

/// A reading under way.
pub(super) struct Visit {
    pub(super) session: Session,
    /// It takes too long where it takes longer.
    pub(super) until_ms: u64,
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
pub(super) enum Step {
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

impl Visit {
    /// One on a connection that was just made.
    pub(super) fn new(config: &Config, protection: Protection, until_ms: u64) -> Self {
        let max = config.rules.identity.members().map_or(0, |it| it.max);
        Self {
            session: Session::new(&config.connect, protection, false),
            until_ms,
            step: Step::Ready,
            visibility: Visibility::default(),
            catalog: Catalog::default(),
            identity_columns: Vec::new(),
            spelling: Spelling::default(),
            map: Map::new(max),
            bans: Ok(Vec::new()),
            kept: Kept::default(),
        }
    }

    /// Asks the next question.
    pub(super) fn ask(&mut self, step: Step, sql: &str, now_ms: u64) {
        if step == Step::Bans {
            self.until_ms = now_ms + BANS_MS_MAX;
        }
        self.step = step;
        self.session.ask(sql);
    }

    /// The rest cannot be read. Says whether it is good without: that it is not known who is banned is no reason
    /// to let nobody in.
    pub(super) fn do_without(&mut self, why: &str) -> bool {
        match self.step {
            Step::Bans | Step::FetchBans => {
                self.bans = Err(why.to_owned());
                true
            }
            // Everything was read.
            Step::End => true,
            _ => false,
        }
    }

    /// Takes the answer to the last question, and returns the next one; `None` after the last.
    pub(super) fn on_answer(
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
                self.fetch_or(&rows, Step::CloseMembers, rows::LET_GO)
            }
            Step::CloseMembers => self.ask_for_revocations(config),
            Step::Revocations => (Step::FetchRevocations, rows::fetch()),
            Step::FetchRevocations => {
                rows.iter()
                    .try_for_each(|row| self.revocation(row, rights))?;
                self.fetch_or(&rows, Step::CloseRevocations, rows::LET_GO)
            }
            Step::CloseRevocations => self.ask_for_bans(config),
            Step::Bans => (Step::FetchBans, rows::fetch()),
            Step::FetchBans => {
                let keys = rights.keys();
                rows.iter().try_for_each(|row| self.ban(row, keys))?;
                self.fetch_or(&rows, Step::End, rows::END)
            }
            Step::End => return Ok(None),
        };
        Ok(Some(next))
    }

    /// Asks for more rows, where more may come after these, or else the next question.
    fn fetch_or(&self, rows: &[Row], next: Step, sql: &str) -> (Step, String) {
        match rows::may_have_more(rows) {
            true => (self.step, rows::fetch()),
            false => (next, sql.to_owned()),
        }
    }

    fn ask_for_revocations(&mut self, config: &Config) -> (Step, String) {
        match self.catalog.has_revocations() {
            true => (Step::Revocations, rows::declare_revocations()),
            false => self.ask_for_bans(config),
        }
    }

    fn ask_for_bans(&mut self, config: &Config) -> (Step, String) {
        let table = config.rules.identity.bans();
        match table.map(|table| self.catalog.bans(table, config.window_ms)) {
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
            until_ms: until.as_deref().and_then(unix_ms_of_text_since_1970),
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

    /// What was read.
    pub(super) fn loaded(self) -> Loaded {
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
