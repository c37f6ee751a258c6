//! A script on a real engine: what each operation does, and what is known of everybody beside it.
//!
//! The rooms: `people` is what clients do, `asking` what is asked for and granted, `control` what is decided
//! about streams that are open, `log` what the replication thread hands over, `world` the engine's
//! contract, `notices` what control is told, `peace` how it ends.

mod asking;
mod control;
mod log;
mod notices;
mod peace;
mod people;
mod world;

use std::collections::{BTreeMap, BTreeSet};

use wire::{EventId, Keys, Lineage, Lsn};

use super::client::Client;
use super::kernel::Kernel;
use super::page::Page;
use super::past::Past;
use super::reached::Reached;
use super::script::{Operation, Script};
use super::structure;
use crate::{Config, Engine, Now, StreamPath, TicketOutcome, limits};
use control::Change;

/// How many turns in a row may leave something to do.
const TURNS_MAX: usize = 20_000;

const ORGANISATIONS: [&str; 3] = ["acme", "beta", "corp"];
const USERS: [&str; 4] = ["ada", "bob", "cyd", "dan"];

/// What the log may hold, in bytes.
const LOGS: [usize; 4] = [1 << 20, 2 << 10, 16 << 10, 128 << 10];
/// How many sends make a group.
const GROUPS: [usize; 4] = [limits::GROUP_MAX, 1, 2, 4];
/// How much time passes, in milliseconds.
const TIMES: [u64; 10] = [
    1, 10, 99, 1_000, 2_000, 5_000, 10_000, 26_000, 61_000, 600_000,
];

/// The engine, its world, and what is known of it.
pub(super) struct Play {
    engine: Engine,
    kernel: Kernel,
    keys: Keys,
    now: Now,
    heartbeat_ms: u64,
    idle_close_ms: u64,
    lineage: Lineage,
    /// The timelines that were left.
    left: Vec<(u32, Lsn)>,
    lsn: u64,
    /// The furthest that the server was ever said to have flushed.
    flushed: u64,
    /// How many frames of the transaction that has not ended there were.
    index: u32,
    /// The last transaction's time, in milliseconds since 1970.
    commit_ms: i64,
    /// When something was last committed, in milliseconds of the monotonic clock.
    last_commit_ms: u64,
    /// All that was handed over, and what is left of it.
    past: Past,
    next_descriptor: i32,
    clients: BTreeMap<i32, Client>,
    pages: BTreeMap<i32, Page>,
    /// Ids that clients ended with, and whose they were.
    last_ids: Vec<(usize, EventId)>,
    /// Grants that are counted and were handed over, and how many of them were given back.
    grants: BTreeMap<String, (usize, usize)>,
    /// Those that came too late, and are given back at once.
    late: Vec<String>,
    opened: BTreeSet<String>,
    ticket: u64,
    /// Tickets that were not answered yet: what was asked, of whom, and which answers there may be.
    tickets: BTreeMap<u64, (i32, Change, Vec<TicketOutcome>)>,
    /// How many events those had who are gone.
    delivered: u64,
    /// Turns were made until nothing was pending, and nothing has happened since.
    is_at_rest: bool,
    /// How much time has passed between turns that belong together since the last that left nothing to do, in
    /// milliseconds; and whether it ever was so much that who was not served meanwhile may be given up, as
    /// where the process stands still.
    restless_ms: u64,
    was_stopped: bool,
    reached: Reached,
}

impl Play {
    /// A world that begins as the first bytes of a script say.
    pub(super) fn new(script: &mut Script<'_>) -> Self {
        let (log, past, group) = (script.argument(), script.argument(), script.argument());
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
            kernel: Kernel {
                group: GROUPS[group % GROUPS.len()],
                now_ms: now.monotonic_ms,
                ..Kernel::default()
            },
            keys: Keys::new([7; 16]),
            now,
            heartbeat_ms: config.heartbeat_ms,
            idle_close_ms: config.idle_close_ms,
            past: Past::new(config.log_bytes_max, lineage.clone()),
            engine: Engine::new(config, now),
            lineage,
            left: Vec::new(),
            lsn: 0x100,
            flushed: 0,
            index: 0,
            commit_ms: 0,
            last_commit_ms: 0,
            next_descriptor: 3,
            clients: BTreeMap::new(),
            pages: BTreeMap::new(),
            last_ids: Vec::new(),
            grants: BTreeMap::new(),
            late: Vec::new(),
            opened: BTreeSet::new(),
            ticket: 0,
            tickets: BTreeMap::new(),
            delivered: 0,
            is_at_rest: false,
            restless_ms: 0,
            was_stopped: false,
            reached: Reached::default(),
        };
        play.engine.set_group(play.kernel.group);
        play.start(past % 8);
        play
    }

    pub(super) fn carry_out(&mut self, operation: Operation) {
        if self.engine.is_sweeping() {
            self.mark_while_sweeping(operation);
        }
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
            Operation::Flushed { ahead } => self.flush(ahead as u64 % 8),
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
            Operation::Page(terms) => self.ask_for_page(terms),
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
                let ms = TIMES[which % TIMES.len()];
                self.pass(ms);
                if !self.is_at_rest {
                    self.restless_ms += ms;
                    self.was_stopped |= self.restless_ms >= limits::LAST_WORDS_MS;
                    // What was committed is only sent now.
                    self.last_commit_ms = self.now.monotonic_ms;
                }
                self.turn();
            }
            Operation::Turn => drop(self.turn()),
            Operation::Verdict { connection, how } => self.judge(connection, how),
            Operation::Wall { which } => self.set_wall(which as u64),
            Operation::Bytes { connection, piece } => self.say(connection, piece),
            Operation::Settle => self.settle(),
            Operation::Overload => self.kernel.is_overloaded ^= true,
        }
        self.is_at_rest &= matches!(
            operation,
            Operation::Settle | Operation::Turn | Operation::Time { .. }
        );
    }

    /// Whether everything is as it has to be after each operation.
    pub(super) fn check(&mut self) {
        self.hear_notices();
        structure::check(&self.engine, &self.kernel, &self.past);
        let now_ms = self.now.monotonic_ms;
        for (descriptor, client) in &mut self.clients {
            let socket = self.kernel.sockets.get_mut(descriptor);
            let socket = socket.expect("a client has a socket");
            client.read_on(&socket.received, &self.past, now_ms);
            client.is_in_step &= !std::mem::take(&mut socket.was_short);
            if socket.short_ms.is_some() && client.is_told_half(&socket.received) {
                self.reached.mark("half a control event");
            }
            let heard = client.heard.drain(..);
            heard.for_each(|what| self.reached.mark(what));
            let is_silent = !socket.is_finished || client.has_ended();
            assert!(is_silent, "a stream ends with its last words");
        }
        for (descriptor, page) in &mut self.pages {
            let received = &self.kernel.sockets[descriptor].received;
            if let Some(what) = page.read(received, &self.past, now_ms) {
                self.reached.mark(what);
            }
        }
        if self.is_at_rest {
            self.check_rest();
        }
        self.check_closed();
        self.forget_closed();
    }

    /// What the script came to.
    pub(super) fn reached(self) -> Reached {
        self.reached
    }

    fn mark_while_sweeping(&mut self, operation: Operation) {
        self.reached.mark(match operation {
            Operation::Subscribe { .. } => "a subscription during a sweep",
            Operation::Open(_) => "a stream during a sweep",
            Operation::HangUp { .. } => "a hang-up during a sweep",
            Operation::Gap { .. } => "a gap during a sweep",
            Operation::Revoke { .. } => "a revocation during a sweep",
            Operation::Batch { .. } => "a commit during a sweep",
            _ => return,
        });
    }

    fn set_wall(&mut self, which: u64) {
        let step = 3_600_000 * (1 + which / 2 % 24);
        self.now.wall_ms = match which.is_multiple_of(2) {
            true => self.now.wall_ms.saturating_add(step),
            false => self.now.wall_ms.saturating_sub(step),
        };
        self.past.is_wall_true = false;
    }
}
