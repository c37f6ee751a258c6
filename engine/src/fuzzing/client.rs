//! What a client of a stream is to be told, and whether it is: from a list of all frames, by rules that
//! know nothing of logs, classes and cursors.

use wire::{EventId, Format, Frame, Key, Resume, Topic};

/// Who receives a stream or a page.
#[derive(Clone, Debug)]
pub(super) struct Reader {
    /// The organisation; `None` for a service key, which has all of them.
    pub(super) organisation: Option<Key>,
    /// The user; `None` for a service key.
    pub(super) user: Option<Key>,
    /// The channels; none is all.
    pub(super) channels: Vec<String>,
    /// How many frames were committed when it lost its right to more.
    pub(super) revoked_at: Option<usize>,
}

impl Reader {
    /// Whether a frame is for it.
    pub(super) fn is_for(&self, frame: &Frame) -> bool {
        let audience = frame.audience();
        let is_addressed = match (audience.topic, self.organisation) {
            (Topic::Global, _) => true,
            (Topic::Organisation(organisation), Some(own)) => organisation == own,
            (Topic::Organisation(_), None) => true,
            (Topic::User(user), _) => self.user == Some(user),
        };
        // What is within an organisation is for whoever looks at that one.
        let is_within = match (audience.within, self.organisation) {
            (Some(within), Some(own)) => within == own,
            (Some(_), None) | (None, _) => true,
        };
        let has_channel =
            self.channels.is_empty() || self.channels.iter().any(|name| name == frame.channel());
        is_addressed && is_within && has_channel
    }

    /// The place of the first frame for it from a place on; the number of frames where there is none.
    pub(super) fn next_for(&self, committed: &[Frame], from: usize) -> usize {
        let rest = committed.get(from..).unwrap_or_default();
        let found = rest.iter().position(|frame| self.is_for(frame));
        found.map_or(committed.len().max(from), |offset| from + offset)
    }
}

/// As what a client came.
pub(super) struct Came {
    pub(super) reader: Reader,
    pub(super) format: Format,
    pub(super) resume: Resume,
    /// The position of its membership.
    pub(super) since: Option<EventId>,
    /// Whether that is a position of the cluster that was read when it came.
    pub(super) may_resume: bool,
    /// How many frames were committed when it came.
    pub(super) came_at: usize,
    /// By what its session is revoked; a service key has none.
    pub(super) session: Option<Key>,
    /// Who it is, by the number of the script.
    pub(super) who: usize,
}

/// A stream, as its client knows it.
pub(super) struct Client {
    pub(super) came: Came,
    /// Where the last gap ended that it lived through: nothing after it comes before a `reset`.
    pub(super) floor: Option<EventId>,
    /// The last id it was told.
    pub(super) last_id: Option<EventId>,
    /// How much of what it received has been read.
    read: usize,
    /// Its places in the list of all frames: from the first to the last at which it can stand. They
    /// differ where a subscription changed, since nobody sees frames that are not for them go by.
    places: Option<(usize, usize)>,
    /// Where it began, or began anew: it has everything up to here, and so also what another node was
    /// faster with and is only committed here after it came.
    start: Option<EventId>,
    /// Its `connected` event said `reset`, which has not come yet.
    owes_reset: bool,
    has_ended: bool,
}

/// One block of an event stream, by its fields.
struct Block<'a> {
    text: &'a str,
    event: Option<&'a str>,
    id: Option<EventId>,
    data: &'a str,
}

impl Client {
    /// A client that has received nothing.
    pub(super) fn new(came: Came) -> Self {
        Self {
            came,
            floor: None,
            last_id: None,
            read: 0,
            places: None,
            start: None,
            owes_reset: false,
            has_ended: false,
        }
    }

    /// Reads on in all that it has received.
    pub(super) fn read_on(&mut self, received: &[u8], committed: &[Frame]) {
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
            let block = &rest[..end + 2];
            self.read += block.len();
            let block = std::str::from_utf8(block).expect("events are UTF-8");
            self.take(&Block::of(block), committed);
        }
    }

    fn take(&mut self, block: &Block<'_>, committed: &[Frame]) {
        assert!(!self.has_ended, "after its end: {}", block.text);
        if block.text.starts_with("retry: ") && block.data.is_empty() {
            return;
        }
        match (block.event, block.id) {
            (Some("connected"), Some(id)) => self.connect(id, block.data, committed),
            (Some("reset"), Some(id)) => self.reset(id, committed),
            (Some("heartbeat"), Some(id)) => self.advance(id, committed),
            (Some("subscription"), None) => self.subscribe(block.data, committed),
            (Some("auth"), None) => {}
            (Some("bye"), None) => self.has_ended = true,
            (_, Some(id)) => self.receive(id, block.text, committed),
            _ => panic!("no event of ours: {}", block.text),
        }
        self.last_id = block.id.or(self.last_id);
    }

    fn connect(&mut self, id: EventId, data: &str, committed: &[Frame]) {
        assert!(self.places.is_none(), "connected twice");
        let place = place_after(committed, id);
        let verdict = data.split("\"resume\":\"").nth(1).unwrap_or_default();
        if verdict.starts_with("resumed\"") {
            assert_eq!(
                self.came.resume,
                Resume::After(id),
                "resumed from elsewhere"
            );
            assert!(self.came.may_resume, "resumed after a position of nobody's");
            assert!(self.came.since.is_none_or(|since| id >= since));
        } else {
            let is_live = verdict.starts_with("live\"");
            assert!(is_live || verdict.starts_with("reset\""), "{data}");
            assert!(!is_live || self.came.resume == Resume::Live, "{data}");
            self.owes_reset = !is_live;
            assert!(
                place >= self.came.came_at,
                "it begins with what was before it"
            );
        }
        self.places = Some((place, place));
        self.start = Some(id);
    }

    fn reset(&mut self, id: EventId, committed: &[Frame]) {
        assert!(self.places.is_some(), "reset before connected");
        let place = place_after(committed, id);
        self.places = Some((place, place));
        self.start = Some(id);
        self.owes_reset = false;
        self.floor = self.floor.filter(|floor| *floor > id);
    }

    /// It has everything up to here.
    fn advance(&mut self, id: EventId, committed: &[Frame]) {
        let (first, last) = self.places(committed);
        // One that was half sent when the gap came is of before it.
        assert!(
            self.floor.is_none_or(|floor| id <= floor),
            "a heartbeat at {id} before the reset"
        );
        let complete = place_after(committed, id);
        let next = self.came.reader.next_for(committed, last);
        assert!(
            next >= complete,
            "a heartbeat at {id}, and {} is missing",
            committed[next].id()
        );
        self.places = Some((first.max(complete), last.max(complete)));
    }

    fn subscribe(&mut self, data: &str, committed: &[Frame]) {
        let (first, last) = self.places(committed);
        let last = self.came.reader.next_for(committed, last);
        let names = data.split_once("\"channels\":[").map(|(_, rest)| rest);
        let names = names.and_then(|rest| rest.split_once(']'));
        let (names, _) = names.expect("a subscription names its channels");
        let names = names.split(',').filter(|name| !name.is_empty());
        self.came.reader.channels = names
            .map(|name| name.trim_matches('"').to_owned())
            .collect();
        self.places = Some((first, last));
    }

    fn receive(&mut self, id: EventId, text: &str, committed: &[Frame]) {
        let (first, last) = self.places(committed);
        let at = committed.binary_search_by_key(&id, Frame::id);
        let at = at.expect("an event was committed");
        let frame = &committed[at];
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
        let next = self.came.reader.next_for(committed, last.min(at));
        assert!(
            next >= at,
            "{} is missing before {id}",
            committed[next].id()
        );
        self.places = Some((at + 1, at + 1));
    }

    /// Whether it has everything.
    pub(super) fn check_is_complete(&self, committed: &[Frame]) {
        let (_, last) = self.places(committed);
        assert!(!self.owes_reset && self.floor.is_none(), "no reset came");
        assert!(
            self.came.reader.revoked_at.is_none(),
            "it outlived its right"
        );
        let next = self.came.reader.next_for(committed, last);
        assert!(
            next >= committed.len(),
            "{} never came",
            committed[next].id()
        );
    }

    /// Whether it was told of its end.
    pub(super) fn has_ended(&self) -> bool {
        self.has_ended
    }

    fn places(&self, committed: &[Frame]) -> (usize, usize) {
        let (first, last) = self.places.expect("nothing comes before connected");
        let start = self.start.map_or(0, |start| place_after(committed, start));
        (first.max(start), last.max(start))
    }
}

impl<'a> Block<'a> {
    fn of(text: &'a str) -> Self {
        let field = |name| text.lines().find_map(|line| line.strip_prefix(name));
        Self {
            text,
            event: field("event: "),
            id: field("id: ").map(|id| id.parse().expect("an id of ours")),
            data: field("data: ").unwrap_or_default(),
        }
    }
}

/// How many frames have an id up to this one.
pub(super) fn place_after(committed: &[Frame], id: EventId) -> usize {
    committed.partition_point(|frame| frame.id() <= id)
}
