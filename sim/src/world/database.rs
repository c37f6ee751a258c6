//! The database has its turn: bytes on its lines, what is due, who writes, and what befalls it.

use replication::limits::RECREATIONS_MAX;

use wire::GapReason;

use super::{Loss, Phase, World};
use crate::node::{Beginning, Done};
use crate::postgres::{Advance, LineId, Record};
use crate::queue::{Event, NodeFault};
use crate::sometimes::State;
use crate::time::Time;

/// What may befall the database.
const CRASH: u8 = 0;
const SHUTDOWN: u8 = 1;
const SLOT_LOSS: u8 = 2;
const FAILOVER: u8 = 3;
const SILENCE: u8 = 4;

/// Everything that may.
pub(super) const FAULTS: [u8; 5] = [CRASH, SHUTDOWN, SLOT_LOSS, FAILOVER, SILENCE];

/// How long it takes at the most until the server finds out that nobody is at the other end of a line, in
/// milliseconds: what `tcp_keepalives_idle` and its like may be set to.
const SEVERED_MS: u64 = 20_000;

/// How soon others find out that a node has fallen behind, at the latest, in microseconds.
const NOTICED_US: u64 = 8_000_000;

impl World {
    /// An attempt to connect has come to its end.
    pub(super) fn on_dialled(&mut self, node: u32, line: u8) {
        let is_refused = self.random.chance(self.swarm.database.refusal);
        let id = match is_refused {
            true => None,
            false => self.database.connect(self.now),
        };
        let alive = self.nodes[node as usize].alive.as_deref_mut();
        let alive = alive.expect("what concerns nobody is not due");
        let is_cut = self.now < alive.cut_until;
        if let Some(id) = id.filter(|_| is_cut) {
            self.database.hang_up(self.now, id);
        }
        alive.on_dialled(self.now, line, id.filter(|_| !is_cut));
        self.wake_replication(node, self.now + Time(1));
    }

    /// Bytes arrive at either end of a line.
    pub(super) fn on_line(&mut self, node: u32, line: u8) -> Result<(), String> {
        let alive = self.nodes[node as usize].alive.as_deref_mut();
        let alive = alive.expect("what concerns nobody is not due");
        let Some(wire) = &mut alive.lines[usize::from(line)] else {
            return Ok(());
        };
        while let Some(bytes) = wire.arrived_up(self.now) {
            self.database.receive(self.now, wire.id, &bytes);
        }
        if wire.arrive_down(self.now) || wire.is_over() {
            self.wake_replication(node, self.now + Time(1));
        }
        self.check_advances(node)
    }

    /// What a node moved the anchor past is lost to whoever starts next: it was handed over, and the window
    /// for it is over, by the server's own clock.
    pub(super) fn check_advances(&mut self, node: u32) -> Result<(), String> {
        for Advance { from, to } in self.database.take_advances() {
            self.model.follow(self.database.log());
            let alive = self.nodes[node as usize].alive.as_deref();
            let handed_over = alive.map_or(0, |alive| alive.handed_over);
            // A crash may take the anchor back to before the place where this node began.
            let floor = alive.and_then(|alive| alive.floor).map_or(0, |it| it.lsn.0);
            let passed = self.model.last_event_before(to);
            let passed = passed.filter(|end| *end > from.max(floor));
            if let Some(end) = passed.filter(|end| *end > handed_over) {
                return Err(format!(
                    "node {node} moved the anchor from {from:x} to {to:x}, past the events that end at {end:x}, \
                     and {handed_over:x} was handed over"
                ));
            }
            // The node counts in whole milliseconds, and knows the server's clock by one of its own.
            let window_us = (self.swarm.node.window_ms - 2) * 1_000;
            let is_recent = |at_us: u64| at_us + window_us > self.now.unix_us();
            let mut newest = self.database.log().records().iter().rev();
            let recent = newest.find_map(|record| match record {
                Record::Transaction(it) if it.end > from && it.end <= to => {
                    is_recent(it.unix_us).then_some(it.end)
                }
                _ => None,
            });
            if let Some(end) = recent {
                return Err(format!(
                    "node {node} moved the anchor from {from:x} to {to:x}, past {end:x}, which is within the window"
                ));
            }
        }
        Ok(())
    }

    /// A node begins to read, or to read anew: where the anchor stands, or before, so that nothing is lost
    /// that it kept; and anew only where slots were lost or another server took over.
    pub(super) fn check_beginnings(&mut self, node: u32, done: &Done) -> Result<(), String> {
        for Beginning {
            floor,
            timeline,
            gap,
            handed_over,
        } in &done.beginnings
        {
            let alive = self.nodes[node as usize].alive.as_deref_mut();
            let alive = alive.expect("it had its turn");
            // What it heard of the server before the one that is there now says nothing of this one's anchor.
            let is_of_this = *timeline == self.database.timeline();
            let anchor = self.database.anchor().filter(|_| is_of_this);
            if let Some(anchor) = anchor.filter(|anchor| floor > anchor) {
                return Err(format!(
                    "node {node} begins at {floor:x}, and the anchor stands at {anchor:x}"
                ));
            }
            let Some(reason) = gap else { continue };
            // A node that was away for longer than the window finds that the anchor has moved on.
            let is_left_behind = floor > handed_over;
            // What the server before it has still said may come after it was left.
            let since = match reason {
                GapReason::HistoryChanged => std::mem::replace(&mut alive.followed, self.now),
                _ => alive.began,
            };
            alive.began = self.now;
            let may = |loss: &&Loss| match reason {
                GapReason::SlotLost => true,
                GapReason::HistoryChanged => loss.is_failover,
                GapReason::PublicationChanged => false,
            };
            let losses = self.losses.iter().filter(|loss| loss.at >= since);
            let is_away = *reason == GapReason::SlotLost && is_left_behind;
            if !is_away && losses.filter(may).count() == 0 {
                return Err(format!(
                    "node {node} misses changes for {reason:?}, and since {} ms there was {:?}",
                    since.ms(),
                    self.losses
                ));
            }
        }
        Ok(())
    }

    /// What the database has said goes on its way, and lines break.
    pub(super) fn pump_lines(&mut self) {
        for node in 0..self.swarm.nodes {
            for line in 0..crate::node::LINES.len() {
                self.pump_line(node, line);
            }
        }
    }

    fn pump_line(&mut self, node: u32, line: usize) {
        let now = self.now;
        let Some(alive) = self.nodes[node as usize].alive.as_deref_mut() else {
            return;
        };
        let Some(wire) = &mut alive.lines[line] else {
            return;
        };
        if wire.is_ended || wire.is_broken || wire.is_silent(now) {
            return;
        }
        let (id, boot) = (wire.id, alive.boot);
        let outbox = self.database.outbox(now, id);
        if outbox.is_empty() {
            if self.database.is_closed(id) {
                wire.is_ended = true;
                self.wake_replication(node, now + Time(1));
            }
            return;
        }
        // In the midst of a transaction of which a part was handed over, more readily.
        let is_half = line == 0 && alive.reader.applied().is_some_and(|it| it.index > 0);
        let broken_line = self.swarm.database.broken_line * if is_half { 50 } else { 1 };
        if self.random.chance(broken_line) {
            wire.is_broken = true;
            self.database.hang_up(now, id);
            self.wake_replication(node, now + Time(1));
            return;
        }
        if let Some(at) = alive.pump(now, line, outbox, &self.swarm.database) {
            let line = line as u8;
            self.queue.push(at, Event::Line { node, boot, line });
        }
    }

    /// Nothing arrives any more at either end of a line of some node, or of all of its lines, for a while; and
    /// nobody is told, also not of an end.
    fn fall_silent(&mut self) {
        let node = self.random.below(u64::from(self.swarm.nodes)) as u32;
        let rules = self.swarm.database.clone();
        let until = self.now + Time::from_ms(self.random.between(200..=rules.silent_ms.max(200)));
        let is_cut = self.random.chance(rules.cut);
        let line = self.random.below(2 * crate::node::LINES.len() as u64) as usize;
        // The stream more often than the others.
        let line = if line < crate::node::LINES.len() {
            line
        } else {
            0
        };
        if self.random.chance(rules.drained) {
            // It falls behind: whoever looks after it tells it to end, and looks what is the matter.
            let within_us = until.since(self.now).0.min(NOTICED_US);
            let at = self.now + Time(1 + self.random.below(within_us));
            let which = NodeFault::Replace;
            self.queue.push(at, Event::NodeFault { node, which });
        }
        for client in 0..self.swarm.clients {
            if self.random.chance(rules.herded) {
                self.clients[client as usize].goes_to = Some(node);
                let at = self.now + Time(1 + self.random.below(NOTICED_US));
                self.wake_client(client, at);
            }
        }
        let Some(alive) = self.nodes[node as usize].alive.as_deref_mut() else {
            return;
        };
        if is_cut {
            alive.cut_until = until;
        }
        for number in 0..crate::node::LINES.len() {
            let wire = alive.lines[number].as_mut();
            if let Some(wire) = wire.filter(|_| is_cut || number == line) {
                wire.silent_until = until;
                let (boot, line) = (alive.boot, number as u8);
                self.queue.push(until, Event::Line { node, boot, line });
            }
        }
    }

    /// A line is given up by a node from which nothing arrives: the server finds out in its own time.
    pub(super) fn sever(&mut self, line: LineId) {
        let at = self.now + Time::from_ms(1 + self.random.below(SEVERED_MS));
        self.severed.insert(line);
        self.queue.push(at, Event::Severed { line: line.0 });
    }

    /// The database does what is due.
    pub(super) fn on_database(&mut self) {
        self.database_at = None;
        self.database.handle_timeout(self.now);
    }

    /// Looks after the database when it wants that.
    pub(super) fn heed_database(&mut self) {
        self.sometimes.add(self.database.take_reached());
        let Some(deadline) = self.database.deadline(self.now) else {
            return;
        };
        let at = deadline.max(self.now + Time(1));
        if self.database_at.is_none_or(|due| at < due) {
            self.database_at = Some(at);
            self.queue.push(at, Event::Database);
        }
    }

    /// Somebody writes.
    pub(super) fn on_application(&mut self) {
        let is_calm = self.phase != Phase::Faults;
        self.application_at = None;
        let next = self.application.step(self.now, &mut self.database, is_calm);
        self.model.follow(self.database.log());
        match next {
            Some(next) => self.wake_application(next),
            None => self.is_written = is_calm,
        }
    }

    /// Somebody writes at this time, if not before.
    pub(super) fn wake_application(&mut self, at: Time) {
        let at = at.max(self.now + Time(1));
        if self.application_at.is_none_or(|due| at < due) {
            self.application_at = Some(at);
            self.queue.push(at, Event::Application);
        }
    }

    /// Something befalls the database.
    pub(super) fn on_database_fault(&mut self, which: u8) {
        if self.phase != Phase::Faults {
            return;
        }
        if which == SLOT_LOSS || which == FAILOVER {
            // A node that had to begin anew so often within an hour waits for somebody to look.
            if self.losses.len() == RECREATIONS_MAX {
                return;
            }
            self.losses.push(Loss {
                at: self.now,
                is_failover: which == FAILOVER,
            });
        }
        let rules = self.swarm.database.clone();
        let back_at = self.now + Time::from_ms(1 + self.random.below(rules.down_ms));
        self.trace.say(self.now, || {
            let faults = ["crash", "shutdown", "loss of a slot", "failover", "silence"];
            format!("{} of the database", faults[usize::from(which)])
        });
        match which {
            CRASH => {
                let streams = |node: &crate::node::Node| {
                    let alive = node.alive.as_deref();
                    alive.is_some_and(|alive| alive.lines[0].is_some())
                };
                if self.nodes.iter().any(streams) {
                    self.sometimes.reach(State::ServerCrashed);
                }
                self.database.crash(self.now, back_at);
            }
            SHUTDOWN => self.database.shut_down(self.now, back_at),
            SILENCE => self.fall_silent(),
            SLOT_LOSS => match self.random.chance(rules.invalidation) {
                true => self.database.invalidate_slots(self.now),
                false => self.database.drop_slot(self.now),
            },
            _ => {
                let lost = self.random.below(6) as u32;
                let is_synced = self.random.chance(500);
                self.database.fail_over(self.now, back_at, lost, is_synced);
                self.model.follow(self.database.log());
            }
        }
        self.plan_database_fault(which);
    }

    /// When that happens next; another server is promoted once at the most.
    pub(super) fn plan_database_fault(&mut self, which: u8) {
        let rules = &mut self.swarm.database;
        let mean_ms = match which {
            CRASH => rules.crash_ms,
            SHUTDOWN => rules.shutdown_ms,
            SLOT_LOSS => rules.slot_loss_ms,
            SILENCE => rules.silence_ms,
            _ if std::mem::take(&mut rules.has_failover) => self.swarm.faults_ms / 2,
            _ => 0,
        };
        if mean_ms > 0 {
            let at = self.now + Time::from_ms(1 + self.random.below(2 * mean_ms));
            self.queue.push(at, Event::DatabaseFault(which));
        }
    }
}
