//! What the engine's own tests share: frames, keys and positions; the world and its scripts.

use wire::{Audience, EventId, Frame, FrameWriter, Key, Keys, Lsn, Name, Source, Topic};

/// The key of a name, whatever kind of thing it names.
pub(crate) fn key(name: &str) -> Key {
    Keys::new([7; 16]).organisation(name)
}

/// A position of the tests' cluster: epoch `e`, timeline 1.
pub(crate) fn position(lsn: u64, index: u32) -> EventId {
    EventId {
        epoch: 0xe,
        timeline: 1,
        lsn: Lsn(lsn),
        index,
    }
}

/// A frame whose data is a string of this many bytes.
pub(crate) fn frame(topic: Topic, channel: &str, lsn: u64, index: u32, bytes: usize) -> Frame {
    let channel = Name::new(channel).unwrap();
    let event_type = Name::new(&format!("{channel}.insert")).unwrap();
    let id = position(lsn, index);
    let mut writer = FrameWriter::new(id, &event_type, &channel, 1_000, Source::Postgres);
    let start = writer.json().len();
    let text = "x".repeat(bytes);
    writer
        .json()
        .extend_from_slice(format!("\"{text}\"").as_bytes());
    writer.mark_data(start);
    writer.finish(Audience::of(topic))
}
