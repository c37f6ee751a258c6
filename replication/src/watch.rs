//! The watch: an ordinary connection, held only while what the server has for us is not taken.
//!
//! A server that is told to stop fast waits until its walsenders have sent all there is. Where every engine
//! is full, or much is still to be read, that would be for as long as we take; and we would not even
//! know, since the word of it comes behind everything else. An ordinary connection is told at once, and then
//! the stream is given up: what was not read is still there after the restart.

use crate::limits::{WATCH_AFTER_MS, WATCH_CALM_MS, WATCH_LAG_MS, WATCH_PAUSE_MS};
use crate::session::Session;
use crate::{ConnectInfo, Protection};

/// What the server says when it stops: `admin_shutdown`, `crash_shutdown`, `cannot_connect_now`.
const STOPPING: [&str; 3] = ["57P01", "57P02", "57P03"];

/// Hears of the server's end.
#[derive(Debug, Default)]
pub(crate) struct Watch {
    state: State,
    /// Since when something is not taken.
    strained_since_ms: Option<u64>,
    /// When something was not taken the last time.
    strained_at_ms: u64,
    /// Not before then is it tried again.
    next_at_ms: u64,
    /// When a change was read, and when it had been committed, in milliseconds since 1970.
    read: Option<(u64, i64)>,
}

#[derive(Debug, Default)]
enum State {
    /// Waits for: something that is not taken. Next: Opening.
    #[default]
    Resting,
    /// Waits for: a connection. Next: Watching.
    Opening,
    /// Waits for: the server's end, or calm. Next: Resting.
    Watching(Box<Session>),
}

/// What is wanted.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Wish {
    Open,
    Close,
}

/// What follows from what arrived.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Word {
    /// Nothing.
    Nothing,
    /// The connection is of no use any more.
    Over,
    /// The same, and the server is stopping.
    Stopping,
}

impl Watch {
    /// A change was read.
    pub(crate) fn on_read(&mut self, committed_at_ms: i64, now_ms: u64) {
        self.read = Some((now_ms, committed_at_ms));
    }

    /// Looks whether a connection is wanted, or not any more. `is_full` says whether a batch waits.
    pub(crate) fn handle_timeout(
        &mut self,
        is_full: bool,
        now_unix_ms: i64,
        now_ms: u64,
    ) -> Option<Wish> {
        if is_full || self.is_behind(now_unix_ms, now_ms) {
            self.strained_at_ms = now_ms;
            self.strained_since_ms.get_or_insert(now_ms);
        } else {
            self.strained_since_ms = None;
        }
        match self.state {
            State::Resting if self.opens_at_ms().is_some_and(|at_ms| now_ms >= at_ms) => {
                self.state = State::Opening;
                Some(Wish::Open)
            }
            State::Watching(_) if now_ms >= self.strained_at_ms + WATCH_CALM_MS => {
                self.state = State::Resting;
                Some(Wish::Close)
            }
            _ => None,
        }
    }

    /// When [`Self::handle_timeout`] has something to do.
    pub(crate) fn deadline_ms(&self) -> u64 {
        match self.state {
            State::Resting => self.opens_at_ms().unwrap_or(u64::MAX),
            State::Opening => u64::MAX,
            State::Watching(_) => self.strained_at_ms + WATCH_CALM_MS,
        }
    }

    pub(crate) fn handle_opened(&mut self, connect: &ConnectInfo, protection: Protection) {
        assert!(
            matches!(self.state, State::Opening),
            "opened because it was asked for"
        );
        self.state = State::Watching(Box::new(Session::new(connect, protection, false)));
    }

    pub(crate) fn handle_bytes(&mut self, bytes: &[u8], now_ms: u64) -> Word {
        let State::Watching(session) = &mut self.state else {
            return Word::Nothing;
        };
        session.push(bytes);
        let word = loop {
            match session.next() {
                Ok(None) => return Word::Nothing,
                Ok(Some(_)) => {}
                Err(broken) if broken.code().is_some_and(|it| STOPPING.contains(&it)) => {
                    break Word::Stopping;
                }
                Err(_) => break Word::Over,
            }
        };
        self.handle_failed(now_ms);
        word
    }

    /// The connection could not be made, or broke: that alone says nothing.
    pub(crate) fn handle_failed(&mut self, now_ms: u64) {
        self.state = State::Resting;
        self.next_at_ms = now_ms + WATCH_PAUSE_MS;
    }

    pub(crate) fn outbox(&mut self) -> Option<&mut Vec<u8>> {
        match &mut self.state {
            State::Watching(session) => Some(session.outbox()),
            _ => None,
        }
    }

    fn opens_at_ms(&self) -> Option<u64> {
        let since_ms = self.strained_since_ms?;
        Some(self.next_at_ms.max(since_ms + WATCH_AFTER_MS))
    }

    /// Whether changes are being read that are not new any more.
    fn is_behind(&self, now_unix_ms: i64, now_ms: u64) -> bool {
        self.read.is_some_and(|(read_at_ms, committed_at_ms)| {
            now_ms < read_at_ms + WATCH_AFTER_MS
                && now_unix_ms.saturating_sub(committed_at_ms) > WATCH_LAG_MS
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn watching() -> Watch {
        let mut watch = Watch::default();
        assert_eq!(watch.handle_timeout(true, 0, 1_000), None);
        assert_eq!(watch.deadline_ms(), 1_000 + WATCH_AFTER_MS);
        let wish = watch.handle_timeout(true, 0, 1_000 + WATCH_AFTER_MS);
        assert_eq!(wish, Some(Wish::Open));
        watch.handle_opened(
            &"postgresql://a@localhost/b".parse().unwrap(),
            Protection::None,
        );
        watch
    }

    #[test]
    fn it_watches_while_something_is_not_taken_and_for_a_while_after() {
        let mut watch = watching();
        assert_eq!(watch.handle_timeout(true, 0, 50_000), None);
        assert_eq!(
            watch.handle_timeout(false, 0, 50_000 + WATCH_CALM_MS - 1),
            None
        );
        let wish = watch.handle_timeout(false, 0, 50_000 + WATCH_CALM_MS);
        assert_eq!(wish, Some(Wish::Close));
        assert_eq!(watch.deadline_ms(), u64::MAX);
    }

    #[test]
    fn a_batch_that_waits_for_a_moment_is_nothing() {
        let mut watch = Watch::default();
        for now_ms in [1_000, 1_400, 1_800] {
            assert_eq!(watch.handle_timeout(true, 0, now_ms), None);
            assert_eq!(watch.handle_timeout(false, 0, now_ms + 100), None);
        }
    }

    #[test]
    fn who_reads_old_changes_watches_too() {
        let mut watch = Watch::default();
        let mut wishes = Vec::new();
        for now_ms in (1_000..2_000).step_by(100) {
            watch.on_read(500_000, now_ms);
            let now_unix_ms = 500_000 + WATCH_LAG_MS + 1;
            wishes.extend(watch.handle_timeout(false, now_unix_ms, now_ms));
        }
        assert_eq!(wishes, [Wish::Open]);
    }

    #[test]
    fn only_the_servers_own_word_is_its_end() {
        let says = |code: &str| format!("C{code}\0Mgoing away\0\0");
        for (code, word) in [
            ("57P01", Word::Stopping),
            ("57P03", Word::Stopping),
            ("53300", Word::Over),
        ] {
            let says = says(code);
            let len = u32::try_from(4 + says.len()).unwrap().to_be_bytes();
            let bytes = [b"E", &len[..], says.as_bytes()].concat();
            assert_eq!(watching().handle_bytes(&bytes, 60_000), word, "{code}");
        }
        let mut watch = watching();
        watch.handle_failed(60_000);
        watch.handle_timeout(true, 0, 60_000);
        assert_eq!(watch.deadline_ms(), 60_000 + WATCH_PAUSE_MS);
    }
}
