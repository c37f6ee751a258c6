//! The life of a world: faults, then none, then the end; and what has to hold at each turn.

use super::{Failure, Phase, World};
use crate::clients::End;
use crate::invariants;
use crate::queue::{Event, NodeFault};
use crate::sometimes::{Sometimes, State};
use crate::time::Time;
use crate::trace::Trace;

/// How long everybody may take to get everything, once nothing goes wrong any more.
const CALM_MAX: Time = Time::from_ms(400_000);

/// How much longer than a heartbeat a stream may be silent: two walks over the deadlines, a round that comes late
/// and the way.
const HEARTBEAT_SLACK: Time = Time::from_ms(5_000);

/// How long everything may take to be gone, once everybody has left.
const TEARDOWN: Time = Time::from_ms(20_000);

/// How soon everybody has a turn for whom something waits, when all is calm.
const MOMENT: Time = Time::from_ms(100);

/// A world cannot have more steps than this: one that does goes round in circles.
const STEPS_MAX: u64 = 1_000_000;

/// What became of a seed.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// The trace: the same for the same seed.
    pub hash: u64,
    /// How many events there were.
    pub steps: u64,
    /// How long the world lasted.
    pub lasted: Time,
    /// How many clients there were.
    pub clients: u32,
    /// How many streams were asked for.
    pub connects: u64,
    /// How many events clients received.
    pub events: u64,
    /// How many resets.
    pub resets: u64,
    /// What was reached.
    pub sometimes: Sometimes,
}

impl World {
    /// The whole life of a seed.
    ///
    /// # Errors
    ///
    /// What was found to be wrong.
    pub fn run(&mut self) -> Result<Outcome, Failure> {
        self.live().map_err(|why| self.failure(why))?;
        let clients = self.clients.iter();
        Ok(Outcome {
            hash: self.trace.hash(),
            steps: self.steps,
            lasted: self.now,
            clients: self.swarm.clients,
            connects: clients.clone().map(|it| it.connects).sum(),
            events: clients.clone().map(|it| it.events).sum(),
            resets: clients.map(|it| it.resets).sum(),
            sometimes: self.sometimes,
        })
    }

    /// What time it is.
    pub fn now(&self) -> Time {
        self.now
    }

    /// What happened.
    pub fn trace(&self) -> &Trace {
        &self.trace
    }

    pub(super) fn begin(&mut self) {
        for node in 0..self.swarm.nodes {
            let at = self.now + Time::from_ms(self.random.below(500));
            self.queue.push(at, Event::Boot { node });
            for which in NodeFault::ALL {
                self.plan_node_fault(node, which);
            }
        }
        for which in super::database::FAULTS {
            self.plan_database_fault(which);
        }
        self.wake_application(self.now + Time(1));
        for client in 0..self.swarm.clients {
            let at = self.now + Time::from_ms(self.random.below(3_000));
            self.wake_client(client, at);
        }
    }

    fn live(&mut self) -> Result<(), String> {
        self.pass(Time::from_ms(self.swarm.faults_ms))?;
        self.begin_calm();
        // Everybody has everything: it stays so for two heartbeats, and each of them is heard.
        let heartbeat = Time::from_ms(self.swarm.node.heartbeat_ms);
        let mut until = self.now + CALM_MAX;
        let mut rest = self.now;
        loop {
            let missing = match self.missing() {
                Some(missing) => {
                    rest = self.now;
                    missing
                }
                None if self.now.since(rest) >= heartbeat + heartbeat + HEARTBEAT_SLACK => break,
                None => {
                    self.check_heard()?;
                    until = self.now + CALM_MAX;
                    self.pass(Time::from_ms(1_000))?;
                    continue;
                }
            };
            if self.now > until {
                let status = |node: &crate::node::Node| {
                    let alive = node.alive.as_deref()?;
                    Some(alive.reader.status(alive.now_ms(self.now)))
                };
                let nodes: Vec<_> = self.nodes.iter().map(status).collect();
                return Err(format!("it does not come to rest: {missing}\n{nodes:#?}"));
            }
            self.pass(Time::from_ms(1_000))?;
        }
        self.check_rest()?;
        self.begin_teardown();
        self.pass(TEARDOWN)?;
        self.check_nothing_left()
    }

    pub(super) fn pass(&mut self, time: Time) -> Result<(), String> {
        let until = self.now + time;
        while self.queue.next().is_some_and(|next| next <= until) {
            self.step()?;
            if self.steps > STEPS_MAX {
                let whats_due = |node: &crate::node::Node| {
                    let alive = node.alive.as_deref()?;
                    let due_ms = alive.reader.deadline_ms();
                    Some((
                        alive.now_ms(self.now),
                        due_ms,
                        format!("{:?}", alive.reader),
                    ))
                };
                let nodes: Vec<_> = self.nodes.iter().map(whats_due).collect();
                return Err(format!("it goes round in circles: {nodes:?}"));
            }
        }
        self.now = until;
        self.model.follow(self.database.log());
        Ok(())
    }

    pub(super) fn begin_calm(&mut self) {
        self.trace
            .say(self.now, || String::from("nothing goes wrong any more"));
        self.phase = Phase::Calm;
        self.swarm.calm();
        self.network.rules = self.swarm.sockets;
        self.wake_application(self.now + Time(1));
        for node in &mut self.nodes {
            if let Some(alive) = &mut node.alive {
                alive.uplink.overloaded = 0;
                alive.set_clock(0);
            }
        }
        for number in 0..self.network.connections.len() as u32 {
            self.network.wake_reader(self.now, number, &mut self.queue);
        }
        for client in 0..self.swarm.clients {
            self.wake_client(client, self.now + Time::from_ms(1));
        }
    }

    /// What is missing before everybody has everything.
    fn missing(&self) -> Option<String> {
        if !self.is_written {
            return Some(String::from("somebody still writes"));
        }
        if let Some(node) = self.nodes.iter().find(|node| node.alive.is_none()) {
            return Some(format!("node {} is not back", node.number));
        }
        for client in &self.clients {
            let number = client.number;
            let Some(stream) = &client.stream else {
                return Some(format!(
                    "client {number} has no stream: {:?}",
                    client.refused
                ));
            };
            if !stream.oracle.is_open() {
                return Some(format!(
                    "client {number} was told nothing: {:?}",
                    stream.oracle
                ));
            }
            if let Some(owed) = stream.oracle.owes(&self.model) {
                return Some(format!(
                    "client {number} lacks {owed:?}: {:?}",
                    stream.oracle
                ));
            }
            let end = self.model.end();
            if !self.model.has_right(stream.oracle.viewer(), end) {
                return Some(format!("client {number} may not: {:?}", stream.oracle));
            }
        }
        None
    }

    /// A stream is never silent for much longer than a heartbeat.
    fn check_heard(&self) -> Result<(), String> {
        // Who waits for a place that the node has not reached hears nothing meanwhile, and begins to count there.
        let node = &self.swarm.node;
        let most = Time::from_ms(node.heartbeat_ms + node.resume_wait_ms) + HEARTBEAT_SLACK;
        for client in &self.clients {
            let stream = client.stream.as_ref().expect("nothing is missing");
            let silent = self.now.since(stream.oracle.heard);
            if silent > most {
                return Err(format!(
                    "client {} has heard nothing for {} ms: {:?}",
                    client.number,
                    silent.ms(),
                    stream.oracle
                ));
            }
        }
        Ok(())
    }

    /// Everybody has everything: what else has to be so then.
    fn check_rest(&mut self) -> Result<(), String> {
        for client in &self.clients {
            let stream = client.stream.as_ref().expect("nothing is missing");
            stream.oracle.complete(&self.model)?;
            let viewer = stream.oracle.viewer();
            let ends = self.model.session_ends(&viewer.session);
            let node = self.network.connections[stream.connection as usize].node;
            let node = self.nodes[node as usize]
                .alive
                .as_deref()
                .expect("nothing is missing");
            let (unix_ms, _) = node.unix_range_ms(self.now);
            if let Some((_, last_ms)) = ends
                && last_ms + invariants::OVER_MS < unix_ms
            {
                return Err(format!(
                    "{viewer:?} is open, and its session has ended at {last_ms}, at {unix_ms}"
                ));
            }
            self.sometimes.add(stream.oracle.reached(&self.model));
        }
        for node in &mut self.nodes {
            let alive = node.alive.as_mut().expect("nothing is missing");
            for core in &mut alive.cores {
                if core.engine.counters().evicted > 3 * core.frames_most.max(1) {
                    self.sometimes.reach(State::LogTurnedOver);
                }
            }
        }
        Ok(())
    }

    fn begin_teardown(&mut self) {
        self.trace
            .say(self.now, || String::from("everybody leaves"));
        self.phase = Phase::Teardown;
        for client in &mut self.clients {
            // What it has read is judged already.
            let _ = client.end(End::Broken);
        }
        for number in 0..self.network.connections.len() as u32 {
            self.network.leave(self.now, number, &mut self.queue);
        }
    }

    pub(super) fn check_nothing_left(&mut self) -> Result<(), String> {
        for node in &mut self.nodes {
            let Some(alive) = &mut node.alive else {
                continue;
            };
            let number = node.number;
            let is_delivered = alive.delivery.is_none() && alive.orders.is_empty();
            if !is_delivered || !alive.uplink.is_empty() {
                return Err(format!(
                    "node {number} has not handed over {:?}, {:?} and {:?}",
                    alive.delivery, alive.orders, alive.uplink
                ));
            }
            if alive.control.left_over() != [0; 5] {
                return Err(format!(
                    "the control thread of node {number} is left with {:?}: grants, requests, answers, tickets, \
                     questions",
                    alive.control.left_over()
                ));
            }
            for core in &mut alive.cores {
                // What was handed over a moment ago waits for the engine's turn.
                let waiting = (core.batches.len(), core.commands.len(), core.backlog.len());
                let is_due = core.at.is_some_and(|at| at.since(self.now) < MOMENT);
                let waiting = if is_due { (0, 0, 0) } else { waiting };
                if waiting != (0, 0, 0) || core.closing() > 0 || !core.live.is_empty() {
                    return Err(format!(
                        "{waiting:?} batches, commands and connections wait at node {number}, and {} close",
                        core.closing()
                    ));
                }
                let counters = core.engine.counters();
                if (counters.connections, counters.streams, counters.behind) != (0, 0, 0) {
                    return Err(format!("something is left: {counters:?}"));
                }
            }
            self.sometimes.add(alive.control.sometimes);
        }
        self.sometimes.add(self.network.sometimes);
        let nodes = self.nodes.iter().filter_map(|node| node.alive.as_deref());
        let lines = nodes.flat_map(|alive| alive.lines.iter().flatten());
        let lines = lines.map(|wire| wire.id);
        let lines = lines.chain(self.severed.iter().copied()).collect();
        match self.database.left_over(&lines) {
            (0, 0) => Ok(()),
            (backends, slots) => Err(format!(
                "the server is left with {backends} connections and {slots} slots that are nobody's"
            )),
        }
    }
}
