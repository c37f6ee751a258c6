//! What the control thread hands over: whom to let in by way of the replication thread, which keeps the
//! order of the log, and everything else straight to an engine. What finds a channel full waits
//! here, and is tried again.

use std::collections::VecDeque;

use bytes::Bytes;
use driver::Port;
use engine::Command;
use wire::ConnectionId;

use super::admission::Order;
use crate::replication_thread::Feed;

/// The most orders that wait here. Whoever comes then is refused for now.
const ORDERS_MAX: usize = 16_384;

/// The most commands that wait here: an answer for each connection of a full descriptor table. What
/// comes then is dropped; its connection ends by the engine's own deadline for answers.
const COMMANDS_MAX: usize = 65_536;

/// The channels, and what waits for them.
pub(super) struct Outbox {
    feed: Feed,
    ports: Vec<Port>,
    orders: VecDeque<Order>,
    commands: VecDeque<(u16, Command)>,
}

impl Outbox {
    pub(super) fn new(feed: Feed, ports: Vec<Port>) -> Self {
        Self {
            feed,
            ports,
            orders: VecDeque::new(),
            commands: VecDeque::new(),
        }
    }

    /// Whether another order would have room. Ask before counting anybody in.
    pub(super) fn has_room(&self) -> bool {
        self.orders.len() < ORDERS_MAX
    }

    /// Whether nothing waits.
    pub(super) fn is_empty(&self) -> bool {
        self.orders.is_empty() && self.commands.is_empty()
    }

    /// Hands it over with the next [`Self::flush`], which wakes the thread once for all.
    pub(super) fn order(&mut self, order: Order) {
        self.orders.push_back(order);
    }

    pub(super) fn respond(&mut self, connection: ConnectionId, response: Bytes) {
        self.command(
            connection.engine,
            Command::Respond {
                connection,
                response,
            },
        );
    }

    pub(super) fn command(&mut self, engine: u16, command: Command) {
        if self.commands.len() < COMMANDS_MAX {
            self.commands.push_back((engine, command));
        }
        self.flush_commands();
    }

    /// Hands over what has room now.
    pub(super) fn flush(&mut self) {
        let is_news = !self.orders.is_empty();
        while let Some(order) = self.orders.pop_front() {
            if let Err(order) = self.feed.send(order) {
                self.orders.push_front(order);
                break;
            }
        }
        if is_news {
            self.feed.wake();
        }
        self.flush_commands();
    }

    fn flush_commands(&mut self) {
        // One engine that is busy must not hold up the answers of the others.
        for _ in 0..self.commands.len() {
            let Some((engine, command)) = self.commands.pop_front() else {
                break;
            };
            if let Err(command) = self.ports[usize::from(engine)].try_command(command) {
                self.commands.push_back((engine, command));
            }
        }
    }
}
