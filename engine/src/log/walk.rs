//! Walking the log: the frames after a place, of the topics that are read, in the order of their arrival.
//! The topics are looked up once, and then each frame costs the same however many the log has.

use std::collections::vec_deque;

use arrayvec::ArrayVec;
use wire::{Scope, Topic};

use super::{Entry, Log, Reading, TopicLog};

/// The global topic, an organisation's, a user's.
const TOPICS_MAX: usize = 3;

/// The frames after a place.
#[derive(Debug)]
pub(crate) enum Walk<'a> {
    /// What is left of each topic that has any, merged by sequence.
    Topics(ArrayVec<Rest<'a>, TOPICS_MAX>),
    /// All topics but those of users, by their arrivals.
    Shared(&'a Log, vec_deque::Iter<'a, (u64, u32)>),
}

/// What is left of a topic: its next frame, and those after it.
#[derive(Debug)]
pub(crate) struct Rest<'a> {
    next: &'a Entry,
    later: vec_deque::Iter<'a, Entry>,
}

impl Log {
    /// The frames after a sequence, among the topics that are read.
    pub(crate) fn after(&self, reading: Reading, after: u64) -> Walk<'_> {
        if reading.scope == Scope::Everything {
            let is_before = |(sequence, _): &(u64, u32)| *sequence <= after;
            let from = self.arrivals.partition_point(is_before);
            return Walk::Shared(self, self.arrivals.range(from..));
        }
        let topics = self.readable(reading);
        Walk::Topics(topics.filter_map(|topic| topic.rest_after(after)).collect())
    }

    /// The first frame after a sequence, among the topics that are read.
    pub(crate) fn next(&self, reading: Reading, after: u64) -> Option<&Entry> {
        self.after(reading, after).next()
    }
}

impl<'a> Iterator for Walk<'a> {
    type Item = &'a Entry;

    fn next(&mut self) -> Option<&'a Entry> {
        match self {
            Self::Topics(topics) => {
                let first = topics.iter().enumerate();
                let (at, _) = first.min_by_key(|(_, rest)| rest.next.sequence)?;
                let rest = &mut topics[at];
                let entry = rest.next;
                match rest.later.next() {
                    Some(next) => rest.next = next,
                    None => drop(topics.swap_remove(at)),
                }
                Some(entry)
            }
            Self::Shared(log, arrivals) => arrivals.find_map(|(sequence, slot)| {
                let topic = &log.topics[*slot as usize];
                let is_shared = !matches!(topic.topic, Topic::User(_));
                let first = is_shared.then(|| topic.first_after(sequence - 1));
                // Its frame may be gone already.
                first.flatten().filter(|entry| entry.sequence == *sequence)
            }),
        }
    }
}

impl TopicLog {
    /// The first frame after a sequence.
    pub(super) fn first_after(&self, sequence: u64) -> Option<&Entry> {
        self.rest_after(sequence).map(|rest| rest.next)
    }

    fn rest_after(&self, sequence: u64) -> Option<Rest<'_>> {
        // A live reader asks for the last frame or two.
        let last = self.frames.back()?;
        if last.sequence <= sequence {
            return None;
        }
        let from = self
            .frames
            .partition_point(|entry| entry.sequence <= sequence);
        let mut later = self.frames.range(from..);
        later.next().map(|next| Rest { next, later })
    }
}
