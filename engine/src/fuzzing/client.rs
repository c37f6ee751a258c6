//! What a client of a stream is to be told, and whether it is: from a list of all frames, by rules that
//! know nothing of logs, classes and cursors. What has to come in time, and when it may end, is in `ends`.

mod ends;

use wire::{CloseReason, EventId, Format, Frame, Key};

use super::block::Block;
use super::past::Past;
use super::reader::{Reader, Wants};
use super::standing::Standing;
use crate::driver::Verdict;

/// As what a client came.
pub(super) struct Came {
    pub(super) reader: Reader,
    pub(super) format: Format,
    /// The position of its membership.
    pub(super) since: Option<EventId>,
    /// By what its session is revoked; a service key has none.
    pub(super) session: Option<Key>,
    /// In which tick its session ends.
    pub(super) expires: Option<u64>,
    /// Who it is, by the number of the script.
    pub(super) who: usize,
    /// When it came, in milliseconds.
    pub(super) at_ms: u64,
}

/// A stream, as its client knows it.
pub(super) struct Client {
    pub(super) came: Came,
    pub(super) standing: Standing,
    /// Where the last gap ended that it lived through: nothing after it comes before a `reset`.
    pub(super) floor: Option<EventId>,
    /// The last id it was told.
    pub(super) last_id: Option<EventId>,
    /// How much of what it received has been read, and how much there was when that was last looked at.
    read: usize,
    seen: usize,
    /// Its places in the list of all frames: from the first to the last at which it can stand. They
    /// differ where a subscription changed, since nobody sees frames that are not for them go by.
    places: Option<(usize, usize)>,
    /// Where it began, or began anew: it has everything up to here, and so also what another node was
    /// faster with and is only committed here after it came.
    start: Option<EventId>,
    /// Its `connected` event said `reset`, which has not come yet.
    owes_reset: bool,
    /// What it subscribed to, one after the other, and of which of those it was told.
    pub(super) asked: Vec<Wants>,
    told: usize,
    /// The end of its session was not told yet.
    is_unwarned: bool,
    /// Control events that came, by name, and resets by their reason: what is counted of a script.
    pub(super) heard: Vec<&'static str>,
    /// How many ends that have moved since may still be told.
    stray_warnings: u32,
    /// Events it has whole, and when it had the last one or came, in milliseconds.
    pub(super) events: u32,
    last_event_ms: u64,
    /// When it last received anything, in milliseconds.
    heard_ms: u64,
    /// What control was told of its beginning and of its end.
    pub(super) opened: Option<Verdict>,
    pub(super) closed: Option<CloseReason>,
    /// It stood where all of its class stand when everything had come to rest, and was not disturbed since.
    pub(super) is_in_step: bool,
    has_ended: bool,
}

impl Client {
    /// A client that has received nothing.
    pub(super) fn new(came: Came, standing: Standing) -> Self {
        Self {
            floor: None,
            last_id: None,
            read: 0,
            seen: 0,
            places: None,
            start: None,
            owes_reset: false,
            asked: vec![came.reader.wants.clone()],
            told: 0,
            is_unwarned: came.expires.is_some(),
            stray_warnings: 0,
            heard: Vec::new(),
            events: 0,
            last_event_ms: came.at_ms,
            heard_ms: came.at_ms,
            opened: None,
            closed: None,
            is_in_step: false,
            has_ended: false,
            came,
            standing,
        }
    }

    /// Reads on in all that it has received by now.
    pub(super) fn read_on(&mut self, received: &[u8], past: &Past, now_ms: u64) {
        let seen = std::mem::replace(&mut self.seen, received.len());
        if received.len() > seen {
            self.heard_ms = now_ms;
        }
        if self.read == 0 {
            let end = received.windows(4).position(|bytes| bytes == b"\r\n\r\n");
            let Some(end) = end else { return };
            assert!(received.starts_with(b"HTTP/1.1 200 OK\r\n"));
            self.read = end + 4;
        }
        loop {
            let rest = &received[self.read..];
            let end = rest.windows(2).position(|bytes| bytes == b"\n\n");
            let Some(end) = end else { return };
            // What was half sent at an earlier time is of that time.
            let is_new = self.read >= seen;
            let block = &rest[..end + 2];
            self.read += block.len();
            let block = std::str::from_utf8(block).expect("events are UTF-8");
            self.take(&Block::of(block), past, now_ms, is_new);
        }
    }

    fn take(&mut self, block: &Block<'_>, past: &Past, now_ms: u64, is_new: bool) {
        assert!(!self.has_ended, "after its end: {}", block.text);
        if block.text.starts_with("retry: ") && block.data.is_empty() {
            return;
        }
        if let Some(id) = block.id {
            let is_back = self.last_id.is_some_and(|last| id < last);
            assert!(!is_back, "{id} after {:?}", self.last_id);
            let is_first = block.event == Some("connected");
            assert!(is_first || id <= past.applied, "{id} was not reached");
        }
        match (block.event, block.id) {
            (Some("connected"), Some(id)) => self.connect(id, block, past),
            (Some("reset"), Some(id)) => self.reset(id, block, past),
            (Some("heartbeat"), Some(id)) => self.advance(id, past),
            (Some("subscription"), None) => self.subscribe(block.data, past),
            (Some("auth"), None) => self.warn(now_ms),
            (Some("bye"), None) => self.end(block),
            (_, Some(id)) => {
                let has_expired = is_new && self.has_expired(now_ms);
                assert!(!has_expired, "{id} after the end of its session");
                self.receive(id, block.text, past);
                self.last_event_ms = now_ms;
            }
            _ => panic!("no event of ours: {}", block.text),
        }
        self.last_id = block.id.or(self.last_id);
    }

    fn connect(&mut self, id: EventId, block: &Block<'_>, past: &Past) {
        assert!(self.places.is_none(), "connected twice");
        let due = self.standing.begins();
        let (verdict, start) = due.expect("connected before that could be known");
        assert_eq!(
            (block.member("resume"), id),
            (Some(verdict.as_str()), start)
        );
        assert_eq!(self.opened, Some(verdict), "control was told otherwise");
        self.owes_reset = verdict == Verdict::Reset;
        let place = past.place_after(id);
        self.places = Some((place, place));
        self.start = Some(id);
    }

    fn reset(&mut self, id: EventId, block: &Block<'_>, past: &Past) {
        let (first, _) = self.places(past);
        let reason = block.member("reason").expect("a reset says why");
        self.heard.push(self.standing.take_reset(id, reason));
        let place = past.place_after(id);
        assert!(place >= first, "a reset at {id} goes back");
        self.places = Some((place, place));
        self.start = Some(id);
        self.owes_reset = false;
        self.floor = self.floor.filter(|floor| *floor > id);
    }

    /// It has everything up to here.
    fn advance(&mut self, id: EventId, past: &Past) {
        let (first, last) = self.places(past);
        // One that was half sent when the gap came is of before it.
        assert!(
            self.floor.is_none_or(|floor| id <= floor),
            "a heartbeat at {id} before the reset"
        );
        let complete = past.place_after(id);
        let next = self.came.reader.next_for(&past.frames, last);
        assert!(
            next >= complete,
            "a heartbeat at {id}, and {} is missing",
            past.frames[next].id()
        );
        self.places = Some((first.max(complete), last.max(complete)));
        self.heard.push("heartbeat");
    }

    fn subscribe(&mut self, data: &str, past: &Past) {
        let (first, last) = self.places(past);
        let last = self.came.reader.next_for(&past.frames, last);
        let wants = Wants::told(data).expect("a subscription names channels and types");
        let later = self.asked.iter().skip(self.told + 1);
        let skipped = later.clone().position(|asked| *asked == wants);
        let skipped = skipped.expect("a subscription that it did not ask for");
        self.told += 1 + skipped;
        self.came.reader.wants = wants;
        self.places = Some((first, last));
    }

    fn warn(&mut self, now_ms: u64) {
        self.heard.push("auth");
        if self.is_unwarned && self.is_near_its_end(now_ms) {
            self.is_unwarned = false;
        } else {
            // It was on its way when the end moved.
            let before = self.stray_warnings.checked_sub(1);
            self.stray_warnings = before.expect("it was told of its end without need");
        }
    }

    fn end(&mut self, block: &Block<'_>) {
        self.has_ended = true;
        let reason = self.closed.expect("control is told of every end");
        assert_eq!(block.member("reason"), Some(reason.as_str()));
    }

    fn receive(&mut self, id: EventId, text: &str, past: &Past) {
        let (first, last) = self.places(past);
        let at = past.place_of(id, &self.came.reader, first);
        let frame = &past.frames[at];
        let mut expected = Vec::new();
        frame.write(self.came.format, &mut expected);
        assert_eq!(text.as_bytes(), expected, "another frame's bytes");
        assert!(self.came.reader.is_for(frame), "{id} is not for it");
        assert!(!self.owes_reset, "{id} before the reset it was promised");
        assert!(
            self.floor.is_none_or(|floor| id <= floor),
            "{id} beyond a gap of which it was not told"
        );
        assert!(
            self.came.reader.revoked_at.is_none_or(|end| at < end),
            "{id} after its right ended"
        );
        assert!(
            self.came.since.is_none_or(|since| id >= since),
            "{id} is too old"
        );
        assert!(at >= first, "{id} again, or out of order");
        let next = self.came.reader.next_for(&past.frames, last.min(at));
        assert!(
            next >= at,
            "{} is missing before {id}",
            past.frames[next].id()
        );
        self.places = Some((at + 1, at + 1));
        self.events += 1;
    }

    /// Whether it is in the middle of something.
    pub(super) fn is_half_sent(&self) -> bool {
        self.read < self.seen
    }

    /// Whether that is a control event.
    pub(super) fn is_told_half(&self, received: &[u8]) -> bool {
        self.read > 0 && received[self.read..].starts_with(b"event: ")
    }

    /// Whether it was told of its end.
    pub(super) fn has_ended(&self) -> bool {
        self.has_ended
    }

    /// Whether a frame is its user's own, so that it leaves its class for it.
    pub(super) fn is_own(&self, frame: &Frame) -> bool {
        let is_users = matches!(frame.audience().topic, wire::Topic::User(_));
        is_users && self.came.reader.reads(frame.audience().topic)
    }

    fn places(&self, past: &Past) -> (usize, usize) {
        let (first, last) = self.places.expect("nothing comes before connected");
        let start = self.start.map_or(0, |start| past.place_after(start));
        (first.max(start), last.max(start))
    }
}
