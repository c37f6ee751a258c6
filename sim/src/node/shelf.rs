//! What an engine's log must have, and what it may have lost: its rule of eviction, followed beside it from
//! the batches that it takes, so that a `reset` for what has gone can be told from one for what has not.

use std::collections::{BTreeMap, VecDeque};

use engine::limits::KEPT_SHARE;
use wire::{Batch, EventId, Frame, GapReason, Grant, Key, Scope, Topic};

use crate::time::Time;

/// One organisation may hold this part of the log: one of so many.
const SHARES: usize = 4;

/// How a connection was let in, as its engine stood at that moment.
#[derive(Clone, Copy, Debug)]
pub struct Admitted {
    /// When that was.
    pub at: Time,
    /// What had been applied.
    pub applied: EventId,
    /// From where on the engine has anything.
    pub floor: EventId,
    /// The newest frame of those that the stream reads which was no longer there.
    pub evicted: Option<EventId>,
    /// When its session ends, in milliseconds since 1970.
    pub expires_ms: Option<u64>,
    /// From where on its user was a member.
    pub since: Option<EventId>,
    /// The topics that it reads, and its session.
    pub topics: [Topic; 3],
    session: Option<Key>,
}

/// Changes were missed: every stream that was open then is told so.
#[derive(Clone, Copy, Debug)]
pub struct Missed {
    /// When the engine heard of it.
    pub at: Time,
    /// Why they were.
    pub reason: GapReason,
}

/// The frames of an engine's log, without their bytes.
#[derive(Debug)]
pub struct Shelf {
    bytes_max: usize,
    bytes: usize,
    frames: usize,
    evicted: u64,
    head: u64,
    /// The sequences of all frames, and their topics; those too that an organisation's share evicted.
    arrivals: VecDeque<(u64, Topic)>,
    topics: BTreeMap<Topic, Row>,
    /// Where reading began, and how far it has got.
    floor: Option<EventId>,
    applied: Option<EventId>,
    /// The changes that were missed.
    pub missed: Vec<Missed>,
    /// How connections were let in, by slot and generation.
    admitted: BTreeMap<(u32, u32), Admitted>,
}

#[derive(Debug, Default)]
struct Row {
    /// The sequence, the id and the cost of each frame.
    frames: VecDeque<(u64, EventId, usize)>,
    bytes: usize,
    evicted: Option<EventId>,
}

impl Shelf {
    /// That of a log of so many bytes, a part of which is for pages of history.
    pub fn new(log_bytes: usize) -> Self {
        Self {
            bytes_max: log_bytes - log_bytes / KEPT_SHARE,
            bytes: 0,
            frames: 0,
            evicted: 0,
            head: 0,
            arrivals: VecDeque::new(),
            topics: BTreeMap::new(),
            floor: None,
            applied: None,
            missed: Vec::new(),
            admitted: BTreeMap::new(),
        }
    }

    /// The engine is about to take a batch.
    pub fn take(&mut self, now: Time, batch: &Batch) {
        match batch {
            Batch::Start(start) => {
                self.floor.get_or_insert(start.floor);
                self.applied.get_or_insert(start.floor);
            }
            Batch::Commit(commit) => {
                for frame in &commit.frames {
                    self.append(frame);
                }
                self.applied = self.applied.max(Some(commit.through));
            }
            Batch::Progress(position) => self.applied = self.applied.max(Some(*position)),
            Batch::Gap(gap) => {
                let reason = gap.reason;
                self.missed.push(Missed { at: now, reason });
                (self.floor, self.applied) = (Some(gap.floor), Some(gap.floor));
                self.clear();
            }
            Batch::Grant(grant) => self.admit(now, grant),
            Batch::Extend(extension) => {
                let of_it = |it: &&mut Admitted| it.session == Some(extension.session);
                for admitted in self.admitted.values_mut().filter(of_it) {
                    admitted.expires_ms = Some(extension.expires_ms);
                }
            }
            Batch::Grants(_) | Batch::Refuse(_) | Batch::Renew(_) | Batch::Revoke(_) => {}
        }
    }

    /// How far the engine has got.
    pub fn applied(&self) -> Option<EventId> {
        self.applied
    }

    /// The changes that were missed at a time or later.
    pub fn missed_since(&self, at: Time) -> impl Iterator<Item = &Missed> {
        self.missed.iter().filter(move |missed| missed.at >= at)
    }

    /// How many frames must have been evicted.
    pub fn evicted(&self) -> u64 {
        self.evicted
    }

    /// How a connection was let in, where it was.
    pub fn admitted(&self, slot: u32, generation: u32) -> Option<Admitted> {
        self.admitted.get(&(slot, generation)).copied()
    }

    /// The newest frame of those that somebody reads which is no longer there.
    pub fn newest_evicted(&self, topics: [Topic; 3]) -> Option<EventId> {
        let rows = topics.iter().filter_map(|topic| self.topics.get(topic));
        rows.filter_map(|row| row.evicted).max()
    }

    fn admit(&mut self, now: Time, grant: &Grant) {
        let (Some(applied), Some(floor)) = (self.applied, self.floor) else {
            return;
        };
        let user = grant.user.map_or(Topic::Global, Topic::User);
        let scope = match grant.scope {
            Scope::Organisation(key) => Topic::Organisation(key),
            Scope::Nothing | Scope::Everything => Topic::Global,
        };
        let topics = [Topic::Global, scope, user];
        let name = (grant.connection.slot, grant.connection.generation);
        let admitted = Admitted {
            at: now,
            applied,
            floor,
            evicted: self.newest_evicted(topics),
            expires_ms: grant.expires_ms,
            since: grant.since,
            topics,
            session: grant.session,
        };
        self.admitted.insert(name, admitted);
    }

    fn append(&mut self, frame: &Frame) {
        let (topic, cost) = (frame.audience().topic, frame.cost_bytes());
        self.head += 1;
        self.frames += 1;
        self.bytes += cost;
        self.arrivals.push_back((self.head, topic));
        let row = self.topics.entry(topic).or_default();
        row.bytes += cost;
        row.frames.push_back((self.head, frame.id(), cost));
        if matches!(topic, Topic::Organisation(_)) {
            while row.bytes > self.bytes_max / SHARES && row.frames.len() > 1 {
                self.bytes -= row.evict();
                self.frames -= 1;
                self.evicted += 1;
            }
        }
        while self.bytes > self.bytes_max && self.frames > 1 {
            let (sequence, topic) = self.arrivals.pop_front().expect("there are frames");
            let row = self.topics.get_mut(&topic).expect("it has had a frame");
            // Its organisation's share may have evicted it before.
            if row.frames.front().is_some_and(|first| first.0 == sequence) {
                self.bytes -= row.evict();
                self.frames -= 1;
                self.evicted += 1;
            }
        }
    }

    /// What lay before a gap is nobody's: the floor says so.
    fn clear(&mut self) {
        self.evicted += self.frames as u64;
        (self.bytes, self.frames) = (0, 0);
        self.arrivals.clear();
        self.topics.clear();
    }
}

impl Row {
    /// Evicts the oldest frame. What it cost.
    fn evict(&mut self) -> usize {
        let (_, id, cost) = self.frames.pop_front().expect("the topic has frames");
        self.bytes -= cost;
        self.evicted = Some(id);
        cost
    }
}
