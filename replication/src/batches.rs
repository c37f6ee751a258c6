//! Batch events: many changes of one type, for one audience and channel in one transaction, as few
//! events.
//!
//! They are put together when the frames of a transaction are handed over, from those that are at hand:
//! what belongs to a batch depends on the write-ahead log and the configuration alone, so that every
//! node makes the same ones, and memory is bounded by what is gathered.

use std::collections::BTreeMap;
use std::sync::Arc;

use wire::{EventId, Frame, FrameWriter, Key, Name, Source, Topic};

use crate::events::split_payload;
use crate::limits::{BATCH_EVENT_BYTES_MAX, BATCH_GROUPS_MAX};
use crate::planted;

/// Which changes of a transaction become batch events.
#[derive(Clone, Debug, Default)]
pub(crate) struct Batches {
    /// More than so many of a group do; 0 is none.
    over: usize,
    /// The longest event.
    bytes_max: usize,
    /// How many changes of each group were handed over already.
    counts: BTreeMap<Group, usize>,
}

/// What the changes of a batch have in common.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Group {
    topic: Topic,
    within: Option<Key>,
    roles: Option<Arc<[Name]>>,
    event_type: String,
    channel: String,
}

/// The same, borrowed of a frame.
type Common<'a> = (Topic, Option<Key>, Option<&'a [Name]>, &'a str, &'a str);

impl Batches {
    /// For a transaction that begins.
    pub(crate) fn new(over: u32, event_bytes_max: usize) -> Self {
        Self {
            over: over as usize,
            bytes_max: BATCH_EVENT_BYTES_MAX.min(event_bytes_max),
            counts: BTreeMap::new(),
        }
    }

    /// Makes batches of the frames where there are so many, and returns all in the order of their ids.
    /// `is_whole` says that these are all of their transaction.
    pub(crate) fn apply(
        &mut self,
        frames: Vec<Frame>,
        is_whole: bool,
        commit_ms: i64,
    ) -> Vec<Frame> {
        if self.over == 0 || (is_whole && frames.len() <= self.over) {
            return frames;
        }
        let mut groups: BTreeMap<Common<'_>, Vec<&Frame>> = BTreeMap::new();
        let mut all = Vec::with_capacity(frames.len());
        for frame in &frames {
            match frame.source() {
                Source::Postgres => groups.entry(common(frame)).or_default().push(frame),
                Source::Application => all.push(frame.clone()),
            }
        }
        for (common, frames) in groups {
            let count = if is_whole {
                frames.len()
            } else {
                self.count(common, frames.len())
            };
            match Name::new(&format!("{}.batch", common.3)) {
                Ok(event_type) if count > self.over => {
                    self.write(&event_type, &frames, commit_ms, &mut all);
                }
                // Also where the name would be too long.
                _ => all.extend(frames.into_iter().cloned()),
            }
        }
        if !planted::BATCH_BY_GROUP {
            // Frames of one id go to different topics.
            all.sort_by_key(Frame::id);
        }
        all
    }

    /// Counts changes of a group, and returns how many there were by now in the transaction.
    fn count(&mut self, common: Common<'_>, more: usize) -> usize {
        let (topic, within, roles, event_type, channel) = common;
        let group = Group {
            topic,
            within,
            roles: roles.map(Arc::from),
            event_type: event_type.to_owned(),
            channel: channel.to_owned(),
        };
        if self.counts.len() >= BATCH_GROUPS_MAX && !self.counts.contains_key(&group) {
            return more;
        }
        let count = self.counts.entry(group).or_default();
        *count += more;
        *count
    }

    /// Writes the changes of a group as few events of bounded size.
    fn write(&self, event_type: &Name, frames: &[&Frame], commit_ms: i64, out: &mut Vec<Frame>) {
        let mut rest = frames;
        while let Some(first) = rest.first() {
            // Its own head and the names of the members are as long as those of a single event.
            let mut bytes = first.bytes().len() + HEAD_BYTES_MAX;
            let fits = |frame: &&&Frame| {
                bytes += ENTRY_BYTES + frame.id_text().len() + split_payload(frame).1.len();
                bytes <= self.bytes_max
            };
            let more = rest[1..].iter().take_while(fits).count();
            let (chunk, left) = rest.split_at(1 + more);
            out.push(match chunk {
                [alone] => (*alone).clone(),
                chunk => write_batch(event_type, chunk, commit_ms),
            });
            rest = left;
        }
    }
}

/// How much longer a batch of one change is than its event, at the most.
const HEAD_BYTES_MAX: usize =
    ".batch".len() + ",\"changes\":[]".len() + ENTRY_BYTES + 3 * EventId::TEXT_BYTES_MAX;

/// What comes to a change in a batch, beside its id.
const ENTRY_BYTES: usize = ",{\"id\":\"\"}".len();

fn common(frame: &Frame) -> Common<'_> {
    let audience = frame.audience();
    let roles = audience.roles.as_deref();
    let (event_type, channel) = (frame.event_type(), frame.channel());
    (audience.topic, audience.within, roles, event_type, channel)
}

/// Writes an event of several changes, whose id is that of the last.
fn write_batch(event_type: &Name, changes: &[&Frame], commit_ms: i64) -> Frame {
    let last = changes.last().expect("a batch has changes");
    let channel = Name::new(last.channel()).expect("it was one");
    let mut writer = FrameWriter::new(last.id(), event_type, &channel, commit_ms, Source::Postgres);
    let out = writer.json();
    out.extend_from_slice(split_payload(last).0);
    out.extend_from_slice(b",\"changes\":");
    let start = out.len();
    for (at, change) in changes.iter().enumerate() {
        out.extend_from_slice(if at == 0 {
            b"[{\"id\":\""
        } else {
            b",{\"id\":\""
        });
        out.extend_from_slice(change.id_text());
        out.push(b'"');
        out.extend_from_slice(split_payload(change).1);
    }
    out.push(b']');
    writer.mark_data(start);
    writer.json().push(b'}');
    writer.finish(last.audience().clone())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(index: u32, event_type: &str, bytes: usize) -> Frame {
        let id = EventId {
            epoch: 1,
            timeline: 1,
            lsn: wire::Lsn(7),
            index,
        };
        let name = |text| Name::new(text).unwrap();
        let (event_type, channel) = (name(event_type), name("c"));
        let mut writer = FrameWriter::new(id, &event_type, &channel, 5, Source::Postgres);
        let text = "x".repeat(bytes);
        let payload =
            format!(r#"{{"organizationId":"a\",\"table\":","table":"t","record":"{text}"}}"#);
        writer.json().extend_from_slice(payload.as_bytes());
        writer.mark_data(writer.len() - payload.len());
        writer.finish(wire::Audience::of(Topic::Global))
    }

    fn told(frames: &[Frame]) -> Vec<(String, u32)> {
        let told = |frame: &Frame| (frame.event_type().to_owned(), frame.id().index);
        frames.iter().map(told).collect()
    }

    #[test]
    fn more_than_so_many_of_one_type_become_one_event_with_the_id_of_the_last() {
        let types = ["a", "b", "a", "a", "b", "c"];
        let frames = types.iter().zip(1..).map(|(ty, index)| frame(index, ty, 3));
        let applied = Batches::new(2, 1 << 20).apply(frames.collect(), true, 5);
        let single = |ty: &str, index| (ty.to_owned(), index);
        assert_eq!(
            told(&applied),
            [
                single("b", 2),
                single("a.batch", 4),
                single("b", 5),
                single("c", 6)
            ]
        );
        let payload: serde_json::Value = serde_json::from_slice(applied[1].payload()).unwrap();
        assert_eq!(payload["organizationId"], "a\",\"table\":");
        let ids: Vec<_> = (0..3)
            .map(|at| payload["changes"][at]["id"].clone())
            .collect();
        assert_eq!(ids, ["1.1.7.1", "1.1.7.3", "1.1.7.4"]);
        assert_eq!(payload["changes"][2]["record"], "xxx");
    }

    #[test]
    fn an_event_is_bounded_and_what_is_too_long_for_it_stays_alone() {
        let mut batches = Batches::new(2, 1 << 20);
        let frames = (1..=200).map(|index| frame(index, "a", 1_000));
        let applied = batches.apply(frames.collect(), true, 5);
        assert!((4..=5).contains(&applied.len()), "{}", applied.len());
        for batch in &applied {
            assert!(batch.bytes().len() <= BATCH_EVENT_BYTES_MAX);
        }
        assert!(applied[0].bytes().len() > BATCH_EVENT_BYTES_MAX - 2_000);
        let frames = (1..=3).map(|index| frame(index, "a", BATCH_EVENT_BYTES_MAX));
        let applied = batches.apply(frames.collect(), true, 5);
        assert_eq!(
            told(&applied),
            [1, 2, 3].map(|index| ("a".to_owned(), index))
        );
    }

    #[test]
    fn what_was_handed_over_before_counts_too() {
        let mut batches = Batches::new(3, 1 << 20);
        let mut part = |from: u32| {
            let frames = (from..from + 2).map(|index| frame(index, "a", 3));
            told(&batches.apply(frames.collect(), false, 5))
        };
        assert_eq!(part(1).len(), 2);
        assert_eq!(part(3), [("a.batch".to_owned(), 4)]);
        assert_eq!(part(5), [("a.batch".to_owned(), 6)]);
    }

    #[test]
    fn without_a_bound_nothing_is_a_batch() {
        let frames: Vec<Frame> = (1..=100).map(|index| frame(index, "a", 3)).collect();
        let applied = Batches::new(0, 1 << 20).apply(frames.clone(), false, 5);
        assert_eq!(told(&applied), told(&frames));
    }
}
