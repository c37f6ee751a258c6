//! The loop: what wakes it, and in which order it takes what has come.

use std::time::{Duration, Instant};

use engine::{Command, Notice};
use tokio::sync::oneshot;
use wire::{ConnectionId, Key, Scope};

use super::sql::{Job, Outcome};
use super::uplink::EngineNotice;
use super::{Control, Downlink, IDLE_MS, TICK_MS};
use crate::audience;
use crate::clock::unix_ms;

/// The most requests that are taken before the other work gets its turn.
const REQUESTS_MAX: usize = 256;

/// The same while something waits in the outbox.
const RETRY_MS: u64 = 2;

/// How long after a failure the server's flushed position is asked for again.
const HELD_RETRY_MS: u64 = 500;

impl Control {
    /// Runs until it is told to stop.
    pub(super) async fn run(mut self, mut downlink: Downlink, mut stopped: oneshot::Receiver<()>) {
        loop {
            let pause = self.pause();
            tokio::select! {
                biased;
                _ = &mut stopped => return,
                Some(outcome) = self.outcomes.recv() => self.on_outcome(outcome),
                fetched = self.keysets.next() => self.on_keys(fetched),
                arrived = self.introspections.next() => self.on_introspected(arrived),
                Some(Ok((connection, response, code))) = self.routed.join_next() => {
                    self.answer(connection, response, code);
                }
                // Last of those that have something: what it brings has no end under load.
                () = downlink.bell.notified() => self.on_bell(&mut downlink),
                () = tokio::time::sleep(pause) => {}
            }
            self.ask();
            self.tick();
            self.outbox.flush();
        }
    }

    /// How long nothing has to be done if nothing arrives.
    fn pause(&self) -> Duration {
        let now_ms = self.monotonic_ms();
        let dues = [
            self.sessions.due_ms(),
            self.session_ids.due_ms(),
            self.users.due_ms(),
        ];
        let due_ms = dues.into_iter().flatten().min();
        let most_ms = if !self.outbox.is_empty() {
            RETRY_MS
        } else if self.is_quiet() {
            IDLE_MS
        } else {
            TICK_MS
        };
        let ms = due_ms.map_or(most_ms, |due_ms| due_ms.saturating_sub(now_ms).min(most_ms));
        // A statement that is due waits for the one before it, whose answer wakes us.
        Duration::from_millis(ms.max(1))
    }

    /// Whether nobody waits for what only time brings, and nothing is wrong.
    fn is_quiet(&self) -> bool {
        !self.has_trouble
            && self.probe_at.is_none()
            && self.held.waiting.is_empty()
            && self.places.is_empty()
            && self.again.is_empty()
            && self.tickets.is_empty()
            && !self.introspections.is_probe_wanted()
    }

    /// Something has come from the engines or from the replication thread.
    fn on_bell(&mut self, downlink: &mut Downlink) {
        for _ in 0..REQUESTS_MAX {
            // Those that ended before it are counted no more.
            self.on_admissions(downlink);
            self.on_notices(downlink);
            match downlink.next_request() {
                Ok(request) => self.on_request(request),
                Err(_) => return,
            }
        }
        // There may be more, when the others had their turn.
        downlink.bell.notify_one();
    }

    /// Takes all that are there.
    fn on_admissions(&mut self, downlink: &mut Downlink) {
        while let Ok(answer) = downlink.answers.try_recv() {
            self.on_admission(answer);
        }
    }

    /// Takes all that are there. What lets a stream in has been said before anything is said of it.
    fn on_notices(&mut self, downlink: &mut Downlink) {
        while let Ok(notice) = downlink.notices.try_recv() {
            self.on_admissions(downlink);
            self.on_notice(notice);
        }
    }

    fn on_notice(&mut self, notice: EngineNotice) {
        match notice.notice {
            Notice::Opened { .. } => {}
            Notice::Closed {
                connection,
                user,
                scope,
                is_page,
                ..
            } => {
                audience::leave(connection, scope);
                if !is_page {
                    self.log.disconnected(unix_ms(), &notice.notice);
                }
                self.seniority.leave(user, connection);
                self.give_back(connection, user, scope);
            }
            Notice::Answered { ticket, outcome } => {
                if let Some(holder) = self.tickets.close(ticket) {
                    let (response, code) = holder.answer(outcome);
                    self.answer(holder.connection, response, code);
                }
            }
            Notice::Held if self.held.waiting.contains(&notice.engine) => {}
            Notice::Held => self.held.waiting.push(notice.engine),
        }
    }

    /// What was counted in is no more: whoever waits for the place gets it.
    pub(super) fn give_back(&mut self, connection: ConnectionId, user: Option<Key>, scope: Scope) {
        self.counts.give_back(connection, user, scope);
        if let Some(user) = user {
            self.on_place(user);
        }
    }

    /// Sends the jobs that are due.
    fn ask(&mut self) {
        let now_ms = self.monotonic_ms();
        if let Ok(permit) = self.jobs.try_reserve()
            && let Some(tokens) = self.sessions.next_batch(now_ms)
        {
            self.shared.identity.statement();
            permit.send(Job::Sessions(tokens));
        }
        if let Ok(permit) = self.jobs.try_reserve()
            && let Some(ids) = self.session_ids.next_batch(now_ms)
        {
            self.shared.identity.statement();
            permit.send(Job::SessionIds(ids));
        }
        if let Ok(permit) = self.jobs.try_reserve()
            && let Some(users) = self.users.next_batch(now_ms)
        {
            self.shared.identity.statement();
            permit.send(Job::Users(users));
        }
        let is_probe_due = self.probe_at.is_some_and(|at| Instant::now() >= at);
        if is_probe_due && !self.is_probing && self.jobs.try_send(Job::Probe).is_ok() {
            self.is_probing = true;
        }
        let is_due = self.held.asked.is_empty() && !self.held.waiting.is_empty();
        if is_due
            && self.held.retry_at.is_none_or(|at| Instant::now() >= at)
            && self.jobs.try_send(Job::FlushedLsn).is_ok()
        {
            self.held.asked = std::mem::take(&mut self.held.waiting);
        }
    }

    fn on_outcome(&mut self, outcome: Outcome) {
        match outcome {
            Outcome::Sessions(sessions) => {
                self.on_database(sessions.as_ref().err());
                self.on_sessions(sessions);
            }
            Outcome::SessionIds(ids) => {
                self.on_database(ids.as_ref().err());
                self.on_session_ids(ids);
            }
            Outcome::Users(users) => {
                self.on_database(users.as_ref().err());
                self.on_users(users);
            }
            Outcome::Probe(result) => {
                self.is_probing = false;
                self.on_database(result.as_ref().err());
            }
            Outcome::FlushedLsn(Ok(lsn)) => {
                self.held.retry_at = None;
                for engine in std::mem::take(&mut self.held.asked) {
                    self.outbox.command(engine, Command::Flushed(lsn));
                }
            }
            Outcome::FlushedLsn(Err(_)) => {
                self.held.retry_at = Some(Instant::now() + Duration::from_millis(HELD_RETRY_MS));
                let asked = std::mem::take(&mut self.held.asked);
                self.held.waiting.retain(|engine| !asked.contains(engine));
                self.held.waiting.extend(asked);
            }
        }
    }
}
