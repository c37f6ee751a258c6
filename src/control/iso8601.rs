//! Times as ISO 8601 and RFC 3339 write them, with an offset: from text to milliseconds since 1970.

/// Reads `2026-01-31T12:00:00Z`, with or without seconds and their fraction, and with an offset such as
/// `+01:00`, whose plus may be the space that a query makes of it.
pub(super) fn milliseconds(text: &str) -> Option<i64> {
    let (date, time) = text.split_once(['T', 't'])?;
    let days = days_since_1970(date)?;
    let at = time.find(['Z', 'z', '+', '-', ' '])?;
    let (time, offset) = time.split_at(at);
    let time_ms = time_ms(time)?;
    let offset_ms = offset_ms(offset)?;
    Some(days * 86_400_000 + time_ms - offset_ms)
}

fn days_since_1970(date: &str) -> Option<i64> {
    let mut fields = date.split('-');
    let year = number(fields.next()?, 4)?;
    let month = number(fields.next()?, 2).filter(|month| (1..=12).contains(month))?;
    let day = number(fields.next()?, 2).filter(|day| (1..=days_of(year, month)).contains(day))?;
    if fields.next().is_some() {
        return None;
    }
    // Years that begin in March have their leap day at the end.
    let (year, month) = if month > 2 {
        (year, month - 3)
    } else {
        (year - 1, month + 9)
    };
    let era = year.div_euclid(400);
    let year_of_era = year.rem_euclid(400);
    let day_of_year = (153 * month + 2) / 5 + day - 1;
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    Some(era * 146_097 + day_of_era - 719_468)
}

fn days_of(year: i64, month: i64) -> i64 {
    let is_leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    match month {
        2 if is_leap => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

fn time_ms(time: &str) -> Option<i64> {
    let (whole, fraction) = time.split_once(['.', ',']).unwrap_or((time, "0"));
    let mut fields = whole.split(':');
    let hours = number(fields.next()?, 2).filter(|hours| *hours < 24)?;
    let minutes = number(fields.next()?, 2).filter(|minutes| *minutes < 60)?;
    let seconds = match fields.next() {
        // A leap second is the first of the next minute.
        Some(seconds) => number(seconds, 2).filter(|seconds| *seconds <= 60)?,
        None => 0,
    };
    let is_fraction = !fraction.is_empty() && fraction.bytes().all(|byte| byte.is_ascii_digit());
    if fields.next().is_some() || !is_fraction {
        return None;
    }
    let digits = fraction.bytes().chain([b'0'; 3]).take(3);
    let ms = digits.fold(0, |ms, digit| ms * 10 + i64::from(digit - b'0'));
    Some(((hours * 60 + minutes) * 60 + seconds) * 1_000 + ms)
}

fn offset_ms(offset: &str) -> Option<i64> {
    let (sign, rest) = offset.split_at_checked(1)?;
    let sign = match sign {
        "Z" | "z" => return rest.is_empty().then_some(0),
        "-" => -1,
        _ => 1,
    };
    let (hours, minutes) = match rest.split_once(':') {
        Some(fields) => fields,
        None => rest.split_at_checked(2)?,
    };
    let minutes = if minutes.is_empty() { "00" } else { minutes };
    let hours = number(hours, 2).filter(|hours| *hours < 24)?;
    let minutes = number(minutes, 2).filter(|minutes| *minutes < 60)?;
    Some(sign * (hours * 60 + minutes) * 60_000)
}

/// A number of just so many digits.
fn number(text: &str, digits: usize) -> Option<i64> {
    let is_number = text.len() == digits && text.bytes().all(|byte| byte.is_ascii_digit());
    is_number.then(|| text.parse().ok()).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read_as_the_calendar_has_them() {
        for (text, ms) in [
            ("1970-01-01T00:00:00Z", 0),
            ("1970-01-01T00:00Z", 0),
            ("2023-11-14T22:13:20Z", 1_700_000_000_000),
            ("2023-11-14T22:13:20.1239Z", 1_700_000_000_123),
            ("2023-11-14T23:13:20+01:00", 1_700_000_000_000),
            ("2023-11-14T23:13:20 01:00", 1_700_000_000_000),
            ("2023-11-14T17:43:20-0430", 1_700_000_000_000),
            ("2024-02-29T12:00:00z", 1_709_208_000_000),
            ("2000-03-01T00:00:00Z", 951_868_800_000),
            ("1969-12-31T23:59:59.999Z", -1),
        ] {
            assert_eq!(milliseconds(text), Some(ms), "{text}");
        }
    }

    #[test]
    fn what_no_calendar_has_is_no_time() {
        for text in [
            "",
            "2023-11-14",
            "2023-11-14T22:13:20",
            "2023-02-29T00:00:00Z",
            "2023-13-01T00:00:00Z",
            "2023-11-14T24:00:00Z",
            "2023-11-14T22:60:00Z",
            "2023-11-14T22:13:20.Z",
            "2023-11-14T22:13:20ZZ",
            "2023-11-14T22:13:20+1",
            "2023-11-14T22:13:20+é",
            "23-11-14T22:13:20Z",
            "+023-11-14T22:13:20Z",
        ] {
            assert_eq!(milliseconds(text), None, "{text}");
        }
    }
}
