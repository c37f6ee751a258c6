//! A reader before the cluster, with nothing in between: for the tests of what is here and of the model.

use replication::{Line, LineAction, Notice, Protection, Reader};
use wire::{Batch, GapReason, Keys};

use super::schema::{PROPERTY, Row, text};
use super::{LineId, Postgres};
use crate::random::Random;
use crate::swarm::Swarm;
use crate::time::Time;

const LINES: [Line; 4] = [Line::Stream, Line::Anchor, Line::Watch, Line::Members];

/// A reader, its lines, and what it handed over. Bytes take no time; time passes in steps of 50 ms.
pub(crate) struct World {
    pub(crate) postgres: Postgres,
    pub(crate) reader: Reader,
    pub(crate) lines: [Option<LineId>; 4],
    pub(crate) now: Time,
    pub(crate) batches: Vec<Batch>,
    pub(crate) notices: Vec<Notice>,
    /// Whether nothing is taken of what the reader has to hand over; and what waits meanwhile.
    pub(crate) is_full: bool,
    /// Whether nothing of the stream arrives once it has begun.
    pub(crate) is_deaf: bool,
    held: Option<Batch>,
    next: u32,
}

impl World {
    pub(crate) fn new(seed: u64) -> Self {
        let mut random = Random::new(seed);
        let swarm = Swarm::draw(&mut random);
        Self::of(Postgres::new(random.fork(), &swarm.database, Time(0)), seed)
    }

    /// A reader that has not begun, of this cluster.
    pub(crate) fn of(postgres: Postgres, seed: u64) -> Self {
        let reader = Reader::new(postgres.reader_config(Keys::new([7; 16])), seed, 0);
        Self {
            postgres,
            reader,
            lines: [None; 4],
            now: Time(0),
            batches: Vec::new(),
            notices: Vec::new(),
            is_full: false,
            is_deaf: false,
            held: None,
            next: 0,
        }
    }

    pub(crate) fn streaming(seed: u64) -> Self {
        let mut world = Self::new(seed);
        world.until("ready", |world| world.reader.status(world.now.ms()).ready);
        world
    }

    /// Another reader takes the place of this one, which is gone with its lines.
    pub(crate) fn begin_anew(&mut self, seed: u64) {
        for line in self.lines.iter_mut().filter_map(Option::take) {
            self.postgres.hang_up(self.now, line);
        }
        let config = self.postgres.reader_config(Keys::new([7; 16]));
        self.reader = Reader::new(config, seed, self.now.ms());
        self.held = None;
        self.batches.clear();
    }

    pub(crate) fn at(line: Line) -> usize {
        LINES
            .iter()
            .position(|it| *it == line)
            .expect("there are four")
    }

    pub(crate) fn step(&mut self) {
        self.now = self.now + Time::from_ms(50);
        let now_ms = self.now.ms();
        self.postgres.handle_timeout(self.now);
        self.reader.handle_timeout(now_ms);
        for _ in 0..30 {
            self.act();
            for line in LINES {
                self.carry(line);
            }
        }
    }

    pub(crate) fn act(&mut self) {
        let now_ms = self.now.ms();
        loop {
            if self.held.is_none() {
                self.held = self.reader.poll_batch(now_ms);
            }
            let Some(batch) = self.held.take_if(|_| !self.is_full) else {
                break;
            };
            self.reader.handle_handed_over(now_ms);
            self.batches.push(batch);
        }
        self.notices
            .extend(std::iter::from_fn(|| self.reader.poll_notice()));
        while let Some(action) = self.reader.poll_action() {
            match action {
                LineAction::Open(line) => match self.postgres.connect(self.now) {
                    Some(id) => {
                        self.lines[Self::at(line)] = Some(id);
                        self.reader.handle_opened(line, Protection::None, now_ms);
                    }
                    None => self.reader.handle_failed(line, "refused", now_ms),
                },
                LineAction::Close(line) => {
                    if let Some(id) = self.lines[Self::at(line)].take() {
                        self.postgres.hang_up(self.now, id);
                    }
                }
            }
        }
    }

    pub(crate) fn carry(&mut self, line: Line) {
        let now_ms = self.now.ms();
        let Some(id) = self.lines[Self::at(line)] else {
            return;
        };
        if let Some(out) = self.reader.outbox(line) {
            let out = std::mem::take(out);
            self.postgres.receive(self.now, id, &out);
        }
        let is_stream = line == Line::Stream;
        let is_deaf = is_stream && self.is_deaf;
        let is_held = is_stream && self.held.is_some();
        if is_held || !self.reader.reads(line, now_ms) {
            return;
        }
        if is_deaf && self.reader.status(now_ms).streaming {
            return;
        }
        let outbox = self.postgres.outbox(self.now, id);
        // Byte by byte, so that nothing comes along with the word that streaming begins.
        let len = if is_deaf {
            outbox.len().min(1)
        } else {
            outbox.len()
        };
        let bytes: Vec<u8> = outbox.drain(..len).collect();
        if !bytes.is_empty() {
            self.reader.handle_bytes(line, &bytes, now_ms);
        } else if self.postgres.is_closed(id) {
            self.lines[Self::at(line)] = None;
            self.postgres.hang_up(self.now, id);
            self.reader.handle_failed(line, "closed", now_ms);
        }
    }

    pub(crate) fn until(&mut self, what: &str, is_so: impl Fn(&Self) -> bool) {
        for _ in 0..4_000 {
            if is_so(self) {
                return;
            }
            self.step();
        }
        panic!(
            "never {what}: {:?} {:?}",
            self.reader.status(self.now.ms()),
            self.notices
        );
    }

    pub(crate) fn pass(&mut self, ms: u64) {
        for _ in 0..ms / 50 {
            self.step();
        }
    }

    pub(crate) fn property(&mut self, name: &str) -> Row {
        self.next += 1;
        let id = format!("p{}", self.next);
        [
            Some(id.as_str()),
            Some("o0"),
            Some(name),
            None,
            Some("12"),
            Some("t"),
        ]
        .map(|it| it.and_then(text))
        .into()
    }

    pub(crate) fn insert(&mut self, names: &[&str]) {
        let xid = self.postgres.begin().unwrap();
        for name in names {
            let row = self.property(name);
            self.postgres.insert(xid, PROPERTY, row).unwrap();
        }
        self.postgres.commit(self.now, xid, Time(0)).unwrap();
    }

    pub(crate) fn names(&self) -> Vec<String> {
        let frames = self.batches.iter().filter_map(|batch| match batch {
            Batch::Commit(commit) => Some(&commit.frames),
            _ => None,
        });
        let name = |json: &str| {
            let (_, rest) = json.split_once("\"name\":\"")?;
            Some(rest.split('"').next()?.to_owned())
        };
        let texts = frames
            .flatten()
            .map(|frame| String::from_utf8_lossy(frame.json()).into_owned());
        texts.filter_map(|text| name(&text)).collect()
    }

    pub(crate) fn gaps(&self) -> Vec<GapReason> {
        let gap = |batch: &Batch| match batch {
            Batch::Gap(gap) => Some(gap.reason),
            _ => None,
        };
        self.batches.iter().filter_map(gap).collect()
    }
}
