//! What a server is told of positions, read from the bytes that are sent to it: nothing is confirmed
//! that was not handed over, and no position that was confirmed is left standing.

use wire::{Batch, Lsn};

const COPY_DATA: u8 = b'd';
const QUERY: u8 = b'Q';
const STANDBY_STATUS: u8 = b'r';
/// Its tag, three positions, a time and whether to answer.
const STANDBY_STATUS_BYTES: usize = 1 + 3 * 8 + 8 + 1;

/// What a server was told, and may be.
#[derive(Debug, Default)]
pub(super) struct Told {
    /// The end of the last transaction that was handed over whole, or the last progress.
    whole: Lsn,
    /// Where the last part of a transaction stands that was handed over.
    part: Lsn,
    /// Where the newest stream was begun: what lies before was handed over, or given up with a gap.
    begun: Lsn,
    /// What was confirmed last, on this connection.
    confirmed: Lsn,
}

impl Told {
    /// A batch has reached every engine.
    pub(super) fn on_handed_over(&mut self, batch: &Batch) {
        match batch {
            Batch::Commit(commit) => {
                self.part = commit.through.lsn;
                self.whole = commit.end.unwrap_or(self.whole);
            }
            Batch::Progress(position) => (self.part, self.whole) = (position.lsn, position.lsn),
            Batch::Gap(gap) => {
                self.part = gap.floor.lsn;
                self.whole = self.whole.min(gap.floor.lsn);
            }
            _ => {}
        }
    }

    /// What is sent on the connection that streams; `is_first` says that nothing was before.
    pub(super) fn on_stream(&mut self, sent: &[u8], is_first: bool) {
        if is_first {
            self.confirmed = Lsn(0);
        }
        let mut stands = false;
        for (tag, body) in messages(sent, is_first) {
            match (tag, body.first()) {
                (COPY_DATA, Some(&STANDBY_STATUS)) => stands = self.on_status(body, stands),
                (QUERY, _) => {
                    self.begun = position_after(body, &[" LOGICAL "]).unwrap_or(self.begun)
                }
                (COPY_DATA, _) => panic!("it is told what no server knows"),
                _ => {}
            }
        }
        assert!(!stands, "a position that was confirmed is left standing");
    }

    /// Whether it confirms something.
    fn on_status(&mut self, body: &[u8], stands: bool) -> bool {
        assert_eq!(body.len(), STANDBY_STATUS_BYTES);
        let position = |at: usize| {
            let bytes = body[at..at + 8].try_into().expect("eight bytes");
            Lsn(u64::from_be_bytes(bytes))
        };
        let (written, flushed, applied) = (position(1), position(9), position(17));
        assert!(flushed <= written && applied <= written);
        if flushed == Lsn(0) {
            return false;
        }
        assert!(!stands, "it confirms twice at once");
        assert!(flushed >= self.confirmed, "it goes back to {flushed}");
        assert!(flushed <= self.whole, "{flushed} was not handed over");
        self.confirmed = flushed;
        true
    }

    /// What is sent on the connection that moves the anchor.
    pub(super) fn on_anchor(&self, sent: &[u8], is_first: bool) {
        for (tag, body) in messages(sent, is_first) {
            if tag == QUERY
                && let Some(target) = position_after(body, &["slot_advance('", "', '"])
            {
                assert!(
                    target <= self.whole.max(self.part).max(self.begun),
                    "the anchor is moved to {target}"
                );
            }
        }
    }
}

/// The messages to a server, each with its tag. The first has none.
fn messages(mut sent: &[u8], is_first: bool) -> impl Iterator<Item = (u8, &[u8])> {
    let mut has_tag = !is_first;
    std::iter::from_fn(move || {
        if sent.is_empty() {
            return None;
        }
        let tag = match std::mem::replace(&mut has_tag, true) {
            true => *sent.split_off_first().expect("it is not empty"),
            false => 0,
        };
        let (length, _) = sent.split_first_chunk().expect("a message has a length");
        let length = u32::from_be_bytes(*length) as usize;
        let message = sent.split_off(..length).expect("a message is sent whole");
        Some((tag, &message[4..]))
    })
}

/// The position behind these words of a query, if it has them all.
fn position_after(query: &[u8], words: &[&str]) -> Option<Lsn> {
    let mut rest = std::str::from_utf8(query).expect("our own SQL is text");
    for word in words {
        (_, rest) = rest.split_once(word)?;
    }
    let end = rest.find(|it: char| !it.is_ascii_hexdigit() && it != '/');
    rest[..end.unwrap_or(rest.len())].parse().ok()
}
