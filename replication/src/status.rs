//! Standby status updates: what the server is told of our positions.
//!
//! **A position that was confirmed is never left standing.** A walsender that is told to stop waits
//! until what was confirmed equals what it sent, so a held-back confirmation keeps the server from
//! shutting down; and under `synchronous_standby_names = '*'` it makes commits wait for us. So every
//! status that confirms is followed at once by one that says `flush = 0`, which changes nothing of
//! the slot, and all others say `flush = 0` too.

use wire::Lsn;

use crate::limits::{CONFIRM_MS, SILENCE_MS, STATUS_MS};
use crate::protocol::frontend::StandbyStatus;

/// What the server is told, on one connection.
#[derive(Debug)]
pub(crate) struct Standby {
    /// The newest position that arrived here.
    received: Lsn,
    /// The position up to which everything was handed over.
    handed_over: Lsn,
    /// The position that was confirmed last.
    confirmed: Lsn,
    confirmed_at_ms: u64,
    sent_at_ms: u64,
    heard_at_ms: u64,
    /// Whether a sign of life was asked for.
    pinged: bool,
}

impl Standby {
    /// Streaming begins at a position.
    pub(crate) fn new(from: Lsn, now_ms: u64) -> Self {
        Self {
            received: from,
            handed_over: from,
            confirmed: from,
            confirmed_at_ms: now_ms,
            sent_at_ms: now_ms,
            heard_at_ms: now_ms,
            pinged: false,
        }
    }

    /// The server has sent everything up to here, or is just sending it.
    pub(crate) fn on_received(&mut self, lsn: Lsn) {
        self.received = self.received.max(lsn);
    }

    /// Bytes arrived; or nobody has listened.
    pub(crate) fn on_heard(&mut self, now_ms: u64) {
        self.heard_at_ms = now_ms;
        self.pinged = false;
    }

    /// Everything up to here reached every engine.
    pub(crate) fn on_handed_over(&mut self, lsn: Lsn) {
        // Beyond what the server has, a position would be believed, and lose what comes next.
        assert!(
            lsn <= self.received,
            "what was handed over was received before"
        );
        self.handed_over = self.handed_over.max(lsn);
    }

    /// Tells where we are, confirming nothing.
    pub(crate) fn tell(&mut self, now_ms: u64, sent_us: i64, ping: bool, out: &mut Vec<u8>) {
        StandbyStatus {
            write: self.received,
            flush: Lsn(0),
            sent_us,
            ping,
        }
        .write(out);
        self.sent_at_ms = now_ms;
    }

    /// Sends what is due.
    pub(crate) fn handle_timeout(&mut self, now_ms: u64, sent_us: i64, out: &mut Vec<u8>) {
        if self.handed_over > self.confirmed && now_ms >= self.confirmed_at_ms + CONFIRM_MS {
            let (write, flush) = (self.received, self.handed_over);
            StandbyStatus {
                write,
                flush,
                sent_us,
                ping: false,
            }
            .write(out);
            self.tell(now_ms, sent_us, false, out);
            self.confirmed = self.handed_over;
            self.confirmed_at_ms = now_ms;
        }
        if !self.pinged && now_ms >= self.heard_at_ms + SILENCE_MS {
            self.pinged = true;
            self.tell(now_ms, sent_us, true, out);
        }
        if now_ms >= self.sent_at_ms + STATUS_MS {
            self.tell(now_ms, sent_us, false, out);
        }
    }

    /// Whether the server has been silent for so long that it must be gone.
    pub(crate) fn is_dead(&self, now_ms: u64) -> bool {
        now_ms >= self.heard_at_ms + 2 * SILENCE_MS
    }

    /// When [`Self::handle_timeout`] has something to do.
    pub(crate) fn deadline_ms(&self) -> u64 {
        let silence = self.heard_at_ms
            + if self.pinged {
                2 * SILENCE_MS
            } else {
                SILENCE_MS
            };
        let confirm = match self.handed_over > self.confirmed {
            true => self.confirmed_at_ms + CONFIRM_MS,
            false => u64::MAX,
        };
        silence.min(confirm).min(self.sent_at_ms + STATUS_MS)
    }

    pub(crate) fn received(&self) -> Lsn {
        self.received
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The flush positions and the ping bits of the statuses in the bytes.
    fn flushes(out: &[u8]) -> Vec<(u64, bool)> {
        let flush = |status: &[u8]| u64::from_be_bytes(status[14..22].try_into().unwrap());
        out.chunks(39)
            .map(|status| (flush(status), status[38] == 1))
            .collect()
    }

    #[test]
    fn a_confirmed_position_is_taken_back_at_once() {
        let mut standby = Standby::new(Lsn(100), 0);
        standby.on_received(Lsn(300));
        standby.on_handed_over(Lsn(200));
        let mut out = Vec::new();
        standby.handle_timeout(CONFIRM_MS - 1, 0, &mut out);
        assert_eq!(flushes(&out), []);
        standby.handle_timeout(CONFIRM_MS, 0, &mut out);
        assert_eq!(flushes(&out), [(200, false), (0, false)]);
        out.clear();
        standby.handle_timeout(2 * CONFIRM_MS, 0, &mut out);
        standby.tell(2 * CONFIRM_MS, 0, false, &mut out);
        assert_eq!(flushes(&out), [(0, false)]);
    }

    #[test]
    fn silence_is_asked_about_and_then_believed() {
        let mut standby = Standby::new(Lsn(100), 0);
        let mut out = Vec::new();
        let mut now_ms = 0;
        while !standby.is_dead(now_ms) {
            now_ms = standby.deadline_ms();
            standby.handle_timeout(now_ms, 0, &mut out);
        }
        assert_eq!(now_ms, 2 * SILENCE_MS);
        let pings: Vec<bool> = flushes(&out).into_iter().map(|(_, ping)| ping).collect();
        assert_eq!(pings, [false, true, false]);
        standby.on_heard(now_ms);
        assert!(!standby.is_dead(now_ms + SILENCE_MS));
    }
}
