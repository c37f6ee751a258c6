//! Somebody who puts people out at the worst moment: while they ask for a stream. Their session is deleted,
//! or a row keeps them out for a while, in a transaction of its own.

use super::{Phase, World};
use crate::postgres::schema::{REVOCATION, Row, SESSION, moment, text};
use crate::postgres::{Refusal, Xid};
use crate::queue::Event;
use crate::time::Time;

impl World {
    /// A client has just asked for a stream: perhaps somebody puts it out before it is answered.
    pub(super) fn plan_ousting(&mut self, client: u32) {
        if self.phase == Phase::Faults && self.random.chance(self.swarm.crowd.ousted) {
            // An answer takes three looks, each of which takes the control thread this long at the most.
            let within_us = 3 * self.swarm.node.control_ms * 1_000;
            let at = self.now + Time(1 + self.random.below(within_us));
            self.queue.push(at, Event::Oust { client });
        }
    }

    pub(super) fn oust(&mut self, client: u32) {
        if self.phase != Phase::Faults {
            return;
        }
        let Ok(xid) = self.database.begin() else {
            return;
        };
        let ousted = match self.put_out(xid, client) {
            Ok(()) => self.database.commit(self.now, xid, Time(0)),
            // It is gone by now, or somebody else is at its row.
            Err(_) => self.database.abort(xid),
        };
        ousted.expect("the server was up a moment ago");
    }

    fn put_out(&mut self, xid: Xid, client: u32) -> Result<(), Refusal> {
        let (random, database) = (&mut self.random, &mut self.database);
        let client = &self.clients[client as usize];
        match random.below(3) {
            0 | 1 => database.delete(xid, SESSION, &client.session),
            _ => {
                self.oustings += 1;
                let until_ms = random.log_uniform(500..=10_000);
                let row: Row = [
                    text(&format!("w{}", self.oustings)),
                    text(&client.user),
                    None,
                    None,
                    None,
                    text(&moment(self.now.unix_us() / 1_000 + until_ms)),
                ]
                .into();
                database.insert(xid, REVOCATION, row)
            }
        }
    }
}
