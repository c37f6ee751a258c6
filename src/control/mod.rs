//! The control thread: everything that may wait. It judges requests for streams, asks PostgreSQL who
//! belongs where, counts, and answers whatever is no stream. Engines never wait for it: they forward
//! and go on.
//!
//! One loop owns all of its state; a request takes this road:
//!
//! 1. `uplink`: an engine forwards it.
//! 2. `request`: judged as far as it can be alone (origin, method, parameters, identity).
//! 3. `membership` and `sql`: who belongs where, in batches.
//! 4. `verdict`: a grant, which `outbox` hands to the replication thread, or a refusal.
//! 5. `counts`: taken with the grant, given back by its one `Closed`.
//!
//! `router` answers everything else, of which `api` is what servers and operators ask for.

mod address;
mod api;
mod counts;
mod membership;
mod outbox;
mod rate;
mod request;
mod router;
mod serve;
mod shared;
mod sql;
mod uplink;
mod verdict;

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread::JoinHandle;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use axum::Router;
use bytes::Bytes;
use driver::Forwarded;
use engine::{Command, Notice};
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinSet;
use wire::http::RefusalCode;
use wire::{ConnectionId, Keys};

use crate::audience;
use crate::config::Config;
use crate::database::DatabaseError;
use crate::figures;
use crate::logs::ConnectionLog;
use crate::metrics::LogSpan;
use counts::Counts;
use membership::Questions;
use outbox::Outbox;
use rate::RateLimit;
use sql::{Job, Outcome, Sql};
use uplink::EngineNotice;

pub(crate) use shared::Shared;
pub(crate) use uplink::{Downlink, pair};

/// The most requests that are taken before the other work gets its turn.
const REQUESTS_MAX: usize = 256;

/// The most requests that the router works on at a time.
const ROUTED_MAX: usize = 256;

/// How long after the stream of changes broke new streams are still opened.
const FEED_AGE_MS: u64 = 10_000;

/// How often the loop looks at what nothing wakes it for.
const TICK_MS: u64 = 100;

/// The same while something waits in the outbox.
const RETRY_MS: u64 = 2;

/// How long after a failure the server's flushed position is asked for again.
const HELD_RETRY_MS: u64 = 500;

/// How long after the database failed it is tried again, though nobody asks: whoever balances loads
/// sends nobody before `/readyz` says so.
const PROBE_MS: u64 = 1_000;

/// What a control thread is made of.
pub(crate) struct Parts {
    pub(crate) config: Arc<Config>,
    pub(crate) keys: Keys,
    /// For the jitter of refusals.
    pub(crate) seed: u64,
    pub(crate) downlink: Downlink,
    pub(crate) shared: Arc<Shared>,
    pub(crate) pages: Router,
}

/// The running thread.
pub(crate) struct Handle {
    thread: JoinHandle<()>,
    stop: oneshot::Sender<()>,
}

/// Starts the thread.
///
/// # Errors
///
/// Where the thread or its runtime cannot be had.
pub(crate) fn spawn(parts: Parts) -> std::io::Result<Handle> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let (stop, stopped) = oneshot::channel();
    let thread = std::thread::Builder::new()
        .name("control".to_owned())
        .spawn(move || {
            runtime.block_on(async {
                let (control, downlink) = Control::new(parts);
                control.run(downlink, stopped).await;
            });
            // What still runs is answers that nobody waits for any more.
            runtime.shutdown_background();
        })?;
    Ok(Handle { thread, stop })
}

impl Handle {
    /// Whether the thread has ended, which it does by itself only by a bug.
    pub(crate) fn is_finished(&self) -> bool {
        self.thread.is_finished()
    }

    /// Ends the thread and waits for it.
    pub(crate) fn stop(self) {
        // An error says that the thread has ended already.
        let _ = self.stop.send(());
        let _ = self.thread.join();
    }
}

/// The state of the loop.
struct Control {
    config: Arc<Config>,
    keys: Keys,
    shared: Arc<Shared>,
    router: Router,
    outbox: Outbox,
    counts: Counts,
    rate: RateLimit,
    questions: Questions,
    held: Held,
    /// While the database does not answer: when to try it again.
    probe_at: Option<Instant>,
    is_probing: bool,
    jobs: mpsc::Sender<Job>,
    outcomes: mpsc::Receiver<Outcome>,
    routed: JoinSet<(ConnectionId, Bytes, Option<RefusalCode>)>,
    log: ConnectionLog,
    span: LogSpan,
    started: Instant,
    ticked_at_ms: u64,
    /// When changes were last being received, of this thread's clock.
    fed_at_ms: Option<u64>,
    random: u64,
}

/// The engines that wait for the server's flushed position.
#[derive(Default)]
struct Held {
    waiting: Vec<u16>,
    /// Those that waited when the statement was sent: for them alone its answer is new enough.
    asked: Vec<u16>,
    /// After a failure: not before then.
    retry_at: Option<Instant>,
}

impl Control {
    /// Call it within the runtime.
    fn new(parts: Parts) -> (Self, Downlink) {
        let Parts {
            config,
            keys,
            seed,
            downlink,
            shared,
            pages,
        } = parts;
        // One job of each kind at a time.
        let (jobs, jobs_in) = mpsc::channel(3);
        let (outcomes_out, outcomes) = mpsc::channel(3);
        let sql = Sql::new(config.database.connect.clone(), config.membership.clone());
        tokio::spawn(sql.run(jobs_in, outcomes_out));
        if config.keys.any(|rights| rights.admin) {
            figures::watch();
        }
        let api = api::router(Arc::clone(&config), keys.clone(), Arc::clone(&shared));
        let control = Self {
            router: router::router(Arc::clone(&shared), pages.merge(api)),
            outbox: Outbox::new(shared.feed.clone(), shared.ports.clone()),
            counts: Counts::new(config.limits.clone()),
            rate: RateLimit::new(config.limits.connects_per_second),
            questions: Questions::default(),
            held: Held::default(),
            probe_at: None,
            is_probing: false,
            jobs,
            outcomes,
            routed: JoinSet::new(),
            log: ConnectionLog::default(),
            span: LogSpan::default(),
            started: Instant::now(),
            ticked_at_ms: 0,
            fed_at_ms: None,
            random: seed | 1,
            config,
            keys,
            shared,
        };
        (control, downlink)
    }

    /// Runs until it is told to stop.
    async fn run(mut self, mut downlink: Downlink, mut stopped: oneshot::Receiver<()>) {
        loop {
            let pause = if self.outbox.is_empty() {
                TICK_MS
            } else {
                RETRY_MS
            };
            tokio::select! {
                biased;
                _ = &mut stopped => return,
                Some(outcome) = self.outcomes.recv() => self.on_outcome(outcome),
                Some(Ok((connection, response, code))) = self.routed.join_next() => {
                    self.answer(connection, response, code);
                }
                Some(notice) = downlink.notices.recv() => {
                    self.on_notice(notice);
                    self.on_notices(&mut downlink);
                }
                Some(request) = downlink.requests.recv() => {
                    self.on_requests(*request, &mut downlink);
                }
                () = tokio::time::sleep(Duration::from_millis(pause)) => {}
            }
            self.ask();
            self.outbox.flush();
            self.tick();
        }
    }

    fn on_requests(&mut self, first: Forwarded, downlink: &mut Downlink) {
        let mut next = Some(first);
        let mut left = REQUESTS_MAX;
        while let Some(request) = next {
            // Those that ended before it are counted no more.
            self.on_notices(downlink);
            self.on_request(request);
            left -= 1;
            next = (left > 0)
                .then(|| downlink.requests.try_recv().ok())
                .flatten()
                .map(|next| *next);
        }
    }

    /// Takes all that are there.
    fn on_notices(&mut self, downlink: &mut Downlink) {
        while let Ok(notice) = downlink.notices.try_recv() {
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
                ..
            } => {
                self.counts.give_back(connection, user, scope);
                audience::leave(connection, scope);
                self.log.disconnected(wall_ms(), &notice.notice);
            }
            // Nothing that was sent so far has a ticket.
            Notice::Answered { .. } => {}
            Notice::Held if self.held.waiting.contains(&notice.engine) => {}
            Notice::Held => self.held.waiting.push(notice.engine),
        }
    }

    /// Sends the jobs that are due.
    fn ask(&mut self) {
        if let Ok(permit) = self.jobs.try_reserve()
            && let Some(batch) = self.questions.next_batch()
        {
            permit.send(Job::Members(batch));
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
            Outcome::Members(answers) => {
                self.on_database(answers.as_ref().err());
                self.on_answers(answers);
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

    /// The database was asked: notes whether it answered, for `/readyz`, and says so when that
    /// changes.
    fn on_database(&mut self, error: Option<&DatabaseError>) {
        let was_well = self.probe_at.is_none();
        match error {
            Some(error) if was_well => tracing::warn!("memberships cannot be looked up: {error}"),
            None if !was_well => tracing::info!("memberships can be looked up again"),
            _ => {}
        }
        self.shared.set_sql_error(error.map(ToString::to_string));
        self.probe_at = error.map(|_| Instant::now() + Duration::from_millis(PROBE_MS));
    }

    /// What is due now and then; cheap enough for every round.
    fn tick(&mut self) {
        let now_ms = self.monotonic_ms();
        if now_ms < self.ticked_at_ms + TICK_MS {
            return;
        }
        self.ticked_at_ms = now_ms;
        self.look_at_feed(now_ms);
        self.log.tick(wall_ms());
        let counters = self
            .shared
            .ports
            .first()
            .map(driver::Port::counters)
            .unwrap_or_default();
        self.span
            .observe(now_ms, counters.events, counters.log_frames);
        self.shared
            .log_span_ms
            .store(self.span.span_ms(now_ms), Ordering::Relaxed);
        self.shared
            .lines_skipped
            .store(self.log.skipped_total, Ordering::Relaxed);
    }

    fn look_at_feed(&mut self, now_ms: u64) {
        if self.shared.feed.status().streaming {
            self.fed_at_ms = Some(now_ms);
        }
    }

    fn monotonic_ms(&self) -> u64 {
        u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX)
    }
}

/// Milliseconds since 1970.
fn wall_ms() -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    let ms = now
        .expect("the clock of this machine stands after 1970")
        .as_millis();
    u64::try_from(ms).unwrap_or(u64::MAX)
}
