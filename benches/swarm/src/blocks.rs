//! The blocks of an event stream: whole ones are handed on where they lie, and only what is cut off
//! at the end of a piece is kept.
//!
//! A block ends with an empty line, and lines end with a line feed, with or without a carriage
//! return before it. A carriage return alone ends no line here: the standard allows it, and no
//! server that is measured sends it.

use memchr::{memchr_iter, memrchr_iter};

/// The longest block, in bytes.
const BLOCK_BYTES_MAX: usize = 4 * 1024 * 1024;

/// What is kept of a stream between two pieces: the beginning of a block.
#[derive(Debug, Default)]
pub(crate) struct Blocks {
    partial: Vec<u8>,
}

/// A block is longer than any that is sent on purpose.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct TooLong;

impl Blocks {
    /// Takes the next piece, and hands on whole blocks: several in one call, as they lie.
    #[inline]
    pub(crate) fn take(
        &mut self,
        mut piece: &[u8],
        handle: &mut impl FnMut(&[u8]),
    ) -> Result<(), TooLong> {
        if !self.partial.is_empty() {
            let Some(rest) = self.complete(piece) else {
                return self.check();
            };
            handle(&self.partial);
            self.partial.clear();
            piece = rest;
        }
        let (whole, partial) = piece.split_at(end_of_last(piece));
        if !whole.is_empty() {
            handle(whole);
        }
        self.partial.extend_from_slice(partial);
        self.check()
    }

    /// Adds the rest of the block that was cut off, and returns what comes after it; none where the
    /// block does not end in this piece.
    fn complete<'a>(&mut self, piece: &'a [u8]) -> Option<&'a [u8]> {
        let mut added = 0;
        for line_feed in memchr_iter(b'\n', piece) {
            self.partial.extend_from_slice(&piece[added..=line_feed]);
            added = line_feed + 1;
            let end = self.partial.len() - 1;
            if ends_block(&self.partial[..end]) {
                return Some(&piece[added..]);
            }
        }
        self.partial.extend_from_slice(&piece[added..]);
        None
    }

    fn check(&self) -> Result<(), TooLong> {
        if self.partial.len() > BLOCK_BYTES_MAX {
            return Err(TooLong);
        }
        Ok(())
    }
}

/// Where the last whole block ends in bytes that begin with a block; zero where there is none.
#[inline]
fn end_of_last(bytes: &[u8]) -> usize {
    memrchr_iter(b'\n', bytes)
        .find(|line_feed| ends_block(&bytes[..*line_feed]))
        .map_or(0, |line_feed| line_feed + 1)
}

/// Whether a line feed after these bytes, which begin with a block, ends an empty line.
#[inline]
fn ends_block(before: &[u8]) -> bool {
    let line = before.strip_suffix(b"\r").unwrap_or(before);
    line.last().is_none_or(|byte| *byte == b'\n')
}

#[cfg(test)]
mod tests {
    use super::{BLOCK_BYTES_MAX, Blocks, TooLong};

    /// Everything that is handed on, and whether each call got whole blocks.
    fn taken(pieces: &[&[u8]]) -> Vec<u8> {
        let (mut blocks, mut sum) = (Blocks::default(), Vec::new());
        for piece in pieces {
            let taken = blocks.take(piece, &mut |whole| {
                assert!(whole.ends_with(b"\n"));
                sum.extend_from_slice(whole);
            });
            taken.expect("no block is long");
        }
        sum
    }

    #[test]
    fn whole_blocks_are_handed_on_wherever_they_are_cut() {
        let whole =
            b"id: 1\ndata: a\n\n: comment\n\nid: 2\r\ndata: b\r\n\r\n\ndata: c\ndata: d\n\n";
        let stream = [whole, &b"id: 3\ndata: e\n"[..]].concat();
        for first in 0..=stream.len() {
            for second in first..=stream.len() {
                let pieces = [&stream[..first], &stream[first..second], &stream[second..]];
                assert_eq!(taken(&pieces), whole, "cut at {first} and {second}");
            }
        }
    }

    #[test]
    fn bytes_one_by_one_are_handed_on_block_by_block() {
        let stream = b"data: a\r\n\r\ndata: b\n\n:\n";
        let (mut blocks, mut found) = (Blocks::default(), Vec::new());
        for byte in stream.chunks(1) {
            let taken = blocks.take(byte, &mut |whole| found.push(whole.to_vec()));
            taken.expect("no block is long");
        }
        assert_eq!(found, [&b"data: a\r\n\r\n"[..], b"data: b\n\n"]);
    }

    #[test]
    fn a_block_without_end_is_not_kept_forever() {
        let (mut blocks, line) = (Blocks::default(), [b'x'; 1024]);
        let mut take = || blocks.take(&line, &mut |_| unreachable!());
        let result = (0..=BLOCK_BYTES_MAX / line.len()).try_for_each(|_| take());
        assert_eq!(result, Err(TooLong));
    }
}
