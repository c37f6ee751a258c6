//! What is asked for, and what is granted: streams and pages of history.

use bytes::Bytes;
use wire::{
    Batch, CloseReason, ConnectionId, EventId, Format, Grant, Key, Lsn, PageRequest, PageSince,
    Purpose, Refuse, Resume, Scope,
};

use super::{ORGANISATIONS, Play, USERS};
use crate::Command;
use crate::fuzzing::client::{Came, Client};
use crate::fuzzing::page::{Asked, Page};
use crate::fuzzing::reader::{Reader, Wants};
use crate::fuzzing::script::{PageTerms, Terms};
use crate::fuzzing::standing::{Standing, expiry_tick};
use crate::record::State;

/// The channels that a reader names: one of these, or none.
const CHANNELS: [&[&str]; 5] = [&["property"], &["notes"], &["alerts"], &["user"], &[]];
/// The types that it names.
const TYPES: [&[&str]; 4] = [&[], &["property.*"], &["notes.update"], &["*"]];
/// The roles that it has.
const ROLES: [&[&str]; 4] = [&[], &["owner"], &["clerk"], &["owner", "clerk"]];

impl Play {
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
                let terms = Terms {
                    who: connection + how,
                    filter: how / 3,
                    ..Terms::default()
                };
                self.grant(descriptor, terms);
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
        self.open_intake();
        let who = terms.who;
        let reader = self.reader(who, terms.filter);
        let resume = self.resume(who, terms.from);
        let since = self.membership(terms.session / 16);
        let session = reader.user.map(|_| self.session(who, terms.session));
        let left_ms = match terms.session % 4 {
            0 | 1 => None,
            2 => Some(5_000),
            _ => Some(90_000),
        };
        let now_ms = self.now.monotonic_ms;
        let came = Came {
            reader,
            format: [Format::Event, Format::Data, Format::Named][who / 16 % 3],
            since,
            session,
            expires: left_ms.map(|left_ms| expiry_tick(now_ms, left_ms)),
            who,
            at_ms: now_ms,
        };
        let grant = Grant {
            format: came.format,
            resume,
            since,
            session,
            expires_ms: left_ms.map(|left_ms| self.now.wall_ms + left_ms),
            head: Bytes::from_static(b"HTTP/1.1 200 OK\r\n\r\n"),
            about: Bytes::from_static(b"\"userId\":\"u\""),
            ..grant_of(id, &came.reader, Purpose::Stream)
        };
        if self.waits(id) {
            let mut standing = Standing::new(&self.past, &came.reader, resume, since, now_ms);
            if self.engine.pace.is_some() {
                // It may have its turn among those that are told to go.
                standing.on_end(CloseReason::Draining, now_ms, None);
            }
            self.clients.insert(descriptor, Client::new(came, standing));
        }
        self.hand_over_grant(id, grant);
    }

    /// Whether a grant finds its connection waiting.
    fn waits(&self, id: ConnectionId) -> bool {
        let slot = self.engine.table.find_id(id);
        slot.is_some_and(|slot| self.engine.table[slot].state == State::Waiting)
    }

    fn hand_over_grant(&mut self, id: ConnectionId, grant: Grant) {
        if grant.purpose.is_counted() {
            let name = id.to_string();
            if !self.waits(id) {
                self.late.push(name.clone());
            }
            self.grants.entry(name).or_default().0 += 1;
        }
        self.hand_over(match id.slot.is_multiple_of(2) {
            true => Batch::Grant(Box::new(grant)),
            false => Batch::Grants(vec![grant]),
        });
        assert!(self.late.is_empty(), "what comes too late is given back");
    }

    pub(super) fn ask_for_page(&mut self, terms: PageTerms) {
        let PageTerms {
            who,
            since,
            filter,
            wait,
        } = terms;
        let Some(descriptor) = self.ask() else { return };
        let id = self.kernel.sockets[&descriptor].id;
        let id = id.expect("it has asked");
        self.open_intake();
        let count = self.past.frames.len();
        let since = match since % 6 {
            0 => PageSince::Newest,
            1 => PageSince::Unknown,
            // Around the time of a commit, or of now.
            2 => PageSince::At(self.commit_ms + 1_000 * (since as i64 / 6 - 5)),
            3 => PageSince::After(self.lineage.position(Lsn(self.lsn + 16), since as u32 / 6)),
            4 if count > 0 => {
                PageSince::After(self.past.frames[count - 1 - since / 6 % count].id())
            }
            5 => match self.resume(who, since) {
                Resume::After(id) => PageSince::After(id),
                Resume::Live | Resume::Unknown => PageSince::Unknown,
            },
            _ => PageSince::Newest,
        };
        let reader = self.reader(who, filter);
        let asked = Asked {
            since,
            member_since: self.membership(wait / 16 % 8),
            limit: [1, 3, 50, 1_000][wait / 4 % 4],
            wait_ms: [0, 1_000, 9_000, 40_000][wait % 4],
            at_ms: self.now.monotonic_ms,
            wall_ms: self.now.wall_ms,
        };
        let purpose = Purpose::Page(PageRequest {
            since,
            limit: asked.limit,
            wait_ms: asked.wait_ms as u32,
        });
        let session = reader.user.map(|_| self.session(who, 0));
        let grant = Grant {
            session,
            since: asked.member_since,
            ..grant_of(id, &reader, purpose)
        };
        if self.waits(id) {
            let mut page = Page::new(reader, session, asked, &self.past);
            if self.engine.pace.is_some() {
                page.on_end(CloseReason::Draining);
            }
            self.pages.insert(descriptor, page);
        }
        self.hand_over_grant(id, grant);
    }

    /// Who somebody is: one of the users in one of the organisations, or in none; or a service key, of one
    /// organisation or of all.
    fn reader(&self, who: usize, filter: usize) -> Reader {
        let organisation = |at: usize| self.keys.organisation(ORGANISATIONS[at % 3]);
        let user = Some(self.keys.user(USERS[who % 4]));
        let (scope, user) = match who % 16 {
            12 | 13 => (Scope::Nothing, user),
            14 => (Scope::Organisation(organisation(who / 48)), None),
            15 => (Scope::Everything, None),
            of => (Scope::Organisation(organisation(of / 4)), user),
        };
        Reader {
            scope,
            roles: user.map(|_| ROLES[filter / 20 % 4].to_vec()),
            user,
            wants: Wants::of(CHANNELS[filter % 5], TYPES[filter / 5 % 4]),
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
        let count = self.past.frames.len();
        match (kind, own) {
            (1, Some(at)) => Resume::After(self.last_ids.swap_remove(at).1),
            (2, _) if count > 0 => Resume::After(self.past.frames[count - 1 - offset % count].id()),
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
        let ago = number.checked_sub(1)?;
        let at = self.past.frames.len().checked_sub(1 + ago)?;
        Some(EventId {
            index: 0,
            ..self.past.frames[at].id()
        })
    }
}

fn grant_of(connection: ConnectionId, reader: &Reader, purpose: Purpose) -> Grant {
    Grant {
        connection,
        scope: reader.scope,
        user: reader.user,
        session: None,
        filter: reader.filter(),
        format: Format::Event,
        expires_ms: None,
        since: None,
        resume: Resume::Live,
        head: Bytes::new(),
        about: Bytes::new(),
        purpose,
    }
}
