//! What the processes of nodes hold, as proc(5) has it: memory and descriptors.

use std::sync::atomic::{AtomicI32, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use crate::stage::Stage;
use crate::support::process::Pid;
use crate::support::{Node, becomes_true};

/// How many descriptors a node may hold at the end beyond those it had at the beginning: connections to
/// PostgreSQL that it has opened since.
pub(crate) const DESCRIPTORS_MORE: usize = 6;

/// How long those of ended connections may be held: who is gone without a word is found out after 30 s.
const CLOSING_MAX: Duration = Duration::from_secs(60);

/// How often a node is looked at.
const GLANCE: Duration = Duration::from_millis(200);

/// What a process holds.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Held {
    /// Bytes of memory that it has now.
    pub(crate) memory: u64,
    /// The most that it has ever had.
    pub(crate) memory_max: u64,
    pub(crate) descriptors: usize,
}

impl Held {
    /// What this process holds, if there is one.
    pub(crate) fn by(process: i32) -> Option<Self> {
        Pid::from_raw(process)?;
        let status = std::fs::read_to_string(format!("/proc/{process}/status")).ok()?;
        let bytes = |name: &str| -> Option<u64> {
            let line = status.lines().find_map(|line| line.strip_prefix(name))?;
            let kilobytes: u64 = line.trim().strip_suffix(" kB")?.trim().parse().ok()?;
            Some(kilobytes * 1_024)
        };
        let descriptors = std::fs::read_dir(format!("/proc/{process}/fd")).ok()?;
        Some(Self {
            memory: bytes("VmRSS:")?,
            memory_max: bytes("VmHWM:")?,
            descriptors: descriptors.count(),
        })
    }
}

/// What the nodes of a run hold.
pub(crate) struct Usage {
    /// Their processes, or 0 while there is none.
    pub(crate) processes: Vec<AtomicI32>,
    /// The most memory that any of them ever had, in bytes.
    pub(crate) memory_max: AtomicU64,
    /// The descriptors of each before the first client came.
    descriptors_before: Vec<usize>,
    /// The most that were left of any of them, beyond those.
    pub(crate) descriptors_more: AtomicUsize,
    /// How long the process lived that lived longest.
    life_max: Mutex<Duration>,
}

impl Usage {
    /// Of these nodes, before the first client.
    pub(crate) fn new(nodes: &mut [Node]) -> Self {
        let process = |node: &mut Node| node.process().id().as_raw_nonzero().get();
        let descriptors = |node: &mut Node| node.process().descriptors();
        Self {
            descriptors_before: nodes.iter_mut().map(descriptors).collect(),
            processes: nodes
                .iter_mut()
                .map(|node| AtomicI32::new(process(node)))
                .collect(),
            memory_max: AtomicU64::new(0),
            descriptors_more: AtomicUsize::new(0),
            life_max: Mutex::new(Duration::ZERO),
        }
    }

    /// Looks at the nodes for as long as this is so, and once more.
    pub(crate) fn watch(&self, goes_on: impl Fn() -> bool) {
        let mut lives = vec![(0, Instant::now()); self.processes.len()];
        let mut life_max = Duration::ZERO;
        loop {
            let is_last = !goes_on();
            for (process, (known, since)) in self.processes.iter().zip(&mut lives) {
                let process = process.load(Ordering::Relaxed);
                if process != *known {
                    (*known, *since) = (process, Instant::now());
                }
                if let Some(held) = Held::by(process) {
                    self.memory_max
                        .fetch_max(held.memory_max, Ordering::Relaxed);
                    life_max = life_max.max(since.elapsed());
                }
            }
            if is_last {
                break;
            }
            thread::sleep(GLANCE);
        }
        *self.life_max.lock().unwrap_or_else(PoisonError::into_inner) = life_max;
    }

    /// How long one process was seen to live at the most.
    pub(crate) fn life_max(&self) -> Duration {
        *self.life_max.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until no more descriptors are held than before, and notes how many are.
    pub(crate) fn wait_for_descriptors(&self, stage: &Stage) {
        let more = || {
            let now = self.processes.iter().zip(&self.descriptors_before);
            let more = now.map(|(process, before)| {
                let held = Held::by(process.load(Ordering::Relaxed));
                held.map_or(usize::MAX, |held| held.descriptors.saturating_sub(*before))
            });
            more.max().unwrap_or(usize::MAX)
        };
        let limit = if stage.is_broken_off() {
            Duration::ZERO
        } else {
            CLOSING_MAX
        };
        becomes_true(limit, || more() <= DESCRIPTORS_MORE);
        self.descriptors_more.store(more(), Ordering::Relaxed);
    }
}
