//! What the engine asks of the world, and what it tells the control thread.
//!
//! One trait, implemented by io_uring, by epoll and by the simulator. The engine calls it; it never
//! calls the engine back from within a call.

use wire::http::Request;
use wire::{CloseReason, ConnectionId, Key, Scope};

/// A connection as a driver sees it: its socket, and its place in the engine's slab.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Handle {
    /// The socket.
    pub descriptor: i32,
    /// The place in the slab, dense from 0: a driver may keep a column of its own by it.
    pub slot: u32,
    /// How often the slot was used before, modulo 2²⁴.
    pub generation: u32,
}

/// One send of a group.
#[derive(Debug)]
pub struct Transmit<'a> {
    /// To whom.
    pub connection: Handle,
    /// What; never empty.
    pub bytes: &'a [u8],
    /// What came of it: set by the driver.
    pub outcome: Outcome,
}

/// What came of one send.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The driver has not tried it yet.
    Pending,
    /// The socket took this many bytes, 0 where it is full.
    Taken(usize),
    /// The connection is broken; the engine will close it.
    Broken,
}

/// What a driver watches for, once per call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Watch {
    /// Bytes or a hang-up: answered by one `handle_bytes` (empty at the end of the input), or by one
    /// `handle_hangup`.
    Readable,
    /// The peer closed or broke: answered by one `handle_hangup`.
    Hangup,
    /// The socket takes bytes again: answered by one `handle_writable`. May be armed beside one of
    /// the others.
    Writable,
}

/// How a connection is closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Close {
    /// What was sent is still delivered.
    Orderly,
    /// By RST: what is still queued in the kernel is thrown away.
    Reset,
}

/// The control thread has no room for another request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Overloaded;

/// The world, as an engine asks for it.
pub trait Driver {
    /// Sends each slice now, without waiting, and sets each outcome. At most
    /// [`crate::limits::GROUP_MAX`] sends; no two of a call go to the same connection. The bytes are
    /// not touched after the call returns.
    fn send(&mut self, group: &mut [Transmit<'_>]);

    /// Arms a one-shot watch. Arming one that is armed already changes nothing.
    fn watch(&mut self, connection: Handle, what: Watch);

    /// Ends our direction: `shutdown(2)` for writing. The input stays open.
    fn finish(&mut self, connection: Handle);

    /// Closes. Nothing is reported about the connection afterwards but one `handle_released`, from
    /// a later poll, when nothing of it is left in the kernel.
    fn close(&mut self, connection: Handle, how: Close);

    /// Hands a request to the control thread.
    ///
    /// # Errors
    ///
    /// Where the control thread's queue is full; the engine then refuses the request itself.
    fn forward(
        &mut self,
        id: ConnectionId,
        from: Handle,
        request: Request,
    ) -> Result<(), Overloaded>;

    /// Tells the control thread something. Never lost.
    fn notify(&mut self, notice: Notice);
}

/// What an engine tells the control thread.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Notice {
    /// A stream was opened: its grant was carried out.
    Opened {
        /// The connection.
        connection: ConnectionId,
        /// What its `connected` event said.
        verdict: Verdict,
    },
    /// A granted connection ended, or a grant came too late for its connection. Exactly one for
    /// every grant that is counted ([`wire::Purpose::is_counted`]).
    Closed {
        /// The connection.
        connection: ConnectionId,
        /// The user of the grant.
        user: Option<Key>,
        /// The scope of the grant.
        scope: Scope,
        /// Why.
        reason: CloseReason,
        /// How long the stream was open, in milliseconds; 0 for a grant that came too late.
        open_ms: u64,
        /// How many events it was sent.
        events: u32,
        /// Whether [`Notice::Opened`] was said of it.
        opened: bool,
        /// It waited for a page of history, and was no event stream.
        is_page: bool,
    },
    /// Somebody wants to go on from a position this engine has not reached: the engine asks for
    /// the server's flushed WAL position (`Command::Flushed`).
    Held,
    /// What came of a command or a renewal that has a ticket. Exactly one for each.
    Answered {
        /// The ticket.
        ticket: u64,
        /// What came of it.
        outcome: TicketOutcome,
    },
}

/// What came of a request about a stream that is open.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TicketOutcome {
    /// It was done.
    Done,
    /// The stream is gone, or ends.
    NotFound,
    /// The stream is somebody else's, and was left as it is.
    Foreign,
    /// The fresh session does not claim the stream's organisation, or not in this role: it was left as it
    /// is.
    NotAMember,
    /// The stream would name more channels or types than one may, and was left as it is.
    TooMany,
}

/// How a stream began.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// From now: the client sent no id.
    Live,
    /// Nothing is missing after the client's id.
    Resumed,
    /// Something may be missing: the client refetches.
    Reset,
}

impl Verdict {
    /// The word for it in the `connected` event.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Live => "live",
            Self::Resumed => "resumed",
            Self::Reset => "reset",
        }
    }
}
