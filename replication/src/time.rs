//! Times: PostgreSQL's, and the server's clock as far as it is known.
//!
//! Nothing here looks at a clock: the caller brings a monotonic time, the server its own.

/// Milliseconds from 1970 to 2000, where PostgreSQL's times begin.
const EPOCH_2000_MS: i64 = 946_684_800_000;

/// Milliseconds since 1970 of a time of PostgreSQL's, in microseconds since 2000.
pub(crate) fn unix_ms(postgres_us: i64) -> i64 {
    postgres_us.div_euclid(1_000) + EPOCH_2000_MS
}

/// Milliseconds since 1970 of a `timestamp` or `timestamptz` as sessions of ours have it printed, in UTC.
pub(crate) fn unix_ms_of_text(text: &str) -> Option<i64> {
    if let Some(end) = [("infinity", i64::MAX), ("-infinity", 0)]
        .iter()
        .find_map(|(word, ms)| (*word == text).then_some(*ms))
    {
        return Some(end);
    }
    let text = text.strip_suffix("+00").unwrap_or(text);
    let (date, time) = text.split_once(' ')?;
    let mut date = date.splitn(3, '-').map(|field| field.parse::<i64>().ok());
    let (year, month, day) = (date.next()??, date.next()??, date.next()??);
    let (clock, fraction) = time.split_once('.').unwrap_or((time, ""));
    let mut clock = clock.splitn(3, ':').map(|field| field.parse::<i64>().ok());
    let (hour, minute, second) = (clock.next()??, clock.next()??, clock.next()??);
    let is_possible = (1..=300_000).contains(&year)
        && (1..=12).contains(&month)
        && (1..=31).contains(&day)
        && (0..=24).contains(&hour)
        && (0..=59).contains(&minute)
        && (0..=60).contains(&second)
        && fraction.len() <= 6
        && fraction.bytes().all(|byte| byte.is_ascii_digit());
    if !is_possible {
        return None;
    }
    let ms = format!("{:0<3.3}", fraction).parse::<i64>().ok()?;
    let seconds = ((days(year, month, day) * 24 + hour) * 60 + minute) * 60 + second;
    Some(seconds * 1_000 + ms)
}

/// The same, where what was before 1970 is as good as 1970.
pub(crate) fn unix_ms_of_text_since_1970(text: &str) -> Option<u64> {
    unix_ms_of_text(text).map(|ms| u64::try_from(ms).unwrap_or(0))
}

/// Days since 1970 of a date of the Gregorian calendar. Years begin in March here, so that the day that comes
/// and goes is their last.
fn days(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let month = (month + 9) % 12;
    let days_of_years =
        365 * year + year.div_euclid(4) - year.div_euclid(100) + year.div_euclid(400);
    // 1970-01-01 is day 719468 of this count.
    days_of_years + (153 * month + 2) / 5 + day - 1 - 719_468
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

    /// The newest time that it said, in microseconds since 2000.
    pub(crate) fn said_us(&self) -> Option<i64> {
        self.said.map(|(sent_us, _)| sent_us)
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read_as_sessions_of_ours_have_them_printed() {
        let cases = [
            ("1970-01-01 00:00:00", 0),
            ("1970-01-01 00:00:00.5+00", 500),
            ("2000-02-29 12:00:00+00", 951_825_600_000),
            ("2026-11-21 15:04:05.678901+00", 1_795_273_445_678),
            ("1969-12-31 23:59:59.999", -1),
            ("infinity", i64::MAX),
        ];
        for (text, ms) in cases {
            assert_eq!(unix_ms_of_text(text), Some(ms), "{text}");
        }
        for text in [
            "",
            "now",
            "2026-11-21",
            "2026-13-01 00:00:00",
            "2026-01-01 00:00:00 BC",
            "2026-01-01 00:00:0x",
            "2026-01-01 00:00:00.1234567",
        ] {
            assert_eq!(unix_ms_of_text(text), None, "{text}");
        }
    }
}
