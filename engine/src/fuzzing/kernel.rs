//! The other side of the driver's trait: sockets that take what the script says, and hold the engine to
//! its contract with the driver.

use std::collections::BTreeMap;

use wire::ConnectionId;
use wire::http::Request;

use crate::{Close, Driver, Handle, Notice, Outcome, Overloaded, Transmit, Watch, limits};

/// All sockets, and what control was told.
#[derive(Default)]
pub(super) struct Kernel {
    /// By descriptor. One that is released stays, for what is reported of it too late.
    pub(super) sockets: BTreeMap<i32, Socket>,
    pub(super) notices: Vec<Notice>,
    pub(super) is_overloaded: bool,
    /// The time, in milliseconds, for what has to last before something happens.
    pub(super) now_ms: u64,
    /// How many sends make a group.
    pub(super) group: usize,
}

/// One connection, from the outside.
#[derive(Default)]
pub(super) struct Socket {
    pub(super) handle: Option<Handle>,
    /// Its name, once it has asked for something.
    pub(super) id: Option<ConnectionId>,
    pub(super) received: Vec<u8>,
    /// How much more it takes before it is full; `None` is everything.
    pub(super) room: Option<usize>,
    pub(super) is_readable_watched: bool,
    pub(super) is_hangup_watched: bool,
    pub(super) is_writable_watched: bool,
    pub(super) is_finished: bool,
    pub(super) is_broken: bool,
    /// When it was accepted, and since when it has taken nothing where it did not take all it was offered
    /// last, in milliseconds.
    pub(super) accepted_ms: u64,
    pub(super) short_ms: Option<u64>,
    /// Something was not taken at once since that was last looked at.
    pub(super) was_short: bool,
    pub(super) closed: Option<Close>,
    pub(super) is_released: bool,
    /// That it was closed has been looked at.
    pub(super) is_forgotten: bool,
}

impl Kernel {
    fn socket(&mut self, connection: Handle) -> &mut Socket {
        let socket = self.sockets.get_mut(&connection.descriptor);
        let socket = socket.expect("a descriptor that was accepted");
        let handle = *socket.handle.get_or_insert(connection);
        assert_eq!(handle, connection, "a descriptor has one connection");
        assert!(!socket.is_released, "a released connection is used");
        socket
    }
}

impl Driver for Kernel {
    fn send(&mut self, group: &mut [Transmit<'_>]) {
        assert!((1..=limits::GROUP_MAX).contains(&group.len()));
        // Heartbeats are short, and go to as many as ever.
        let is_group = group.len() <= self.group || group[0].bytes.starts_with(b"event: heartbeat");
        assert!(is_group, "more sends than make a group");
        let now_ms = self.now_ms;
        let mut slots: Vec<u32> = group.iter().map(|send| send.connection.slot).collect();
        slots.sort_unstable();
        assert!(
            slots.is_sorted_by(|one, next| one < next),
            "no two sends of a call go to the same connection"
        );
        for send in group {
            assert!(!send.bytes.is_empty() && send.outcome == Outcome::Pending);
            let socket = self.socket(send.connection);
            assert!(
                !socket.is_finished && socket.closed.is_none(),
                "nothing is sent after the end"
            );
            if socket.is_broken {
                send.outcome = Outcome::Broken;
                continue;
            }
            if send.bytes.starts_with(b"HTTP/1.1 100 ") {
                // A socket that nothing was sent on takes a few bytes, and its client skips them.
                assert!(socket.received.is_empty());
                send.outcome = Outcome::Taken(send.bytes.len());
                continue;
            }
            let taken = send.bytes.len().min(socket.room.unwrap_or(usize::MAX));
            socket.received.extend_from_slice(&send.bytes[..taken]);
            if let Some(room) = &mut socket.room {
                *room -= taken;
            }
            let is_short = taken < send.bytes.len();
            socket.short_ms = is_short.then_some(now_ms);
            socket.was_short |= is_short;
            send.outcome = Outcome::Taken(taken);
        }
    }

    fn watch(&mut self, connection: Handle, what: Watch) {
        let socket = self.socket(connection);
        assert!(socket.closed.is_none(), "nothing is watched after the end");
        match what {
            Watch::Readable => socket.is_readable_watched = true,
            Watch::Hangup => socket.is_hangup_watched = true,
            Watch::Writable => socket.is_writable_watched = true,
        }
    }

    fn finish(&mut self, connection: Handle) {
        let socket = self.socket(connection);
        let was_finished = std::mem::replace(&mut socket.is_finished, true);
        assert!(!was_finished && socket.closed.is_none(), "ended twice");
    }

    fn close(&mut self, connection: Handle, how: Close) {
        let before = self.socket(connection).closed.replace(how);
        assert!(before.is_none(), "closed twice");
    }

    fn forward(&mut self, id: ConnectionId, from: Handle, _: Request) -> Result<(), Overloaded> {
        let before = self.socket(from).id.replace(id);
        assert!(before.is_none(), "one request is forwarded");
        match self.is_overloaded {
            true => Err(Overloaded),
            false => Ok(()),
        }
    }

    fn notify(&mut self, notice: Notice) {
        self.notices.push(notice);
    }
}

impl Socket {
    /// Whether anything can still happen on it.
    pub(super) fn is_open(&self) -> bool {
        self.closed.is_none()
    }

    /// Whether it has taken nothing for as long as one may.
    pub(super) fn is_stalled(&self, now_ms: u64) -> bool {
        self.short_ms
            .is_some_and(|since_ms| now_ms >= since_ms + limits::STALL_MS)
    }

    /// Whether it is there and takes everything.
    pub(super) fn is_well(&self) -> bool {
        self.is_open() && !self.is_broken && !self.is_finished && self.short_ms.is_none()
    }
}
