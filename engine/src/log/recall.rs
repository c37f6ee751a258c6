//! Reading the log for a page of history: forwards from a position or a time, or backwards from now,
//! over what the log has and what outlived it.

use wire::{EventId, Filter, Frame, Scope, Topic};

use super::kept::Lost;
use super::{Log, Reading, TopicLog};

/// Two commits may have their times in the other order than their places in the log, since the time
/// is taken before the place. By more than this, in milliseconds, they do not.
const DISORDER_MS: i64 = 10_000;

impl Log {
    /// The first frame after a sequence, among the topics that are read.
    pub(crate) fn recall_next(&self, reading: Reading, after: u64) -> Option<(u64, &Frame)> {
        let logged = self.next(reading, after);
        let logged = logged.map(|entry| (entry.sequence, &entry.frame));
        let kept = match topics(reading) {
            None => self.kept.next_shared(after),
            Some(topics) => topics
                .filter_map(|topic| self.kept.next(topic, after))
                .min_by_key(|(sequence, _)| *sequence),
        };
        [logged, kept]
            .into_iter()
            .flatten()
            .min_by_key(|(sequence, _)| *sequence)
    }

    /// The last frame before a sequence, among the topics that are read.
    pub(crate) fn recall_previous(&self, reading: Reading, before: u64) -> Option<(u64, &Frame)> {
        let (logged, kept) = match topics(reading) {
            None => (
                self.previous_shared(before),
                self.kept.previous_shared(before),
            ),
            Some(topics) => (
                self.readable(reading)
                    .filter_map(|topic| topic.last_before(before))
                    .max_by_key(|(sequence, _)| *sequence),
                topics
                    .filter_map(|topic| self.kept.previous(topic, before))
                    .max_by_key(|(sequence, _)| *sequence),
            ),
        };
        [logged, kept]
            .into_iter()
            .flatten()
            .max_by_key(|(sequence, _)| *sequence)
    }

    /// The sequence after which everything later than a position lies.
    pub(crate) fn recall_after(&self, reading: Reading, id: EventId) -> u64 {
        self.recall_from(
            reading,
            |topic| topic.first_after_id(id).map(|entry| entry.sequence),
            |frame| frame.id() > id,
        )
    }

    /// A sequence after which everything lies that was committed at a time or later; not all that
    /// lies after it was.
    pub(crate) fn recall_at(&self, reading: Reading, timestamp_ms: i64) -> u64 {
        let early = timestamp_ms.saturating_sub(DISORDER_MS);
        let first = |topic: &TopicLog| {
            let frames = &topic.frames;
            let at = frames.partition_point(|entry| entry.frame.timestamp_ms() < early);
            frames.get(at).map(|entry| entry.sequence)
        };
        self.recall_from(reading, first, |frame| frame.timestamp_ms() >= early)
    }

    /// Whether an event of the topics and channels that are read is gone for good of which something
    /// holds.
    pub(crate) fn recall_lost(
        &self,
        reading: Reading,
        filter: &Filter,
        is_after: impl Fn(Lost) -> bool,
    ) -> bool {
        // Of a topic that never lost anything nothing is kept either, as of one that is forgotten.
        let lost = |topic| {
            let has_lost = match self.find(topic) {
                Some(slot) => self.topics[slot as usize].evicted.is_some(),
                None => self.forgotten.is_some(),
            };
            has_lost.then(|| self.kept.lost(topic, filter)).flatten()
        };
        match topics(reading) {
            None if self.shared_evicted == 0 => false,
            None => self.kept.lost_shared().is_some_and(is_after),
            Some(mut topics) => topics.any(|topic| lost(topic).is_some_and(&is_after)),
        }
    }

    fn recall_from(
        &self,
        reading: Reading,
        first_logged: impl Fn(&TopicLog) -> Option<u64>,
        is_later: impl Fn(&Frame) -> bool,
    ) -> u64 {
        let logged = match reading.scope {
            Scope::Everything => self
                .topics
                .iter()
                .map(|(_, topic)| topic)
                .filter(|topic| !matches!(topic.topic, Topic::User(_)))
                .filter_map(&first_logged)
                .min(),
            Scope::Nothing | Scope::Organisation(_) => {
                self.readable(reading).filter_map(&first_logged).min()
            }
        };
        // What is kept is older than what is logged, topic by topic, and little.
        let mut kept = None;
        let mut before = u64::MAX;
        while let Some((sequence, frame)) = self.kept_previous(reading, before) {
            if !is_later(frame) {
                break;
            }
            (kept, before) = (Some(sequence), sequence);
        }
        let first = [logged, kept].into_iter().flatten().min();
        first.map_or(self.head, |sequence| sequence - 1)
    }

    fn kept_previous(&self, reading: Reading, before: u64) -> Option<(u64, &Frame)> {
        match topics(reading) {
            None => self.kept.previous_shared(before),
            Some(topics) => topics
                .filter_map(|topic| self.kept.previous(topic, before))
                .max_by_key(|(sequence, _)| *sequence),
        }
    }

    fn previous_shared(&self, before: u64) -> Option<(u64, &Frame)> {
        let end = self
            .arrivals
            .partition_point(|(sequence, _)| *sequence < before);
        self.arrivals
            .range(..end)
            .rev()
            .find_map(|(sequence, slot)| {
                let topic = &self.topics[*slot as usize];
                let is_shared = !matches!(topic.topic, Topic::User(_));
                is_shared
                    .then(|| topic.last_before(sequence + 1))
                    .flatten()
                    .filter(|(found, _)| found == sequence)
            })
    }
}

impl TopicLog {
    fn last_before(&self, sequence: u64) -> Option<(u64, &Frame)> {
        let end = self
            .frames
            .partition_point(|entry| entry.sequence < sequence);
        let entry = self.frames.get(end.checked_sub(1)?)?;
        Some((entry.sequence, &entry.frame))
    }
}

/// The topics that are read, `None` for all but those of users.
fn topics(reading: Reading) -> Option<impl Iterator<Item = Topic>> {
    let organisation = match reading.scope {
        Scope::Everything => return None,
        Scope::Organisation(key) => Some(Topic::Organisation(key)),
        Scope::Nothing => None,
    };
    let user = reading.user.map(Topic::User);
    Some(
        [Some(Topic::Global), organisation, user]
            .into_iter()
            .flatten(),
    )
}
