//! The engine's face and its state: what it is told, and the order in which it works.
//!
//! The verbs are elsewhere: `request` reads, `admit` opens streams, `intake` takes batches, `sweep`
//! and `catch_up` send, `step` moves connections between the two, `deadlines` and `pacing` do what
//! time asks for, `session` and `subscription` change streams that are open, `closing` ends.

use std::collections::{BTreeMap, VecDeque};

use slab::Slab;
use wire::{Batch, EventId, Lineage};

use crate::admit::HeldStream;
use crate::answers::SharedAnswer;
use crate::behind::Behind;
use crate::catch_up::Scratch;
use crate::class::{Class, Sweep};
use crate::filters::Filters;
use crate::inputs::Inputs;
use crate::log::{Log, Reading};
use crate::pacing::Pace;
use crate::planted::DEADLINE_IN_WRITE_PATH;
use crate::queues::Queues;
use crate::record::NONE;
use crate::responses::Responses;
use crate::session::Quiet;
use crate::sweep::EndedSweep;
use crate::table::Table;
use crate::users::Users;
use crate::{Command, Config, Counters, Driver, Handle, Next, Notice, Now, limits};

/// The core: connections, topics, log, sweeps and timers of one thread.
///
/// Methods named `handle_…` take what happened; [`Engine::turn`] does a bounded piece of what is
/// pending. The crate's page says in which order they are called.
#[derive(Debug)]
pub struct Engine {
    pub(crate) config: Config,
    pub(crate) table: Table,
    pub(crate) users: Users,
    pub(crate) inputs: Inputs,
    pub(crate) responses: Responses,
    pub(crate) behind: Slab<Behind>,
    pub(crate) log: Log,
    pub(crate) classes: Slab<Class>,
    pub(crate) filters: Filters,
    /// Classes that belong to no organisation's topic.
    pub(crate) unrooted: Vec<u32>,
    pub(crate) source: Option<Source>,
    /// Dirty classes.
    pub(crate) queues: Queues,
    /// No class can be too far behind before so many bytes, in all, have been appended to the log.
    pub(crate) intake_open_until: u64,
    /// The class that left least room when that was last looked at.
    pub(crate) intake_tightest: u32,
    /// How many sends make a group.
    pub(crate) group: usize,
    /// Grants that were carried out since the last turn.
    pub(crate) admitted: usize,
    /// Slots of connections that are behind and may be sent to.
    pub(crate) ready: VecDeque<u32>,
    /// Streams that wait for a position this engine has not reached, by position and slot.
    pub(crate) held: BTreeMap<(EventId, u32), HeldStream>,
    /// The position that each of them waits for, by slot.
    pub(crate) held_for: BTreeMap<u32, EventId>,
    /// `Notice::Held` was said and not yet answered.
    pub(crate) has_asked_flushed: bool,
    pub(crate) pace: Option<Pace>,
    pub(crate) quiet: Quiet,
    pub(crate) scan: Scan,
    /// Sweeps that ended in the last turn: counted when the clock has been read after their last send.
    pub(crate) ended_sweeps: Vec<EndedSweep>,
    /// Room for the classes that a frame concerns.
    pub(crate) concerned: Vec<u32>,
    /// Sweeps that ended, to be used again.
    #[expect(
        clippy::vec_box,
        reason = "one goes into its class and back without a copy and without another allocation"
    )]
    pub(crate) spare_sweeps: Vec<Box<Sweep>>,
    /// Where what is sent to connections that are behind is put together.
    pub(crate) scratch: Scratch,
    /// What was last answered to a page that waited.
    pub(crate) shared_answer: Option<SharedAnswer>,
    /// What the control thread is told at the end of the turn.
    pub(crate) notices: Vec<Notice>,
    pub(crate) counters: Counters,
}

/// What is known of the stream of changes.
#[derive(Clone, Debug)]
pub(crate) struct Source {
    pub(crate) lineage: Lineage,
    /// What lies before it is not in any log here.
    pub(crate) floor: EventId,
    /// Everything up to here is in the log, or was.
    pub(crate) applied: EventId,
    /// Nothing before the floor was committed later than this, in milliseconds since 1970.
    pub(crate) floor_ms: i64,
    /// No event has come since the start or the gap.
    pub(crate) is_fresh: bool,
    /// Up to here it is the past that is read: whoever does not go on from a place in it waits.
    pub(crate) caught_up: EventId,
}

/// The walk over the deadlines.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Scan {
    /// The next slot to look at, while a walk is under way.
    pub(crate) at: Option<u32>,
    /// When the next walk begins.
    pub(crate) next_ms: u64,
    /// When the last turn was.
    pub(crate) turned_ms: u64,
    /// A walk was put off, and none has come to its end since.
    pub(crate) is_put_off: bool,
}

impl Engine {
    /// An engine that has no connection, and opens no stream before its first `Batch::Start`.
    pub fn new(config: Config, now: Now) -> Self {
        Self {
            table: Table::new(config.boot, config.engine),
            users: Users::default(),
            inputs: Inputs::default(),
            responses: Responses::default(),
            behind: Slab::new(),
            log: Log::new(config.log_bytes_max),
            classes: Slab::new(),
            filters: Filters::default(),
            unrooted: Vec::new(),
            source: None,
            queues: Queues::default(),
            intake_open_until: 0,
            intake_tightest: NONE,
            group: limits::GROUP_MAX,
            admitted: 0,
            ready: VecDeque::new(),
            held: BTreeMap::new(),
            held_for: BTreeMap::new(),
            has_asked_flushed: false,
            pace: None,
            quiet: Quiet::default(),
            scan: Scan {
                at: None,
                next_ms: now.monotonic_ms + limits::SCAN_MS,
                turned_ms: now.monotonic_ms,
                is_put_off: false,
            },
            ended_sweeps: Vec::new(),
            concerned: Vec::new(),
            spare_sweeps: Vec::new(),
            scratch: Scratch::default(),
            shared_answer: None,
            notices: Vec::new(),
            counters: Counters::default(),
            config,
        }
    }

    /// A connection was accepted. The engine takes the socket over, and arms its first watch.
    pub fn handle_accept(&mut self, now: Now, descriptor: i32, driver: &mut dyn Driver) {
        self.accept(now, descriptor, driver);
    }

    /// Bytes arrived, at most some 16 KiB at a time; none means the end of the input. The handle's
    /// descriptor is not looked at.
    pub fn handle_bytes(&mut self, now: Now, from: Handle, bytes: &[u8], driver: &mut dyn Driver) {
        if let Some(slot) = self.table.find(from) {
            self.read(now, slot, bytes, driver);
        }
    }

    /// The peer closed or broke.
    pub fn handle_hangup(&mut self, now: Now, from: Handle, driver: &mut dyn Driver) {
        if let Some(slot) = self.table.find(from) {
            self.hang_up(now, slot, driver);
        }
    }

    /// The socket takes bytes again.
    pub fn handle_writable(&mut self, now: Now, from: Handle, driver: &mut dyn Driver) {
        if let Some(slot) = self.table.find(from) {
            if DEADLINE_IN_WRITE_PATH && self.close_stalled(now, slot, driver) {
                return;
            }
            self.unblock(slot);
        }
    }

    /// Nothing of the connection is left in the kernel: its slot is free.
    pub fn handle_released(&mut self, from: Handle) {
        let slot = self
            .table
            .find(from)
            .expect("a slot is released once, by its own generation");
        self.table.remove(slot);
    }

    /// Whether the engine takes another batch now; ask before each. Load becomes lag in the channel,
    /// and lag becomes WAL kept by PostgreSQL, so that no healthy reader is ever left without its
    /// frames. Newcomers come about a group to a turn: as many can be sent to in it, and a storm of them
    /// keeps nobody waiting.
    pub fn wants_batch(&mut self) -> bool {
        self.admitted < self.group && self.is_intake_open()
    }

    /// A batch from the replication thread.
    pub fn handle_batch(&mut self, now: Now, batch: Batch, driver: &mut dyn Driver) {
        self.take(now, batch, driver);
    }

    /// A command from the control thread.
    pub fn handle_command(&mut self, now: Now, command: Command, _driver: &mut dyn Driver) {
        match command {
            Command::Respond {
                connection,
                response,
            } => {
                self.respond_to(now, connection, response);
            }
            Command::Flushed(lsn) => self.judge_held(now, lsn),
            Command::Subscribe {
                ticket,
                connection,
                owner,
                change,
            } => self.subscribe(ticket, connection, owner, change),
            Command::End {
                ticket,
                connection,
                owner,
                reason,
            } => self.end_own(now, ticket, connection, owner, reason),
            Command::Close { connection, reason } => {
                if let Some(slot) = self.table.find_id(connection) {
                    self.end_stream(now, slot, reason);
                }
            }
            Command::CloseAll { reason, spread_ms } => self.close_all(now, reason, spread_ms),
        }
    }

    /// Does a bounded piece of what is pending: a group of small classes, while there are any of this
    /// round; else a group of a large one, then those that are behind, then what time asks for.
    pub fn turn(&mut self, now: Now, driver: &mut dyn Driver) -> Next {
        self.admitted = 0;
        self.observe_standstill(now);
        self.observe_ended_sweeps(now);
        if !self.sweep_small(now, driver) {
            self.sweep_large(now, driver);
            self.catch_up(now, driver);
            self.advance_pace(now);
            self.scan_deadlines(now, driver);
        }
        self.notices
            .drain(..)
            .for_each(|notice| driver.notify(notice));
        let is_idle = self.queues.is_empty()
            && self.ready.is_empty()
            && self.ended_sweeps.is_empty()
            && self.scan.at.is_none();
        if is_idle {
            // Nobody is left whose turn it would be after this round.
            self.queues.end_round();
        }
        match (is_idle, &self.pace) {
            (false, _) => Next::Now,
            (true, None) => Next::At(self.scan.next_ms),
            (true, Some(pace)) => Next::At(self.scan.next_ms.min(pace.next_ms(now))),
        }
    }

    /// The turn has returned: this is when the last of its sends did. Without it, that is taken to be
    /// the time of the next turn.
    pub fn handle_sent(&mut self, now: Now) {
        self.observe_ended_sweeps(now);
    }

    /// What was counted, and what is held now.
    pub fn counters(&mut self) -> &Counters {
        self.counters.connections = u64::from(self.table.len());
        self.counters.log_bytes = self.log.bytes() as u64;
        self.counters.log_frames = self.log.len() as u64;
        self.counters.evicted = self.log.evicted();
        self.counters.behind = self.behind.len() as u64;
        &self.counters
    }

    /// The position up to which everything is in the log; there is one when streams are open.
    pub(crate) fn applied(&self) -> EventId {
        self.source
            .as_ref()
            .expect("streams are opened after the start")
            .applied
    }

    /// The topics a stream reads from.
    pub(crate) fn reading_of(&self, slot: u32) -> Reading {
        let record = &self.table[slot];
        let user = (record.user != wire::Key::NOBODY).then_some(record.user);
        Reading {
            user,
            ..self.classes[record.class as usize].reading()
        }
    }
}
