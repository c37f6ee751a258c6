//! What outlives the log: the last events of each channel of a topic, for pages of history.
//!
//! Streams and resumes never read from here. What is dropped from here is gone, and each topic
//! remembers the last event that it lost so.

use std::collections::{BTreeMap, VecDeque};

use wire::{EventId, Filter, Frame, Name, Topic};

use crate::limits::CHANNEL_EVENTS_KEPT;

/// The events that the log has evicted, and which are kept all the same.
#[derive(Debug)]
pub(crate) struct Kept {
    topics: BTreeMap<Topic, KeptTopic>,
    /// The topic of each kept frame, by its sequence: the oldest goes first.
    order: BTreeMap<u64, Topic>,
    bytes: usize,
    bytes_max: usize,
    /// The greatest loss of the topics of which nothing is kept any more.
    forgotten: Option<Lost>,
}

/// What is kept of one topic.
#[derive(Debug, Default)]
struct KeptTopic {
    frames: BTreeMap<u64, Frame>,
    channels: BTreeMap<Box<str>, KeptChannel>,
    /// The last event that was lost of any channel.
    lost: Option<Lost>,
    /// The last event that was lost of a channel that is not among `channels`.
    lost_elsewhere: Option<Lost>,
}

/// What is kept of one channel of a topic.
#[derive(Debug, Default)]
struct KeptChannel {
    /// The sequences of its frames, oldest first.
    sequences: VecDeque<u64>,
    lost: Option<Lost>,
}

/// The last event that is gone for good.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Lost {
    pub(crate) id: EventId,
    /// The latest commit among all that are gone.
    pub(crate) timestamp_ms: i64,
}

impl Lost {
    fn of(frame: &Frame) -> Self {
        Self {
            id: frame.id(),
            timestamp_ms: frame.timestamp_ms(),
        }
    }

    /// Both losses.
    fn and(self, other: Option<Self>) -> Self {
        let Some(other) = other else { return self };
        Self {
            id: self.id.max(other.id),
            timestamp_ms: self.timestamp_ms.max(other.timestamp_ms),
        }
    }
}

impl Kept {
    /// Nothing is kept yet; never more than this many bytes.
    pub(crate) fn new(bytes_max: usize) -> Self {
        Self {
            topics: BTreeMap::new(),
            order: BTreeMap::new(),
            bytes: 0,
            bytes_max,
            forgotten: None,
        }
    }

    /// Keeps a frame that the log evicts, as one of the last of its channel.
    pub(crate) fn keep(&mut self, sequence: u64, frame: Frame) {
        let topic = frame.audience().topic;
        if cost_bytes(&frame) > self.bytes_max / 4 {
            // One that is so large would drive out the others of everybody.
            self.lost_at_once(&frame);
            return;
        }
        self.bytes += cost_bytes(&frame);
        self.order.insert(sequence, topic);
        let forgotten = self.forgotten;
        let entry = self.topics.entry(topic).or_insert_with(|| KeptTopic {
            lost: forgotten,
            lost_elsewhere: forgotten,
            ..KeptTopic::default()
        });
        let channel = frame.channel();
        if !entry.channels.contains_key(channel) {
            let lost = entry.lost_elsewhere;
            let kept = KeptChannel {
                lost,
                ..KeptChannel::default()
            };
            entry.channels.insert(channel.into(), kept);
        }
        let kept = entry.channels.get_mut(channel).expect("it is there now");
        let sequences = &mut kept.sequences;
        sequences.push_back(sequence);
        let oldest = (sequences.len() > CHANNEL_EVENTS_KEPT).then(|| sequences[0]);
        entry.frames.insert(sequence, frame);
        if let Some(oldest) = oldest {
            self.lose(oldest);
        }
        while self.bytes > self.bytes_max {
            let (oldest, _) = self.order.first_key_value().expect("something is kept");
            self.lose(*oldest);
        }
    }

    /// Throws everything away, after changes were missed.
    pub(crate) fn clear(&mut self) {
        *self = Self::new(self.bytes_max);
    }

    /// Bytes kept, with bookkeeping.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    /// The last event that a topic has lost for good, of the channels that pass.
    pub(crate) fn lost(&self, topic: Topic, filter: &Filter) -> Option<Lost> {
        let Some(entry) = self.topics.get(&topic) else {
            return self.forgotten;
        };
        if filter.channels().is_empty() {
            return entry.lost;
        }
        // A channel that is not there may have lost what was lost elsewhere; `user` stands for several.
        let known = entry.channels.iter();
        let known = known.filter(|(channel, _)| filter.has_channel(channel));
        let known = known.filter_map(|(_, kept)| kept.lost);
        let is_known =
            |name: &Name| name.as_str() != "user" && entry.channels.contains_key(name.as_str());
        let elsewhere = entry
            .lost_elsewhere
            .filter(|_| !filter.channels().iter().all(is_known));
        known.fold(elsewhere, |all, lost| Some(lost.and(all)))
    }

    /// The last event that any topic but those of users has lost for good.
    pub(crate) fn lost_shared(&self) -> Option<Lost> {
        let shared = self
            .topics
            .iter()
            .filter(|(topic, _)| !matches!(topic, Topic::User(_)))
            .filter_map(|(_, entry)| entry.lost);
        shared.fold(self.forgotten, |all, lost| Some(lost.and(all)))
    }

    /// The first frame of a topic after a sequence.
    pub(crate) fn next(&self, topic: Topic, after: u64) -> Option<(u64, &Frame)> {
        let mut later = self.topics.get(&topic)?.frames.range(after + 1..);
        later.next().map(|(sequence, frame)| (*sequence, frame))
    }

    /// The last frame of a topic before a sequence.
    pub(crate) fn previous(&self, topic: Topic, before: u64) -> Option<(u64, &Frame)> {
        let mut earlier = self.topics.get(&topic)?.frames.range(..before);
        earlier
            .next_back()
            .map(|(sequence, frame)| (*sequence, frame))
    }

    /// The first frame after a sequence, of all topics but those of users.
    pub(crate) fn next_shared(&self, after: u64) -> Option<(u64, &Frame)> {
        let mut later = self.order.range(after + 1..);
        later.find_map(|(sequence, topic)| self.shared(*sequence, *topic))
    }

    /// The last frame before a sequence, of all topics but those of users.
    pub(crate) fn previous_shared(&self, before: u64) -> Option<(u64, &Frame)> {
        let mut earlier = self.order.range(..before).rev();
        earlier.find_map(|(sequence, topic)| self.shared(*sequence, *topic))
    }

    fn shared(&self, sequence: u64, topic: Topic) -> Option<(u64, &Frame)> {
        let is_shared = !matches!(topic, Topic::User(_));
        let frames = is_shared.then(|| &self.topics[&topic].frames);
        frames.map(|frames| (sequence, &frames[&sequence]))
    }

    /// A frame is gone without having been kept.
    fn lost_at_once(&mut self, frame: &Frame) {
        let lost = Lost::of(frame);
        match self.topics.get_mut(&frame.audience().topic) {
            Some(entry) => {
                entry.lost = Some(lost.and(entry.lost));
                match entry.channels.get_mut(frame.channel()) {
                    Some(kept) => kept.lost = Some(lost.and(kept.lost)),
                    None => entry.lost_elsewhere = Some(lost.and(entry.lost_elsewhere)),
                }
            }
            None => self.forgotten = Some(lost.and(self.forgotten)),
        }
    }

    /// Drops one frame, and remembers that it is gone.
    fn lose(&mut self, sequence: u64) {
        let topic = self.order.remove(&sequence).expect("it is kept");
        let entry = self.topics.get_mut(&topic).expect("it is of a kept topic");
        let frame = entry.frames.remove(&sequence).expect("it is kept");
        self.bytes -= cost_bytes(&frame);
        let kept = entry.channels.get_mut(frame.channel());
        let kept = kept.expect("it is of a kept channel");
        // It is the oldest of all, and so of its channel, or was the oldest of its channel.
        assert_eq!(kept.sequences.pop_front(), Some(sequence));
        let lost = Lost::of(&frame);
        kept.lost = Some(lost.and(kept.lost));
        entry.lost = Some(lost.and(entry.lost));
        if kept.sequences.is_empty() {
            entry.lost_elsewhere = kept.lost.map(|lost| lost.and(entry.lost_elsewhere));
            entry.channels.remove(frame.channel());
        }
        if entry.frames.is_empty() {
            self.forgotten = entry.lost.map(|lost| lost.and(self.forgotten));
            self.topics.remove(&topic);
        }
    }
}

/// What a kept frame costs: the frame, and its places in the three maps.
fn cost_bytes(frame: &Frame) -> usize {
    const BOOKKEEPING: usize = 160;
    frame.cost_bytes() + BOOKKEEPING
}
