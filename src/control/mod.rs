//! The control thread: everything that may wait. It judges requests for streams, finds out who asks,
//! counts, and answers whatever is no stream. Engines never wait for it: they forward and go on.
//!
//! One loop owns all of its state; a request takes this road:
//!
//! 1. `uplink`: an engine forwards it.
//! 2. `request`: judged as far as it can be alone (origin, method, parameters).
//! 3. `serve` takes it up: from here on it is a `petition`.
//! 4. `identify`: who asks, from the cache, by a token alone, or with the help of `gathering` and `rows`
//!    (SQL), `introspections` (the application) or `keysets` (an issuer).
//! 5. `seek`: counted in (`counts`, `places`), and handed by `outbox` to the replication thread, which
//!    owns the memberships. It judges by `admission`; what follows for the engine is made by `verdict`.
//! 6. The answer comes back to `seek`; the count is given back by the stream's one `Closed`.
//!
//! A `renew`al takes the same road to its end, and waits for its engine with a ticket (`tickets`).
//! `outage` says what becomes of the streams where somebody who is asked stays away. `router` answers
//! everything else, of which `api` is what servers and operators ask for.

mod address;
mod admission;
mod api;
mod change;
mod columns;
mod connection;
mod counts;
mod crowd;
mod freed;
pub(crate) mod fuzzing;
mod gathering;
mod health;
mod history;
mod identify;
mod introspections;
mod iso8601;
mod keysets;
mod named;
mod outage;
mod outbox;
mod petition;
mod places;
mod rate;
mod renew;
mod request;
mod router;
mod rows;
mod run;
mod seek;
mod seniority;
mod serve;
mod shared;
mod sql;
mod subscription;
mod tickets;
mod uplink;
mod verdict;

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Instant;

use auth::Verifier;
use auth::cache::Cache;
use auth::limits::{CACHE_BYTES_MAX, CACHE_ENTRIES_MAX};
use axum::Router;
use bytes::Bytes;
use replication::limits::WAL_SENDER_TIMEOUT_MS;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinSet;
use wire::http::RefusalCode;
use wire::{ConnectionId, Keys};

use crate::config::{Config, SessionRows};
use crate::figures;
use crate::http_client::HttpClient;
use crate::logs::ConnectionLog;
use crate::metrics::LogSpan;
use counts::Counts;
use crowd::Crowd;
use freed::Freed;
use gathering::Gathering;
use identify::Candidate;
use introspections::Introspections;
use keysets::Keysets;
use outage::{Outage, Patience, Trust};
use outbox::Outbox;
use petition::{Judged, Petition, UnderWay};
use places::Places;
use rate::RateLimit;
use rows::Tables;
use seek::{Admitting, Newcomer};
use seniority::Seniority;
use sql::{Job, Outcome, Sql};
use tickets::Tickets;

#[cfg(test)]
pub(crate) use admission::samples;
pub(crate) use admission::{Admit, Follows, Order};
pub(crate) use shared::Shared;
pub(crate) use uplink::{Answers, Downlink, pair};

/// The most bytes that requests hold together which wait for this thread, or for an answer about their sessions.
pub(crate) const WAITING_BYTES_MAX: usize =
    uplink::REQUEST_BYTES_MAX + petition::CREDENTIALS_BYTES_MAX;

/// The most requests that the router works on at a time.
const ROUTED_MAX: usize = 256;

/// The age of the newest message of the stream of changes at which nobody new is let in: four fifths
/// of the silence after which PostgreSQL gives the connection up, and at least ten seconds, so that new
/// streams are opened while it restarts.
const FEED_AGE_MS: u64 = {
    let most_ms = WAL_SENDER_TIMEOUT_MS / 5 * 4;
    if most_ms > 10_000 { most_ms } else { 10_000 }
};

/// How often the loop looks at what nothing wakes it for, while somebody waits or something is wrong.
const TICK_MS: u64 = 100;

/// The same while all is well and nobody waits: each look wakes an idle machine. What grows meanwhile is
/// the age of the feed, which is judged anew for each newcomer.
const IDLE_MS: u64 = 500;

/// What a control thread is made of.
pub(crate) struct Parts {
    pub(crate) config: Arc<Config>,
    pub(crate) keys: Keys,
    /// Of which connections' names begin.
    pub(crate) boot: u32,
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
    boot: u32,
    shared: Arc<Shared>,
    router: Router,
    outbox: Outbox,
    counts: Counts,
    seniority: Seniority,
    crowd: Crowd,
    rate: RateLimit,
    under_way: UnderWay,
    verifier: Verifier,
    /// Who was verified a moment ago.
    cache: Cache<Judged>,
    freed: Freed,
    /// Those whose sessions are looked up, those whose tokens have a row that has to be there, and those
    /// whose users are looked up.
    sessions: Gathering<Petition>,
    session_ids: Gathering<Candidate>,
    users: Gathering<Candidate>,
    introspections: Introspections,
    keysets: Keysets,
    /// Those who wait for one of their user's streams to end.
    places: Places<Newcomer>,
    /// Those about whom the owner of the memberships is asked; by who asked.
    admitting: HashMap<ConnectionId, Admitting>,
    /// Those who are to be judged again, and when; all after the same pause.
    again: VecDeque<(u64, Petition)>,
    tickets: Tickets,
    held: Held,
    patience: Patience,
    store: Outage,
    /// Whether a token counts only as long as its session has a row.
    has_session_ids: bool,
    /// Whether the database has to be asked for rows, and never was.
    is_store_new: bool,
    application: Outage,
    trust: Trust,
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
    swept_at_ms: u64,
    said_at_ms: Option<u64>,
    /// Whether `/readyz` says that something is wrong.
    has_trouble: bool,
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
            boot,
            seed,
            downlink,
            shared,
            pages,
        } = parts;
        // One job of each kind at a time.
        let (jobs, jobs_in) = mpsc::channel(5);
        let (outcomes_out, outcomes) = mpsc::channel(5);
        let session = |asked| {
            let table = config.identity.session.as_ref();
            table.filter(|_| config.auth.asks_of_sessions() == asked)
        };
        let tables = Tables {
            session: session(SessionRows::Whole).cloned(),
            session_id: session(SessionRows::Existence).cloned(),
            user: config.identity.user.clone(),
        };
        let has_tables = tables.any();
        let has_session_ids = tables.session_id.is_some();
        let sql = Sql::new(config.database.connect.clone(), tables);
        tokio::spawn(sql.run(jobs_in, outcomes_out));
        if config.keys.any(|rights| rights.admin) {
            figures::watch();
        }
        let api = api::router(Arc::clone(&config), keys.clone(), Arc::clone(&shared));
        let client = HttpClient::new();
        // Not the seed of delays, of which clients see something.
        let cache_seed = keys.row(b"the cache of verdicts").hash64();
        let auth = &config.auth;
        let takes_oldest =
            config.limits.close_oldest || config.streams.iter().any(|path| path.close_oldest);
        let mut control = Self {
            router: router::router(Arc::clone(&shared), pages.merge(api)),
            outbox: Outbox::new(shared.feed.clone(), shared.ports.clone()),
            counts: Counts::new(config.limits.clone()),
            seniority: Seniority::new(takes_oldest),
            crowd: Crowd::default(),
            rate: RateLimit::new(config.limits.connects_per_second),
            under_way: UnderWay::new(config.limits.handshakes),
            verifier: Verifier::new(auth.settings.clone()),
            cache: Cache::new(CACHE_ENTRIES_MAX, CACHE_BYTES_MAX, cache_seed),
            freed: Freed::default(),
            sessions: Gathering::default(),
            session_ids: Gathering::default(),
            users: Gathering::default(),
            introspections: Introspections::new(client.clone(), auth.introspection.clone()),
            keysets: Keysets::new(client, auth.jwks.clone()),
            places: Places::default(),
            admitting: HashMap::new(),
            again: VecDeque::new(),
            tickets: Tickets::default(),
            held: Held::default(),
            patience: Patience {
                feed_ms: FEED_AGE_MS,
                grace_ms: u64::try_from(auth.grace.as_millis()).unwrap_or(u64::MAX),
            },
            store: Outage::default(),
            has_session_ids,
            is_store_new: has_tables,
            application: Outage::default(),
            trust: Trust::Waning,
            // The first who asks for rows finds a connection that is ready.
            probe_at: has_tables.then(Instant::now),
            is_probing: false,
            jobs,
            outcomes,
            routed: JoinSet::new(),
            log: ConnectionLog::default(),
            span: LogSpan::default(),
            started: Instant::now(),
            ticked_at_ms: 0,
            swept_at_ms: 0,
            said_at_ms: None,
            has_trouble: true,
            random: seed | 1,
            config,
            keys,
            boot,
            shared,
        };
        control.say_trouble();
        (control, downlink)
    }

    fn monotonic_ms(&self) -> u64 {
        u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX)
    }
}
