//! What a page of history is to say, and whether it does.

use wire::{EventId, Frame, Key, PageSince};

use super::client::{Reader, place_after};

/// A page that was asked for.
pub(super) struct Page {
    pub(super) reader: Reader,
    /// By what its session is revoked; a service key has none.
    pub(super) session: Option<Key>,
    since: PageSince,
    limit: u16,
    /// The answer came, and was looked at.
    is_read: bool,
}

impl Page {
    pub(super) fn new(reader: Reader, session: Option<Key>, since: PageSince, limit: u16) -> Self {
        Self {
            reader,
            session,
            since,
            limit,
            is_read: false,
        }
    }

    /// Reads the answer, once it is there whole.
    pub(super) fn read(&mut self, received: &[u8], committed: &[Frame]) {
        let end = received.windows(4).position(|bytes| bytes == b"\r\n\r\n");
        let Some(end) = end.filter(|_| !self.is_read) else {
            return;
        };
        let (head, body) = received.split_at(end + 4);
        let head = std::str::from_utf8(head).expect("a head is text");
        let field = |name: &str| head.lines().find_map(|line| line.strip_prefix(name));
        let length = field("content-length: ").and_then(|text| text.parse().ok());
        let length: usize = length.expect("an answer says how long it is");
        if body.len() < length {
            return;
        }
        assert_eq!(body.len(), length, "more than the answer says");
        self.is_read = true;
        let Some(verdict) = field("x-tailrace-resume: ") else {
            assert!(!head.starts_with("HTTP/1.1 200 "), "{head}");
            return;
        };
        let position = field("x-tailrace-position: ").and_then(|text| text.parse().ok());
        let position = position.expect("a page has a position");
        let shown = self.shown(body, committed);
        self.check(verdict, position, &shown, committed);
    }

    /// The places of the events in the list of all frames, in the order in which they are shown.
    fn shown(&self, body: &[u8], committed: &[Frame]) -> Vec<usize> {
        let inside = body
            .strip_prefix(b"[")
            .and_then(|rest| rest.strip_suffix(b"]"));
        let mut rest = inside.expect("a page is an array");
        let mut places = Vec::new();
        while !rest.is_empty() {
            if !places.is_empty() {
                rest = rest.strip_prefix(b",").expect("a comma between two");
            }
            let id = rest
                .strip_prefix(b"{\"id\":\"")
                .expect("an event has an id");
            let id = id.split(|byte| *byte == b'"').next().unwrap_or_default();
            let id = std::str::from_utf8(id).ok().and_then(|id| id.parse().ok());
            let id: EventId = id.expect("an id of ours");
            let at = committed.binary_search_by_key(&id, Frame::id);
            let at = at.expect("an event was committed");
            rest = rest
                .strip_prefix(committed[at].json())
                .expect("its very bytes");
            places.push(at);
        }
        places
    }

    fn check(&self, verdict: &str, position: EventId, shown: &[usize], committed: &[Frame]) {
        assert!(shown.len() <= usize::from(self.limit));
        assert!(shown.is_sorted_by(|one, next| one < next), "out of order");
        let end = self.reader.revoked_at.unwrap_or(committed.len());
        let end = end.min(place_after(committed, position));
        let is_right = |at: &usize| *at < end && self.reader.is_for(&committed[*at]);
        assert!(shown.iter().all(is_right), "an event that is not for it");
        if verdict != "complete" {
            assert_eq!(verdict, "reset");
            return;
        }
        let start = match (self.since, shown.first()) {
            (PageSince::After(id), _) => place_after(committed, id),
            // As many of the newest as there is room for.
            (PageSince::Newest, Some(first)) => *first,
            _ => return,
        };
        let admitted = (start..end).filter(|at| self.reader.is_for(&committed[*at]));
        assert!(admitted.eq(shown.iter().copied()), "an event is missing");
    }
}
