//! What clients do, and what control decides about them.

use bytes::Bytes;
use wire::{
    Batch, CloseReason, ConnectionId, EventId, Extension, Filter, Format, Grant, Key, Lsn,
    PageRequest, PageSince, Purpose, Refuse, Renewal, Resume, Scope,
};

use super::{
    CHANNELS, Came, Client, ORGANISATIONS, PIECES, Page, Play, ROOMS, Reader, SOCKETS_MAX, Socket,
    Terms, USERS, name,
};
use crate::record::State;
use crate::{Command, SubscriptionChange};

impl Play {
    /// Somebody connects. Returns their descriptor.
    pub(super) fn accept(&mut self) -> Option<i32> {
        if self.open_descriptors().len() >= SOCKETS_MAX {
            return None;
        }
        let descriptor = self.next_descriptor;
        self.next_descriptor += 1;
        self.kernel.sockets.insert(descriptor, Socket::default());
        self.engine
            .handle_accept(self.now, descriptor, &mut self.kernel);
        Some(descriptor)
    }

    /// Somebody connects, and asks for something. Returns their descriptor, if it reached control.
    fn ask(&mut self) -> Option<i32> {
        let descriptor = self.accept()?;
        self.hear(descriptor, PIECES[0]);
        let has_asked = !self.kernel.is_overloaded;
        has_asked.then_some(descriptor)
    }

    pub(super) fn say(&mut self, connection: usize, piece: usize) {
        if let Some(descriptor) = self.any_descriptor(connection) {
            self.hear(descriptor, PIECES[piece % PIECES.len()]);
        }
    }

    /// Bytes arrive, where they are waited for.
    fn hear(&mut self, descriptor: i32, bytes: &[u8]) {
        let socket = self.kernel.sockets.get_mut(&descriptor);
        let socket = socket.expect("a descriptor that was accepted");
        if socket.is_open() && std::mem::take(&mut socket.is_readable_watched) {
            let handle = socket.handle.expect("it is watched");
            self.engine
                .handle_bytes(self.now, handle, bytes, &mut self.kernel);
        }
    }

    pub(super) fn hang_up(&mut self, connection: usize, how: usize) {
        if how.is_multiple_of(4) {
            if let Some(descriptor) = self.any_descriptor(connection) {
                self.report_hang_up(descriptor);
            }
            return;
        }
        // Of a connection that is gone: the engine does not mistake it for whoever has its slot now.
        let gone = self.kernel.sockets.values().filter(|it| it.is_released);
        let Some(handle) = gone.filter_map(|it| it.handle).nth_back(connection % 8) else {
            return;
        };
        let (now, kernel) = (self.now, &mut self.kernel);
        match how % 4 {
            1 => self.engine.handle_hangup(now, handle, kernel),
            2 => self.engine.handle_writable(now, handle, kernel),
            _ => self.engine.handle_bytes(now, handle, PIECES[0], kernel),
        }
    }

    pub(super) fn make_room(&mut self, connection: usize, room: usize) {
        if let Some(descriptor) = self.any_descriptor(connection) {
            self.give_room(descriptor, ROOMS[room % ROOMS.len()]);
        }
    }

    pub(super) fn open(&mut self, terms: Terms) {
        if let Some(descriptor) = self.ask() {
            self.grant(descriptor, terms);
        }
    }

    /// Whoever has asked is granted, refused or answered.
    pub(super) fn judge(&mut self, connection: usize, how: usize) {
        let Some(descriptor) = self.any_descriptor(connection) else {
            return;
        };
        let Some(id) = self.kernel.sockets[&descriptor].id else {
            return;
        };
        let response = Bytes::from_static(b"HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n");
        match how % 3 {
            0 => {
                let who = connection + how;
                let (from, filter, session) = (0, how / 3, 0);
                self.grant(
                    descriptor,
                    Terms {
                        who,
                        from,
                        filter,
                        session,
                    },
                );
            }
            1 => self.hand_over(Batch::Refuse(Box::new(Refuse {
                connection: id,
                response,
                reason: CloseReason::Refused,
            }))),
            _ => self.command(Command::Respond {
                connection: id,
                response,
            }),
        }
    }

    pub(super) fn grant_late(&mut self, connection: usize) {
        if let Some((descriptor, _)) = self.any_id_ever(connection) {
            self.grant(descriptor, Terms::default());
        }
    }

    /// Hands a grant of a stream over: carried out where the connection still waits for one.
    fn grant(&mut self, descriptor: i32, terms: Terms) {
        let Some(id) = self.kernel.sockets[&descriptor].id else {
            return;
        };
        let who = terms.who;
        let reader = self.reader(who, terms.filter);
        let resume = self.resume(who, terms.from);
        let since = self.membership(terms.session / 16);
        let format = [Format::Event, Format::Data, Format::Named][who / 16 % 3];
        let session = reader.user.map(|_| self.session(who, terms.session));
        let is_ours = |id: EventId| self.lineage.admits(id);
        let came = Came {
            reader,
            format,
            resume,
            may_resume: matches!(resume, Resume::After(id) if is_ours(id)),
            since,
            came_at: self.committed.len(),
            session,
            who,
        };
        let expires_ms = match terms.session % 4 {
            0 | 1 => None,
            2 => Some(self.now.wall_ms + 5_000),
            _ => Some(self.now.wall_ms + 90_000),
        };
        let mut grant = grant_of(id, &came.reader, Purpose::Stream);
        grant.format = format;
        grant.resume = resume;
        grant.since = since;
        grant.expires_ms = expires_ms;
        grant.session = session;
        if self.carry_out_grant(id, grant) {
            self.clients.insert(descriptor, Client::new(came));
        }
    }

    /// Whether a grant found its connection waiting.
    fn carry_out_grant(&mut self, id: ConnectionId, grant: Grant) -> bool {
        self.open_intake();
        let slot = self.engine.table.find_id(id);
        let waits = slot.is_some_and(|slot| self.engine.table[slot].state == State::Waiting);
        if grant.purpose.is_counted() {
            self.grants.entry(id.to_string()).or_default().0 += 1;
        }
        let batch = Batch::Grant(Box::new(grant));
        self.engine.handle_batch(self.now, batch, &mut self.kernel);
        waits
    }

    pub(super) fn ask_for_page(&mut self, who: usize, since: usize, filter: usize, wait: usize) {
        let Some(descriptor) = self.ask() else { return };
        let id = self.kernel.sockets[&descriptor].id;
        let id = id.expect("it has asked");
        let since = match since % 5 {
            0 => PageSince::Newest,
            1 => PageSince::Unknown,
            2 => PageSince::At(1_000 + since as i64 / 5),
            3 => PageSince::After(self.lineage.position(Lsn(self.lsn + 16), since as u32 / 5)),
            _ => match self.committed.len() {
                0 => PageSince::Newest,
                count => PageSince::After(self.committed[count - 1 - since / 5 % count].id()),
            },
        };
        let limit = [1, 3, 50, 1_000][wait / 4 % 4];
        let wait_ms = [0, 1_000, 9_000, 40_000][wait % 4];
        let reader = self.reader(who, filter);
        let purpose = Purpose::Page(PageRequest {
            since,
            limit,
            wait_ms,
        });
        let mut grant = grant_of(id, &reader, purpose);
        let session = reader.user.map(|_| self.session(who, 0));
        grant.session = session;
        if self.carry_out_grant(id, grant) {
            let page = Page::new(reader, session, since, limit);
            self.pages.insert(descriptor, page);
        }
    }

    pub(super) fn subscribe(&mut self, connection: usize, how: usize, channel: usize) {
        let Some((_, id, user)) = self.any_client(connection) else {
            return;
        };
        let channels = match CHANNELS.get(channel % 4) {
            Some(channel) => vec![name(channel)],
            None => Vec::new(),
        };
        let types = Vec::new();
        let change = match how.is_multiple_of(2) {
            true => SubscriptionChange::Replace { channels, types },
            false => SubscriptionChange::Add { channels, types },
        };
        // Now and then it is somebody else who asks.
        let owner = user.filter(|_| how % 8 < 6);
        let ticket = self.ticket(None);
        self.command(Command::Subscribe {
            ticket,
            connection: id,
            owner,
            change,
        });
    }

    pub(super) fn renew(&mut self, connection: usize, user: usize, seconds: usize) {
        let Some((descriptor, id, owner)) = self.any_client(connection) else {
            return;
        };
        let session = self.session(self.clients[&descriptor].came.who, seconds);
        let ticket = self.ticket(Some((descriptor, session)));
        let other = self.keys.user(USERS[user % 4]);
        let renewal = Renewal {
            connection: id,
            ticket,
            user: owner.filter(|_| user % 8 < 6).unwrap_or(other),
            session,
            expires_ms: Some(self.now.wall_ms + 10_000 * (seconds as u64 % 16)),
            claims: None,
        };
        self.hand_over(Batch::Renew(Box::new(renewal)));
    }

    pub(super) fn extend(&mut self, user: usize, seconds: usize) {
        let extension = Extension {
            session: self.session(user, seconds),
            user: seconds
                .is_multiple_of(2)
                .then(|| self.keys.user(USERS[user % 4])),
            expires_ms: self.now.wall_ms + 10_000 * (seconds as u64 / 2 % 16),
        };
        self.hand_over(Batch::Extend(extension));
    }

    pub(super) fn close(&mut self, connection: usize, how: usize, reason: usize) {
        let Some((_, connection, owner)) = self.any_client(connection) else {
            return;
        };
        let reason = [
            CloseReason::Replaced,
            CloseReason::Draining,
            CloseReason::FeedStale,
        ][reason % 3];
        if how.is_multiple_of(2) {
            self.command(Command::Close { connection, reason });
            return;
        }
        let ticket = self.ticket(None);
        self.command(Command::End {
            ticket,
            connection,
            owner,
            reason,
        });
    }

    pub(super) fn close_all(&mut self, seconds: u64) {
        let (reason, spread_ms) = (CloseReason::Draining, 1_000 * seconds);
        self.command(Command::CloseAll { reason, spread_ms });
    }

    fn any_client(&self, number: usize) -> Option<(i32, ConnectionId, Option<Key>)> {
        let count = self.clients.len().max(1);
        let (descriptor, client) = self.clients.iter().nth(number % count)?;
        let id = self.kernel.sockets[descriptor].id;
        let id = id.expect("a client has asked");
        Some((*descriptor, id, client.came.reader.user))
    }

    fn ticket(&mut self, renewal: Option<(i32, Key)>) -> u64 {
        self.ticket += 1;
        self.tickets.insert(self.ticket, renewal);
        self.ticket
    }

    /// Who somebody is: one of the users in one of the organisations, or a service key.
    fn reader(&self, who: usize, filter: usize) -> Reader {
        let is_service = who % 16 == 15;
        let organisation = self.keys.organisation(ORGANISATIONS[who / 4 % 3]);
        let user = self.keys.user(USERS[who % 4]);
        let channel = CHANNELS.get(filter % 5);
        Reader {
            organisation: (!is_service).then_some(organisation),
            user: (!is_service).then_some(user),
            channels: channel.map(|it| (*it).to_owned()).into_iter().collect(),
            revoked_at: None,
        }
    }

    /// One of two sessions of a user.
    pub(super) fn session(&self, user: usize, number: usize) -> Key {
        let number = number / 4 % 2;
        self.keys.session(&format!("{} {number}", USERS[user % 4]))
    }

    /// Where somebody wants to go on from.
    fn resume(&mut self, who: usize, from: usize) -> Resume {
        let own = self.last_ids.iter().position(|(of, _)| *of == who);
        let (kind, offset) = (from % 6, from / 6);
        match (kind, own) {
            (1, Some(at)) => Resume::After(self.last_ids.swap_remove(at).1),
            (2, _) if !self.committed.is_empty() => {
                let count = self.committed.len();
                Resume::After(self.committed[count - 1 - offset % count].id())
            }
            (3, _) => {
                let lsn = Lsn(self.lsn + 16 * (offset as u64 % 8));
                Resume::After(self.lineage.position(lsn, offset as u32 % 3))
            }
            (4, _) => Resume::Unknown,
            (5, _) => {
                let of_others = EventId {
                    epoch: 0xe + offset as u32 % 2,
                    timeline: 1 + offset as u32 / 2 % 2,
                    lsn: Lsn(self.lsn),
                    index: 1,
                };
                Resume::After(of_others)
            }
            _ => Resume::Live,
        }
    }

    /// The position of a membership: none, or one in the past.
    fn membership(&self, number: usize) -> Option<EventId> {
        let count = self.committed.len();
        let ago = number.checked_sub(1)?;
        let frame = self.committed.get(count.checked_sub(1 + ago)?)?;
        Some(EventId {
            index: 0,
            ..frame.id()
        })
    }
}

fn grant_of(connection: ConnectionId, reader: &Reader, purpose: Purpose) -> Grant {
    let is_stream = purpose == Purpose::Stream;
    let channels = reader.channels.iter().map(|it| name(it)).collect();
    Grant {
        connection,
        scope: match reader.organisation {
            Some(organisation) => Scope::Organisation(organisation),
            None => Scope::Everything,
        },
        user: reader.user,
        session: None,
        filter: Filter::new(channels, Vec::new(), Vec::new()),
        format: Format::Event,
        expires_ms: None,
        since: None,
        resume: Resume::Live,
        head: match is_stream {
            true => Bytes::from_static(b"HTTP/1.1 200 OK\r\n\r\n"),
            false => Bytes::new(),
        },
        about: match is_stream {
            true => Bytes::from_static(b"\"userId\":\"u\""),
            false => Bytes::new(),
        },
        purpose,
    }
}
