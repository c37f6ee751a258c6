//! A script on a real engine: what each operation does, and what is known of everybody beside it.
//!
//! The rooms: `people` is what clients do and what control decides about them, `log` what the
//! replication thread hands over, `world` the engine's contract.

mod log;
mod people;
mod world;

use std::collections::{BTreeMap, BTreeSet};

use wire::{EventId, Frame, Key, Keys, Lineage, Lsn, Name};

use super::client::{Came, Client, Reader};
use super::kernel::{Kernel, Socket};
use super::page::Page;
use super::script::{Operation, Terms};
use super::structure;
use crate::{Command, Config, Engine, Now, StreamPath};

/// How many sockets are held at most.
const SOCKETS_MAX: usize = 40;

/// How many turns in a row may leave something to do.
const TURNS_MAX: usize = 20_000;

const ORGANISATIONS: [&str; 3] = ["acme", "beta", "corp"];
const USERS: [&str; 4] = ["ada", "bob", "cyd", "dan"];
const CHANNELS: [&str; 3] = ["property", "notes", "alerts"];

/// What the log may hold, in bytes.
const LOGS: [usize; 4] = [1 << 20, 2 << 10, 16 << 10, 128 << 10];
/// How many bytes of data an event has.
const SIZES: [usize; 8] = [0, 10, 100, 300, 1_000, 4_000, 20_000, 70_000];
/// How much a socket takes.
const ROOMS: [Option<usize>; 8] = [
    None,
    Some(0),
    Some(1),
    Some(7),
    Some(100),
    Some(1_000),
    Some(30_000),
    None,
];
/// How much time passes, in milliseconds.
const TIMES: [u64; 10] = [
    1, 10, 99, 1_000, 2_000, 5_000, 10_000, 26_000, 61_000, 600_000,
];

/// What somebody says, a piece at a time.
const PIECES: [&[u8]; 10] = [
    b"GET /stream HTTP/1.1\r\nhost: a\r\n\r\n",
    b"GET /stream HT",
    b"TP/1.1\r\nhost: a\r\n\r\n",
    b"POST /publish HTTP/1.1\r\nhost: a\r\ncontent-length: 5\r\n\r\nhel",
    b"lo",
    b"\r\n",
    b"",
    b"GET / HTTP/1.1\r\nhost: a\r\nhost: b\r\n\r\n",
    b"PUT /s HTTP/1.1\r\nhost: a\r\ncontent-length: 2\r\nexpect: 100-continue\r\n\r\n",
    b"GET /s?lastEventId=e.1.1.1 HTTP/1.1\r\nhost: a\r\n\r\n",
];

/// The engine, its world, and what is known of it.
pub(super) struct Play {
    engine: Engine,
    kernel: Kernel,
    keys: Keys,
    now: Now,
    lineage: Lineage,
    /// The timelines that were left.
    left: Vec<(u32, Lsn)>,
    lsn: u64,
    /// How many frames of the transaction that has not ended there were.
    index: u32,
    /// All frames ever committed.
    committed: Vec<Frame>,
    next_descriptor: i32,
    clients: BTreeMap<i32, Client>,
    pages: BTreeMap<i32, Page>,
    /// Ids that clients ended with, and whose they were.
    last_ids: Vec<(usize, EventId)>,
    /// Grants that are counted and were handed over, and how many of them were given back.
    grants: BTreeMap<String, (usize, usize)>,
    opened: BTreeSet<String>,
    ticket: u64,
    /// Tickets that were not answered yet: what is to come of a renewal that is done.
    tickets: BTreeMap<u64, Option<(i32, Key)>>,
}

impl Play {
    /// A world with a log of this size, that begins with so much of the past.
    pub(super) fn new(log: usize, past: usize) -> Self {
        let now = Now {
            monotonic_ms: 1_000,
            micros: 0,
            wall_ms: 1_700_000_000_000,
        };
        let config = Config {
            engine: 0,
            boot: 0xb007,
            seed: [0; 16],
            streams: vec![StreamPath {
                path: "/stream".to_owned(),
                soft_refusal: true,
            }],
            heartbeat_ms: 25_000,
            log_bytes_max: LOGS[log % LOGS.len()],
            reset_spread_ms: 10_000,
            idle_close_ms: if log.is_multiple_of(3) { 0 } else { 120_000 },
            resume_wait_ms: 15_000,
        };
        let lineage = Lineage::new(0xe, Vec::new(), 1);
        let mut play = Self {
            engine: Engine::new(config, now),
            kernel: Kernel::default(),
            keys: Keys::new([7; 16]),
            now,
            lineage,
            left: Vec::new(),
            lsn: 0x100,
            index: 0,
            committed: Vec::new(),
            next_descriptor: 3,
            clients: BTreeMap::new(),
            pages: BTreeMap::new(),
            last_ids: Vec::new(),
            grants: BTreeMap::new(),
            opened: BTreeSet::new(),
            ticket: 0,
            tickets: BTreeMap::new(),
        };
        play.start(past % 8);
        play
    }

    pub(super) fn carry_out(&mut self, operation: Operation) {
        match operation {
            Operation::Accept => drop(self.accept()),
            Operation::Batch {
                count,
                audience,
                channel,
                size,
            } => self.commit(count, audience, channel, size),
            Operation::Close {
                connection,
                how,
                reason,
            } => self.close(connection, how, reason),
            Operation::CloseAll { seconds } => self.close_all(seconds as u64 % 10),
            Operation::Flushed { ahead } => {
                let lsn = Lsn(self.lsn + 16 * (ahead as u64 % 8));
                self.command(Command::Flushed(lsn));
            }
            Operation::Break { connection } => {
                if let Some(socket) = self.any_socket(connection) {
                    socket.is_broken = true;
                }
            }
            Operation::Gap { reason } => self.miss_changes(reason),
            Operation::HangUp { connection, how } => self.hang_up(connection, how),
            Operation::Extend { user, seconds } => self.extend(user, seconds),
            Operation::Progress { steps } => self.progress(1 + steps as u64 % 8),
            Operation::LateGrant { connection } => self.grant_late(connection),
            Operation::Room { connection, room } => self.make_room(connection, room),
            Operation::Renew {
                connection,
                user,
                seconds,
            } => self.renew(connection, user, seconds),
            Operation::Open(terms) => self.open(terms),
            Operation::Page {
                who,
                since,
                filter,
                wait,
            } => self.ask_for_page(who, since, filter, wait),
            Operation::Restart { ahead } => self.start(ahead % 8),
            Operation::Revoke {
                scope,
                user,
                organisation,
            } => self.revoke(scope, user, organisation),
            Operation::Subscribe {
                connection,
                how,
                channel,
            } => self.subscribe(connection, how, channel),
            Operation::Time { which } => {
                self.pass(TIMES[which % TIMES.len()]);
                self.turn();
            }
            Operation::Turn => drop(self.turn()),
            Operation::Verdict { connection, how } => self.judge(connection, how),
            Operation::Wall { which } => {
                let step = 3_600_000 * (1 + which as u64 / 2 % 24);
                self.now.wall_ms = match which.is_multiple_of(2) {
                    true => self.now.wall_ms.saturating_add(step),
                    false => self.now.wall_ms.saturating_sub(step),
                };
            }
            Operation::Bytes { connection, piece } => self.say(connection, piece),
            Operation::Settle => self.settle(),
            Operation::Overload => self.kernel.is_overloaded ^= true,
        }
    }

    /// Whether everything is as it has to be after each operation.
    pub(super) fn check(&mut self) {
        self.hear_notices();
        structure::check(&self.engine, &self.kernel);
        for (descriptor, client) in &mut self.clients {
            let received = &self.kernel.sockets[descriptor].received;
            client.read_on(received, &self.committed);
        }
        for (descriptor, page) in &mut self.pages {
            let received = &self.kernel.sockets[descriptor].received;
            page.read(received, &self.committed);
        }
        self.forget_closed();
    }

    /// From here on everybody reads, the server answers, and the past ends.
    pub(super) fn become_peaceful(&mut self) {
        self.kernel.is_overloaded = false;
        let open: Vec<i32> = self.open_descriptors();
        for descriptor in open {
            let socket = self.kernel.sockets.get_mut(&descriptor);
            let socket = socket.expect("it is open");
            if std::mem::take(&mut socket.is_broken) {
                // That it was broken is found now.
                socket.is_broken = true;
                self.report_hang_up(descriptor);
                continue;
            }
            self.give_room(descriptor, None);
        }
        self.settle();
        // Beyond every place that anybody named, and every one at which the past ends.
        self.progress(32);
        self.command(Command::Flushed(Lsn(self.lsn)));
        self.settle();
        // Long enough for the resets of a gap.
        for _ in 0..5 {
            self.pass(4_000);
            self.settle();
        }
        self.check();
    }

    /// Whoever is still there has everything.
    pub(super) fn check_nothing_is_missing(&mut self) {
        for (descriptor, client) in &self.clients {
            let socket = &self.kernel.sockets[descriptor];
            if !socket.is_finished && socket.is_open() && !client.has_ended() {
                client.check_is_complete(&self.committed);
            }
        }
    }

    /// Everybody leaves, one way or another.
    pub(super) fn leave(&mut self) {
        self.close_all(1);
        for _ in 0..10 {
            self.pass(6_000);
            self.settle();
        }
        self.check();
        for descriptor in self.open_descriptors() {
            self.report_hang_up(descriptor);
        }
        self.settle();
        self.turn();
        self.check();
    }

    /// Every table is empty, and every debt is paid.
    pub(super) fn check_nothing_is_left(&mut self) {
        let counters = self.engine.counters();
        let held = (counters.connections, counters.streams, counters.behind);
        assert_eq!(held, (0, 0, 0), "nothing is left");
        assert!(self.engine.classes.is_empty() && self.engine.held.is_empty());
        assert!(self.tickets.is_empty(), "a ticket was not answered");
        for (connection, (handed_over, given_back)) in &self.grants {
            assert_eq!(handed_over, given_back, "the grants of {connection}");
        }
        assert!(self.opened.is_empty(), "what was opened was closed");
    }
}

/// A name that is one.
fn name(text: &str) -> Name {
    Name::new(text).expect("a plain word")
}
