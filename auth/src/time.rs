//! Times as JavaScript writes them: ISO 8601 in its common form (RFC 3339), and nothing looser.

/// Milliseconds since 1970; `None` for what is no such time, or before 1970.
pub(crate) fn milliseconds(text: &str) -> Option<u64> {
    let (date, time) = text.split_once(['T', ' '])?;
    let [year, month, day] = numbers(date, '-', [4, 2, 2])?;
    let (time, offset_minutes) = split_offset(time)?;
    let (clock, fraction) = time.split_once('.').unwrap_or((time, "0"));
    let [hour, minute, second] = numbers(clock, ':', [2, 2, 2])?;
    if hour > 23 || minute > 59 || second > 60 {
        return None;
    }
    let seconds = days(year, month, day)? * 86_400 + hour * 3_600 + minute * 60 + second;
    let ms = (seconds - offset_minutes * 60) * 1_000 + thousandths(fraction)?;
    u64::try_from(ms).ok()
}

/// The time without its offset from UTC, and that offset in minutes. A time without one could be
/// anybody's.
fn split_offset(time: &str) -> Option<(&str, i64)> {
    if let Some(time) = time.strip_suffix(['Z', 'z']) {
        return Some((time, 0));
    }
    let at = time.rfind(['+', '-'])?;
    let (time, offset) = time.split_at(at);
    let sign = if offset.starts_with('-') { -1 } else { 1 };
    let [hours, minutes] = numbers(&offset[1..], ':', [2, 2])?;
    (hours <= 23 && minutes <= 59).then_some((time, sign * (hours * 60 + minutes)))
}

/// Numbers of just these widths, with a separator between them.
fn numbers<const N: usize>(text: &str, separator: char, widths: [usize; N]) -> Option<[i64; N]> {
    let mut parts = text.split(separator);
    let mut found = [0; N];
    for (number, width) in found.iter_mut().zip(widths) {
        let part = parts.next()?;
        if part.len() != width || !part.bytes().all(|byte| byte.is_ascii_digit()) {
            return None;
        }
        *number = part.parse().ok()?;
    }
    parts.next().is_none().then_some(found)
}

/// Days from 1970 to a date of the Gregorian calendar.
fn days(year: i64, month: i64, day: i64) -> Option<i64> {
    let is_leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    let lengths = [
        31,
        28 + i64::from(is_leap),
        31,
        30,
        31,
        30,
        31,
        31,
        30,
        31,
        30,
        31,
    ];
    let month = usize::try_from(month.checked_sub(1)?).ok()?;
    if day < 1 || day > *lengths.get(month)? {
        return None;
    }
    let past = year - 1;
    let leap_days = past / 4 - past / 100 + past / 400 - 477;
    let months: i64 = lengths[..month].iter().sum();
    Some((year - 1970) * 365 + leap_days + months + day - 1)
}

/// The first three digits of a fraction.
fn thousandths(fraction: &str) -> Option<i64> {
    if fraction.is_empty() || !fraction.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let digits = fraction.bytes().chain([b'0'; 2]).take(3);
    Some(digits.fold(0, |number, digit| number * 10 + i64::from(digit - b'0')))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read_as_javascript_writes_them() {
        for (text, ms) in [
            ("1970-01-01T00:00:00.000Z", 0),
            ("2027-11-20T23:15:48.883Z", 1_826_752_548_883),
            ("2000-02-29T12:00:00Z", 951_825_600_000),
            ("2024-03-01T00:00:00.5Z", 1_709_251_200_500),
            ("2100-01-01T00:00:00Z", 4_102_444_800_000),
            ("2026-11-21T01:30:00.1239+01:30", 1_795_219_200_123),
            ("2026-11-20 23:00:00-01:00", 1_795_219_200_000),
            ("9999-12-31T23:59:59.999Z", crate::limits::TIME_MS_MAX),
        ] {
            assert_eq!(milliseconds(text), Some(ms), "{text}");
        }
    }

    #[test]
    fn what_is_no_time_is_none() {
        for text in [
            "",
            "2027-11-20",
            "2027-11-20T23:15:48",
            "2027-02-29T00:00:00Z",
            "2027-13-01T00:00:00Z",
            "2027-00-01T00:00:00Z",
            "2027-01-00T00:00:00Z",
            "2027-01-01T24:00:00Z",
            "2027-01-01T00:00:00.Z",
            "2027-01-01T00:00:00+1:00",
            "+02027-01-01T00:00:00Z",
            "1969-12-31T23:59:59Z",
            "2027-01-01T00:00:00é",
            "2027-01-01T00:00:00+é",
        ] {
            assert_eq!(milliseconds(text), None, "{text}");
        }
    }
}
