//! Pages of history: what happened since a place, as a JSON array, from this engine's own log.
//!
//! A page is granted like a stream, and has the rights of that moment. One that may wait for its first
//! event is a member of a class like a stream, with one record and nothing else; an event for its
//! class answers it. What is on a page is in `read`.

mod read;

use bytes::Bytes;
use wire::http::{Fields, Refusal, RefusalCode, STREAM_VARY, response};
use wire::{CloseReason, EventId, Grant, Key, Lsn, PageRequest, PageSince};

use crate::admit::Awaited;
use crate::behind::Behind;
use crate::class::ClassKey;
use crate::closing::no_room_for_response;
use crate::driver::Watch;
use crate::limits::LAST_WORDS_MS;
use crate::record::{Bits, State};
use crate::responses::is_long;
use crate::time::Tick;
use crate::{Driver, Engine, Now};
use read::{Page, Place};

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
        let record = &self.table[slot];
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
        let bytes = response.len();
        match self.responses.admit(response) {
            Some(response) => {
                if may_share {
                    self.share_answer(slot, sequence, events, &response);
                }
                self.send_page(now, slot, events, response);
            }
            None => self.refuse_page_for_now(now, slot),
        }
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
        self.refuse_page_with(now, slot, &refusal_of(reason), reason);
    }

    /// Answers a page for which there is no room while others do not take theirs.
    fn refuse_page_for_now(&mut self, now: Now, slot: u32) {
        self.refuse_page_with(now, slot, &no_room_for_response(), CloseReason::Done);
    }

    fn refuse_page_with(&mut self, now: Now, slot: u32, refusal: &Refusal, reason: CloseReason) {
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

    fn may_wait(&self, now: Now, slot: u32, page: &Page) -> bool {
        let is_empty = page.frames.is_empty() && !page.is_cut && !page.is_reset;
        is_empty && self.table[slot].bits.has(Bits::GRANTED) && !self.has_expired(now, slot)
    }

    fn answer_page(&mut self, now: Now, slot: u32, page: &Page) {
        let (events, response) = self.write_page(slot, page);
        match self.responses.admit(response) {
            Some(response) => self.send_page(now, slot, events, response),
            None => self.refuse_page_for_now(now, slot),
        }
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
        behind.is_long = is_long(&response);
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
