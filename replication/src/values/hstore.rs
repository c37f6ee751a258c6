//! The text of the extension `hstore` into a JSON object: `"a"=>"1", "b"=>NULL` (PostgreSQL, "hstore").

use super::scalar::write_string;

/// Writes the object; `None` where it is no such text.
pub(super) fn write(text: &[u8], out: &mut Vec<u8>) -> Option<()> {
    let (mut rest, mut scratch) = (text, Vec::new());
    out.push(b'{');
    while !rest.is_empty() {
        if rest.len() < text.len() {
            rest = rest.strip_prefix(b", ")?;
            out.push(b',');
        }
        rest = write_quoted(rest, &mut scratch, out)?.strip_prefix(b"=>")?;
        out.push(b':');
        rest = match rest.strip_prefix(b"NULL") {
            Some(rest) => {
                out.extend_from_slice(b"null");
                rest
            }
            None => write_quoted(rest, &mut scratch, out)?,
        };
    }
    out.push(b'}');
    Some(())
}

/// Writes what stands between quotation marks, and returns what follows them.
fn write_quoted<'a>(text: &'a [u8], scratch: &mut Vec<u8>, out: &mut Vec<u8>) -> Option<&'a [u8]> {
    let mut rest = text.strip_prefix(b"\"")?;
    scratch.clear();
    loop {
        let at = memchr::memchr2(b'"', b'\\', rest)?;
        scratch.extend_from_slice(&rest[..at]);
        let found = rest[at];
        rest = &rest[at + 1..];
        if found == b'"' {
            write_string(scratch, out);
            return Some(rest);
        }
        let (escaped, after) = rest.split_first()?;
        scratch.push(*escaped);
        rest = after;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn json(text: &str) -> Option<String> {
        let mut out = Vec::new();
        write(text.as_bytes(), &mut out)?;
        Some(String::from_utf8(out).unwrap())
    }

    #[test]
    fn keys_and_values_are_strings_and_null_is_null() {
        let text = r#""a"=>"1", "b\"=>, "=>NULL, ""=>"x\\y""#;
        let expected = r#"{"a":"1","b\"=>, ":null,"":"x\\y"}"#;
        assert_eq!(json(text).as_deref(), Some(expected));
        assert_eq!(json("").as_deref(), Some("{}"));
    }

    #[test]
    fn what_is_no_hstore_is_refused() {
        for text in [
            "a",
            "\"a",
            "\"a\"",
            "\"a\"=>",
            "\"a\"=>x",
            "\"a\"=>NULL,",
            "\"a\"=>NULL \"b\"=>NULL",
        ] {
            assert_eq!(json(text), None, "{text}");
        }
    }
}
