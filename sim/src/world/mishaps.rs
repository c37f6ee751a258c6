//! What befalls a node: it is killed, told to end, or its clock is set; its stream breaks at the worst moment; and it
//! starts again.

use engine::Command;
use wire::{CloseReason, Keys};

use super::nodes::alive;
use super::{Past, Phase, World};
use crate::node::{Alive, Core};
use crate::queue::{Event, NodeFault};
use crate::sometimes::State;
use crate::time::Time;

/// For how long balancers see that a node is about to end, before its streams are told: `drain.notice`.
const NOTICE: Time = Time::from_ms(500);

/// How long a node waits for its streams behind the time over which they are closed: what the product does.
const DRAIN_EXTRA: Time = Time::from_ms(5_000);

impl World {
    /// Something befalls a node.
    pub(super) fn on_node_fault(&mut self, node: u32, which: NodeFault) {
        self.plan_node_fault(node, which);
        let state = &self.nodes[node as usize];
        if self.phase != Phase::Faults || state.alive.is_none() || state.is_draining {
            return;
        }
        match which {
            NodeFault::Drain | NodeFault::Replace => self.drain(node),
            NodeFault::Kill => self.kill(node),
            NodeFault::Clock => self.set_clock(node),
        }
    }

    /// When that happens next.
    pub(super) fn plan_node_fault(&mut self, node: u32, which: NodeFault) {
        let mean_ms = match which {
            NodeFault::Drain => self.swarm.node.drain_ms,
            NodeFault::Kill => self.swarm.node.kill_ms,
            NodeFault::Clock => self.swarm.node.clock_ms,
            NodeFault::Replace => 0,
        };
        if mean_ms > 0 {
            let at = self.now + Time::from_ms(1 + self.random.below(2 * mean_ms));
            self.queue.push(at, Event::NodeFault { node, which });
        }
    }

    /// Somebody sets a node's clock: forward, or back, and it goes on from there.
    fn set_clock(&mut self, node: u32) {
        let step_ms = 1 + self.random.below(self.swarm.node.clock_step_ms) as i64;
        let is_back = self.random.chance(500);
        let alive = alive(&mut self.nodes, node);
        let step_ms = if is_back { -step_ms } else { step_ms };
        // Never further off than one step: whoever sets it means to set it right.
        let most_ms = self.swarm.node.clock_step_ms as i64;
        alive.set_clock((alive.skew_ms + step_ms).clamp(-most_ms, most_ms));
        if alive.cores.iter().any(|core| !core.live.is_empty()) {
            let state = match is_back {
                true => State::ClockSetBack,
                false => State::ClockSetForward,
            };
            self.sometimes.reach(state);
        }
    }

    /// The stream of a node breaks while it has a part of a transaction, perhaps.
    pub(super) fn break_within(&mut self, node: u32) {
        let broken_within = self.swarm.database.broken_within;
        if !self.random.chance(broken_within) {
            return;
        }
        let alive = alive(&mut self.nodes, node);
        if let Some(line) = alive.break_within() {
            self.database.hang_up(self.now, line);
        }
    }

    /// Clients wait at a node for what others have: whoever looks after it may tell it to end.
    pub(super) fn replace_perhaps(&mut self, node: u32) {
        if self.random.chance(self.swarm.database.drained) {
            let which = NodeFault::Replace;
            self.queue
                .push(self.now + Time(1), Event::NodeFault { node, which });
        }
    }

    fn drain(&mut self, node: u32) {
        self.nodes[node as usize].is_draining = true;
        let boot = alive(&mut self.nodes, node).boot;
        self.queue
            .push(self.now + NOTICE, Event::Farewell { node, boot });
    }

    /// The streams of a node that ends are told, a few at a time.
    pub(super) fn say_farewell(&mut self, node: u32) {
        let spread_ms = self.swarm.node.drain_spread_ms;
        let by = self.now + Time::from_ms(spread_ms);
        let alive = alive(&mut self.nodes, node);
        let boot = alive.boot;
        for core in &mut alive.cores {
            core.commands.push_back(Command::CloseAll {
                reason: CloseReason::Draining,
                spread_ms,
            });
        }
        for core in 0..self.swarm.engines {
            self.wake_core(node, core, self.now + Time(1));
        }
        self.queue
            .push(by + DRAIN_EXTRA, Event::Stopped { node, boot });
    }

    /// A node is no more: it was killed, or has ended.
    pub(super) fn kill(&mut self, node: u32) {
        self.trace
            .say(self.now, || format!("node {node} is killed"));
        let is_draining = std::mem::take(&mut self.nodes[node as usize].is_draining);
        let killed = self.nodes[node as usize].alive.take();
        let mut killed = killed.expect("only who lives is killed");
        let streams = |core: &mut Core| core.engine.counters().streams > 0;
        if !is_draining && killed.cores.iter_mut().any(streams) {
            self.sometimes.reach(State::NodeKilled);
        }
        let past = Past {
            shelves: killed.cores.iter_mut().map(Core::take_shelf).collect(),
            is_draining,
            has_closed_users: killed.control.has_closed_users,
            skew_ms: killed.skews_ms.1,
        };
        self.past.insert((node, killed.boot), past);
        self.sometimes.add(killed.control.sometimes);
        self.network.break_all(self.now, node, &mut self.queue);
        for wire in killed.lines.into_iter().flatten() {
            match wire.is_silent(self.now) {
                true => self.sever(wire.id),
                false => self.database.hang_up(self.now, wire.id),
            }
        }
        let at = self.now + Time::from_ms(self.random.log_uniform(1..=5_000));
        self.queue.push(at, Event::Boot { node });
    }

    /// A node starts.
    pub(super) fn on_boot(&mut self, node: u32) {
        let state = &mut self.nodes[node as usize];
        if state.alive.is_some() {
            return;
        }
        state.boots += 1;
        let boot = state.boots;
        let (low, high) = (self.random.next_u64(), self.random.next_u64());
        let mut secret = [0; 16];
        secret[..8].copy_from_slice(&low.to_le_bytes());
        secret[8..].copy_from_slice(&high.to_le_bytes());
        let config = self.database.reader_config(Keys::new(secret));
        let random = &mut self.random;
        let alive = Alive::start((node, boot), self.now, config, &self.swarm, random);
        self.nodes[node as usize].alive = Some(Box::new(alive));
        self.wake_replication(node, self.now + Time(1));
        self.wake_control(node, self.now + Time(2));
        for core in 0..self.swarm.engines {
            self.wake_core(node, core, self.now + Time(3));
        }
    }
}
