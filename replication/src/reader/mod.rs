//! The reader: a node's connection to PostgreSQL, with no socket and no clock.
//!
//! How to drive it:
//!
//! 1. Carry out what [`Reader::poll_action`] asks for, and report it by `handle_opened` or
//!    `handle_failed`.
//! 2. Send what is in [`Reader::outbox`] of each line, taking out what was sent.
//! 3. Hand over what [`Reader::poll_batch`] gives to every engine, in order, and then call
//!    [`Reader::handle_handed_over`]. Only then ask for the next.
//! 4. Read from the stream's socket only when `poll_batch` had nothing to give, so that a full engine
//!    becomes back-pressure, and where [`Reader::reads`] says so; pass what was read to `handle_bytes`.
//! 5. At [`Reader::deadline_ms`] at the latest, call `handle_timeout`, also while a batch waits.
//!
//! A batch that was polled must be handed over even if the connection breaks meanwhile.

mod prepare;
mod read;
mod report;
mod rights;
mod visits;

use std::collections::VecDeque;

use wire::{Batch, EventId, GapReason, Lsn};

use crate::anchor::{Anchor, SlotStatus};
use crate::back_off::BackOff;
use crate::feed::Feed;
use crate::limits::PREPARATION_MS_MAX;
use crate::membership::Load;
use crate::notice::Notice;
use crate::preparation::{Obstacle, Plan, Preparation};
use crate::publication::{Publication, Tables};
use crate::random::Random;
use crate::recreations::Recreations;
use crate::session::Session;
use crate::status::Standby;
use crate::time::ServerClock;
use crate::watch::{Watch, Wish, Word};
use crate::window::Window;
use crate::{Config, Protection};

/// One of the connections that a reader uses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Line {
    /// The one that streams; there is always one wanted.
    Stream,
    /// The short-lived one that looks after the anchor and the publication.
    Anchor,
    /// The one that hears of the server's end while the stream is not read.
    Watch,
    /// The short-lived one that reads the memberships.
    Members,
}

/// What the caller is to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// Connect, without blocking the calls to the reader, and report the outcome.
    Open(Line),
    /// Close the connection; what is in its outbox was the last. Nothing is to be reported.
    Close(Line),
}

/// Reads the changes of a database.
#[derive(Debug)]
pub struct Reader {
    config: Config,
    random: Random,
    back_off: BackOff,
    state: State,
    /// The stream's session, from its opening to its end.
    session: Option<Session>,
    /// Counts the connections that streamed.
    connection: u64,
    /// Made when streaming begins for the first time, and kept from then on.
    feed: Option<Feed>,
    window: Window,
    clock: ServerClock,
    watch: Watch,
    load: Load,
    anchor: Anchor,
    /// The slot that holds the past, as it was when it was last looked at.
    slot: Option<SlotStatus>,
    anchors_lost: u64,
    recreations: Recreations,
    /// Whether a transaction that is older than the window holds the log back.
    is_held_back: bool,
    publication: Publication,
    /// Whether the server said that it leaves changes out, and nobody has looked why.
    has_skipped: bool,
    /// The end of the log when somebody looked.
    looked_at: Lsn,
    /// Up to here nobody is owed anything: whatever was missed, everybody began anew behind it.
    forgiven: Lsn,
    /// Whether what comes next in the log cannot be read, because it was written without the
    /// publication.
    is_unreadable: bool,
    /// Where the history is cut off, when everything up to there has been handed over.
    cut_at: Option<Lsn>,
    /// A gap that is owed to everybody as soon as there is a stream.
    owed: Option<GapReason>,
    /// What is handed over before anything is read: at most a `Gap` and a `Start`.
    batches: VecDeque<(Batch, Mark)>,
    /// The batch that the caller is handing over.
    outstanding: Option<Mark>,
    applied: Option<Mark>,
    /// When the server sent the newest message up to which everything was handed over, in microseconds since
    /// 2000.
    fresh_us: Option<i64>,
    /// What the server had when streaming began: a new node has caught up when it is there.
    caught_up_at: Lsn,
    server_end: Lsn,
    obstacle: Option<Obstacle>,
    /// The reason that was said last.
    said: String,
    /// What the server said last.
    said_by_server: String,
    reconnects: u64,
    gaps: u64,
    actions: VecDeque<Action>,
    notices: VecDeque<Notice>,
}

/// Where the stream's line stands. Every state but the last falls back to the first if it fails.
#[derive(Debug)]
enum State {
    /// Waits for: the end of the pause. Next: Opening.
    Pausing { until_ms: u64 },
    /// Waits for: a connection. Next: LoggingIn.
    Opening,
    /// Waits for: the server to let us in. Next: Asking.
    LoggingIn { until_ms: u64 },
    /// Waits for: answers. Next: Starting.
    Asking {
        preparation: Box<Preparation>,
        until_ms: u64,
    },
    /// Waits for: the server's word that it streams. Next: Streaming.
    Starting { plan: Box<Plan>, until_ms: u64 },
    /// Waits for: changes. Next: Pausing.
    Streaming(Standby),
}

/// What is known when a batch has been handed over.
#[derive(Clone, Copy, Debug)]
struct Mark {
    position: EventId,
    /// The position to confirm.
    confirm: Option<Lsn>,
    /// On which connection it was read.
    connection: u64,
    /// When it was committed, in milliseconds since 1970.
    at_ms: i64,
    /// When the server sent the message behind it, in microseconds since 2000.
    sent_us: Option<i64>,
}

impl Reader {
    /// A reader that wants to connect at once. The seed is random; every node has its own.
    pub fn new(config: Config, seed: u64, now_ms: u64) -> Self {
        let window = Window::new(config.window_ms, config.window_bytes);
        Self {
            config,
            random: Random::new(seed),
            back_off: BackOff::default(),
            state: State::Pausing { until_ms: now_ms },
            session: None,
            connection: 0,
            feed: None,
            window,
            clock: ServerClock::default(),
            watch: Watch::default(),
            load: Load::default(),
            anchor: Anchor::new(now_ms),
            slot: None,
            anchors_lost: 0,
            recreations: Recreations::default(),
            is_held_back: false,
            publication: Publication::new(Tables::new()),
            has_skipped: false,
            looked_at: Lsn(0),
            forgiven: Lsn(0),
            is_unreadable: false,
            cut_at: None,
            owed: None,
            batches: VecDeque::new(),
            outstanding: None,
            applied: None,
            fresh_us: None,
            caught_up_at: Lsn(0),
            server_end: Lsn(0),
            obstacle: None,
            said: String::new(),
            said_by_server: String::new(),
            reconnects: 0,
            gaps: 0,
            actions: VecDeque::new(),
            notices: VecDeque::new(),
        }
    }

    /// The connection that was asked for stands, protected as it says.
    pub fn handle_opened(&mut self, line: Line, protection: Protection, now_ms: u64) {
        match line {
            Line::Stream => {
                assert!(
                    matches!(self.state, State::Opening),
                    "opened because it was asked for"
                );
                self.session = Some(Session::new(&self.config.connect, protection, true));
                self.state = State::LoggingIn {
                    until_ms: now_ms + PREPARATION_MS_MAX,
                };
            }
            Line::Anchor => self.anchor.handle_opened(&self.config, protection, now_ms),
            Line::Watch => self.watch.handle_opened(&self.config.connect, protection),
            Line::Members => self.load.handle_opened(&self.config, protection, now_ms),
        }
    }

    /// The connection that was asked for could not be made, or the one that stood has ended.
    pub fn handle_failed(&mut self, line: Line, why: &str, now_ms: u64) {
        match line {
            Line::Stream => {
                self.pause(waiting(&format!("connecting to PostgreSQL: {why}")), now_ms);
            }
            Line::Anchor => {
                self.with_anchor(now_ms, |anchor, circumstances, random| {
                    anchor.handle_failed(why, circumstances, random)
                });
            }
            Line::Watch => self.watch.handle_failed(now_ms),
            Line::Members => {
                let outcome = self.load.handle_failed(why, now_ms);
                self.on_load(outcome, now_ms);
            }
        }
    }

    /// Bytes arrived.
    pub fn handle_bytes(&mut self, line: Line, bytes: &[u8], now_ms: u64) {
        match line {
            Line::Anchor => {
                let is_over = self.with_anchor(now_ms, |anchor, circumstances, random| {
                    anchor.handle_bytes(bytes, circumstances, random)
                });
                if is_over {
                    self.actions.push_back(Action::Close(Line::Anchor));
                }
            }
            Line::Watch => {
                let word = self.watch.handle_bytes(bytes, now_ms);
                if word != Word::Nothing {
                    self.actions.push_back(Action::Close(Line::Watch));
                }
                if word == Word::Stopping {
                    self.on_stopping(now_ms);
                }
            }
            Line::Members => self.read_memberships(bytes, now_ms),
            Line::Stream => {
                let Some(session) = &mut self.session else {
                    return;
                };
                session.push(bytes);
                match &mut self.state {
                    // What is read there is handed over, one batch at a time.
                    State::Streaming(standby) => standby.on_heard(now_ms),
                    _ => self.prepare(now_ms),
                }
            }
        }
    }

    /// The batch that was polled has reached every engine.
    pub fn handle_handed_over(&mut self, now_ms: u64) {
        let mark = self.outstanding.take().expect("a batch was polled before");
        self.applied = Some(mark);
        self.fresh_us = self.fresh_us.max(mark.sent_us);
        let Some(lsn) = mark.confirm.filter(|_| mark.connection == self.connection) else {
            return;
        };
        self.window.mark(mark.at_ms, lsn);
        if let (State::Streaming(standby), Some(session)) = (&mut self.state, &mut self.session) {
            self.back_off.on_success();
            standby.on_handed_over(lsn);
            standby.handle_timeout(now_ms, self.clock.now_us(now_ms), session.outbox());
        }
    }

    /// Does what is due.
    pub fn handle_timeout(&mut self, now_ms: u64) {
        let is_held = self.is_held(now_ms);
        match (&mut self.state, &mut self.session) {
            (State::Pausing { until_ms }, _) if now_ms >= *until_ms => {
                self.state = State::Opening;
                self.actions.push_back(Action::Open(Line::Stream));
            }
            (
                State::LoggingIn { until_ms }
                | State::Asking { until_ms, .. }
                | State::Starting { until_ms, .. },
                _,
            ) if now_ms >= *until_ms => {
                self.close(
                    waiting("connecting to PostgreSQL: the server does not answer"),
                    now_ms,
                );
            }
            (State::Streaming(standby), Some(session)) => {
                if self.outstanding.is_some() || is_held {
                    // Nobody listens while a batch waits, so silence says nothing.
                    standby.on_heard(now_ms);
                }
                standby.handle_timeout(now_ms, self.clock.now_us(now_ms), session.outbox());
                if standby.is_dead(now_ms) {
                    self.close(
                        waiting("connecting to PostgreSQL: it has gone silent"),
                        now_ms,
                    );
                }
            }
            _ => {}
        }
        if let Some(feed) = &mut self.feed {
            feed.handle_timeout(now_ms);
        }
        self.visit_anchor(now_ms);
        self.load_memberships(now_ms);
        self.keep_watch(now_ms);
    }

    /// What the caller is to do next.
    pub fn poll_action(&mut self) -> Option<Action> {
        self.actions.pop_front()
    }

    /// The next batch. It must be handed over before the next is asked for.
    pub fn poll_batch(&mut self, now_ms: u64) -> Option<Batch> {
        assert!(self.outstanding.is_none(), "one batch at a time");
        let (batch, mark) = match self.batches.pop_front() {
            Some(first) => first,
            None => self.read(now_ms)?,
        };
        self.outstanding = Some(mark);
        Some(batch)
    }

    /// The next thing worth a line in the log.
    pub fn poll_notice(&mut self) -> Option<Notice> {
        let notice = self.notices.pop_front();
        notice.or_else(|| self.feed.as_mut().and_then(Feed::poll_notice))
    }

    /// The bytes to be sent on a line; whoever sends them takes them out.
    pub fn outbox(&mut self, line: Line) -> Option<&mut Vec<u8>> {
        match line {
            Line::Stream => self.session.as_mut().map(Session::outbox),
            Line::Anchor => self.anchor.outbox(),
            Line::Watch => self.watch.outbox(),
            Line::Members => self.load.outbox(),
        }
    }

    /// When [`Self::handle_timeout`], and then [`Self::poll_batch`], have something to do.
    pub fn deadline_ms(&self) -> u64 {
        let state = match &self.state {
            State::Pausing { until_ms }
            | State::LoggingIn { until_ms }
            | State::Asking { until_ms, .. }
            | State::Starting { until_ms, .. } => *until_ms,
            State::Opening => u64::MAX,
            State::Streaming(standby) => standby.deadline_ms(),
        };
        let is_streaming = matches!(self.state, State::Streaming(_));
        // While nothing is read, because no connection stands or memberships are, it is not said.
        let is_held = self.wants_load() && self.load.holds(true, 0);
        let progress = match (&self.feed, self.outstanding) {
            (Some(feed), None) if is_streaming && !is_held => feed.progress_deadline_ms(),
            _ => None,
        };
        let progress = progress.unwrap_or(u64::MAX);
        let said = self.feed.as_ref().map_or(u64::MAX, Feed::deadline_ms);
        let anchor = self.anchor.deadline_ms(is_streaming);
        let watch = self.watch.deadline_ms();
        let load = self.load_deadline_ms();
        let others = [progress, said, anchor, watch, load];
        others.into_iter().fold(state, u64::min)
    }

    /// Closes the stream's connection, and tries again after a pause.
    fn close(&mut self, obstacle: Obstacle, now_ms: u64) {
        self.actions.push_back(Action::Close(Line::Stream));
        self.pause(obstacle, now_ms);
    }

    /// Tries again after a pause.
    fn pause(&mut self, obstacle: Obstacle, now_ms: u64) {
        if matches!(self.state, State::Streaming(_)) {
            self.reconnects += 1;
        }
        // Only who never streamed may be told that it is of no use.
        let obstacle = Obstacle {
            fatal: obstacle.fatal && self.feed.is_none(),
            ..obstacle
        };
        if self.said != obstacle.reason {
            self.said.clone_from(&obstacle.reason);
            self.notices.push_back(Notice::Waiting {
                reason: obstacle.reason.clone(),
            });
        }
        self.obstacle = Some(obstacle);
        self.session = None;
        let until_ms = now_ms + self.back_off.on_failure(&mut self.random);
        self.state = State::Pausing { until_ms };
    }

    /// Watches for the server's end while something of the stream is not taken.
    fn keep_watch(&mut self, now_ms: u64) {
        let is_waiting = self.outstanding.is_some() || self.is_held(now_ms);
        let is_full = is_waiting && matches!(self.state, State::Streaming(_));
        let now_unix_ms = self.clock.now_unix_ms(now_ms);
        let wish = self.watch.handle_timeout(is_full, now_unix_ms, now_ms);
        self.actions.extend(wish.map(|wish| match wish {
            Wish::Open => Action::Open(Line::Watch),
            Wish::Close => Action::Close(Line::Watch),
        }));
    }

    /// The server stops, and waits for the stream to take what we do not: it is told that nobody does.
    fn on_stopping(&mut self, now_ms: u64) {
        if matches!(self.state, State::Streaming(_)) {
            self.back_off.on_orderly_end();
            let reason = "connecting to PostgreSQL: the server is shutting down";
            self.close(waiting(reason), now_ms);
        }
    }
}

fn waiting(reason: &str) -> Obstacle {
    Obstacle {
        reason: reason.to_owned(),
        fatal: false,
    }
}
