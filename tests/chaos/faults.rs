//! The kinds of faults, and the tally of those that were injected and those that could not be.

use std::collections::BTreeMap;
use std::fmt;
use std::io::Write as _;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// What can be done to a run, by the matrix of faults: A is PostgreSQL, B process and host, C clients and
/// network, D requests, F content, G publishing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Fault {
    /// A1, A3: every process of PostgreSQL is killed with -9.
    DatabaseKilled,
    /// A2: PostgreSQL is stopped fast, and starts again.
    DatabaseRestarted,
    /// A6: every process of PostgreSQL stands still.
    DatabasePaused,
    /// A2: no connection is left for anybody, and the walsenders are ended.
    DatabaseFull,
    /// A1: the walsenders are ended.
    WalsendersEnded,
    /// A13: a transaction of some thousand rows.
    LongTransaction,
    /// A8: what passes between a node and PostgreSQL is late.
    DatabaseLatency,
    /// A8: and comes in single bytes.
    DatabaseSlices,
    /// A7: one direction is closed.
    DatabaseHalfClose,
    /// A7: nothing passes, and nobody is told.
    DatabaseBlackhole,
    /// A7: every connection is reset.
    DatabaseReset,
    /// B1: a node is killed with -9.
    NodeKilled,
    /// B2: a node is asked to end, and starts again.
    NodeDrained,
    /// B9: a node stands still.
    NodePaused,
    /// B9: a node has a fifth of its processor's time.
    NodeStarved,
    /// B4: a node has no descriptors left.
    FewDescriptors,
    /// B5: a node has a limit of memory.
    LittleMemory,
    /// B7: nobody reads a node's log.
    UnreadLog,
    /// B8: a node's clock goes ten days forward, and back.
    ClockSteps,
    /// A8, C8: what passes between clients and a node is late.
    ClientLatency,
    /// C8: and comes in single bytes.
    ClientSlices,
    /// C2: one direction is closed.
    ClientHalfClose,
    /// C3: nothing passes, and nobody is told.
    ClientBlackhole,
    /// C5: every connection is reset.
    ClientReset,
    /// A8, C8: `tc tbf` lets half a megabit a second through.
    NarrowLink,
    /// C8: a firewall drops a fifth of the packets.
    LostPackets,
    /// C5: a firewall resets whoever sends.
    FirewallReset,
    /// C3: the link is down.
    LinkDown,
    /// C4: heads that come byte by byte.
    SlowHeads,
    /// C1, C2: streams that nobody reads.
    StalledReaders,
    /// C5, C6, C11: streams opened and reset, all at once, again and again.
    ReconnectStorm,
    /// G1: one publisher publishes as fast as it can.
    PublishFlood,
    /// D, F5, F7: hostile requests of every kind.
    HostileRequests,
}

impl fmt::Display for Fault {
    /// In small letters: `node killed`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (place, letter) in format!("{self:?}").chars().enumerate() {
            if letter.is_uppercase() && place > 0 {
                write!(f, " ")?;
            }
            write!(f, "{}", letter.to_ascii_lowercase())?;
        }
        Ok(())
    }
}

/// What was done, and what was not and why.
#[derive(Default)]
pub(crate) struct Tally {
    injected: Mutex<BTreeMap<Fault, u64>>,
    skipped: Mutex<BTreeMap<Fault, String>>,
}

impl Tally {
    /// It was done once more.
    pub(crate) fn injected(&self, fault: Fault) {
        *locked(&self.injected).entry(fault).or_default() += 1;
    }

    /// It cannot be done on this machine. Said aloud at once, and again in the table.
    pub(crate) fn skipped(&self, fault: Fault, why: &str) {
        if locked(&self.skipped)
            .insert(fault, why.to_owned())
            .is_none()
        {
            skipped(&fault.to_string(), why);
        }
    }

    /// How often each was done.
    pub(crate) fn counts(&self) -> BTreeMap<Fault, u64> {
        locked(&self.injected).clone()
    }

    /// Which could not be done, and why.
    pub(crate) fn skips(&self) -> BTreeMap<Fault, String> {
        locked(&self.skipped).clone()
    }
}

/// Says that something cannot be tried on this machine.
pub(crate) fn skipped(what: &str, why: &str) {
    tell(&format!("SKIPPED: {what}: {why}"));
}

/// Tells whoever runs the tests, also where the harness keeps what a test prints that passes.
pub(crate) fn tell(line: &str) {
    // Where nobody listens there is nobody to tell.
    let _ = writeln!(std::io::stderr(), "{line}");
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
