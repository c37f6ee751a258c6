//! What the control thread asks the owner of the memberships, and what it answers: judged between two
//! batches, at the moment at which there is room for the grant, as in the node's replication thread.

use replication::{Admission, Question};
use wire::{Batch, CloseReason, Grant, Revocation, RevocationScope};

use super::Alive;
use crate::control::{self, Task};
use crate::sometimes::{Sometimes, State};
use crate::time::Time;

/// Something that the control thread wants.
#[derive(Debug)]
pub enum Order {
    /// Somebody wants in.
    Admit(Box<Task>, Box<Question>),
    /// Nobody vouches for anybody any more.
    CloseUsers,
}

/// What came of it.
#[derive(Debug)]
pub enum Answer {
    /// The grant is in its engine's channel.
    Granted(Box<Task>),
    /// It is not so.
    Refused(Box<Task>, Admission),
}

impl Alive {
    /// Carries out what there is, until an engine has no room. Between two batches only.
    pub(super) fn carry_out(&mut self, now: Time, sometimes: &mut Sometimes) {
        let (now_ms, unix_ms) = (self.now_ms(now), self.unix_ms(now));
        while let Some(order) = self.orders.pop_front() {
            match order {
                Order::CloseUsers if self.cores.iter().all(super::Core::has_room) => {
                    let scope = RevocationScope::Everybody;
                    let reason = CloseReason::FeedStale;
                    for core in 0..self.cores.len() {
                        self.push(core, Batch::Revoke(Revocation { scope, reason }), sometimes);
                    }
                }
                Order::Admit(task, question) if self.cores[task.core()].has_room() => {
                    let admission = self.reader.admit(&question, now_ms, unix_ms);
                    let answer = match admission {
                        Admission::Admitted(place) => {
                            let grant: Grant = control::grant(&task, &place, &self.keys);
                            self.control.count(&grant);
                            self.push(task.core(), Batch::Grant(Box::new(grant)), sometimes);
                            Answer::Granted(task)
                        }
                        why => Answer::Refused(task, why),
                    };
                    self.control.answers.push_back((now, answer));
                }
                order => {
                    self.orders.push_front(order);
                    return;
                }
            }
        }
    }

    /// Hands one batch to one engine, for which there is room.
    pub(super) fn push(&mut self, core: usize, batch: Batch, sometimes: &mut Sometimes) {
        let channel = &mut self.cores[core].batches;
        let is_revocation = |batch: &Batch| matches!(batch, Batch::Revoke(_));
        let is_grant = |batch: &Batch| matches!(batch, Batch::Grant(_));
        if channel.back().is_some_and(|last| {
            is_grant(last) && is_revocation(&batch) || is_revocation(last) && is_grant(&batch)
        }) {
            sometimes.reach(State::GrantBesideRevocation);
        }
        channel.push_back(batch);
    }
}
