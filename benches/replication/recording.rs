//! What a server said in one session, recorded once and played to readers as often as it is wanted.
//!
//! A reader is pure, so the same seed and the same times make it ask the same questions again.

use std::io::{Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::time::Instant;

use replication::{Config, Line, LineAction, Protection, Reader};
use wire::Batch;

use super::wal::Wal;

/// How many bytes are read at a time: as many as the node's replication thread reads.
const READ_BYTES: usize = 64 * 1024;

/// Every moment is this one, so that nothing is ever due.
const NOW_MS: u64 = 0;

const SEED: u64 = 1;

/// A session, as the server spoke in it.
pub(super) struct Recording {
    config: Config,
    chunks: Vec<Vec<u8>>,
    rows: usize,
    events: usize,
}

/// One playing of a recording.
pub(super) struct Pass {
    pub(super) seconds: f64,
    pub(super) rows: usize,
    pub(super) stream_bytes: usize,
    pub(super) event_bytes: usize,
}

/// The events of one transaction or more.
#[derive(Clone, Copy, Default)]
struct Taken {
    events: usize,
    bytes: usize,
}

impl Recording {
    /// Records a session until so many rows were read.
    pub(super) fn take(wal: &Wal, rows: usize) -> Self {
        let (config, rows) = (wal.reader(), rows.min(wal.rows));
        let mut recording = Self {
            config,
            chunks: Vec::new(),
            rows,
            events: wal.kind.events(rows),
        };
        let mut reader = recording.reader();
        let path = recording.config.connect.socket_path();
        let path = path.expect("the tests' servers have a Unix socket");
        let mut socket = UnixStream::connect(path).expect("the server listens");
        let mut buffer = vec![0; READ_BYTES];
        let mut taken = Taken::default();
        while taken.events < recording.events {
            if let Some(out) = reader.outbox(Line::Stream) {
                socket.write_all(out).expect("the server reads");
                out.clear();
            }
            let len = socket.read(&mut buffer).expect("the server answers");
            assert!(len > 0, "the server hung up: {:?}", reader.poll_notice());
            taken.add(&mut reader, &buffer[..len]);
            recording.chunks.push(buffer[..len].to_vec());
        }
        recording
    }

    /// Plays it to a reader; a panic where not every event comes of it.
    pub(super) fn play(&self) -> Pass {
        let mut reader = self.reader();
        let mut taken = Taken::default();
        let begun = Instant::now();
        for chunk in &self.chunks {
            if let Some(out) = reader.outbox(Line::Stream) {
                out.clear();
            }
            taken.add(&mut reader, chunk);
        }
        let seconds = begun.elapsed().as_secs_f64();
        assert!(taken.events >= self.events, "every row was an event");
        Pass {
            seconds,
            // The last piece may have held more than was wanted.
            rows: taken.events * self.rows / self.events,
            stream_bytes: self.chunks.iter().map(Vec::len).sum(),
            event_bytes: taken.bytes,
        }
    }

    /// A reader whose connection stands.
    fn reader(&self) -> Reader {
        let mut reader = Reader::new(self.config.clone(), SEED, NOW_MS);
        reader.handle_timeout(NOW_MS);
        assert_eq!(reader.poll_action(), Some(LineAction::Open(Line::Stream)));
        reader.handle_opened(Line::Stream, Protection::None, NOW_MS);
        reader
    }
}

impl Taken {
    /// Gives the reader what arrived, and counts what it hands over.
    fn add(&mut self, reader: &mut Reader, bytes: &[u8]) {
        reader.handle_bytes(Line::Stream, bytes, NOW_MS);
        while let Some(batch) = reader.poll_batch(NOW_MS) {
            if let Batch::Commit(commit) = batch {
                self.events += commit.frames.len();
                let frames = commit.frames.iter();
                self.bytes += frames.map(|frame| frame.bytes().len()).sum::<usize>();
            }
            reader.handle_handed_over(NOW_MS);
        }
    }
}
