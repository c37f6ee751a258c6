//! The log: per topic, the recent frames in the order of their arrival, bounded.
//!
//! It serves live fan-out, replay and slow readers alike. Sequences count the frames of all topics
//! together; since frames arrive in the order of their positions, both orders are one. Who reads
//! from where is in `class` and `behind`.

mod kept;
mod recall;
mod walk;

use std::collections::VecDeque;

use hashbrown::HashTable;
use slab::Slab;
use wire::{EventId, Frame, Scope, Topic};

use crate::class::Slots;
use crate::limits;
use crate::planted::FLOOR_OFF_BY_ONE;
use kept::Kept;

/// The recent frames of every topic.
#[derive(Debug)]
pub(crate) struct Log {
    topics: Slab<TopicLog>,
    /// Slots of `topics`, found by the topic's hash.
    index: HashTable<u32>,
    /// (sequence, slot of the topic) of the frames, in the order of their arrival. A frame that its
    /// organisation's share evicted leaves its entry behind until it comes to the front, or until
    /// such entries are the majority.
    arrivals: VecDeque<(u64, u32)>,
    head: u64,
    frames: usize,
    bytes: usize,
    bytes_max: usize,
    evicted: u64,
    /// The greatest sequence that was evicted from a topic other than a user's.
    shared_evicted: u64,
    /// Topics that have neither frames nor streams, oldest first; checked when taken.
    idle: VecDeque<u32>,
    /// The last frame evicted from a topic that was forgotten since.
    forgotten: Option<Evicted>,
    /// Cumulative cost of all frames ever appended.
    appended_bytes: u64,
    /// What outlives eviction, for pages of history.
    kept: Kept,
}

/// The frames of one topic.
#[derive(Debug)]
pub(crate) struct TopicLog {
    topic: Topic,
    frames: VecDeque<Entry>,
    bytes: usize,
    /// Cumulative cost of all frames ever appended to this topic.
    appended_bytes: u64,
    evicted: Option<Evicted>,
    /// The classes whose organisation it is.
    pub(crate) classes: Slots,
    is_idle: bool,
}

/// The last frame that a topic lost. The order is that of the sequences, which is that of the ids.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Evicted {
    sequence: u64,
    id: EventId,
}

/// A frame in the log.
#[derive(Clone, Debug)]
pub(crate) struct Entry {
    pub(crate) sequence: u64,
    pub(crate) frame: Frame,
    /// Cumulative costs of everything appended up to and with it: to the log, and to its topic.
    pub(crate) appended_bytes: (u64, u64),
    /// When it was taken from the channel, in microseconds of the monotonic clock.
    pub(crate) taken_us: u64,
}

/// The topics a connection or a class reads from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Reading {
    pub(crate) scope: Scope,
    /// The user's own topic, too.
    pub(crate) user: Option<wire::Key>,
}

impl Log {
    /// An empty log; what it keeps for pages of history is a share of its bytes.
    pub(crate) fn new(bytes_max: usize) -> Self {
        let kept_bytes_max = bytes_max / limits::KEPT_SHARE;
        let bytes_max = bytes_max - kept_bytes_max;
        Self {
            topics: Slab::new(),
            index: HashTable::new(),
            arrivals: VecDeque::new(),
            head: 0,
            frames: 0,
            bytes: 0,
            bytes_max,
            evicted: 0,
            shared_evicted: 0,
            idle: VecDeque::new(),
            forgotten: None,
            appended_bytes: 0,
            kept: Kept::new(kept_bytes_max),
        }
    }

    /// Appends a frame to its topic, and evicts what no longer fits.
    pub(crate) fn append(&mut self, frame: Frame, taken_us: u64) {
        let slot = self.open_topic(frame.audience().topic);
        self.append_to(slot, frame, taken_us);
    }

    /// The same where the slot of its topic is known.
    pub(crate) fn append_to(&mut self, slot: u32, frame: Frame, taken_us: u64) {
        let cost = frame.cost_bytes();
        self.head += 1;
        self.frames += 1;
        self.bytes += cost;
        self.appended_bytes += cost as u64;
        self.arrivals.push_back((self.head, slot));
        let topic = &mut self.topics[slot as usize];
        // Equal where a row of one user moves between two organisations: no stream is within both.
        debug_assert!(
            topic
                .frames
                .back()
                .is_none_or(|last| last.frame.id() <= frame.id())
        );
        topic.bytes += cost;
        topic.appended_bytes += cost as u64;
        let appended_bytes = (self.appended_bytes, topic.appended_bytes);
        topic.frames.push_back(Entry {
            sequence: self.head,
            frame,
            appended_bytes,
            taken_us,
        });
        self.evict(slot);
    }

    /// The sequence of the newest frame, 0 before the first.
    pub(crate) fn head(&self) -> u64 {
        self.head
    }

    /// The slot of a topic, made where there is none.
    pub(crate) fn open_topic(&mut self, topic: Topic) -> u32 {
        if let Some(slot) = self.find(topic) {
            return slot;
        }
        let slot = self.topics.insert(TopicLog {
            topic,
            frames: VecDeque::new(),
            bytes: 0,
            appended_bytes: 0,
            evicted: self.forgotten,
            classes: Slots::new(),
            is_idle: false,
        }) as u32;
        let topics = &self.topics;
        self.index
            .insert_unique(hash(topic), slot, |slot| hash(topics[*slot as usize].topic));
        slot
    }

    /// A topic by its slot.
    pub(crate) fn topic_mut(&mut self, slot: u32) -> &mut TopicLog {
        &mut self.topics[slot as usize]
    }

    /// The classes of a topic by its slot.
    pub(crate) fn classes(&self, slot: u32) -> &[u32] {
        &self.topics[slot as usize].classes
    }

    /// Says that a class has left the topic: it may be idle now.
    pub(crate) fn settle(&mut self, slot: u32) {
        let topic = &mut self.topics[slot as usize];
        if topic.is_idle || !topic.frames.is_empty() || !topic.classes.is_empty() {
            return;
        }
        if topic.evicted <= self.forgotten {
            // Nothing is known of it that is not known of the forgotten together.
            self.forget(slot);
            return;
        }
        topic.is_idle = true;
        topic.frames.shrink_to_fit();
        self.idle.push_back(slot);
        while self.idle.len() > limits::IDLE_TOPICS_MAX {
            let slot = self.idle.pop_front().expect("it is longer than its bound");
            let topic = &mut self.topics[slot as usize];
            topic.is_idle = false;
            if topic.frames.is_empty() && topic.classes.is_empty() {
                self.forgotten = self.forgotten.max(topic.evicted);
                self.forget(slot);
            }
        }
    }

    /// Whether the user's own topic has a frame after the sequence.
    pub(crate) fn has_own_frame(&self, user: wire::Key, after: u64) -> bool {
        let topic = self
            .find(Topic::User(user))
            .map(|slot| &self.topics[slot as usize]);
        topic.is_some_and(|topic| topic.first_after(after).is_some())
    }

    /// Whether a frame after the sequence, of the topics that are read, is no longer there.
    pub(crate) fn has_lost(&self, reading: Reading, after: u64) -> bool {
        match reading.scope {
            Scope::Everything => self.shared_evicted > after,
            Scope::Nothing | Scope::Organisation(_) => {
                let mut evicted = self.topics_of(reading).filter_map(|topic| match topic {
                    Ok(topic) => topic.evicted,
                    Err(Unknown) => self.forgotten,
                });
                evicted.any(|evicted| evicted.sequence > after + u64::from(FLOOR_OFF_BY_ONE))
            }
        }
    }

    /// The sequence after which a reader goes on that has everything up to a position, `None` where
    /// something after that position is no longer there.
    pub(crate) fn cursor_after(&self, reading: Reading, id: EventId) -> Option<u64> {
        if reading.scope == Scope::Everything {
            return self.cursor_of_everything_after(id);
        }
        let mut first = None;
        for topic in self.topics_of(reading) {
            let (evicted, next) = match topic {
                Ok(topic) => (topic.evicted, topic.first_after_id(id)),
                Err(Unknown) => (self.forgotten, None),
            };
            if evicted.is_some_and(|evicted| evicted.id > id) {
                return None;
            }
            let next = next.map(|entry| entry.sequence);
            first = [first, next].into_iter().flatten().min();
        }
        Some(first.map_or(self.head, |sequence| sequence - 1))
    }

    /// Throws every frame away, after changes were missed.
    pub(crate) fn clear(&mut self) {
        let slots: Vec<u32> = self.topics.iter().map(|(slot, _)| slot as u32).collect();
        for slot in slots {
            if !self.topics.contains(slot as usize) {
                // One before it became idle, and this one, idle for longest, made room.
                continue;
            }
            while !self.topics[slot as usize].frames.is_empty() {
                self.evict_first(slot);
            }
            // Positions before a gap are judged by the floor; the new ones may be lower.
            self.topics[slot as usize]
                .evicted
                .iter_mut()
                .for_each(|evicted| evicted.id = LOWEST);
            self.settle(slot);
        }
        self.forgotten = None;
        self.arrivals.clear();
        self.kept.clear();
    }

    /// Bytes in the log and kept beside it, with bookkeeping.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes + self.kept.bytes()
    }

    /// Frames in the log.
    pub(crate) fn len(&self) -> usize {
        self.frames
    }

    /// Frames that were evicted.
    pub(crate) fn evicted(&self) -> u64 {
        self.evicted
    }

    /// Cumulative cost of all frames ever appended: to the log, and to one of its topics.
    pub(crate) fn appended_bytes(&self, topic: Option<u32>) -> (u64, u64) {
        let of_topic = topic.map_or(0, |slot| self.topics[slot as usize].appended_bytes);
        (self.appended_bytes, of_topic)
    }

    /// What one organisation may hold of the log, in bytes.
    pub(crate) fn share_bytes_max(&self) -> usize {
        self.bytes_max / 4
    }

    /// What the log may hold, in bytes.
    pub(crate) fn bytes_max(&self) -> usize {
        self.bytes_max
    }

    fn find(&self, topic: Topic) -> Option<u32> {
        let is_same = |slot: &u32| self.topics[*slot as usize].topic == topic;
        self.index.find(hash(topic), is_same).copied()
    }

    /// The topics that are read, by name: those that have no entry, too.
    fn topics_of(&self, reading: Reading) -> impl Iterator<Item = Result<&TopicLog, Unknown>> {
        let organisation = match reading.scope {
            Scope::Organisation(key) => Some(Topic::Organisation(key)),
            Scope::Nothing | Scope::Everything => None,
        };
        let user = reading.user.map(Topic::User);
        [Some(Topic::Global), organisation, user]
            .into_iter()
            .flatten()
            .map(|topic| {
                self.find(topic)
                    .map(|slot| &self.topics[slot as usize])
                    .ok_or(Unknown)
            })
    }

    fn readable(&self, reading: Reading) -> impl Iterator<Item = &TopicLog> {
        self.topics_of(reading).flatten()
    }

    /// A walk over the topics: an operator's stream of everything resumes seldom.
    fn cursor_of_everything_after(&self, id: EventId) -> Option<u64> {
        let shared = || {
            self.topics
                .iter()
                .map(|(_, topic)| topic)
                .filter(|topic| !matches!(topic.topic, Topic::User(_)))
        };
        let mut evicted = shared()
            .filter_map(|topic| topic.evicted)
            .chain(self.forgotten);
        if evicted.any(|evicted| evicted.id > id) {
            return None;
        }
        let next = shared().filter_map(|topic| topic.first_after_id(id));
        Some(
            next.map(|entry| entry.sequence - 1)
                .min()
                .unwrap_or(self.head),
        )
    }

    fn evict(&mut self, slot: u32) {
        let topic = &self.topics[slot as usize];
        if matches!(topic.topic, Topic::Organisation(_)) {
            while self.topics[slot as usize].bytes > self.share_bytes_max()
                && self.topics[slot as usize].frames.len() > 1
            {
                self.evict_and_keep(slot);
            }
        }
        while self.bytes > self.bytes_max && self.frames > 1 {
            let (sequence, slot) = self.arrivals.pop_front().expect("there are frames");
            let first = self.topics[slot as usize].frames.front();
            if first.is_some_and(|entry| entry.sequence == sequence) {
                self.evict_and_keep(slot);
                self.settle(slot);
            }
        }
        // Entries of frames that are gone must not outnumber the frames.
        if self.arrivals.len() > 2 * self.frames + 1024 {
            let topics = &self.topics;
            self.arrivals.retain(|(sequence, slot)| {
                let first = topics[*slot as usize].frames.front();
                first.is_some_and(|entry| entry.sequence <= *sequence)
            });
        }
    }

    fn evict_and_keep(&mut self, slot: u32) {
        let Entry {
            sequence, frame, ..
        } = self.evict_first(slot);
        self.kept.keep(sequence, frame);
    }

    fn evict_first(&mut self, slot: u32) -> Entry {
        let topic = &mut self.topics[slot as usize];
        let entry = topic.frames.pop_front().expect("the topic has frames");
        if topic.frames.capacity() > 64 && topic.frames.len() < topic.frames.capacity() / 4 {
            // The room of a burst must not stay with every topic that ever had one.
            topic.frames.shrink_to(topic.frames.capacity() / 2);
        }
        let cost = entry.frame.cost_bytes();
        topic.bytes -= cost;
        topic.evicted = Some(Evicted {
            sequence: entry.sequence,
            id: entry.frame.id(),
        });
        if !matches!(topic.topic, Topic::User(_)) {
            self.shared_evicted = self.shared_evicted.max(entry.sequence);
        }
        self.bytes -= cost;
        self.frames -= 1;
        self.evicted += 1;
        entry
    }

    fn forget(&mut self, slot: u32) {
        let topic = self.topics.remove(slot as usize).topic;
        let entry = self.index.find_entry(hash(topic), |other| *other == slot);
        entry.expect("every topic is in the index").remove();
    }
}

impl TopicLog {
    fn first_after_id(&self, id: EventId) -> Option<&Entry> {
        self.frames
            .get(self.frames.partition_point(|entry| entry.frame.id() <= id))
    }
}

/// A topic of which nothing is known.
struct Unknown;

/// Below every position.
const LOWEST: EventId = EventId {
    epoch: 0,
    timeline: 0,
    lsn: wire::Lsn(0),
    index: 0,
};

/// Keys are hashes already; the kind of the topic is mixed in.
fn hash(topic: Topic) -> u64 {
    match topic {
        Topic::Global => 0,
        Topic::Organisation(key) => key.hash64(),
        Topic::User(key) => !key.hash64(),
    }
}

#[cfg(test)]
mod tests;
