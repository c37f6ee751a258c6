//! What clients ask of streams that are open: another subscription, or the end.
//!
//! A change holds from the exact place in the log where the stream stands: its `subscription` event
//! is written there, so that before it the old filter holds and after it the new.

use wire::{CloseReason, ConnectionId, Key};

use crate::class::ClassKey;
use crate::command::SubscriptionChange;
use crate::driver::TicketOutcome;
use crate::limits::SUBSCRIPTION_NAMES_MAX;
use crate::record::{Bits, State};
use crate::session::owner_of;
use crate::{Engine, Now};

impl Engine {
    /// Changes what a stream receives, and says what came of it.
    pub(crate) fn subscribe(
        &mut self,
        ticket: u64,
        connection: ConnectionId,
        owner: Option<Key>,
        change: SubscriptionChange,
    ) {
        let outcome = match self.find_own(connection, owner) {
            Ok(slot) => self.change_filter(slot, change),
            Err(outcome) => outcome,
        };
        self.answer_ticket(ticket, outcome);
    }

    /// Ends a stream as its own client asks, and says what came of it.
    pub(crate) fn end_own(
        &mut self,
        now: Now,
        ticket: u64,
        connection: ConnectionId,
        owner: Option<Key>,
        reason: CloseReason,
    ) {
        let outcome = match self.find_own(connection, owner) {
            Ok(slot) => {
                self.end_stream(now, slot, reason);
                TicketOutcome::Done
            }
            Err(outcome) => outcome,
        };
        self.answer_ticket(ticket, outcome);
    }

    /// A stream that goes on, and is the owner's.
    fn find_own(&self, connection: ConnectionId, owner: Option<Key>) -> Result<u32, TicketOutcome> {
        let slot = self.table.find_id(connection);
        let slot = slot.filter(|slot| self.is_open_stream(*slot));
        let slot = slot.ok_or(TicketOutcome::NotFound)?;
        if owner_of(self.table[slot].user) != owner {
            return Err(TicketOutcome::Foreign);
        }
        Ok(slot)
    }

    fn change_filter(&mut self, slot: u32, change: SubscriptionChange) -> TicketOutcome {
        let key = self.classes[self.table[slot].class as usize].key.clone();
        let filter = match change {
            SubscriptionChange::Add { channels, types } => key.filter.with_added(channels, types),
            SubscriptionChange::Replace { channels, types } => {
                key.filter.with_subscription(channels, types)
            }
        };
        if filter.channels().len().max(filter.types().len()) > SUBSCRIPTION_NAMES_MAX {
            return TicketOutcome::TooMany;
        }
        if self.table[slot].state == State::InStep {
            self.pull(slot);
        }
        // Attached before it is detached, so that an organisation's topic is not dropped between.
        let old = self.table[slot].class;
        self.attach(slot, ClassKey { filter, ..key });
        let new = std::mem::replace(&mut self.table[slot].class, old);
        self.detach(slot);
        self.table[slot].class = new;
        self.table[slot].bits.set(Bits::SUBSCRIPTION, true);
        self.behind[self.table[slot].side as usize].is_waiting = false;
        self.make_ready(slot);
        TicketOutcome::Done
    }
}
