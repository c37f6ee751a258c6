//! Values: PostgreSQL's text output into JSON.
//!
//! A value equals what `to_jsonb` gives for it, with two exceptions by type: `int8`, `numeric` and
//! `money` are strings, since a browser's numbers are too short for them, and `timestamp` without
//! time zone ends in `Z`, since a browser reads a bare one as local time.
//!
//! The text was made under the session settings of `startup` (ISO dates, UTC).

mod array;

use postgres_types::{Kind, Type};
use wire::json::escape_into;

/// How the text of a type becomes JSON.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Shape {
    /// `t` or `f`.
    Bool,
    /// Copied; NaN and the infinities are strings.
    Number,
    /// Copied.
    Json,
    /// A string with a `T`, and `Z` at its end.
    Timestamp,
    /// A string with a `T`, and the offset in full.
    TimestampTz,
    /// A string.
    Text,
    /// A JSON array of a built-in type's elements, between which this byte stands.
    Array(Scalar, u8),
}

/// How an element of an array becomes JSON: a [`Shape`] that is no array.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Scalar {
    Bool,
    Number,
    Json,
    Timestamp,
    TimestampTz,
    Text,
}

impl Shape {
    /// The shape of a built-in type; everything unknown is a string.
    pub(crate) fn of_oid(oid: u32) -> Self {
        match Type::from_oid(oid) {
            Some(ty) => Self::of_type(&ty),
            None => Self::Text,
        }
    }

    /// The shape of a type that the server described by name: a domain comes under the name of its
    /// base type in `pg_catalog`, which is said as the empty namespace. Anything else is the
    /// application's own: an enum or a composite, or an array of them, whose names begin with `_`.
    pub(crate) fn of_name(namespace: &str, name: &str) -> Self {
        match (namespace, name) {
            ("" | "pg_catalog", name) => BASE_TYPES
                .iter()
                .chain(&BASE_ARRAYS)
                .find(|ty| ty.name() == name)
                .map_or(Self::Text, Self::of_type),
            (_, name) if name.starts_with('_') => Self::Array(Scalar::Text, b','),
            _ => Self::Text,
        }
    }

    fn of_type(ty: &Type) -> Self {
        if let Kind::Array(element) = ty.kind() {
            // Of the built-in types only box has another delimiter (`pg_type.typdelim`).
            let delimiter = if *element == Type::BOX { b';' } else { b',' };
            return Self::Array(Scalar::of_type(element), delimiter);
        }
        match Scalar::of_type(ty) {
            Scalar::Bool => Self::Bool,
            Scalar::Number => Self::Number,
            Scalar::Json => Self::Json,
            Scalar::Timestamp => Self::Timestamp,
            Scalar::TimestampTz => Self::TimestampTz,
            Scalar::Text => Self::Text,
        }
    }

    /// Appends the JSON of a value.
    pub(crate) fn write(self, text: &[u8], out: &mut Vec<u8>) {
        let scalar = match self {
            Self::Bool => Scalar::Bool,
            Self::Number => Scalar::Number,
            Self::Json => Scalar::Json,
            Self::Timestamp => Scalar::Timestamp,
            Self::TimestampTz => Scalar::TimestampTz,
            Self::Text => Scalar::Text,
            Self::Array(element, delimiter) => {
                let start = out.len();
                if array::write(text, element, delimiter, out).is_none() {
                    out.truncate(start);
                    write_string(text, out);
                }
                return;
            }
        };
        scalar.write(text, out);
    }
}

/// What a domain's base type is called, among those that are not strings.
const BASE_TYPES: [Type; 9] = [
    Type::BOOL,
    Type::INT2,
    Type::INT4,
    Type::FLOAT4,
    Type::FLOAT8,
    Type::JSON,
    Type::JSONB,
    Type::TIMESTAMP,
    Type::TIMESTAMPTZ,
];

/// The same for a domain over an array.
const BASE_ARRAYS: [Type; 18] = [
    Type::BOOL_ARRAY,
    Type::INT2_ARRAY,
    Type::INT4_ARRAY,
    Type::INT8_ARRAY,
    Type::FLOAT4_ARRAY,
    Type::FLOAT8_ARRAY,
    Type::NUMERIC_ARRAY,
    Type::MONEY_ARRAY,
    Type::TEXT_ARRAY,
    Type::VARCHAR_ARRAY,
    Type::BPCHAR_ARRAY,
    Type::UUID_ARRAY,
    Type::BYTEA_ARRAY,
    Type::JSON_ARRAY,
    Type::JSONB_ARRAY,
    Type::DATE_ARRAY,
    Type::TIMESTAMP_ARRAY,
    Type::TIMESTAMPTZ_ARRAY,
];

impl Scalar {
    fn of_type(ty: &Type) -> Self {
        match *ty {
            Type::BOOL => Self::Bool,
            Type::INT2 | Type::INT4 | Type::FLOAT4 | Type::FLOAT8 => Self::Number,
            Type::JSON | Type::JSONB => Self::Json,
            Type::TIMESTAMP => Self::Timestamp,
            Type::TIMESTAMPTZ => Self::TimestampTz,
            _ => Self::Text,
        }
    }

    fn write(self, text: &[u8], out: &mut Vec<u8>) {
        match self {
            Self::Bool if text == b"t" => out.extend_from_slice(b"true"),
            Self::Bool if text == b"f" => out.extend_from_slice(b"false"),
            Self::Number if is_number(text) => out.extend_from_slice(text),
            Self::Json if !text.is_empty() && std::str::from_utf8(text).is_ok() => {
                write_json(text, out);
            }
            Self::Timestamp => write_timestamp(text, "Z", out),
            Self::TimestampTz => write_timestamp_tz(text, out),
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
    let Some(space) = memchr::memchr(b' ', text) else {
        return write_string(text, out);
    };
    let (date, time) = (&text[..space], &text[space + 1..]);
    let (time, era) = match time.strip_suffix(b" BC") {
        Some(time) => (time, " BC"),
        None => (time, ""),
    };
    let plain = |part: &[u8]| {
        part.iter()
            .all(|byte| matches!(byte, b'0'..=b'9' | b'-' | b':' | b'.'))
    };
    if !plain(date) || !plain(time) {
        return write_string(text, out);
    }
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

/// The same with an offset, which in UTC is `+00` and in `to_jsonb` `+00:00`.
fn write_timestamp_tz(text: &[u8], out: &mut Vec<u8>) {
    let (text, era) = match text.strip_suffix(b" BC") {
        Some(text) => (text, b" BC".as_slice()),
        None => (text, b"".as_slice()),
    };
    match text.strip_suffix(b"+00") {
        Some(utc) => write_timestamp(&[utc, era].concat(), "+00:00", out),
        None => write_string(&[text, era].concat(), out),
    }
}

/// Writes a string. The database's encoding is UTF-8, so nothing is ever replaced.
fn write_string(text: &[u8], out: &mut Vec<u8>) {
    match std::str::from_utf8(text) {
        Ok(text) => escape_into(out, text),
        Err(_) => escape_into(out, &String::from_utf8_lossy(text)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn json(ty: &Type, text: &str) -> String {
        let mut out = Vec::new();
        Shape::of_oid(ty.oid()).write(text.as_bytes(), &mut out);
        let json = String::from_utf8(out).unwrap();
        serde_json::from_str::<serde_json::Value>(&json).unwrap();
        json
    }

    #[test]
    fn short_numbers_are_numbers_and_long_ones_strings() {
        assert_eq!(json(&Type::INT4, "-5"), "-5");
        assert_eq!(json(&Type::FLOAT8, "1e+300"), "1e+300");
        for text in ["NaN", "Infinity", "-Infinity"] {
            assert_eq!(json(&Type::FLOAT8, text), format!("\"{text}\""));
        }
        assert_eq!(
            json(&Type::INT8, "9007199254740993"),
            "\"9007199254740993\""
        );
        assert_eq!(json(&Type::NUMERIC, "1.50"), "\"1.50\"");
        assert_eq!(json(&Type::MONEY, "$1,234.50"), "\"$1,234.50\"");
        assert_eq!(
            (json(&Type::BOOL, "t"), json(&Type::BOOL, "f")),
            ("true".into(), "false".into())
        );
    }

    #[test]
    fn times_are_what_a_browser_reads_as_meant() {
        let zoneless = [
            ("2026-01-05 12:34:56.123456", "2026-01-05T12:34:56.123456Z"),
            ("10000-01-05 00:00:00", "10000-01-05T00:00:00Z"),
            ("0044-03-15 12:00:00 BC", "0044-03-15T12:00:00Z BC"),
            ("infinity", "infinity"),
        ];
        for (text, expected) in zoneless {
            assert_eq!(json(&Type::TIMESTAMP, text), format!("\"{expected}\""));
        }
        let zoned = [
            ("2026-01-05 12:34:56.5+00", "2026-01-05T12:34:56.5+00:00"),
            ("0044-03-15 12:00:00+00 BC", "0044-03-15T12:00:00+00:00 BC"),
            ("-infinity", "-infinity"),
            ("2026-01-05 12:34:56+05:30", "2026-01-05 12:34:56+05:30"),
        ];
        for (text, expected) in zoned {
            assert_eq!(json(&Type::TIMESTAMPTZ, text), format!("\"{expected}\""));
        }
        assert_eq!(json(&Type::DATE, "2026-01-05"), "\"2026-01-05\"");
    }

    #[test]
    fn json_keeps_its_text_on_one_line() {
        assert_eq!(
            json(&Type::JSON, "{\r\n \"a\": 1,\n\"a\": 2}"),
            "{   \"a\": 1, \"a\": 2}"
        );
        assert_eq!(json(&Type::JSONB, "\"\u{2028}\""), "\"\u{2028}\"");
    }

    #[test]
    fn arrays_are_nested_arrays_of_their_elements() {
        let cases = [
            (Type::INT4_ARRAY, "{1,NULL,3}", "[1,null,3]"),
            (Type::INT4_ARRAY, "{{1,2},{3,4}}", "[[1,2],[3,4]]"),
            (Type::INT4_ARRAY, "{}", "[]"),
            (Type::INT4_ARRAY, "[0:1]={7,8}", "[7,8]"),
            (Type::INT8_ARRAY, "{1}", r#"["1"]"#),
            (Type::BOOL_ARRAY, "{t,f}", "[true,false]"),
            (
                Type::TEXT_ARRAY,
                r#"{a,"b,c","d\"e","f\\g",NULL,"NULL",""}"#,
                r#"["a","b,c","d\"e","f\\g",null,"NULL",""]"#,
            ),
            (Type::JSONB_ARRAY, r#"{"{\"a\": [1]}"}"#, r#"[{"a": [1]}]"#),
            (
                Type::TIMESTAMP_ARRAY,
                r#"{"2026-01-05 12:34:56"}"#,
                r#"["2026-01-05T12:34:56Z"]"#,
            ),
            (
                Type::BOX_ARRAY,
                "{(1,1),(0,0);(2,2),(0,0)}",
                r#"["(1,1),(0,0)","(2,2),(0,0)"]"#,
            ),
        ];
        for (ty, text, expected) in cases {
            assert_eq!(json(&ty, text), expected);
        }
    }

    #[test]
    fn what_is_no_array_after_all_is_a_string() {
        for text in [
            "",
            "{",
            "{1",
            "{1,",
            "{1}}",
            "{1}x",
            "[0:1]",
            "{\"a",
            "{\"\\",
            "{,}",
            "x",
            "{{{{{{{1}}}}}}}",
        ] {
            let expected = serde_json::to_string(text).unwrap();
            assert_eq!(json(&Type::INT4_ARRAY, text), expected);
        }
    }

    #[test]
    fn domains_and_enums_are_known_by_name() {
        assert_eq!(Shape::of_name("", "int4"), Shape::Number);
        assert_eq!(
            Shape::of_name("pg_catalog", "_int4"),
            Shape::Array(Scalar::Number, b',')
        );
        assert_eq!(Shape::of_name("", "int8"), Shape::Text);
        assert_eq!(Shape::of_name("public", "int4"), Shape::Text);
        assert_eq!(Shape::of_name("public", "mood"), Shape::Text);
        assert_eq!(
            Shape::of_name("public", "_mood"),
            Shape::Array(Scalar::Text, b',')
        );
    }

    #[test]
    fn text_that_is_not_what_its_type_says_is_still_json() {
        assert_eq!(json(&Type::BOOL, "maybe"), "\"maybe\"");
        assert_eq!(json(&Type::INT4, ""), "\"\"");
        let mut out = Vec::new();
        Shape::Json.write(b"\xff", &mut out);
        assert_eq!(out, "\"\u{fffd}\"".as_bytes());
    }
}
