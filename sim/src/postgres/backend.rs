//! A connection on the server's side: its start, its queries one after the other, and its end. What is
//! asked is answered in `statements`, what is streamed comes from `walsender`.

use std::collections::VecDeque;

use super::messages::{self, Said};
use super::rows::Snapshot;
use super::statements::Answer;
use super::walsender::Sender;
use super::{LineId, Phase, Postgres};
use crate::time::Time;

/// A connection.
#[derive(Debug, Default)]
pub(super) struct Backend {
    /// What the network has not taken yet.
    pub(super) outbox: Vec<u8>,
    inbox: Vec<u8>,
    /// Whether it was let in.
    is_started: bool,
    /// Whether nothing more comes after what is in the outbox.
    pub(super) is_closed: bool,
    /// Whether it is one that may stream.
    pub(super) is_walsender: bool,
    /// Its `wal_sender_timeout`, in milliseconds.
    pub(super) sender_timeout_ms: u64,
    /// Its `lock_timeout`, in milliseconds; 0 is never.
    pub(super) lock_timeout_ms: u64,
    /// Whether it is within a transaction, and what that sees, from its first statement on.
    pub(super) is_in_transaction: bool,
    pub(super) snapshot: Option<Snapshot>,
    /// What is left of its cursor.
    pub(super) cursor: VecDeque<Vec<Option<String>>>,
    /// A slot that it makes, which waits for the transactions that are open.
    pub(super) creating: Option<Creating>,
    /// What it streams.
    pub(super) sender: Option<Sender>,
}

/// A slot that is being made.
#[derive(Clone, Debug)]
pub(super) struct Creating {
    pub(super) name: String,
    pub(super) is_temporary: bool,
    /// The transactions that have to end first.
    pub(super) waits_for: Vec<u64>,
    /// When it is given up.
    pub(super) until: Option<Time>,
}

impl Backend {
    /// Ends it with a last word.
    pub(super) fn end(&mut self, code: &str, words: &str) {
        messages::error(&mut self.outbox, "FATAL", code, words);
        (self.is_closed, self.sender, self.creating) = (true, None, None);
    }

    fn answer(&mut self, answer: Answer) {
        match answer {
            Answer::Rows(rows) => {
                let tag = format!("SELECT {}", rows.len());
                messages::rows(&mut self.outbox, &rows, &tag);
            }
            Answer::Done(tag) => messages::complete(&mut self.outbox, tag),
            Answer::Error(code, words) => {
                messages::error(&mut self.outbox, "ERROR", code, &words);
                // What has failed is over with its transaction.
                (self.is_in_transaction, self.snapshot) = (false, None);
            }
            Answer::Later => return,
            Answer::Stream(sender) => {
                messages::copy_both(&mut self.outbox);
                self.sender = Some(sender);
                return;
            }
        }
        messages::ready(&mut self.outbox, self.is_in_transaction);
    }
}

impl Postgres {
    /// Bytes of a client arrived, whole or in pieces of any size.
    pub fn receive(&mut self, now: Time, line: LineId, bytes: &[u8]) {
        self.settle(now);
        let Some(backend) = self.backends.get_mut(&line).filter(|it| !it.is_closed) else {
            return;
        };
        backend.inbox.extend_from_slice(bytes);
        while let Some(backend) = self.backends.get_mut(&line)
            && !backend.is_closed
            && let Some(said) = messages::hear(&mut backend.inbox, !backend.is_started)
        {
            self.hear(now, line, said);
        }
    }

    fn hear(&mut self, now: Time, line: LineId, said: Said) {
        let backend = self.backends.get_mut(&line).expect("it has spoken");
        match said {
            Said::Startup(settings) => self.start(line, &settings),
            Said::Terminate => {
                backend.is_closed = true;
                self.slots.on_end(line);
            }
            Said::Query(sql) => {
                assert!(backend.sender.is_none(), "who streams asks nothing: {sql}");
                let answer = self.execute(now, line, &sql);
                let backend = self.backends.get_mut(&line).expect("it has asked");
                backend.answer(answer);
            }
            Said::Status {
                write,
                flush,
                wants_reply,
            } => self.on_status(now, line, write, flush, wants_reply),
        }
    }

    fn start(&mut self, line: LineId, settings: &[(String, String)]) {
        let backend = self.backends.get_mut(&line).expect("it has spoken");
        let setting = |name: &str| {
            let found = settings.iter().find(|(it, _)| it == name);
            found.map(|(_, value)| value.as_str())
        };
        backend.is_started = true;
        backend.is_walsender = setting("replication") == Some("database");
        let timeout = setting("wal_sender_timeout").and_then(|text| text.parse().ok());
        let timeout = timeout.filter(|_| !self.drops_settings);
        backend.sender_timeout_ms = timeout.unwrap_or(self.sender_timeout_ms);
        match self.phase {
            Phase::Up => {
                let zone = setting("TimeZone").unwrap_or("Europe/Berlin");
                messages::greeting(&mut backend.outbox, self.version.name, zone);
            }
            Phase::Stopping { .. } => backend.end("57P03", "the database system is shutting down"),
            Phase::Down { .. } => backend.end("57P03", "the database system is starting up"),
        }
    }

    /// Lets go on who waits for transactions that have ended by now, or has waited too long.
    pub(super) fn continue_creating(&mut self, now: Time) {
        let waiting = self.backends.iter().filter(|(_, it)| it.creating.is_some());
        let waiting: Vec<LineId> = waiting.map(|(line, _)| *line).collect();
        for line in waiting {
            let backend = self.backends.get_mut(&line).expect("it was just there");
            let creating = backend.creating.clone().expect("it was just there");
            // Nor while a commit that was written meanwhile waits for a standby. A real server may, for the
            // length of that wait: then nobody tells a node of it, neither the log nor what it reads.
            let is_open = |xid: &u64| self.open.contains_key(xid);
            let may_begin = self.is_seen() && !creating.waits_for.iter().any(is_open);
            let answer = if may_begin {
                self.create(line, &creating.name, creating.is_temporary)
            } else if creating.until.is_some_and(|until| now >= until) {
                Answer::Error(
                    "55P03",
                    "canceling statement due to lock timeout".to_owned(),
                )
            } else {
                continue;
            };
            let backend = self.backends.get_mut(&line).expect("it was just there");
            backend.creating = None;
            backend.answer(answer);
        }
    }
}
