//! The nodes' threads have their turns, and what each did reaches the others. What befalls a node is in
//! `mishaps`.

use super::{Phase, World};
use crate::control::Circumstances;
use crate::invariants;
use crate::node::Alive;
use crate::queue::Event;
use crate::sometimes::State;
use crate::time::Time;

impl World {
    pub(super) fn on_core(&mut self, node: u32, core: u32) -> Result<(), String> {
        let rules = &self.swarm.node;
        let mut pause = Time(1 + self.random.below(rules.round_us));
        if self.random.chance(rules.starved) {
            pause = Time::from_ms(1 + self.random.below(rules.starved_ms));
        }
        let (now, queue, network) = (self.now, &mut self.queue, &mut self.network);
        let alive = alive(&mut self.nodes, node);
        // A session's end was reckoned by what the clock said then.
        let (least_ms, _) = alive.unix_range_ms(now);
        let engine = &mut alive.cores[core as usize];
        engine.at = None;
        engine.busy_until = now + pause;
        let next = engine.round(now, core, network, &mut alive.uplink, queue);
        let has_looked = invariants::check_core(now, least_ms, engine, network)?;
        let is_holding = has_looked && engine.engine.is_holding();
        let has_left = |engine: &crate::node::Core| engine.live.is_empty() && engine.was_visited;
        if self.phase == Phase::Faults && alive.cores.iter().all(has_left) {
            network.sometimes.reach(State::NoClients);
        }
        let has_said = !alive.uplink.is_empty();
        self.wake_core(node, core, next);
        if has_said {
            let delay = self.random.below(self.swarm.node.control_ms * 100) + 1;
            self.wake_control(node, now + Time(delay));
        }
        if is_holding && self.phase == Phase::Faults {
            self.replace_perhaps(node);
        }
        match has_looked {
            true => self.check_ends(node, core),
            false => Ok(()),
        }
    }

    pub(super) fn on_replication(&mut self, node: u32) -> Result<(), String> {
        let (now, rules) = (self.now, &self.swarm.database);
        let alive = alive(&mut self.nodes, node);
        alive.replication_at = None;
        let done = alive.replicate(now, node, rules, &mut self.queue, &mut self.sometimes)?;
        let has_answers = !alive.control.answers.is_empty();
        for notice in &done.notices {
            if notice.to_string().contains("it has gone silent") {
                self.sometimes.reach(State::ServerSilent);
            }
            self.trace.say(now, || format!("node {node}: {notice}"));
        }
        self.check_beginnings(node, &done)?;
        for (line, last_words) in done.closed {
            if !last_words.is_empty() {
                self.database.receive(now, line, &last_words);
            }
            self.database.hang_up(now, line);
        }
        for line in done.severed {
            self.sever(line);
        }
        self.break_within(node);
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
pub(super) fn alive(nodes: &mut [crate::node::Node], node: u32) -> &mut Alive {
    let alive = nodes[node as usize].alive.as_deref_mut();
    alive.expect("what concerns nobody is not due")
}
