//! What the reader says about itself, for `/readyz`, the metrics and the logs.

use wire::{EventId, Key, Lsn};

use super::{Reader, State};
use crate::Status;
use crate::feed::Feed;
use crate::sql::identifier;

impl Reader {
    /// What the reader says about itself.
    pub fn status(&self, now_ms: u64) -> Status {
        let tally = self.feed.as_ref().map(Feed::tally);
        let applied_lsn = self.applied.map_or(Lsn(0), |mark| mark.position.lsn);
        let lag_bytes = self.server_end.0.saturating_sub(applied_lsn.0);
        // Where a stream begins, nothing is known of when that was.
        let timed = self.applied.filter(|mark| mark.at_ms != 0);
        let age_ms = timed.map_or(0, |mark| {
            self.clock
                .now_unix_ms(now_ms)
                .saturating_sub(mark.at_ms)
                .max(0)
        });
        let memberships = self.memberships();
        let age_us = |fresh_us| self.clock.now_us(now_ms).saturating_sub(fresh_us).max(0);
        Status {
            streaming: self.is_streaming(),
            ready: self.is_caught_up() && self.lack().is_none() && self.unread().is_none(),
            reason: self.reason(),
            fatal: self
                .obstacle
                .as_ref()
                .filter(|it| it.fatal)
                .map(|it| it.reason.clone()),
            applied: self.applied.map(|mark| mark.position),
            server_end: self.server_end,
            lag_bytes,
            lag_seconds: if lag_bytes == 0 {
                0.0
            } else {
                age_ms as f64 / 1_000.0
            },
            feed_age_ms: self.fresh_us.map(|it| age_us(it).unsigned_abs() / 1_000),
            memberships,
            slot: self.slot.clone(),
            anchors_lost: self.anchors_lost,
            published: self.publication.is_there(),
            unpublished: self.publication.missing(&self.config.rules),
            unroutable: tally.map(|tally| tally.unroutable()).unwrap_or_default(),
            unscoped: tally.map(|tally| tally.unscoped()).unwrap_or_default(),
            withheld: tally.map(|tally| tally.withheld()).unwrap_or_default(),
            refused_messages: tally.map(|tally| tally.refused()).unwrap_or_default(),
            channels: tally.map(|tally| tally.channels()).unwrap_or_default(),
            events: tally.map_or(0, |tally| tally.events),
            replayed: tally.map_or(0, |tally| tally.replayed),
            reconnects: self.reconnects,
            gaps: self.gaps,
        }
    }

    /// The position up to which everything was handed over to every engine.
    pub fn applied(&self) -> Option<EventId> {
        self.applied.map(|mark| mark.position)
    }

    /// The event that an application message became, by its [`crate::Entry::key`], once every engine was
    /// handed it: of one that was sent again within the window, the first.
    pub fn published(&self, message: Key, now_ms: u64) -> Option<EventId> {
        let applied = self.applied?.position;
        let now_unix_ms = self.clock.now_unix_ms(now_ms);
        let event = self.feed.as_ref()?.event_of(message, now_unix_ms)?;
        (event <= applied).then_some(event)
    }

    /// Whether it streams, and every engine knows.
    fn is_streaming(&self) -> bool {
        matches!(self.state, State::Streaming(_))
            && self
                .applied
                .is_some_and(|mark| mark.connection == self.connection)
    }

    /// Whether everything was handed over that the server had when streaming began.
    fn is_caught_up(&self) -> bool {
        self.is_streaming()
            && self
                .applied
                .is_some_and(|mark| mark.position.lsn >= self.caught_up_at)
    }

    /// What is missing in the publication that nobody can want to be missing.
    fn lack(&self) -> Option<String> {
        // Before the first look nothing is known of it.
        self.feed.as_ref()?;
        let publication = identifier(&self.config.publication);
        if !self.publication.is_there() {
            return Some(format!(
                "the publication {publication} is gone; make it anew: CREATE PUBLICATION {publication} \
                 FOR TABLE ..."
            ));
        }
        let tables = self.publication.mistakes(&self.config.rules).join(", ");
        (!tables.is_empty()).then(|| {
            format!(
                "the publication {publication} lacks tables that it should have: ALTER PUBLICATION \
                 {publication} ADD TABLE {tables}"
            )
        })
    }

    fn reason(&self) -> Option<String> {
        match (&self.state, &self.obstacle) {
            (State::Streaming(_), _) if self.is_caught_up() => {
                self.lack().or_else(|| self.unread())
            }
            (State::Streaming(_), _) => Some(format!(
                "reading the write-ahead log again, up to {}",
                self.caught_up_at
            )),
            // What hindered the last attempt says more than that there is another.
            (_, Some(obstacle)) => Some(obstacle.reason.clone()),
            (State::Asking { preparation, .. }, None) => Some(preparation.reason()),
            (_, None) => Some("connecting to PostgreSQL".to_owned()),
        }
    }

    /// Why nobody is let in yet, where everything else is well.
    fn unread(&self) -> Option<String> {
        if self.fresh_us.is_none() {
            return Some("waiting for the first word of the stream".to_owned());
        }
        let memberships = self.memberships();
        (!memberships.ready).then(|| match memberships.trouble {
            Some(trouble) => format!("reading the memberships: {trouble}"),
            None => "reading the memberships".to_owned(),
        })
    }
}
