//! A page of history: what was asked for, when it is to be answered, and what the answer says. Whether it
//! is right is in `verdict`.

mod verdict;

use wire::{CloseReason, EventId, Key, PageSince};

use super::past::Past;
use super::reader::Reader;
use super::standing::HELD_MS;
use crate::limits;

/// What was asked for.
pub(super) struct Asked {
    pub(super) since: PageSince,
    /// The position of the membership.
    pub(super) member_since: Option<EventId>,
    pub(super) limit: u16,
    pub(super) wait_ms: u64,
    /// When, in milliseconds of the monotonic clock, and since 1970.
    pub(super) at_ms: u64,
    pub(super) wall_ms: u64,
}

/// A page that was asked for.
pub(super) struct Page {
    pub(super) reader: Reader,
    /// By what its session is revoked; a service key has none.
    pub(super) session: Option<Key>,
    asked: Asked,
    /// How many frames were committed then, and what was applied.
    came_at: usize,
    applied: EventId,
    /// Its place lies ahead: this position has to be reached first; and where it named it itself, this.
    ahead: Option<EventId>,
    named: Option<EventId>,
    /// The place that it named was one of ours, and in the log's reach.
    is_known: bool,
    /// The first frame that it may show at all, and nothing before it was committed later.
    floor_place: usize,
    floor_ms: i64,
    /// Changes were missed since, or it may have been answered before what is known of it came to be: all
    /// that is known is for whom it is.
    is_vague: bool,
    /// Why it may be refused.
    ends: Vec<CloseReason>,
    /// What control was told of its end, and of how many events.
    pub(super) closed: Option<(CloseReason, u32)>,
    /// The answer came, and was looked at.
    pub(super) is_read: bool,
}

/// What a page says.
#[derive(Debug)]
struct Said<'a> {
    verdict: &'a str,
    position: EventId,
    /// The places of its events in the list of all frames, in the order in which they are shown.
    shown: Vec<usize>,
    /// It may end before what there was.
    may_be_cut: bool,
}

impl Page {
    /// A page that is asked for now.
    pub(super) fn new(reader: Reader, session: Option<Key>, asked: Asked, past: &Past) -> Self {
        let named = match asked.since {
            PageSince::After(id) => Some(id).filter(|id| past.lineage.admits(*id)),
            _ => None,
        };
        let is_known = named.is_some_and(|id| past.is_known(id));
        let ahead = named.filter(|id| *id > past.applied);
        let caught_up = Some(past.caught_up).filter(|_| past.is_read_anew() && !is_known);
        Self {
            reader,
            session,
            asked,
            came_at: past.frames.len(),
            applied: past.applied,
            ahead: ahead.or(caught_up),
            named: ahead,
            is_known,
            floor_place: past.floor_place,
            floor_ms: past.floor_ms,
            is_vague: false,
            ends: Vec::new(),
            closed: None,
            is_read: false,
        }
    }

    /// It may be refused from now on.
    pub(super) fn on_end(&mut self, reason: CloseReason) {
        self.ends.push(reason);
    }

    /// Whether control may be told of such an end.
    pub(super) fn has_cause(&self, reason: CloseReason, now_ms: u64) -> bool {
        reason == CloseReason::Done
            || reason == CloseReason::Lagging && self.has_waited(now_ms)
            || self.ends.contains(&reason)
    }

    /// When it was asked for, in milliseconds.
    pub(super) fn asked_ms(&self) -> u64 {
        self.asked.at_ms
    }

    /// Changes were missed.
    pub(super) fn on_gap(&mut self) {
        self.is_vague = true;
    }

    /// The server has flushed its log up to here: what lies beyond is nobody's position.
    pub(super) fn on_flushed(&mut self, flushed: wire::Lsn, past: &Past, now_ms: u64) {
        let is_beyond = matches!(self.asked.since, PageSince::After(id) if id.lsn > flushed);
        if is_beyond && self.is_held(past) {
            self.asked.since = PageSince::Unknown;
            self.is_known = false;
            // Its time may have been over before.
            match self.has_waited(now_ms) {
                true => self.is_vague = true,
                false => self.ahead = Some(past.caught_up).filter(|_| past.is_read_anew()),
            }
        }
    }

    fn is_held(&self, past: &Past) -> bool {
        // The stream of changes may have started again, with more of the past to be read.
        let is_held = |id| id > past.applied || (!self.is_known && past.may_be_waited_for());
        self.ahead.is_some_and(is_held)
    }

    /// Whether it is to be answered by now, whatever its wait: an event for it is there.
    pub(super) fn is_due(&self, past: &Past) -> bool {
        let from = match self.asked.since {
            PageSince::After(id) if self.is_known => past.place_after(id).max(self.came_at),
            PageSince::At(_) => past.frames.len(),
            _ => self.came_at,
        };
        let is_there = |at: usize| !past.is_gone(at) && self.reader.is_for(&past.frames[at]);
        let has_event = (from..past.frames.len()).any(is_there);
        let is_over = self.reader.revoked_at.is_some();
        let is_due = has_event || is_over || self.asked.wait_ms == 0;
        is_due && !self.is_held(past) && !self.is_vague
    }

    /// Reads the answer, once it is there whole. Returns what it is, to be counted.
    pub(super) fn read(
        &mut self,
        received: &[u8],
        past: &Past,
        now_ms: u64,
    ) -> Option<&'static str> {
        let end = received.windows(4).position(|bytes| bytes == b"\r\n\r\n");
        let end = end.filter(|_| !self.is_read)?;
        let (head, body) = received.split_at(end + 4);
        let head = std::str::from_utf8(head).expect("a head is text");
        let field = |name: &str| head.lines().find_map(|line| line.strip_prefix(name));
        let length = field("content-length: ").and_then(|text| text.parse().ok());
        let length: usize = length.expect("an answer says how long it is");
        if body.len() < length {
            return None;
        }
        assert_eq!(body.len(), length, "more than the answer says");
        self.is_read = true;
        // A time that lies ahead is taken for now, and that is when it was read.
        self.is_vague |= match self.asked.since {
            PageSince::At(ms) => {
                let is_later = self.ahead.is_some() && ms > self.asked.wall_ms as i64;
                is_later || !past.is_wall_true
            }
            _ => false,
        };
        let Some(verdict) = field("x-tailrace-resume: ") else {
            self.check_refusal(head, now_ms);
            return Some("a page refused");
        };
        let position = field("x-tailrace-position: ").and_then(|text| text.parse().ok());
        let shown = self.shown(body, past);
        let is_full = shown.len() >= usize::from(self.asked.limit)
            || body.len() + PIECE_BYTES_MAX > limits::PAGE_BYTES_MAX;
        let said = Said {
            verdict,
            position: position.expect("a page has a position"),
            may_be_cut: is_full && !shown.is_empty(),
            shown,
        };
        self.check(&said, past, now_ms);
        Some(match (said.verdict, said.shown.first()) {
            ("reset", _) => "a page with a reset",
            (_, None) => "an empty page",
            (_, Some(first)) if *first >= self.came_at => "a page that waited",
            (_, Some(_)) => "a page",
        })
    }

    /// The places of the events in the list of all frames, in the order in which they are shown.
    fn shown(&self, body: &[u8], past: &Past) -> Vec<usize> {
        let inside = body.strip_prefix(b"[");
        let inside = inside.and_then(|rest| rest.strip_suffix(b"]"));
        let mut rest = inside.expect("a page is an array");
        let mut places: Vec<usize> = Vec::new();
        while !rest.is_empty() {
            if !places.is_empty() {
                rest = rest.strip_prefix(b",").expect("a comma between two");
            }
            let id = rest.strip_prefix(b"{\"id\":\"");
            let id = id.expect("an event has an id");
            let id = id.split(|byte| *byte == b'"').next().unwrap_or_default();
            let id = std::str::from_utf8(id).ok().and_then(|id| id.parse().ok());
            let from = places.last().map_or(0, |last| last + 1);
            let at = past.place_of(id.expect("an id of ours"), &self.reader, from);
            let json = past.frames[at].json();
            rest = rest.strip_prefix(json).expect("its very bytes");
            places.push(at);
        }
        places
    }

    /// Whether it may have waited for its place for as long as it may.
    fn has_waited(&self, now_ms: u64) -> bool {
        let wait_ms = match self.asked.wait_ms {
            0 => HELD_MS,
            wait_ms => wait_ms.min(HELD_MS),
        };
        self.ahead.is_some() && now_ms >= self.asked.at_ms + wait_ms
    }

    fn check_refusal(&self, head: &str, now_ms: u64) {
        assert!(!head.starts_with("HTTP/1.1 200 "), "{head}");
        let has_cause =
            self.has_waited(now_ms) || !self.ends.is_empty() || self.reader.revoked_at.is_some();
        assert!(has_cause, "refused without a cause: {head}");
    }
}

/// More than any event here has, in bytes.
const PIECE_BYTES_MAX: usize = 80_000;
