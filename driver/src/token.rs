//! What the kernel carries for us with an operation, and gives back when it completes: operation
//! 8 bits, generation 24, slot 32.

use engine::limits::GENERATION_BITS;
use engine::{Handle, Watch};

/// What an operation is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Token {
    /// The listener.
    Listener,
    /// The listener, where the ring only polls it.
    ListenerPoll,
    /// The end of what was asked for the listener.
    Cancel,
    /// The eventfd of the waker.
    Waker,
    /// A watch of a connection.
    Watch(Watch, Key),
    /// All watches of a connection (epoll knows a socket once).
    Connection(Key),
    /// One send of a group: the number of the group, and the place in it.
    Send(Key),
}

/// Slot and generation. Of sends: place and number of the group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Key {
    pub(crate) slot: u32,
    pub(crate) generation: u32,
}

const LISTENER: u64 = 1;
const WAKER: u64 = 2;
const READABLE: u64 = 3;
const HANGUP: u64 = 4;
const WRITABLE: u64 = 5;
const CONNECTION: u64 = 6;
const SEND: u64 = 7;
const LISTENER_POLL: u64 = 8;
const CANCEL: u64 = 9;

impl Key {
    pub(crate) fn of(handle: Handle) -> Self {
        Self {
            slot: handle.slot,
            generation: handle.generation,
        }
    }

    /// As the engine knows the connection; of events, it does not look at the descriptor.
    pub(crate) fn handle(self) -> Handle {
        Handle {
            descriptor: -1,
            slot: self.slot,
            generation: self.generation,
        }
    }
}

impl Token {
    /// As the kernel carries it.
    pub(crate) fn encode(self) -> u64 {
        let none = Key {
            slot: 0,
            generation: 0,
        };
        let (operation, key) = match self {
            Self::Listener => (LISTENER, none),
            Self::ListenerPoll => (LISTENER_POLL, none),
            Self::Cancel => (CANCEL, none),
            Self::Waker => (WAKER, none),
            Self::Watch(Watch::Readable, key) => (READABLE, key),
            Self::Watch(Watch::Hangup, key) => (HANGUP, key),
            Self::Watch(Watch::Writable, key) => (WRITABLE, key),
            Self::Connection(key) => (CONNECTION, key),
            Self::Send(key) => (SEND, key),
        };
        assert!(
            key.generation >> GENERATION_BITS == 0,
            "a generation has 24 bits"
        );
        operation << 56 | u64::from(key.generation) << 32 | u64::from(key.slot)
    }

    /// The reverse.
    ///
    /// # Panics
    ///
    /// Where the number is none of ours: the kernel returns only what it was given.
    pub(crate) fn decode(number: u64) -> Self {
        let slot = (number & u64::from(u32::MAX)) as u32;
        let generation = (number >> 32) as u32 & ((1 << GENERATION_BITS) - 1);
        let key = Key { slot, generation };
        match number >> 56 {
            LISTENER => Self::Listener,
            LISTENER_POLL => Self::ListenerPoll,
            CANCEL => Self::Cancel,
            WAKER => Self::Waker,
            READABLE => Self::Watch(Watch::Readable, key),
            HANGUP => Self::Watch(Watch::Hangup, key),
            WRITABLE => Self::Watch(Watch::Writable, key),
            CONNECTION => Self::Connection(key),
            SEND => Self::Send(key),
            _ => panic!("the kernel returned {number:#x}, which no operation carried"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_survives_the_kernel() {
        let key = Key {
            slot: u32::MAX,
            generation: (1 << GENERATION_BITS) - 1,
        };
        let tokens = [
            Token::Listener,
            Token::ListenerPoll,
            Token::Cancel,
            Token::Waker,
            Token::Watch(Watch::Readable, key),
            Token::Watch(Watch::Hangup, key),
            Token::Watch(Watch::Writable, key),
            Token::Connection(key),
            Token::Send(Key {
                slot: 255,
                generation: 7,
            }),
        ];
        for token in tokens {
            assert_eq!(Token::decode(token.encode()), token);
        }
    }
}
