//! JSON strings, written (RFC 8259, section 7). Nothing is read here, and nothing but strings is
//! written: objects and arrays are put together where they are known.

use crate::scan;

/// Appends the text as a JSON string, with its quotation marks.
///
/// Line ends are escaped like every control character, so that the string is safe in an SSE field.
///
/// ```
/// let mut out = Vec::new();
/// wire::json::escape_into(&mut out, "a \"b\"\n");
/// assert_eq!(out, br#""a \"b\"\n""#);
/// ```
pub fn escape_into(out: &mut Vec<u8>, text: &str) {
    out.reserve(text.len() + 2);
    out.push(b'"');
    let mut rest = text.as_bytes();
    while let Some(at) = scan::position(rest, needs_escape) {
        out.extend_from_slice(&rest[..at]);
        escape_byte(out, rest[at]);
        rest = &rest[at + 1..];
    }
    out.extend_from_slice(rest);
    out.push(b'"');
}

/// The same for bytes that ought to be UTF-8; what is not is replaced, as
/// [`String::from_utf8_lossy`] does it.
pub fn escape_bytes_into(out: &mut Vec<u8>, text: &[u8]) {
    // Most texts are ASCII that needs no escape, which takes one pass to know.
    if scan::position(text, |byte| needs_escape(byte) | !byte.is_ascii()).is_none() {
        out.reserve(text.len() + 2);
        out.push(b'"');
        out.extend_from_slice(text);
        out.push(b'"');
        return;
    }
    match std::str::from_utf8(text) {
        Ok(text) => escape_into(out, text),
        Err(_) => escape_into(out, &String::from_utf8_lossy(text)),
    }
}

/// What must not stand in a JSON string as itself: control characters, the quotation mark and the
/// backslash. All are ASCII, so no other character holds their bytes.
fn needs_escape(byte: u8) -> bool {
    // Without a way out in between, which would keep the scan from vector instructions.
    (byte < 0x20) | (byte == b'"') | (byte == b'\\')
}

fn escape_byte(out: &mut Vec<u8>, byte: u8) {
    const HEX: &[u8; 16] = b"0123456789abcdef";
    match byte {
        b'"' => out.extend_from_slice(b"\\\""),
        b'\\' => out.extend_from_slice(b"\\\\"),
        b'\n' => out.extend_from_slice(b"\\n"),
        b'\r' => out.extend_from_slice(b"\\r"),
        b'\t' => out.extend_from_slice(b"\\t"),
        0x08 => out.extend_from_slice(b"\\b"),
        0x0c => out.extend_from_slice(b"\\f"),
        _ => {
            out.extend_from_slice(b"\\u00");
            out.push(HEX[usize::from(byte >> 4)]);
            out.push(HEX[usize::from(byte & 15)]);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn escaped(text: &str) -> String {
        let (mut out, mut of_bytes) = (Vec::new(), Vec::new());
        escape_into(&mut out, text);
        escape_bytes_into(&mut of_bytes, text.as_bytes());
        assert_eq!(out, of_bytes);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn writes_what_serde_json_writes_for_every_character() {
        // All that are near the special ones, and a sample of the rest.
        let is_tried = |c: &char| u32::from(*c) < 0x3000 || u32::from(*c) % 97 == 0;
        for character in ('\0'..=char::MAX).filter(is_tried) {
            let text = character.to_string();
            assert_eq!(escaped(&text), serde_json::to_string(&text).unwrap());
        }
    }

    #[test]
    fn writes_what_serde_json_writes_at_every_length_and_place() {
        for len in 0..80 {
            for at in 0..len {
                let mut text = "x".repeat(len);
                text.replace_range(at..=at, "\"");
                assert_eq!(escaped(&text), serde_json::to_string(&text).unwrap());
            }
        }
        for text in [
            "",
            "\\\"\n\r\t\u{8}\u{c}\u{0}\u{1f}\u{7f}",
            "Żółw 🐢 \u{2028}\u{2029}",
        ] {
            assert_eq!(escaped(text), serde_json::to_string(text).unwrap());
        }
    }

    #[test]
    fn what_is_not_utf8_is_replaced() {
        let mut out = Vec::new();
        escape_bytes_into(&mut out, b"a\xff\"");
        assert_eq!(out, "\"a\u{fffd}\\\"\"".as_bytes());
    }
}
