//! The control thread's stand-in: who asks, by the session's row, and what is asked of the owner of
//! the memberships. The order in which it notes, reads and asks is the product's (`src/control`), and so
//! are the types that it passes on; its delays are drawn.

mod grant;
mod wanted;

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use bytes::Bytes;
use engine::{Command, Notice, SubscriptionChange};
use replication::{Admission, Question, Wanted as Organisation};
use wire::http::{Refusal, RefusalCode, Request};
use wire::{ConnectionId, EventId, Grant, Keys, Lsn};

pub use grant::grant;
use wanted::{Wanted, parse};

use crate::node::{Answer, Order, Said, Uplink};
use crate::planted::JUDGED_AFTER_READ;
use crate::postgres::{Postgres, SessionRow};
use crate::random::Random;
use crate::sometimes::{Sometimes, State};
use crate::swarm;
use crate::time::Time;

/// How often somebody is judged again who may have been revoked meanwhile.
const ATTEMPTS_MAX: u8 = 3;

/// The pause before that.
const AGAIN: Time = Time::from_ms(400);

/// Nobody new is let in while the newest message of the server is older.
const STALE_MS: u64 = 10_000;

/// How long a session may be answered from the cache.
const CACHED: Time = Time::from_ms(5_000);

/// Somebody who asks, as far as they have got.
#[derive(Debug)]
pub struct Task {
    asker: ConnectionId,
    wanted: Wanted,
    attempts: u8,
    known: Option<Known>,
}

/// Who it is, and what had been applied before that was read.
#[derive(Clone, Debug)]
struct Known {
    row: SessionRow,
    judged: Judged,
}

/// What had been applied at some moment.
#[derive(Clone, Copy, Debug)]
struct Judged {
    position: EventId,
    at_ms: u64,
}

/// What is due for somebody.
#[derive(Debug)]
enum Step {
    /// The position is noted.
    Begin,
    /// The row of the session is read.
    Read(Judged),
    /// The owner of the memberships is asked.
    Ask,
}

/// What the control thread has told others in a round.
#[derive(Debug, Default)]
pub struct Told {
    /// The replication thread.
    pub orders: Vec<Order>,
    /// The engines.
    pub commands: Vec<(usize, Command)>,
}

/// What it knows when its turn comes.
#[derive(Clone, Copy, Debug)]
pub struct Circumstances {
    /// The time.
    pub now: Time,
    /// The same by the node's clock, in milliseconds since 1970.
    pub unix_ms: u64,
    /// What has been applied, as was published.
    pub applied: Option<EventId>,
    /// How old the feed is.
    pub feed_age_ms: Option<u64>,
    /// Whether nobody is taken in any more.
    pub is_draining: bool,
}

/// The control thread of a node.
pub struct Control {
    keys: Keys,
    rules: swarm::Node,
    random: Random,
    due: BTreeMap<(Time, u64), (Step, Box<Task>)>,
    count: u64,
    /// What the owner of the memberships has answered.
    pub answers: VecDeque<(Time, Answer)>,
    cache: BTreeMap<String, (Time, Known)>,
    /// The grants that were counted and not given back, by the connection's name.
    granted: BTreeSet<(u16, u32, u32)>,
    tickets: BTreeMap<u64, ConnectionId>,
    held: Vec<(Time, u32)>,
    is_closed_to_users: bool,
    /// Whether that was so at any time: every stream with a user was told to end then.
    pub has_closed_users: bool,
    /// States that were reached.
    pub sometimes: Sometimes,
}

impl Control {
    /// One that knows nobody.
    pub fn new(keys: Keys, rules: swarm::Node, random: Random) -> Self {
        Self {
            keys,
            rules,
            random,
            due: BTreeMap::new(),
            count: 0,
            answers: VecDeque::new(),
            cache: BTreeMap::new(),
            granted: BTreeSet::new(),
            tickets: BTreeMap::new(),
            held: Vec::new(),
            is_closed_to_users: false,
            has_closed_users: false,
            sometimes: Sometimes::default(),
        }
    }

    /// A grant is handed over: it is one of its user's connections until its engine says that it ended.
    pub fn count(&mut self, grant: &Grant) {
        let name = name_of(grant.connection);
        assert!(self.granted.insert(name), "a connection is granted once");
    }

    /// What is left: grants that were not given back, requests and answers under way, tickets that nobody answered,
    /// and questions for the end of the log.
    pub fn left_over(&self) -> [usize; 5] {
        [
            self.granted.len(),
            self.due.len(),
            self.answers.len(),
            self.tickets.len(),
            self.held.len(),
        ]
    }

    /// One round of the thread.
    pub fn round(
        &mut self,
        circumstances: Circumstances,
        uplink: &mut Uplink,
        database: &Postgres,
    ) -> Told {
        let mut told = Told::default();
        let now = circumstances.now;
        self.heed_age(circumstances, &mut told);
        while let Some((_, answer)) = self.answers.pop_front() {
            self.on_answer(circumstances, answer, &mut told);
        }
        while let Some((_, said)) = uplink.take() {
            match said {
                Said::Request(asker, request) => {
                    self.on_request(circumstances, asker, &request, &mut told);
                }
                Said::Notice(core, notice) => self.on_notice(now, core, notice, &mut told),
            }
        }
        while self
            .due
            .first_key_value()
            .is_some_and(|((at, _), _)| *at <= now)
        {
            let (_, (step, task)) = self.due.pop_first().expect("it is there");
            self.go_on(circumstances, step, task, database, &mut told);
        }
        self.tell_flushed(now, database, &mut told);
        told
    }

    /// When it has something to do by itself.
    pub fn deadline(&self) -> Option<Time> {
        let due = self.due.first_key_value().map(|((at, _), _)| *at);
        let held = self.held.iter().map(|(at, _)| *at).min();
        due.into_iter().chain(held).min()
    }

    fn later(&mut self, now: Time, step: Step, task: Box<Task>) {
        let delay = Time(self.random.below(self.rules.control_ms * 1_000) + 1);
        self.put(now + delay, step, task);
    }

    fn put(&mut self, at: Time, step: Step, task: Box<Task>) {
        self.count += 1;
        self.due.insert((at, self.count), (step, task));
    }

    /// Who may have a stream is known from the feed alone: when that is old, nobody vouches for it.
    fn heed_age(&mut self, circumstances: Circumstances, told: &mut Told) {
        let is_old = self.is_trust_lost(circumstances);
        if is_old && !std::mem::replace(&mut self.is_closed_to_users, is_old) {
            self.sometimes.reach(State::TrustLost);
            self.has_closed_users = true;
            told.orders.push(Order::CloseUsers);
        }
        self.is_closed_to_users = is_old;
    }

    fn is_trust_lost(&self, circumstances: Circumstances) -> bool {
        let age_ms = circumstances.feed_age_ms;
        age_ms.is_some_and(|age_ms| age_ms > self.rules.grace_ms)
    }

    fn on_request(
        &mut self,
        circumstances: Circumstances,
        asker: ConnectionId,
        request: &Request,
        told: &mut Told,
    ) {
        let wanted = match parse(&request.head) {
            Ok(wanted) => wanted,
            Err(refusal) => return respond(asker, refusal.response(""), told),
        };
        if circumstances.is_draining {
            self.sometimes.reach(State::RequestDuringDrain);
            return refuse(asker, RefusalCode::Draining, told);
        }
        let is_stale = circumstances.feed_age_ms.is_none_or(|age| age > STALE_MS);
        if circumstances.applied.is_none() || is_stale {
            return refuse(asker, RefusalCode::NotReady, told);
        }
        let task = Task {
            asker,
            wanted,
            attempts: 0,
            known: None,
        };
        self.later(circumstances.now, Step::Begin, Box::new(task));
    }

    fn go_on(
        &mut self,
        circumstances: Circumstances,
        step: Step,
        mut task: Box<Task>,
        database: &Postgres,
        told: &mut Told,
    ) {
        let now = circumstances.now;
        let judged = || {
            let position = circumstances.applied?;
            let at_ms = circumstances.unix_ms;
            Some(Judged { position, at_ms })
        };
        match step {
            Step::Begin => {
                let Some(judged) = judged() else {
                    return refuse(task.asker, RefusalCode::NotReady, told);
                };
                let cached = self.cache.get(&task.wanted.token);
                let cached = cached.filter(|(until, _)| now < *until && task.attempts == 0);
                if let Some((_, known)) = cached {
                    task.known = Some(known.clone());
                    return self.later(now, Step::Ask, task);
                }
                self.later(now, Step::Read(judged), task);
            }
            Step::Read(noted) => {
                let Ok(row) = database.session(&task.wanted.token) else {
                    return refuse(task.asker, RefusalCode::Unavailable, told);
                };
                let row = row.filter(|row| row.expires_ms > circumstances.unix_ms);
                let Some(row) = row else {
                    return refuse(task.asker, RefusalCode::Unauthenticated, told);
                };
                let judged = match JUDGED_AFTER_READ {
                    // What is applied by the time it is used, and not what was before it was read.
                    true => Judged {
                        at_ms: u64::MAX,
                        ..noted
                    },
                    false => noted,
                };
                let known = Known { row, judged };
                if self.random.chance(self.rules.cached) {
                    let entry = (now + CACHED, known.clone());
                    self.cache.insert(task.wanted.token.clone(), entry);
                }
                task.known = Some(known);
                self.later(now, Step::Ask, task);
            }
            Step::Ask => self.ask(circumstances, task, told),
        }
    }

    fn ask(&mut self, circumstances: Circumstances, task: Box<Task>, told: &mut Told) {
        let known = task.known.as_ref().expect("who asks is known");
        if let Some((connection, is_add)) = task.wanted.change {
            let (channels, types) = (task.wanted.channels.clone(), task.wanted.types.clone());
            let change = match is_add {
                true => SubscriptionChange::Add { channels, types },
                false => SubscriptionChange::Replace { channels, types },
            };
            self.count += 1;
            self.tickets.insert(self.count, task.asker);
            let command = Command::Subscribe {
                ticket: self.count,
                connection,
                owner: Some(self.keys.user(&known.row.user)),
                change,
            };
            if usize::from(connection.engine) < 64 {
                told.commands.push((connection.engine.into(), command));
            }
            return;
        }
        // Whether anybody can be let in at all by now: a look at a database takes its time.
        if circumstances.is_draining {
            return refuse(task.asker, RefusalCode::Draining, told);
        }
        if self.is_trust_lost(circumstances) {
            return refuse(task.asker, RefusalCode::NotReady, told);
        }
        let mut judged = known.judged;
        if judged.at_ms == u64::MAX {
            judged = Judged {
                position: circumstances.applied.unwrap_or(judged.position),
                at_ms: circumstances.unix_ms,
            };
        }
        let question = Question {
            user: known.row.user.clone(),
            session: self.keys.session(&known.row.id),
            issued_ms: None,
            organisation: match task.wanted.organisation.as_str() {
                "" => Organisation::Only,
                name => Organisation::Named(name.to_owned()),
            },
            judged: judged.position,
            judged_ms: judged.at_ms,
            claims: None,
        };
        told.orders.push(Order::Admit(task, Box::new(question)));
    }

    fn on_answer(&mut self, circumstances: Circumstances, answer: Answer, told: &mut Told) {
        let (mut task, why) = match answer {
            Answer::Granted(_) => return,
            Answer::Refused(task, why) => (task, why),
        };
        let code = match why {
            Admission::Admitted(_) => unreachable!("whoever is let in is not refused"),
            Admission::JudgeAgain if task.attempts < ATTEMPTS_MAX => {
                self.sometimes.reach(State::JudgedAgain);
                task.attempts += 1;
                task.known = None;
                self.cache.remove(&task.wanted.token);
                return self.put(circumstances.now + AGAIN, Step::Begin, task);
            }
            Admission::JudgeAgain => RefusalCode::Unavailable,
            Admission::NotAMember => RefusalCode::NotAMember,
            Admission::SeveralOrganisations => RefusalCode::OrganizationRequired,
            Admission::Revoked => RefusalCode::Unauthenticated,
            Admission::NotReady => RefusalCode::NotReady,
        };
        refuse(task.asker, code, told);
    }

    fn on_notice(&mut self, now: Time, core: u32, notice: Notice, told: &mut Told) {
        match notice {
            Notice::Opened { connection, .. } => {
                let is_known = self.granted.contains(&name_of(connection));
                assert!(is_known, "a stream was opened that nobody granted");
            }
            Notice::Closed { connection, .. } => {
                let given_back = self.granted.remove(&name_of(connection));
                assert!(given_back, "a grant was given back twice");
            }
            Notice::Held => {
                let delay = Time(self.random.below(self.rules.control_ms * 1_000) + 1);
                self.held.push((now + delay, core));
            }
            Notice::Answered { ticket, outcome } => {
                let asker = self.tickets.remove(&ticket);
                let asker = asker.expect("a ticket is answered once");
                let status = match outcome {
                    engine::TicketOutcome::Done => 200,
                    engine::TicketOutcome::NotFound => 404,
                    _ => 403,
                };
                respond(asker, wire::http::response(status, "", b"{}"), told);
            }
        }
    }

    /// Asks the server for the end of its log, for those who hold somebody; again where it is down.
    fn tell_flushed(&mut self, now: Time, database: &Postgres, told: &mut Told) {
        let delay = Time(self.random.below(self.rules.control_ms * 1_000) + 1);
        for (at, core) in &mut self.held {
            if *at > now {
                continue;
            }
            match database.flushed() {
                Ok(lsn) => {
                    let command = Command::Flushed(Lsn(lsn));
                    told.commands.push((*core as usize, command));
                    *at = Time(0);
                }
                Err(_) => *at = now + Time::from_ms(1_000) + delay,
            }
        }
        self.held.retain(|(at, _)| *at > Time(0));
    }
}

impl Task {
    /// The engine that asks.
    pub fn core(&self) -> usize {
        self.asker.engine.into()
    }
}

fn name_of(connection: ConnectionId) -> (u16, u32, u32) {
    (connection.engine, connection.slot, connection.generation)
}

fn respond(connection: ConnectionId, response: Bytes, told: &mut Told) {
    let command = Command::Respond {
        connection,
        response,
    };
    told.commands.push((connection.engine.into(), command));
}

fn refuse(connection: ConnectionId, code: RefusalCode, told: &mut Told) {
    let refusal = Refusal::new(code, "no");
    respond(connection, refusal.response(""), told);
}
