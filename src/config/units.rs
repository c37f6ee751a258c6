//! Values with units, and networks: `"25s"`, `"256MiB"`, `"10.0.0.0/8"`.

use std::time::Duration;

/// Reads a whole number and a unit: `ms`, `s`, `m`, `h` or `d`.
///
/// # Errors
///
/// What to write instead.
pub(crate) fn duration(text: &str) -> Result<Duration, String> {
    let mend = || "write a whole number and a unit, such as \"250ms\", \"25s\", \"5m\" or \"1h\"";
    let (number, unit) = split(text).ok_or_else(mend)?;
    let unit_ms: u64 = match unit {
        "ms" => 1,
        "s" => 1_000,
        "m" => 60_000,
        "h" => 3_600_000,
        "d" => 86_400_000,
        _ => return Err(mend().to_owned()),
    };
    let ms = number
        .checked_mul(unit_ms)
        .ok_or("this is longer than time itself; write less")?;
    Ok(Duration::from_millis(ms))
}

/// Reads a whole number and a unit: `B`, `KiB`, `MiB`, `GiB`, or the decimal `kB`, `MB`, `GB`.
///
/// # Errors
///
/// What to write instead.
pub(crate) fn bytes(text: &str) -> Result<u64, String> {
    let mend = || "write a whole number and a unit, such as \"64KiB\", \"256MiB\" or \"1GiB\"";
    let (number, unit) = split(text).ok_or_else(mend)?;
    let unit_bytes: u64 = match unit {
        "B" => 1,
        "KiB" => 1 << 10,
        "MiB" => 1 << 20,
        "GiB" => 1 << 30,
        "kB" => 1_000,
        "MB" => 1_000_000,
        "GB" => 1_000_000_000,
        _ => return Err(mend().to_owned()),
    };
    Ok(number
        .checked_mul(unit_bytes)
        .ok_or("this is more than any machine has; write less")?)
}

/// Bytes for a person: `12.3 MiB`.
pub(crate) fn human_bytes(bytes: u64) -> String {
    let units = ["B", "KiB", "MiB", "GiB", "TiB"];
    let mut amount = bytes as f64;
    let mut at = 0;
    while amount >= 1024.0 && at + 1 < units.len() {
        amount /= 1024.0;
        at += 1;
    }
    match at {
        0 => format!("{bytes} B"),
        _ => format!("{amount:.1} {}", units[at]),
    }
}

/// A time for a person, in its largest unit: `37 days`, `3 h`, `20 s`.
pub(crate) fn human_time(seconds: f64) -> String {
    // Beyond a hundred years a number says nothing.
    const YEARS_100: f64 = 3.2e9;
    match seconds {
        s if s.is_nan() || s >= YEARS_100 => "more than 100 years".to_owned(),
        s if s >= 2.0 * 86_400.0 => format!("{:.0} days", s / 86_400.0),
        s if s >= 2.0 * 3_600.0 => format!("{:.0} h", s / 3_600.0),
        s if s >= 120.0 => format!("{:.0} min", s / 60.0),
        s => format!("{:.0} s", s.max(0.0)),
    }
}

fn split(text: &str) -> Option<(u64, &str)> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let number = text[..digits].parse().ok()?;
    Some((number, text[digits..].trim_start()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_have_a_unit() {
        assert_eq!(duration("25s"), Ok(Duration::from_secs(25)));
        assert_eq!(duration("0s"), Ok(Duration::ZERO));
        assert_eq!(duration("5 m"), Ok(Duration::from_secs(300)));
        assert_eq!(duration("250ms"), Ok(Duration::from_millis(250)));
        for text in [
            "",
            "25",
            "s",
            "-1s",
            "1.5s",
            "25x",
            "25sec",
            "99999999999999999999s",
            "ü",
        ] {
            assert!(duration(text).is_err(), "{text:?}");
        }
        assert!(duration("18446744073709551615d").is_err());
    }

    #[test]
    fn amounts_are_rounded_for_a_person() {
        assert_eq!(human_bytes(1023), "1023 B");
        assert_eq!(human_bytes(12_900_000), "12.3 MiB");
        assert_eq!(human_bytes(u64::MAX), "16777216.0 TiB");
        assert_eq!(human_time(90.4), "90 s");
        assert_eq!(human_time(7_200.0), "2 h");
        assert_eq!(human_time(37.4 * 86_400.0), "37 days");
        assert_eq!(human_time(f64::INFINITY), "more than 100 years");
    }

    #[test]
    fn sizes_have_a_unit() {
        assert_eq!(bytes("256MiB"), Ok(256 << 20));
        assert_eq!(bytes("16 KiB"), Ok(16 << 10));
        assert_eq!(bytes("1GB"), Ok(1_000_000_000));
        for text in [
            "",
            "256",
            "MiB",
            "1.5GiB",
            "256mib",
            "18446744073709551615GiB",
        ] {
            assert!(bytes(text).is_err(), "{text:?}");
        }
    }
}
