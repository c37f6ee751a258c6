//! Looking after the anchor and the publication: a short-lived connection, every now and then. A
//! walsender that streams takes no SQL, so it needs a connection of its own.
//!
//! The *anchor* is the persistent slot that nobody streams from. It is held back by the window, and
//! moved on here, by every node; that somebody else is at it, or has been there, is no error. One
//! that was lost while our own stream lives is made anew, as a copy of our own slot: nothing was
//! missed, so nobody is reset.
//!
//! ```text
//! Resting ─► Opening ─► Slot ─► [Tables ─► [Existing]] ─► [Advance] ─► Resting      (a visit)
//! Resting ─► Opening ─► [Drop] ─► Copy ─► [Failover] ─► Resting                   (a repair)
//! ```

mod survey;

use std::collections::VecDeque;

use wire::Lsn;

use crate::limits::{PUBLISHED_TABLES_MAX, VISIT_MS_MAX, VISIT_PAUSE_MS};
use crate::preparation::questions::drop_lost;
use crate::protocol::backend::{Row, ServerError};
use crate::publication::{self, Existing, Publication, Tables};
use crate::random::Random;
use crate::session::{Event, Session};
use crate::sql::{identifier, literal};
use crate::{Config, Protection, SlotMode};

pub use survey::SlotStatus;
pub(crate) use survey::{FAILOVER_SINCE, Survey};

/// Somebody else holds the slot.
const OBJECT_IN_USE: &str = "55006";
/// Somebody else has moved the slot further, or the server has given it up.
const OBJECT_NOT_IN_PREREQUISITE_STATE: &str = "55000";
/// The slot is gone.
const UNDEFINED_OBJECT: &str = "42704";
/// Somebody else has made it.
const DUPLICATE_OBJECT: &str = "42710";

/// Looks after the anchor and the publication.
#[derive(Debug)]
pub(crate) struct Anchor {
    slot: String,
    /// The slot that we stream from.
    copy: String,
    version: u32,
    state: State,
    next_at_ms: u64,
    /// When the last visit ended.
    rested_at_ms: u64,
    /// What the next visit is for.
    errand: Errand,
    /// What went wrong the last time, so that it is said once.
    trouble: Option<String>,
    findings: VecDeque<Finding>,
}

/// What a visit is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Errand {
    /// To look, and to move the anchor.
    Look,
    /// To make the anchor anew.
    Repair,
}

#[derive(Debug)]
enum State {
    /// Waits for: its time. Next: Opening.
    Resting,
    /// Waits for: a connection. Next: Asking.
    Opening,
    /// Waits for: the answer. Next: Asking, Resting.
    Asking(Box<Visit>),
}

/// A visit under way.
#[derive(Debug)]
struct Visit {
    session: Session,
    errand: Errand,
    until_ms: u64,
    step: Step,
    survey: Option<Survey>,
    tables: Option<Tables>,
}

/// The question that waits for its answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    Begin,
    Slot,
    Tables,
    Existing,
    Advance(Lsn),
    Drop,
    Copy,
    Failover,
}

/// What was found or done on a visit.
#[derive(Debug, PartialEq)]
pub(crate) enum Finding {
    /// The anchor, and what else holds the log back.
    Slot(Survey),
    /// The publication's tables, `None` where it is gone; and which of those that are not in it any
    /// more are in the database.
    Publication(Option<Tables>, Existing),
    /// The anchor was moved.
    Advanced(Lsn),
    /// The anchor was made anew.
    Recreated,
}

/// What a visit needs to know.
pub(crate) struct Circumstances<'a> {
    pub(crate) config: &'a Config,
    /// Up to where the anchor may be moved.
    pub(crate) horizon: Option<Lsn>,
    /// The timeline that positions are of.
    pub(crate) timeline: u32,
    pub(crate) publication: &'a Publication,
    pub(crate) now_ms: u64,
}

/// What follows from what arrived.
#[derive(Debug, PartialEq)]
pub(crate) enum Outcome {
    /// Nothing yet.
    Going,
    /// The connection is to be closed.
    Done,
    /// The same, and this went wrong and is news.
    Stuck(String),
}

impl Anchor {
    pub(crate) fn new(now_ms: u64) -> Self {
        Self {
            slot: String::new(),
            copy: String::new(),
            version: 0,
            state: State::Resting,
            next_at_ms: now_ms,
            rested_at_ms: now_ms,
            errand: Errand::Look,
            trouble: None,
            findings: VecDeque::new(),
        }
    }

    /// Streaming begins, from this copy of this anchor. The first visit comes soon.
    pub(crate) fn on_streaming(&mut self, slot: &str, copy: &str, version: u32, now_ms: u64) {
        slot.clone_into(&mut self.slot);
        copy.clone_into(&mut self.copy);
        self.version = version;
        self.errand = Errand::Look;
        self.next_at_ms = now_ms;
    }

    /// Comes earlier than planned, but not one visit upon the other.
    pub(crate) fn hasten(&mut self) {
        self.next_at_ms = self.next_at_ms.min(self.rested_at_ms + VISIT_PAUSE_MS);
    }

    /// Makes the anchor anew, next.
    pub(crate) fn repair(&mut self) {
        self.errand = Errand::Repair;
        self.hasten();
    }

    /// Whether a connection is wanted now.
    pub(crate) fn wants_open(&mut self, now_ms: u64) -> bool {
        let wants = matches!(self.state, State::Resting) && now_ms >= self.next_at_ms;
        if wants {
            self.state = State::Opening;
        }
        wants
    }

    pub(crate) fn handle_opened(&mut self, config: &Config, protection: Protection, now_ms: u64) {
        assert!(
            matches!(self.state, State::Opening),
            "opened because it was asked for"
        );
        // Only a walsender alters slots (PostgreSQL, "Streaming Replication Protocol").
        let errand = std::mem::replace(&mut self.errand, Errand::Look);
        let as_walsender = errand == Errand::Repair;
        self.state = State::Asking(Box::new(Visit {
            session: Session::new(&config.connect, protection, as_walsender),
            errand,
            until_ms: now_ms + VISIT_MS_MAX,
            step: Step::Begin,
            survey: None,
            tables: None,
        }));
    }

    /// Bytes arrived.
    pub(crate) fn handle_bytes(
        &mut self,
        bytes: &[u8],
        circumstances: &Circumstances<'_>,
        random: &mut Random,
    ) -> Outcome {
        let State::Asking(visit) = &mut self.state else {
            return Outcome::Going;
        };
        visit.session.push(bytes);
        loop {
            let State::Asking(visit) = &mut self.state else {
                return Outcome::Done;
            };
            let answer = match visit.session.next() {
                Ok(None) => return Outcome::Going,
                Ok(Some(Event::Ready)) => Ok(Vec::new()),
                Ok(Some(Event::Answer(answer))) => answer,
                Ok(Some(_)) => continue,
                Err(broken) => {
                    return self.handle_failed(&broken.to_string(), circumstances, random);
                }
            };
            match self.on_answer(answer, circumstances) {
                Ok(Some((step, sql))) => self.ask(step, &sql),
                Ok(None) => {
                    self.trouble = None;
                    self.rest(circumstances, random);
                    return Outcome::Done;
                }
                Err(reason) => return self.handle_failed(&reason, circumstances, random),
            }
        }
    }

    /// The connection could not be made, or broke, or takes too long.
    pub(crate) fn handle_failed(
        &mut self,
        why: &str,
        circumstances: &Circumstances<'_>,
        random: &mut Random,
    ) -> Outcome {
        self.rest(circumstances, random);
        if self.trouble.as_deref() == Some(why) {
            return Outcome::Done;
        }
        self.trouble = Some(why.to_owned());
        Outcome::Stuck(why.to_owned())
    }

    /// Whether the visit has taken too long.
    pub(crate) fn is_overdue(&self, now_ms: u64) -> bool {
        matches!(&self.state, State::Asking(visit) if now_ms >= visit.until_ms)
    }

    /// When there is something to do. Without a stream there is nothing to look after.
    pub(crate) fn deadline_ms(&self, is_streaming: bool) -> u64 {
        match &self.state {
            State::Resting if is_streaming => self.next_at_ms,
            State::Resting | State::Opening => u64::MAX,
            State::Asking(visit) => visit.until_ms,
        }
    }

    pub(crate) fn outbox(&mut self) -> Option<&mut Vec<u8>> {
        match &mut self.state {
            State::Asking(visit) => Some(visit.session.outbox()),
            _ => None,
        }
    }

    /// What was found and not looked at yet.
    pub(crate) fn poll_finding(&mut self) -> Option<Finding> {
        self.findings.pop_front()
    }

    /// Looks again later; a repair that was asked for meanwhile comes soon. One that did not come off
    /// is asked for again by whoever looks.
    fn rest(&mut self, circumstances: &Circumstances<'_>, random: &mut Random) {
        let Circumstances { config, now_ms, .. } = circumstances;
        let third = config.visit_ms / 3;
        self.state = State::Resting;
        self.rested_at_ms = *now_ms;
        self.next_at_ms =
            now_ms + random.between(config.visit_ms - third, config.visit_ms + third + 1);
        if self.errand == Errand::Repair {
            self.hasten();
        }
    }

    fn ask(&mut self, step: Step, sql: &str) {
        let State::Asking(visit) = &mut self.state else {
            unreachable!("the answer came of a visit");
        };
        visit.step = step;
        visit.session.ask(sql);
    }

    /// Takes the answer to the last question, and returns the next one.
    fn on_answer(
        &mut self,
        answer: Result<Vec<Row>, ServerError>,
        circumstances: &Circumstances<'_>,
    ) -> Result<Option<(Step, String)>, String> {
        let State::Asking(visit) = &mut self.state else {
            unreachable!("the answer came of a visit");
        };
        let rows = match answer {
            Ok(rows) => rows,
            Err(error) if is_harmless(visit.step, &error.code) => return Ok(None),
            Err(error) => return Err(error.to_string()),
        };
        let config = circumstances.config;
        match visit.step {
            Step::Begin if visit.errand == Errand::Repair => {
                Ok(Some((Step::Drop, drop_lost(&self.slot))))
            }
            Step::Begin => {
                let sql = survey::question(&self.slot, &config.publication, self.version);
                Ok(Some((Step::Slot, sql)))
            }
            Step::Slot => {
                let survey = survey::parse(&rows, &self.slot).ok_or_else(unexpected)?;
                let is_published = survey.is_published;
                visit.survey = Some(survey.clone());
                self.findings.push_back(Finding::Slot(survey));
                if is_published {
                    let sql = publication::tables_question(&config.publication);
                    return Ok(Some((Step::Tables, sql)));
                }
                let gone = Finding::Publication(None, Existing::new());
                self.findings.push_back(gone);
                Ok(self.advance_question(circumstances))
            }
            Step::Tables => {
                let tables = publication::parse_tables(&rows).ok_or_else(unexpected)?;
                // Of more tables than that, nobody knows which is missing.
                if tables.len() >= PUBLISHED_TABLES_MAX {
                    return Ok(self.advance_question(circumstances));
                }
                let absent = circumstances.publication.absent(&tables);
                if !absent.is_empty() {
                    visit.tables = Some(tables);
                    return Ok(Some((
                        Step::Existing,
                        publication::existing_question(&absent),
                    )));
                }
                let found = Finding::Publication(Some(tables), Existing::new());
                self.findings.push_back(found);
                Ok(self.advance_question(circumstances))
            }
            Step::Existing => {
                let existing = publication::parse_existing(&rows).ok_or_else(unexpected)?;
                let found = Finding::Publication(visit.tables.take(), existing);
                self.findings.push_back(found);
                Ok(self.advance_question(circumstances))
            }
            Step::Advance(lsn) => {
                if rows.iter().flatten().any(Option::is_some) {
                    self.findings.push_back(Finding::Advanced(lsn));
                }
                Ok(None)
            }
            Step::Drop => {
                let (copy, anchor) = (literal(&self.copy), literal(&self.slot));
                let sql = format!(
                    "SELECT pg_catalog.pg_copy_logical_replication_slot({copy}, {anchor}, false)"
                );
                Ok(Some((Step::Copy, sql)))
            }
            Step::Copy => {
                self.findings.push_back(Finding::Recreated);
                // A copy does not follow a failover, whatever it was copied from.
                let sql = format!(
                    "ALTER_REPLICATION_SLOT {} (FAILOVER true)",
                    identifier(&self.slot)
                );
                Ok((self.version >= FAILOVER_SINCE).then_some((Step::Failover, sql)))
            }
            Step::Failover => Ok(None),
        }
    }

    /// Moves the anchor, where there is one and it can be moved; or only takes it up for a moment,
    /// where the server gives up slots that nobody uses.
    fn advance_question(&self, circumstances: &Circumstances<'_>) -> Option<(Step, String)> {
        let State::Asking(visit) = &self.state else {
            unreachable!("the answer came of a visit");
        };
        let survey = visit.survey.as_ref().expect("it is asked for first");
        let is_anchored = circumstances.config.mode == SlotMode::Anchor;
        if !is_anchored || !survey.slot.is_well() {
            return None;
        }
        let confirmed = survey.slot.confirmed;
        let target = circumstances.horizon.unwrap_or(confirmed).max(confirmed);
        if target == confirmed && !survey.has_idle_timeout {
            return None;
        }
        // Another server may have taken over, of which the stream has not heard: there, the place may lie behind
        // what nobody has read. The name of a file of the log begins with its timeline.
        let (slot, timeline) = (literal(&self.slot), circumstances.timeline);
        let sql = format!(
            "SELECT CASE WHEN left(pg_catalog.pg_walfile_name(pg_catalog.pg_current_wal_lsn()), 8) = \
             '{timeline:08X}' THEN (pg_catalog.pg_replication_slot_advance({slot}, '{target}')).end_lsn END"
        );
        Some((Step::Advance(target), sql))
    }
}

/// Whether an error only says that somebody else is at it, or has been; or that the slot is lost,
/// which the next visit will see.
fn is_harmless(step: Step, code: &str) -> bool {
    match step {
        Step::Advance(_) => [
            OBJECT_IN_USE,
            OBJECT_NOT_IN_PREREQUISITE_STATE,
            UNDEFINED_OBJECT,
        ]
        .contains(&code),
        Step::Drop => [OBJECT_IN_USE, UNDEFINED_OBJECT].contains(&code),
        Step::Copy => code == DUPLICATE_OBJECT,
        _ => false,
    }
}

fn unexpected() -> String {
    "the server's answer is not what was asked for".to_owned()
}
