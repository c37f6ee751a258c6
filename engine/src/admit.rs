//! Admission: a grant becomes a stream, at the place from which its client wants to go on.

use bytes::Bytes;
use wire::{EventId, Grant, Key, Lsn, Purpose, Refuse, Resume};

use crate::behind::Behind;
use crate::class::ClassKey;
use crate::counters::ResetReason;
use crate::driver::{Notice, Verdict, Watch};
use crate::engine::Source;
use crate::log::Reading;
use crate::page::PageFrom;
use crate::planted::HELD_IS_FOREIGN;
use crate::record::{Bits, State};
use crate::time::Tick;
use crate::{Driver, Engine, Now};

/// A stream that waits for a position this engine has not reached.
#[derive(Debug)]
pub(crate) struct HeldStream {
    awaited: Awaited,
    /// For its `connected` event; taken when that has been written.
    about: Option<Bytes>,
    /// Its place among the held.
    pub(crate) since_ms: u64,
}

impl HeldStream {
    pub(crate) fn awaited(&self) -> Awaited {
        self.awaited
    }
}

/// What a held stream is told when the position is reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Awaited {
    /// It goes on from there.
    Resumed,
    /// It begins: until then it is the past that is read.
    Live,
    /// The same, and its client is told that something may be missing.
    Reset(ResetReason),
    /// It is a page, and is read.
    Page(PageFrom),
}

/// Where a stream starts.
enum Start {
    /// At a sequence of the log, at a position.
    At(u64, EventId, Verdict),
    /// Nowhere yet: this position lies ahead.
    Ahead(EventId, Awaited),
    /// From now, and its client is told that something may be missing.
    Reset(ResetReason),
}

impl Engine {
    /// Opens the stream of a grant.
    pub(crate) fn admit(&mut self, now: Now, grant: Grant, driver: &mut dyn Driver) {
        self.admitted += 1;
        let found = self.table.find_id(grant.connection);
        let waiting = found.filter(|slot| self.table[*slot].state == State::Waiting);
        let Some(slot) = waiting.filter(|_| self.source.is_some()) else {
            self.give_back(&grant);
            return;
        };
        if let Purpose::Page(request) = grant.purpose {
            self.admit_page(now, slot, &grant, request, driver);
            return;
        }
        let reading = Reading {
            scope: grant.scope,
            user: grant.user,
        };
        let start = self.start_of(reading, grant.resume, grant.since);
        let key = ClassKey {
            scope: grant.scope,
            filter: grant.filter.clone(),
            format: grant.format,
            page: None,
        };
        self.attach(slot, key);
        let record = &mut self.table[slot];
        record.user = grant.user.unwrap_or(Key::NOBODY);
        record.session = grant.session.map_or(0, Key::hash64);
        record.opened = Tick::at(now.monotonic_ms);
        record.expires = Self::expiry(now, grant.expires_ms);
        record.events = 0;
        record.bits.set(Bits::GRANTED, true);
        if grant.user.is_some() {
            self.users.insert(&mut self.table, slot);
        }
        self.quiet_open(now, slot);
        self.counters.streams += 1;
        let mut opening = self.opening(slot, &grant);
        match start {
            Start::Ahead(id, awaited) => {
                self.hold(now, slot, id, opening, awaited, grant.about);
            }
            Start::At(cursor, position, verdict) => {
                self.write_connected(slot, &grant.about, position, verdict, &mut opening);
                self.open(now, slot, cursor, opening, verdict);
            }
            Start::Reset(reason) => {
                let position = self.applied();
                self.write_connected(slot, &grant.about, position, Verdict::Reset, &mut opening);
                self.write_reset(reason, &mut opening);
                self.open(now, slot, self.log.head(), opening, Verdict::Reset);
            }
        }
        driver.watch(self.table.handle(slot), Watch::Hangup);
    }

    /// Refuses a connection that waits for a verdict.
    pub(crate) fn refuse(&mut self, now: Now, refuse: Refuse) {
        self.respond_to(now, refuse.connection, refuse.response);
    }

    /// Takes a held stream out of those that wait, as one that is behind. Returns what goes into its
    /// `connected` event, where that has not been written.
    pub(crate) fn release_held(&mut self, slot: u32) -> Option<Bytes> {
        assert!(
            self.table[slot].state == State::Held,
            "only a held stream is released"
        );
        self.table[slot].state = State::Behind;
        let id = self.held_for.remove(&slot);
        let id = id.expect("a held stream waits for a position");
        let held = self.held.remove(&(id, slot));
        held.expect("a held stream is among the held").about
    }

    /// Lets the held streams go on whose position has been reached.
    pub(crate) fn release_reached(&mut self, now: Now) {
        while let Some((&(id, slot), held)) = self.held.first_key_value() {
            if id > self.applied() {
                break;
            }
            let awaited = held.awaited;
            let about = self.release_held(slot);
            match awaited {
                Awaited::Resumed => {}
                Awaited::Live => {
                    let (head, position) = (self.log.head(), self.applied());
                    let verdict = Verdict::Live;
                    self.open_held(now, slot, head, about, position, verdict, None);
                    continue;
                }
                Awaited::Reset(reason) => {
                    self.reset_held(now, slot, about, reason);
                    continue;
                }
                Awaited::Page(from) => {
                    self.begin_page(now, slot, from);
                    continue;
                }
            }
            let start = self.start_of(self.reading_of(slot), Resume::After(id), None);
            match start {
                Start::At(cursor, ..) => {
                    let verdict = Verdict::Resumed;
                    self.open_held(now, slot, cursor, about, id, verdict, None);
                }
                Start::Reset(reason) => self.reset_held(now, slot, about, reason),
                Start::Ahead(_, Awaited::Reset(reason)) => {
                    self.reset_held(now, slot, about, reason);
                }
                Start::Ahead(..) => unreachable!("the position has been reached"),
            }
        }
    }

    /// The server's WAL has been flushed up to here: what lies beyond is no position of ours.
    pub(crate) fn judge_held(&mut self, now: Now, flushed: Lsn) {
        self.has_asked_flushed = false;
        let held: Vec<(EventId, u32)> = self.held.keys().copied().collect();
        for (id, slot) in held {
            let entry = self
                .held
                .get_mut(&(id, slot))
                .expect("it was there a moment ago");
            match entry.awaited {
                Awaited::Resumed => {}
                Awaited::Page(from) if from.is_beyond(flushed) => {
                    self.release_held(slot);
                    self.begin_page(now, slot, from.unknown());
                    continue;
                }
                // It waits for a position of the server's own, or for one that there is.
                Awaited::Live | Awaited::Reset(_) | Awaited::Page(_) => continue,
            }
            if id.lsn > flushed {
                if entry.about.is_none() {
                    // It was judged before, by a server that has lost this position since.
                    continue;
                }
                let about = self.release_held(slot);
                self.reset_held(now, slot, about, ResetReason::UnknownPosition);
            } else if let Some(about) = entry.about.take() {
                let mut out = Vec::new();
                self.write_connected(slot, &about, id, Verdict::Resumed, &mut out);
                self.say_opened(slot, Verdict::Resumed);
                self.append_pending(slot, &out);
                self.make_ready(slot);
            }
        }
    }

    /// How long a held stream has waited, in milliseconds.
    pub(crate) fn held_for_ms(&self, now: Now, slot: u32) -> u64 {
        let id = self.held_for.get(&slot);
        let held = id.and_then(|id| self.held.get(&(*id, slot)));
        held.map_or(0, |held| now.monotonic_ms.saturating_sub(held.since_ms))
    }

    /// Where a stream starts that wants to go on from somewhere. While the past is read, one that does
    /// not go on from a place in it waits for its end: what it would be sent happened before it came.
    fn start_of(&self, reading: Reading, resume: Resume, since: Option<EventId>) -> Start {
        let source = self
            .source
            .as_ref()
            .expect("streams are opened after the start");
        let start = self.start_in(source, reading, resume, since);
        let is_past = source.applied < source.caught_up;
        match start {
            Start::At(_, _, Verdict::Live) if is_past => {
                Start::Ahead(source.caught_up, Awaited::Live)
            }
            Start::Reset(reason) if is_past => {
                Start::Ahead(source.caught_up, Awaited::Reset(reason))
            }
            start => start,
        }
    }

    fn start_in(
        &self,
        source: &Source,
        reading: Reading,
        resume: Resume,
        since: Option<EventId>,
    ) -> Start {
        let id = match resume {
            Resume::Live => return Start::At(self.log.head(), source.applied, Verdict::Live),
            Resume::Unknown => return Start::Reset(ResetReason::UnknownPosition),
            Resume::After(id) => id,
        };
        if !source.lineage.admits(id) {
            return Start::Reset(ResetReason::UnknownPosition);
        }
        if id < source.floor || since.is_some_and(|since| id < since) {
            return Start::Reset(ResetReason::History);
        }
        if id > source.applied && HELD_IS_FOREIGN {
            return Start::Reset(ResetReason::UnknownPosition);
        }
        if id > source.applied {
            return Start::Ahead(id, Awaited::Resumed);
        }
        match self.log.cursor_after(reading, id) {
            Some(cursor) => Start::At(cursor, id, Verdict::Resumed),
            None => Start::Reset(ResetReason::History),
        }
    }

    fn open(&mut self, now: Now, slot: u32, cursor: u64, opening: Vec<u8>, verdict: Verdict) {
        let record = &mut self.table[slot];
        record.state = State::Behind;
        record.side = self.behind.insert(Behind::new(opening.into(), cursor)) as u32;
        self.set_deadline_of(now, slot, self.config.heartbeat_ms);
        self.say_opened(slot, verdict);
        self.make_ready(slot);
    }

    fn hold(
        &mut self,
        now: Now,
        slot: u32,
        id: EventId,
        opening: Vec<u8>,
        awaited: Awaited,
        about: Bytes,
    ) {
        let record = &mut self.table[slot];
        record.state = State::Held;
        record.side = self.behind.insert(Behind::new(opening.into(), 0)) as u32;
        self.set_deadline_of(now, slot, self.config.resume_wait_ms);
        let is_theirs = awaited == Awaited::Resumed;
        self.hold_for(now, slot, id, awaited, Some(about), is_theirs);
        self.make_ready(slot);
    }

    /// Puts a stream among those that wait for a position. Whether there is such a position at all is
    /// asked of the server, where it is the client that named it.
    pub(crate) fn hold_for(
        &mut self,
        now: Now,
        slot: u32,
        id: EventId,
        awaited: Awaited,
        about: Option<Bytes>,
        is_theirs: bool,
    ) {
        let held = HeldStream {
            awaited,
            about,
            since_ms: now.monotonic_ms,
        };
        self.held.insert((id, slot), held);
        self.held_for.insert(slot, id);
        if is_theirs && !std::mem::replace(&mut self.has_asked_flushed, true) {
            self.notices.push(Notice::Held);
        }
    }

    /// A held stream goes on from now, after a `reset`.
    pub(crate) fn reset_held(
        &mut self,
        now: Now,
        slot: u32,
        about: Option<Bytes>,
        reason: ResetReason,
    ) {
        let position = self.applied();
        let head = self.log.head();
        self.open_held(
            now,
            slot,
            head,
            about,
            position,
            Verdict::Reset,
            Some(reason),
        );
    }

    #[expect(
        clippy::too_many_arguments,
        reason = "one place for what four callers decide"
    )]
    fn open_held(
        &mut self,
        now: Now,
        slot: u32,
        cursor: u64,
        about: Option<Bytes>,
        position: EventId,
        verdict: Verdict,
        reset: Option<ResetReason>,
    ) {
        let mut out = Vec::new();
        if let Some(about) = about {
            self.write_connected(slot, &about, position, verdict, &mut out);
            self.say_opened(slot, verdict);
        }
        if let Some(reason) = reset {
            self.write_reset(reason, &mut out);
        }
        self.append_pending(slot, &out);
        let side = self.table[slot].side as usize;
        self.behind[side].cursor = cursor;
        self.expect_heartbeat(now, slot);
        self.make_ready(slot);
    }

    fn append_pending(&mut self, slot: u32, out: &[u8]) {
        let behind = &mut self.behind[self.table[slot].side as usize];
        behind.pending = [&behind.pending[..], out].concat().into();
    }

    fn say_opened(&mut self, slot: u32, verdict: Verdict) {
        self.table[slot].bits.set(Bits::OPENED, true);
        self.counters.opened += 1;
        self.notices.push(Notice::Opened {
            connection: self.table.id(slot),
            verdict,
        });
    }

    /// A grant that came too late gives its count back.
    fn give_back(&mut self, grant: &Grant) {
        if !grant.purpose.is_counted() {
            return;
        }
        let reason = wire::CloseReason::ClientGone;
        self.counters.closed[reason.index()] += 1;
        self.notices.push(Notice::Closed {
            connection: grant.connection,
            user: grant.user,
            scope: grant.scope,
            reason,
            open_ms: 0,
            events: 0,
            opened: false,
            is_page: grant.purpose != Purpose::Stream,
        });
    }
}
