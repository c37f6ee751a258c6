//! Driving the engine by its contract: batches, commands, turns, events of sockets. Whatever the engine is
//! told is known beside it before.

use wire::{Batch, ConnectionId, Revocation, RevocationScope, Scope};

use super::{Play, TURNS_MAX};
use crate::fuzzing::kernel::Socket;
use crate::fuzzing::reader::Reader;
use crate::{Command, Next};

impl Play {
    /// Hands a batch over, after as many turns as the intake asks for.
    pub(super) fn hand_over(&mut self, batch: Batch) {
        self.open_intake();
        self.read_all();
        self.know(&batch);
        self.engine.handle_batch(self.now, batch, &mut self.kernel);
        self.hear_notices();
    }

    pub(super) fn open_intake(&mut self) {
        for _ in 0..TURNS_MAX {
            if self.engine.wants_batch() {
                return;
            }
            if !self.engine.is_intake_open() {
                self.reached.mark("the intake closed");
            }
            self.turn();
        }
        panic!("the intake does not open");
    }

    /// Everybody reads what was sent before anything else is known.
    pub(super) fn read_all(&mut self) {
        for (descriptor, client) in &mut self.clients {
            let received = &self.kernel.sockets[descriptor].received;
            client.read_on(received, &self.past, self.now.monotonic_ms);
        }
    }

    /// What a batch means for everybody.
    fn know(&mut self, batch: &Batch) {
        let now_ms = self.now.monotonic_ms;
        let mut is_disturbed = false;
        match batch {
            Batch::Start(start) => {
                let is_first = self.engine.source.is_none();
                self.past.start(start, is_first, self.now.wall_ms);
            }
            Batch::Commit(commit) => {
                is_disturbed = self.past.commit(&commit.frames, commit.through);
                self.last_commit_ms = now_ms;
                for client in self.clients.values_mut() {
                    let has_own = commit.frames.iter().any(|frame| client.is_own(frame));
                    client.is_in_step &= !has_own;
                }
            }
            Batch::Progress(position) => self.past.progress(*position),
            Batch::Gap(gap) => {
                self.past.gap(gap, self.now.wall_ms);
                let reason = gap.reason.into();
                for client in self.clients.values_mut() {
                    client.standing.on_gap(&self.past, reason, now_ms);
                    client.floor = Some(gap.floor);
                }
                self.pages.values_mut().for_each(|page| page.on_gap());
                is_disturbed = true;
            }
            Batch::Revoke(revocation) => self.know_revocation(revocation),
            _ => {}
        }
        for client in self.clients.values_mut() {
            let (reader, was_held) = (&client.came.reader, client.standing.is_held());
            client.standing.on_applied(&self.past, reader, now_ms);
            if was_held && !client.standing.is_held() {
                self.reached.mark("held and reached");
            }
            client.is_in_step &= !is_disturbed;
        }
    }

    fn know_revocation(&mut self, revocation: &Revocation) {
        let is_meant = |reader: &Reader, session: Option<wire::Key>| match revocation.scope {
            RevocationScope::Member { user, organisation } => {
                reader.user == Some(user) && reader.scope == Scope::Organisation(organisation)
            }
            RevocationScope::Session(revoked) => session == Some(revoked),
            RevocationScope::User(user) => reader.user == Some(user),
            RevocationScope::Organisation(organisation) => {
                reader.scope == Scope::Organisation(organisation)
            }
            RevocationScope::Everybody => reader.user.is_some(),
        };
        let (end, now_ms) = (self.past.frames.len(), self.now.monotonic_ms);
        for client in self.clients.values_mut() {
            if is_meant(&client.came.reader, client.came.session) {
                client.came.reader.revoked_at.get_or_insert(end);
                let standing = &mut client.standing;
                standing.on_end(revocation.reason, now_ms, Some(now_ms));
                self.reached.mark("revoked");
            }
        }
        for page in self.pages.values_mut() {
            if is_meant(&page.reader, page.session) {
                page.reader.revoked_at.get_or_insert(end);
                page.on_end(revocation.reason);
            }
        }
    }

    pub(super) fn command(&mut self, command: Command) {
        self.engine
            .handle_command(self.now, command, &mut self.kernel);
        self.hear_notices();
    }

    /// One turn; what was closed before it is released.
    pub(super) fn turn(&mut self) -> Next {
        let closed = self.kernel.sockets.values_mut();
        let closed = closed.filter(|socket| socket.closed.is_some() && !socket.is_released);
        for socket in closed {
            socket.is_released = true;
            let handle = socket.handle.expect("it was closed by its handle");
            self.engine.handle_released(handle);
        }
        let next = self.engine.turn(self.now, &mut self.kernel);
        self.engine.handle_sent(self.now);
        self.hear_notices();
        self.is_at_rest = next != Next::Now;
        if self.is_at_rest {
            self.restless_ms = 0;
        }
        next
    }

    /// Turns until nothing is pending.
    pub(super) fn settle(&mut self) {
        for _ in 0..TURNS_MAX {
            if self.turn() != Next::Now {
                return;
            }
        }
        panic!("the engine does not come to rest");
    }

    pub(super) fn pass(&mut self, ms: u64) {
        self.now.monotonic_ms += ms;
        self.now.wall_ms = self.now.wall_ms.saturating_add(ms);
        self.kernel.now_ms = self.now.monotonic_ms;
    }

    /// The peer is gone, which is reported where it is watched for.
    pub(super) fn report_hang_up(&mut self, descriptor: i32) {
        let socket = self.kernel.sockets.get_mut(&descriptor);
        let socket = socket.expect("a descriptor that was accepted");
        socket.is_broken = true;
        let is_hangup_watched = std::mem::take(&mut socket.is_hangup_watched);
        let is_readable_watched = std::mem::take(&mut socket.is_readable_watched);
        if socket.is_open() && (is_hangup_watched || is_readable_watched) {
            let handle = socket.handle.expect("it is watched");
            self.engine
                .handle_hangup(self.now, handle, &mut self.kernel);
        }
    }

    /// A socket takes so much from now on, which is reported where it is watched for.
    pub(super) fn give_room(&mut self, descriptor: i32, room: Option<usize>) {
        let socket = self.kernel.sockets.get_mut(&descriptor);
        let socket = socket.expect("a descriptor that was accepted");
        socket.room = room;
        let has_room = room != Some(0) && socket.is_open();
        if has_room && std::mem::take(&mut socket.is_writable_watched) {
            let handle = socket.handle.expect("it is watched");
            self.engine
                .handle_writable(self.now, handle, &mut self.kernel);
        }
    }

    pub(super) fn open_descriptors(&self) -> Vec<i32> {
        let sockets = self.kernel.sockets.iter();
        let open = sockets.filter(|(_, socket)| socket.is_open());
        open.map(|(descriptor, _)| *descriptor).collect()
    }

    pub(super) fn any_descriptor(&self, number: usize) -> Option<i32> {
        let open = self.open_descriptors();
        (!open.is_empty()).then(|| open[number % open.len()])
    }

    pub(super) fn any_socket(&mut self, number: usize) -> Option<&mut Socket> {
        let descriptor = self.any_descriptor(number)?;
        self.kernel.sockets.get_mut(&descriptor)
    }

    /// Anybody who was ever accepted, by the newest first.
    pub(super) fn any_id_ever(&self, number: usize) -> Option<(i32, ConnectionId)> {
        let named = self.kernel.sockets.iter().rev();
        let mut named = named.filter_map(|(descriptor, it)| it.id.map(|id| (*descriptor, id)));
        named.nth(number % 16)
    }
}
