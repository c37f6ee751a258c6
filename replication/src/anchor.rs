//! The anchor: the persistent slot that nobody streams from, held back by the window, and moved on
//! now and then.
//!
//! A walsender that streams takes no SQL, so this is done over a short-lived connection of its own.
//! Every node does it; that somebody else is at it, or has been there, is no error.

use wire::Lsn;

use crate::limits::{ANCHOR_MS, ANCHOR_MS_MAX};
use crate::random::Random;
use crate::session::{Event, Session};
use crate::sql::literal;
use crate::{ConnectInfo, Protection};

/// Somebody else holds the slot.
const OBJECT_IN_USE: &str = "55006";
/// The slot has been moved further by somebody else.
const OBJECT_NOT_IN_PREREQUISITE_STATE: &str = "55000";

/// Moves the anchor slot.
#[derive(Debug)]
pub(crate) struct Anchor {
    slot: String,
    /// Up to where it was moved, as far as we know.
    advanced: Option<Lsn>,
    state: State,
    next_at_ms: u64,
    /// What went wrong the last time, so that it is said once.
    trouble: Option<String>,
}

#[derive(Debug)]
enum State {
    /// Waits for: its time. Next: Opening.
    Resting,
    /// Waits for: a connection. Next: Asking.
    Opening { target: Lsn },
    /// Waits for: the answer. Next: Resting.
    Asking {
        target: Lsn,
        session: Box<Session>,
        until_ms: u64,
    },
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
    pub(crate) fn new(slot: String, now_ms: u64, random: &mut Random) -> Self {
        let next_at_ms = now_ms + pause_ms(random);
        Self {
            slot,
            advanced: None,
            state: State::Resting,
            next_at_ms,
            trouble: None,
        }
    }

    /// Another history is read from now on: what was known of the slot is not known any more.
    pub(crate) fn on_gap(&mut self, slot: String) {
        self.slot = slot;
        self.advanced = None;
        // An attempt under way was for the old one; moving to the beginning moves nothing.
        if let State::Opening { target } | State::Asking { target, .. } = &mut self.state {
            *target = Lsn(0);
        }
    }

    /// Whether a connection is wanted now, to move the slot to the horizon.
    pub(crate) fn wants_open(&mut self, horizon: Option<Lsn>, now_ms: u64) -> bool {
        let Some(target) = horizon.filter(|target| Some(*target) > self.advanced) else {
            return false;
        };
        if !matches!(self.state, State::Resting) || now_ms < self.next_at_ms {
            return false;
        }
        self.state = State::Opening { target };
        true
    }

    pub(crate) fn handle_opened(
        &mut self,
        connect: &ConnectInfo,
        protection: Protection,
        now_ms: u64,
    ) {
        let State::Opening { target } = self.state else {
            unreachable!("opened because it was asked for");
        };
        let session = Box::new(Session::new(connect, protection, false));
        self.state = State::Asking {
            target,
            session,
            until_ms: now_ms + ANCHOR_MS_MAX,
        };
    }

    pub(crate) fn handle_bytes(
        &mut self,
        bytes: &[u8],
        now_ms: u64,
        random: &mut Random,
    ) -> Outcome {
        let State::Asking {
            target, session, ..
        } = &mut self.state
        else {
            return Outcome::Going;
        };
        let target = *target;
        session.push(bytes);
        let answer =
            loop {
                match session.next() {
                Ok(None) => return Outcome::Going,
                Ok(Some(Event::Ready)) => session.ask(&format!(
                    "SELECT end_lsn FROM pg_catalog.pg_replication_slot_advance({}, '{target}')",
                    literal(&self.slot)
                )),
                Ok(Some(Event::Answer(answer))) => break answer.map_err(|error| {
                    let harmless = error.code == OBJECT_IN_USE
                        || error.code == OBJECT_NOT_IN_PREREQUISITE_STATE;
                    (harmless, error.to_string())
                }),
                Ok(Some(_)) => {}
                Err(broken) => break Err((false, broken.to_string())),
            }
            };
        self.rest(now_ms, random);
        match answer {
            Ok(_) => {
                self.advanced = Some(target);
                self.trouble = None;
                Outcome::Done
            }
            Err((true, _)) => Outcome::Done,
            Err((false, reason)) => self.stuck(reason),
        }
    }

    /// The connection could not be made, or broke.
    pub(crate) fn handle_failed(&mut self, why: &str, now_ms: u64, random: &mut Random) -> Outcome {
        self.rest(now_ms, random);
        self.stuck(why.to_owned())
    }

    /// Whether the connection has taken too long.
    pub(crate) fn is_overdue(&self, now_ms: u64) -> bool {
        matches!(&self.state, State::Asking { until_ms, .. } if now_ms >= *until_ms)
    }

    pub(crate) fn deadline_ms(&self) -> u64 {
        match &self.state {
            State::Resting => self.next_at_ms,
            State::Opening { .. } => u64::MAX,
            State::Asking { until_ms, .. } => *until_ms,
        }
    }

    /// Looks again later.
    pub(crate) fn rest(&mut self, now_ms: u64, random: &mut Random) {
        self.state = State::Resting;
        self.next_at_ms = now_ms + pause_ms(random);
    }

    pub(crate) fn is_resting(&self) -> bool {
        matches!(self.state, State::Resting)
    }

    pub(crate) fn advanced(&self) -> Option<Lsn> {
        self.advanced
    }

    pub(crate) fn outbox(&mut self) -> Option<&mut Vec<u8>> {
        match &mut self.state {
            State::Asking { session, .. } => Some(session.outbox()),
            _ => None,
        }
    }

    fn stuck(&mut self, reason: String) -> Outcome {
        if self.trouble.as_ref() == Some(&reason) {
            return Outcome::Done;
        }
        self.trouble = Some(reason.clone());
        Outcome::Stuck(reason)
    }
}

fn pause_ms(random: &mut Random) -> u64 {
    random.between(ANCHOR_MS - ANCHOR_MS / 3, ANCHOR_MS + ANCHOR_MS / 3)
}
