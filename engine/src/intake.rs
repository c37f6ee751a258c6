//! Intake: what a batch changes, in the order of the write-ahead log.

use wire::{Batch, Commit, EventId, Frame, Gap, Key, Revocation, RevocationScope, Scope, Topic};

use crate::engine::Source;
use crate::record::{Bits, NONE, State};
use crate::step::is_admitted;
use crate::{Driver, Engine, Now, ResetReason};

impl Engine {
    /// Whether every dirty class is less than half of what the log may hold for it behind, so that
    /// no eviction can reach a frame a class has not been offered yet.
    ///
    /// The classes are walked through once for as many bytes as were left to the worst of them: sweeps
    /// only make that more. While that is nothing, it alone is asked.
    pub(crate) fn is_intake_open(&mut self) -> bool {
        let appended_bytes = self.log.appended_bytes(None).0;
        let is_due = appended_bytes >= self.intake_open_until;
        if is_due && self.intake_room_of(self.intake_tightest) > 0 {
            let (room, tightest) = self.intake_room();
            self.intake_open_until = appended_bytes + room;
            self.intake_tightest = tightest;
        }
        appended_bytes < self.intake_open_until
    }

    /// How many bytes may be appended, of whatever topics, before a class could be too far behind, and
    /// which one that is.
    fn intake_room(&self) -> (u64, u32) {
        let classes = self.queues.iter();
        let rooms = classes.map(|slot| (self.intake_room_of(slot), slot));
        // A class that becomes dirty later has this much left then.
        rooms.min().unwrap_or((self.intake_room_max(), NONE))
    }

    /// The same for one class.
    fn intake_room_of(&self, slot: u32) -> u64 {
        let half_share = self.intake_room_max();
        let half_whole = (self.log.bytes_max() as u64).div_ceil(2);
        let class = self.classes.get(slot as usize);
        let Some(class) = class.filter(|class| class.is_queued) else {
            return half_share;
        };
        let topic = (class.topic != NONE).then_some(class.topic);
        let appended = self.log.appended_bytes(topic);
        let of_log = appended.0 - class.appended_bytes.0;
        match class.key.scope {
            // It is behind in the share of each organisation, and has no topic of its own.
            Scope::Everything => half_share.saturating_sub(of_log),
            Scope::Nothing | Scope::Organisation(_) => {
                let of_topic = appended.1 - class.appended_bytes.1;
                let of_share = half_share.saturating_sub(of_topic);
                half_whole.saturating_sub(of_log).min(of_share)
            }
        }
    }

    /// The same for a class that has everything.
    fn intake_room_max(&self) -> u64 {
        (self.log.share_bytes_max() as u64).div_ceil(2)
    }

    /// Takes a batch.
    pub(crate) fn take(&mut self, now: Now, batch: Batch, driver: &mut dyn Driver) {
        match batch {
            Batch::Start(start) => match &mut self.source {
                // The stream goes on where it broke; only what is known of the cluster may change.
                Some(source) => {
                    source.lineage = start.lineage.clone();
                    source.caught_up = start.caught_up;
                }
                None => {
                    let (lineage, floor) = (start.lineage.clone(), start.floor);
                    self.source = Some(Source {
                        lineage,
                        floor,
                        applied: floor,
                        caught_up: start.caught_up,
                        floor_ms: i64::try_from(now.wall_ms).unwrap_or(i64::MAX),
                        is_fresh: true,
                    });
                    self.counters.applied_lsn = floor.lsn.0;
                }
            },
            Batch::Commit(commit) => self.append_all(now, &commit),
            Batch::Progress(position) => self.apply(now, position),
            Batch::Revoke(revocation) => self.revoke(now, &revocation),
            Batch::Gap(gap) => self.reset_all(now, &gap),
            Batch::Grant(grant) => self.admit(now, *grant, driver),
            Batch::Grants(grants) => {
                for grant in grants {
                    self.admit(now, grant, driver);
                }
            }
            Batch::Refuse(refuse) => self.refuse(now, *refuse),
            Batch::Renew(renewal) => self.renew(now, &renewal),
            Batch::Extend(extension) => self.extend(now, &extension),
        }
    }

    fn append_all(&mut self, now: Now, commit: &Commit) {
        let source = self.source.as_mut();
        let source = source.expect("a start comes before everything else");
        if let Some(first) = commit.frames.first()
            && std::mem::take(&mut source.is_fresh)
        {
            source.floor_ms = source.floor_ms.min(first.timestamp_ms());
        }
        for frame in &commit.frames {
            self.append(now, frame.clone());
        }
        self.counters.events += commit.frames.len() as u64;
        self.apply(now, commit.through);
    }

    fn append(&mut self, now: Now, frame: Frame) {
        let head = self.log.head();
        let topic = frame.audience().topic;
        if let Topic::User(user) = topic {
            self.pull_user(user, &frame);
            self.log.append(frame, now.monotonic_us());
            return;
        }
        // Where a class stands is taken before the frame is there.
        let of_log = self.log.appended_bytes(None).0;
        let slot = self.log.open_topic(topic);
        let of_topic = self.log.appended_bytes(Some(slot)).1;
        self.log.append_to(slot, frame.clone(), now.monotonic_us());
        let mut classes = std::mem::take(&mut self.concerned);
        self.find_concerned(topic, slot, &mut classes);
        for class in classes.drain(..) {
            let key = &self.classes[class as usize].key;
            if is_admitted(key, &frame) {
                let of_topic = match topic {
                    Topic::Organisation(_) => of_topic,
                    _ => self.topic_bytes(class),
                };
                self.mark_dirty(class, head, (of_log, of_topic));
            }
        }
        self.concerned = classes;
    }

    /// The classes that may receive a frame of an organisation's topic, or of the global one.
    fn find_concerned(&self, topic: Topic, slot: u32, classes: &mut Vec<u32>) {
        match topic {
            Topic::Organisation(_) => {
                classes.extend_from_slice(self.log.classes(slot));
                let is_everything =
                    |class: &&u32| self.classes[**class as usize].key.scope == Scope::Everything;
                classes.extend(self.unrooted.iter().filter(is_everything));
            }
            Topic::Global => classes.extend(self.classes.iter().map(|(class, _)| class as u32)),
            Topic::User(_) => {}
        }
    }

    fn topic_bytes(&self, class: u32) -> u64 {
        let topic = self.classes[class as usize].topic;
        self.log.appended_bytes((topic != NONE).then_some(topic)).1
    }

    /// Everything up to a position has been handed over.
    fn apply(&mut self, now: Now, position: EventId) {
        let source = self
            .source
            .as_mut()
            .expect("a start comes before everything else");
        source.applied = source.applied.max(position);
        self.counters.applied_lsn = source.applied.lsn.0;
        self.release_reached(now);
    }

    /// Closes exactly the streams it finds: the engine needs no memory of revocations, since a grant
    /// that was judged before one comes behind it in the channel.
    fn revoke(&mut self, now: Now, revocation: &Revocation) {
        let slots = match revocation.scope {
            RevocationScope::Member { user, organisation } => {
                let mut slots = self.slots_of(user);
                slots.retain(|slot| self.scope_of(*slot) == Scope::Organisation(organisation));
                slots
            }
            RevocationScope::User(user) => self.slots_of(user),
            RevocationScope::Session(session) => {
                self.streams(|engine, slot| engine.table[slot].session == session.hash64())
            }
            RevocationScope::Organisation(organisation) => self
                .streams(|engine, slot| engine.scope_of(slot) == Scope::Organisation(organisation)),
            RevocationScope::Everybody => {
                self.streams(|engine, slot| engine.table[slot].user != Key::NOBODY)
            }
        };
        for slot in slots {
            self.end_stream(now, slot, revocation.reason);
        }
    }

    /// Changes were missed: no stream receives anything before its `reset`, and those are paced.
    fn reset_all(&mut self, now: Now, gap: &Gap) {
        let (lineage, floor) = (gap.lineage.clone(), gap.floor);
        self.source = Some(Source {
            lineage,
            floor,
            applied: floor,
            caught_up: floor,
            floor_ms: i64::try_from(now.wall_ms).unwrap_or(i64::MAX),
            is_fresh: true,
        });
        self.counters.applied_lsn = floor.lsn.0;
        for slot in self.streams(|_, _| true) {
            self.park(now, slot, gap.reason.into());
        }
        // Nobody is in step, so nothing is lost that will not be said to be.
        let classes: Vec<u32> = self.classes.iter().map(|(class, _)| class as u32).collect();
        for class in classes {
            self.abandon_sweep(class);
        }
        self.queues.clear();
        self.log.clear();
        let spread_ms = self.config.reset_spread_ms;
        self.pace_resets(now, spread_ms);
    }

    /// Every stream for which something holds.
    pub(crate) fn streams(&self, holds: impl Fn(&Self, u32) -> bool) -> Vec<u32> {
        let slots = 0..self.table.end();
        slots
            .filter(|slot| self.table[*slot].is_stream() && holds(self, *slot))
            .collect()
    }

    pub(crate) fn slots_of(&self, user: Key) -> Vec<u32> {
        let first = Some(self.users.first(&self.table, user)).filter(|slot| *slot != NONE);
        let next = |slot: &u32| Some(self.table[*slot].next).filter(|next| *next != NONE);
        std::iter::successors(first, next).collect()
    }

    fn scope_of(&self, slot: u32) -> Scope {
        self.classes[self.table[slot].class as usize].key.scope
    }

    fn abandon_sweep(&mut self, slot: u32) {
        let class = &mut self.classes[slot as usize];
        assert!(class.live() == 0, "everybody is parked");
        class.sweep = None;
        class.is_dirty = false;
        class.is_queued = false;
    }
}

impl Engine {
    /// A stream receives nothing until its turn in a paced reset.
    fn park(&mut self, now: Now, slot: u32, reason: ResetReason) {
        match self.table[slot].state {
            State::InStep => self.pull(slot),
            State::Held => {
                if let Some(about) = self.release_held(slot) {
                    // It has not begun yet, and begins like one that comes now.
                    self.reset_held(now, slot, Some(about), reason);
                    return;
                }
            }
            _ => {}
        }
        let record = &mut self.table[slot];
        record.reset = Some(reason);
        record.bits.set(Bits::PARKED, true);
    }
}
