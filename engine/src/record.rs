//! What is kept of every connection: 64 bytes, and the states it goes through.
//!
//! Names do not live here, nor anything a connection needs only while it is read from, or while it
//! is behind: that is in `input` and `behind`.

use wire::{CloseReason, Key};

use crate::counters::ResetReason;
use crate::driver::Handle;
use crate::limits;
use crate::time::Tick;

/// No slot, class or entry of a side table.
pub(crate) const NONE: u32 = u32::MAX;

/// Where a connection stands.
///
/// ```text
///            bytes            head whole           grant
/// accept ──► Reading ───────► Waiting ───────────► Behind ◄──────► InStep
///               │                │                   │  ▲             │
///               │ refused        │ response          │  └─ Held ◄─┐  │
///               ▼                ▼                   ▼            grant ahead of the log
///            Finishing ◄────────┘                 (bye)
///               │ all taken                          │ all taken
///               └──────────────► Lingering ◄─────────┘
///                                    │ end of input, too much, too long
///                 any ──────────► Closing ──(nothing left in the kernel)──► Free
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum State {
    /// Nobody. Waits for: an accept. Next: `Reading`.
    Free,
    /// A request arrives. Waits for: bytes, until a deadline. `side` is its `Input`, if any.
    Reading,
    /// The request lies with the control thread. Waits for: a grant, a refusal, a response.
    Waiting,
    /// Last words are written: a whole response, or a `bye`. Waits for: room in the socket. `side` is its `Behind`.
    Finishing,
    /// A stream that wants to go on from a position this node has not reached. `side` is its
    /// `Behind`.
    Held,
    /// A stream that is not where its class is. `side` is its `Behind`.
    Behind,
    /// A stream that is where its class is. `side` is its index among the members.
    InStep,
    /// All is written and our direction ended. Waits for: the end of the input.
    Lingering,
    /// Closed. Waits for: the driver to say that nothing is left in the kernel.
    Closing,
}

/// One connection.
#[derive(Debug)]
pub(crate) struct Record {
    /// The user, by whose chain it is found; `Key::NOBODY` where there is none.
    pub(crate) user: Key,
    /// 64 bits of the session's key: enough to find it by, never shown.
    pub(crate) session: u64,
    pub(crate) descriptor: i32,
    /// How often the slot was used before: 24 bits.
    pub(crate) generation: u32,
    pub(crate) class: u32,
    /// The entry in the side table that goes with the state; in step, the index among the members of
    /// the class.
    pub(crate) side: u32,
    /// The next connection of the same user; among free slots, the next free one.
    pub(crate) next: u32,
    /// The connection of the same user before it.
    pub(crate) previous: u32,
    /// Frames sent whole; while in step, less those the class had been offered when it joined. For
    /// a lingering connection, the bytes it still sent.
    pub(crate) events: u32,
    /// When the stream was opened.
    pub(crate) opened: Tick,
    /// When the session ends.
    pub(crate) expires: Tick,
    pub(crate) state: State,
    pub(crate) bits: Bits,
    /// A `bye` is due, or was written: the stream ends. Control events are marks like this one,
    /// rendered at a frame boundary.
    pub(crate) bye: Option<CloseReason>,
    /// A `reset` is due. The stream receives no frame before it.
    pub(crate) reset: Option<ResetReason>,
}

const _: () = assert!(size_of::<Record>() == limits::RECORD_BYTES);

/// What was done for a connection, or is due, where a yes or no is enough.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Bits(u8);

impl Bits {
    /// A grant was carried out, so that one `Notice::Closed` is owed.
    pub(crate) const GRANTED: Self = Self(1);
    /// `Notice::Opened` was said.
    pub(crate) const OPENED: Self = Self(2);
    /// A `subscription` event is due.
    pub(crate) const SUBSCRIPTION: Self = Self(4);
    /// Receives nothing until its turn in a paced `reset` comes.
    pub(crate) const PARKED: Self = Self(8);
    /// A temporary refusal is written as an event stream.
    pub(crate) const SOFT: Self = Self(16);
    /// An `auth` event is due.
    pub(crate) const AUTH: Self = Self(32);
    /// The `auth` event before this end of the session has been due.
    pub(crate) const WARNED: Self = Self(64);

    /// It waits for a page of history, and is no event stream.
    pub(crate) const PAGE: Self = Self(128);

    /// Whether all these bits are set.
    pub(crate) fn has(self, bits: Self) -> bool {
        self.0 & bits.0 == bits.0
    }

    /// Sets or clears these bits.
    pub(crate) fn set(&mut self, bits: Self, on: bool) {
        self.0 = if on {
            self.0 | bits.0
        } else {
            self.0 & !bits.0
        };
    }
}

impl Record {
    /// A slot that nobody uses.
    pub(crate) fn free(next: u32, generation: u32) -> Self {
        Self {
            user: Key::NOBODY,
            session: 0,
            descriptor: -1,
            generation,
            class: NONE,
            side: NONE,
            next,
            previous: NONE,
            events: 0,
            opened: Tick(0),
            expires: Tick::NEVER,
            state: State::Free,
            bits: Bits::default(),
            bye: None,
            reset: None,
        }
    }

    /// The connection as drivers see it, in its slot.
    pub(crate) fn handle(&self, slot: u32) -> Handle {
        Handle {
            descriptor: self.descriptor,
            slot,
            generation: self.generation,
        }
    }

    /// When its session asks for something: for the `auth` event first, then for the end.
    pub(crate) fn session_due(&self) -> Tick {
        if self.expires == Tick::NEVER || self.bits.has(Bits::WARNED) {
            self.expires
        } else {
            self.expires.before_ms(limits::AUTH_NOTICE_MS)
        }
    }

    /// Whether it is a stream whose grant was carried out, and which has not ended.
    pub(crate) fn is_stream(&self) -> bool {
        matches!(self.state, State::Held | State::Behind | State::InStep)
    }
}
