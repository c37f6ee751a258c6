//! Times: PostgreSQL's, and the server's clock as far as it is known.
//!
//! Nothing here looks at a clock: the caller brings a monotonic time, the server its own.

/// Milliseconds from 1970 to 2000, where PostgreSQL's times begin.
const EPOCH_2000_MS: i64 = 946_684_800_000;

/// Milliseconds since 1970 of a time of PostgreSQL's, in microseconds since 2000.
pub(crate) fn unix_ms(postgres_us: i64) -> i64 {
    postgres_us.div_euclid(1_000) + EPOCH_2000_MS
}

/// The server's clock, known by the newest time it sent.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct ServerClock {
    /// What the server said, in microseconds since 2000, and when that was here.
    said: Option<(i64, u64)>,
}

impl ServerClock {
    pub(crate) fn on_sent(&mut self, sent_us: i64, now_ms: u64) {
        self.said = Some((sent_us, now_ms));
    }

    /// What its clock shows now, in microseconds since 2000; 0 before it said anything.
    pub(crate) fn now_us(&self, now_ms: u64) -> i64 {
        let Some((sent_us, then_ms)) = self.said else {
            return 0;
        };
        let passed_us = now_ms.saturating_sub(then_ms).saturating_mul(1_000);
        sent_us.saturating_add(i64::try_from(passed_us).unwrap_or(i64::MAX))
    }

    /// The same in milliseconds since 1970.
    pub(crate) fn now_unix_ms(&self, now_ms: u64) -> i64 {
        unix_ms(self.now_us(now_ms))
    }
}
