//! The world of one seed: everything that there is, and what happens next to it. Who meets whom is
//! here; what somebody does then is in the room of each.

mod crowd;
mod database;
mod mishaps;
mod nodes;
mod ousting;
mod phases;
#[cfg(test)]
mod tests;
mod verdicts;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use crate::application::Application;
use crate::clients::{Client, Id};
use crate::model::Model;
use crate::network::Network;
use crate::node::{Node, Shelf};
use crate::postgres::{LineId, Postgres};
use crate::queue::{Event, Queue};
use crate::random::Random;
use crate::sometimes::Sometimes;
use crate::swarm::Swarm;
use crate::time::Time;
use crate::trace::Trace;

pub use phases::Outcome;

/// Why a world is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// The seed.
    pub seed: u64,
    /// When it was found.
    pub at: Time,
    /// What was found.
    pub why: String,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { seed, at, why } = self;
        write!(f, "seed {seed} at {} ms: {why}", at.ms())
    }
}

/// What is going on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Phase {
    /// Faults occur.
    Faults,
    /// None does, and everybody has to get everything.
    Calm,
    /// Everybody leaves, and nothing may be left.
    Teardown,
}

/// Slots were lost, or another server took over.
#[derive(Clone, Copy, Debug)]
struct Loss {
    at: Time,
    is_failover: bool,
}

/// What is known of a node that is no more.
struct Past {
    shelves: Vec<Shelf>,
    is_draining: bool,
    has_closed_users: bool,
    /// How far its clock was ahead of the database's at the most, in milliseconds.
    skew_ms: i64,
}

/// Everything that there is.
pub struct World {
    seed: u64,
    now: Time,
    phase: Phase,
    swarm: Swarm,
    random: Random,
    queue: Queue,
    network: Network,
    nodes: Vec<Node>,
    /// What the nodes were that were killed, by number and start: what they said is still read.
    past: BTreeMap<(u32, u32), Past>,
    database: Postgres,
    /// When the database is looked after next.
    database_at: Option<Time>,
    application: Application,
    /// When somebody writes next.
    application_at: Option<Time>,
    /// Whether nobody writes any more.
    is_written: bool,
    model: Model,
    clients: Vec<Client>,
    /// The connections over which a subscription is changed, and that of the stream whose it is.
    errands: BTreeMap<u32, u32>,
    /// Ids that somebody has received, of the last of them.
    seen: Vec<Id>,
    /// The epoch of every id, once one was received.
    epoch: Option<u32>,
    /// Whether something happened to the database: what it says is looked at then.
    is_database_touched: bool,
    /// When slots were lost, or another server was promoted.
    losses: Vec<Loss>,
    /// Lines that a node has given up, and the server has not found out yet.
    severed: BTreeSet<LineId>,
    /// How many revocations were written to put somebody out.
    oustings: u64,
    sometimes: Sometimes,
    trace: Trace,
    steps: u64,
}

impl World {
    /// The world of a seed, before anything happened.
    pub fn new(seed: u64, trace: Trace) -> Self {
        let mut random = Random::new(seed);
        let swarm = Swarm::draw(&mut random);
        let now = Time::from_ms(1_000);
        let mut database = Postgres::new(random.fork(), &swarm.database, now);
        database.set_reader(swarm.writers.batch_over, swarm.node.window_ms);
        if !swarm.follows_sessions {
            database.forget_sessions();
        }
        let network = Network::new(swarm.sockets, random.fork());
        let application = Application::new(random.fork(), &swarm.writers, now, &mut database);
        let clients = (0..swarm.clients)
            .map(|number| Client::new(number, &swarm.crowd, random.fork()))
            .collect();
        let mut world = Self {
            seed,
            now,
            phase: Phase::Faults,
            queue: Queue::default(),
            network,
            nodes: (0..swarm.nodes).map(Node::new).collect(),
            past: BTreeMap::new(),
            database,
            database_at: None,
            application,
            application_at: None,
            is_written: false,
            model: Model::new(swarm.writers.batch_over, swarm.node.window_ms),
            clients,
            errands: BTreeMap::new(),
            seen: Vec::new(),
            epoch: None,
            is_database_touched: true,
            losses: Vec::new(),
            severed: BTreeSet::new(),
            oustings: 0,
            sometimes: Sometimes::default(),
            trace,
            steps: 0,
            random,
            swarm,
        };
        world.begin();
        world
    }

    /// Something happens. Whether anything did.
    fn step(&mut self) -> Result<bool, String> {
        let Some((at, event)) = self.queue.pop() else {
            return Ok(false);
        };
        assert!(at >= self.now, "time goes on");
        self.now = at;
        if !self.is_due(event) {
            return Ok(true);
        }
        self.steps += 1;
        self.trace.event(at, event);
        match event {
            Event::Core { node, core, .. } => self.on_core(node, core)?,
            Event::Replication { node, .. } => self.on_replication(node)?,
            Event::Control { node, .. } => self.on_control(node),
            Event::Dialled { node, line, .. } => self.on_dialled(node, line),
            Event::Line { node, line, .. } => self.on_line(node, line)?,
            Event::Database => self.on_database(),
            Event::Application => self.on_application(),
            Event::DatabaseFault(which) => self.on_database_fault(which),
            Event::NodeFault { node, which } => self.on_node_fault(node, which),
            Event::Farewell { node, .. } => self.say_farewell(node),
            Event::Stopped { node, .. } => self.kill(node),
            Event::Severed { line } => {
                self.severed.remove(&LineId(line));
                self.database.hang_up(self.now, LineId(line));
            }
            Event::Oust { client } => self.oust(client),
            Event::Boot { node } => self.on_boot(node),
            Event::Client { client } => self.on_client(client)?,
            Event::Read { connection } => self.on_read(connection)?,
            Event::Arrive { connection } => self.on_arrive(connection),
        }
        self.is_database_touched |= matches!(
            event,
            Event::Replication { .. }
                | Event::Dialled { .. }
                | Event::Line { .. }
                | Event::Database
                | Event::Application
                | Event::DatabaseFault(_)
                | Event::Severed { .. }
                | Event::Oust { .. }
        );
        if std::mem::take(&mut self.is_database_touched) {
            self.pump_lines();
            self.heed_database();
        }
        self.trace.number(self.network.hash);
        Ok(true)
    }

    /// Whether an event still concerns whom it was meant for.
    fn is_due(&self, event: Event) -> bool {
        let alive = |node: u32, boot: u32| {
            let alive = self.nodes[node as usize].alive.as_deref();
            alive.filter(|alive| alive.boot == boot)
        };
        match event {
            Event::Core { node, boot, core } => {
                alive(node, boot).is_some_and(|it| it.cores[core as usize].at == Some(self.now))
            }
            Event::Replication { node, boot } => {
                alive(node, boot).is_some_and(|it| it.replication_at == Some(self.now))
            }
            Event::Control { node, boot } => {
                alive(node, boot).is_some_and(|it| it.control_at == Some(self.now))
            }
            Event::Dialled { node, boot, .. }
            | Event::Line { node, boot, .. }
            | Event::Farewell { node, boot }
            | Event::Stopped { node, boot } => alive(node, boot).is_some(),
            Event::Database => self.database_at == Some(self.now),
            Event::Application => self.application_at == Some(self.now),
            Event::Client { client } => self.clients[client as usize].due == Some(self.now),
            _ => true,
        }
    }

    /// A failure, now.
    fn failure(&self, why: String) -> Failure {
        Failure {
            seed: self.seed,
            at: self.now,
            why,
        }
    }
}
