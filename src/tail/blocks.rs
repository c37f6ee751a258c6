//! The text of an event stream to its events (WHATWG HTML, 9.2.6, "Interpreting an event stream").
//!
//! Bytes in, blocks out; where they come from is `tail`'s business.

/// The longest line that is kept: the node's largest event and some room.
const LINE_BYTES_MAX: usize = 16 * 1024 * 1024;

/// One event of a stream.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Block {
    /// Its name; empty for one that `onmessage` would receive.
    pub(crate) event: String,
    /// Its data, lines joined by line feeds.
    pub(crate) data: String,
}

/// A line is longer than any event of a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct TooLong;

/// An event stream being read, and what it said for a reconnect.
#[derive(Debug, Default)]
pub(crate) struct Blocks {
    line: Vec<u8>,
    /// The last byte was a carriage return: a line feed now belongs to it.
    after_return: bool,
    block: Block,
    has_data: bool,
    /// The id in the block being read: it counts when the block ends.
    pending_id: Option<String>,
    /// The newest id.
    pub(crate) last_id: Option<String>,
    /// How long to wait before the next connection, in milliseconds, if the stream said so.
    pub(crate) retry_ms: Option<u64>,
}

impl Blocks {
    /// Reads a piece of the stream, and hands over each block that it ends.
    ///
    /// # Errors
    ///
    /// Where a line exceeds every bound.
    pub(crate) fn read(
        &mut self,
        bytes: &[u8],
        mut each: impl FnMut(Block),
    ) -> Result<(), TooLong> {
        for &byte in bytes {
            let is_second_half = byte == b'\n' && self.after_return;
            self.after_return = byte == b'\r';
            match byte {
                b'\n' if is_second_half => {}
                b'\n' | b'\r' => {
                    if let Some(block) = self.end_line() {
                        each(block);
                    }
                }
                _ if self.line.len() == LINE_BYTES_MAX => return Err(TooLong),
                _ => self.line.push(byte),
            }
        }
        Ok(())
    }

    /// Drops what a broken connection left half read; ids and times stay.
    pub(crate) fn begin_again(&mut self) {
        let (last_id, retry_ms) = (self.last_id.take(), self.retry_ms);
        *self = Self {
            last_id,
            retry_ms,
            ..Self::default()
        };
    }

    fn end_line(&mut self) -> Option<Block> {
        let line = String::from_utf8_lossy(&self.line).into_owned();
        self.line.clear();
        if line.is_empty() {
            return self.end_block();
        }
        let (field, value) = line.split_once(':').unwrap_or((&line, ""));
        let value = value.strip_prefix(' ').unwrap_or(value);
        match field {
            "event" => self.block.event = value.to_owned(),
            "data" => {
                if self.has_data {
                    self.block.data.push('\n');
                }
                self.block.data.push_str(value);
                self.has_data = true;
            }
            "id" if !value.contains('\0') => self.pending_id = Some(value.to_owned()),
            "retry" => self.retry_ms = value.parse().ok().or(self.retry_ms),
            // A comment, or a field of another time.
            _ => {}
        }
        None
    }

    fn end_block(&mut self) -> Option<Block> {
        self.last_id = self.pending_id.take().or(self.last_id.take());
        let block = std::mem::take(&mut self.block);
        std::mem::take(&mut self.has_data).then_some(block)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(pieces: &[&str]) -> (Vec<(String, String)>, Blocks) {
        let mut blocks = Blocks::default();
        let mut read = Vec::new();
        for piece in pieces {
            let each = |block: Block| read.push((block.event, block.data));
            blocks.read(piece.as_bytes(), each).expect("short lines");
        }
        (read, blocks)
    }

    #[test]
    fn the_same_blocks_whatever_the_pieces() {
        let text = "retry: 2500\n\nevent: connected\r\nid: 1.1.2.0\r\ndata: {}\r\n\r\n\
                    : comment\nid:1.1.2.1\ndata: a\ndata:b\n\nevent: half\ndata: x\n";
        let whole = vec![
            ("connected".into(), "{}".into()),
            (String::new(), "a\nb".into()),
        ];
        for cut in 0..=text.len() {
            let (one, two) = text.split_at(cut);
            let (read, blocks) = read(&[one, two]);
            assert_eq!(read, whole, "cut at {cut}");
            assert_eq!(blocks.last_id.as_deref(), Some("1.1.2.1"));
            assert_eq!(blocks.retry_ms, Some(2500));
        }
    }

    #[test]
    fn a_new_connection_forgets_the_half_block_but_not_the_id() {
        let (_, mut blocks) = read(&["id: 7\ndata: x\n\nid: 8\ndata: ha"]);
        blocks.begin_again();
        let mut read = Vec::new();
        blocks
            .read(b"data: y\n\n", |block| read.push(block.data))
            .expect("short");
        assert_eq!(read, ["y"]);
        assert_eq!(blocks.last_id.as_deref(), Some("7"));
    }
}
