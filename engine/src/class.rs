//! Classes: the members of a topic that share a filter and a format, and so receive the same bytes.
//!
//! Sweeping them is in `sweep`; joining and leaving a class mid-way is in `step`.

use smallvec::SmallVec;
use wire::{Filter, Format, Scope};

use crate::limits::SEND_BYTES;
use crate::log::Reading;
use crate::page::PageTerms;
use crate::record::NONE;
use crate::slice::Slice;

/// Slots of connections or classes: the first few without an allocation, since an organisation may well
/// have no more.
pub(crate) type Slots = SmallVec<[u32; 4]>;

/// What connections must have in common to be of one class.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ClassKey {
    pub(crate) scope: Scope,
    pub(crate) filter: Filter,
    pub(crate) format: Format,
    /// For pages of history that wait: they are answered, not streamed to.
    pub(crate) page: Option<Box<PageTerms>>,
}

/// The members of a topic that receive the same bytes.
#[derive(Debug)]
pub(crate) struct Class {
    pub(crate) key: ClassKey,
    /// The slot of the organisation's topic in the log, `NONE` without one.
    pub(crate) topic: u32,
    /// Connections that have this class, in step or not.
    pub(crate) attached: u32,
    /// Slots of the connections in step, sorted while a sweep runs, with `NONE` for each that left
    /// since the last sweep began.
    pub(crate) members: Slots,
    /// How many of `members` are `NONE`.
    pub(crate) vacant: u32,
    /// A member joined out of order since the last sweep.
    pub(crate) is_unsorted: bool,
    /// Behind, unblocked, and waiting for the class to move on.
    pub(crate) waiting: Slots,
    /// There are frames after `position`. A class that is not dirty is at the head by definition.
    pub(crate) is_dirty: bool,
    /// It waits in one of the queues of classes to be swept.
    pub(crate) is_queued: bool,
    /// Its place in the log, while it is dirty.
    pub(crate) position: u64,
    /// Cumulative costs at `position`, of the log and of the topic: how far it lags.
    pub(crate) appended_bytes: (u64, u64),
    pub(crate) sweep: Option<Box<Sweep>>,
    /// Frames that the class has been offered, modulo 2³².
    pub(crate) events: u32,
    /// When the last sweep ended, in milliseconds of the monotonic clock.
    pub(crate) swept_ms: u64,
}

/// One pass over a class: the same slice of log to every member. It is used again when it has ended.
#[derive(Debug, Default)]
pub(crate) struct Sweep {
    /// The sequence at which the class stands when the pass has ended.
    pub(crate) to: u64,
    pub(crate) slice: Slice,
    /// The next member that is offered the slice.
    pub(crate) next: u32,
    /// When the oldest of its frames was taken from the channel, as `Entry::taken_us`.
    pub(crate) taken_us: u64,
    /// The members did not fit one group when it began.
    pub(crate) is_large: bool,
}

impl Sweep {
    /// As how many sends of a group one of its sends counts.
    pub(crate) fn weight(&self) -> usize {
        1 + self.slice.bytes().len() / SEND_BYTES
    }
}

impl Class {
    /// A class that nobody has yet.
    pub(crate) fn new(key: ClassKey, topic: u32) -> Self {
        Self {
            key,
            topic,
            attached: 0,
            members: Slots::new(),
            vacant: 0,
            is_unsorted: false,
            waiting: Slots::new(),
            is_dirty: false,
            is_queued: false,
            position: 0,
            appended_bytes: (0, 0),
            sweep: None,
            events: 0,
            swept_ms: 0,
        }
    }

    /// The topics of the class: its organisation's and the global one.
    pub(crate) fn reading(&self) -> Reading {
        Reading {
            scope: self.key.scope,
            user: None,
        }
    }

    /// The sweep, while it runs.
    pub(crate) fn running(&self) -> &Sweep {
        self.sweep.as_ref().expect("it is being swept")
    }

    /// Whether its members in step were sent everything: nothing is pending, nor being sent.
    pub(crate) fn is_complete(&self) -> bool {
        !self.is_dirty && self.sweep.is_none()
    }

    /// Members in step.
    pub(crate) fn live(&self) -> usize {
        self.members.len() - self.vacant as usize
    }

    /// As how many sends of a group counts what the running sweep, or else the next one, has yet to be
    /// offered to; members that left a running one are counted.
    pub(crate) fn remaining(&self) -> usize {
        match &self.sweep {
            Some(sweep) => (self.members.len() - sweep.next as usize) * sweep.weight(),
            None => self.live(),
        }
    }

    /// Up to where a connection that is behind may be sent: never ahead of its class.
    pub(crate) fn boundary(&self, head: u64) -> u64 {
        match &self.sweep {
            Some(sweep) => sweep.to,
            None if self.is_dirty => self.position,
            None => head,
        }
    }

    /// Where a member stands: the end of the running sweep if that has passed it.
    pub(crate) fn place_of(&self, member: u32, head: u64) -> u64 {
        match &self.sweep {
            Some(sweep) if member < sweep.next => sweep.to,
            Some(_) => self.position,
            None if self.is_dirty => self.position,
            None => head,
        }
    }

    /// How many frames a member has been offered, on the class's own count.
    pub(crate) fn events_of(&self, member: u32) -> u32 {
        match &self.sweep {
            Some(sweep) if member < sweep.next => self.events.wrapping_add(sweep.slice.frames()),
            _ => self.events,
        }
    }

    /// Takes a member in; no sweep may run. Returns its index.
    pub(crate) fn join(&mut self, slot: u32) -> u32 {
        assert!(self.sweep.is_none(), "a member joins between sweeps");
        self.is_unsorted |= self
            .members
            .last()
            .is_some_and(|last| *last == NONE || *last > slot);
        if self.members.len() == self.members.capacity() {
            // By a half, not by doubling: members are most of what a class costs.
            self.members.reserve_exact(self.members.len() / 2 + 4);
        }
        self.members.push(slot);
        (self.members.len() - 1) as u32
    }

    /// Leaves a tombstone in a member's place.
    pub(crate) fn leave(&mut self, member: u32) {
        let place = &mut self.members[member as usize];
        assert!(*place != NONE, "a member leaves once");
        *place = NONE;
        self.vacant += 1;
    }
}
