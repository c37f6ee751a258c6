//! What the control thread, the router and the node's owner know of the node's state.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use driver::{Kind, Port};
use engine::Counters;
use wire::http::RefusalCode;

use crate::capacity::Capacity;
use crate::logs;
use crate::metrics::{self, IdentityCounts, Snapshot};
use crate::replication_thread::Feed;

/// How far behind the newest commit the node may be and still call itself ready, in seconds.
const LAG_S_MAX: f64 = 30.0;

/// The node's state, for whoever asks.
pub(crate) struct Shared {
    pub(crate) feed: Feed,
    pub(crate) ports: Vec<Port>,
    pub(crate) kind: Kind,
    capacity: Capacity,
    is_draining: AtomicBool,
    /// Why nobody can be told who they are, if so.
    trouble: Mutex<Option<String>>,
    pub(super) identity: IdentityCounts,
    refusals: [AtomicU64; RefusalCode::ALL.len()],
    pub(super) log_span_ms: AtomicU64,
    pub(super) lines_skipped: AtomicU64,
}

impl Shared {
    pub(crate) fn new(feed: Feed, ports: Vec<Port>, kind: Kind, capacity: Capacity) -> Self {
        Self {
            feed,
            ports,
            kind,
            capacity,
            is_draining: AtomicBool::new(false),
            trouble: Mutex::new(None),
            identity: IdentityCounts::default(),
            refusals: [const { AtomicU64::new(0) }; RefusalCode::ALL.len()],
            log_span_ms: AtomicU64::new(0),
            lines_skipped: AtomicU64::new(0),
        }
    }

    /// From now on nobody is let in.
    pub(crate) fn begin_drain(&self) {
        self.is_draining.store(true, Ordering::Release);
    }

    pub(crate) fn is_draining(&self) -> bool {
        self.is_draining.load(Ordering::Acquire)
    }

    /// Whether the node is caught up with the WAL and able to authorise; else why not.
    ///
    /// # Errors
    ///
    /// What it waits for.
    pub(crate) fn readiness(&self) -> Result<(), String> {
        if self.is_draining() {
            return Err("the node is about to stop".to_owned());
        }
        let feed = self.feed.status();
        if !feed.ready {
            return Err(feed
                .reason
                .unwrap_or_else(|| "reading the write-ahead log".to_owned()));
        }
        if feed.lag_seconds > LAG_S_MAX {
            return Err(format!(
                "reading the write-ahead log: {:.0} s behind",
                feed.lag_seconds
            ));
        }
        let trouble = self.trouble.lock().unwrap_or_else(PoisonError::into_inner);
        trouble.as_ref().map_or(Ok(()), |why| Err(why.clone()))
    }

    pub(super) fn set_trouble(&self, why: Option<String>) {
        *self.trouble.lock().unwrap_or_else(PoisonError::into_inner) = why;
    }

    pub(super) fn count_refusal(&self, code: RefusalCode) {
        self.refusals[code.index()].fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn counters(&self) -> Vec<Counters> {
        self.ports.iter().map(Port::counters).collect()
    }

    /// The metrics page.
    pub(super) fn metrics(&self) -> String {
        let engines = self.counters();
        let refusals = std::array::from_fn(|index| self.refusals[index].load(Ordering::Relaxed));
        metrics::render(&Snapshot {
            engines: &engines,
            feed: &self.feed.status(),
            identity: &self.identity,
            refusals: &refusals,
            is_ready: self.readiness().is_ok(),
            driver: self.kind.as_str(),
            capacity: &self.capacity,
            log_span_ms: self.log_span_ms.load(Ordering::Relaxed),
            log_lines_skipped: self.lines_skipped.load(Ordering::Relaxed),
            log_lines_lost: logs::lines_lost(),
        })
    }
}
