//! The text of values into JSON. What a server sends is held against `serde_json`; arrays and `hstore`
//! are written here as PostgreSQL writes them, and have to be read as what they were.

use serde_json::Value;

use crate::limits::ARRAY_DEPTH_MAX;
use crate::values::{Numbers, Scalar, Shape, Style, Timestamps};

/// The two ways in which types are written.
const STYLES: [Style; 2] = [
    Style {
        numbers: Numbers::String,
        timestamps: Timestamps::Utc,
    },
    Style {
        numbers: Numbers::Number,
        timestamps: Timestamps::Local,
    },
];

/// The name of a type, and behind a line end its text; or a JSON array or object of texts and nulls,
/// which goes through PostgreSQL's way of writing it and comes back.
pub fn values(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else {
        // The database's encoding is UTF-8, and the server has looked.
        return;
    };
    if let Ok(value) = serde_json::from_str::<Value>(text) {
        round_trip(&value);
    }
    let (name, text) = text.split_once('\n').unwrap_or(("_text", text));
    for style in STYLES {
        for namespace in ["", "public"] {
            check(Shape::of_name(namespace, name, style), text);
        }
    }
}

/// One line, and JSON wherever it is not the server's own JSON that is copied.
fn check(shape: Shape, text: &str) {
    let out = written(shape, text);
    assert!(!out.contains(['\n', '\r']), "{text:?} in two lines");
    let (Shape::One(scalar) | Shape::Array(scalar, _)) = shape;
    let json = serde_json::from_str::<Value>(&out);
    match (scalar, json) {
        // Copied as the server wrote them.
        (Scalar::Number | Scalar::Json | Scalar::Int2Vector, _) => {}
        (Scalar::Text, Ok(Value::String(read))) => assert_eq!(read, text),
        (_, Ok(_)) => {}
        (_, Err(error)) => panic!("{text:?} as {shape:?}: {out}: {error}"),
    }
    let is_json = serde_json::from_str::<Value>(text).is_ok();
    if shape == Shape::One(Scalar::Json) && is_json {
        let read = serde_json::from_str::<Value>(&out);
        assert_eq!(read.ok(), serde_json::from_str(text).ok());
    }
}

fn round_trip(value: &Value) {
    for delimiter in [',', ';'] {
        let mut text = String::new();
        let Some(depth) = write_array(value, delimiter, &mut text) else {
            continue;
        };
        let shape = Shape::Array(Scalar::Text, delimiter as u8);
        let read = serde_json::from_str::<Value>(&written(shape, &text)).ok();
        match depth <= ARRAY_DEPTH_MAX {
            true => assert_eq!(read.as_ref(), Some(value), "{text}"),
            false => assert_eq!(read, Some(Value::String(text))),
        }
    }
    let mut text = String::new();
    if write_hstore(value, &mut text).is_some() {
        let read = serde_json::from_str::<Value>(&written(Shape::One(Scalar::Hstore), &text));
        assert_eq!(read.ok().as_ref(), Some(value), "{text}");
    }
}

/// Writes an array of texts, nulls and arrays as `array_out` does, and says how deep it is.
fn write_array(value: &Value, delimiter: char, out: &mut String) -> Option<usize> {
    let elements = value.as_array()?;
    let mut depth = 1;
    out.push('{');
    for (at, element) in elements.iter().enumerate() {
        if at > 0 {
            out.push(delimiter);
        }
        match element {
            Value::Null => out.push_str("NULL"),
            Value::String(text) => write_element(text, delimiter, out),
            inner => depth = depth.max(1 + write_array(inner, delimiter, out)?),
        }
    }
    out.push('}');
    Some(depth)
}

/// An element stands between quotation marks where it would be read as something else (PostgreSQL,
/// "Arrays", Array Input and Output Syntax).
fn write_element(text: &str, delimiter: char, out: &mut String) {
    let is_special =
        |it: char| "{}\"\\".contains(it) || it == delimiter || it.is_ascii_whitespace();
    if !text.is_empty() && !text.eq_ignore_ascii_case("null") && !text.contains(is_special) {
        out.push_str(text);
        return;
    }
    write_quoted(text, out);
}

/// Writes an object of texts and nulls as `hstore_out` does.
fn write_hstore(value: &Value, out: &mut String) -> Option<()> {
    for (at, (key, value)) in value.as_object()?.iter().enumerate() {
        if at > 0 {
            out.push_str(", ");
        }
        write_quoted(key, out);
        out.push_str("=>");
        match value {
            Value::Null => out.push_str("NULL"),
            value => write_quoted(value.as_str()?, out),
        }
    }
    Some(())
}

fn write_quoted(text: &str, out: &mut String) {
    out.push('"');
    for it in text.chars() {
        if it == '"' || it == '\\' {
            out.push('\\');
        }
        out.push(it);
    }
    out.push('"');
}

fn written(shape: Shape, text: &str) -> String {
    let mut out = Vec::new();
    shape.write(text.as_bytes(), &mut out);
    String::from_utf8(out).expect("texts of UTF-8 stay UTF-8")
}
