//! What happens next, in virtual time.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use crate::time::Time;

/// Something that happens. Whatever belongs to one start of a node names it, so that what was meant
/// for a node that was killed does not reach its successor.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Event {
    /// An engine's thread has its turn.
    Core {
        /// The node.
        node: u32,
        /// Its start.
        boot: u32,
        /// The engine.
        core: u32,
    },
    /// The replication thread has its turn.
    Replication {
        /// The node.
        node: u32,
        /// Its start.
        boot: u32,
    },
    /// The control thread has its turn.
    Control {
        /// The node.
        node: u32,
        /// Its start.
        boot: u32,
    },
    /// An attempt to connect to the database has come to its end.
    Dialled {
        /// The node.
        node: u32,
        /// Its start.
        boot: u32,
        /// Which line, by its number.
        line: u8,
    },
    /// Bytes arrive at one of the ends of a line.
    Line {
        /// The node.
        node: u32,
        /// Its start.
        boot: u32,
        /// Which line, by its number.
        line: u8,
    },
    /// The database does what is due.
    Database,
    /// Somebody writes.
    Application,
    /// Something befalls the database.
    DatabaseFault(u8),
    /// Something befalls a node.
    NodeFault {
        /// The node.
        node: u32,
        /// What.
        which: NodeFault,
    },
    /// A node that is to end has let balancers know of it for long enough: its streams are told.
    Farewell {
        /// The node.
        node: u32,
        /// Its start.
        boot: u32,
    },
    /// A node that was told to end has ended.
    Stopped {
        /// The node.
        node: u32,
        /// Its start.
        boot: u32,
    },
    /// A node starts.
    Boot {
        /// The node.
        node: u32,
    },
    /// The server finds out that nobody is at the other end of a line any more.
    Severed {
        /// The line, as the database names it.
        line: u32,
    },
    /// Somebody puts out whom a client is of.
    Oust {
        /// The client.
        client: u32,
    },
    /// A client decides what it does next.
    Client {
        /// The client.
        client: u32,
    },
    /// A client reads.
    Read {
        /// The connection.
        connection: u32,
    },
    /// What a client did arrives at its node.
    Arrive {
        /// The connection.
        connection: u32,
    },
}

/// What may befall a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum NodeFault {
    /// It is killed with -9.
    Kill,
    /// It is told to end, and does in order.
    Drain,
    /// Its clock is set, forward or back.
    Clock,
    /// It is told to end, since it has fallen behind.
    Replace,
}

impl NodeFault {
    /// Everything that may, whatever befalls others.
    pub const ALL: [Self; 3] = [Self::Kill, Self::Drain, Self::Clock];
}

/// The events to come, in the order of their times; those of one time in the order in which they were
/// put in.
#[derive(Debug, Default)]
pub struct Queue {
    heap: BinaryHeap<Reverse<(Time, u64, Event)>>,
    count: u64,
}

impl Queue {
    /// Something will happen.
    pub fn push(&mut self, at: Time, event: Event) {
        self.heap.push(Reverse((at, self.count, event)));
        self.count += 1;
    }

    /// What happens next, and when.
    pub fn pop(&mut self) -> Option<(Time, Event)> {
        let Reverse((at, _, event)) = self.heap.pop()?;
        Some((at, event))
    }

    /// When something happens next.
    pub fn next(&self) -> Option<Time> {
        self.heap.peek().map(|Reverse((at, _, _))| *at)
    }
}
