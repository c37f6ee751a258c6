//! Reading the memberships, who is banned, and the revocations in force, in one snapshot: a short-lived
//! connection of its own. The stream waits meanwhile, so that what it says next is judged by what was read. What is
//! asked on the connection is in `visit`.
//!
//! ```text
//! Resting ─► Opening ─► Asking ─► Resting
//! ```

use super::rights::{Loaded, Rights};
use super::visit::Visit;
use crate::limits::{LOAD_AGAIN_MAX, LOAD_AGAIN_MS, LOAD_MS_MAX, LOAD_PAUSE_MS};
use crate::session::Event;
use crate::{Config, Protection};

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
        let visit = Visit::new(config, protection, now_ms + LOAD_MS_MAX);
        self.state = State::Asking(Box::new(visit));
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
                Ok(Some((step, sql))) => visit.ask(step, &sql, now_ms),
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
        if let State::Asking(visit) = &mut self.state
            && visit.do_without(why)
        {
            return self.end();
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
