//! What may befall a cluster: crashes, shutdowns, lost slots, and another server that takes over.

use super::{LineId, Phase, Postgres};
use crate::sometimes::State;
use crate::time::Time;

impl Postgres {
    /// The server is killed with -9, and is back at a time. What is not on disk is lost: open transactions,
    /// temporary slots, and what the others were told since the last checkpoint.
    pub fn crash(&mut self, now: Time, back_at: Time) {
        self.settle(now);
        if matches!(self.phase, Phase::Down { .. }) {
            return;
        }
        if self
            .backends
            .values()
            .any(|backend| backend.sender.is_some())
        {
            self.reached.reach(State::ServerCrashed);
        }
        self.break_off();
        self.wal.lose_tail();
        self.phase = Phase::Down { back_at };
    }

    /// The server is told to stop fast, and is back at a time: it lets nobody in any more, and waits until
    /// its walsenders have sent everything and know that it arrived.
    pub fn shut_down(&mut self, now: Time, back_at: Time) {
        self.settle(now);
        if !self.is_up() {
            return;
        }
        self.phase = Phase::Stopping { back_at };
        self.abort_open(|_| false);
        // The checkpoint of the shutdown.
        self.wal.write(104);
        self.wal.flush();
        let lines: Vec<LineId> = self.backends.keys().copied().collect();
        for line in lines {
            let backend = self.backends.get_mut(&line).expect("it was just there");
            if backend.sender.is_none() && !backend.is_closed {
                let words = "terminating connection due to administrator command";
                backend.end("57P01", words);
                self.slots.on_end(line);
            }
        }
        self.dismiss_senders(now);
    }

    /// The anchor is dropped, if there is one. Who streams from a copy of it goes on.
    pub fn drop_slot(&mut self, now: Time) {
        self.settle(now);
        let idle = self.slots.persistent().filter(|slot| slot.active.is_none());
        let names: Vec<String> = idle.map(|slot| slot.name.clone()).collect();
        names.iter().for_each(|name| self.slots.remove(name));
    }

    /// The server gives up every slot, and ends who streams from one.
    pub fn invalidate_slots(&mut self, now: Time) {
        self.settle(now);
        for line in self.slots.lose_all("wal_removed") {
            if let Some(backend) = self.backends.get_mut(&line) {
                let words = "terminating connection due to administrator command";
                backend.end("57P01", words);
            }
            self.slots.on_end(line);
        }
    }

    /// A standby takes over at a time, which never had the newest transactions. With `slots_synced` it has
    /// the slots, as they are on disk.
    pub fn fail_over(&mut self, now: Time, back_at: Time, lost: u32, slots_synced: bool) {
        self.settle(now);
        if matches!(self.phase, Phase::Down { .. }) {
            return;
        }
        self.break_off();
        let kept = self.wal.records.len().saturating_sub(lost as usize);
        // Somewhere between the last commit that it has and the first that it has not.
        let kept_end = self.wal.records[..kept].last().map(|last| last.end());
        let most = self
            .wal
            .records
            .get(kept)
            .map_or(self.wal.flushed, |next| next.place());
        let least = kept_end.unwrap_or(most);
        let at = least + self.random.below((most - least) / 8 + 1) * 8;
        if at < self.wal.flushed {
            self.reached.reach(State::FailoverLower);
        }
        let xids = self.wal.fork(at);
        self.abort_open(|prepared_at| prepared_at > at);
        self.rows.forget(|xid| xids.contains(&xid));
        // The numbers that were given out behind that are given out again.
        let known = self.begun.partition_point(|(begun_at, _)| *begun_at < at);
        if let Some((_, xid)) = self.begun.get(known) {
            self.next_xid = *xid;
        }
        self.begun.truncate(known);
        if !slots_synced {
            self.slots.clear();
        } else if self.slots.persistent().any(|slot| slot.persisted > at) {
            // One that is ahead of the server would skip what comes next; a synchronised one never is.
            self.slots.clear();
        }
        self.phase = Phase::Down { back_at };
    }

    /// Every connection breaks, every transaction that is not prepared ends, and what the slots were told
    /// is lost as far as it is not on disk.
    fn break_off(&mut self) {
        self.backends.clear();
        self.abort_open(|_| false);
        self.hidden.clear();
        self.slots.on_restart();
    }

    /// Ends the transactions that are open; of those that are prepared the ones of which it is said.
    fn abort_open(&mut self, is_lost: impl Fn(u64) -> bool) {
        let ends = |at: Option<u64>| at.is_none_or(&is_lost);
        let open = self.open.iter().filter(|(_, open)| ends(open.prepared_at));
        let xids: Vec<u64> = open.map(|(xid, _)| *xid).collect();
        for xid in xids {
            self.abort(super::Xid(xid)).expect("it is open");
        }
    }

    /// The last connection of a server that stops has ended.
    pub(super) fn go_down(&mut self, now: Time, back_at: Time) {
        if self.version.major >= 17 {
            // Before that, what slots were told is kept at a checkpoint only if more than that changed.
            self.slots.persist();
        }
        for backend in self.backends.values_mut() {
            backend.is_closed = true;
        }
        self.slots.on_restart();
        self.hidden.clear();
        self.phase = Phase::Down {
            back_at: back_at.max(now + Time::from_ms(10)),
        };
    }

    pub(super) fn come_back(&mut self, now: Time) {
        self.phase = Phase::Up;
        self.wal.write(104);
        self.wal.flush();
        self.next_checkpoint = now + Time::from_ms(self.checkpoint_ms);
    }
}
