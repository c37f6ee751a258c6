//! All that was handed over, and what of it a log of this size still has: by the rule, frame by frame, and
//! by nothing that the engine keeps.

use std::collections::{BTreeMap, VecDeque};

use wire::{EventId, Frame, Gap, Lineage, Resume, Start, Topic};

use super::reader::Reader;
use crate::{ResetReason, limits};

/// All frames ever committed, and what is known of the cluster.
pub(super) struct Past {
    pub(super) frames: Vec<Frame>,
    /// Of each, whether it had to make room, or was before a gap.
    gone: Vec<bool>,
    /// Places of the frames that are there, in order, and what they cost: of all topics, and of each.
    there: Shelf,
    topics: BTreeMap<Topic, Shelf>,
    bytes_max: usize,
    /// How many frames went.
    pub(super) evicted: u64,
    pub(super) lineage: Lineage,
    /// What lies before it is not in the log.
    floor: EventId,
    /// How many frames lie before it.
    pub(super) floor_place: usize,
    /// Nothing before it was committed later, in milliseconds since 1970.
    pub(super) floor_ms: i64,
    is_fresh: bool,
    /// Nobody has set the clock on the wall, by which the time before the floor is judged.
    pub(super) is_wall_true: bool,
    /// Everything up to here was handed over, and nothing beyond.
    pub(super) applied: EventId,
    /// Up to here it is the past that is read.
    pub(super) caught_up: EventId,
    /// The furthest of these since the last gap: who waits for one goes on to wait for it.
    furthest: EventId,
}

/// Frames in the order in which they came.
#[derive(Default)]
struct Shelf {
    places: VecDeque<usize>,
    bytes: usize,
}

/// How a stream has to begin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Begin {
    /// From now: it named no place.
    Live,
    /// From the place that it named.
    Resumed(EventId),
    /// Its place lies ahead.
    Ahead(EventId),
    /// Something is missing.
    Reset(ResetReason),
}

impl Past {
    /// Nothing yet, in a log of so many bytes.
    pub(super) fn new(log_bytes: usize, lineage: Lineage) -> Self {
        let start = lineage.position(wire::Lsn(0), 0);
        Self {
            frames: Vec::new(),
            gone: Vec::new(),
            there: Shelf::default(),
            topics: BTreeMap::new(),
            // The rest is kept for pages of history.
            bytes_max: log_bytes - log_bytes / limits::KEPT_SHARE,
            evicted: 0,
            lineage,
            floor: start,
            floor_place: 0,
            floor_ms: i64::MAX,
            is_fresh: true,
            is_wall_true: true,
            applied: start,
            caught_up: start,
            furthest: start,
        }
    }

    /// The stream of changes starts, or starts again.
    pub(super) fn start(&mut self, start: &Start, is_first: bool, wall_ms: u64) {
        self.lineage = start.lineage.clone();
        self.caught_up = start.caught_up;
        self.furthest = self.furthest.max(start.caught_up);
        if is_first {
            (self.floor, self.applied) = (start.floor, start.floor);
            self.floor_ms = wall_ms as i64;
        }
    }

    /// Frames are committed. Whether they are so many at once that nobody can be promised to be in time.
    pub(super) fn commit(&mut self, frames: &[Frame], through: EventId) -> bool {
        if let Some(first) = frames.first()
            && std::mem::take(&mut self.is_fresh)
        {
            self.floor_ms = self.floor_ms.min(first.timestamp_ms());
        }
        frames.iter().for_each(|frame| self.append(frame.clone()));
        self.progress(through);
        let cost: usize = frames.iter().map(Frame::cost_bytes).sum();
        cost > self.share_max() / 2
    }

    /// Everything up to a position was handed over.
    pub(super) fn progress(&mut self, to: EventId) {
        self.applied = self.applied.max(to);
    }

    /// Changes were missed.
    pub(super) fn gap(&mut self, gap: &Gap, wall_ms: u64) {
        self.lineage = gap.lineage.clone();
        (self.floor, self.applied, self.caught_up) = (gap.floor, gap.floor, gap.floor);
        self.furthest = gap.floor;
        self.floor_place = self.frames.len();
        (self.floor_ms, self.is_fresh) = (wall_ms as i64, true);
        self.evicted += self.there.places.len() as u64;
        self.gone.fill(true);
        self.there = Shelf::default();
        self.topics.clear();
    }

    /// What one organisation may have of the log.
    fn share_max(&self) -> usize {
        self.bytes_max / 4
    }

    fn append(&mut self, frame: Frame) {
        let (place, cost) = (self.frames.len(), frame.cost_bytes());
        let topic = frame.audience().topic;
        self.frames.push(frame);
        self.gone.push(false);
        self.there.put(place, cost);
        self.topics.entry(topic).or_default().put(place, cost);
        // Of an organisation that has more than its share its own oldest goes, and nobody else's.
        while matches!(topic, Topic::Organisation(_))
            && self.topics[&topic].bytes > self.share_max()
            && self.topics[&topic].places.len() > 1
        {
            self.evict(self.topics[&topic].places[0]);
        }
        while self.there.bytes > self.bytes_max && self.there.places.len() > 1 {
            self.evict(self.there.places[0]);
        }
    }

    fn evict(&mut self, place: usize) {
        let frame = &self.frames[place];
        let (topic, cost) = (frame.audience().topic, frame.cost_bytes());
        let of_topic = self.topics.get_mut(&topic).expect("it has frames");
        of_topic.take(place, cost);
        self.there.take(place, cost);
        self.gone[place] = true;
        self.evicted += 1;
    }

    /// How many frames have an id up to this one.
    pub(super) fn place_after(&self, id: EventId) -> usize {
        self.frames.partition_point(|frame| frame.id() <= id)
    }

    /// The place from one on of the frame with this id that is for a reader, or else of any with this id.
    pub(super) fn place_of(&self, id: EventId, reader: &Reader, from: usize) -> usize {
        let first = self.frames.partition_point(|frame| frame.id() < id);
        let places = first..self.place_after(id);
        assert!(!places.is_empty(), "{id} was never committed");
        let mut theirs = places.skip_while(|at| *at < from || !reader.is_for(&self.frames[*at]));
        theirs.next().unwrap_or(first)
    }

    /// Whether a frame from a place on is gone, of a topic that somebody reads.
    pub(super) fn has_gone(&self, reader: &Reader, from: usize) -> bool {
        (from..self.frames.len())
            .any(|at| self.gone[at] && reader.reads(self.frames[at].audience().topic))
    }

    /// Whether one frame is gone.
    pub(super) fn is_gone(&self, place: usize) -> bool {
        self.gone[place]
    }

    /// Whether it is the past that is read.
    pub(super) fn is_read_anew(&self) -> bool {
        self.applied < self.caught_up
    }

    /// Whether somebody may still wait for the end of a past that was read.
    pub(super) fn may_be_waited_for(&self) -> bool {
        self.applied < self.furthest
    }

    /// Whether a position is one from which something can go on here.
    pub(super) fn is_known(&self, id: EventId) -> bool {
        self.lineage.admits(id) && id >= self.floor
    }

    /// How a stream begins that comes now: a place is good unless it is nobody's, or something of the
    /// reader's own topics after it is gone.
    pub(super) fn begin(&self, reader: &Reader, resume: Resume, since: Option<EventId>) -> Begin {
        let id = match resume {
            Resume::Live => return Begin::Live,
            Resume::Unknown => return Begin::Reset(ResetReason::UnknownPosition),
            Resume::After(id) => id,
        };
        if !self.lineage.admits(id) {
            return Begin::Reset(ResetReason::UnknownPosition);
        }
        if id < self.floor || since.is_some_and(|since| id < since) {
            return Begin::Reset(ResetReason::History);
        }
        if id > self.applied {
            return Begin::Ahead(id);
        }
        match self.has_gone(reader, self.place_after(id)) {
            true => Begin::Reset(ResetReason::History),
            false => Begin::Resumed(id),
        }
    }
}

impl Shelf {
    fn put(&mut self, place: usize, cost: usize) {
        self.places.push_back(place);
        self.bytes += cost;
    }

    fn take(&mut self, place: usize, cost: usize) {
        let at = self.places.binary_search(&place);
        self.places.remove(at.expect("it is there"));
        self.bytes -= cost;
    }
}
