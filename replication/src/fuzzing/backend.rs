//! What a server answers on each of the reader's connections, with connections that fail, time that
//! passes and engines that are full: nothing may panic, and what is handed over is in order.

use wire::{Batch, EventId, Keys};

use super::identity_rules;
use crate::{Config, Line, LineAction, Protection, Reader};

/// All connections, by the letter that stands for each in an input.
const LINES: [(u8, Line); 4] = [
    (b's', Line::Stream),
    (b'a', Line::Anchor),
    (b'w', Line::Watch),
    (b'm', Line::Members),
];

/// How many actions may follow from one another.
const ACTIONS_MAX: usize = 100;

/// Plays a conversation, a record after the other: a letter, a number of 16 bits, the most significant
/// byte first, and for bytes of a connection (`s`, `a`, `w`, `m`) as many bytes. `f` and the number of a
/// connection: it fails. `t`: so many hundredths of a second pass. `h`: engines are full, or have room
/// again. Every other byte is passed over.
pub fn backend(input: &[u8]) {
    let mut conversation = Conversation::new();
    let mut rest = input;
    while let [letter, after @ ..] = rest {
        rest = after;
        let line = LINES.iter().find(|(of, _)| of == letter);
        if line.is_none() && !b"fth".contains(letter) {
            continue;
        }
        let [high, low, after @ ..] = after else {
            break;
        };
        rest = after;
        let number = u16::from_be_bytes([*high, *low]);
        match line {
            Some((_, line)) => {
                let (bytes, after) = rest.split_at(rest.len().min(number.into()));
                rest = after;
                conversation.hear(*line, bytes);
            }
            None => conversation.meet(*letter, number),
        }
        conversation.go_on();
    }
}

/// A reader, and what it was told and asked for.
struct Conversation {
    reader: Reader,
    now_ms: u64,
    is_open: [bool; LINES.len()],
    /// Engines are full: a batch that was polled stays with us.
    is_full: bool,
    has_batch: bool,
    /// Up to here everything has been handed over.
    through: Option<EventId>,
}

impl Conversation {
    fn new() -> Self {
        let connect = "postgresql://app:password@localhost/app".parse();
        let mut config = Config::new(connect.expect("it is one"), Keys::new([0; 16]));
        config.rules = identity_rules();
        let mut conversation = Self {
            reader: Reader::new(config, 1, 0),
            now_ms: 0,
            is_open: [false; LINES.len()],
            is_full: false,
            has_batch: false,
            through: None,
        };
        conversation.reader.handle_timeout(0);
        conversation.go_on();
        conversation
    }

    /// Bytes arrive, where the contract lets them be read.
    fn hear(&mut self, line: Line, bytes: &[u8]) {
        let waits = line != Line::Stream || !self.has_batch;
        if self.is_open[place(line)] && waits && self.reader.reads(line, self.now_ms) {
            self.reader.handle_bytes(line, bytes, self.now_ms);
        }
    }

    fn meet(&mut self, letter: u8, number: u16) {
        match letter {
            b'f' => {
                let at = usize::from(number) % LINES.len();
                if std::mem::take(&mut self.is_open[at]) {
                    self.reader
                        .handle_failed(LINES[at].1, "it broke", self.now_ms);
                }
            }
            b't' => {
                self.now_ms += 10 * u64::from(number);
                self.reader.handle_timeout(self.now_ms);
            }
            _ => {
                self.is_full = !self.is_full;
                if !self.is_full && std::mem::take(&mut self.has_batch) {
                    self.reader.handle_handed_over(self.now_ms);
                }
            }
        }
    }

    /// Does what the reader asks for, until it asks for nothing.
    fn go_on(&mut self) {
        self.now_ms += 1;
        for _ in 0..ACTIONS_MAX {
            self.take_batches();
            while let Some(notice) = self.reader.poll_notice() {
                assert!(!notice.to_string().is_empty());
            }
            for (_, line) in LINES {
                if let Some(outbox) = self.reader.outbox(line) {
                    outbox.clear();
                }
            }
            match self.reader.poll_action() {
                None => {
                    assert!(self.reader.deadline_ms() < u64::MAX, "it waits for nothing");
                    return;
                }
                Some(LineAction::Close(line)) => self.is_open[place(line)] = false,
                Some(LineAction::Open(line)) => {
                    let was_open = std::mem::replace(&mut self.is_open[place(line)], true);
                    assert!(!was_open, "{line:?} was open");
                    self.reader
                        .handle_opened(line, Protection::None, self.now_ms);
                }
            }
        }
        panic!("the reader asks for ever more");
    }

    fn take_batches(&mut self) {
        while !self.has_batch {
            let Some(batch) = self.reader.poll_batch(self.now_ms) else {
                return;
            };
            self.check(&batch);
            match self.is_full {
                true => self.has_batch = true,
                false => self.reader.handle_handed_over(self.now_ms),
            }
        }
    }

    /// Every id lies above everything that was handed over before.
    fn check(&mut self, batch: &Batch) {
        let through = match batch {
            Batch::Commit(commit) => {
                let mut last = self.through;
                for frame in &commit.frames {
                    assert!(last.is_none_or(|last| frame.id() >= last), "{batch:?}");
                    last = Some(frame.id());
                }
                commit.through
            }
            Batch::Progress(position) => *position,
            Batch::Gap(gap) => {
                self.through = Some(gap.floor);
                return;
            }
            _ => return,
        };
        assert!(self.through.is_none_or(|last| through >= last), "{batch:?}");
        self.through = Some(through);
    }
}

fn place(line: Line) -> usize {
    let at = LINES.iter().position(|(_, of)| *of == line);
    at.expect("every connection has a letter")
}
