//! A row that is too long to be kept whole, made short while it arrives: its long values are dropped,
//! and what is left can be read like any other.
//!
//! A long row is no reason to end the stream: it would come again after the next connection, for ever.

use bytes::{Buf as _, Bytes, BytesMut};

use super::Malformed;
use crate::limits::{
    APPLICATION_BYTES_MAX, LONG_ROW_VALUE_BYTES_MAX, NAME_BYTES_MAX, ROW_BYTES_MAX,
};
use crate::pgoutput::OVERSIZED;

/// The content of one CopyData message, of which a part has arrived.
#[derive(Debug)]
pub(crate) struct Condenser {
    /// What is left of it.
    kept: Vec<u8>,
    /// How many of its bytes have not arrived.
    left: usize,
    /// How many bytes to keep before the next step, and then how many to drop.
    want: usize,
    skip: usize,
    step: Step,
}

/// What the bytes that were kept last are. `again` says that the row as it is now follows that as it was.
#[derive(Clone, Copy, Debug)]
enum Step {
    /// The head of the message and the tag of the change. Next: Kind or Prefix.
    Head,
    /// Which version of the row follows. Next: Count.
    Kind { is_update: bool },
    /// How many columns it has. Next: Column.
    Count { again: bool },
    /// Whether a column has a value. Next: Length or Column.
    Column { left: u16, again: bool },
    /// How long that is. Next: Value.
    Length { left: u16, again: bool },
    /// The value, or nothing of it. Next: Column, Kind or End.
    Value { left: u16, again: bool },
    /// A byte of the prefix of an application message. Next: Content.
    Prefix,
    /// The same, where the prefix is too long to be kept. Next: Content.
    LongPrefix,
    /// How long the content of an application message is. Next: End.
    Content,
    /// Nothing may follow.
    End,
}

/// The head of WAL data: a tag, two positions and a time; and the tag of the change.
const HEAD_BYTES: usize = 1 + 8 + 8 + 8 + 1;

/// The flags of an application message, and its position.
const MESSAGE_HEAD_BYTES: usize = 1 + 8;

impl Condenser {
    /// For a content of so many bytes.
    pub(crate) fn new(len: usize) -> Self {
        Self {
            kept: Vec::new(),
            left: len,
            want: HEAD_BYTES,
            skip: 0,
            step: Step::Head,
        }
    }

    /// Takes what has arrived, and returns the content in short once that was all of it.
    pub(crate) fn take(&mut self, bytes: &mut BytesMut) -> Result<Option<Bytes>, Malformed> {
        loop {
            let want = self.want.min(self.left).min(bytes.len());
            self.kept.extend_from_slice(&bytes[..want]);
            self.want -= want;
            let skip = match self.want {
                0 => self.skip.min(self.left - want).min(bytes.len() - want),
                _ => 0,
            };
            self.skip -= skip;
            self.left -= want + skip;
            bytes.advance(want + skip);
            match (self.want + self.skip, self.step, self.left) {
                (0, Step::End, 0) => return Ok(Some(std::mem::take(&mut self.kept).into())),
                (0, ..) => self.on_step()?,
                (_, _, 0) => return Err(Malformed::Short),
                _ => return Ok(None),
            }
        }
    }

    fn on_step(&mut self) -> Result<(), Malformed> {
        if self.kept.len() > ROW_BYTES_MAX {
            return Err(Malformed::TooMany);
        }
        match self.step {
            Step::Head => match self.last() {
                tag @ [b'I' | b'U' | b'D'] => {
                    let is_update = tag == [b'U'];
                    // The table, and then the kind.
                    self.expect(4 + 1, Step::Kind { is_update });
                }
                [b'M'] => self.expect(MESSAGE_HEAD_BYTES + 1, Step::Prefix),
                // Of everything else a server means no more than we keep.
                [_] => return Err(Malformed::Length),
            },
            Step::Kind { is_update } => {
                let again = is_update && self.last() != [b'N'];
                self.expect(2, Step::Count { again });
            }
            Step::Count { again } => {
                let left = u16::from_be_bytes(self.last());
                self.next_column(left, again);
            }
            Step::Column { left, again } => match self.last() {
                [b'n' | b'u'] => self.next_column(left - 1, again),
                [b't'] => self.expect(4, Step::Length { left, again }),
                [tag] => return Err(Malformed::Tag(tag)),
            },
            Step::Length { left, again } => {
                let len = self.length()?;
                self.expect(len, Step::Value { left, again });
                if len > LONG_ROW_VALUE_BYTES_MAX {
                    let tag = self.kept.len() - 4 - 1;
                    self.kept[tag] = OVERSIZED;
                    (self.want, self.skip) = (0, len);
                }
            }
            Step::Value { left, again } => self.next_column(left - 1, again),
            Step::Prefix => match self.last() {
                [0] => self.expect(4, Step::Content),
                // Nobody we know has a prefix that long, so that none stands for it.
                _ if self.kept.len() > NAME_BYTES_MAX => {
                    self.kept.truncate(HEAD_BYTES + MESSAGE_HEAD_BYTES);
                    self.expect(1, Step::LongPrefix);
                }
                _ => self.expect(1, Step::Prefix),
            },
            Step::LongPrefix => match self.last() {
                [0] => self.expect(4, Step::Content),
                [_] => {
                    self.kept.pop();
                    self.expect(1, Step::LongPrefix);
                }
            },
            Step::Content => {
                let len = self.length()?;
                // One byte more than is allowed says that it was too long.
                let want = len.min(APPLICATION_BYTES_MAX + 1);
                let at = self.kept.len() - 4;
                let kept = u32::try_from(want).expect("a bound that is small");
                self.kept[at..].copy_from_slice(&kept.to_be_bytes());
                self.expect(want, Step::End);
                self.skip = len - want;
            }
            Step::End => return Err(Malformed::Long),
        }
        Ok(())
    }

    fn next_column(&mut self, left: u16, again: bool) {
        match (left, again) {
            (0, false) => self.expect(0, Step::End),
            (0, true) => self.expect(1, Step::Kind { is_update: false }),
            (left, again) => self.expect(1, Step::Column { left, again }),
        }
    }

    fn expect(&mut self, want: usize, step: Step) {
        (self.want, self.step) = (want, step);
    }

    fn length(&self) -> Result<usize, Malformed> {
        usize::try_from(i32::from_be_bytes(self.last())).map_err(|_| Malformed::Length)
    }

    /// The bytes that were kept last.
    fn last<const N: usize>(&self) -> [u8; N] {
        *self
            .kept
            .last_chunk()
            .expect("a step has as many bytes as it wanted")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pgoutput::{Message, Value};

    fn value(text: &[u8]) -> Vec<u8> {
        let len = u32::try_from(text.len()).unwrap();
        [b"t", &len.to_be_bytes()[..], text].concat()
    }

    fn content(change: &[u8]) -> Vec<u8> {
        [&[b'w'][..], &[7; HEAD_BYTES - 2], change].concat()
    }

    /// What is left of a content that arrives in pieces of a size.
    fn condensed(content: &[u8], piece: usize) -> Result<Bytes, Malformed> {
        let mut condenser = Condenser::new(content.len());
        let mut bytes = BytesMut::new();
        for piece in content.chunks(piece) {
            bytes.extend_from_slice(piece);
            if let Some(kept) = condenser.take(&mut bytes)? {
                assert!(bytes.is_empty());
                return Ok(kept);
            }
            assert!(bytes.is_empty(), "everything is taken as it comes");
        }
        Err(Malformed::Short)
    }

    fn update() -> Vec<u8> {
        let (long, short) = (vec![b'x'; 9_000], b"key");
        let old = [b"O\0\x03", &value(short)[..], &value(&long), b"n"].concat();
        let new = [b"N\0\x03", &value(short)[..], b"u", &value(&long)].concat();
        content(&[b"U\0\0\0\x07", &old[..], &new].concat())
    }

    #[test]
    fn long_values_are_dropped_wherever_it_is_cut() {
        let whole = condensed(&update(), usize::MAX).unwrap();
        assert!(whole.len() < 100);
        let Ok(Message::Update {
            relation: 7,
            old: Some(old),
            new,
        }) = Message::parse(&whole[HEAD_BYTES - 1..])
        else {
            panic!("an update")
        };
        let (key, long) = (Value::Text(b"key"), Value::Oversized);
        assert_eq!(
            old.tuple.values().collect::<Vec<_>>(),
            [key, long, Value::Null]
        );
        assert_eq!(
            new.values().collect::<Vec<_>>(),
            [key, Value::Unchanged, long]
        );
        for piece in [1, 2, 3, 7, 64, 8_999, 9_000, 9_001] {
            assert_eq!(condensed(&update(), piece), Ok(whole.clone()), "{piece}");
        }
    }

    #[test]
    fn a_long_message_is_still_too_long() {
        let len = 3 * APPLICATION_BYTES_MAX;
        let head = [b"M\x01".as_slice(), &[0; 8], b"tailrace\0"].concat();
        let length = u32::try_from(len).unwrap().to_be_bytes();
        let message = content(&[&head[..], &length, &vec![b'x'; len]].concat());
        for piece in [1, 1_000, usize::MAX] {
            let kept = condensed(&message, piece).unwrap();
            let Ok(Message::Application {
                prefix, content, ..
            }) = Message::parse(&kept[HEAD_BYTES - 1..])
            else {
                panic!("a message")
            };
            assert_eq!(
                (prefix, content.len()),
                ("tailrace", APPLICATION_BYTES_MAX + 1)
            );
        }
    }

    #[test]
    fn a_long_prefix_is_nobodys() {
        let prefix = "ö".repeat(NAME_BYTES_MAX);
        let head = [b"M\x01".as_slice(), &[0; 8], prefix.as_bytes(), b"\0"].concat();
        let message = content(&[&head[..], b"\0\0\0\x02{}"].concat());
        for piece in [1, 1_000, usize::MAX] {
            let kept = condensed(&message, piece).unwrap();
            let Ok(Message::Application {
                prefix, content, ..
            }) = Message::parse(&kept[HEAD_BYTES - 1..])
            else {
                panic!("a message")
            };
            assert_eq!((prefix, content), ("", b"{}".as_slice()), "{piece}");
        }
    }

    #[test]
    fn what_is_no_row_is_an_error_wherever_it_ends() {
        let whole = update();
        for len in (1..100).chain([9_000, whole.len() - 1]) {
            assert_eq!(
                condensed(&whole[..len], usize::MAX),
                Err(Malformed::Short),
                "{len}"
            );
        }
        let longer = [&whole[..], b"x"].concat();
        assert_eq!(condensed(&longer, usize::MAX), Err(Malformed::Long));
        let relation = content(&[b"R".as_slice(), &[0; 100]].concat());
        assert_eq!(condensed(&relation, usize::MAX), Err(Malformed::Length));
        let binary = content(b"I\0\0\0\x07N\0\x01b\0\0\0\x01x");
        assert_eq!(condensed(&binary, usize::MAX), Err(Malformed::Tag(b'b')));
        let negative = content(b"I\0\0\0\x07N\0\x01t\xff\xff\xff\xff");
        assert_eq!(condensed(&negative, usize::MAX), Err(Malformed::Length));
        let endless = content(&[b"M\x01".as_slice(), &[0; 8], &vec![b'x'; 9_000]].concat());
        assert_eq!(condensed(&endless, usize::MAX), Err(Malformed::Short));
    }
}
