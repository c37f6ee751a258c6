//! Pages of history: what happened since a place, as a JSON array, from this engine's own log.
//!
//! A page is granted like a stream, and has the rights of that moment. One that may wait for its first
//! event is a member of a class like a stream, with one record and nothing else; an event for its
//! class answers it. How the log is read backwards and beyond its evictions is in `log::recall`.

use bytes::Bytes;
use wire::http::{Fields, Refusal, RefusalCode, STREAM_VARY, response};
use wire::{CloseReason, EventId, Frame, Grant, Key, Lsn, PageRequest, PageSince};

use crate::admit::Awaited;
use crate::behind::Behind;
use crate::class::ClassKey;
use crate::driver::Watch;
use crate::limits::{LAST_WORDS_MS, PAGE_BYTES_MAX, PAGE_SCAN_MAX};
use crate::record::{Bits, State};
use crate::step::is_admitted;
use crate::time::Tick;
use crate::{Driver, Engine, Now};

/// What pages must have in common, beside scope and filter, to wait as one class.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct PageTerms {
    /// The fields that every answer has, each `name: value\r\n`.
    fields: Bytes,
    /// The most events.
    limit: u16,
}

/// From where a page was asked for, and from where on it may show anything at all.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct PageFrom {
    since: PageSince,
    /// The position of the membership.
    member_since: Option<EventId>,
}

impl PageFrom {
    /// Whether it names a position that no server has reached.
    pub(crate) fn is_beyond(self, flushed: Lsn) -> bool {
        matches!(self.since, PageSince::After(id) if id.lsn > flushed)
    }

    /// The same from a position that is none of ours.
    pub(crate) fn unknown(self) -> Self {
        Self {
            since: PageSince::Unknown,
            ..self
        }
    }
}

/// Where a page is read.
enum Place {
    /// Forwards, after this sequence, what was committed at this time or later.
    After { sequence: u64, timestamp_ms: i64 },
    /// Backwards from now.
    Newest,
    /// Nowhere yet: the log has not come to this position.
    Ahead(EventId),
}

/// What is on a page.
struct Page {
    frames: Vec<Frame>,
    /// Something after the place it was to begin at is not shown, and was not asked to be left out.
    is_reset: bool,
    /// The position up to which nothing is missing.
    position: EventId,
    /// It ends before the newest event.
    is_cut: bool,
}

impl Engine {
    /// Takes a page in, and answers it, or lets it wait.
    pub(crate) fn admit_page(
        &mut self,
        now: Now,
        slot: u32,
        grant: &Grant,
        request: PageRequest,
        driver: &mut dyn Driver,
    ) {
        let terms = PageTerms {
            fields: grant.head.clone(),
            limit: request.limit,
        };
        let key = ClassKey {
            scope: grant.scope,
            filter: grant.filter.clone(),
            format: grant.format,
            page: Some(Box::new(terms)),
        };
        self.attach(slot, key);
        let mut expires = Self::expiry(now, grant.expires_ms);
        if request.wait_ms > 0 {
            // What comes first ends the wait; whose session has ended is told so when it asks again.
            expires = expires.min(Tick::after(now, u64::from(request.wait_ms)));
        }
        let record = &mut self.table[slot];
        record.user = grant.user.unwrap_or(Key::NOBODY);
        record.session = grant.session.map_or(0, Key::hash64);
        record.opened = Tick::at(now.monotonic_ms);
        record.expires = expires;
        record.events = 0;
        record.state = State::Behind;
        record.side = self.behind.insert(Behind::new(Bytes::new(), 0)) as u32;
        record.bits.set(Bits::PAGE, true);
        record.bits.set(Bits::WARNED, true);
        record.bits.set(Bits::GRANTED, grant.purpose.is_counted());
        if grant.user.is_some() {
            self.users.insert(&mut self.table, slot);
        }
        self.counters.streams += 1;
        self.table.set_deadline(slot, expires);
        driver.watch(self.table.handle(slot), Watch::Hangup);
        let from = PageFrom {
            since: request.since,
            member_since: grant.since,
        };
        self.begin_page(now, slot, from);
    }

    /// Reads a page from where it was asked for: it is answered, or waits.
    pub(crate) fn begin_page(&mut self, now: Now, slot: u32, from: PageFrom) {
        match self.place_of_page(now, slot, from.since) {
            Place::Ahead(id) => self.hold_page(now, slot, id, from),
            place => {
                let page = self.read_page(now, slot, place, from);
                if self.may_wait(now, slot, &page) {
                    self.behind[self.table[slot].side as usize].cursor = self.log.head();
                    self.make_ready(slot);
                } else {
                    self.answer_page(now, slot, &page);
                }
            }
        }
    }

    /// What a page that waits does in its turn: it is answered, or goes on waiting. Returns how many bytes
    /// were written for it alone.
    pub(crate) fn serve_page(&mut self, now: Now, slot: u32) -> usize {
        let record = &self.table[slot];
        if let Some(reason) = record.bye {
            self.refuse_page(now, slot, reason);
            return 0;
        }
        if record.bits.has(Bits::PARKED) {
            return 0;
        }
        let sequence = self.behind[record.side as usize].cursor;
        let may_share = record.reset.is_none() && !self.has_expired(now, slot);
        if let Some((events, response)) = self.shared_answer(slot, sequence).filter(|_| may_share) {
            self.send_page(now, slot, events, response);
            return 0;
        }
        let mut page = match record.reset {
            Some(reason) => {
                self.counters.resets[reason.index()] += 1;
                self.empty_page(self.applied())
            }
            // The session may have ended with the wait: what came then is for whoever asks again.
            None if self.has_expired(now, slot) => {
                self.empty_page(self.place_before(slot, sequence))
            }
            None => self.collect(slot, sequence, i64::MIN, None),
        };
        page.is_reset =
            record.reset.is_some() || self.log.has_lost(self.reading_of(slot), sequence);
        if self.may_wait(now, slot, &page) {
            self.behind[self.table[slot].side as usize].cursor = self.log.head();
            self.proceed(now, slot);
            return 0;
        }
        let (events, response) = self.write_page(slot, &page);
        if may_share {
            self.share_answer(slot, sequence, events, &response);
        }
        let bytes = response.len();
        self.send_page(now, slot, events, response);
        bytes
    }

    /// Events for these waiting pages: each leaves its class where that stood before them, and is
    /// answered in its turn.
    pub(crate) fn wake_pages(&mut self, members: &[(u32, u32)]) {
        for members in members.chunk_by(|one, next| one.1 == next.1) {
            let class = &self.classes[members[0].1 as usize];
            if class.key.page.is_none() {
                continue;
            }
            let position = class.position;
            for (slot, _) in members {
                self.pull(*slot);
                self.behind[self.table[*slot].side as usize].cursor = position;
                self.make_ready(*slot);
            }
        }
    }

    /// The time of a page that waits is over.
    pub(crate) fn end_wait(&mut self, now: Now, slot: u32) {
        match self.table[slot].state {
            State::Held => self.end_held_wait(now, slot),
            state => {
                if state == State::InStep {
                    // Its class may have been shown less than there is.
                    self.pull(slot);
                }
                self.table[slot].bits.set(Bits::PARKED, false);
                self.make_ready(slot);
            }
        }
    }

    fn end_held_wait(&mut self, now: Now, slot: u32) {
        let id = self.held_for[&slot];
        match self.held[&(id, slot)].awaited() {
            // It has everything up to the position that it named.
            Awaited::Page(from) if from.since == PageSince::After(id) => {
                let page = self.empty_page(id);
                self.answer_page(now, slot, &page);
            }
            // It waits for the end of the past: what there was is not known yet.
            _ => self.refuse_page(now, slot, CloseReason::Lagging),
        }
    }

    /// Answers a page that cannot be had.
    pub(crate) fn refuse_page(&mut self, now: Now, slot: u32, reason: CloseReason) {
        let refusal = refusal_of(reason);
        self.counters.refusals[refusal.code.index()] += 1;
        let fields = self.terms_of(slot).fields.clone();
        let fields = std::str::from_utf8(&fields).expect("the control thread writes UTF-8");
        self.respond_page(now, slot, refusal.response(fields), reason);
    }

    fn hold_page(&mut self, now: Now, slot: u32, id: EventId, from: PageFrom) {
        let is_theirs = matches!(from.since, PageSince::After(_));
        let wait_ms = self.config.resume_wait_ms;
        let deadline = Tick::after(now, wait_ms).min(self.table[slot].expires);
        self.table.set_deadline(slot, deadline);
        self.table[slot].state = State::Held;
        self.hold_for(now, slot, id, Awaited::Page(from), None, is_theirs);
    }

    fn place_of_page(&self, now: Now, slot: u32, since: PageSince) -> Place {
        let reading = self.reading_of(slot);
        let source = self.source.as_ref();
        let source = source.expect("pages are read after the start");
        let is_past = source.applied < source.caught_up;
        match since {
            PageSince::After(id) if source.lineage.admits(id) && id > source.applied => {
                Place::Ahead(id)
            }
            PageSince::After(id) if source.lineage.admits(id) && id >= source.floor => {
                Place::After {
                    sequence: self.log.recall_after(reading, id),
                    timestamp_ms: i64::MIN,
                }
            }
            _ if is_past => Place::Ahead(source.caught_up),
            PageSince::At(timestamp_ms) => {
                let wall_ms = i64::try_from(now.wall_ms).unwrap_or(i64::MAX);
                // A time that lies ahead is taken for now: a page shows what comes next.
                let timestamp_ms = timestamp_ms.min(wall_ms);
                Place::After {
                    sequence: self.log.recall_at(reading, timestamp_ms),
                    timestamp_ms,
                }
            }
            PageSince::After(_) | PageSince::Newest | PageSince::Unknown => Place::Newest,
        }
    }

    fn read_page(&self, now: Now, slot: u32, place: Place, from: PageFrom) -> Page {
        let mut page = match place {
            Place::After {
                sequence,
                timestamp_ms,
            } => self.collect(slot, sequence, timestamp_ms, from.member_since),
            Place::Newest | Place::Ahead(_) => self.collect_newest(slot, from.member_since),
        };
        page.is_reset |= self.has_lost_since(now, slot, from, &page);
        page
    }

    /// Whether something is missing between the place that was named and the page's position.
    fn has_lost_since(&self, now: Now, slot: u32, from: PageFrom, page: &Page) -> bool {
        let reading = self.reading_of(slot);
        let filter = &self.classes[self.table[slot].class as usize].key.filter;
        let source = self.source.as_ref();
        let source = source.expect("pages are read after the start");
        match from.since {
            PageSince::Unknown => true,
            PageSince::Newest => page.frames.first().is_some_and(|oldest| {
                let id = oldest.id();
                self.log.recall_lost(reading, filter, |lost| lost.id > id)
            }),
            PageSince::After(id) => {
                !source.lineage.admits(id)
                    || id < source.floor
                    || from.member_since.is_some_and(|since| id < since)
                    || self.log.recall_lost(reading, filter, |lost| lost.id > id)
            }
            PageSince::At(timestamp_ms) => {
                let wall_ms = i64::try_from(now.wall_ms).unwrap_or(i64::MAX);
                let timestamp_ms = timestamp_ms.min(wall_ms);
                timestamp_ms <= source.floor_ms
                    || self
                        .log
                        .recall_lost(reading, filter, |lost| lost.timestamp_ms >= timestamp_ms)
            }
        }
    }

    /// The events after a sequence that the page admits, oldest first.
    fn collect(
        &self,
        slot: u32,
        mut sequence: u64,
        timestamp_ms: i64,
        member_since: Option<EventId>,
    ) -> Page {
        let key = &self.classes[self.table[slot].class as usize].key;
        let reading = self.reading_of(slot);
        let mut page = self.empty_page(self.applied());
        let (mut bytes, mut scanned) = (0, 0);
        let mut passed = None;
        while let Some((next, frame)) = self.log.recall_next(reading, sequence) {
            if scanned == PAGE_SCAN_MAX {
                page.is_cut = true;
                break;
            }
            scanned += 1;
            if is_admitted(key, frame) && frame.timestamp_ms() >= timestamp_ms {
                if member_since.is_some_and(|since| frame.id() < since) {
                    page.is_reset = true;
                } else if self.is_full(slot, &page, bytes + frame.json().len()) {
                    page.is_cut = true;
                    break;
                } else {
                    bytes += frame.json().len();
                    page.frames.push(frame.clone());
                }
            }
            passed = Some(frame.id());
            sequence = next;
        }
        if page.is_cut {
            page.position = passed.expect("a page is not full before its first event");
        }
        page
    }

    /// The newest events that the page admits, oldest first.
    fn collect_newest(&self, slot: u32, member_since: Option<EventId>) -> Page {
        let key = &self.classes[self.table[slot].class as usize].key;
        let reading = self.reading_of(slot);
        let mut page = self.empty_page(self.applied());
        let (mut bytes, mut scanned) = (0, 0);
        let mut sequence = u64::MAX;
        while let Some((previous, frame)) = self.log.recall_previous(reading, sequence) {
            if member_since.is_some_and(|since| frame.id() < since) {
                break;
            }
            if scanned == PAGE_SCAN_MAX {
                // There may be older ones, which nobody asked to leave out.
                page.is_reset = true;
                break;
            }
            scanned += 1;
            if is_admitted(key, frame) {
                if self.is_full(slot, &page, bytes + frame.json().len()) {
                    break;
                }
                bytes += frame.json().len();
                page.frames.push(frame.clone());
            }
            sequence = previous;
        }
        page.frames.reverse();
        page
    }

    /// Whether a page that would have so many bytes has no room for another event.
    fn is_full(&self, slot: u32, page: &Page, bytes: usize) -> bool {
        let count = page.frames.len();
        count >= usize::from(self.terms_of(slot).limit) || (count > 0 && bytes > PAGE_BYTES_MAX)
    }

    /// The position before the first event after a sequence, admitted or not.
    fn place_before(&self, slot: u32, sequence: u64) -> EventId {
        let next = self.log.recall_next(self.reading_of(slot), sequence);
        next.map_or(self.applied(), |(_, frame)| EventId {
            index: frame.id().index.saturating_sub(1),
            ..frame.id()
        })
    }

    fn empty_page(&self, position: EventId) -> Page {
        Page {
            frames: Vec::new(),
            is_reset: false,
            position,
            is_cut: false,
        }
    }

    fn may_wait(&self, now: Now, slot: u32, page: &Page) -> bool {
        let is_empty = page.frames.is_empty() && !page.is_cut && !page.is_reset;
        is_empty && self.table[slot].bits.has(Bits::GRANTED) && !self.has_expired(now, slot)
    }

    fn answer_page(&mut self, now: Now, slot: u32, page: &Page) {
        let (events, response) = self.write_page(slot, page);
        self.send_page(now, slot, events, response);
    }

    /// The answer, and how many events it has.
    fn write_page(&self, slot: u32, page: &Page) -> (u32, Bytes) {
        let mut fields = Fields::new();
        fields.push("content-type", "application/json");
        fields.push("cache-control", "no-store");
        fields.push("vary", STREAM_VARY);
        let verdict = if page.is_reset { "reset" } else { "complete" };
        fields.push("x-tailrace-resume", verdict);
        fields.push("x-tailrace-position", &page.position.to_string());
        let theirs = &self.terms_of(slot).fields;
        fields.append(std::str::from_utf8(theirs).expect("the control thread writes UTF-8"));
        let mut body = vec![b'['];
        for (at, frame) in page.frames.iter().enumerate() {
            if at > 0 {
                body.push(b',');
            }
            body.extend_from_slice(frame.json());
        }
        body.push(b']');
        let response = response(200, fields.as_str(), &body);
        (page.frames.len() as u32, response)
    }

    fn send_page(&mut self, now: Now, slot: u32, events: u32, response: Bytes) {
        self.counters.pages += 1;
        self.table[slot].events = events;
        self.respond_page(now, slot, response, CloseReason::Done);
    }

    fn respond_page(&mut self, now: Now, slot: u32, response: Bytes, reason: CloseReason) {
        self.leave_stream(now, slot, reason);
        let record = &mut self.table[slot];
        record.state = State::Finishing;
        let behind = &mut self.behind[record.side as usize];
        behind.pending = response;
        self.table
            .set_deadline(slot, Tick::after(now, LAST_WORDS_MS));
        self.make_ready(slot);
    }

    fn terms_of(&self, slot: u32) -> &PageTerms {
        let key = &self.classes[self.table[slot].class as usize].key;
        key.page.as_deref().expect("only pages are asked")
    }
}

/// What whoever waits for a page is told where its right or the node ends first.
fn refusal_of(reason: CloseReason) -> Refusal {
    match reason {
        CloseReason::SessionExpired | CloseReason::SessionRevoked => Refusal::new(
            RefusalCode::Unauthenticated,
            "the session has ended; sign in again",
        ),
        CloseReason::MembershipRevoked | CloseReason::OrganizationDeleted => Refusal::new(
            RefusalCode::NotAMember,
            "the user is not a member of this organisation, or there is none",
        ),
        CloseReason::Draining => Refusal::new(RefusalCode::Draining, "the node is about to stop"),
        CloseReason::FeedStale | CloseReason::Lagging => Refusal::new(
            RefusalCode::NotReady,
            "the node has not caught up with PostgreSQL yet",
        ),
        CloseReason::Replaced => Refusal::new(
            RefusalCode::TooManyConnections,
            "a newer connection of the same user took its place",
        ),
        _ => Refusal::new(RefusalCode::Unavailable, "ask again in some seconds"),
    }
}
