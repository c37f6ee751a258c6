//! Frames: an event serialised once, as the bytes of an SSE event block.
//!
//! A frame is made by a [`FrameWriter`] and shared from then on; no connection has a copy of its
//! own. It knows where in its bytes its id, type, channel and data lie, so that the other formats
//! are cut from the same bytes. Which frames a connection receives is decided by `filter` and the
//! engine.

use std::ops::Range;
use std::sync::Arc;

use triomphe::ThinArc;

use crate::{EventId, Format, Key, Name};

/// An ordered stream of frames.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Topic {
    /// What everybody receives.
    Global,
    /// What one organisation receives.
    Organisation(Key),
    /// What one user receives.
    User(Key),
}

/// Who may receive a frame.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Audience {
    /// The topic the frame is appended to.
    pub topic: Topic,
    /// For a user's frame: the organisation whose streams alone may show it.
    pub within: Option<Key>,
    /// The roles that may see it; `None` is all.
    pub roles: Option<Arc<[Name]>>,
}

impl Audience {
    /// Everybody who is in the topic.
    pub fn of(topic: Topic) -> Self {
        Self {
            topic,
            within: None,
            roles: None,
        }
    }
}

/// Where an event comes from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Source {
    /// A row of a table.
    #[default]
    Postgres,
    /// The application said it itself.
    Application,
}

impl Source {
    fn as_str(self) -> &'static str {
        match self {
            Self::Postgres => "postgres",
            Self::Application => "application",
        }
    }
}

/// An event serialised once, in one allocation: what is known of it, and behind that its bytes. Cloning it
/// costs a reference count.
#[derive(Clone, Debug)]
pub struct Frame(ThinArc<Parts, u8>);

#[derive(Debug)]
struct Parts {
    id: EventId,
    timestamp_ms: i64,
    source: Source,
    audience: Audience,
    ranges: Ranges,
}

/// Places in the bytes of a frame.
#[derive(Clone, Copy, Debug, Default)]
struct Ranges {
    id: Span,
    event_type: Span,
    channel: Span,
    /// The JSON object from its brace up to and with the timestamp.
    head: Span,
    payload: Span,
    data: Span,
}

/// A range of bytes in a frame, whose size is below 4 GiB.
#[derive(Clone, Copy, Debug, Default)]
struct Span {
    start: u32,
    end: u32,
}

impl Span {
    fn new(range: Range<usize>) -> Self {
        let offset = |at: usize| u32::try_from(at).expect("a frame is far below 4 GiB");
        Self {
            start: offset(range.start),
            end: offset(range.end),
        }
    }

    fn range(self) -> Range<usize> {
        self.start as usize..self.end as usize
    }
}

impl Frame {
    /// The position of the event.
    pub fn id(&self) -> EventId {
        self.parts().id
    }

    /// When it was committed, in milliseconds since 1970.
    pub fn timestamp_ms(&self) -> i64 {
        self.parts().timestamp_ms
    }

    /// Who may receive it.
    pub fn audience(&self) -> &Audience {
        &self.parts().audience
    }

    /// The type of the event.
    pub fn event_type(&self) -> &str {
        self.text(self.parts().ranges.event_type)
    }

    /// The channel of the event.
    pub fn channel(&self) -> &str {
        self.text(self.parts().ranges.channel)
    }

    /// The id as it is printed.
    pub fn id_text(&self) -> &[u8] {
        &self.bytes()[self.parts().ranges.id.range()]
    }

    /// Where the event comes from.
    pub fn source(&self) -> Source {
        self.parts().source
    }

    /// The payload of the event, as JSON on one line.
    pub fn payload(&self) -> &[u8] {
        &self.bytes()[self.parts().ranges.payload.range()]
    }

    /// The whole event as JSON, on one line.
    pub fn json(&self) -> &[u8] {
        // The blank line ends the block.
        &self.bytes()[self.parts().ranges.head.range().start..self.bytes().len() - 2]
    }

    /// The SSE event block in the format [`Format::Event`]: `id:`, `data:`, and the blank line.
    pub fn bytes(&self) -> &[u8] {
        &self.0.slice
    }

    /// What the frame costs to keep: its bytes and the bookkeeping around them.
    pub fn cost_bytes(&self) -> usize {
        // The frame, its reference count and length, and its places in the log's queues.
        const BOOKKEEPING: usize = size_of::<Parts>() + 2 * size_of::<usize>() + 64;
        self.bytes().len() + BOOKKEEPING
    }

    /// Appends the SSE event block in a format; never empty, never more than some 200 bytes longer
    /// than [`Self::bytes`].
    pub fn write(&self, format: Format, out: &mut Vec<u8>) {
        let part = |span: Span| &self.bytes()[span.range()];
        let ranges = &self.parts().ranges;
        match format {
            Format::Event => out.extend_from_slice(self.bytes()),
            Format::Data => {
                for bytes in [b"id: ", part(ranges.id), b"\ndata: ", part(ranges.head)] {
                    out.extend_from_slice(bytes);
                }
                for bytes in [b",\"data\":", part(ranges.data), b"}\n\n"] {
                    out.extend_from_slice(bytes);
                }
            }
            Format::Named => {
                for bytes in [
                    b"event: ",
                    part(ranges.event_type),
                    b"\nid: ",
                    part(ranges.id),
                ] {
                    out.extend_from_slice(bytes);
                }
                for bytes in [b"\ndata: ", part(ranges.data), b"\n\n"] {
                    out.extend_from_slice(bytes);
                }
            }
        }
    }

    fn text(&self, span: Span) -> &str {
        std::str::from_utf8(&self.bytes()[span.range()]).expect("names are UTF-8")
    }

    fn parts(&self) -> &Parts {
        &self.0.header.header
    }
}

/// Writes frames, one after the other: the head of the event's JSON first, then its payload by the
/// caller. All are put together in the same memory, and each leaves in memory of just its size.
///
/// ```
/// # use wire::*;
/// let id = "ab.1.90002e8.1".parse().unwrap();
/// let name = |text| Name::new(text).unwrap();
/// let mut writer =
///     FrameWriter::new(id, &name("property.insert"), &name("property"), 12, Source::Postgres);
/// writer.json().extend_from_slice(br#"{"record":"#);
/// let start = writer.json().len();
/// writer.json().extend_from_slice(br#"{"id":"p1"}"#);
/// writer.mark_data(start);
/// writer.json().extend_from_slice(b"}");
/// let frame = writer.finish(Audience::of(Topic::Global));
/// assert_eq!(frame.channel(), "property");
/// ```
#[derive(Debug, Default)]
pub struct FrameWriter {
    buffer: Vec<u8>,
    id: EventId,
    timestamp_ms: i64,
    source: Source,
    ranges: Ranges,
    line_start: usize,
}

impl FrameWriter {
    /// A writer that has begun its first frame, as [`Self::begin`] does.
    pub fn new(
        id: EventId,
        event_type: &Name,
        channel: &Name,
        timestamp_ms: i64,
        source: Source,
    ) -> Self {
        let mut writer = Self::default();
        writer.begin(id, event_type, channel, timestamp_ms, source);
        writer
    }

    /// Begins a frame; what was written of one that was not finished is forgotten. `timestamp_ms` is
    /// the commit time in milliseconds since 1970.
    pub fn begin(
        &mut self,
        id: EventId,
        event_type: &Name,
        channel: &Name,
        timestamp_ms: i64,
        source: Source,
    ) {
        self.id = id;
        self.timestamp_ms = timestamp_ms;
        self.source = source;
        self.ranges = Ranges::default();
        self.buffer.clear();
        self.put(b"id: ");
        let start = self.buffer.len();
        id.write(&mut self.buffer);
        self.ranges.id = Span::new(start..self.buffer.len());
        self.line_start = self.put(b"\ndata: ").end;
        self.put(b"{\"id\":\"");
        self.buffer.extend_from_within(self.ranges.id.range());
        self.put(b"\",\"type\":\"");
        self.ranges.event_type = Span::new(self.put(event_type.as_str().as_bytes()));
        self.put(b"\",\"channel\":\"");
        self.ranges.channel = Span::new(self.put(channel.as_str().as_bytes()));
        self.put(b"\",\"timestamp\":");
        let head_end = self
            .put(itoa::Buffer::new().format(timestamp_ms).as_bytes())
            .end;
        self.ranges.head = Span::new(self.line_start..head_end);
        self.put(b",\"source\":\"");
        self.put(source.as_str().as_bytes());
        self.ranges.payload = Span::new(self.put(b"\",\"version\":\"1\",\"payload\":"));
    }

    /// Where the payload is written, as one JSON value. What is there already must stay.
    pub fn json(&mut self) -> &mut Vec<u8> {
        &mut self.buffer
    }

    /// Says that everything written since `start` (a length of [`Self::json`]) is the event's data,
    /// which the formats [`Format::Data`] and [`Format::Named`] show.
    pub fn mark_data(&mut self, start: usize) {
        assert!(
            (self.line_start..=self.buffer.len()).contains(&start),
            "data outside the payload"
        );
        self.ranges.data = Span::new(start..self.buffer.len());
    }

    /// How long the frame is by now, in bytes.
    pub fn len(&self) -> usize {
        self.buffer.len()
    }

    /// Whether no frame was begun.
    pub fn is_empty(&self) -> bool {
        self.buffer.is_empty()
    }

    /// Ends the frame.
    ///
    /// # Panics
    ///
    /// Where none was begun, or it has no data.
    pub fn finish(&mut self, audience: Audience) -> Frame {
        assert!(self.ranges.data.end != 0, "a frame has data");
        self.ranges.payload = Span::new(self.ranges.payload.range().end..self.buffer.len());
        self.buffer.push(b'}');
        // A raw line end would end the `data:` line. JSON has raw ones only between tokens, where a
        // space means the same; within a string they are escaped.
        let mut from = self.line_start;
        while let Some(at) = memchr::memchr2(b'\n', b'\r', &self.buffer[from..]) {
            self.buffer[from + at] = b' ';
            from += at + 1;
        }
        self.buffer.extend_from_slice(b"\n\n");
        let parts = Parts {
            id: self.id,
            timestamp_ms: self.timestamp_ms,
            source: self.source,
            audience,
            ranges: std::mem::take(&mut self.ranges),
        };
        let frame = Frame(ThinArc::from_header_and_slice(parts, &self.buffer));
        self.buffer.clear();
        frame
    }

    /// Appends bytes, and says where they are.
    fn put(&mut self, bytes: &[u8]) -> Range<usize> {
        let start = self.buffer.len();
        self.buffer.extend_from_slice(bytes);
        start..self.buffer.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(payload: &[u8]) -> Frame {
        let name = |text| Name::new(text).unwrap();
        let id = "ab.1.90002e8.1".parse().unwrap();
        let mut writer = FrameWriter::new(
            id,
            &name("property.insert"),
            &name("property"),
            1_700_000_000_123,
            Source::Postgres,
        );
        writer.json().extend_from_slice(b"{\"record\":");
        let start = writer.json().len();
        writer.json().extend_from_slice(payload);
        writer.mark_data(start);
        writer.json().push(b'}');
        writer.finish(Audience::of(Topic::Global))
    }

    fn written(frame: &Frame, format: Format) -> String {
        let mut out = Vec::new();
        frame.write(format, &mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn a_frame_knows_its_parts() {
        let frame = frame(b"{\"a\":1}");
        assert_eq!(
            (frame.event_type(), frame.channel()),
            ("property.insert", "property")
        );
        assert_eq!(frame.id().to_string(), "ab.1.90002e8.1");
        assert_eq!(frame.id_text(), b"ab.1.90002e8.1");
        assert_eq!(frame.payload(), br#"{"record":{"a":1}}"#);
        assert_eq!(frame.timestamp_ms(), 1_700_000_000_123);
        let json: serde_json::Value = serde_json::from_slice(frame.json()).unwrap();
        assert_eq!(json["payload"]["record"]["a"], 1);
        assert_eq!(frame.source(), Source::Postgres);
    }

    #[test]
    fn every_format_is_cut_from_the_same_bytes() {
        let frame = frame(b"{\"a\":1}");
        assert_eq!(
            written(&frame, Format::Event),
            "id: ab.1.90002e8.1\ndata: {\"id\":\"ab.1.90002e8.1\",\"type\":\"property.insert\",\
             \"channel\":\"property\",\"timestamp\":1700000000123,\"source\":\"postgres\",\
             \"version\":\"1\",\"payload\":{\"record\":{\"a\":1}}}\n\n"
        );
        assert_eq!(
            written(&frame, Format::Data),
            "id: ab.1.90002e8.1\ndata: {\"id\":\"ab.1.90002e8.1\",\"type\":\"property.insert\",\
             \"channel\":\"property\",\"timestamp\":1700000000123,\"data\":{\"a\":1}}\n\n"
        );
        assert_eq!(
            written(&frame, Format::Named),
            "event: property.insert\nid: ab.1.90002e8.1\ndata: {\"a\":1}\n\n"
        );
    }

    #[test]
    fn a_writer_keeps_nothing_of_the_frame_before() {
        let name = |text| Name::new(text).unwrap();
        let (event_type, channel) = (name("a"), name("b"));
        let mut writer = FrameWriter::default();
        let mut write = |index, payload: &[u8]| {
            let id = EventId {
                index,
                ..EventId::default()
            };
            writer.begin(id, &event_type, &channel, 1, Source::Postgres);
            let start = writer.json().len();
            writer.json().extend_from_slice(payload);
            writer.mark_data(start);
            writer.finish(Audience::of(Topic::Global))
        };
        let (long, short) = (write(1, b"[1,2,3]"), write(2, b"[]"));
        assert!(written(&long, Format::Event).contains("\"payload\":[1,2,3]}"));
        assert_eq!(
            written(&short, Format::Event),
            "id: 0.0.0.2\ndata: {\"id\":\"0.0.0.2\",\"type\":\"a\",\"channel\":\"b\",\
             \"timestamp\":1,\"source\":\"postgres\",\"version\":\"1\",\"payload\":[]}\n\n"
        );
        assert_eq!(
            written(&short, Format::Named),
            "event: a\nid: 0.0.0.2\ndata: []\n\n"
        );
    }

    #[test]
    fn no_line_end_survives_in_a_payload() {
        let frame = frame(b"{\r\n  \"a\": 1,\n\r\"b\":2}");
        let text = written(&frame, Format::Event);
        assert_eq!(text.matches(['\r', '\n']).count(), 3);
        let json = text.lines().nth(1).unwrap().strip_prefix("data: ").unwrap();
        let event: serde_json::Value = serde_json::from_str(json).unwrap();
        assert_eq!(
            event["payload"]["record"],
            serde_json::json!({"a": 1, "b": 2})
        );
    }
}
