//! From a connection that stands to one that streams.

use std::sync::Arc;

use wire::{Batch, Gap, GapReason, Start};

use super::{Action, Line, Mark, Reader, State, waiting};
use crate::SlotMode;
use crate::anchor::SlotStatus;
use crate::feed::Feed;
use crate::limits::COPY_MS_MAX;
use crate::notice::Notice;
use crate::planted;
use crate::preparation::{Known, Next, Plan, Preparation};
use crate::publication::Publication;
use crate::session::Event;
use crate::status::Standby;

impl Reader {
    /// Goes on asking until it streams, or something is in the way.
    pub(super) fn prepare(&mut self, now_ms: u64) {
        while !matches!(self.state, State::Streaming(_))
            && let Some(session) = &mut self.session
        {
            match session.next() {
                Ok(None) => return,
                Ok(Some(event)) => self.on_prepared(event, now_ms),
                Err(broken) => {
                    let doing = match &self.state {
                        State::Asking { preparation, .. } => preparation.doing(),
                        State::Starting { .. } => "waiting for slot",
                        _ => "connecting to PostgreSQL",
                    };
                    self.close(waiting(&format!("{doing}: {broken}")), now_ms);
                }
            }
        }
    }

    fn on_prepared(&mut self, event: Event, now_ms: u64) {
        let session = self.session.as_mut().expect("an event came out of it");
        match (&mut self.state, event) {
            (State::LoggingIn { until_ms }, Event::Ready) => {
                let may_recreate = self.recreations.allows(now_ms);
                let known = self.feed.as_ref().map(|feed| Known {
                    lineage: feed.lineage().clone(),
                    resume: feed.resume(),
                    emitted: feed.emitted(),
                    is_unreadable: self.is_unreadable,
                    may_recreate,
                });
                let until_ms = *until_ms;
                let (preparation, sql) = Preparation::new(known);
                session.ask(&sql);
                self.state = State::Asking {
                    preparation: Box::new(preparation),
                    until_ms,
                };
            }
            (
                State::Asking {
                    preparation,
                    until_ms,
                },
                Event::Answer(answer),
            ) => match preparation.handle_answer(answer, &self.config, self.random.next()) {
                Ok(Next::Ask(sql)) => {
                    session.ask(&sql);
                    if preparation.is_copying() {
                        *until_ms = now_ms + COPY_MS_MAX;
                    }
                }
                Ok(Next::Stream(plan)) => {
                    session.ask(&plan.sql);
                    let until_ms = *until_ms;
                    self.state = State::Starting {
                        plan: Box::new(plan),
                        until_ms,
                    };
                }
                Err(obstacle) => self.close(obstacle, now_ms),
            },
            (State::Starting { plan, .. }, Event::Streaming) => {
                let plan = Plan::clone(plan);
                self.stream(plan, now_ms);
            }
            (State::Starting { .. }, Event::Answer(Err(error))) => {
                self.close(waiting(&format!("waiting for slot: {error}")), now_ms);
            }
            (_, Event::Notice(_)) => {}
            _ => {
                let reason = "connecting to PostgreSQL: its answer is not what was asked for";
                self.close(waiting(reason), now_ms);
            }
        }
    }

    /// Streaming begins: says so to the engines before anything else.
    fn stream(&mut self, plan: Plan, now_ms: u64) {
        self.connection += 1;
        self.obstacle = None;
        self.said.clear();
        self.said_by_server.clear();
        self.server_end = plan.flushed;
        self.caught_up_at = plan.flushed;
        let is_first = self.feed.is_none();
        self.begin_feed(&plan);
        self.begin_anchor(&plan, is_first, now_ms);
        let timeline = plan.lineage.position(plan.flushed, 0).timeline;
        self.notices.push_back(Notice::Streaming {
            slot: plan.anchor.clone(),
            from: plan.from,
            timeline,
        });
        let mut standby = Standby::new(plan.from, now_ms);
        if let Some(session) = &mut self.session {
            // How old the feed is says a message of the server's: an idle one has none for seconds.
            let now_us = self.clock.now_us(now_ms);
            standby.tell(now_ms, now_us, true, session.outbox());
        }
        self.state = State::Streaming(standby);
        if let Some(owed) = self.owed.take().filter(|_| plan.gap.is_none()) {
            self.reset_all(owed);
        }
    }

    /// Goes on with the feed, or makes it; and says what is missing, if something is.
    fn begin_feed(&mut self, plan: &Plan) {
        let Plan {
            lineage, from, gap, ..
        } = plan;
        let floor = lineage.position(*from, 0);
        let mut effects = Vec::new();
        if planted::REPLAY_IS_NEW && gap.is_none() {
            self.feed = None;
        }
        let feed = self.feed.as_ref();
        let is_forked = feed.is_some_and(|feed| feed.lineage() != lineage);
        match (&mut self.feed, gap) {
            (None, _) => {
                let (rules, keys) = (self.config.rules.clone(), self.config.keys.clone());
                let mut feed = Feed::new(rules, keys, lineage.clone(), *from);
                feed.remember_ids(self.config.window_ms);
                self.feed = Some(feed);
            }
            (Some(feed), None) => {
                if is_forked {
                    let passed = feed.resume();
                    feed.rights_mut().on_fork(passed);
                }
                feed.on_reconnect(lineage.clone());
            }
            (Some(feed), Some(reason)) => {
                effects = feed.on_gap(lineage.clone(), *from);
                self.window.clear();
                self.cut_at = None;
                self.forgiven = *from;
                if *reason == GapReason::PublicationChanged {
                    // The anchor stands before what nobody can read.
                    self.window.cut(*from);
                    self.is_unreadable = false;
                }
                self.gaps += 1;
                self.notices.push_back(Notice::Gap {
                    reason: *reason,
                    floor: *from,
                });
                let gap = Gap {
                    lineage: lineage.clone(),
                    floor,
                    reason: *reason,
                };
                self.batches
                    .push_back((Batch::Gap(Arc::new(gap)), self.beginning(floor, true)));
            }
        }
        let start = Start {
            lineage: lineage.clone(),
            floor,
            caught_up: lineage.position(plan.flushed.max(*from), 0),
        };
        self.batches.push_back((
            Batch::Start(Arc::new(start)),
            self.beginning(floor, gap.is_some()),
        ));
        if (gap.is_some() || is_forked) && self.load.begin_anew() {
            self.actions.push_back(Action::Close(Line::Members));
        }
        self.carry_out(effects);
    }

    /// Says what is to be looked after, and says what became of the anchor.
    fn begin_anchor(&mut self, plan: &Plan, is_first: bool, now_ms: u64) {
        let Plan {
            anchor,
            copy,
            version,
            ..
        } = plan;
        if plan.anchor_created {
            if let Some(reason) = plan.anchor_lost.filter(|_| self.slot_was_well()) {
                self.on_anchor_lost(anchor.clone(), reason.to_owned());
            }
            if !is_first {
                self.recreations.note(now_ms);
            }
            let slot = anchor.clone();
            self.notices.push_back(Notice::AnchorCreated { slot });
        }
        self.slot = None;
        let looked_after = match self.config.mode {
            SlotMode::Anchor => anchor,
            SlotMode::Temporary => copy,
        };
        self.anchor
            .on_streaming(looked_after, copy, *version, now_ms);
        if is_first {
            self.publication = Publication::new(plan.tables.clone());
        } else if plan.gap.is_some() {
            self.publication.on_reset();
        }
    }

    /// Whether the last that was heard of the anchor is that it was well.
    fn slot_was_well(&self) -> bool {
        self.slot.as_ref().is_none_or(SlotStatus::is_well)
    }

    /// What is known when the announcement of a beginning has been handed over: nothing is confirmed
    /// by it.
    fn beginning(&self, floor: wire::EventId, is_gap: bool) -> Mark {
        let connection = self.connection;
        // After a reconnect what was applied before stays applied; not where it means nothing any more.
        let stays = |applied: &Mark| !is_gap && applied.position >= floor;
        match self.applied.filter(stays) {
            Some(applied) => Mark {
                confirm: None,
                connection,
                ..applied
            },
            None => Mark {
                position: floor,
                confirm: None,
                connection,
                at_ms: 0,
                sent_us: None,
            },
        }
    }
}
