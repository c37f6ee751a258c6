//! What happened, as one number: two runs of a seed are the same if it is. And the last events, for
//! whoever replays one.

use std::collections::VecDeque;

use crate::queue::Event;
use crate::time::Time;

/// What happened so far.
#[derive(Debug, Default)]
pub struct Trace {
    hash: u64,
    /// The last events and what was said of them, where somebody wants to see them.
    lines: Option<VecDeque<(Time, String)>>,
    /// How many of them.
    lines_max: usize,
}

impl Trace {
    /// One that keeps the last events too, so many.
    pub fn shown(lines_max: usize) -> Self {
        Self {
            lines: Some(VecDeque::new()),
            lines_max,
            ..Self::default()
        }
    }

    /// Whether somebody wants to see what happens: only then is it put into words.
    pub fn is_shown(&self) -> bool {
        self.lines.is_some()
    }

    /// Something happens.
    pub fn event(&mut self, at: Time, event: Event) {
        self.number(at.0);
        self.number(match event {
            Event::Core { node, core, .. } => u64::from(node) << 8 | u64::from(core),
            Event::Replication { node, .. } => 1 << 32 | u64::from(node),
            Event::Control { node, .. } => 2 << 32 | u64::from(node),
            Event::Dialled { node, line, .. } => 3 << 32 | u64::from(node) << 8 | u64::from(line),
            Event::Line { node, line, .. } => 4 << 32 | u64::from(node) << 8 | u64::from(line),
            Event::Database => 5 << 32,
            Event::Application => 6 << 32,
            Event::DatabaseFault(which) => 7 << 32 | u64::from(which),
            Event::NodeFault { node, which } => 8 << 32 | (which as u64) << 8 | u64::from(node),
            Event::Farewell { node, .. } => 14 << 32 | u64::from(node),
            Event::Severed { line } => 15 << 32 | u64::from(line),
            Event::Oust { client } => 16 << 32 | u64::from(client),
            Event::Stopped { node, .. } => 13 << 32 | u64::from(node),
            Event::Boot { node } => 9 << 32 | u64::from(node),
            Event::Client { client } => 10 << 32 | u64::from(client),
            Event::Read { connection } => 11 << 32 | u64::from(connection),
            Event::Arrive { connection } => 12 << 32 | u64::from(connection),
        });
        if self.is_shown() {
            self.say(at, || format!("{event:?}"));
        }
    }

    /// A number that two runs have in common.
    pub fn number(&mut self, number: u64) {
        self.hash = mix(self.hash ^ number);
    }

    /// Something worth a line in a replay.
    pub fn say(&mut self, at: Time, words: impl FnOnce() -> String) {
        if let Some(lines) = &mut self.lines {
            lines.push_back((at, words()));
            if lines.len() > self.lines_max {
                lines.pop_front();
            }
        }
    }

    /// The number.
    pub fn hash(&self) -> u64 {
        self.hash
    }

    /// The last events, one to a line.
    pub fn lines(&self) -> impl Iterator<Item = String> {
        let lines = self.lines.iter().flatten();
        lines.map(|(at, words)| {
            let (seconds, us) = (at.0 / 1_000_000, at.0 % 1_000_000);
            format!("{seconds:>4}.{us:06}  {words}")
        })
    }
}

/// Folds bytes into a number.
pub fn fold(hash: u64, bytes: &[u8]) -> u64 {
    let (words, rest) = bytes.as_chunks::<8>();
    let hash = words
        .iter()
        .fold(hash, |hash, word| mix(hash ^ u64::from_le_bytes(*word)));
    rest.iter()
        .fold(mix(hash ^ bytes.len() as u64), |hash, byte| {
            (hash ^ u64::from(*byte)).wrapping_mul(0x100_0000_01b3)
        })
}

fn mix(number: u64) -> u64 {
    let mixed = (number ^ (number >> 32)).wrapping_mul(0xd6e8_feb8_6659_fd93);
    mixed ^ (mixed >> 32)
}
