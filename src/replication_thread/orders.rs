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

/// Where an engine takes what follows from orders; nobody else hands it batches.
pub(super) trait Channel {
    /// Whether it would take a batch now.
    fn has_room(&self) -> bool;

    /// Takes a batch, for which there is room.
    fn hand_over(&self, batch: Batch);
}

impl Channel for Port {
    fn has_room(&self) -> bool {
        Port::has_room(self)
    }

    fn hand_over(&self, batch: Batch) {
        // An error says that the engine has ended, and the node is about to.
        let _ = self.try_batch(batch);
    }
}

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
    pub(super) fn carry_out(&mut self, reader: &Reader, engines: &[impl Channel], now_ms: u64) {
        while let Some(order) = self.waiting.take().or_else(|| self.orders.try_recv().ok()) {
            if !self.has_room(&order, engines) {
                self.waiting = Some(order);
                break;
            }
            match order {
                Order::Admit(admit) => self.admit(*admit, reader, engines, now_ms),
                Order::CloseUsers(reason) => close_users(reason, engines),
            }
        }
        for engine in 0..engines.len() {
            self.hand_over(engine, engines);
        }
        self.answers.flush();
    }

    /// Whether there is room for what follows from an order, now and in its place. Grants that are still
    /// held together take the room that was found for the first of them.
    fn has_room(&mut self, order: &Order, engines: &[impl Channel]) -> bool {
        match order {
            Order::Admit(admit) => admit.engine().map(usize::from).is_none_or(|engine| {
                if !admit.is_for_grant() || self.grants[engine].len() >= GRANTS_MAX {
                    self.hand_over(engine, engines);
                }
                engines[engine].has_room()
            }),
            Order::CloseUsers(_) => (0..engines.len()).all(|engine| {
                self.hand_over(engine, engines);
                engines[engine].has_room()
            }),
        }
    }

    fn admit(&mut self, admit: Admit, reader: &Reader, engines: &[impl Channel], now_ms: u64) {
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
            Follows::Renewal(renewal) => {
                engines[engine].hand_over(Batch::Renew(Box::new(renewal)));
            }
        }
    }

    /// Hands over the grants of an engine: as many wake-ups as there are batches of them.
    fn hand_over(&mut self, engine: usize, engines: &[impl Channel]) {
        let grants = &mut self.grants[engine];
        let batch = match grants.len() {
            0 => return,
            1 => Batch::Grant(Box::new(grants.remove(0))),
            _ => Batch::Grants(std::mem::take(grants)),
        };
        // Room was found for it when the first of them was granted.
        engines[engine].hand_over(batch);
    }
}

fn close_users(reason: CloseReason, engines: &[impl Channel]) {
    for engine in engines {
        let revocation = Revocation {
            scope: RevocationScope::Everybody,
            reason,
        };
        engine.hand_over(Batch::Revoke(revocation));
    }
}

#[cfg(test)]
mod tests {
    use std::cell::{Cell, RefCell};
    use std::sync::mpsc::{SyncSender, sync_channel};

    use replication::Config;
    use wire::ConnectionId;

    use super::*;
    use crate::control::{Downlink, pair, samples};

    /// A channel with room for so many batches.
    #[derive(Default)]
    struct Engine {
        room: Cell<usize>,
        taken: RefCell<Vec<Batch>>,
    }

    impl Channel for Engine {
        fn has_room(&self) -> bool {
            self.taken.borrow().len() < self.room.get()
        }

        fn hand_over(&self, batch: Batch) {
            assert!(self.has_room(), "there is no room for {batch:?}");
            self.taken.borrow_mut().push(batch);
        }
    }

    /// The orders of a node of two engines, with an end for each of the other threads.
    struct Node {
        orders: Orders,
        ordered: SyncSender<Order>,
        downlink: Downlink,
        reader: Reader,
        engines: [Engine; 2],
    }

    impl Node {
        /// With room for so many batches in each engine.
        fn new(room: usize) -> Self {
            let keys = Keys::new([3; 16]);
            let connect = "postgres://h/d".parse().expect("it is an address");
            let (ordered, orders) = sync_channel(1024);
            let (_, answers, downlink) = pair();
            let engines = [(); 2].map(|()| Engine::default());
            engines.iter().for_each(|engine| engine.room.set(room));
            Self {
                orders: Orders::new(orders, answers, engines.len(), keys.clone()),
                ordered,
                downlink,
                reader: Reader::new(Config::new(connect, keys), 7, 0),
                engines,
            }
        }

        fn order(&self, orders: impl IntoIterator<Item = Order>) {
            for order in orders {
                self.ordered.send(order).expect("there is room");
            }
        }

        /// Carries out what there is, and says how many answers the control thread was woken for.
        fn carry_out(&mut self) -> usize {
            self.orders.carry_out(&self.reader, &self.engines, 0);
            assert!(self.orders.grants.iter().all(Vec::is_empty), "one is kept");
            self.downlink.woken_for()
        }

        /// What an engine was handed, in its order.
        fn taken(&self, engine: usize) -> Vec<String> {
            let taken = self.engines[engine].taken.borrow();
            taken.iter().map(in_words).collect()
        }
    }

    fn in_words(batch: &Batch) -> String {
        match batch {
            Batch::Grant(grant) => format!("grant {}", grant.connection.slot),
            Batch::Grants(grants) => {
                let slots: Vec<u32> = grants.iter().map(|it| it.connection.slot).collect();
                assert!(slots.is_sorted(), "grants keep their order");
                format!("{} grants from {}", slots.len(), slots[0])
            }
            Batch::Renew(renewal) => format!("renew {}", renewal.connection.slot),
            Batch::Revoke(_) => "close users".to_owned(),
            other => panic!("{other:?}"),
        }
    }

    fn connection(engine: u16, slot: u32) -> ConnectionId {
        ConnectionId {
            boot: 1,
            engine,
            slot,
            generation: 0,
        }
    }

    fn open(engine: u16, slot: u32) -> Order {
        samples::open(connection(engine, slot))
    }

    fn renew(engine: u16, slot: u32) -> Order {
        samples::renew(connection(engine, slot))
    }

    #[test]
    fn grants_are_handed_over_together_and_never_too_many() {
        let mut node = Node::new(3);
        node.order((0..600).map(|slot| open(0, slot)));
        node.order([open(1, 9)]);
        assert_eq!(node.carry_out(), 601);
        let grants = [
            "256 grants from 0",
            "256 grants from 256",
            "88 grants from 512",
        ];
        assert_eq!(node.taken(0), grants);
        assert_eq!(node.taken(1), ["grant 9"]);
        assert_eq!(node.carry_out(), 0, "nobody is woken for nothing");
    }

    #[test]
    fn what_is_between_grants_keeps_its_place() {
        let mut node = Node::new(9);
        node.order([open(0, 0), open(0, 1), renew(0, 0), open(0, 2), open(1, 3)]);
        node.order([Order::CloseUsers(CloseReason::FeedStale), open(0, 4)]);
        assert_eq!(node.carry_out(), 6);
        let taken = [
            "2 grants from 0",
            "renew 0",
            "grant 2",
            "close users",
            "grant 4",
        ];
        assert_eq!(node.taken(0), taken);
        assert_eq!(node.taken(1), ["grant 3", "close users"]);
    }

    #[test]
    fn a_full_engine_keeps_the_next_order_and_nothing_that_was_judged() {
        let mut node = Node::new(1);
        node.order([open(1, 0)]);
        node.order((0..300).map(|slot| open(0, slot)));
        assert_eq!(node.carry_out(), 257, "who was judged is answered");
        assert!(node.orders.is_waiting());
        assert_eq!(node.taken(0), ["256 grants from 0"]);
        assert_eq!(node.taken(1), ["grant 0"]);
        assert_eq!(node.carry_out(), 0);
        node.engines[0].room.set(2);
        assert_eq!(node.carry_out(), 44);
        assert!(!node.orders.is_waiting());
        assert_eq!(node.taken(0), ["256 grants from 0", "44 grants from 256"]);
    }

    #[test]
    fn a_renewal_for_which_there_is_no_room_waits_behind_the_grants_before_it() {
        let mut node = Node::new(1);
        node.order([open(0, 0), renew(0, 0), open(0, 1)]);
        assert_eq!(node.carry_out(), 1);
        assert_eq!(node.taken(0), ["grant 0"]);
        node.engines[0].room.set(3);
        assert_eq!(node.carry_out(), 2);
        assert_eq!(node.taken(0), ["grant 0", "renew 0", "grant 1"]);
    }
}
