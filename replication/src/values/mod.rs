//! Values: PostgreSQL's text output into JSON.
//!
//! A value equals what `to_jsonb` gives for it, for every built-in type, arrays of them, domains and
//! enums, with two exceptions by type, which [`Style`] can take back: `int8`, `numeric` and `money` are
//! strings, since a browser's numbers are too short for them, and `timestamp` without time zone ends
//! in `Z`, since a browser reads a bare one as local time. What the server does not describe is a
//! string too: composites, and the elements of an array of composites or domains.
//!
//! The text was made under the session settings of `startup` (ISO dates, UTC). How a single value is
//! written is in `scalar`, and how arrays are read in `array`.

mod array;
mod hstore;
mod scalar;

use postgres_types::{Kind, Type};

pub(crate) use scalar::Scalar;

/// In which of two ways the types are written that a browser is easily wrong about.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Style {
    /// `int8` and `numeric`, and arrays and domains of them.
    pub numbers: Numbers,
    /// `timestamp` without time zone, and arrays and domains of it.
    pub timestamps: Timestamps,
}

/// How `int8` and `numeric` are written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Numbers {
    /// As strings: a browser's numbers have 53 bits.
    #[default]
    String,
    /// As numbers, as `to_jsonb` does.
    Number,
}

/// How `timestamp` without time zone is written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Timestamps {
    /// With a `Z` at its end: most applications store UTC in it.
    #[default]
    Utc,
    /// Bare, as `to_jsonb` does.
    Local,
}

/// How the text of a type becomes JSON.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Shape {
    One(Scalar),
    /// A JSON array of such elements, between which this byte stands.
    Array(Scalar, u8),
}

impl Shape {
    /// The shape of a built-in type; everything unknown is a string.
    pub(crate) fn of_oid(oid: u32, style: Style) -> Self {
        Type::from_oid(oid).map_or(Self::TEXT, |ty| Self::of_type(&ty, style))
    }

    /// The shape of a type that the server described by name: a domain comes under the name of its
    /// base type, where `pg_catalog` is said as the empty namespace. Anything else is the
    /// application's own or an extension's: an enum or a composite, or an array of them, whose names
    /// begin with `_`.
    pub(crate) fn of_name(namespace: &str, name: &str, style: Style) -> Self {
        match (namespace, name) {
            ("" | "pg_catalog", name) => (1..BUILT_IN_OIDS_END)
                .filter_map(Type::from_oid)
                .find(|ty| ty.name() == name)
                .map_or(Self::TEXT, |ty| Self::of_type(&ty, style)),
            (_, "hstore") => Self::One(Scalar::Hstore),
            (_, "_hstore") => Self::Array(Scalar::Hstore, b','),
            (_, name) if name.starts_with('_') => Self::Array(Scalar::Text, b','),
            _ => Self::TEXT,
        }
    }

    /// A string.
    const TEXT: Self = Self::One(Scalar::Text);

    fn of_type(ty: &Type, style: Style) -> Self {
        match ty.kind() {
            // Arrays by their name alone: their text is that of no array.
            _ if [Type::INT2_VECTOR, Type::OID_VECTOR].contains(ty) => {
                Self::One(Scalar::of_type(ty, style))
            }
            Kind::Array(element) => {
                // Of the built-in types only box has another delimiter (`pg_type.typdelim`).
                let delimiter = if *element == Type::BOX { b';' } else { b',' };
                Self::Array(Scalar::of_type(element, style), delimiter)
            }
            _ => Self::One(Scalar::of_type(ty, style)),
        }
    }

    /// Appends the JSON of a value.
    pub(crate) fn write(self, text: &[u8], out: &mut Vec<u8>) {
        match self {
            Self::One(scalar) => scalar.write(text, out),
            Self::Array(element, delimiter) => {
                let start = out.len();
                if array::write(text, element, delimiter, out).is_none() {
                    out.truncate(start);
                    Scalar::Text.write(text, out);
                }
            }
        }
    }
}

/// Types of the server's own have oids below this (`FirstGenbkiObjectId`); it describes the others.
const BUILT_IN_OIDS_END: u32 = 10_000;

#[cfg(test)]
mod tests {
    use super::*;

    fn json(ty: &Type, text: &str) -> String {
        let mut out = Vec::new();
        Shape::of_oid(ty.oid(), Style::default()).write(text.as_bytes(), &mut out);
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
        let of_name = |namespace, name| Shape::of_name(namespace, name, Style::default());
        assert_eq!(of_name("", "int4"), Shape::One(Scalar::Number));
        assert_eq!(
            of_name("pg_catalog", "_int4"),
            Shape::Array(Scalar::Number, b',')
        );
        assert_eq!(of_name("", "int8"), Shape::TEXT);
        assert_eq!(of_name("", "_box"), Shape::Array(Scalar::Text, b';'));
        assert_eq!(of_name("public", "int4"), Shape::TEXT);
        assert_eq!(of_name("public", "mood"), Shape::TEXT);
        assert_eq!(of_name("public", "_mood"), Shape::Array(Scalar::Text, b','));
        assert_eq!(of_name("public", "hstore"), Shape::One(Scalar::Hstore));
    }

    #[test]
    fn long_numbers_and_bare_timestamps_may_be_as_to_jsonb_has_them() {
        let style = Style {
            numbers: Numbers::Number,
            timestamps: Timestamps::Local,
        };
        let json = |ty: &Type, text: &str| {
            let mut out = Vec::new();
            Shape::of_oid(ty.oid(), style).write(text.as_bytes(), &mut out);
            String::from_utf8(out).unwrap()
        };
        assert_eq!(json(&Type::INT8, "9007199254740993"), "9007199254740993");
        assert_eq!(json(&Type::NUMERIC_ARRAY, "{1.50,NaN}"), "[1.50,\"NaN\"]");
        let bare = json(&Type::TIMESTAMP, "2026-01-05 12:34:56");
        assert_eq!(bare, "\"2026-01-05T12:34:56\"");
        assert_eq!(
            Shape::of_name("", "int8", style),
            Shape::One(Scalar::Number)
        );
    }

    #[test]
    fn vectors_are_arrays_by_another_spelling() {
        assert_eq!(json(&Type::INT2_VECTOR, "1 -2"), "[1,-2]");
        assert_eq!(json(&Type::OID_VECTOR, ""), "[]");
        let nested = json(&Type::OID_VECTOR_ARRAY, "{\"1 2\",3}");
        assert_eq!(nested, r#"[["1","2"],["3"]]"#);
    }

    #[test]
    fn text_that_is_not_what_its_type_says_is_still_json() {
        assert_eq!(json(&Type::BOOL, "maybe"), "\"maybe\"");
        assert_eq!(json(&Type::INT4, ""), "\"\"");
        let mut out = Vec::new();
        Scalar::Json.write(b"\xff", &mut out);
        assert_eq!(out, "\"\u{fffd}\"".as_bytes());
    }
}
