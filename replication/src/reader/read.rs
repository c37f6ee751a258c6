//! While it streams: messages out of the session, into the feed, until there is something to hand
//! over.

use wire::{Batch, EventId, GapReason, Lsn};

use super::{Mark, Reader, State, waiting};
use crate::feed::Feed;
use crate::notice::Notice;
use crate::protocol::Malformed;
use crate::protocol::backend::ServerError;
use crate::protocol::stream::{self, Streamed};
use crate::session::{Broken, Event, Session};
use crate::status::Standby;
use crate::time::ServerClock;
use crate::watch::Watch;

/// The publication does not exist (up to PostgreSQL 17).
const UNDEFINED_OBJECT: &str = "42704";
/// The same, as a warning (from 18 on).
const SKIPPED: &str = "55000";

/// What a message of the stream works on, borrowed from the reader.
struct Reading<'a> {
    feed: &'a mut Feed,
    session: &'a mut Session,
    standby: &'a mut Standby,
    clock: &'a mut ServerClock,
    watch: &'a mut Watch,
    server_end: &'a mut Lsn,
    connection: u64,
    may_load: bool,
    now_ms: u64,
}

/// What was read.
enum Read {
    Batch(Batch, Mark),
    /// The server says something that is no change.
    Notice(ServerError),
    /// More bytes are needed.
    Nothing,
    /// The memberships have to be read first.
    Held,
    /// The server has ended the stream, as it does when it shuts down.
    Ended,
}

impl Reader {
    /// Reads until there is a batch, or nothing more has arrived.
    pub(super) fn read(&mut self, now_ms: u64) -> Option<(Batch, Mark)> {
        // Where memberships have to be read, nothing that comes later is handed over before they are.
        let may_load = self.load.holds(true, now_ms);
        loop {
            let (State::Streaming(standby), Some(session), Some(feed)) =
                (&mut self.state, &mut self.session, &mut self.feed)
            else {
                return None;
            };
            let mut reading = Reading {
                feed,
                session,
                standby,
                clock: &mut self.clock,
                watch: &mut self.watch,
                server_end: &mut self.server_end,
                connection: self.connection,
                may_load,
                now_ms,
            };
            let reason = match reading.next() {
                Ok(Read::Batch(batch, mark)) => return Some((batch, mark)),
                Ok(Read::Nothing) => {
                    self.fresh_us = self.clock.said_us();
                    return None;
                }
                Ok(Read::Held) => return None,
                Ok(Read::Notice(notice)) => {
                    self.on_server_notice(&notice);
                    continue;
                }
                Ok(Read::Ended) => {
                    // It is shutting down: not the moment to be back at once.
                    self.back_off.on_orderly_end();
                    "the server has ended the stream".to_owned()
                }
                Err(broken) => {
                    self.is_unreadable |= is_unreadable(&broken);
                    if broken == Broken::Malformed(Malformed::Behind) {
                        self.reset_all(GapReason::HistoryChanged);
                    }
                    broken.to_string()
                }
            };
            self.close(
                waiting(&format!("connecting to PostgreSQL: {reason}")),
                now_ms,
            );
            return self.batches.pop_front();
        }
    }
}

impl Reader {
    /// The server says something beside the changes: from PostgreSQL 18 on, that it leaves out those
    /// that were made without the publication.
    fn on_server_notice(&mut self, notice: &ServerError) {
        let message = notice.to_string();
        if self.said_by_server != message {
            self.said_by_server.clone_from(&message);
            self.notices.push_back(Notice::Server { message });
        }
        let position = self.feed.as_ref().map_or(Lsn(0), Feed::resume);
        if notice.code == SKIPPED && position >= self.forgiven {
            self.has_skipped = true;
            self.anchor.hasten();
        }
    }
}

/// Whether the log cannot be read from here on: up to PostgreSQL 17, a change that was made without
/// the publication is an error, now and whenever it is read again.
fn is_unreadable(broken: &Broken) -> bool {
    matches!(broken, Broken::Server(error) if error.code == UNDEFINED_OBJECT)
}

impl Reading<'_> {
    fn next(&mut self) -> Result<Read, Broken> {
        loop {
            if let Some(handed) = self.feed.poll_handed() {
                let end = match &handed.batch {
                    Batch::Commit(commit) => commit.end,
                    _ => None,
                };
                let mark = self.mark(handed.position, end, handed.commit_ms);
                return Ok(Read::Batch(handed.batch, mark));
            }
            if self.may_load && self.feed.rights().wants_load() {
                return Ok(Read::Held);
            }
            let Some(event) = self.session.next()? else {
                break;
            };
            match event {
                Event::Data(data) => self.on_data(stream::parse(data)?)?,
                Event::Notice(notice) => return Ok(Read::Notice(notice)),
                Event::Ended => return Ok(Read::Ended),
                Event::Ready | Event::Answer(_) | Event::Streaming => {
                    return Err(Malformed::OutOfPlace("an answer").into());
                }
            }
        }
        let Some(batch) = self.feed.poll_progress(self.now_ms) else {
            return Ok(Read::Nothing);
        };
        let position = self.feed.emitted();
        let at_ms = self.clock.now_unix_ms(self.now_ms);
        Ok(Read::Batch(
            batch,
            self.mark(position, Some(position.lsn), at_ms),
        ))
    }

    fn on_data(&mut self, message: Streamed) -> Result<(), Broken> {
        match message {
            Streamed::Keepalive {
                end,
                sent_us,
                reply,
            } => {
                self.clock.on_sent(sent_us, self.now_ms);
                self.standby.on_received(end);
                *self.server_end = (*self.server_end).max(end);
                self.feed.handle_keepalive(end);
                if reply {
                    self.standby
                        .tell(self.now_ms, sent_us, false, self.session.outbox());
                }
            }
            Streamed::WalData {
                start,
                sent_us,
                payload,
            } => {
                self.clock.on_sent(sent_us, self.now_ms);
                self.standby.on_received(start);
                if let Some(commit_ms) = self.feed.commit_ms() {
                    self.watch.on_read(commit_ms, self.now_ms);
                }
                self.feed.handle_message(&payload)?;
                self.standby.on_received(self.feed.resume());
                *self.server_end = (*self.server_end).max(self.standby.received());
            }
        }
        Ok(())
    }

    fn mark(&self, position: EventId, confirm: Option<Lsn>, at_ms: i64) -> Mark {
        Mark {
            position,
            confirm,
            connection: self.connection,
            at_ms,
            sent_us: self.clock.said_us(),
        }
    }
}
