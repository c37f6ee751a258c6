//! Sweeps: the same slice of log to every member of a class, a bounded group of sends at a time.

use arrayvec::ArrayVec;
use wire::CloseReason;

use crate::behind::Partial;
use crate::driver::{Close, Outcome, Transmit, Watch};
use crate::limits::{GROUP_MAX, STALL_MS};
use crate::record::{NONE, State};
use crate::step::is_admitted;
use crate::time::Tick;
use crate::{Driver, Engine, Now};

/// A send of a group: to whom, and of which class.
type Member = (u32, u32);

/// A sweep whose last send has been made: what is counted of it when the clock has been read again.
#[derive(Clone, Copy, Debug)]
pub(crate) struct EndedSweep {
    taken_us: u64,
    events: u64,
    is_large: bool,
}

impl Engine {
    /// Says that a class has frames after its place, which is where it stood before them.
    pub(crate) fn mark_dirty(&mut self, slot: u32, place: u64, appended_bytes: (u64, u64)) {
        let class = &mut self.classes[slot as usize];
        if !class.is_dirty {
            assert!(class.sweep.is_none(), "a class that is swept is dirty");
            class.is_dirty = true;
            class.position = place;
            class.appended_bytes = appended_bytes;
        }
        self.enqueue(slot);
    }

    /// Offers their slices to all that is left of the next small classes, as many as fit one group.
    /// Whether there were any in this round.
    pub(crate) fn sweep_small(&mut self, now: Now, driver: &mut dyn Driver) -> bool {
        let mut members = ArrayVec::<Member, GROUP_MAX>::new();
        let mut classes = ArrayVec::<u32, GROUP_MAX>::new();
        let mut weight = 0;
        while let Some(slot) = self.queues.first_small() {
            if !self.is_queued(slot) {
                self.queues.pop_small();
                continue;
            }
            if self.classes[slot as usize].sweep.is_none() {
                self.begin_sweep(slot);
            }
            let remaining = self.classes[slot as usize].remaining();
            let fits = weight + remaining <= self.group && classes.len() < self.group;
            if !fits && !classes.is_empty() {
                break;
            }
            self.queues.pop_small();
            self.classes[slot as usize].is_queued = false;
            if !fits {
                // It has grown since it was queued, or what it is offered is long.
                self.enqueue(slot);
                continue;
            }
            weight += remaining;
            let class = &mut self.classes[slot as usize];
            let sweep = class.sweep.as_mut().expect("it has begun");
            let rest = &class.members[sweep.next as usize..];
            let rest = rest.iter().filter(|member| **member != NONE);
            members.extend(rest.map(|member| (*member, slot)));
            sweep.next = class.members.len() as u32;
            classes.push(slot);
        }
        if classes.is_empty() {
            self.queues.end_round();
            return false;
        }
        self.sweep_group(now, &members, driver);
        for class in &classes {
            self.end_sweep(now, *class);
        }
        true
    }

    /// Offers the slice of the next large class to the next group of its members.
    pub(crate) fn sweep_large(&mut self, now: Now, driver: &mut dyn Driver) {
        let Some(slot) = self.pop_large() else {
            return;
        };
        self.classes[slot as usize].is_queued = false;
        if self.classes[slot as usize].sweep.is_none() {
            self.begin_sweep(slot);
        }
        let class = &mut self.classes[slot as usize];
        let sweep = class.sweep.as_mut().expect("it has begun");
        if sweep.slice.frames() == 0 && class.key.page.is_none() {
            // Nothing of it is for anybody: nobody needs to be walked through.
            sweep.next = class.members.len() as u32;
        }
        let mut members = ArrayVec::<Member, GROUP_MAX>::new();
        let most = (self.group / sweep.weight()).max(1);
        for member in &class.members[sweep.next as usize..] {
            sweep.next += 1;
            if *member != NONE {
                members.push((*member, slot));
            }
            if members.len() == most {
                break;
            }
        }
        let is_last = sweep.next as usize == class.members.len();
        self.sweep_group(now, &members, driver);
        if is_last {
            self.end_sweep(now, slot);
        } else if self.classes.contains(slot as usize) {
            self.enqueue(slot);
        }
    }

    /// Counts the sweeps of the last turn, now that the clock has been read again.
    pub(crate) fn observe_ended_sweeps(&mut self, now: Now) {
        for ended in self.ended_sweeps.drain(..) {
            let delays = match ended.is_large {
                false => &mut self.counters.delays_small,
                true => &mut self.counters.delays_large,
            };
            let elapsed_us = now.monotonic_us().saturating_sub(ended.taken_us);
            delays.observe(elapsed_us, ended.events);
        }
    }

    /// Puts a dirty class into the queue for what is left of it.
    fn enqueue(&mut self, slot: u32) {
        let class = &mut self.classes[slot as usize];
        if class.is_queued {
            return;
        }
        class.is_queued = true;
        self.queues.push(slot, class.remaining());
    }

    /// The large class whose turn it is.
    fn pop_large(&mut self) -> Option<u32> {
        loop {
            let slot = self.queues.pop_large()?;
            if self.is_queued(slot) {
                return Some(slot);
            }
        }
    }

    /// Whether the class of a slot in a queue still waits: it may be gone, or be another by now.
    fn is_queued(&self, slot: u32) -> bool {
        let class = self.classes.get(slot as usize);
        class.is_some_and(|class| class.is_queued)
    }

    /// Fixes the slice and the end of a sweep, and puts the members in order.
    fn begin_sweep(&mut self, slot: u32) {
        let class = &self.classes[slot as usize];
        assert!(
            class.is_dirty && class.sweep.is_none(),
            "a sweep begins on a dirty class"
        );
        let reading = class.reading();
        if self.log.has_lost(reading, class.position) {
            self.give_up_members(slot);
        }
        let mut sweep = self.spare_sweeps.pop().unwrap_or_default();
        let class = &self.classes[slot as usize];
        let mut appended_bytes = class.appended_bytes;
        sweep.to = class.position;
        // Pages that wait are answered each by itself.
        let is_page = class.key.page.is_some();
        let mut reached_head = true;
        for entry in self.log.after(reading, class.position) {
            if is_page {
                break;
            }
            if is_admitted(&class.key, &entry.frame) {
                let is_first = sweep.slice.frames() == 0;
                if !sweep
                    .slice
                    .push(entry.sequence, &entry.frame, class.key.format)
                {
                    reached_head = false;
                    break;
                }
                if is_first {
                    sweep.taken_us = entry.taken_us;
                }
            }
            sweep.to = entry.sequence;
            appended_bytes.0 = entry.appended_bytes.0;
            if matches!(entry.frame.audience().topic, wire::Topic::Organisation(_)) {
                appended_bytes.1 = entry.appended_bytes.1;
            }
        }
        if reached_head {
            let topic = (class.topic != NONE).then_some(class.topic);
            sweep.to = self.log.head();
            appended_bytes = self.log.appended_bytes(topic);
        }
        self.order_members(slot);
        let class = &mut self.classes[slot as usize];
        class.appended_bytes = appended_bytes;
        sweep.is_large = class.members.len() > self.group;
        class.sweep = Some(sweep);
        self.wake_waiting(slot);
    }

    /// The log could not keep what a class has not been offered. The intake sees to it that this takes
    /// a single change that is larger than half of an organisation's share. The members are behind
    /// from now on, where each of them finds its place gone.
    fn give_up_members(&mut self, slot: u32) {
        for member in self.classes[slot as usize].members.clone() {
            if member != NONE {
                self.pull(member);
                self.make_ready(member);
            }
        }
        let class = &mut self.classes[slot as usize];
        let topic = (class.topic != NONE).then_some(class.topic);
        class.position = self.log.head();
        class.appended_bytes = self.log.appended_bytes(topic);
    }

    /// Sorts the members by slot, which is the order of their sockets in memory, and removes the
    /// tombstones.
    pub(crate) fn order_members(&mut self, slot: u32) {
        let class = &mut self.classes[slot as usize];
        if class.vacant == 0 && !class.is_unsorted {
            return;
        }
        class.members.retain(|member| *member != NONE);
        class.members.sort_unstable();
        class.vacant = 0;
        class.is_unsorted = false;
        if class.members.len() < class.members.capacity() / 2 {
            class.members.shrink_to_fit();
        }
        for (index, member) in (0..).zip(&class.members) {
            self.table[*member].side = index;
        }
    }

    /// Sends to one group, each member its class's slice, and moves out whoever did not take all.
    fn sweep_group(&mut self, now: Now, members: &[Member], driver: &mut dyn Driver) {
        self.wake_pages(members);
        let mut expired = ArrayVec::<u32, GROUP_MAX>::new();
        let mut short = ArrayVec::<(u32, Outcome), GROUP_MAX>::new();
        self.counters.deliveries += self.offer(now, members, &mut expired, &mut short, driver);
        for slot in &expired {
            self.expire_swept(now, *slot);
        }
        for (slot, outcome) in &short {
            self.settle_short(now, *slot, *outcome, driver);
        }
    }

    /// One call of the driver: each member is offered its class's slice, but for those whose session
    /// has ended since it was last looked at. Returns how many frames were delivered to those who took
    /// everything; of them nothing else has to be said.
    fn offer(
        &self,
        now: Now,
        members: &[Member],
        expired: &mut ArrayVec<u32, GROUP_MAX>,
        short: &mut ArrayVec<(u32, Outcome), GROUP_MAX>,
        driver: &mut dyn Driver,
    ) -> u64 {
        let tick = Tick::at(now.monotonic_ms);
        let mut group = ArrayVec::<Transmit<'_>, GROUP_MAX>::new();
        let mut frames = ArrayVec::<u32, GROUP_MAX>::new();
        for members in members.chunk_by(|one, next| one.1 == next.1) {
            let slice = &self.classes[members[0].1 as usize].running().slice;
            let (bytes, count) = (slice.bytes(), slice.frames());
            for (slot, _) in members {
                let record = &self.table[*slot];
                if record.expires <= tick && record.state == State::InStep {
                    expired.push(*slot);
                } else if count > 0 {
                    frames.push(count);
                    group.push(Transmit {
                        connection: record.handle(*slot),
                        bytes,
                        outcome: Outcome::Pending,
                    });
                }
            }
        }
        if !group.is_empty() {
            driver.send(&mut group);
        }
        let mut deliveries = 0;
        for (send, frames) in group.iter().zip(&frames) {
            if send.outcome == Outcome::Taken(send.bytes.len()) {
                deliveries += u64::from(*frames);
            } else {
                short.push((send.connection.slot, send.outcome));
            }
        }
        deliveries
    }

    /// A member was passed over, since its session has ended.
    fn expire_swept(&mut self, now: Now, slot: u32) {
        let class = &self.classes[self.table[slot].class as usize];
        let offered = class.running().slice.frames();
        self.end_stream(now, slot, CloseReason::SessionExpired);
        let record = &mut self.table[slot];
        record.events = record.events.wrapping_sub(offered);
    }

    /// A member took less than all of what it was offered.
    fn settle_short(&mut self, now: Now, slot: u32, outcome: Outcome, driver: &mut dyn Driver) {
        let class = &self.classes[self.table[slot].class as usize];
        let ends = class.running().slice.ends();
        let taken = match outcome {
            Outcome::Pending => panic!("the driver left a send without an outcome"),
            Outcome::Broken => {
                // It was sent nothing of what its class counts as offered.
                let record = &mut self.table[slot];
                record.events = record.events.wrapping_sub(ends.len() as u32);
                self.counters.send_failures += 1;
                self.close(now, slot, CloseReason::ClientGone, Close::Orderly, driver);
                return;
            }
            Outcome::Taken(taken) => taken,
        };
        let whole = ends.partition_point(|(_, end)| *end as usize <= taken);
        let (cursor, end) = match whole {
            0 => (class.position, 0),
            _ => ends[whole - 1],
        };
        let (sequence, _) = ends[whole];
        let (offered, sent) = (ends.len() as u32, taken as u32 - end);
        self.counters.deliveries += whole as u64;
        self.pull(slot);
        let record = &mut self.table[slot];
        record.events = record.events.wrapping_sub(offered - whole as u32);
        let behind = &mut self.behind[record.side as usize];
        behind.cursor = cursor;
        behind.partial = (sent > 0).then_some(Partial { sequence, sent });
        self.block(now, slot, driver);
    }

    /// A socket is full: it is watched, and given a deadline that does not depend on it.
    pub(crate) fn block(&mut self, now: Now, slot: u32, driver: &mut dyn Driver) {
        self.counters.short_sends += 1;
        let record = &self.table[slot];
        let behind = &mut self.behind[record.side as usize];
        behind.is_blocked = true;
        behind.stalled = Tick::after(now, STALL_MS);
        if behind.is_long && behind.long_stalled.is_none() {
            behind.long_stalled = Some(self.responses.stall(now, slot));
        }
        driver.watch(self.table.handle(slot), Watch::Writable);
        // Last words, and a stream that is held, keep the deadline they have: taking a byte now and
        // then must not move it.
        if record.state == State::Behind && record.bye.is_none() {
            self.set_deadline_of(now, slot, STALL_MS);
        }
    }

    fn end_sweep(&mut self, now: Now, slot: u32) {
        // The last member may have left, and the class with it.
        let Some(class) = self.classes.get_mut(slot as usize) else {
            return;
        };
        let mut sweep = class.sweep.take().expect("it is being swept");
        let frames = sweep.slice.frames();
        class.position = sweep.to;
        class.events = class.events.wrapping_add(frames);
        if frames > 0 {
            class.swept_ms = now.monotonic_ms;
            self.ended_sweeps.push(EndedSweep {
                taken_us: sweep.taken_us,
                events: u64::from(frames),
                is_large: sweep.is_large,
            });
        }
        if self.spare_sweeps.len() < GROUP_MAX {
            sweep.slice.clear();
            sweep.next = 0;
            self.spare_sweeps.push(sweep);
        }
        let reading = class.reading();
        // What came while it ran may be gone already: nobody has been offered it.
        class.is_dirty = self.log.next(reading, class.position).is_some()
            || self.log.has_lost(reading, class.position);
        if class.is_dirty {
            self.enqueue(slot);
        }
        self.wake_waiting(slot);
    }
}
