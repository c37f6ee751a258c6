//! Single values: the text of one into JSON.

use postgres_types::Type;
use wire::json::escape_bytes_into;

use super::{Numbers, Style, Timestamps, hstore};

/// How the text of a type that is no array becomes JSON.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Scalar {
    /// `t` or `f`.
    Bool,
    /// Copied; NaN and the infinities are strings.
    Number,
    /// Copied.
    Json,
    /// A string with a `T`.
    LocalTimestamp,
    /// A string with a `T`, and `Z` at its end.
    Timestamp,
    /// A string with a `T`, and the offset in full.
    TimestampTz,
    /// A JSON array of the numbers, between which spaces stand.
    Int2Vector,
    /// The same of strings.
    OidVector,
    /// A JSON object of strings, where the text can be read as one.
    Hstore,
    /// A string.
    Text,
}

impl Scalar {
    pub(super) fn of_type(ty: &Type, style: Style) -> Self {
        match *ty {
            Type::BOOL => Self::Bool,
            Type::INT2 | Type::INT4 | Type::FLOAT4 | Type::FLOAT8 => Self::Number,
            Type::INT8 | Type::NUMERIC if style.numbers == Numbers::Number => Self::Number,
            Type::JSON | Type::JSONB => Self::Json,
            Type::TIMESTAMP => match style.timestamps {
                Timestamps::Utc => Self::Timestamp,
                Timestamps::Local => Self::LocalTimestamp,
            },
            Type::TIMESTAMPTZ => Self::TimestampTz,
            Type::INT2_VECTOR => Self::Int2Vector,
            Type::OID_VECTOR => Self::OidVector,
            _ => Self::Text,
        }
    }

    /// Appends the JSON of a value.
    pub(super) fn write(self, text: &[u8], out: &mut Vec<u8>) {
        match self {
            Self::Bool if text == b"t" => out.extend_from_slice(b"true"),
            Self::Bool if text == b"f" => out.extend_from_slice(b"false"),
            Self::Number if is_number(text) => out.extend_from_slice(text),
            Self::Json if !text.is_empty() && std::str::from_utf8(text).is_ok() => {
                write_json(text, out);
            }
            Self::LocalTimestamp => write_timestamp(text, "", out),
            Self::Timestamp => write_timestamp(text, "Z", out),
            Self::TimestampTz => write_timestamp_tz(text, out),
            Self::Int2Vector => write_vector(text, Self::Number, out),
            Self::OidVector => write_vector(text, Self::Text, out),
            Self::Hstore => {
                let start = out.len();
                if hstore::write(text, out).is_none() {
                    out.truncate(start);
                    write_string(text, out);
                }
            }
            _ => write_string(text, out),
        }
    }
}

/// Whether the text of a number is one in JSON: not for NaN and the infinities.
fn is_number(text: &[u8]) -> bool {
    let part = |byte: &u8| matches!(byte, b'0'..=b'9' | b'-' | b'+' | b'.' | b'e');
    text.last().is_some_and(u8::is_ascii_digit) && text.iter().all(part)
}

/// Copies JSON; a raw line end, which it has only between tokens, becomes a space.
fn write_json(text: &[u8], out: &mut Vec<u8>) {
    let start = out.len();
    out.extend_from_slice(text);
    for at in memchr::memchr2_iter(b'\n', b'\r', text) {
        out[start + at] = b' ';
    }
}

/// Writes `2026-01-05 12:34:56.1` as `"2026-01-05T12:34:56.1"` and what follows the time; years
/// before Christ keep their mark behind it, and the infinities are copied.
fn write_timestamp(text: &[u8], zone: &str, out: &mut Vec<u8>) {
    let (moment, era) = split_era(text);
    write_moment(text, moment, zone, era, out);
}

/// The same with an offset, which in UTC is `+00` and in `to_jsonb` `+00:00`.
fn write_timestamp_tz(text: &[u8], out: &mut Vec<u8>) {
    let (moment, era) = split_era(text);
    match moment.strip_suffix(b"+00") {
        Some(moment) => write_moment(text, moment, "+00:00", era, out),
        None => write_string(text, out),
    }
}

fn split_era(text: &[u8]) -> (&[u8], &'static str) {
    match text.strip_suffix(b" BC") {
        Some(moment) => (moment, " BC"),
        None => (text, ""),
    }
}

fn write_moment(text: &[u8], moment: &[u8], zone: &str, era: &str, out: &mut Vec<u8>) {
    let plain = |part: &[u8]| {
        part.iter()
            .all(|byte| matches!(byte, b'0'..=b'9' | b'-' | b':' | b'.'))
    };
    let space = memchr::memchr(b' ', moment);
    let parts = space.map(|space| (&moment[..space], &moment[space + 1..]));
    let Some((date, time)) = parts.filter(|(date, time)| plain(date) && plain(time)) else {
        return write_string(text, out);
    };
    for part in [
        b"\"",
        date,
        b"T",
        time,
        zone.as_bytes(),
        era.as_bytes(),
        b"\"",
    ] {
        out.extend_from_slice(part);
    }
}

fn write_vector(text: &[u8], element: Scalar, out: &mut Vec<u8>) {
    out.push(b'[');
    let elements = text.split(|byte| *byte == b' ').filter(|it| !it.is_empty());
    for (at, text) in elements.enumerate() {
        if at > 0 {
            out.push(b',');
        }
        element.write(text, out);
    }
    out.push(b']');
}

/// Writes a string. The database's encoding is UTF-8, so nothing is ever replaced.
pub(super) fn write_string(text: &[u8], out: &mut Vec<u8>) {
    escape_bytes_into(out, text);
}
