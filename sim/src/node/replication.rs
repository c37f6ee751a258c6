//! The replication thread: the loop of the node around the real reader, a round at a time.

use ::replication::{LineAction, Notice, Protection};
use wire::{Batch, GapReason, Lineage};

use super::{Alive, LINES, Wire};
use crate::postgres::LineId;
use crate::queue::{Event, Queue};
use crate::sometimes::{Sometimes, State};
use crate::swarm;
use crate::time::Time;

/// How long to wait before a full engine is tried again.
const FULL: Time = Time::from_ms(5);

/// How old the published status may be.
const STATUS: Time = Time::from_ms(50);

/// How often it is looked how old the feed is.
const AGE: Time = Time::from_ms(1_000);

/// How much a socket holds that is not read.
const SOCKET_BYTES: usize = 64 * 1024;

/// A node begins to read, or begins anew.
#[derive(Clone, Copy, Debug)]
pub struct Beginning {
    /// Where.
    pub floor: u64,
    /// On which timeline.
    pub timeline: u32,
    /// Why anew.
    pub gap: Option<GapReason>,
    /// What every engine had been handed before.
    pub handed_over: u64,
}

/// What a round of the thread did that others have to act on.
#[derive(Debug, Default)]
pub struct Done {
    /// Lines that were closed, and what was still on its way: the database hears of both.
    pub closed: Vec<(LineId, Vec<u8>)>,
    /// Lines that were closed while nothing arrived: the database does not hear of it.
    pub severed: Vec<LineId>,
    /// When the next round is wanted.
    pub next: Time,
    /// What the reader says of itself.
    pub notices: Vec<Notice>,
    /// Whether engines were handed something.
    pub has_handed_over: bool,
    /// Where it begins to read.
    pub beginnings: Vec<Beginning>,
}

impl Alive {
    /// One round of the thread, which has just been woken: what it reads is handed over, and what follows
    /// is written, before it waits again.
    pub fn replicate(
        &mut self,
        now: Time,
        node: u32,
        rules: &swarm::Database,
        queue: &mut Queue,
        sometimes: &mut Sometimes,
    ) -> Result<Done, String> {
        let mut done = Done::default();
        let now_ms = self.now_ms(now);
        for line in 0..LINES.len() {
            self.read(now, line, rules, &mut done);
        }
        self.reader.handle_timeout(now_ms);
        self.hand_over(now, &mut done, sometimes);
        while let Some(action) = self.reader.poll_action() {
            self.act(now, node, action, rules, queue, &mut done);
        }
        for line in 0..LINES.len() {
            self.check_confirmed(line, sometimes)?;
            self.write(now, node, line, rules, queue);
        }
        while let Some(notice) = self.reader.poll_notice() {
            done.notices.push(notice);
        }
        self.publish(now, sometimes);
        done.next = self.next_round(now);
        Ok(done)
    }

    fn hand_over(&mut self, now: Time, done: &mut Done, sometimes: &mut Sometimes) {
        let now_ms = self.now_ms(now);
        loop {
            if self.delivery.is_none() {
                let waiting = self.orders.len();
                self.carry_out(now, sometimes);
                done.has_handed_over |= self.orders.len() < waiting;
                let Some(batch) = self.reader.poll_batch(now_ms) else {
                    return;
                };
                if let Batch::Start(start) = &batch
                    && self.floor.is_none()
                {
                    self.floor = Some(start.floor);
                    done.beginnings.push(Beginning {
                        floor: start.floor.lsn.0,
                        timeline: start.lineage.timeline(),
                        gap: None,
                        handed_over: 0,
                    });
                }
                if let Batch::Gap(gap) = &batch {
                    self.floor = Some(gap.floor);
                    self.half = None;
                    done.beginnings.push(Beginning {
                        floor: gap.floor.lsn.0,
                        timeline: gap.lineage.timeline(),
                        gap: Some(gap.reason),
                        handed_over: self.handed_over,
                    });
                    // Another server may go on from before.
                    let is_same = gap.lineage == Lineage::new(gap.lineage.epoch(), Vec::new(), 1);
                    let is_ahead = gap.floor.lsn.0 >= self.handed_over;
                    assert!(is_ahead || !is_same, "{gap:?}, and nothing is missing");
                    self.handed_over = gap.floor.lsn.0;
                }
                self.delivery = Some((batch, (0..self.cores.len()).collect()));
            }
            if !self.deliver(sometimes) {
                done.has_handed_over = true;
                sometimes.reach(State::ChannelFull);
                return;
            }
            let (batch, _) = self.delivery.take().expect("it was just delivered");
            if let Batch::Commit(commit) = &batch {
                // What was handed over of it has come again by now, and the rest goes on behind that.
                if self
                    .half
                    .take_if(|half| *half <= commit.through.lsn)
                    .is_some()
                {
                    sometimes.reach(State::Replayed);
                }
                let bytes = commit.frames.iter().map(|frame| frame.bytes().len() as u64);
                if bytes.sum::<u64>() > self.cores[0].log_bytes_max {
                    sometimes.reach(State::TransactionLargerThanLog);
                }
                let end = commit.end.map_or(0, |end| end.0);
                self.handed_over = self.handed_over.max(end);
            }
            if let Batch::Progress(position) = &batch {
                self.handed_over = self.handed_over.max(position.lsn.0);
            }
            self.reader.handle_handed_over(now_ms);
            done.has_handed_over = true;
        }
    }

    /// Offers the batch to the engines that have not taken it. Whether all have now.
    fn deliver(&mut self, sometimes: &mut Sometimes) -> bool {
        let (batch, mut missing) = self.delivery.take().expect("there is one");
        for core in std::mem::take(&mut missing) {
            match self.cores[core].has_room() {
                true => self.push(core, batch.clone(), sometimes),
                false => missing.push(core),
            }
        }
        let is_over = missing.is_empty();
        self.delivery = Some((batch, missing));
        is_over
    }

    fn act(
        &mut self,
        now: Time,
        node: u32,
        action: LineAction,
        rules: &swarm::Database,
        queue: &mut Queue,
        done: &mut Done,
    ) {
        match action {
            LineAction::Open(line) => {
                let at = now + Time(1 + self.random.below(2 * rules.line_us));
                let (boot, line) = (self.boot, line as u8);
                queue.push(at, Event::Dialled { node, boot, line });
            }
            LineAction::Close(line) => {
                self.write(now, node, line as usize, rules, queue);
                if let Some(mut wire) = self.lines[line as usize].take() {
                    if wire.is_silent(now) {
                        done.severed.push(wire.id);
                        return;
                    }
                    // What was said last arrives before the end does.
                    let mut last_words = Vec::new();
                    while let Some(bytes) = wire.arrived_up(Time(u64::MAX)) {
                        last_words.extend_from_slice(&bytes);
                    }
                    done.closed.push((wire.id, last_words));
                }
            }
        }
    }

    /// The attempt to connect has come to its end.
    pub fn on_dialled(&mut self, now: Time, line: u8, wire: Option<LineId>) {
        let now_ms = self.now_ms(now);
        let line = LINES[usize::from(line)];
        match wire {
            Some(id) => {
                self.lines[line as usize] = Some(Wire::new(id));
                self.reader.handle_opened(line, Protection::None, now_ms);
            }
            None => self.reader.handle_failed(line, "refused", now_ms),
        }
    }

    fn write(
        &mut self,
        now: Time,
        node: u32,
        line: usize,
        rules: &swarm::Database,
        queue: &mut Queue,
    ) {
        let Some(out) = self.reader.outbox(LINES[line]) else {
            return;
        };
        if out.is_empty() {
            return;
        }
        let Some(wire) = &mut self.lines[line] else {
            return;
        };
        let way = Time(1 + self.random.below(rules.line_us));
        let at = wire.send(now, way, std::mem::take(out));
        let (boot, line) = (self.boot, line as u8);
        queue.push(at, Event::Line { node, boot, line });
    }

    fn read(&mut self, now: Time, line: usize, rules: &swarm::Database, done: &mut Done) {
        if !self.may_read(now, line) {
            return;
        }
        let now_ms = self.now_ms(now);
        let Some(wire) = &mut self.lines[line] else {
            return;
        };
        if wire.is_over() {
            done.closed.push((wire.id, Vec::new()));
            self.lines[line] = None;
            if line == 0 {
                let applied = self.reader.applied().filter(|applied| applied.index > 0);
                self.half = applied.map(|applied| applied.lsn);
            }
            self.reader
                .handle_failed(LINES[line], "the server closed the connection", now_ms);
            return;
        }
        let count = wire.read.len().min(rules.line_bytes_max as usize);
        if count > 0 {
            let rest = wire.read.split_off(count);
            let bytes = std::mem::replace(&mut wire.read, rest);
            self.reader.handle_bytes(LINES[line], &bytes, now_ms);
        }
    }

    fn may_read(&self, now: Time, line: usize) -> bool {
        self.reader.reads(LINES[line], self.now_ms(now)) && (line != 0 || self.delivery.is_none())
    }

    /// The stream breaks in the midst of a transaction of which a part was handed over, if it is there.
    pub fn break_within(&mut self) -> Option<LineId> {
        self.reader.applied().filter(|it| it.index > 0)?;
        let wire = self.lines[0].as_mut().filter(|wire| !wire.is_broken)?;
        wire.is_broken = true;
        Some(wire.id)
    }

    /// What the database has sent comes on its way; when it arrives, where there is anything.
    pub fn pump(
        &mut self,
        now: Time,
        line: usize,
        outbox: &mut Vec<u8>,
        rules: &swarm::Database,
    ) -> Option<Time> {
        let wire = self.lines[line].as_mut()?;
        let room = SOCKET_BYTES.saturating_sub(wire.pending());
        let count = outbox.len().min(room);
        if count == 0 {
            return None;
        }
        let way = Time(1 + self.random.below(rules.line_us));
        let bytes = outbox.drain(..count).collect();
        Some(wire.receive(now, way, bytes))
    }

    /// What is about to be said to the server: nothing is confirmed that not every engine was handed.
    fn check_confirmed(&mut self, line: usize, sometimes: &mut Sometimes) -> Result<(), String> {
        if line != 0 || self.lines[0].is_none() {
            return Ok(());
        }
        let Some(out) = self.reader.outbox(LINES[0]) else {
            return Ok(());
        };
        if !out.is_empty() && self.delivery.is_some() {
            sometimes.reach(State::AnsweredWhileFull);
        }
        let mut rest = &out[..];
        while let [tag, a, b, c, d, ..] = rest {
            let len = u32::from_be_bytes([*a, *b, *c, *d]) as usize;
            let Some(message) = rest.get(5..1 + len) else {
                break;
            };
            // The first message of a session has no tag: no status is as short as that.
            if *tag == b'd' && message.first() == Some(&b'r') && message.len() == 34 {
                let flush: [u8; 8] = message[9..17].try_into().expect("eight bytes");
                let flush = u64::from_be_bytes(flush);
                if flush > self.handed_over {
                    let handed_over = self.handed_over;
                    return Err(format!(
                        "{flush} is confirmed, and {handed_over} handed over"
                    ));
                }
            }
            rest = &rest[1 + len..];
        }
        Ok(())
    }

    fn publish(&mut self, now: Time, sometimes: &mut Sometimes) {
        if now.since(self.published) >= STATUS {
            self.applied = self.reader.applied();
            self.published = now;
        }
        if now.since(self.looked) >= AGE {
            self.looked = now;
            let status = self.reader.status(self.now_ms(now));
            if let Some(age_ms) = status.feed_age_ms {
                self.feed_age = Some((age_ms, now));
            }
            if status.anchors_lost > 0 && status.gaps == 0 && status.streaming {
                sometimes.reach(State::AnchorLostAlone);
            }
        }
    }

    /// How old the feed is by now.
    pub fn feed_age_ms(&self, now: Time) -> Option<u64> {
        self.feed_age
            .map(|(age_ms, at)| age_ms + now.since(at).ms())
    }

    fn next_round(&self, now: Time) -> Time {
        let mut at = self.since + Time::from_ms(self.reader.deadline_ms().min(1 << 40));
        if self.delivery.is_some() || !self.orders.is_empty() {
            at = at.min(now + FULL);
        }
        if self.applied != self.reader.applied() {
            at = at.min(self.published + STATUS);
        }
        let is_readable = |line: usize| {
            let wire = self.lines[line].as_ref();
            wire.is_some_and(|wire| !wire.read.is_empty() || wire.is_over())
                && self.may_read(now, line)
        };
        if (0..LINES.len()).any(is_readable) {
            at = now;
        }
        at.max(now + Time(1))
    }
}
