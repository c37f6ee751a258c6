//! The clients have their turns: they come, read, change their minds and go.

use super::{Past, Phase, World};
use crate::application::Person;
use crate::clients::{Circumstances, Doing, End, Id, position};
use crate::model::Viewer;
use crate::network::Connection;
use crate::node::{Node, Shelf, ahead};
use crate::queue::Event;
use crate::sometimes::State;
use crate::time::Time;

/// How many ids are remembered that somebody has received.
const SEEN_MAX: usize = 64;

impl World {
    /// A client decides what it does next.
    pub(super) fn on_client(&mut self, number: u32) -> Result<(), String> {
        if self.phase == Phase::Teardown {
            return Ok(());
        }
        let (now, is_calm) = (self.now, self.phase == Phase::Calm);
        let client = &mut self.clients[number as usize];
        client.due = None;
        let doing = match (client.goes_to, &client.stream) {
            (Some(_), Some(_)) if !is_calm => Doing::Leave,
            _ => client.decide(is_calm),
        };
        let connection = client.stream.as_ref().map(|stream| stream.connection);
        let mut next = client.patience(&self.swarm.crowd, is_calm);
        match doing {
            Doing::Nothing => {}
            Doing::Connect => {
                if !self.connect(number) {
                    next = self.clients[number as usize].pause();
                }
            }
            Doing::Leave => {
                let connection = connection.expect("who leaves has a stream");
                self.network.leave(now, connection, &mut self.queue);
                client.end(End::Broken)?;
                next = client.pause();
            }
            Doing::Vanish => {
                // Nothing is read any more, and nobody is told.
                let connection = connection.expect("who vanishes has a stream");
                self.network.connections[connection as usize].is_vanished = true;
                client.end(End::Broken)?;
                next = client.pause();
            }
            Doing::Stall(time) => {
                let stream = client.stream.as_mut().expect("who stalls has a stream");
                stream.stalled_until = now + time;
                let connection = stream.connection;
                self.queue.push(now + time, Event::Read { connection });
            }
            Doing::Subscribe(channels) => self.change(number, channels),
        }
        self.wake_client(number, now + next);
        Ok(())
    }

    /// A client decides something at this time, if not before.
    pub(super) fn wake_client(&mut self, number: u32, at: Time) {
        let due = &mut self.clients[number as usize].due;
        if due.is_none_or(|due| at < due) {
            *due = Some(at);
            self.queue.push(at, Event::Client { client: number });
        }
    }

    /// A client opens its stream. Whether it could.
    fn connect(&mut self, number: u32) -> bool {
        let Some(session) = self.identify(number) else {
            return false;
        };
        let client = &mut self.clients[number as usize];
        let is_moving = client.chance(self.swarm.crowd.moving);
        let node = match (client.goes_to.take(), client.habits.is_together) {
            (Some(node), _) => node as usize,
            (None, _) if is_moving => client.choose(self.nodes.len()),
            (None, true) => 0,
            (None, false) => number as usize % self.nodes.len(),
        };
        let core = match client.habits.is_together {
            true => 0,
            false => client.choose(self.swarm.engines as usize) as u32,
        };
        let is_refused = client.chance(self.swarm.sockets.refused);
        let Some(alive) = self.nodes[node].alive.as_deref() else {
            return false;
        };
        if is_refused {
            return false;
        }
        let place = (node as u32, alive.boot, core);
        let floor = alive.floor.map(position);
        let applied = alive.reader.applied().map(position);
        if client.habits.is_hostile && client.chance(300) && self.phase == Phase::Faults {
            let bytes = client.nonsense();
            let network = &mut self.network;
            network.connect(self.now, place, number, &bytes, &mut self.queue);
        }
        let request = client.request(self.swarm.crowd.other_id, &self.seen, floor);
        let viewer = Viewer {
            user: client.user.clone(),
            organisation: client.organisation.clone(),
            session,
            channels: client.channels.clone(),
            types: client.types.clone(),
        };
        let network = &mut self.network;
        let connection = network.connect(self.now, place, number, &request.bytes, &mut self.queue);
        let sent = request.sent;
        self.trace.say(self.now, || {
            format!("client {number} opens {connection} at {place:?} as {viewer:?} after {sent:?}")
        });
        client.begin(self.now, connection, viewer, sent, applied, &self.model);
        self.plan_ousting(number);
        true
    }

    /// Who a client is, where that is to be decided: the row of its session.
    fn identify(&mut self, number: u32) -> Option<String> {
        let client = &mut self.clients[number as usize];
        // Whoever is kept out although it has logged in is somebody else in the end. In calm times nobody is
        // who has the right: it has to be let in.
        let is_kept_out = client.refused == Some(401) && client.chance(300);
        let viewer = Viewer {
            user: client.user.clone(),
            organisation: client.organisation.clone(),
            ..Viewer::default()
        };
        let is_calm = self.phase == Phase::Calm;
        let has_right = is_calm && self.model.has_right(&viewer, self.model.end());
        let is_out = client.refused == Some(403) || is_kept_out;
        let is_new = client.user.is_empty() || is_out && !has_right;
        // In calm times everybody may be somebody who is let in.
        let is_together = client.habits.is_together && !is_calm;
        if is_new {
            let people = self.application.people();
            if people.is_empty() {
                return None;
            }
            // Those who keep together are of the first organisation, as long as anybody is.
            let first = people.first().and_then(|it| it.organisations.first());
            let is_first = |person: &&Person| person.organisations.first() == first;
            let of_first: Vec<&Person> = people.iter().filter(is_first).collect();
            let person = match is_together {
                true => of_first[client.choose(of_first.len())],
                false => &people[client.choose(people.len())],
            };
            if person.organisations.is_empty() {
                return None;
            }
            let organisation = match is_together {
                true => 0,
                false => client.choose(person.organisations.len()),
            };
            client.user = person.user.clone();
            client.organisation = person.organisations[organisation].clone();
            client.token = None;
            client.last = None;
            (client.channels, client.types) = match client.habits.is_filtered {
                true => (client.some_channels(), client.some_types()),
                false => (Vec::new(), Vec::new()),
            };
        }
        if client.token.is_none() || matches!(client.refused, Some(401 | 403)) {
            let application = &mut self.application;
            client.token = application.log_in(self.now, &mut self.database, &client.user);
            client.session.clear();
            if client.token.is_none() {
                // Perhaps there is no such person any more.
                client.refused = Some(403);
            }
            self.is_database_touched = true;
        }
        self.model.follow(self.database.log());
        let token = client.token.as_deref()?;
        let known = self.database.session(token);
        client.is_known = matches!(known, Ok(Some(_)));
        match known {
            Ok(Some(row)) => {
                client.session = row.id;
                Some(client.session.clone())
            }
            // It is known from before, if at all: a cookie that was never good for anything lets nobody in.
            known => {
                if known.is_ok() && client.session.is_empty() {
                    client.refused = Some(401);
                }
                Some(client.session.clone()).filter(|id| !id.is_empty())
            }
        }
    }

    /// A client changes its subscription, over another connection to the same engine.
    fn change(&mut self, number: u32, channels: Vec<String>) {
        let client = &mut self.clients[number as usize];
        let (Some(bytes), Some(stream)) = (client.change(&channels), &mut client.stream) else {
            return;
        };
        stream.oracle.on_asked(&channels);
        let asked_of = stream.connection;
        let connection = &self.network.connections[stream.connection as usize];
        let place = (connection.node, connection.boot, connection.core);
        // It names channels, and no types any more.
        client.channels = channels;
        client.types.clear();
        let network = &mut self.network;
        let errand = network.connect(self.now, place, number, &bytes, &mut self.queue);
        self.errands.insert(errand, asked_of);
    }

    /// What a client did arrives at its node.
    pub(super) fn on_arrive(&mut self, number: u32) {
        let is_more = self.network.arrive(number);
        if is_more {
            let at = self.now + self.network.way();
            self.queue.push(at, Event::Arrive { connection: number });
        }
        let connection = &mut self.network.connections[number as usize];
        if connection.is_closed {
            return;
        }
        let (node, boot, core) = (connection.node, connection.boot, connection.core);
        let alive = self.nodes[node as usize].of_boot(boot);
        let Some(alive) = alive else {
            connection.is_broken = true;
            connection.is_closed = true;
            self.network.wake_reader(self.now, number, &mut self.queue);
            return;
        };
        if !std::mem::replace(&mut connection.is_queued, true) {
            alive.cores[core as usize].backlog.push_back(number);
        }
        self.wake_core(node, core, self.now + Time(1));
    }

    /// A client reads.
    pub(super) fn on_read(&mut self, number: u32) -> Result<(), String> {
        let is_calm = self.phase != Phase::Faults;
        let connection = &mut self.network.connections[number as usize];
        connection.is_read_due = false;
        if connection.is_left {
            return Ok(());
        }
        let owner = connection.client;
        let client = &mut self.clients[owner as usize];
        let Some(stream) = client.stream.as_ref().filter(|it| it.connection == number) else {
            // An errand of its own, or of somebody who has vanished: whoever is done closes.
            let is_done = connection.down.starts_with(b"HTTP/1.1 200 ");
            if !connection.is_vanished {
                let is_errand = self.errands.contains_key(&number);
                check_answer(number, &connection.down, is_errand)?;
            }
            if let Some(asked_of) = self.errands.get(&number).filter(|_| is_done)
                && let Some(stream) = &mut client.stream
                && stream.connection == *asked_of
            {
                stream.oracle.on_changed();
            }
            if connection.is_finished && !connection.is_vanished {
                self.network.leave(self.now, number, &mut self.queue);
            }
            return Ok(());
        };
        if stream.stalled_until > self.now && !is_calm && !connection.is_broken {
            return Ok(());
        }
        let pace = client.pace(is_calm);
        let count = pace
            .map_or(usize::MAX, |(bytes, _)| bytes)
            .min(connection.down.len());
        let rest = connection.down.split_off(count);
        let bytes = std::mem::replace(&mut connection.down, rest);
        let has_more = !connection.down.is_empty();
        let end = match (connection.is_broken, connection.is_finished && !has_more) {
            (true, _) => Some(End::Broken),
            (false, true) => Some(End::Orderly),
            (false, false) => None,
        };
        if has_more && end.is_none() {
            let (_, pause) = pace.unwrap_or((0, Time(1)));
            connection.is_read_due = true;
            self.queue
                .push(self.now + pause, Event::Read { connection: number });
        }
        let node = connection.node;
        let wants_room = count > 0;
        let core = connection.core;
        self.judge(owner, number, &bytes)?;
        if wants_room {
            let at = self.now + self.network.way();
            self.wake_core(node, core, at);
        }
        if let Some(end) = end {
            self.on_end(owner, number, end)?;
        }
        Ok(())
    }

    /// What was read is judged.
    fn judge(&mut self, owner: u32, number: u32, bytes: &[u8]) -> Result<(), String> {
        if bytes.is_empty() {
            return Ok(());
        }
        self.model.follow(self.database.log());
        let connection = &self.network.connections[number as usize];
        let (node, boot) = (connection.node, connection.boot);
        let state = &self.nodes[node as usize];
        let alive = state.alive.as_deref().filter(|it| it.boot == boot);
        let past = self.past.get(&(node, boot));
        let shelf = shelf_of(state, past, connection);
        let skew_ms = alive.map_or_else(|| past.map_or(0, |it| it.skew_ms), |it| it.skews_ms.1);
        let handle = connection.handle;
        let client = &mut self.clients[owner as usize];
        let around = Circumstances {
            model: &self.model,
            epoch: self.epoch,
            now: self.now,
            // By none of its settings had the node's clock come further.
            unix_ms: ahead(self.now, skew_ms),
            shelf,
            admitted: handle.and_then(|it| shelf.admitted(it.slot, it.generation)),
            is_draining: state.is_draining || past.is_some_and(|past| past.is_draining),
            has_closed_users: match (alive, past) {
                (Some(alive), _) => alive.control.has_closed_users,
                (None, past) => past.is_some_and(|past| past.has_closed_users),
            },
            resume_wait_ms: self.swarm.node.resume_wait_ms,
        };
        client.read(bytes, around, &mut self.sometimes)?;
        if let Some(last) = &client.last {
            self.epoch.get_or_insert(last.epoch);
            if self.seen.last() != Some(last) {
                remember(&mut self.seen, last);
            }
        }
        Ok(())
    }

    fn on_end(&mut self, owner: u32, number: u32, end: End) -> Result<(), String> {
        let now = self.now;
        let connection = &self.network.connections[number as usize];
        if let Some(stream) = &self.clients[owner as usize].stream
            && connection.is_cut_off
        {
            let past = self.past.get(&(connection.node, connection.boot));
            let shelf = shelf_of(&self.nodes[connection.node as usize], past, connection);
            let handle = connection.handle;
            let admitted = handle.and_then(|it| shelf.admitted(it.slot, it.generation));
            stream.oracle.check_cut_off(admitted, shelf)?;
        }
        let past = self.past.get(&(connection.node, connection.boot));
        let state = &self.nodes[connection.node as usize];
        let is_draining = match past {
            Some(past) => past.is_draining,
            None => state.is_draining,
        };
        if let Some(stream) = &self.clients[owner as usize].stream {
            let shelf = shelf_of(state, past, connection);
            let handle = connection.handle;
            let admitted = handle.and_then(|it| shelf.admitted(it.slot, it.generation));
            if connection.is_evicted
                && self.clients[owner as usize].is_within_event()
                && stream.oracle.check_cut_off(admitted, shelf).is_ok()
            {
                self.sometimes.reach(State::PartialSendEvicted);
            }
            match stream.oracle.bye.as_deref() {
                Some("draining") => self.sometimes.reach(State::Farewell),
                Some("session_expired") if is_draining => {
                    self.sometimes.reach(State::SessionExpired);
                    self.sometimes.reach(State::ExpiredDuringDrain);
                }
                Some("membership_revoked") => self.sometimes.reach(State::Revoked),
                Some("session_expired") => self.sometimes.reach(State::SessionExpired),
                Some("lagging") => self.sometimes.reach(State::HoldTimedOut),
                _ => {}
            }
            self.sometimes.add(stream.oracle.reached(&self.model));
            self.trace.say(now, || {
                format!("client {owner}: {number} ends {end:?}, {:?}", stream.oracle)
            });
        }
        self.network.leave(now, number, &mut self.queue);
        let client = &mut self.clients[owner as usize];
        let asked = client.stream.as_ref().map(|stream| {
            let (viewer, applied) = stream.oracle.asked_as();
            (viewer.clone(), applied, client.is_known)
        });
        client.end(end)?;
        if let (Some(status @ (401 | 403)), Some(asked)) = (client.refused, asked) {
            self.check_refusal(number, status, asked)?;
        }
        let client = &mut self.clients[owner as usize];
        if self.phase != Phase::Teardown {
            let at = now + client.pause();
            self.wake_client(owner, at);
        }
        Ok(())
    }
}

/// What is known of the log of the engine of a connection, whether its node lives or not.
fn shelf_of<'a>(state: &'a Node, past: Option<&'a Past>, connection: &Connection) -> &'a Shelf {
    let core = connection.core as usize;
    let alive = state
        .alive
        .as_deref()
        .filter(|it| it.boot == connection.boot);
    match (alive, past) {
        (Some(alive), _) => &alive.cores[core].shelf,
        (None, Some(past)) => &past.shelves[core],
        (None, None) => unreachable!("it is, or it was"),
    }
}

/// What is answered to an errand, and to what no client sends: nobody's event is in it, and the latter is never
/// done.
fn check_answer(number: u32, answer: &[u8], is_errand: bool) -> Result<(), String> {
    let text = String::from_utf8_lossy(answer);
    let is_done = ["HTTP/1.1 2", "HTTP/1.1 3"]
        .iter()
        .any(|it| text.starts_with(it));
    match text.contains("@o") || is_done && !is_errand {
        true => Err(format!(
            "{number} is answered {text:?}, an errand: {is_errand}"
        )),
        false => Ok(()),
    }
}

fn remember(seen: &mut Vec<Id>, id: &Id) {
    if seen.len() == SEEN_MAX {
        seen.remove(0);
    }
    seen.push(id.clone());
}
