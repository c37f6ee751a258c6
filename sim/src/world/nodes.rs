//! The nodes' threads have their turns, and what each did reaches the others.

use engine::Command;
use wire::{CloseReason, Keys};

use super::{Past, Phase, World};
use crate::control::Circumstances;
use crate::invariants;
use crate::node::{Alive, Core};
use crate::queue::Event;
use crate::sometimes::State;
use crate::time::Time;

/// Over how long the streams of a node that ends are closed.
const DRAIN_MS: u64 = 2_000;

impl World {
    pub(super) fn on_core(&mut self, node: u32, core: u32) -> Result<(), String> {
        let rules = &self.swarm.node;
        let mut pause = Time(1 + self.random.below(rules.round_us));
        if self.random.chance(rules.starved) {
            pause = Time::from_ms(1 + self.random.below(rules.starved_ms));
        }
        let (now, queue, network) = (self.now, &mut self.queue, &mut self.network);
        let alive = alive(&mut self.nodes, node);
        let unix_ms = alive.unix_ms(now);
        let engine = &mut alive.cores[core as usize];
        engine.at = None;
        engine.busy_until = now + pause;
        let next = engine.round(now, core, network, &mut alive.uplink, queue);
        if engine.live.is_empty() {
            network.sometimes.reach(State::NoClients);
        }
        invariants::check_core(now, unix_ms, engine, network)?;
        let has_said = !alive.uplink.is_empty();
        self.wake_core(node, core, next);
        if has_said {
            let delay = self.random.below(self.swarm.node.control_ms * 100) + 1;
            self.wake_control(node, now + Time(delay));
        }
        Ok(())
    }

    pub(super) fn on_replication(&mut self, node: u32) -> Result<(), String> {
        let (now, rules) = (self.now, &self.swarm.database);
        let alive = alive(&mut self.nodes, node);
        alive.replication_at = None;
        let done = alive.replicate(now, node, rules, &mut self.queue, &mut self.sometimes)?;
        let has_answers = !alive.control.answers.is_empty();
        for notice in &done.notices {
            self.trace.say(now, || format!("node {node}: {notice}"));
        }
        self.check_beginnings(node, &done)?;
        for (line, last_words) in done.closed {
            if !last_words.is_empty() {
                self.database.receive(now, line, &last_words);
            }
            self.database.hang_up(now, line);
        }
        self.check_advances(node)?;
        if done.has_handed_over {
            for core in 0..self.swarm.engines {
                let at = now + Time(1 + self.random.below(200));
                self.wake_core(node, core, at);
            }
        }
        if has_answers {
            let delay = self.random.below(self.swarm.node.control_ms * 100) + 1;
            self.wake_control(node, now + Time(delay));
        }
        let rules = &self.swarm.node;
        let pause = match self.random.chance(rules.starved) {
            true => Time::from_ms(1 + self.random.below(rules.starved_ms)),
            false => Time(1 + self.random.below(rules.round_us)),
        };
        let alive = self.nodes[node as usize].alive.as_deref_mut();
        alive.expect("it had its turn").busy_until = now + pause;
        self.wake_replication(node, done.next);
        Ok(())
    }

    pub(super) fn on_control(&mut self, node: u32) {
        let now = self.now;
        let is_draining = self.nodes[node as usize].is_draining;
        let alive = alive(&mut self.nodes, node);
        alive.control_at = None;
        let circumstances = Circumstances {
            now,
            unix_ms: alive.unix_ms(now),
            applied: alive.applied,
            feed_age_ms: alive.feed_age_ms(now),
            is_draining,
        };
        let told = alive
            .control
            .round(circumstances, &mut alive.uplink, &self.database);
        let next = alive.control.deadline();
        let has_orders = !told.orders.is_empty();
        alive.orders.extend(told.orders);
        let mut cores = Vec::new();
        for (core, command) in told.commands {
            if let Some(engine) = alive.cores.get_mut(core) {
                engine.commands.push_back(command);
                cores.push(core as u32);
            }
        }
        for core in cores {
            let at = now + Time(1 + self.random.below(200));
            self.wake_core(node, core, at);
        }
        if has_orders {
            let at = now + Time(1 + self.random.below(200));
            self.wake_replication(node, at);
        }
        // The age of the feed is looked at although nobody asks.
        let second = now + Time::from_ms(1_000);
        self.wake_control(
            node,
            next.map_or(second, |next| next.min(second))
                .max(now + Time(1)),
        );
    }

    /// Something befalls a node.
    pub(super) fn on_node_fault(&mut self, node: u32, is_drain: bool) {
        self.plan_node_fault(node, is_drain);
        let state = &self.nodes[node as usize];
        if self.phase != Phase::Faults || state.alive.is_none() || state.is_draining {
            return;
        }
        match is_drain {
            true => self.drain(node),
            false => self.kill(node),
        }
    }

    /// When that happens next.
    pub(super) fn plan_node_fault(&mut self, node: u32, is_drain: bool) {
        let mean_ms = match is_drain {
            true => self.swarm.node.drain_ms,
            false => self.swarm.node.kill_ms,
        };
        if mean_ms > 0 {
            let at = self.now + Time::from_ms(1 + self.random.below(2 * mean_ms));
            self.queue.push(at, Event::NodeFault { node, is_drain });
        }
    }

    fn drain(&mut self, node: u32) {
        self.nodes[node as usize].is_draining = true;
        let alive = alive(&mut self.nodes, node);
        let boot = alive.boot;
        for core in &mut alive.cores {
            core.commands.push_back(Command::CloseAll {
                reason: CloseReason::Draining,
                spread_ms: DRAIN_MS,
            });
        }
        for core in 0..self.swarm.engines {
            self.wake_core(node, core, self.now + Time(1));
        }
        let at = self.now + Time::from_ms(2 * DRAIN_MS);
        self.queue.push(at, Event::Stopped { node, boot });
    }

    pub(super) fn kill(&mut self, node: u32) {
        self.trace
            .say(self.now, || format!("node {node} is killed"));
        let is_draining = std::mem::take(&mut self.nodes[node as usize].is_draining);
        let killed = self.nodes[node as usize].alive.take();
        let mut killed = killed.expect("only who lives is killed");
        let past = Past {
            shelves: killed.cores.iter_mut().map(Core::take_shelf).collect(),
            is_draining,
            skew_ms: killed.skew_ms,
        };
        self.past.insert((node, killed.boot), past);
        if killed.cores.iter().any(|core| !core.live.is_empty()) {
            self.sometimes.reach(State::NodeKilled);
        }
        self.sometimes.add(killed.control.sometimes);
        self.network.break_all(self.now, node, &mut self.queue);
        for wire in killed.lines.into_iter().flatten() {
            self.database.hang_up(self.now, wire.id);
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

    pub(super) fn wake_core(&mut self, node: u32, core: u32, at: Time) {
        let Some(alive) = self.nodes[node as usize].alive.as_deref_mut() else {
            return;
        };
        let engine = &mut alive.cores[core as usize];
        let at = at.max(engine.busy_until);
        let (boot, due) = (alive.boot, &mut engine.at);
        if due.is_none_or(|due| at < due) {
            *due = Some(at);
            self.queue.push(at, Event::Core { node, boot, core });
        }
    }

    pub(super) fn wake_replication(&mut self, node: u32, at: Time) {
        let Some(alive) = self.nodes[node as usize].alive.as_deref_mut() else {
            return;
        };
        let at = at.max(alive.busy_until);
        if alive.replication_at.is_none_or(|due| at < due) {
            alive.replication_at = Some(at);
            let boot = alive.boot;
            self.queue.push(at, Event::Replication { node, boot });
        }
    }

    pub(super) fn wake_control(&mut self, node: u32, at: Time) {
        let Some(alive) = self.nodes[node as usize].alive.as_deref_mut() else {
            return;
        };
        if alive.control_at.is_none_or(|due| at < due) {
            alive.control_at = Some(at);
            let boot = alive.boot;
            self.queue.push(at, Event::Control { node, boot });
        }
    }
}

/// A node that runs, as the event says that concerns it.
fn alive(nodes: &mut [crate::node::Node], node: u32) -> &mut Alive {
    let alive = nodes[node as usize].alive.as_deref_mut();
    alive.expect("what concerns nobody is not due")
}
