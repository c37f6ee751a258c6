//! What a seed is like: which faults exist in its world, how strong they are, and how large everything
//! is. Drawn once, before anything happens, so that one world has what another lacks: faults that all
//! occur together hide each other.
//!
//! Probabilities are in thousandths of the operations that they concern.

use crate::random::Random;

/// Everything that a seed decides beforehand.
#[derive(Clone, Debug)]
pub struct Swarm {
    /// How many nodes there are: 1 to 3.
    pub nodes: u32,
    /// How many engines each has: 1 to 3.
    pub engines: u32,
    /// How many clients there are.
    pub clients: u32,
    /// How long faults occur, in milliseconds.
    pub faults_ms: u64,
    /// Whether the nodes follow the rows of sessions and users. Where they do not, as with tokens alone, nobody's
    /// rights are changed either, and whoever has a stream keeps it when changes were missed.
    pub follows_sessions: bool,
    /// The database.
    pub database: Database,
    /// Whoever writes.
    pub writers: Writers,
    /// The sockets of clients.
    pub sockets: Sockets,
    /// The nodes: channels, delays, bounds.
    pub node: Node,
    /// The clients.
    pub crowd: Crowd,
}

/// The database and what befalls it.
#[derive(Clone, Debug)]
pub struct Database {
    /// Between two checkpoints, which keep what slots were told, in milliseconds.
    pub checkpoint_ms: u64,
    /// `wal_sender_timeout` of whoever does not set another, in milliseconds.
    pub sender_timeout_ms: u64,
    /// Whether something between the nodes and the server keeps what a connection would set to itself, as poolers
    /// do (`ignore_startup_parameters`).
    pub drops_settings: bool,
    /// The mean time between two crashes, in milliseconds; 0 is never.
    pub crash_ms: u64,
    /// Between two orderly shutdowns; 0 is never.
    pub shutdown_ms: u64,
    /// Between two losses of the anchor; 0 is never.
    pub slot_loss_ms: u64,
    /// How many of these losses are of every slot (`wal_status = lost`), in thousandths.
    pub invalidation: u32,
    /// Whether a standby is promoted once.
    pub has_failover: bool,
    /// The longest time until the server is back, in milliseconds.
    pub down_ms: u64,
    /// Refused connections.
    pub refusal: u32,
    /// Lines that break, for each time bytes are moved on one.
    pub broken_line: u32,
    /// Streams that break while their node has a part of a transaction, for each of its turns.
    pub broken_within: u32,
    /// The mean time between two silences: nothing arrives at either end of a line, and neither is told; 0 is never.
    pub silence_ms: u64,
    /// The longest silence, in milliseconds.
    pub silent_ms: u64,
    /// How many of the nodes that hear nothing are told to end before they do, in thousandths.
    pub drained: u32,
    /// Clients that a balancer sends to a node that hears nothing, in thousandths: it has fewer to serve.
    pub herded: u32,
    /// How many of the silences are of a node's whole way to the server, in thousandths.
    pub cut: u32,
    /// The longest way of bytes on a line, in microseconds.
    pub line_us: u64,
    /// The most bytes that one read takes from a line.
    pub line_bytes_max: u64,
}

/// Whoever writes.
#[derive(Clone, Debug)]
pub struct Writers {
    /// The mean time between two transactions, in milliseconds.
    pub transaction_ms: u64,
    /// The most changes of a transaction.
    pub changes_max: u64,
    /// The largest text of an event, in bytes.
    pub bytes_max: u64,
    /// Transactions that are aborted.
    pub abort: u32,
    /// Transactions that change memberships, sessions or users.
    pub people: u32,
    /// Transactions in which something for one user is said.
    pub user_event: u32,
    /// Transactions that write what no publication has.
    pub noise: u32,
    /// More changes than this of one type in a transaction become batch events; 0 is never.
    pub batch_over: u32,
}

/// The sockets of clients, and the network behind them.
#[derive(Clone, Copy, Debug)]
pub struct Sockets {
    /// Sends that take a part.
    pub short: u32,
    /// Short sends that take one byte.
    pub one_byte: u32,
    /// Sends that take nothing although there is room.
    pub full: u32,
    /// Sends that find the connection broken.
    pub broken: u32,
    /// The send buffer, in bytes.
    pub buffer_bytes: u64,
    /// The longest way of bytes, in microseconds.
    pub way_us: u64,
    /// Connections that are refused before they are made.
    pub refused: u32,
    /// Accepts that fail: the connection is gone by then, or there is no descriptor for it for a while.
    pub unaccepted: u32,
    /// Requests that arrive in pieces.
    pub pieces: u32,
}

/// The nodes.
#[derive(Clone, Debug)]
pub struct Node {
    /// How many batches wait for an engine; the product's number is 64.
    pub channel: u64,
    /// The engine's log, in bytes.
    pub log_bytes: u64,
    /// How many sends make a group; the product's number is 256.
    pub group: u64,
    /// The longest pause of an engine's thread between two rounds, in microseconds.
    pub round_us: u64,
    /// The longest that a round takes after which there is more to do, in microseconds.
    pub busy_us: u64,
    /// Rounds of a thread that take very long (it gets no processor).
    pub starved: u32,
    /// How long such a round takes at the most, in milliseconds.
    pub starved_ms: u64,
    /// The longest that the control thread takes for anything, in milliseconds.
    pub control_ms: u64,
    /// Sessions that the control thread answers from its cache.
    pub cached: u32,
    /// Requests for which the control thread has no room.
    pub overloaded: u32,
    /// The mean time between two kills of a node, in milliseconds; 0 is never.
    pub kill_ms: u64,
    /// Between two orderly ends; 0 is never.
    pub drain_ms: u64,
    /// Over how long the streams of a node that ends are closed, in milliseconds.
    pub drain_spread_ms: u64,
    /// How far a node's clock is off, in milliseconds, at the most.
    pub skew_ms: u64,
    /// The mean time between two settings of a node's clock, in milliseconds; 0 is never.
    pub clock_ms: u64,
    /// How far it is set, forward or back, in milliseconds, at the most.
    pub clock_step_ms: u64,
    /// `auth.grace`, in milliseconds.
    pub grace_ms: u64,
    /// `history.window`, in milliseconds.
    pub window_ms: u64,
    /// `http.heartbeat`, in milliseconds.
    pub heartbeat_ms: u64,
    /// `resume_wait`, in milliseconds.
    pub resume_wait_ms: u64,
}

/// The clients.
#[derive(Clone, Debug)]
pub struct Crowd {
    /// Clients that read slowly.
    pub slow: u32,
    /// Clients that stop reading now and then.
    pub stalled: u32,
    /// Clients that vanish without a word now and then.
    pub half_open: u32,
    /// Clients that send what no client sends.
    pub hostile: u32,
    /// The mean time until a client drops its connection, in milliseconds.
    pub stay_ms: u64,
    /// Reconnects at another node.
    pub moving: u32,
    /// Reconnects with an id that is not the client's last.
    pub other_id: u32,
    /// Streams that change their subscription now and then.
    pub subscribing: u32,
    /// The mean time between two changes of such a stream, in milliseconds.
    pub subscribing_ms: u64,
    /// Clients that show the same organisation as the others, at the same engine of their node.
    pub together: u32,
    /// Clients that somebody puts out while they ask for a stream.
    pub ousted: u32,
    /// Streams that name channels.
    pub filtered: u32,
}

impl Swarm {
    /// The swarm of a seed.
    pub fn draw(random: &mut Random) -> Self {
        let mut random = random.fork();
        let nodes = 1 + random.below(3) as u32;
        let mut swarm = Self {
            nodes,
            engines: 1 + random.below(3) as u32,
            clients: 10 + random.below(6) as u32,
            faults_ms: random.between(15_000..=36_000),
            follows_sessions: random.chance(700),
            database: Database::draw(&mut random.fork()),
            writers: Writers::draw(&mut random.fork()),
            sockets: Sockets::draw(&mut random.fork()),
            node: Node::draw(&mut random.fork()),
            crowd: Crowd::draw(&mut random.fork()),
        };
        if !swarm.follows_sessions {
            (swarm.writers.people, swarm.crowd.ousted) = (0, 0);
        }
        swarm
    }

    /// The same world, of which nothing goes wrong any more.
    pub fn calm(&mut self) {
        self.database.calm();
        self.sockets.calm();
        self.node.calm();
        self.crowd.calm();
    }
}

/// A fault that this world may not have at all: half of the worlds do not.
fn maybe(random: &mut Random, most: u64) -> u32 {
    let strength = random.log_uniform(1..=most);
    if random.chance(500) {
        strength as u32
    } else {
        0
    }
}

/// The same, but never weak: what it is for meets something else that is rare.
fn maybe_strong(random: &mut Random, range: std::ops::RangeInclusive<u64>) -> u32 {
    let strength = random.between(range);
    if random.chance(500) {
        strength as u32
    } else {
        0
    }
}

/// A time between two faults that this world may not have.
fn now_and_then(random: &mut Random, per_mille: u32, range: std::ops::RangeInclusive<u64>) -> u64 {
    let ms = random.log_uniform(range);
    if random.chance(per_mille) { ms } else { 0 }
}

impl Database {
    fn draw(random: &mut Random) -> Self {
        Self {
            checkpoint_ms: random.log_uniform(500..=30_000),
            sender_timeout_ms: random.log_uniform(3_000..=60_000),
            drops_settings: random.chance(250),
            crash_ms: now_and_then(random, 500, 8_000..=40_000),
            shutdown_ms: now_and_then(random, 300, 8_000..=40_000),
            slot_loss_ms: now_and_then(random, 300, 10_000..=60_000),
            invalidation: random.between(0..=1_000) as u32,
            has_failover: random.chance(300),
            down_ms: random.log_uniform(10..=8_000),
            refusal: maybe(random, 300),
            broken_line: maybe(random, 10),
            broken_within: maybe_strong(random, 100..=500),
            silence_ms: now_and_then(random, 300, 8_000..=40_000),
            silent_ms: random.log_uniform(500..=40_000),
            drained: maybe_strong(random, 200..=1_000),
            herded: maybe_strong(random, 100..=800),
            cut: maybe(random, 1_000),
            line_us: random.log_uniform(50..=50_000),
            line_bytes_max: random.log_uniform(128..=65_536),
        }
    }

    fn calm(&mut self) {
        *self = Self {
            crash_ms: 0,
            shutdown_ms: 0,
            slot_loss_ms: 0,
            has_failover: false,
            refusal: 0,
            broken_line: 0,
            broken_within: 0,
            silence_ms: 0,
            line_bytes_max: 65_536,
            ..self.clone()
        };
    }
}

impl Writers {
    fn draw(random: &mut Random) -> Self {
        Self {
            transaction_ms: random.log_uniform(100..=1_600),
            changes_max: random.log_uniform(1..=100),
            bytes_max: random.log_uniform(16..=8_192),
            abort: maybe(random, 400),
            people: maybe_strong(random, 20..=300),
            user_event: maybe(random, 400),
            noise: maybe(random, 300),
            batch_over: if random.chance(250) { 3 } else { 0 },
        }
    }
}

impl Sockets {
    fn draw(random: &mut Random) -> Self {
        Self {
            short: maybe(random, 500),
            one_byte: maybe(random, 500),
            full: maybe(random, 300),
            broken: maybe(random, 20),
            buffer_bytes: random.log_uniform(256..=32_768),
            way_us: random.log_uniform(50..=100_000),
            refused: maybe(random, 100),
            unaccepted: maybe(random, 50),
            pieces: maybe(random, 500),
        }
    }

    fn calm(&mut self) {
        *self = Self {
            short: 0,
            full: 0,
            broken: 0,
            refused: 0,
            unaccepted: 0,
            ..*self
        };
    }
}

impl Node {
    fn draw(random: &mut Random) -> Self {
        Self {
            channel: random.log_uniform(1..=64),
            log_bytes: random.log_uniform(4_096..=1_048_576),
            group: (random.log_uniform(1..=64) / 4).max(1),
            round_us: random.log_uniform(10..=20_000),
            busy_us: random.log_uniform(1..=40_000),
            starved: maybe(random, 20),
            starved_ms: random.log_uniform(10..=3_000),
            control_ms: random.log_uniform(1..=2_000),
            cached: maybe(random, 900),
            overloaded: maybe(random, 50),
            kill_ms: now_and_then(random, 400, 8_000..=40_000),
            drain_ms: now_and_then(random, 200, 10_000..=40_000),
            drain_spread_ms: random.log_uniform(500..=8_000),
            skew_ms: random.below(5_000),
            clock_ms: now_and_then(random, 200, 8_000..=40_000),
            clock_step_ms: random.log_uniform(100..=60_000),
            grace_ms: random.log_uniform(11_000..=30_000),
            window_ms: random.log_uniform(2_000..=300_000),
            heartbeat_ms: random.log_uniform(2_000..=25_000),
            resume_wait_ms: random.log_uniform(1_000..=15_000),
        }
    }

    fn calm(&mut self) {
        *self = Self {
            starved: 0,
            overloaded: 0,
            kill_ms: 0,
            drain_ms: 0,
            clock_ms: 0,
            ..self.clone()
        };
    }
}

impl Crowd {
    fn draw(random: &mut Random) -> Self {
        Self {
            slow: maybe(random, 500),
            stalled: maybe(random, 300),
            half_open: maybe(random, 200),
            hostile: maybe(random, 200),
            stay_ms: random.log_uniform(1_500..=60_000),
            moving: maybe_strong(random, 20..=800),
            other_id: maybe(random, 200),
            subscribing: maybe_strong(random, 50..=700),
            subscribing_ms: random.log_uniform(250..=10_000),
            together: maybe_strong(random, 100..=1_000),
            ousted: maybe_strong(random, 10..=120),
            filtered: maybe(random, 500),
        }
    }

    fn calm(&mut self) {
        *self = Self {
            slow: 0,
            stalled: 0,
            half_open: 0,
            hostile: 0,
            other_id: 0,
            ..self.clone()
        };
    }
}
