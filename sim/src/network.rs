//! The connections between clients and engines: two byte streams each, and everything that a kernel
//! and a network may do to them. The engine's side of it is its [`Driver`]; the client's is in
//! `clients`.

use engine::{Close, Driver, Handle, Notice, Outcome, Overloaded, Transmit, Watch};
use wire::ConnectionId;
use wire::http::Request;

use crate::node::Uplink;
use crate::queue::{Event, Queue};
use crate::random::Random;
use crate::sometimes::{Sometimes, State};
use crate::swarm;
use crate::time::Time;

/// A connection, and both of its directions.
#[derive(Debug)]
pub struct Connection {
    /// The node at its other end.
    pub node: u32,
    /// Which start of it.
    pub boot: u32,
    /// Which of its engines.
    pub core: u32,
    /// The client.
    pub client: u32,
    /// As the engine names it, from its accept on.
    pub handle: Option<Handle>,
    /// What the client has sent and the engine has not read.
    pub up: Vec<u8>,
    /// How much of it has arrived.
    pub arrived: usize,
    /// The client's end of it has closed, and the node has heard of that.
    pub is_hung_up: bool,
    /// The client has closed, and the node will hear of that.
    pub is_left: bool,
    /// When it was made, and when its engine accepted it.
    pub made: Time,
    /// Broken: either end finds out when it looks.
    pub is_broken: bool,
    /// What the engine has sent and the client has not read.
    pub down: Vec<u8>,
    /// The engine sends nothing more; what is in `down` is still read.
    pub is_finished: bool,
    /// The engine has closed it.
    pub is_closed: bool,
    /// It takes nothing before this time, whatever room there is.
    pub full_until: Time,
    /// Since when the socket has taken nothing of what the engine would send.
    pub blocked_since: Option<Time>,
    /// Whether a read of the client is due.
    pub is_read_due: bool,
    /// Whether it waits to be accepted, or was.
    pub is_queued: bool,
    /// Whether the engine was told since that it takes something, and had nothing more for it.
    pub is_told_writable: bool,
    /// It was closed because the log has moved on past what it was in the middle of.
    pub is_evicted: bool,
    /// It was closed although it took everything.
    pub is_cut_off: bool,
    /// Its stream should have ended and its socket takes everything: since when, and how many turns its engine's
    /// thread had had then.
    pub overdue: Option<(Time, u64)>,
    /// Its client is gone, and nobody was told.
    pub is_vanished: bool,
    watches: u8,
}

/// Every connection there was, by its descriptor.
#[derive(Debug)]
pub struct Network {
    /// By descriptor, which is never used again.
    pub connections: Vec<Connection>,
    /// How bad the sockets are.
    pub rules: swarm::Sockets,
    /// States that were reached.
    pub sometimes: Sometimes,
    random: Random,
    /// Everything that was sent, for the trace.
    pub hash: u64,
}

/// An engine's world: the network, and the control thread of its node.
pub struct Sockets<'a> {
    /// All connections.
    pub network: &'a mut Network,
    /// What happens next.
    pub queue: &'a mut Queue,
    /// The way to the control thread.
    pub uplink: &'a mut Uplink,
    /// Connections that were closed in this round.
    pub released: Vec<Handle>,
    /// The engine.
    pub core: u32,
    /// The time of this round.
    pub time: Time,
}

impl Network {
    /// A network without connections.
    pub fn new(rules: swarm::Sockets, random: Random) -> Self {
        Self {
            connections: Vec::new(),
            rules,
            sometimes: Sometimes::default(),
            random,
            hash: 0,
        }
    }

    /// How long something is on its way.
    pub fn way(&mut self) -> Time {
        Time(1 + self.random.below(self.rules.way_us))
    }

    /// A client connects, and has sent its request. What of it arrives first, and when, is chance.
    pub fn connect(
        &mut self,
        now: Time,
        (node, boot, core): (u32, u32, u32),
        client: u32,
        request: &[u8],
        queue: &mut Queue,
    ) -> u32 {
        let number = self.connections.len() as u32;
        self.connections.push(Connection {
            node,
            boot,
            core,
            client,
            handle: None,
            up: request.to_vec(),
            arrived: 0,
            is_hung_up: false,
            is_left: false,
            made: now,
            is_broken: false,
            down: Vec::new(),
            is_finished: false,
            is_closed: false,
            full_until: Time(0),
            blocked_since: None,
            is_told_writable: false,
            is_read_due: false,
            is_queued: false,
            is_evicted: false,
            is_cut_off: false,
            overdue: None,
            is_vanished: false,
            watches: 0,
        });
        let at = now + self.way();
        queue.push(at, Event::Arrive { connection: number });
        number
    }

    /// What a client did arrives: some of its bytes, or that it is gone. Whether there is more to come.
    pub fn arrive(&mut self, number: u32) -> bool {
        let connection = &mut self.connections[number as usize];
        let missing = connection.up.len() - connection.arrived;
        if missing > 0 {
            let is_piece = missing > 1 && self.random.chance(self.rules.pieces);
            let count = match is_piece {
                true => 1 + self.random.below(missing as u64) as usize,
                false => missing,
            };
            connection.arrived += count;
            if connection.arrived < connection.up.len() {
                self.sometimes.reach(State::HeadInPieces);
                return true;
            }
        }
        connection.is_hung_up = connection.is_left;
        false
    }

    /// The client's end closes; the node hears of it later.
    pub fn leave(&mut self, now: Time, number: u32, queue: &mut Queue) {
        let connection = &mut self.connections[number as usize];
        connection.is_left = true;
        connection.down.clear();
        if connection.is_closed {
            return;
        }
        let at = now + self.way();
        queue.push(at, Event::Arrive { connection: number });
    }

    /// Everything between a node that is no more and its clients breaks.
    pub fn break_all(&mut self, now: Time, node: u32, queue: &mut Queue) {
        for number in 0..self.connections.len() {
            if self.connections[number].node == node && !self.connections[number].is_closed {
                let connection = &mut self.connections[number];
                connection.is_closed = true;
                connection.is_broken = true;
                self.wake_reader(now, number as u32, queue);
            }
        }
    }

    /// Whether what an engine watches for has come about: what it is told then.
    pub fn ready(&mut self, now: Time, number: u32) -> Option<Watch> {
        let connection = &mut self.connections[number as usize];
        let is_heard = connection.is_hung_up || connection.is_broken;
        let watches = [
            (Watch::Readable, connection.arrived > 0 || is_heard),
            (Watch::Hangup, is_heard),
            (
                Watch::Writable,
                is_heard || now >= connection.full_until && connection.room(&self.rules) > 0,
            ),
        ];
        let ready = watches
            .into_iter()
            .find(|(watch, is)| *is && connection.watches & bit(*watch) != 0);
        let (watch, _) = ready?;
        connection.watches &= !bit(watch);
        connection.is_told_writable |= watch == Watch::Writable;
        Some(watch)
    }

    /// Whether an engine could be told something now.
    pub fn is_ready(&self, now: Time, number: u32) -> bool {
        let connection = &self.connections[number as usize];
        let is_heard = connection.is_hung_up || connection.is_broken;
        let has = |watch| connection.watches & bit(watch) != 0;
        has(Watch::Readable) && (connection.arrived > 0 || is_heard)
            || has(Watch::Hangup) && is_heard
            || has(Watch::Writable)
                && (is_heard || now >= connection.full_until && connection.room(&self.rules) > 0)
    }

    /// The client will read what there is.
    pub fn wake_reader(&mut self, now: Time, number: u32, queue: &mut Queue) {
        let at = now + self.way();
        let connection = &mut self.connections[number as usize];
        if !connection.is_left && !std::mem::replace(&mut connection.is_read_due, true) {
            queue.push(at, Event::Read { connection: number });
        }
    }
}

impl Connection {
    /// Whether it is open at both ends, and the socket has taken all that it was given and would take more.
    pub fn is_free(&self, now: Time, rules: &swarm::Sockets) -> bool {
        let is_over = self.is_closed || self.is_finished || self.is_broken || self.is_left;
        !is_over && self.blocked_since.is_none() && now >= self.full_until && self.room(rules) > 0
    }

    /// How many bytes the socket takes.
    fn room(&self, rules: &swarm::Sockets) -> usize {
        (rules.buffer_bytes as usize).saturating_sub(self.down.len())
    }
}

const fn bit(watch: Watch) -> u8 {
    match watch {
        Watch::Readable => 1,
        Watch::Hangup => 2,
        Watch::Writable => 4,
    }
}

impl Sockets<'_> {
    /// A connection is gone before it was accepted.
    pub fn lose(&mut self, number: u32) {
        let connection = &mut self.network.connections[number as usize];
        (connection.is_broken, connection.is_closed) = (true, true);
        self.network.wake_reader(self.time, number, self.queue);
    }

    fn connection(&mut self, handle: Handle) -> &mut Connection {
        let connection = &mut self.network.connections[handle.descriptor as usize];
        assert!(!connection.is_closed, "{handle:?} was closed before");
        let known = *connection.handle.get_or_insert(handle);
        assert_eq!(known, handle, "a descriptor has one connection");
        connection
    }

    fn send_one(&mut self, send: &mut Transmit<'_>) {
        let number = send.connection.descriptor as u32;
        let rules = self.network.rules;
        let random = &mut self.network.random;
        let is_unlucky = random.chance(rules.broken);
        let (is_full, is_short) = (random.chance(rules.full), random.chance(rules.short));
        let is_one = random.chance(rules.one_byte);
        let (part, pause) = (random.next_u64(), random.below(50_000));
        let now = self.time;
        let connection = self.connection(send.connection);
        if is_unlucky {
            connection.is_broken = true;
        }
        if connection.is_broken {
            send.outcome = Outcome::Broken;
            self.network.sometimes.reach(State::BrokenSend);
            self.network.wake_reader(now, number, self.queue);
            return;
        }
        let whole = send.bytes.len().min(connection.room(&rules));
        let taken = match (is_full, is_short, is_one) {
            (true, _, _) => 0,
            (false, true, true) => whole.min(1),
            (false, true, false) if whole > 0 => 1 + (part % whole as u64) as usize,
            _ => whole,
        };
        connection.down.extend_from_slice(&send.bytes[..taken]);
        connection.is_told_writable = false;
        send.outcome = Outcome::Taken(taken);
        connection.blocked_since = match taken {
            0 => connection.blocked_since.or(Some(now)),
            _ if taken < send.bytes.len() => Some(now),
            _ => None,
        };
        if taken < send.bytes.len() && taken < whole {
            // There is room, and yet it is full: for a while.
            connection.full_until = now + Time(pause);
        }
        if taken == 1 && send.bytes.len() > 1 {
            self.network.sometimes.reach(State::OneByteSend);
        }
        if taken > 0 {
            self.network.hash = crate::trace::fold(self.network.hash, &send.bytes[..taken]);
            self.network.wake_reader(now, number, self.queue);
        }
    }
}

impl Driver for Sockets<'_> {
    fn send(&mut self, group: &mut [Transmit<'_>]) {
        assert!(
            group.len() <= engine::limits::GROUP_MAX,
            "a group is bounded"
        );
        for send in &mut *group {
            assert!(!send.bytes.is_empty(), "nothing is sent to nobody");
            assert_eq!(send.outcome, Outcome::Pending, "each is sent once");
            self.send_one(send);
        }
    }

    fn watch(&mut self, handle: Handle, what: Watch) {
        self.connection(handle).watches |= bit(what);
    }

    fn finish(&mut self, handle: Handle) {
        self.connection(handle).is_finished = true;
        self.network
            .wake_reader(self.time, handle.descriptor as u32, self.queue);
    }

    fn close(&mut self, handle: Handle, how: Close) {
        let now = self.time;
        let connection = self.connection(handle);
        connection.is_closed = true;
        connection.is_finished = true;
        connection.watches = 0;
        let mut sometimes = Sometimes::default();
        if how == Close::Reset {
            let blocked = connection.blocked_since;
            // That has to have a reason of its own: its client looks for one.
            connection.is_cut_off = blocked.is_none();
            let blocked_ms = blocked.map_or(0, |since| now.since(since).ms());
            match blocked_ms >= engine::limits::STALL_MS {
                true => sometimes.reach(State::StalledClosed),
                // Last words would have had a third of that.
                false => connection.is_evicted = blocked_ms < engine::limits::LAST_WORDS_MS,
            }
            connection.down.clear();
            connection.is_broken = true;
        }
        self.network.sometimes.add(sometimes);
        self.released.push(handle);
        self.network
            .wake_reader(self.time, handle.descriptor as u32, self.queue);
    }

    fn forward(
        &mut self,
        id: ConnectionId,
        from: Handle,
        request: Request,
    ) -> Result<(), Overloaded> {
        let _ = self.connection(from);
        let is_full = self.network.random.chance(self.uplink.overloaded);
        self.uplink.forward(self.time, id, request, is_full)
    }

    fn notify(&mut self, notice: Notice) {
        self.uplink.notify(self.time, self.core, notice);
    }
}
