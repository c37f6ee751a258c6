//! Driving the engine by its contract: batches, commands, turns, events of sockets, notices.

use wire::{Batch, ConnectionId};

use super::{Play, Socket, TURNS_MAX};
use crate::{Command, Next, Notice, TicketOutcome};

impl Play {
    /// Hands a batch over, after as many turns as the intake asks for.
    pub(super) fn hand_over(&mut self, batch: Batch) {
        self.open_intake();
        self.engine.handle_batch(self.now, batch, &mut self.kernel);
    }

    pub(super) fn open_intake(&mut self) {
        for _ in 0..TURNS_MAX {
            if self.engine.wants_batch() {
                return;
            }
            self.turn();
        }
        panic!("the intake does not open");
    }

    pub(super) fn command(&mut self, command: Command) {
        self.engine
            .handle_command(self.now, command, &mut self.kernel);
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

    /// Keeps account of what control is told.
    pub(super) fn hear_notices(&mut self) {
        for notice in std::mem::take(&mut self.kernel.notices) {
            match notice {
                Notice::Held => {}
                Notice::Opened { connection, .. } => {
                    assert!(self.opened.insert(connection.to_string()), "opened twice");
                }
                Notice::Closed {
                    connection, opened, ..
                } => {
                    let name = connection.to_string();
                    let grants = self.grants.get_mut(&name);
                    let grants = grants.expect("what was never granted is not given back");
                    grants.1 += 1;
                    assert!(grants.1 <= grants.0, "given back twice");
                    assert!(
                        !opened || self.opened.remove(&name),
                        "closed, and never opened"
                    );
                }
                Notice::Answered { ticket, outcome } => {
                    let renewal = self.tickets.remove(&ticket);
                    let renewal = renewal.expect("a ticket is answered once");
                    if let (Some((descriptor, session)), TicketOutcome::Done) = (renewal, outcome)
                        && let Some(client) = self.clients.get_mut(&descriptor)
                    {
                        client.came.session = Some(session);
                    }
                }
            }
        }
    }

    /// Whoever was closed has been looked at for the last time.
    pub(super) fn forget_closed(&mut self) {
        let sockets = &self.kernel.sockets;
        let is_open = |descriptor: &i32| sockets[descriptor].is_open();
        let last_ids = self.clients.iter().filter(|(it, _)| !is_open(it));
        let last_ids =
            last_ids.filter_map(|(_, client)| client.last_id.map(|id| (client.came.who, id)));
        self.last_ids.extend(last_ids);
        self.clients.retain(|descriptor, _| is_open(descriptor));
        self.pages.retain(|descriptor, _| is_open(descriptor));
        for socket in self.kernel.sockets.values_mut() {
            if socket.is_released {
                socket.received = Vec::new();
            }
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
