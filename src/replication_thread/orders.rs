//! The orders of the control thread, carried out between two batches: a newcomer is judged at the very
//! moment at which there is room for the verdict in the engine's channel, so that no revocation lies
//! between the two. A verdict is never kept.

use std::sync::mpsc::Receiver;

use driver::Port;
use replication::Reader;
use wire::{Batch, CloseReason, Grant, Keys, Revocation, RevocationScope};

use crate::audience;
use crate::clock::unix_ms;
use crate::control::{Admit, Answers, Follows, Order};

/// The most grants that are handed over as one: an engine sends to as many at a time.
const GRANTS_MAX: usize = 256;

/// The orders that wait, and where their answers go.
pub(super) struct Orders {
    orders: Receiver<Order>,
    /// The order whose engine is full.
    waiting: Option<Order>,
    answers: Answers,
    /// For each engine the grants that are handed over together: nothing else is between them, and there
    /// is room for them as one. Empty whenever a batch of the reader may be handed over.
    grants: Vec<Vec<Grant>>,
    keys: Keys,
}

impl Orders {
    pub(super) fn new(
        orders: Receiver<Order>,
        answers: Answers,
        engines: usize,
        keys: Keys,
    ) -> Self {
        Self {
            orders,
            waiting: None,
            answers,
            grants: vec![Vec::new(); engines],
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
        while let Some(order) = self.waiting.take().or_else(|| self.orders.try_recv().ok()) {
            if !self.has_room(&order, ports) {
                self.waiting = Some(order);
                break;
            }
            match order {
                Order::Admit(admit) => self.admit(*admit, reader, ports, now_ms),
                Order::CloseUsers(reason) => close_users(reason, ports),
            }
        }
        for engine in 0..ports.len() {
            self.hand_over(engine, ports);
        }
        self.answers.flush();
    }

    /// Whether there is room for what follows from an order, now and in its place. Grants that are still
    /// held together take the room that was found for the first of them.
    fn has_room(&mut self, order: &Order, ports: &[Port]) -> bool {
        match order {
            Order::Admit(admit) => admit.engine().map(usize::from).is_none_or(|engine| {
                if !admit.is_for_grant() || self.grants[engine].len() >= GRANTS_MAX {
                    self.hand_over(engine, ports);
                }
                ports[engine].has_room()
            }),
            Order::CloseUsers(_) => (0..ports.len()).all(|engine| {
                self.hand_over(engine, ports);
                ports[engine].has_room()
            }),
        }
    }

    fn admit(&mut self, admit: Admit, reader: &Reader, ports: &[Port], now_ms: u64) {
        let engine = admit.engine().map(usize::from);
        let question = admit.question.as_ref();
        let admission = question.map(|question| reader.admit(question, now_ms, unix_ms()));
        let (follows, answer) = admit.decide(admission, &self.keys);
        // The control thread first: what the engine says of the stream must not overtake it.
        self.answers.say(answer);
        let (Some(engine), Some(follows)) = (engine, follows) else {
            return;
        };
        match follows {
            Follows::Grant(grant) => {
                if grant.purpose.is_counted() {
                    audience::join(&grant);
                }
                self.grants[engine].push(grant);
            }
            // There is room, and nobody else hands over batches: an error says that the engine has
            // ended, and the node is about to.
            Follows::Renewal(renewal) => {
                let _ = ports[engine].try_batch(Batch::Renew(Box::new(renewal)));
            }
        }
    }

    /// Hands over the grants of an engine: as many wake-ups as there are batches of them.
    fn hand_over(&mut self, engine: usize, ports: &[Port]) {
        let grants = &mut self.grants[engine];
        let batch = match grants.len() {
            0 => return,
            1 => Batch::Grant(Box::new(grants.remove(0))),
            _ => Batch::Grants(std::mem::take(grants)),
        };
        // As above: room was found for it.
        let _ = ports[engine].try_batch(batch);
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
