//! What is done now and then, and what the loop makes of those who do not answer: nobody new is let in,
//! and after a while nobody stays.

use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use wire::CloseReason;

use super::outage::Trust;
use super::{Control, Order, TICK_MS};
use crate::clock::unix_ms;
use crate::database::DatabaseError;

/// How long after the database failed it is tried again, though nobody asks: whoever balances loads
/// sends nobody before `/readyz` says so.
const PROBE_MS: u64 = 1_000;

/// How often the same trouble is logged.
const SAID_MS: u64 = 10_000;

/// How often what was verified too long ago is forgotten.
const SWEEP_MS: u64 = 10_000;

impl Control {
    /// The database was asked: notes whether it answered, and says so when that changes.
    pub(super) fn on_database(&mut self, error: Option<&DatabaseError>) {
        let seen = error.map_or(Ok(()), |error| Err(error.to_string()));
        let is_news = self.store.observe(seen, self.monotonic_ms());
        self.is_store_new = false;
        match error {
            Some(error) if is_news => tracing::warn!("sessions cannot be looked up: {error}"),
            None if is_news => tracing::info!("sessions can be looked up again"),
            _ => {}
        }
        self.probe_at = error.map(|_| Instant::now() + Duration::from_millis(PROBE_MS));
        self.look_at_trust(self.monotonic_ms());
        self.say_trouble();
    }

    /// The application was looked for: notes whether it is there, and says so when that changes.
    pub(super) fn on_application(&mut self, seen: Result<(), String>) {
        let is_news = self.application.observe(seen, self.monotonic_ms());
        match self.application.why() {
            Some(why) if is_news => tracing::warn!("the application cannot be asked: {why}"),
            None if is_news => tracing::info!("the application can be asked again"),
            _ => {}
        }
        // Before `/readyz` says that all is well, it is.
        self.look_at_trust(self.monotonic_ms());
        self.say_trouble();
    }

    /// Why nobody new is let in, for `/readyz`.
    pub(super) fn say_trouble(&mut self) {
        let application = self.application.why();
        let application = application.map(|why| format!("the application cannot be asked: {why}"));
        let new = || {
            let why = "the database has not been asked for sessions yet";
            self.is_store_new.then(|| why.to_owned())
        };
        let stale = || {
            let age_s = self.shared.feed.age_ms()? / 1_000;
            let is_stale = self.trust(self.monotonic_ms()) != Trust::Full;
            is_stale.then(|| format!("PostgreSQL was last heard of {age_s} s ago (auth.grace)"))
        };
        let store = self.store.why().map(str::to_owned).or_else(new);
        let trouble = store
            .or(application)
            .or_else(stale)
            .or_else(|| self.keysets.trouble());
        self.has_trouble = trouble.is_some();
        self.shared.set_trouble(trouble);
    }

    /// What is due now and then; cheap enough for every round.
    pub(super) fn tick(&mut self) {
        let now_ms = self.monotonic_ms();
        if now_ms < self.ticked_at_ms + TICK_MS {
            return;
        }
        self.ticked_at_ms = now_ms;
        self.on_time(now_ms);
        self.introspections.tick(now_ms);
        self.keysets.tick(now_ms);
        self.look_at_trust(now_ms);
        self.say_trouble();
        if now_ms >= self.swept_at_ms + SWEEP_MS {
            self.swept_at_ms = now_ms;
            // An idle stream keeps nothing of its verdict, nor of the events it was sent.
            let forgotten = self.cache.sweep(unix_ms());
            let (is_any_left, events) = (!self.cache.is_empty(), self.shared.feed.events());
            if self.freed.look(forgotten, is_any_left, events) {
                driver::give_memory_back();
            }
        }
        self.count(now_ms);
    }

    /// Where too much is too old, every stream that has a user ends.
    fn look_at_trust(&mut self, now_ms: u64) {
        let trust = self.trust(now_ms);
        if trust == Trust::Lost && self.trust != Trust::Lost {
            let grace = self.config.auth.grace;
            tracing::warn!(
                "nobody has vouched for the rights of users for {grace:?} (auth.grace): their streams \
                 are closed, and none is opened until somebody does"
            );
            self.outbox.order(Order::CloseUsers(CloseReason::FeedStale));
        }
        self.trust = trust;
    }

    /// What the node is worth at this time.
    pub(super) fn trust(&self, now_ms: u64) -> Trust {
        let outages_ms = [self.store.age_ms(now_ms), self.application.age_ms(now_ms)];
        self.patience.trust(self.shared.feed.age_ms(), outages_ms)
    }

    fn count(&mut self, now_ms: u64) {
        self.log.tick(unix_ms());
        let (introspections, fetches) = (self.introspections.asked, self.keysets.fetches);
        self.shared.identity.set_asked(introspections, fetches);
        let counters = self
            .shared
            .ports
            .first()
            .map(driver::Port::counters)
            .unwrap_or_default();
        self.span
            .observe(now_ms, counters.events, counters.log_frames);
        self.shared
            .log_span_ms
            .store(self.span.span_ms(now_ms), Ordering::Relaxed);
        self.shared
            .lines_skipped
            .store(self.log.skipped_total, Ordering::Relaxed);
    }

    /// Logs what would otherwise be logged for every request.
    pub(super) fn say_at_times(&mut self, what: &str) {
        let now_ms = self.monotonic_ms();
        if self
            .said_at_ms
            .is_none_or(|said_at_ms| now_ms >= said_at_ms + SAID_MS)
        {
            self.said_at_ms = Some(now_ms);
            tracing::warn!("{what}");
        }
    }
}
