//! What is decided about streams that are open, and what has to come of it: every answer is one of those
//! that there may be, and what was done is known.

use std::collections::BTreeSet;

use wire::{Batch, Claimed, CloseReason, ConnectionId, Extension, Key, Renewal, Scope};

use super::{ORGANISATIONS, Play, USERS};
use crate::fuzzing::reader::{Reader, Wants, name};
use crate::fuzzing::standing::expiry_tick;
use crate::{Command, SubscriptionChange, TicketOutcome, limits};

/// What was asked of a stream by a ticket.
pub(super) enum Change {
    Subscription(Wants),
    End(CloseReason),
    /// Another session, which ends in this tick.
    Session(Key, u64),
}

/// A client that something is asked of.
struct Chosen {
    descriptor: i32,
    connection: ConnectionId,
    reader: Reader,
}

impl Play {
    pub(super) fn subscribe(&mut self, connection: usize, how: usize, channel: usize) {
        let Some(chosen) = self.any_client(connection) else {
            return;
        };
        let more = match channel % 8 {
            0 => Wants::of(&["property"], &[]),
            1 => Wants::of(&["notes"], &[]),
            2 => Wants::of(&["alerts"], &[]),
            4 => Wants::of(&["user"], &[]),
            5 => Wants::of(&[], &["property.*"]),
            6 => Wants::of(&["notes"], &["notes.update", "property.insert"]),
            7 => Wants {
                channels: (0..=limits::SUBSCRIPTION_NAMES_MAX)
                    .map(|at| format!("channel-{at}"))
                    .collect(),
                types: BTreeSet::new(),
            },
            _ => Wants::default(),
        };
        let (channels, types) = (more.names(), more.patterns());
        let asked = &self.clients[&chosen.descriptor].asked;
        let before = asked.last().expect("it came with one");
        let (wants, change) = match how.is_multiple_of(2) {
            true => (more, SubscriptionChange::Replace { channels, types }),
            false => (
                before.with(&more),
                SubscriptionChange::Add { channels, types },
            ),
        };
        let owner = self.owner(&chosen.reader, how);
        let names = wants.channels.len().max(wants.types.len());
        let outcome = match (owner == chosen.reader.user, names) {
            (false, _) => TicketOutcome::Foreign,
            (true, ..=limits::SUBSCRIPTION_NAMES_MAX) => TicketOutcome::Done,
            (true, _) => TicketOutcome::TooMany,
        };
        let ticket = self.ticket(&chosen, Change::Subscription(wants), outcome);
        self.command(Command::Subscribe {
            ticket,
            connection: chosen.connection,
            owner,
            change,
        });
    }

    pub(super) fn renew(&mut self, connection: usize, user: usize, seconds: usize) {
        let Some(chosen) = self.any_client(connection) else {
            return;
        };
        let Chosen {
            descriptor, reader, ..
        } = &chosen;
        let client = &self.clients[descriptor];
        let session = self.session(client.came.who, seconds);
        let other = self.keys.user(USERS[user % 4]);
        let of_user = reader.user.filter(|_| user % 8 < 6).unwrap_or(other);
        let claims = self.claims(reader, user / 8 % 4);
        let is_claimed = match (&claims, reader.scope) {
            (Some((claimed, roles)), Scope::Organisation(own)) => {
                let roles: BTreeSet<&str> = roles.iter().copied().collect();
                let has = reader.roles.iter().flatten().copied().collect();
                *claimed == own && roles == has
            }
            _ => true,
        };
        let outcome = if reader.user != Some(of_user) {
            TicketOutcome::Foreign
        } else if client.has_expired(self.now.monotonic_ms) {
            TicketOutcome::NotFound
        } else if !is_claimed {
            TicketOutcome::NotAMember
        } else {
            TicketOutcome::Done
        };
        let left_ms = 10_000 * (seconds as u64 % 16);
        let tick = expiry_tick(self.now.monotonic_ms, left_ms);
        let ticket = self.ticket(&chosen, Change::Session(session, tick), outcome);
        let claims = claims.map(|(organisation, roles)| {
            vec![Claimed {
                organisation,
                roles: roles.iter().map(|role| name(role)).collect(),
            }]
        });
        let renewal = Renewal {
            connection: chosen.connection,
            ticket,
            user: of_user,
            session,
            expires_ms: Some(self.now.wall_ms + left_ms),
            claims,
        };
        self.hand_over(Batch::Renew(Box::new(renewal)));
    }

    /// What a fresh session claims: nothing, the very organisation and roles, others, or elsewhere.
    fn claims(&self, reader: &Reader, how: usize) -> Option<(Key, Vec<&'static str>)> {
        let own = match reader.scope {
            Scope::Organisation(own) => own,
            Scope::Nothing | Scope::Everything => self.keys.organisation(ORGANISATIONS[0]),
        };
        let roles = reader.roles.clone().unwrap_or_default();
        match how {
            0 => None,
            // In whatever order.
            1 => Some((own, roles.into_iter().rev().collect())),
            2 => Some((own, vec!["owner"])),
            _ => Some((self.keys.organisation(ORGANISATIONS[1]), roles)),
        }
    }

    pub(super) fn extend(&mut self, user: usize, seconds: usize) {
        let session = self.session(user, seconds);
        let of_user = seconds
            .is_multiple_of(2)
            .then(|| self.keys.user(USERS[user % 4]));
        let left_ms = 10_000 * (seconds as u64 / 2 % 16);
        let now_ms = self.now.monotonic_ms;
        self.open_intake();
        self.read_all();
        for client in self.clients.values_mut() {
            let is_theirs = client.came.session == Some(session)
                && (of_user.is_none() || client.came.reader.user == of_user);
            if is_theirs && !client.has_expired(now_ms) {
                client.move_expiry(expiry_tick(now_ms, left_ms), now_ms);
                self.reached.mark("extended");
            }
        }
        self.hand_over(Batch::Extend(Extension {
            session,
            user: of_user,
            expires_ms: self.now.wall_ms + left_ms,
        }));
    }

    pub(super) fn close(&mut self, connection: usize, how: usize, reason: usize) {
        let Some(chosen) = self.any_client(connection) else {
            return;
        };
        let reason = [
            CloseReason::Replaced,
            CloseReason::Reauthorize,
            CloseReason::FeedStale,
        ][reason % 3];
        let connection = chosen.connection;
        if how.is_multiple_of(2) {
            self.know_end(chosen.descriptor, reason);
            self.command(Command::Close { connection, reason });
            return;
        }
        let owner = self.owner(&chosen.reader, how);
        let outcome = match owner == chosen.reader.user {
            true => TicketOutcome::Done,
            false => TicketOutcome::Foreign,
        };
        let ticket = self.ticket(&chosen, Change::End(reason), outcome);
        self.command(Command::End {
            ticket,
            connection,
            owner,
            reason,
        });
    }

    pub(super) fn close_all(&mut self, seconds: u64) {
        let (reason, spread_ms) = (CloseReason::Draining, 1_000 * seconds);
        let now_ms = self.now.monotonic_ms;
        // Where small classes are swept turn after turn, it goes on later.
        let certain_ms = now_ms + spread_ms + 4 * limits::SCAN_MS;
        for client in self.clients.values_mut() {
            client.standing.on_end(reason, now_ms, Some(certain_ms));
        }
        self.pages.values_mut().for_each(|page| page.on_end(reason));
        self.command(Command::CloseAll { reason, spread_ms });
    }

    fn know_end(&mut self, descriptor: i32, reason: CloseReason) {
        let now_ms = self.now.monotonic_ms;
        let client = self.clients.get_mut(&descriptor);
        let client = client.expect("it was chosen");
        client.standing.on_end(reason, now_ms, Some(now_ms));
    }

    /// A ticket came back: the answer is one that there may be, and what was done holds from now on.
    pub(super) fn hear_answer(&mut self, ticket: u64, outcome: TicketOutcome) {
        let asked = self.tickets.remove(&ticket);
        let (descriptor, change, outcomes) = asked.expect("a ticket is answered once");
        assert!(
            outcomes.contains(&outcome),
            "{outcome:?}, and not {outcomes:?}"
        );
        self.reached.mark(match (outcome, &change) {
            (TicketOutcome::Done, Change::Subscription(_)) => "subscribed",
            (TicketOutcome::Done, Change::End(_)) => "ended by its own client",
            (TicketOutcome::Done, Change::Session(..)) => "renewed",
            (TicketOutcome::NotFound, _) => "not found",
            (TicketOutcome::Foreign, _) => "foreign",
            (TicketOutcome::NotAMember, _) => "not a member",
            (TicketOutcome::TooMany, _) => "too many",
        });
        if outcome != TicketOutcome::Done {
            return;
        }
        let now_ms = self.now.monotonic_ms;
        let client = self.clients.get_mut(&descriptor);
        let client = client.expect("who is asked is there");
        match change {
            Change::Subscription(wants) => {
                client.asked.push(wants);
                client.is_in_step = false;
            }
            Change::End(reason) => self.know_end(descriptor, reason),
            Change::Session(session, tick) => {
                client.came.session = Some(session);
                client.move_expiry(tick, now_ms);
            }
        }
    }

    /// Who asks: the owner, or now and then somebody else.
    fn owner(&self, reader: &Reader, how: usize) -> Option<Key> {
        match how % 8 {
            6 => None,
            7 => Some(self.keys.user("eve")),
            _ => reader.user,
        }
    }

    fn any_client(&self, number: usize) -> Option<Chosen> {
        let count = self.clients.len().max(1);
        let (descriptor, client) = self.clients.iter().nth(number % count)?;
        let id = self.kernel.sockets[descriptor].id;
        Some(Chosen {
            descriptor: *descriptor,
            connection: id.expect("a client has asked"),
            reader: client.came.reader.clone(),
        })
    }

    /// A ticket for something that has this outcome, unless the stream is over.
    fn ticket(&mut self, of: &Chosen, change: Change, outcome: TicketOutcome) -> u64 {
        // What is handed over is handed over later than it was decided.
        self.open_intake();
        self.read_all();
        let now_ms = self.now.monotonic_ms;
        let client = &self.clients[&of.descriptor];
        let is_over = client.closed.is_some() || client.standing.is_ended();
        let mut outcomes = Vec::new();
        if !is_over {
            outcomes.push(outcome);
        }
        if is_over || client.may_be_over(now_ms, self.idle_close_ms) {
            outcomes.push(TicketOutcome::NotFound);
        }
        self.ticket += 1;
        let asked = (of.descriptor, change, outcomes);
        self.tickets.insert(self.ticket, asked);
        self.ticket
    }
}
