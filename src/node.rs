//! A node: the order in which it starts, and the ways in which it ends. What it does in between is
//! done by its threads.

use std::net::SocketAddr;
use std::process::ExitCode;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use axum::Router;
use driver::Engines;
use engine::{Command, StreamPath};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::runtime::Runtime;
use wire::{CloseReason, Keys};

use crate::capacity::{self, Capacity, Machine, Plan};
use crate::config::{Config, Drain};
use crate::control::{self, Shared};
use crate::preflight;
use crate::replication_thread::{self, Feed};
use crate::retention;
use crate::signals::Signals;

/// Over how long resets of many streams are spread, so that their pages do not refetch at once.
const RESET_SPREAD_MS: u64 = 10_000;

/// How long a client that is ahead of this node is held.
const RESUME_WAIT_MS: u64 = 15_000;

/// How long the end waits, beyond `drain.spread`, for streams that take their time.
const DRAIN_EXTRA: Duration = Duration::from_secs(5);

/// How often what nobody wakes us for is looked at, while somebody waits for it.
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// How often a node that runs looks for what ends it: each look wakes an idle machine.
const WATCH_EVERY: Duration = Duration::from_millis(500);

/// After this time the counters of an engine say what was so when it began.
const COUNTERS_AGE: Duration = Duration::from_millis(200);

/// A running node, and what asks it to end.
pub(crate) struct Node {
    parts: Parts,
    runtime: Runtime,
    signals: Signals,
}

/// What a node is made of.
struct Parts {
    engines: Engines,
    feed: Feed,
    replication: JoinHandle<()>,
    control: control::Handle,
    shared: Arc<Shared>,
    drain: Drain,
    /// What is asked once more at the end.
    config: Arc<Config>,
}

/// Why a node did not start: what, why, and how to mend it.
#[derive(Debug)]
pub(crate) struct BootError(String);

impl std::fmt::Display for BootError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for BootError {}

/// Starts a node. `pages` are served beside its own.
///
/// # Errors
///
/// Where the database, the machine or the configuration does not allow it.
pub(crate) fn start(mut config: Config, pages: Router) -> Result<Node, BootError> {
    for warning in &config.warnings {
        tracing::warn!("{warning}");
    }
    raise_descriptor_limit();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    let runtime = runtime.map_err(|error| boot_error("the runtime cannot be made", &error))?;
    runtime
        .block_on(preflight::check(&mut config))
        .map_err(BootError)?;
    // Before anybody is let in: who comes between two of the steps below is to be sent away in order, too.
    let signals = {
        let _entered = runtime.enter();
        Signals::listen()
    };
    let signals = signals.map_err(|error| boot_error("signals cannot be waited for", &error))?;

    let config = Arc::new(config);
    let secrets = Secrets::draw().map_err(|error| boot_error("no random numbers", &error))?;
    let keys = Keys::new(secrets.keys);
    let (uplink, answers, downlink) = control::pair();
    let options = driver::Options {
        listen: config.http.listen,
        threads: config.engine_threads,
        choice: config.driver,
    };
    let engine_config = |engine| engine_config(&config, &secrets, engine);
    let engines = driver::start(&options, engine_config, |engine| {
        Box::new(uplink.of(engine))
    })
    .map_err(|error| {
        let mend = "see http.listen, engine.threads and engine.driver";
        BootError(format!("{error}; {mend}"))
    })?;
    let ports = engines.ports().to_vec();
    let feed =
        replication_thread::spawn(replication_config(&config, &keys), ports.clone(), answers);
    let (feed, replication) =
        feed.map_err(|error| boot_error("the replication thread cannot be started", &error))?;
    let capacity = say_capacity(&config, &engines);
    let shared = Arc::new(Shared::new(feed.clone(), ports, engines.kind(), capacity));
    let control = control::spawn(control::Parts {
        config: Arc::clone(&config),
        keys,
        boot: secrets.boot,
        seed: secrets.jitter,
        downlink,
        shared: Arc::clone(&shared),
        pages,
    });
    let control =
        control.map_err(|error| boot_error("the control thread cannot be started", &error))?;
    tracing::info!(
        address = %engines.local_addr(), driver = engines.kind().as_str(), "the node has started"
    );
    let drain = config.drain.clone();
    let parts = Parts {
        engines,
        feed,
        replication,
        control,
        shared,
        drain,
        config,
    };
    Ok(Node {
        parts,
        runtime,
        signals,
    })
}

impl Node {
    /// Where it listens.
    pub(crate) fn local_addr(&self) -> SocketAddr {
        self.parts.engines.local_addr()
    }

    /// Waits until `/readyz` says so.
    ///
    /// # Errors
    ///
    /// What it still waits for when the time is over, or why waiting does not help.
    pub(crate) fn wait_ready(&mut self, timeout: Duration) -> Result<(), String> {
        let Self {
            parts,
            runtime,
            signals,
        } = self;
        runtime.block_on(async {
            tokio::select! {
                () = signals.next() => Err("a signal asked it to end".to_owned()),
                is_ready = parts.ready(timeout) => is_ready,
            }
        })
    }

    /// Runs until SIGTERM, SIGINT or SIGHUP; then takes its leave (`drain`), or ends at once. A second signal
    /// ends at once, too.
    pub(crate) fn run_until_signal(self, drain: bool) -> ExitCode {
        let Self {
            parts,
            runtime,
            mut signals,
        } = self;
        let code = runtime.block_on(parts.live(&mut signals, drain));
        let config = Arc::clone(&parts.config);
        parts.stop();
        if drain {
            // The slot stays, and nobody moves it: whoever stopped the node should know for how long
            // that is well.
            let words = retention::last_words(&config.database.connect, config.slot.generation);
            tracing::info!("the node has stopped; {words}");
        } else {
            tracing::info!("the node has stopped");
        }
        code
    }

    /// Ends at once.
    pub(crate) fn stop(self) {
        self.parts.stop();
    }
}

impl Parts {
    fn stop(self) {
        // Nobody hands anything over to an engine that has ended.
        self.feed.stop();
        if self.replication.join().is_err() {
            tracing::error!("the replication thread had panicked");
        }
        self.control.stop();
        self.engines.stop();
    }

    /// Looks at what `/readyz` says until it is ready.
    async fn ready(&self, timeout: Duration) -> Result<(), String> {
        let started = Instant::now();
        loop {
            match self.shared.readiness() {
                Ok(()) => return Ok(()),
                Err(reason) if started.elapsed() >= timeout => return Err(reason),
                Err(_) => {}
            }
            if let Some(fatal) = self.feed.fatal() {
                return Err(fatal);
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }

    async fn live(&self, signals: &mut Signals, drain: bool) -> ExitCode {
        tokio::select! {
            () = signals.next() => {}
            fatal = self.fatal() => {
                tracing::error!("{fatal}");
                return ExitCode::FAILURE;
            }
        }
        if drain {
            tokio::select! {
                () = self.take_leave() => {}
                () = signals.next() => tracing::warn!("a second signal: ending at once"),
            }
        }
        ExitCode::SUCCESS
    }

    /// Waits for a reason to end that nobody but a person can mend.
    async fn fatal(&self) -> String {
        loop {
            if self.replication.is_finished() || self.control.is_finished() {
                return "a thread of the node has ended; this is a bug".to_owned();
            }
            if let Some(fatal) = self.feed.fatal() {
                return fatal;
            }
            tokio::time::sleep(WATCH_EVERY).await;
        }
    }

    /// Lets the balancer see that nobody should come, then sends everybody away, a few at a time.
    async fn take_leave(&self) {
        let Drain { notice, spread } = self.drain;
        tracing::info!(?notice, ?spread, "draining");
        self.shared.begin_drain();
        tokio::time::sleep(notice).await;
        self.close_all(spread).await;
        self.wait_while(spread + LOOK_EVERY, |counters| counters.streams)
            .await;
        // Whoever was on the way in when the others were told is told now.
        self.close_all(Duration::ZERO).await;
        self.wait_while(DRAIN_EXTRA, |counters| counters.streams)
            .await;
        self.engines.stop_listening();
        self.wait_while(DRAIN_EXTRA, |counters| counters.connections)
            .await;
    }

    /// Tells every stream that there is that it ends, spread over this time.
    async fn close_all(&self, spread: Duration) {
        let spread_ms = u64::try_from(spread.as_millis()).unwrap_or(u64::MAX);
        for port in self.engines.ports() {
            let mut command = Command::CloseAll {
                reason: CloseReason::Draining,
                spread_ms,
            };
            while let Err(refused) = port.try_command(command) {
                command = refused;
                tokio::time::sleep(LOOK_EVERY).await;
            }
        }
    }

    /// Waits until a count of all engines is 0, at most for this time.
    async fn wait_while(&self, at_most: Duration, count: fn(&engine::Counters) -> u64) {
        let started = Instant::now();
        tokio::time::sleep(COUNTERS_AGE).await;
        while started.elapsed() < at_most
            && self.shared.counters().iter().map(count).sum::<u64>() > 0
        {
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }
}

/// What is drawn anew at every start.
struct Secrets {
    keys: [u8; 16],
    seed: [u8; 16],
    jitter: u64,
    boot: u32,
}

impl Secrets {
    fn draw() -> Result<Self, getrandom::Error> {
        let (mut keys, mut seed) = ([0; 16], [0; 16]);
        getrandom::fill(&mut keys)?;
        getrandom::fill(&mut seed)?;
        Ok(Self {
            keys,
            seed,
            jitter: getrandom::u64()?,
            boot: getrandom::u32()?,
        })
    }
}

fn engine_config(config: &Config, secrets: &Secrets, engine: u16) -> engine::Config {
    let path = |stream: &crate::config::Stream| StreamPath {
        path: stream.path.clone(),
        soft_refusal: stream.soft_refusal,
    };
    engine::Config {
        engine,
        boot: secrets.boot,
        seed: secrets.seed,
        streams: config.streams.iter().map(path).collect(),
        heartbeat_ms: milliseconds(config.http.heartbeat),
        log_bytes_max: config.history.max_bytes,
        reset_spread_ms: RESET_SPREAD_MS,
        idle_close_ms: milliseconds(config.limits.idle_close),
        resume_wait_ms: RESUME_WAIT_MS,
    }
}

fn replication_config(config: &Config, keys: &Keys) -> replication::Config {
    replication::Config {
        publication: config.database.publication.clone(),
        generation: config.slot.generation,
        mode: config.slot.mode,
        window_ms: milliseconds(config.history.window),
        window_bytes: config.history.wal_bytes,
        rules: config.rules.clone(),
        ..replication::Config::new(config.database.connect.clone(), keys.clone())
    }
}

/// Every stream is a descriptor: takes as many as the machine lets us have.
fn raise_descriptor_limit() {
    let limit = getrlimit(Resource::Nofile);
    if limit.current < limit.maximum || limit.maximum.is_none() {
        let raised = Rlimit {
            current: limit.maximum,
            maximum: limit.maximum,
        };
        if let Err(error) = setrlimit(Resource::Nofile, raised) {
            tracing::warn!("the limit of descriptors cannot be raised: {error}");
        }
    }
}

/// Says how many streams the node can hold, and what keeps it from more.
fn say_capacity(config: &Config, engines: &Engines) -> Capacity {
    let machine = Machine::read();
    let plan = Plan::of(config, engines.kind(), engines.ports().len() as u64);
    let capacity = Capacity::of(&machine, &plan);
    match capacity.streams() < capacity::FEW {
        true => tracing::warn!("{capacity}"),
        false => tracing::info!("{capacity}"),
    }
    if let Some(short) = machine.short_backlog() {
        tracing::warn!("{short}; {}", capacity::BACKLOG_MEND);
    }
    capacity
}

fn milliseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

fn boot_error(what: &str, error: &dyn std::fmt::Display) -> BootError {
    BootError(format!("{what}: {error}"))
}
