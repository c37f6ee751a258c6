//! In step, or behind: how a stream leaves its class and comes back.
//!
//! These are rules 2 and 3 of the log: a stream that leaves takes its exact place in the log with
//! it, is never sent anything beyond its class, and comes back only where both stand at one place.

use wire::{Format, Frame, Key, Scope};

use crate::Engine;
use crate::behind::Behind;
use crate::class::{Class, ClassKey};
use crate::planted::REJOIN_WITH_OWN_FRAMES;
use crate::record::{Bits, NONE, State};
use crate::{Now, limits};

impl Engine {
    /// Attaches a stream to the class with this key, made where there is none.
    pub(crate) fn attach(&mut self, slot: u32, key: ClassKey) {
        let found = match key.scope {
            Scope::Organisation(organisation) => {
                let topic = self.log.open_topic(wire::Topic::Organisation(organisation));
                let found = self.find_class(self.log.classes(topic), &key);
                found.unwrap_or_else(|| {
                    let class = self.make_class(key, topic);
                    self.log.topic_mut(topic).classes.push(class);
                    class
                })
            }
            Scope::Nothing | Scope::Everything => {
                self.find_class(&self.unrooted, &key).unwrap_or_else(|| {
                    let class = self.make_class(key, NONE);
                    self.unrooted.push(class);
                    class
                })
            }
        };
        self.classes[found as usize].attached += 1;
        self.table[slot].class = found;
    }

    /// Detaches a stream that is not in step from its class.
    pub(crate) fn detach(&mut self, slot: u32) {
        let class = std::mem::replace(&mut self.table[slot].class, NONE);
        self.classes[class as usize].attached -= 1;
        if self.classes[class as usize].attached == 0 {
            self.drop_class(class);
        }
    }

    /// Takes a stream out of its class: it is behind from now on, at its exact place.
    pub(crate) fn pull(&mut self, slot: u32) {
        let record = &mut self.table[slot];
        assert!(
            record.state == State::InStep,
            "only a stream in step is pulled"
        );
        let member = record.side;
        self.quiet_pull(slot);
        let record = &mut self.table[slot];
        let class = &mut self.classes[record.class as usize];
        let cursor = class.place_of(member, self.log.head());
        record.events = record.events.wrapping_add(class.events_of(member));
        class.leave(member);
        record.state = State::Behind;
        record.side = self.behind.insert(Behind {
            cursor,
            ..Behind::default()
        }) as u32;
    }

    /// Puts a stream that is behind into the queue of those that may be sent to.
    pub(crate) fn make_ready(&mut self, slot: u32) {
        let behind = &mut self.behind[self.table[slot].side as usize];
        if !behind.is_blocked && !behind.is_ready {
            behind.is_ready = true;
            self.ready.push_back(slot);
        }
    }

    /// What a stream that is behind does next, when nothing of it is half sent: go on, come back
    /// into step, or wait for its class.
    pub(crate) fn proceed(&mut self, now: Now, slot: u32) {
        let record = &self.table[slot];
        let behind = &self.behind[record.side as usize];
        assert!(
            behind.is_whole() && !behind.is_blocked,
            "something is half sent"
        );
        if record.state != State::Behind || record.bits.has(Bits::PARKED) {
            return;
        }
        let class = &self.classes[record.class as usize];
        let boundary = class.boundary(self.log.head());
        let is_due = record.bye.is_some()
            || record.reset.is_some()
            || record.bits.has(Bits::SUBSCRIPTION)
            || record.bits.has(Bits::AUTH);
        if is_due || behind.cursor < boundary {
            self.make_ready(slot);
        } else if self.can_rejoin(slot) {
            self.rejoin(now, slot);
        } else if !behind.is_waiting {
            let class = record.class;
            self.behind[record.side as usize].is_waiting = true;
            self.classes[class as usize].waiting.push(slot);
        }
    }

    /// Lets those that wait for a class go on: its boundary has moved.
    pub(crate) fn wake_waiting(&mut self, class: u32) {
        let mut waiting = std::mem::take(&mut self.classes[class as usize].waiting);
        for slot in waiting.drain(..) {
            // Whoever stands here may be gone by now, or be another.
            let record = &self.table[slot];
            if record.state != State::Behind || record.class != class {
                continue;
            }
            let behind = &mut self.behind[record.side as usize];
            if std::mem::take(&mut behind.is_waiting) {
                self.make_ready(slot);
            }
        }
        let class = &mut self.classes[class as usize];
        if class.waiting.is_empty() && waiting.capacity() <= limits::GROUP_MAX {
            class.waiting = waiting;
        }
    }

    /// A frame for a user is about to be appended: that user's streams that are in step and will be
    /// shown it leave their classes at this moment.
    pub(crate) fn pull_user(&mut self, user: Key, frame: &Frame) {
        let mut slot = self.users.first(&self.table, user);
        while slot != NONE {
            let next = self.table[slot].next;
            if self.table[slot].state == State::InStep && self.admits(slot, frame) {
                self.pull(slot);
                self.make_ready(slot);
            }
            slot = next;
        }
    }

    /// Whether a stream receives a frame of one of its topics.
    pub(crate) fn admits(&self, slot: u32, frame: &Frame) -> bool {
        let key = &self.classes[self.table[slot].class as usize].key;
        is_admitted(key, frame)
    }

    fn can_rejoin(&self, slot: u32) -> bool {
        let record = &self.table[slot];
        let class = &self.classes[record.class as usize];
        let cursor = self.behind[record.side as usize].cursor;
        class.sweep.is_none()
            && cursor == class.boundary(self.log.head())
            && (record.user == Key::NOBODY
                || REJOIN_WITH_OWN_FRAMES
                || !self.log.has_own_frame(record.user, cursor))
    }

    fn rejoin(&mut self, now: Now, slot: u32) {
        let class = &self.classes[self.table[slot].class as usize];
        if class.vacant as usize > class.members.len() / 2 {
            // A class that is seldom swept would otherwise keep a tombstone of everybody who left.
            self.order_members(self.table[slot].class);
        }
        let record = &mut self.table[slot];
        self.behind.remove(record.side as usize);
        let class = &mut self.classes[record.class as usize];
        record.events = record.events.wrapping_sub(class.events);
        record.state = State::InStep;
        record.side = class.join(slot);
        self.quiet_join(now, slot);
        let left_ms = self.quiet_left_ms(now, slot).unwrap_or_default();
        self.set_deadline_of(now, slot, self.config.heartbeat_ms.min(left_ms));
    }

    fn find_class(&self, classes: &[u32], key: &ClassKey) -> Option<u32> {
        classes
            .iter()
            .copied()
            .find(|class| self.classes[*class as usize].key == *key)
    }

    fn make_class(&mut self, mut key: ClassKey, topic: u32) -> u32 {
        key.filter = self.filters.take(key.filter);
        self.classes.insert(Class::new(key, topic)) as u32
    }

    fn drop_class(&mut self, slot: u32) {
        let class = self.classes.remove(slot as usize);
        self.filters.give_back(&class.key.filter);
        if class.topic == NONE {
            self.unrooted.retain(|other| *other != slot);
        } else {
            self.log
                .topic_mut(class.topic)
                .classes
                .retain(|other| *other != slot);
            self.log.settle(class.topic);
        }
    }
}

/// Whether a frame of one of its topics is for a stream of this class.
pub(crate) fn is_admitted(key: &ClassKey, frame: &Frame) -> bool {
    let is_within = match (frame.audience().within, key.scope) {
        (None, _) | (Some(_), Scope::Everything) => true,
        (Some(within), Scope::Organisation(organisation)) => within == organisation,
        (Some(_), Scope::Nothing) => false,
    };
    is_within && key.filter.admits(frame)
}

/// How many bytes longer than the frame itself an event block may be in a format.
pub(crate) fn slack_bytes(format: Format) -> usize {
    match format {
        Format::Event => 0,
        Format::Data | Format::Named => 256,
    }
}
