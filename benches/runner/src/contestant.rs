//! What every server under measurement is to the experiments, whoever wrote it: how it is started,
//! where its streams are, and how events reach it.
//!
//! The servers themselves are in `contestants`, one a file.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::str::FromStr;

use anyhow::{Result, bail};
use swarm::{Layout, Marker, Target};

use crate::cores::Cores;
use crate::process::Process;

/// A server that can be measured.
pub(crate) trait Contestant: Sync {
    /// Its name in tables, files and on the command line.
    fn name(&self) -> &'static str;

    /// What it is to us.
    fn kind(&self) -> Kind;

    /// The drivers it can be asked to run on; none where there is no choice.
    fn drivers(&self) -> &'static [Driver] {
        &[]
    }

    /// Those of them that `--quick` measures.
    fn quick_drivers(&self) -> &'static [Driver] {
        self.drivers()
    }

    /// Whether `--quick` measures it: some of the peers are only in the full run.
    fn is_quick(&self) -> bool {
        matches!(self.kind(), Kind::Ours | Kind::Floor)
    }

    /// Whether it reads a database that is started with it.
    fn has_database(&self) -> bool {
        false
    }

    /// Starts it and waits until it can be asked for streams. The error is the reason that stands in
    /// its cell.
    fn start(&self, setting: &Setting) -> Result<Running>;
}

/// What a contestant is to us.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Tailrace.
    Ours,
    /// A bare loop written for the purpose: what the kernel alone costs.
    Floor,
    /// Somebody else's product.
    Peer,
    /// A plain server of ours in somebody else's world.
    Reference,
}

/// What carries Tailrace's sockets.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Driver {
    Uring,
    Epoll,
}

impl Driver {
    /// Both, for contestants that have the choice.
    pub(crate) const BOTH: &'static [Self] = &[Self::Uring, Self::Epoll];

    /// As the command lines spell it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Uring => "uring",
            Self::Epoll => "epoll",
        }
    }
}

impl fmt::Display for Driver {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.name())
    }
}

impl FromStr for Driver {
    type Err = anyhow::Error;

    fn from_str(name: &str) -> Result<Self> {
        match name {
            "uring" => Ok(Self::Uring),
            "epoll" => Ok(Self::Epoll),
            _ => bail!("no such driver: {name:?}"),
        }
    }
}

/// What a server is started for.
#[derive(Clone, Debug)]
pub(crate) struct Setting {
    /// How many streams will be opened at most.
    pub(crate) streams: u32,
    /// Which organisation each stream is of.
    pub(crate) layout: Layout,
    /// How many engine threads it may have.
    pub(crate) threads: usize,
    /// What carries its sockets, where it has the choice.
    pub(crate) driver: Option<Driver>,
    /// How long an event shall be as a whole SSE block, in bytes.
    pub(crate) block_bytes: usize,
    /// How users are known, where the contestant checks that.
    pub(crate) sessions: Sessions,
    /// How many bytes of events may be kept for those who come back, where the contestant keeps some.
    pub(crate) log_bytes: u64,
    /// Where it may run.
    pub(crate) cores: Cores,
    /// An empty directory for its files, which goes when the cell is done.
    pub(crate) directory: PathBuf,
    /// Where `benches/peers/install` puts what no package has.
    pub(crate) peers: PathBuf,
}

/// How users are known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Sessions {
    /// By a token signed with HS256, as a bearer.
    Tokens,
    /// By a cookie whose value is in a table of sessions.
    Rows,
}

/// A server that runs. It ends when this value goes.
pub(crate) struct Running {
    /// The server: the CPU and memory of these and of their children are its own.
    pub(crate) server: Vec<Process>,
    /// What it needs beside itself, such as PostgreSQL: reported apart.
    pub(crate) beside: Vec<Process>,
    /// Processes of the server, or beside it, that something else started and ends.
    pub(crate) foreign: Foreign,
    /// What the swarm asks for.
    pub(crate) target: Target,
    /// The place before the first event of any organisation, where streams can name it that were never
    /// there.
    pub(crate) beginning: Option<&'static str>,
    /// How events reach it.
    pub(crate) publisher: Box<dyn Publisher>,
    /// The version, for the report.
    pub(crate) version: String,
    /// How it was configured, in words and settings, for the report.
    pub(crate) configuration: String,
    /// The database that it reads, where there is one.
    pub(crate) database: Option<Database>,
    /// Where it tells its metrics, and the whole line of the request's head that admits one.
    pub(crate) metrics: Option<(SocketAddr, String)>,
    /// What else has to live as long, such as a directory; dropped last.
    pub(crate) keep: Vec<Box<dyn std::any::Any>>,
}

/// A database, for experiments that look at the same commits in another way.
#[derive(Clone, Debug)]
pub(crate) struct Database {
    /// For its superuser.
    pub(crate) url: String,
    /// Where PostgreSQL's programs are.
    pub(crate) binaries: PathBuf,
    /// The publication that the server reads.
    pub(crate) publication: String,
}

/// Process numbers whose owner is not the runner.
#[derive(Clone, Debug, Default)]
pub(crate) struct Foreign {
    pub(crate) server: Vec<u32>,
    pub(crate) beside: Vec<u32>,
}

impl Running {
    /// A server of one process with nothing beside it, of which nothing is said yet.
    pub(crate) fn new(
        server: Process,
        target: Target,
        publisher: impl Publisher + 'static,
    ) -> Self {
        Self {
            server: vec![server],
            beside: Vec::new(),
            foreign: Foreign::default(),
            target,
            beginning: None,
            publisher: Box::new(publisher),
            version: String::new(),
            configuration: String::new(),
            database: None,
            metrics: None,
            keep: Vec::new(),
        }
    }

    /// The roots of the server's processes.
    pub(crate) fn server_ids(&self) -> Vec<u32> {
        self.server
            .iter()
            .map(Process::id)
            .chain(self.foreign.server.iter().copied())
            .collect()
    }

    /// The roots of the processes beside it.
    pub(crate) fn beside_ids(&self) -> Vec<u32> {
        self.beside
            .iter()
            .map(Process::id)
            .chain(self.foreign.beside.iter().copied())
            .collect()
    }

    /// An error if a process has ended that should still run.
    pub(crate) fn check(&mut self) -> Result<()> {
        for process in self.server.iter_mut().chain(&mut self.beside) {
            if let Some(how) = process.ended() {
                bail!("{how} during the measurement");
            }
        }
        Ok(())
    }
}

/// Hands events to a server.
pub(crate) trait Publisher: Send {
    /// Hands over a tick's worth of events, in order. May wait for the server to take them, but not
    /// for their delivery.
    fn publish(&mut self, events: &[Event]) -> io::Result<()>;

    /// Waits until the server has answered whatever was handed over.
    fn settle(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// One event: where it goes, and what the swarm knows it by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Event {
    /// The number of its organisation.
    pub(crate) organisation: u32,
    /// Its number within the organisation, from 1.
    pub(crate) sequence: u64,
    /// When it was due, by CLOCK_MONOTONIC in nanoseconds.
    pub(crate) at: u64,
}

impl Event {
    /// Appends so many bytes of text (or more, where the marker alone is longer), in which the swarm
    /// finds the event: letters, digits and `@,:-`, so that it needs no escape in JSON or SQL.
    pub(crate) fn write_text(&self, bytes: usize, text: &mut Vec<u8>) {
        use io::Write as _;
        let start = text.len();
        let Self {
            organisation,
            sequence,
            at: time,
        } = *self;
        let marker = Marker {
            time,
            organisation,
            sequence,
        };
        write!(text, "{marker}").expect("a vector takes everything");
        let end = text.len().max(start + bytes);
        text.resize(end, b'x');
    }

    /// Appends a whole SSE block of so many bytes: `data: ` and a JSON object.
    pub(crate) fn write_block(&self, bytes: usize, block: &mut Vec<u8>) {
        const HEAD: &[u8] = b"data: {\"text\":\"";
        const TAIL: &[u8] = b"\"}\n\n";
        block.extend_from_slice(HEAD);
        self.write_text(bytes.saturating_sub(HEAD.len() + TAIL.len()), block);
        block.extend_from_slice(TAIL);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_block_has_the_length_that_was_asked_for_and_its_marker_whole() {
        let event = Event {
            organisation: 12,
            sequence: 345,
            at: 6_789_000_000,
        };
        let mut block = Vec::new();
        event.write_block(300, &mut block);
        assert_eq!(block.len(), 300);
        let text = String::from_utf8(block).unwrap();
        assert!(
            text.starts_with("data: {\"text\":\"@6789000000,12,345@xxx"),
            "{text}"
        );
        assert!(text.ends_with("xxx\"}\n\n"), "{text}");
    }

    #[test]
    fn a_block_too_short_for_its_marker_still_holds_it() {
        let event = Event {
            organisation: 1,
            sequence: 2,
            at: 3,
        };
        let mut block = Vec::new();
        event.write_block(4, &mut block);
        assert_eq!(block, b"data: {\"text\":\"@3,1,2@\"}\n\n");
    }
}
