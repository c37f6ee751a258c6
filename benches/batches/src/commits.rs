//! Commits: a transaction of events as replication hands it over, in batches of bounded size.

use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use wire::{
    Audience, Batch, Commit, EventId, Frame, FrameWriter, Keys, Lineage, Lsn, Name, Source, Topic,
    json,
};

/// The most bytes of frames in one batch of a transaction; a single larger frame goes alone.
const BATCH_BYTES_MAX: usize = 256 * 1024;

/// How far a commit record lies behind the one before it: about what a row of 200 bytes takes.
const COMMIT_BYTES: u64 = 0x140;

/// Makes the transactions of one boot, one after the other.
pub(crate) struct Commits {
    keys: Keys,
    lineage: Lineage,
    /// Where the next transaction commits.
    lsn: Lsn,
    event_type: Name,
    channel: Name,
    writer: FrameWriter,
}

impl Commits {
    pub(crate) fn new() -> Self {
        let name = |text| Name::new(text).expect("the name is a good one");
        Self {
            keys: crate::admission::keys(),
            lineage: Lineage::new(0xbe7c_4e55, Vec::new(), 1),
            // LSNs of eight digits from the first to the last, so that all frames are of one length.
            lsn: Lsn(0x1000_0000),
            event_type: name("note.create"),
            channel: name("note"),
            writer: FrameWriter::default(),
        }
    }

    pub(crate) fn lineage(&self) -> &Lineage {
        &self.lineage
    }

    /// The position before the first transaction.
    pub(crate) fn floor(&self) -> EventId {
        self.lineage.position(self.lsn, 0)
    }

    /// One transaction with an event for each text, of one organisation or of all.
    pub(crate) fn commit<'a>(
        &mut self,
        organisation: Option<&str>,
        texts: impl Iterator<Item = &'a [u8]>,
    ) -> Vec<Batch> {
        let topic = organisation.map_or(Topic::Global, |name| {
            Topic::Organisation(self.keys.organisation(name))
        });
        let audience = Audience::of(topic);
        let timestamp_ms = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .map_or(0, |since| since.as_millis() as i64);
        let mut parts: Vec<Vec<Frame>> = vec![Vec::new()];
        let mut bytes = 0;
        for (index, text) in (1..).zip(texts) {
            let id = self.lineage.position(self.lsn, index);
            let frame = self.frame(id, timestamp_ms, text, audience.clone());
            bytes += frame.bytes().len();
            if bytes > BATCH_BYTES_MAX && !parts[parts.len() - 1].is_empty() {
                parts.push(Vec::new());
                bytes = frame.bytes().len();
            }
            parts.last_mut().expect("there is always one").push(frame);
        }
        let end = Lsn(self.lsn.0 + COMMIT_BYTES - 8);
        self.lsn.0 += COMMIT_BYTES;
        let last = parts.len() - 1;
        let batch = |(place, frames): (usize, Vec<Frame>)| {
            let is_last = place == last;
            let through = match frames.last() {
                Some(frame) if !is_last => frame.id(),
                _ => self.lineage.position(end, 0),
            };
            let end = is_last.then_some(end);
            Batch::Commit(Arc::new(Commit {
                frames,
                through,
                end,
            }))
        };
        parts.into_iter().enumerate().map(batch).collect()
    }

    /// An event of the shape that an inserted row has.
    fn frame(&mut self, id: EventId, timestamp_ms: i64, text: &[u8], audience: Audience) -> Frame {
        let (writer, source) = (&mut self.writer, Source::Postgres);
        writer.begin(id, &self.event_type, &self.channel, timestamp_ms, source);
        writer.json().extend_from_slice(b"{\"record\":");
        let start = writer.json().len();
        writer.json().extend_from_slice(b"{\"body\":");
        json::escape_bytes_into(writer.json(), text);
        writer.json().push(b'}');
        writer.mark_data(start);
        writer.json().push(b'}');
        writer.finish(audience)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_transaction_is_handed_over_in_bounded_parts_and_in_order() {
        let mut commits = Commits::new();
        let text = vec![b'x'; 100 * 1024];
        let batches = commits.commit(Some("o1"), [text.as_slice(); 5].into_iter());
        let parts: Vec<&Commit> = batches
            .iter()
            .map(|batch| match batch {
                Batch::Commit(commit) => &**commit,
                other => panic!("no commit: {other:?}"),
            })
            .collect();
        let frames: Vec<usize> = parts.iter().map(|part| part.frames.len()).collect();
        assert_eq!(frames, [2, 2, 1]);
        assert!(parts[0].end.is_none() && parts[1].end.is_none() && parts[2].end.is_some());
        let frames = parts.iter().flat_map(|part| &part.frames);
        assert!(frames.map(Frame::id).is_sorted());
        assert!(parts[2].through > parts[2].frames[0].id());

        let next = commits.commit(None, [b"a \"quoted\" text".as_slice()].into_iter());
        let Batch::Commit(next) = &next[0] else {
            panic!("no commit")
        };
        assert!(next.frames[0].id() > parts[2].through);
        let record = r#""payload":{"record":{"body":"a \"quoted\" text"}}}"#;
        let json = String::from_utf8_lossy(next.frames[0].json()).into_owned();
        assert!(json.ends_with(record), "{json}");
    }
}
