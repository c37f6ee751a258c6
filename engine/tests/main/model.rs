//! Random worlds, and a model that knows what every connection must have received.
//!
//! The model shares nothing with the engine: it takes the list of all frames ever committed, and
//! asks of each client's stream whether it is exactly the part of that list it should be. One seed is
//! one world; a failure prints its seed.

mod pages;
mod trouble;

use std::collections::BTreeMap;

use engine::{Close, Command, Counters, ResetReason, SubscriptionChange};
use wire::{Audience, Batch, CloseReason, EventId, Frame, Resume, Scope, Topic};

use crate::expectation::{Client, EVERYTHING, Item, Said, Told, blocks, filter_of, follow};
use crate::world::{World, commit, frame, grant, key, name, organisation, position};

const CHANNELS: [&str; 3] = ["x", "y", "z"];
const ORGANISATIONS: [&str; 2] = ["acme", "globex"];
const USERS: [&str; 4] = ["a", "b", "c", "d"];

#[test]
fn every_client_receives_exactly_what_it_should() {
    for seed in 0..100 {
        Run::new(seed, 1 << 24, false).play();
    }
}

#[test]
fn with_a_small_log_a_client_is_cut_off_or_told_but_never_left_with_a_hole() {
    let mut cut_off = 0;
    let mut reset = 0;
    for seed in 1_000..1_100 {
        let run = Run::new(seed, 24 * 1024, false).play();
        cut_off += run.0;
        reset += run.1;
    }
    assert!(
        cut_off > 20 && reset > 20,
        "{cut_off} cut off, {reset} reset: no hardship, no test"
    );
}

#[test]
fn with_every_trouble_at_once_nobody_is_misled_and_every_grant_is_given_back() {
    let (mut closed, mut resets) = ([0; CloseReason::ALL.len()], [0; ResetReason::ALL.len()]);
    let mut verdicts = [0; 2];
    for seed in 2_000..2_200 {
        let log_bytes_max = if seed % 2 == 0 { 1 << 24 } else { 24 * 1024 };
        let (_, _, counters, pages) = Run::new(seed, log_bytes_max, true).play();
        (0..2).for_each(|at| verdicts[at] += pages[at]);
        for (total, count) in closed.iter_mut().zip(counters.closed) {
            *total += count;
        }
        for (total, count) in resets.iter_mut().zip(counters.resets) {
            *total += count;
        }
    }
    assert!(
        verdicts.iter().all(|count| *count > 100),
        "{verdicts:?} pages complete and reset: no pages, no test"
    );
    for reason in [
        CloseReason::ClientGone,
        CloseReason::TooSlow,
        CloseReason::Lagging,
        CloseReason::SessionExpired,
        CloseReason::MembershipRevoked,
        CloseReason::Draining,
    ] {
        let count = closed[reason.index()];
        assert!(
            count > 20,
            "{count} ended by {reason:?}: no trouble, no test"
        );
    }
    for reason in [
        ResetReason::UnknownPosition,
        ResetReason::History,
        ResetReason::SlotLost,
    ] {
        let count = resets[reason.index()];
        assert!(
            count > 20,
            "{count} reset by {reason:?}: no trouble, no test"
        );
    }
}

#[test]
fn in_a_crowd_that_takes_several_groups_to_sweep_it_is_the_same() {
    for seed in 3_000..3_020 {
        let run = Run::new(seed, 1 << 24, seed % 2 == 0);
        run.in_a_crowd(2 * engine::limits::GROUP_MAX).play();
    }
}

struct Run {
    seed: u64,
    random: u64,
    /// Whether rights end, positions lie ahead, changes are missed, peers vanish and time passes.
    has_trouble: bool,
    world: World,
    clients: BTreeMap<i32, Client>,
    /// All frames ever committed.
    committed: Vec<Frame>,
    lsn: u64,
    next_descriptor: i32,
    /// Ids that clients ended with, to come back with.
    last_ids: Vec<(&'static str, &'static str, EventId)>,
    /// How many grants each connection was handed, by its name.
    grants: BTreeMap<String, usize>,
    /// The last ticket that was given out.
    ticket: u64,
    /// Pages that were asked for, by their descriptor.
    pages: BTreeMap<i32, pages::Asked>,
    /// How many were answered as complete, and how many with a reset.
    page_verdicts: [usize; 2],
    cut_off: usize,
    resets: usize,
}

impl Run {
    fn new(seed: u64, log_bytes_max: usize, has_trouble: bool) -> Self {
        Self {
            seed,
            has_trouble,
            random: seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1,
            world: World::new(log_bytes_max),
            clients: BTreeMap::new(),
            committed: Vec::new(),
            lsn: 16,
            next_descriptor: 0,
            last_ids: Vec::new(),
            grants: BTreeMap::new(),
            ticket: 0,
            pages: BTreeMap::new(),
            page_verdicts: [0; 2],
            cut_off: 0,
            resets: 0,
        }
    }

    /// Beside so many others of the first organisation, of which the model knows nothing.
    fn in_a_crowd(mut self, count: usize) -> Self {
        let first = self.next_descriptor + 1;
        for _ in 0..count {
            self.next_descriptor += 1;
            self.world.accept(self.next_descriptor);
            self.world.bytes(
                self.next_descriptor,
                b"GET /stream HTTP/1.1\r\nhost: a\r\n\r\n",
            );
            let connection = self.world.id_of(self.next_descriptor);
            self.hand_over(grant(connection, ORGANISATIONS[0], "crowd"));
        }
        self.world.settle();
        // The places of some are for those to come.
        for descriptor in (first..=self.next_descriptor).step_by(16) {
            self.world.hang_up(descriptor);
        }
        self.world.settle();
        self
    }

    /// Safety with hardship, then liveness without. Returns how many clients were cut off, and how
    /// many were told that something may be missing, what the engine counted, and how many pages were
    /// complete and how many not.
    fn play(mut self) -> (usize, usize, Counters, [usize; 2]) {
        for step in 0..300 {
            self.step();
            // Whoever was closed is looked at before it could be forgotten; the others now and then.
            self.check_all(step % 20 == 0, false);
        }
        let descriptors: Vec<i32> = self.clients.keys().copied().collect();
        for descriptor in descriptors {
            self.world.make_room(descriptor, None);
        }
        self.world.settle();
        if self.has_trouble {
            // Long enough for the resets of a gap, and for whoever is held.
            self.world.pass(20_000);
        }
        self.check_all(true, true);
        self.check_pages();
        self.check_grants();
        let counters = self.world.engine.counters().clone();
        (self.cut_off, self.resets, counters, self.page_verdicts)
    }

    fn step(&mut self) {
        if self.has_trouble && self.below(6) == 0 {
            self.trouble();
            return;
        }
        match self.below(100) {
            0..10 if self.clients.len() < 25 => self.connect(),
            10..13 => self.disconnect(),
            13..17 => self.subscribe(),
            17..20 => self.ask_for_page(),
            20..45 => self.commit(),
            45..65 => self.change_room(),
            65..95 => drop(self.world.turn()),
            _ => self.world.settle(),
        }
    }

    fn hand_over(&mut self, grant: wire::Grant) {
        *self.grants.entry(grant.connection.to_string()).or_default() += 1;
        self.world.batch(Batch::Grant(Box::new(grant)));
    }

    fn connect(&mut self) {
        self.next_descriptor += 1;
        let descriptor = self.next_descriptor;
        let comes_back = self.below(2) == 0 && !self.last_ids.is_empty();
        let is_ahead = self.has_trouble && self.below(5) == 0;
        let is_service = self.has_trouble && self.below(8) == 0;
        let (organisation, user, resume) = if is_ahead {
            let lsn = self.lsn + 16 * self.below(8) as u64;
            let id = position(lsn, self.below(4) as u32);
            let organisation = ORGANISATIONS[self.below(2)];
            (organisation, USERS[self.below(4)], Resume::After(id))
        } else if is_service {
            (EVERYTHING, EVERYTHING, Resume::Live)
        } else if comes_back {
            let at = self.below(self.last_ids.len());
            let (organisation, user, id) = self.last_ids.swap_remove(at);
            (organisation, user, Resume::After(id))
        } else {
            let organisation = ORGANISATIONS[self.below(2)];
            (organisation, USERS[self.below(4)], Resume::Live)
        };
        let filter = self.filter();
        self.world.accept(descriptor);
        self.world
            .bytes(descriptor, b"GET /stream HTTP/1.1\r\nhost: a\r\n\r\n");
        let mut grant = grant(self.world.id_of(descriptor), organisation, user);
        grant.filter = filter_of(filter);
        grant.resume = resume;
        if organisation == EVERYTHING {
            (grant.scope, grant.user, grant.session) = (Scope::Everything, None, None);
        }
        if self.has_trouble && self.below(4) == 0 {
            grant.expires_ms = Some(self.world.now.wall_ms + self.below(60_000) as u64);
        }
        self.hand_over(grant);
        let came_at = self.committed.len();
        let filters = vec![filter];
        let (organisation_key, user_key) = (key(organisation), key(user));
        let client = Client {
            organisation,
            user,
            organisation_key,
            user_key,
            filters,
            came_at,
            resume,
            revoked_at: None,
            floor: None,
        };
        self.clients.insert(descriptor, client);
    }

    fn disconnect(&mut self) {
        let Some(descriptor) = self.any_client() else {
            return;
        };
        self.world.turn();
        self.keep_last_id(descriptor);
        self.world.hang_up(descriptor);
        self.clients.remove(&descriptor);
    }

    fn subscribe(&mut self) {
        let Some(descriptor) = self.any_client() else {
            return;
        };
        // A change of which the event is still due would be told as one; one at a time is enough.
        let told = blocks(&self.world.kernel.sockets[&descriptor].received)
            .filter(|block| block.starts_with("event: subscription"))
            .count();
        let client = &self.clients[&descriptor];
        let socket = &self.world.kernel.sockets[&descriptor];
        let is_over = socket.closed.is_some() || socket.is_finished;
        if told + 1 != client.filters.len() || is_over {
            return;
        }
        let owner = Some(client.user_key);
        let filter = self.filter();
        let connection = self.world.id_of(descriptor);
        self.ticket += 1;
        self.world.command(Command::Subscribe {
            ticket: self.ticket,
            connection,
            owner,
            change: SubscriptionChange::Replace {
                channels: filter.map(name).into_iter().collect(),
                types: Vec::new(),
            },
        });
        self.clients
            .get_mut(&descriptor)
            .unwrap()
            .filters
            .push(filter);
    }

    fn commit(&mut self) {
        self.lsn += 16;
        let count = 1 + self.below(4) as u32;
        let frames: Vec<Frame> = (1..=count)
            .map(|index| {
                let audience = match self.below(10) {
                    0..6 => organisation(ORGANISATIONS[self.below(2)]),
                    6..9 => Audience {
                        topic: Topic::User(key(USERS[self.below(4)])),
                        within: (self.below(2) == 0).then(|| key(ORGANISATIONS[self.below(2)])),
                        roles: None,
                    },
                    _ => Audience::of(Topic::Global),
                };
                let channel = CHANNELS[self.below(3)];
                let bytes = self.below(300);
                frame(audience, channel, position(self.lsn, index), bytes)
            })
            .collect();
        self.committed.extend(frames.iter().cloned());
        self.world.batch(commit(self.lsn, frames));
    }

    fn change_room(&mut self) {
        let Some(descriptor) = self.any_client() else {
            return;
        };
        let room = match self.below(3) {
            0 => None,
            1 => Some(0),
            _ => Some(self.below(600)),
        };
        self.world.make_room(descriptor, room);
    }

    fn check_all(&mut self, everybody: bool, is_over: bool) {
        let descriptors: Vec<i32> = self.clients.keys().copied().collect();
        for descriptor in descriptors {
            let closed = self.world.kernel.sockets[&descriptor].closed;
            if everybody || closed.is_some() {
                self.check(descriptor, is_over);
            }
            if let Some(close) = closed {
                let is_finished = self.world.kernel.sockets[&descriptor].is_finished;
                assert!(
                    close == Close::Reset || is_finished,
                    "seed {}: only the slow are closed without a word",
                    self.seed
                );
                self.cut_off += 1;
                self.keep_last_id(descriptor);
                self.clients.remove(&descriptor);
            }
        }
    }

    /// What a client has received must be a whole beginning of what it should receive.
    fn check(&mut self, descriptor: i32, is_over: bool) {
        let socket = &self.world.kernel.sockets[&descriptor];
        let client = &self.clients[&descriptor];
        let told = Told::of(&socket.received);
        let (runs, is_connected) = (told.runs, told.connected.is_some());
        let start = match (client.resume, told.connected) {
            (Resume::After(after), Some("resumed")) => {
                self.committed.partition_point(|frame| frame.id() <= after)
            }
            _ => client.came_at,
        };
        let is_silent = runs.iter().all(Vec::is_empty);
        assert!(is_connected || is_silent, "seed {}: not begun", self.seed);
        assert!(
            runs.len() <= client.filters.len(),
            "seed {}: {runs:?}",
            self.seed
        );
        let filters = &client.filters[..runs.len()];
        let is_open = socket.closed.is_none() && !socket.is_finished;
        let is_complete = is_over && is_open;
        assert!(
            !is_complete || (is_connected && client.revoked_at.is_none()),
            "seed {}: client {descriptor} should have begun, or ended",
            self.seed
        );
        let is_reset = client.floor.is_none_or(|floor| {
            let after = |item: &Item| matches!(item, Item::Reset(id) if *id >= floor);
            runs.iter().flatten().any(after)
        });
        assert!(
            !is_complete || is_reset,
            "seed {}: client {descriptor} was not told of a gap",
            self.seed
        );
        let committed = &self.committed[..client.revoked_at.unwrap_or(self.committed.len())];
        let places = follow(committed, client, start, &runs, filters, is_complete);
        assert!(
            !places.is_empty(),
            "seed {}: client {descriptor} of {} and {} received {runs:?} with {filters:?} from {start}",
            self.seed,
            client.organisation,
            client.user,
        );
        self.resets +=
            usize::from(is_over && socket.received.windows(12).any(|w| w == b"event: reset"));
    }

    /// In the end everybody leaves, and then every grant was given back once.
    fn check_grants(&mut self) {
        let (reason, spread_ms) = (CloseReason::Draining, 1_000);
        self.world.command(Command::CloseAll { reason, spread_ms });
        self.world.pass(60_000);
        let said = Said::of(&self.world.kernel.notices);
        let seed = self.seed;
        assert!(
            said.closed == self.grants,
            "seed {seed}: one Closed for every grant"
        );
        assert!(
            said.opened == said.closed_open,
            "seed {seed}: what opened has closed"
        );
        let counters = self.world.engine.counters();
        let held = (counters.connections, counters.streams, counters.behind);
        assert_eq!(held, (0, 0, 0), "seed {seed}: nothing is left");
    }

    fn keep_last_id(&mut self, descriptor: i32) {
        let client = &self.clients[&descriptor];
        let received = &self.world.kernel.sockets[&descriptor].received;
        let last = blocks(received)
            .filter_map(|block| block.lines().find_map(|line| line.strip_prefix("id: ")))
            .last();
        if let Some(id) = last {
            self.last_ids
                .push((client.organisation, client.user, id.parse().unwrap()));
        }
    }

    fn any_client(&mut self) -> Option<i32> {
        let count = self.clients.len();
        let at = if count == 0 {
            return None;
        } else {
            self.below(count)
        };
        self.clients.keys().nth(at).copied()
    }

    fn filter(&mut self) -> Option<&'static str> {
        CHANNELS.get(self.below(5)).copied()
    }

    fn below(&mut self, bound: usize) -> usize {
        // xorshift64*: a test's dice.
        self.random ^= self.random >> 12;
        self.random ^= self.random << 25;
        self.random ^= self.random >> 27;
        (self.random.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33) as usize % bound
    }
}
