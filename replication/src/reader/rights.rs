//! The rights of users, as the reader keeps them: when they are read, and the verdict on a newcomer.

use wire::Batch;

use super::{Action, Line, Mark, Reader, State};
use crate::feed::Feed;
use crate::membership::{Admission, Effect, MembershipStatus, Outcome, Question, Rights};
use crate::notice::Notice;

impl Reader {
    /// Whether somebody may be let in, at the place of the batch that was handed over last. To be asked
    /// between two batches only, and again if the grant cannot be handed over at once: an answer that was
    /// kept would have missed what was revoked meanwhile.
    ///
    /// `now_unix_ms` is the time since 1970 by the node's own clock, which [`Question::judged_ms`] is of.
    pub fn admit(&self, question: &Question, now_ms: u64, now_unix_ms: u64) -> Admission {
        assert!(self.outstanding.is_none(), "asked between two batches");
        let Some(feed) = self.feed.as_ref().filter(|_| self.batches.is_empty()) else {
            return Admission::NotReady;
        };
        let moment = feed.moment(now_ms, now_unix_ms);
        feed.rights().admit(question, moment)
    }

    /// What is known of the memberships.
    pub fn memberships(&self) -> MembershipStatus {
        let rights = self.feed.as_ref().map(Feed::rights);
        rights.map(Rights::status).unwrap_or_default()
    }

    /// Whether bytes of a line are wanted now; until then they wait in its socket. Those of the stream are
    /// not while memberships are read.
    pub fn reads(&self, line: Line, now_ms: u64) -> bool {
        line != Line::Stream || !self.is_held(now_ms)
    }

    /// Whether the stream waits for the memberships.
    pub(super) fn is_held(&self, now_ms: u64) -> bool {
        matches!(self.state, State::Streaming(_))
            && self.wants_load()
            && self.load.holds(true, now_ms)
    }

    /// Begins to read the memberships where they are wanted, and gives up where that takes too long.
    pub(super) fn load_memberships(&mut self, now_ms: u64) {
        if self.load.is_overdue(now_ms) {
            self.actions.push_back(Action::Close(Line::Members));
            let outcome = self.load.handle_failed("the server takes too long", now_ms);
            self.on_load(outcome, now_ms);
        }
        let wants = self.wants_load() && matches!(self.state, State::Streaming(_));
        if self.load.wants_open(wants, now_ms) {
            self.actions.push_back(Action::Open(Line::Members));
        }
    }

    /// When [`Self::load_memberships`] has something to do.
    pub(super) fn load_deadline_ms(&self) -> u64 {
        let wants = self.wants_load() && matches!(self.state, State::Streaming(_));
        self.load.deadline_ms(wants)
    }

    /// Bytes of the line of memberships arrived.
    pub(super) fn read_memberships(&mut self, bytes: &[u8], now_ms: u64) {
        let feed = self.feed.as_ref().expect("it is what asks for them");
        let outcome = self
            .load
            .handle_bytes(bytes, &self.config, feed.rights(), now_ms);
        if !matches!(outcome, Outcome::Going) {
            self.actions.push_back(Action::Close(Line::Members));
        }
        self.on_load(outcome, now_ms);
    }

    /// Changes were missed while streaming.
    pub(super) fn on_changes_missed(&mut self) {
        let Some(feed) = &mut self.feed else { return };
        let position = feed.emitted();
        let effects = feed.rights_mut().on_gap(position, false);
        if self.load.begin_anew() {
            self.actions.push_back(Action::Close(Line::Members));
        }
        self.carry_out(effects);
    }

    /// Takes what came of reading the memberships.
    pub(super) fn on_load(&mut self, outcome: Outcome, now_ms: u64) {
        let loaded = match outcome {
            Outcome::Going => return,
            Outcome::Failed(why) => return self.on_load_failed(&why),
            Outcome::Loaded(loaded) => loaded,
        };
        let unread = loaded.bans.as_ref().err().cloned();
        let feed = self.feed.as_mut().expect("it is what asks for them");
        let (passed, position) = (feed.resume(), feed.emitted());
        let rights = feed.rights_mut();
        let Ok(effects) = rights.adopt(*loaded, passed, position) else {
            if let Some(why) = self.load.on_too_early(now_ms) {
                self.on_load_failed(&why);
            }
            return;
        };
        self.load.on_adopted();
        let status = rights.status();
        self.notices.push_back(Notice::MembershipsRead {
            count: status.count,
            is_full: status.full,
        });
        if let Some(reason) = unread {
            self.notices.push_back(Notice::BansUnread { reason });
        }
        self.carry_out(effects);
    }

    fn on_load_failed(&mut self, why: &str) {
        let feed = self.feed.as_mut().expect("it is what asks for them");
        let is_news = feed.rights().status().trouble.as_deref() != Some(why);
        if is_news {
            self.notices.push_back(Notice::MembershipsUnread {
                reason: why.to_owned(),
            });
        }
        let effects = feed.rights_mut().on_load_failed(why);
        self.carry_out(effects);
    }

    /// Hands over what follows for the streams that are open, before anything that is read from now on.
    pub(super) fn carry_out(&mut self, effects: Vec<Effect>) {
        let Some(feed) = self.feed.as_mut().filter(|_| !effects.is_empty()) else {
            return;
        };
        let position = feed.emitted();
        feed.rights_mut().remember(&effects, position);
        let mark = Mark {
            position,
            confirm: None,
            connection: self.connection,
            at_ms: self.applied.map_or(0, |mark| mark.at_ms),
            sent_us: None,
        };
        let batches = effects.into_iter().map(|effect| match effect {
            Effect::Revoke(revocation) => Batch::Revoke(revocation),
            Effect::Extend(extension) => Batch::Extend(extension),
        });
        self.batches.extend(batches.map(|batch| (batch, mark)));
    }

    pub(super) fn wants_load(&self) -> bool {
        let rights = self.feed.as_ref().map(Feed::rights);
        rights.is_some_and(Rights::wants_load)
    }
}
