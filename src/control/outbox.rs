//! What the control thread hands over: verdicts by way of the replication thread, so that they keep
//! the order of the log, and everything else straight to an engine. What finds a channel full waits
//! here, and is tried again.

use std::collections::VecDeque;

use bytes::Bytes;
use driver::Port;
use engine::Command;
use wire::{Batch, ConnectionId, Grant};

use crate::replication_thread::Feed;

/// The most grants that wait here. Whoever comes then is refused for now.
const GRANTS_MAX: usize = 16_384;

/// The most commands that wait here: an answer for each connection of a full descriptor table. What
/// comes then is dropped; its connection ends by the engine's own deadline for answers.
const COMMANDS_MAX: usize = 65_536;

/// The channels, and what waits for them.
pub(super) struct Outbox {
    feed: Feed,
    ports: Vec<Port>,
    grants: VecDeque<(u16, Batch)>,
    commands: VecDeque<(u16, Command)>,
}

impl Outbox {
    pub(super) fn new(feed: Feed, ports: Vec<Port>) -> Self {
        Self {
            feed,
            ports,
            grants: VecDeque::new(),
            commands: VecDeque::new(),
        }
    }

    /// Whether another grant would have room. Ask before counting anybody in.
    pub(super) fn has_room(&self) -> bool {
        self.grants.len() < GRANTS_MAX
    }

    /// Whether nothing waits.
    pub(super) fn is_empty(&self) -> bool {
        self.grants.is_empty() && self.commands.is_empty()
    }

    pub(super) fn grant(&mut self, grant: Grant) {
        assert!(self.has_room(), "whoever grants has asked for room");
        self.grants
            .push_back((grant.connection.engine, Batch::Grant(Box::new(grant))));
        self.flush();
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
        self.flush();
    }

    /// Hands over what has room now.
    pub(super) fn flush(&mut self) {
        while let Some((engine, batch)) = self.grants.pop_front() {
            if let Err(batch) = self.feed.send_verdict(engine, batch) {
                self.grants.push_front((engine, batch));
                break;
            }
        }
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
