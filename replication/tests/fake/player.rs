//! A reader in memory, with a clock that stands unless it is moved.

use replication::{Config, Line, LineAction, Notice, Protection, Reader};
use wire::Batch;

/// A reader, without anything around it.
#[derive(Debug)]
pub(super) struct Player {
    pub(super) reader: Reader,
    pub(super) now_ms: u64,
    is_open: bool,
    /// How often the reader closed the connection.
    pub(super) closed: u32,
    pub(super) frames: Vec<String>,
    pub(super) notices: Vec<Notice>,
}

impl Player {
    pub(super) fn new(config: &Config) -> Self {
        Self {
            reader: Reader::new(config.clone(), 7, 0),
            now_ms: 0,
            is_open: false,
            closed: 0,
            frames: Vec::new(),
            notices: Vec::new(),
        }
    }

    /// Lets time pass until the reader wants a connection, and gives it one.
    pub(super) fn open(&mut self) {
        while !self.is_open {
            self.now_ms += 100;
            assert!(self.now_ms < 60_000, "no connection is wanted: {self:?}");
            self.reader.handle_timeout(self.now_ms);
            self.act();
        }
    }

    /// The server says something, unless it was cut off.
    pub(super) fn hear(&mut self, bytes: &[u8]) {
        if self.is_open {
            self.reader.handle_bytes(Line::Stream, bytes, self.now_ms);
            self.act();
        }
    }

    /// Time passes, and nothing is heard.
    pub(super) fn pass(&mut self, ms: u64) {
        self.now_ms += ms;
        self.reader.handle_timeout(self.now_ms);
        self.act();
    }

    /// The connection breaks.
    pub(super) fn lose(&mut self) {
        assert!(self.is_open, "the reader has not closed it");
        self.is_open = false;
        self.reader
            .handle_failed(Line::Stream, "closed", self.now_ms);
        self.act();
    }

    /// What the reader has to send.
    pub(super) fn said(&mut self) -> Vec<u8> {
        std::mem::take(self.reader.outbox(Line::Stream).unwrap())
    }

    fn act(&mut self) {
        while let Some(batch) = self.reader.poll_batch(self.now_ms) {
            self.reader.handle_handed_over(self.now_ms);
            if let Batch::Commit(commit) = batch {
                let frames = commit.frames.iter();
                let texts = frames.map(|frame| String::from_utf8(frame.bytes().to_vec()).unwrap());
                self.frames.extend(texts);
            }
        }
        while let Some(notice) = self.reader.poll_notice() {
            self.notices.push(notice);
        }
        while let Some(action) = self.reader.poll_action() {
            match action {
                LineAction::Open(Line::Stream) => {
                    self.is_open = true;
                    self.reader
                        .handle_opened(Line::Stream, Protection::None, self.now_ms);
                }
                LineAction::Close(Line::Stream) => {
                    self.is_open = false;
                    self.closed += 1;
                }
                LineAction::Open(line) => self.reader.handle_failed(line, "not here", self.now_ms),
                LineAction::Close(_) => {}
            }
        }
    }
}
