//! What a server answers on each of the reader's connections, with connections that fail, time that
//! passes and engines that are full: nothing may panic, what is handed over is in order, and nothing is
//! confirmed before it was.

use wire::{Batch, EventId, Frame, Keys};

use super::identity_rules;
use super::told::Told;
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
    play(input);
}

fn play(input: &[u8]) -> Conversation {
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
    conversation
}

/// A reader, and what it was told and asked for.
struct Conversation {
    reader: Reader,
    now_ms: u64,
    is_open: [bool; LINES.len()],
    /// Nothing was sent yet on the connection.
    is_new: [bool; LINES.len()],
    /// Engines are full: a batch that was polled stays with us.
    is_full: bool,
    batch: Option<Batch>,
    told: Told,
    /// Up to here everything has been handed over.
    through: Option<EventId>,
    gaps: u32,
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
            is_new: [false; LINES.len()],
            is_full: false,
            batch: None,
            told: Told::default(),
            through: None,
            gaps: 0,
        };
        conversation.reader.handle_timeout(0);
        conversation.go_on();
        conversation
    }

    /// Bytes arrive, where the contract lets them be read.
    fn hear(&mut self, line: Line, bytes: &[u8]) {
        let waits = line != Line::Stream || self.batch.is_none();
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
                if !self.is_full
                    && let Some(batch) = self.batch.take()
                {
                    self.hand_over(&batch);
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
            self.send();
            match self.reader.poll_action() {
                None => {
                    assert!(self.reader.deadline_ms() < u64::MAX, "it waits for nothing");
                    return;
                }
                Some(LineAction::Close(line)) => self.is_open[place(line)] = false,
                Some(LineAction::Open(line)) => {
                    self.is_new[place(line)] = true;
                    let was_open = std::mem::replace(&mut self.is_open[place(line)], true);
                    assert!(!was_open, "{line:?} was open");
                    self.reader
                        .handle_opened(line, Protection::None, self.now_ms);
                }
            }
        }
        panic!("the reader asks for ever more");
    }

    /// Takes what is to be sent, and looks at what it says.
    fn send(&mut self) {
        for (_, line) in LINES {
            let Some(outbox) = self.reader.outbox(line).filter(|it| !it.is_empty()) else {
                continue;
            };
            let sent = std::mem::take(outbox);
            let is_first = std::mem::take(&mut self.is_new[place(line)]);
            match line {
                Line::Stream => self.told.on_stream(&sent, is_first),
                Line::Anchor => self.told.on_anchor(&sent, is_first),
                Line::Watch | Line::Members => {}
            }
        }
    }

    fn hand_over(&mut self, batch: &Batch) {
        self.told.on_handed_over(batch);
        self.reader.handle_handed_over(self.now_ms);
    }

    fn take_batches(&mut self) {
        while self.batch.is_none() {
            let Some(batch) = self.reader.poll_batch(self.now_ms) else {
                return;
            };
            self.check(&batch);
            match self.is_full {
                true => self.batch = Some(batch),
                false => self.hand_over(&batch),
            }
        }
    }

    /// Every id lies above everything that was handed over before, but for the two events of a row that
    /// moves, which go to different places.
    fn check(&mut self, batch: &Batch) {
        let through = match batch {
            Batch::Commit(commit) => {
                let ids = || commit.frames.iter().map(Frame::id);
                let is_new = |first| Some(first) > self.through;
                assert!(ids().next().is_none_or(is_new), "{batch:?}");
                for pair in commit.frames.windows(2) {
                    let of = |frame: &Frame| (frame.audience().clone(), frame.channel().to_owned());
                    let is_moved = pair[0].id() == pair[1].id() && of(&pair[0]) != of(&pair[1]);
                    assert!(pair[0].id() < pair[1].id() || is_moved, "{batch:?}");
                }
                assert!(commit.frames.windows(3).all(|it| it[0].id() < it[2].id()));
                assert!(ids().next_back() <= Some(commit.through));
                commit.through
            }
            Batch::Progress(position) => *position,
            Batch::Gap(gap) => {
                self.through = Some(gap.floor);
                self.gaps += 1;
                return;
            }
            _ => return,
        };
        assert!(Some(through) > self.through, "{batch:?}");
        self.through = Some(through);
    }
}

fn place(line: Line) -> usize {
    let at = LINES.iter().position(|(_, of)| *of == line);
    at.expect("every connection has a letter")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// In memory, since no real server does it.
    #[test]
    fn who_was_told_that_nothing_came_before_a_transaction_is_reset() {
        let seed = include_bytes!("../../../fuzz/corpus/backend/a-transaction-behind-what-was-all");
        assert_eq!(play(seed).gaps, 1);
        let whole = include_bytes!("../../../fuzz/corpus/backend/memberships-sessions-and-changes");
        assert_eq!(play(whole).gaps, 0);
    }
}
