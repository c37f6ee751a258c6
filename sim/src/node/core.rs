//! An engine's thread: the loop of the driver around the real engine, a round at a time.

use std::collections::VecDeque;

use engine::{Command, Config, Engine, Handle, Next, Now, Watch};
use wire::{Batch, Key, Topic};

use super::{Shelf, Uplink, ahead};
use crate::network::{Network, Sockets};
use crate::queue::Queue;
use crate::random::Random;
use crate::sometimes::State;
use crate::swarm;
use crate::time::Time;

/// The longest sleep of an engine's thread.
const SLEEP_MAX: Time = Time::from_ms(1_000);

/// How long accepting pauses when there is no descriptor.
const ACCEPT_PAUSE: Time = Time::from_ms(100);

/// How many batches, and how many commands, a round takes.
const TAKEN_MAX: usize = 64;

/// An engine, its channels, and its sockets.
#[derive(Debug)]
pub struct Core {
    /// The engine under test.
    pub engine: Engine,
    /// What the replication thread has handed over.
    pub batches: VecDeque<Batch>,
    /// What the control thread has said.
    pub commands: VecDeque<Command>,
    /// Connections that were made and not accepted.
    pub backlog: VecDeque<u32>,
    /// Connections that were accepted and not closed, by descriptor.
    pub live: Vec<u32>,
    /// The bound of its log, in bytes.
    pub log_bytes_max: u64,
    /// When its thread has its turn next.
    pub at: Option<Time>,
    /// The thread gets no processor before this time.
    pub busy_until: Time,
    /// When it was looked how old everything is.
    pub looked: Time,
    /// What its log must have.
    pub shelf: Shelf,
    /// The most frames that its log has held.
    pub frames_most: u64,
    channel: usize,
    busy_us: u64,
    released: Vec<Handle>,
    since: Time,
    /// How far its node's clock is ahead of the database's, in milliseconds.
    pub skew_ms: i64,
    /// How many turns its thread has had.
    pub rounds: u64,
    /// When every stream was told to end, where the node ends in order, and by when.
    pub farewells: Option<(Time, Time)>,
    /// Whether anybody was ever accepted.
    pub was_visited: bool,
    /// Nobody is accepted before this time: there is no descriptor.
    accept_at: Time,
    random: Random,
}

impl Core {
    /// An engine without connections.
    pub fn new(
        config: Config,
        now: Time,
        (since, skew_ms): (Time, i64),
        rules: &swarm::Node,
        random: Random,
    ) -> Self {
        let clock = clock(now, since, skew_ms);
        let shelf = Shelf::new(config.log_bytes_max);
        let mut engine = Engine::new(config, clock);
        engine.set_group(rules.group as usize);
        Self {
            engine,
            batches: VecDeque::new(),
            commands: VecDeque::new(),
            backlog: VecDeque::new(),
            live: Vec::new(),
            log_bytes_max: rules.log_bytes,
            at: None,
            busy_until: now,
            looked: now,
            shelf,
            frames_most: 0,
            channel: rules.channel as usize,
            busy_us: rules.busy_us,
            released: Vec::new(),
            since,
            skew_ms,
            rounds: 0,
            farewells: None,
            was_visited: false,
            accept_at: now,
            random,
        }
    }

    /// What its log had, for whoever judges what was said by it when it is no more.
    pub fn take_shelf(&mut self) -> Shelf {
        std::mem::replace(&mut self.shelf, Shelf::new(0))
    }

    /// Connections that were closed, and whose slots are not given back yet.
    pub fn closing(&self) -> usize {
        self.released.len()
    }

    /// Whether another batch would be taken.
    pub fn has_room(&self) -> bool {
        self.batches.len() < self.channel
    }

    /// One round of the thread, as the driver's. When the next is wanted at the latest.
    pub fn round(
        &mut self,
        time: Time,
        core: u32,
        network: &mut Network,
        uplink: &mut Uplink,
        queue: &mut Queue,
    ) -> Time {
        let now = clock(time, self.since, self.skew_ms);
        self.rounds += 1;
        let before = std::mem::take(&mut self.released);
        let mut sockets = Sockets {
            network,
            queue,
            uplink,
            released: Vec::new(),
            core,
            time,
        };
        // It has just been woken.
        for handle in before {
            self.engine.handle_released(handle);
        }
        self.accept(now, &mut sockets);
        self.hand_out(now, &mut sockets);
        self.take_commands(now, &mut sockets);
        self.take_batches(now, &mut sockets);
        let next = self.engine.turn(now, &mut sockets);
        self.engine.handle_sent(now);
        self.live
            .retain(|number| !sockets.network.connections[*number as usize].is_closed);
        let Sockets {
            network, released, ..
        } = sockets;
        self.released = released;
        let is_busy = next == Next::Now
            || !self.released.is_empty()
            || !self.commands.is_empty()
            || !self.batches.is_empty() && self.engine.wants_batch()
            || self
                .live
                .iter()
                .any(|number| network.is_ready(time, *number));
        if is_busy {
            return time + Time(1 + self.random.below(self.busy_us));
        }
        let Next::At(at_ms) = next else {
            unreachable!("it is not busy")
        };
        let mut at = (self.since + Time::from_ms(at_ms)).max(time + Time(1));
        if !self.backlog.is_empty() {
            at = at.min(self.accept_at.max(time + Time(1)));
        }
        self.live
            .iter()
            .map(|number| network.connections[*number as usize].full_until)
            .filter(|until| *until > time)
            .fold(at.min(time + SLEEP_MAX), Time::min)
    }

    fn take_commands(&mut self, now: Now, sockets: &mut Sockets<'_>) {
        for _ in 0..TAKEN_MAX {
            let Some(command) = self.commands.pop_front() else {
                break;
            };
            if let Command::Subscribe { connection, .. } = &command
                && self.engine.is_in_sweep(*connection)
            {
                sockets
                    .network
                    .sometimes
                    .reach(State::SubscriptionDuringSweep);
            }
            if let Command::CloseAll { spread_ms, .. } = &command {
                let by = sockets.time + Time::from_ms(*spread_ms);
                self.farewells.get_or_insert((sockets.time, by));
                if self.engine.is_holding() {
                    sockets.network.sometimes.reach(State::DrainDuringHold);
                }
            }
            self.engine.handle_command(now, command, sockets);
        }
    }

    fn take_batches(&mut self, now: Now, sockets: &mut Sockets<'_>) {
        for _ in 0..TAKEN_MAX {
            if self.batches.is_empty() {
                break;
            }
            if !self.engine.wants_batch() {
                if !self.engine.has_log_room() {
                    sockets.network.sometimes.reach(State::IntakeClosed);
                }
                break;
            }
            let batch = self.batches.pop_front().expect("there is one");
            if let Batch::Commit(commit) = &batch
                && let mut users = commit.frames.iter().filter_map(user_of)
                && users.any(|user| self.engine.has_in_sweep(user))
            {
                sockets.network.sometimes.reach(State::UserFrameDuringSweep);
            }
            self.shelf.take(sockets.time, &batch);
            self.engine.handle_batch(now, batch, sockets);
        }
    }

    fn accept(&mut self, now: Now, sockets: &mut Sockets<'_>) {
        while sockets.time >= self.accept_at
            && let Some(number) = self.backlog.pop_front()
        {
            if self.random.chance(sockets.network.rules.unaccepted) {
                sockets.network.sometimes.reach(State::AcceptFailed);
                if self.random.chance(500) {
                    // There is no descriptor: whoever waits keeps the place, and is accepted when there is one.
                    self.backlog.push_front(number);
                    self.accept_at = sockets.time + ACCEPT_PAUSE;
                    break;
                }
                // The client is gone, or the network says so.
                sockets.lose(number);
                continue;
            }
            self.was_visited = true;
            self.live.push(number);
            self.engine.handle_accept(now, number as i32, sockets);
        }
    }

    /// Tells the engine what has come about on its sockets, in an order that is chance.
    fn hand_out(&mut self, now: Now, sockets: &mut Sockets<'_>) {
        if self.live.is_empty() {
            return;
        }
        let first = self.random.below(self.live.len() as u64) as usize;
        for index in 0..self.live.len() {
            let number = self.live[(first + index) % self.live.len()];
            while let Some(watch) = sockets.network.ready(sockets.time, number) {
                self.hand_over(now, number, watch, sockets);
                if sockets.network.connections[number as usize].is_closed {
                    break;
                }
            }
        }
    }

    fn hand_over(&mut self, now: Now, number: u32, watch: Watch, sockets: &mut Sockets<'_>) {
        let connection = &mut sockets.network.connections[number as usize];
        let handle = connection.handle.expect("it was accepted");
        match watch {
            Watch::Readable if connection.is_broken => {
                self.engine.handle_hangup(now, handle, sockets);
            }
            Watch::Readable => {
                let rest = connection.up.split_off(connection.arrived);
                let bytes = std::mem::replace(&mut connection.up, rest);
                connection.arrived = 0;
                self.engine.handle_bytes(now, handle, &bytes, sockets);
            }
            Watch::Hangup => self.engine.handle_hangup(now, handle, sockets),
            Watch::Writable => self.engine.handle_writable(now, handle, sockets),
        }
    }
}

/// Whom alone a frame is for.
fn user_of(frame: &wire::Frame) -> Option<Key> {
    match frame.audience().topic {
        Topic::User(user) => Some(user),
        Topic::Global | Topic::Organisation(_) => None,
    }
}

/// The clocks of a node.
fn clock(now: Time, since: Time, skew_ms: i64) -> Now {
    let elapsed = now.since(since);
    Now {
        monotonic_ms: elapsed.ms(),
        micros: (elapsed.0 % 1_000) as u16,
        wall_ms: ahead(now, skew_ms),
    }
}
