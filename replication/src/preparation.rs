//! What is asked of the server before streaming: who it is, whether the publication is there, and a
//! temporary copy of the anchor slot, or without an anchor a temporary slot.
//!
//! ```text
//! Identify ─► [History] ─► Survey ─► Tables ─► [[Drop] ─► LockTimeout ─► Create ─► Unlock] ─► Copy
//!                            │          └─► LockTimeout ─► CreateTemporary ─► UnlockTemporary ───────► START
//!                            └─► Candidates ─► an obstacle that says what to do
//! ```
//!
//! Every answer is checked here, once; what streams is `feed`, what looks after the anchor is `anchor`.

pub(crate) mod questions;

use sha2::{Digest as _, Sha256};
use wire::{EventId, GapReason, Lineage, Lsn};

use crate::limits::{LOCK_TIMEOUT_MS, RECREATIONS_MAX};
use crate::notice::KEEP_MORE;
use crate::planted;
use crate::protocol::backend::{Row, ServerError};
use crate::publication::{Tables, parse_tables, tables_question};
use crate::sql::{identifier, literal};
use crate::{Config, Provider, Refusal, SlotMode};
use questions::{
    anchor_name, candidates, create, create_temporary, drop_lost, fields, parse_history,
    publication_missing, survey,
};

/// The questions before streaming, one at a time.
#[derive(Debug)]
pub(crate) struct Preparation {
    step: Step,
    /// What is known from earlier connections.
    known: Option<Known>,
    system: String,
    timeline: u32,
    left: Vec<(u32, Lsn)>,
    flushed: Lsn,
    /// The same, asked after the publication was found.
    flushed_since: Lsn,
    version: u32,
    database_oid: u32,
    anchor: String,
    /// How the anchor was lost, if it was; `Some` also where there was none yet.
    anchor_lost: Option<&'static str>,
    copy: String,
    created: bool,
    /// Where the temporary slot begins that is read instead of a copy.
    created_at: Lsn,
    tables: Tables,
}

/// Where an earlier connection ended.
#[derive(Clone, Debug)]
pub(crate) struct Known {
    pub(crate) lineage: Lineage,
    /// Where reading goes on.
    pub(crate) resume: Lsn,
    /// Up to where everything was handed out: beyond that, where a transaction is begun.
    pub(crate) emitted: EventId,
    /// Whether nothing can be read there, since it was written without the publication.
    pub(crate) is_unreadable: bool,
    /// Whether a lost anchor may be made anew.
    pub(crate) may_recreate: bool,
}

/// The question that waits for its answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    Identify,
    History,
    Survey,
    Candidates,
    Tables,
    Drop,
    LockTimeout,
    Create,
    CreateTemporary,
    UnlockTemporary,
    Unlock,
    Copy,
}

/// What follows from an answer.
#[derive(Debug)]
pub(crate) enum Next {
    Ask(String),
    Stream(Plan),
}

/// How to stream.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    /// The command that begins it.
    pub(crate) sql: String,
    pub(crate) lineage: Lineage,
    /// Where it begins.
    pub(crate) from: Lsn,
    /// What the server's log has been flushed to.
    pub(crate) flushed: Lsn,
    /// The anchor slot.
    pub(crate) anchor: String,
    pub(crate) anchor_created: bool,
    /// How the one before was lost.
    pub(crate) anchor_lost: Option<&'static str>,
    /// The slot that is streamed from.
    pub(crate) copy: String,
    /// The server's version, as `server_version_num` has it.
    pub(crate) version: u32,
    /// The tables of the publication.
    pub(crate) tables: Tables,
    /// Why what lies before `from` is missing, if it is.
    pub(crate) gap: Option<GapReason>,
}

/// Why it cannot be streamed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Obstacle {
    /// What an operator reads.
    pub(crate) reason: String,
    /// Whether waiting does not help.
    pub(crate) fatal: bool,
}

impl Preparation {
    /// Begins with the first question.
    pub(crate) fn new(known: Option<Known>) -> (Self, String) {
        let preparation = Self {
            step: Step::Identify,
            known,
            system: String::new(),
            timeline: 0,
            left: Vec::new(),
            flushed: Lsn(0),
            flushed_since: Lsn(0),
            version: 0,
            database_oid: 0,
            anchor: String::new(),
            anchor_lost: None,
            copy: String::new(),
            created: false,
            created_at: Lsn(0),
            tables: Tables::new(),
        };
        (preparation, "IDENTIFY_SYSTEM".to_owned())
    }

    /// What it is at, as `/readyz` says it.
    pub(crate) fn doing(&self) -> &'static str {
        if self.is_at_slot() {
            "waiting for slot"
        } else {
            "connecting to PostgreSQL"
        }
    }

    /// What `/readyz` says meanwhile.
    pub(crate) fn reason(&self) -> String {
        match self.is_at_slot() {
            true => format!("waiting for slot: making {}", self.anchor),
            false => "connecting to PostgreSQL: asking for its state".to_owned(),
        }
    }

    fn is_at_slot(&self) -> bool {
        matches!(
            self.step,
            Step::Drop
                | Step::LockTimeout
                | Step::Create
                | Step::CreateTemporary
                | Step::UnlockTemporary
                | Step::Unlock
                | Step::Copy
        )
    }

    /// Whether it waits for the copy, for which the server may have to read much of its log again.
    pub(crate) fn is_copying(&self) -> bool {
        self.step == Step::Copy
    }

    /// Takes the answer to the last question. `token` makes the copy's name its own.
    pub(crate) fn handle_answer(
        &mut self,
        answer: Result<Vec<Row>, ServerError>,
        config: &Config,
        token: u64,
    ) -> Result<Next, Obstacle> {
        let step = self.step;
        let rows = answer.map_err(|error| self.obstacle(&error, config))?;
        match step {
            Step::Identify => self.on_identity(&rows, config),
            Step::History => {
                let [[_, Some(history)]] = fields(&rows)? else {
                    return Err(unexpected());
                };
                self.left = parse_history(&history).ok_or_else(unexpected)?;
                Ok(self.ask(Step::Survey, survey(config)))
            }
            Step::Survey => self.on_survey(&rows, config),
            Step::Candidates => Err(publication_missing(config, &rows)),
            Step::Tables => {
                self.tables = parse_tables(&rows).ok_or_else(unexpected)?;
                self.ask_slot(config, token)
            }
            Step::Drop => Ok(self.ask_lock_timeout()),
            Step::LockTimeout => Ok(self.ask_create(config, token)),
            Step::Create => {
                self.created = true;
                Ok(self.ask(Step::Unlock, "SET lock_timeout = 0".to_owned()))
            }
            // It stays where it was made: another node may stream from a copy of it by now, and a client of
            // that one comes back with an id from before any place to which it could be moved.
            Step::Unlock => Ok(self.ask_copy(token)),
            Step::CreateTemporary => {
                let [[_, Some(position), _, _]] = fields(&rows)? else {
                    return Err(unexpected());
                };
                self.created_at = position.parse().map_err(|_| unexpected())?;
                // What streams may wait for a lock: its end would be a gap.
                Ok(self.ask(Step::UnlockTemporary, "SET lock_timeout = 0".to_owned()))
            }
            Step::UnlockTemporary => Ok(Next::Stream(self.plan(self.created_at, config))),
            Step::Copy => {
                let [[Some(position)]] = fields(&rows)? else {
                    return Err(unexpected());
                };
                let position = position.parse().map_err(|_| unexpected())?;
                Ok(Next::Stream(self.plan(position, config)))
            }
        }
    }

    fn ask(&mut self, step: Step, sql: String) -> Next {
        self.step = step;
        Next::Ask(sql)
    }

    fn on_identity(&mut self, rows: &[Row], config: &Config) -> Result<Next, Obstacle> {
        let [[Some(system), Some(timeline), Some(flushed), _]] = fields(rows)? else {
            return Err(unexpected());
        };
        self.timeline = timeline.parse().map_err(|_| unexpected())?;
        self.flushed = flushed.parse().map_err(|_| unexpected())?;
        self.system = system;
        if self.timeline > 1 {
            let sql = format!("TIMELINE_HISTORY {}", self.timeline);
            return Ok(self.ask(Step::History, sql));
        }
        Ok(self.ask(Step::Survey, survey(config)))
    }

    fn on_survey(&mut self, rows: &[Row], config: &Config) -> Result<Next, Obstacle> {
        let [
            [
                Some(oid),
                Some(wal_level),
                Some(recovery),
                Some(published),
                slot,
                wal_status,
                Some(version),
                flushed,
            ],
        ] = fields(rows)?
        else {
            return Err(unexpected());
        };
        self.database_oid = oid.parse().map_err(|_| unexpected())?;
        self.version = version.parse().map_err(|_| unexpected())?;
        self.anchor = anchor_name(config, self.database_oid);
        if wal_level != "logical" {
            return Err(Obstacle {
                reason: format!(
                    "the server's wal_level is {wal_level}, and must be logical: {}",
                    Provider::of(&config.connect.host).logical_decoding()
                ),
                fatal: true,
            });
        }
        let Some(flushed) = flushed.filter(|_| recovery != "t") else {
            return Err(waiting(
                "connecting to PostgreSQL: the server is a standby, not the primary",
            ));
        };
        self.flushed_since = flushed.parse().map_err(|_| unexpected())?;
        if published != "t" {
            return Ok(self.ask(Step::Candidates, candidates(config)));
        }
        self.anchor_lost = match (slot, wal_status.as_deref()) {
            (None, _) => Some("dropped"),
            (Some(_), Some("lost")) => Some("given up by the server"),
            (Some(_), _) => None,
        };
        Ok(self.ask(Step::Tables, tables_question(&config.publication)))
    }

    /// Asks for a slot to stream from.
    fn ask_slot(&mut self, config: &Config, token: u64) -> Result<Next, Obstacle> {
        let is_known = self.known.as_ref();
        match (config.mode, self.anchor_lost) {
            (SlotMode::Temporary, _) => Ok(self.ask_lock_timeout()),
            (SlotMode::Anchor, None) => Ok(self.ask_copy(token)),
            (SlotMode::Anchor, Some(lost)) if is_known.is_some_and(|it| !it.may_recreate) => {
                Err(waiting(&format!(
                    "waiting for slot: {} was {lost} again, {RECREATIONS_MAX} times within an hour; each \
                     time every stream is reset, so it is made anew when the hour is over. {KEEP_MORE}",
                    self.anchor
                )))
            }
            (SlotMode::Anchor, Some("dropped")) => Ok(self.ask_lock_timeout()),
            (SlotMode::Anchor, Some(_)) => Ok(self.ask(Step::Drop, drop_lost(&self.anchor))),
        }
    }

    fn ask_lock_timeout(&mut self) -> Next {
        let sql = format!("SET lock_timeout = {LOCK_TIMEOUT_MS}");
        self.ask(Step::LockTimeout, sql)
    }

    fn ask_create(&mut self, config: &Config, token: u64) -> Next {
        if config.mode == SlotMode::Temporary {
            self.copy = format!("{}_{token:016x}", self.anchor);
            let sql = create_temporary(&self.copy);
            return self.ask(Step::CreateTemporary, sql);
        }
        self.ask(Step::Create, create(&self.anchor, self.version))
    }

    fn ask_copy(&mut self, token: u64) -> Next {
        self.copy = format!("{}_{token:016x}", self.anchor);
        let (anchor, copy) = (literal(&self.anchor), literal(&self.copy));
        // Moving the copy to where it is makes the walsender forget the tables as they are now, which it
        // learned by answering us: old changes would be read as if they were of the columns of today.
        self.ask(
            Step::Copy,
            format!(
                "SELECT lsn FROM pg_catalog.pg_copy_logical_replication_slot({anchor}, {copy}, true), \
                 LATERAL pg_catalog.pg_replication_slot_advance({copy}, lsn)"
            ),
        )
    }

    /// Decides where to begin: at the last position seen, unless that means nothing any more.
    fn plan(&self, copied: Lsn, config: &Config) -> Plan {
        let epoch = epoch(&self.system, self.database_oid, config.generation);
        let lineage = Lineage::new(epoch, self.left.clone(), self.timeline);
        let gap = match &self.known {
            None => None,
            Some(known) if !continues(known, &lineage, self.flushed) => {
                Some(GapReason::HistoryChanged)
            }
            Some(known) if copied > known.resume => Some(GapReason::SlotLost),
            Some(known) if known.is_unreadable => Some(GapReason::PublicationChanged),
            Some(_) => None,
        };
        let from = match (&self.known, gap) {
            // The publication was found before that.
            (_, Some(GapReason::PublicationChanged)) => copied.max(self.flushed_since),
            (Some(known), None) if !planted::REPLAY_IS_NEW => known.resume,
            _ => copied,
        };
        let publication = literal(&identifier(&config.publication));
        let sql = format!(
            "START_REPLICATION SLOT {} LOGICAL {from} (proto_version '1', publication_names \
             {publication}, messages 'true')",
            identifier(&self.copy),
        );
        Plan {
            sql,
            lineage,
            from,
            flushed: self.flushed,
            anchor: self.anchor.clone(),
            anchor_created: self.created,
            anchor_lost: self.anchor_lost.filter(|_| self.known.is_some()),
            copy: self.copy.clone(),
            version: self.version,
            tables: self.tables.clone(),
            gap,
        }
    }

    /// What an error of the server means at this step.
    fn obstacle(&self, error: &ServerError, config: &Config) -> Obstacle {
        match (self.step, error.code.as_str()) {
            // lock_not_available: a transaction that writes has been open for longer than we wait.
            (Step::Create | Step::CreateTemporary, "55P03") => waiting(&format!(
                "waiting for slot: {} can be created when the transactions that are open now have \
                 ended",
                self.anchor
            )),
            (Step::Create | Step::CreateTemporary | Step::Copy, "53400") => waiting(&format!(
                "waiting for slot: {}",
                Refusal::NoSlot.mend(&config.connect, &error.message)
            )),
            _ => waiting(&format!("{}: {error}", self.doing())),
        }
    }
}

/// 32 bits of hash over what makes positions ours.
fn epoch(system: &str, database_oid: u32, generation: u32) -> u32 {
    let hash = Sha256::digest(format!("{system}/{database_oid}/{generation}"));
    let (first, _) = hash.split_first_chunk().expect("a hash has 32 bytes");
    u32::from_be_bytes(*first)
}

/// Whether the history that a server has now is the one that was read so far.
fn continues(known: &Known, lineage: &Lineage, flushed: Lsn) -> bool {
    // The last byte that was read, rather than the first that was not: a timeline may have been left
    // exactly between them. It has an index, since it is no place between two.
    let last = known
        .lineage
        .position(Lsn(known.resume.0.saturating_sub(1)), 1);
    // A transaction of which a part was handed out must have been committed there as well.
    let begun = Some(known.emitted).filter(|emitted| emitted.index > 0);
    flushed >= known.resume
        && lineage.admits(last)
        && begun.is_none_or(|begun| flushed > begun.lsn && lineage.admits(begun))
}

fn waiting(reason: &str) -> Obstacle {
    Obstacle {
        reason: reason.to_owned(),
        fatal: false,
    }
}

fn unexpected() -> Obstacle {
    waiting("connecting to PostgreSQL: the server's answer is not what was asked for")
}

#[cfg(test)]
mod tests;
