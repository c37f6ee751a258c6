//! What a simulation of nodes and a fuzzer set, and what they ask to know that a rare state was reached. No product
//! calls any of it.

use wire::{ConnectionId, Key};

use crate::Engine;
use crate::limits::GROUP_MAX;
use crate::record::State;

#[doc(hidden)]
impl Engine {
    /// Makes groups of so many sends, from 1 to [`GROUP_MAX`], which is what they are without it: a simulation
    /// has no ten thousand members, and sweeps of several groups none the less.
    pub fn set_group(&mut self, sends: usize) {
        assert!(
            (1..=GROUP_MAX).contains(&sends),
            "{sends} sends make no group"
        );
        self.group = sends;
        self.queues.set_small_max(sends);
    }

    /// Whether a sweep has begun and is not over.
    pub fn is_sweeping(&self) -> bool {
        self.classes.iter().any(|(_, class)| class.sweep.is_some())
    }

    /// Whether a stream is in step with a class that is being swept: it was offered the slice, or will be.
    pub fn is_in_sweep(&self, connection: ConnectionId) -> bool {
        let slot = self.table.find_id(connection);
        slot.is_some_and(|slot| self.is_swept(slot))
    }

    /// Whether a stream of a user is.
    pub fn has_in_sweep(&self, user: Key) -> bool {
        let slots = self.slots_of(user);
        slots.into_iter().any(|slot| self.is_swept(slot))
    }

    /// Whether any stream waits for a position that this engine has not reached.
    pub fn is_holding(&self) -> bool {
        !self.held.is_empty()
    }

    /// Whether the log has room for another batch, however many newcomers this turn has taken.
    pub fn has_log_room(&mut self) -> bool {
        self.is_intake_open()
    }

    fn is_swept(&self, slot: u32) -> bool {
        let record = &self.table[slot];
        let is_in_step = record.state == State::InStep;
        is_in_step && self.classes[record.class as usize].sweep.is_some()
    }
}
