//! A node: the real reader and the real engines, with a loop around each that does what the node's
//! threads do, and a stand-in for the control thread.

mod core;
mod lines;
mod orders;
mod replication;
mod shelf;
mod uplink;

pub use self::core::Core;
pub use lines::{LINES, Wire};
pub use orders::{Answer, Order};
pub use replication::{Beginning, Done};
pub use shelf::{Admitted, Missed, Shelf};
pub use uplink::{Said, Uplink};

use std::collections::VecDeque;

use ::replication::Reader;
use engine::Config;
use wire::{Batch, EventId, Keys, Lsn};

use crate::control::Control;
use crate::random::Random;
use crate::swarm;
use crate::time::Time;

/// A node of the world, running or not.
pub struct Node {
    /// Which one.
    pub number: u32,
    /// How often it has been started.
    pub boots: u32,
    /// Whether it ends in order, and takes nobody in any more.
    pub is_draining: bool,
    /// What it is while it runs.
    pub alive: Option<Box<Alive>>,
}

/// A node that runs.
pub struct Alive {
    /// Its start.
    pub boot: u32,
    /// When that was.
    pub since: Time,
    /// How far its clock is ahead of the database's, in milliseconds; and how far it has been since this start, at
    /// the least and at the most.
    pub skew_ms: i64,
    /// The range of that.
    pub skews_ms: (i64, i64),
    /// Nobody reaches the database from here before this time.
    pub cut_until: Time,
    /// What it makes keys with.
    pub keys: Keys,
    /// The reader of the log.
    pub reader: Reader,
    /// Its lines to the database.
    pub lines: [Option<Wire>; LINES.len()],
    /// The batch that not every engine has taken, and those who have not.
    pub delivery: Option<(Batch, Vec<usize>)>,
    /// Who waits for a verdict.
    pub orders: VecDeque<Order>,
    /// The engines.
    pub cores: Vec<Core>,
    /// The way to the control thread.
    pub uplink: Uplink,
    /// The control thread.
    pub control: Control,
    /// What the replication thread has published.
    pub applied: Option<EventId>,
    /// How old the feed was when it last said so, and when that was.
    pub feed_age: Option<(u64, Time)>,
    /// When that was looked at last.
    pub looked: Time,
    /// Where the reading of this start began.
    pub floor: Option<EventId>,
    /// The transaction of which a part was handed over when the last connection broke.
    pub half: Option<Lsn>,
    /// When it began to read, or began anew.
    pub began: Time,
    /// When it heard the last time that another server has taken over: what it hears of slots before was said by
    /// the one before.
    pub followed: Time,
    /// The end of the newest commit that every engine was handed.
    pub handed_over: u64,
    /// The replication thread gets no processor before this time.
    pub busy_until: Time,
    /// When the replication thread has its turn next.
    pub replication_at: Option<Time>,
    /// When the control thread has.
    pub control_at: Option<Time>,
    /// When the status was published.
    pub published: Time,
    /// The replication thread's chance.
    pub random: Random,
}

impl Node {
    /// One that has never run.
    pub fn new(number: u32) -> Self {
        Self {
            number,
            boots: 0,
            is_draining: false,
            alive: None,
        }
    }

    /// The node, if this start of it still runs.
    pub fn of_boot(&mut self, boot: u32) -> Option<&mut Alive> {
        self.alive.as_deref_mut().filter(|alive| alive.boot == boot)
    }
}

impl Alive {
    /// A node that starts now.
    pub fn start(
        (number, boot): (u32, u32),
        now: Time,
        config: ::replication::Config,
        swarm: &swarm::Swarm,
        random: &mut Random,
    ) -> Self {
        let keys = config.keys.clone();
        let rules = &swarm.node;
        let skew_ms = random.below(rules.skew_ms + 1) as i64;
        let engine = |core| Config {
            engine: core as u16,
            boot: number << 16 | boot,
            seed: [core as u8; 16],
            streams: Vec::new(),
            heartbeat_ms: rules.heartbeat_ms,
            log_bytes_max: rules.log_bytes as usize,
            reset_spread_ms: 1_000,
            idle_close_ms: 0,
            resume_wait_ms: rules.resume_wait_ms,
        };
        let cores = (0..swarm.engines)
            .map(|core| Core::new(engine(core), now, (now, skew_ms), rules, random.fork()))
            .collect();
        Self {
            boot,
            since: now,
            skew_ms,
            skews_ms: (skew_ms, skew_ms),
            cut_until: now,
            reader: Reader::new(config, random.next_u64(), 0),
            lines: [const { None }; LINES.len()],
            delivery: None,
            orders: VecDeque::new(),
            cores,
            uplink: Uplink::new(rules.overloaded),
            control: Control::new(keys.clone(), rules.clone(), random.fork()),
            keys,
            applied: None,
            feed_age: None,
            looked: now,
            floor: None,
            began: now,
            followed: now,
            half: None,
            handed_over: 0,
            busy_until: now,
            replication_at: None,
            control_at: None,
            published: now,
            random: random.fork(),
        }
    }

    /// Milliseconds of the node's monotonic clock, which began with this start.
    pub fn now_ms(&self, now: Time) -> u64 {
        now.since(self.since).ms()
    }

    /// Milliseconds since 1970, by the node's own clock.
    pub fn unix_ms(&self, now: Time) -> u64 {
        ahead(now, self.skew_ms)
    }

    /// The earliest and the latest that its clock has said of this time, or would have since this start.
    pub fn unix_range_ms(&self, now: Time) -> (u64, u64) {
        let (least, most) = self.skews_ms;
        (ahead(now, least), ahead(now, most))
    }

    /// Somebody sets its clock.
    pub fn set_clock(&mut self, skew_ms: i64) {
        self.skew_ms = skew_ms;
        let (least, most) = self.skews_ms;
        self.skews_ms = (least.min(skew_ms), most.max(skew_ms));
        for core in &mut self.cores {
            core.skew_ms = skew_ms;
        }
    }
}

/// Milliseconds since 1970, by a clock that is so far ahead of the database's.
pub fn ahead(now: Time, skew_ms: i64) -> u64 {
    (now.unix_us() / 1_000).saturating_add_signed(skew_ms)
}
