//! The orders of the control thread, carried out between two batches: a newcomer is judged at the very
//! moment at which there is room for the verdict in the engine's channel, so that no revocation lies
//! between the two. A verdict is never kept.

use std::sync::mpsc::Receiver;

use driver::Port;
use replication::Reader;
use tokio::sync::mpsc::UnboundedSender;
use wire::{Batch, CloseReason, Keys, Revocation, RevocationScope};

use crate::audience;
use crate::clock::unix_ms;
use crate::control::{Admit, Answer, Order};

/// The orders that wait, and where their answers go.
pub(super) struct Orders {
    orders: Receiver<Order>,
    /// The order whose engine is full.
    waiting: Option<Order>,
    /// Bounded by what it answers: one for each order of a bounded channel, and the control thread
    /// keeps no more under way than it can hold.
    answers: UnboundedSender<Answer>,
    keys: Keys,
}

impl Orders {
    pub(super) fn new(
        orders: Receiver<Order>,
        answers: UnboundedSender<Answer>,
        keys: Keys,
    ) -> Self {
        Self {
            orders,
            waiting: None,
            answers,
            keys,
        }
    }

    /// Whether one waits for room.
    pub(super) fn is_waiting(&self) -> bool {
        self.waiting.is_some()
    }

    /// Carries out what there is, until an engine has no room. To be called between two batches only:
    /// when every engine has taken the last one.
    pub(super) fn carry_out(&mut self, reader: &Reader, ports: &[Port], now_ms: u64) {
        let has_room = |engine: u16| {
            let port = ports.get(usize::from(engine));
            let port = port.expect("an order names an engine of this node");
            port.has_room()
        };
        while let Some(order) = self.waiting.take().or_else(|| self.orders.try_recv().ok()) {
            let fits = match &order {
                Order::Admit(admit) => admit.engine().is_none_or(has_room),
                Order::CloseUsers(_) => (0u16..).take(ports.len()).all(has_room),
            };
            if !fits {
                self.waiting = Some(order);
                return;
            }
            match order {
                Order::Admit(admit) => self.admit(*admit, reader, ports, now_ms),
                Order::CloseUsers(reason) => close_users(reason, ports),
            }
        }
    }

    fn admit(&self, admit: Admit, reader: &Reader, ports: &[Port], now_ms: u64) {
        let engine = admit.engine();
        let question = admit.question.as_ref();
        let admission = question.map(|question| reader.admit(question, now_ms, unix_ms()));
        let (batch, answer) = admit.decide(admission, &self.keys);
        // The control thread first: what the engine says of the stream must not overtake it.
        // An error says that it has ended, and the node is about to.
        let _ = self.answers.send(answer);
        if let (Some(engine), Some(batch)) = (engine, batch) {
            if let Batch::Grant(grant) = &batch
                && grant.purpose.is_counted()
            {
                audience::join(grant);
            }
            // There is room, and nobody else hands over batches: an error says that the engine has
            // ended, and the node is about to.
            let _ = ports[usize::from(engine)].try_batch(batch);
        }
    }
}

fn close_users(reason: CloseReason, ports: &[Port]) {
    for port in ports {
        let revocation = Revocation {
            scope: RevocationScope::Everybody,
            reason,
        };
        let _ = port.try_batch(Batch::Revoke(revocation));
    }
}
