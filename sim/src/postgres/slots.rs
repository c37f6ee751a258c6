//! Replication slots: up to where each was confirmed, and what of that would survive a crash.

use std::collections::BTreeSet;

use super::LineId;

/// A slot.
#[derive(Clone, Debug)]
pub(super) struct Slot {
    pub(super) name: String,
    /// The connection with which it ends, where it is temporary.
    pub(super) owner: Option<LineId>,
    /// Up to where it was confirmed.
    pub(super) confirmed: u64,
    /// The same, as it is on disk.
    pub(super) persisted: u64,
    /// The furthest that it was ever confirmed: a crash takes nothing of that back.
    pub(super) furthest: u64,
    /// From where on the log is kept for it.
    pub(super) restart: u64,
    /// Why the server has given it up, if it has.
    pub(super) lost_by: Option<&'static str>,
    /// Who streams from it.
    pub(super) active: Option<LineId>,
}

/// All slots. There are few.
#[derive(Clone, Debug, Default)]
pub(super) struct Slots(Vec<Slot>);

impl Slots {
    pub(super) fn get(&self, name: &str) -> Option<&Slot> {
        self.0.iter().find(|slot| slot.name == name)
    }

    pub(super) fn get_mut(&mut self, name: &str) -> Option<&mut Slot> {
        self.0.iter_mut().find(|slot| slot.name == name)
    }

    /// Makes one at a place, which nobody has by this name.
    pub(super) fn create(
        &mut self,
        name: &str,
        owner: Option<LineId>,
        confirmed: u64,
        restart: u64,
    ) {
        assert!(self.get(name).is_none(), "a slot's name is its own");
        self.0.push(Slot {
            name: name.to_owned(),
            owner,
            confirmed,
            persisted: confirmed,
            furthest: confirmed,
            restart,
            lost_by: None,
            active: None,
        });
    }

    pub(super) fn remove(&mut self, name: &str) {
        self.0.retain(|slot| slot.name != name);
    }

    /// A connection has ended, and with it what is its own.
    pub(super) fn on_end(&mut self, line: LineId) {
        self.0.retain(|slot| slot.owner != Some(line));
        for slot in &mut self.0 {
            slot.active = slot.active.filter(|active| *active != line);
        }
    }

    /// A position was confirmed. Positions only grow.
    pub(super) fn confirm(&mut self, name: &str, lsn: u64) {
        if let Some(slot) = self.get_mut(name)
            && lsn > slot.confirmed
        {
            slot.confirmed = lsn;
            slot.furthest = slot.furthest.max(lsn);
            slot.restart = slot.restart.max(lsn.saturating_sub(64));
        }
    }

    /// What they were told is put on disk.
    pub(super) fn persist(&mut self) {
        for slot in &mut self.0 {
            slot.persisted = slot.confirmed;
        }
    }

    /// The server was away: what is not on disk is lost, and temporary slots are.
    pub(super) fn on_restart(&mut self) {
        self.0.retain(|slot| slot.owner.is_none());
        for slot in &mut self.0 {
            (slot.confirmed, slot.active) = (slot.persisted, None);
            slot.restart = slot.restart.min(slot.confirmed);
        }
    }

    /// Those that outlive their connections.
    pub(super) fn persistent(&self) -> impl Iterator<Item = &Slot> {
        self.0.iter().filter(|slot| slot.owner.is_none())
    }

    /// How many there are beside one that outlives its connection, and those of these connections.
    pub(super) fn beyond(&self, lines: &BTreeSet<LineId>) -> usize {
        let is_of = |slot: &&Slot| slot.owner.is_some_and(|owner| lines.contains(&owner));
        let others = self.0.iter().filter(|slot| !is_of(slot)).count();
        others - self.persistent().count().min(1)
    }

    /// The server gives them all up. Returns who streamed from one.
    pub(super) fn lose_all(&mut self, why: &'static str) -> Vec<LineId> {
        for slot in &mut self.0 {
            slot.lost_by = Some(why);
        }
        self.0
            .iter_mut()
            .filter_map(|slot| slot.active.take())
            .collect()
    }

    pub(super) fn clear(&mut self) {
        self.0.clear();
    }
}
