//! A node's lines to the database, as a network sees them: bytes on their way, in both directions.

use std::collections::VecDeque;

use replication::Line;

use crate::postgres::LineId;
use crate::time::Time;

/// Every line, by its number.
pub const LINES: [Line; 4] = [Line::Stream, Line::Anchor, Line::Watch, Line::Members];

/// A line that stands.
#[derive(Debug)]
pub struct Wire {
    /// As the database names it.
    pub id: LineId,
    /// What arrived at the node and was not read.
    pub read: Vec<u8>,
    /// What is on its way to the database, and when each piece arrives.
    up: VecDeque<(Time, Vec<u8>)>,
    /// The same towards the node.
    down: VecDeque<(Time, Vec<u8>)>,
    /// The database has closed: nothing comes behind what is on its way.
    pub is_ended: bool,
    /// Both ends will find it broken.
    pub is_broken: bool,
    /// Nothing that is sent arrives before this time, at either end, and no end hears of the other's.
    pub silent_until: Time,
}

impl Wire {
    /// A line that was just opened.
    pub fn new(id: LineId) -> Self {
        Self {
            id,
            read: Vec::new(),
            up: VecDeque::new(),
            down: VecDeque::new(),
            is_ended: false,
            is_broken: false,
            silent_until: Time(0),
        }
    }

    /// The node sends; when it arrives.
    pub fn send(&mut self, now: Time, way: Time, bytes: Vec<u8>) -> Time {
        push(&mut self.up, (now + way).max(self.silent_until), bytes)
    }

    /// The database sends; when it arrives.
    pub fn receive(&mut self, now: Time, way: Time, bytes: Vec<u8>) -> Time {
        push(&mut self.down, (now + way).max(self.silent_until), bytes)
    }

    /// Whether neither end hears of the other.
    pub fn is_silent(&self, now: Time) -> bool {
        now < self.silent_until
    }

    /// How many bytes are on their way to the node, or wait to be read by it.
    pub fn pending(&self) -> usize {
        self.read.len()
            + self
                .down
                .iter()
                .map(|(_, bytes)| bytes.len())
                .sum::<usize>()
    }

    /// The next piece that has arrived at the database.
    pub fn arrived_up(&mut self, now: Time) -> Option<Vec<u8>> {
        let is_there = self.up.front().is_some_and(|(at, _)| *at <= now);
        is_there.then(|| self.up.pop_front().expect("it is there").1)
    }

    /// Moves what has arrived at the node to where it is read. Whether there was anything.
    pub fn arrive_down(&mut self, now: Time) -> bool {
        let mut any = false;
        while self.down.front().is_some_and(|(at, _)| *at <= now) {
            let (_, bytes) = self.down.pop_front().expect("it is there");
            self.read.extend_from_slice(&bytes);
            any = true;
        }
        any
    }

    /// Whether the node has read everything that there will be.
    pub fn is_over(&self) -> bool {
        self.is_broken || self.is_ended && self.read.is_empty() && self.down.is_empty()
    }
}

/// Nothing overtakes what is on its way already.
fn push(way: &mut VecDeque<(Time, Vec<u8>)>, at: Time, bytes: Vec<u8>) -> Time {
    let at = way.back().map_or(at, |(last, _)| at.max(*last));
    way.push_back((at, bytes));
    at
}
