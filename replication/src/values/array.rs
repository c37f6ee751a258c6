//! The text of arrays into nested JSON arrays. How an element is written is in `values`.

use super::Scalar;
use crate::limits::ARRAY_DEPTH_MAX;

/// Writes the text of an array (PostgreSQL, "Arrays", Array Input and Output Syntax) as nested JSON
/// arrays; `None` where it is no such text.
pub(super) fn write(text: &[u8], element: Scalar, delimiter: u8, out: &mut Vec<u8>) -> Option<()> {
    let text = match text.first()? {
        // Lower bounds other than 1 come first: `[0:1]={7,8}`.
        b'[' => &text[memchr::memchr(b'=', text)? + 1..],
        _ => text,
    };
    let mut array = Array {
        rest: text,
        element,
        delimiter,
        scratch: Vec::new(),
    };
    array.write_nested(out, 1)?;
    array.rest.is_empty().then_some(())
}

/// The text of an array, as far as it is not read yet.
struct Array<'a> {
    rest: &'a [u8],
    element: Scalar,
    delimiter: u8,
    /// An element without its quotation marks and backslashes.
    scratch: Vec<u8>,
}

impl Array<'_> {
    fn write_nested(&mut self, out: &mut Vec<u8>, depth: usize) -> Option<()> {
        if depth > ARRAY_DEPTH_MAX {
            return None;
        }
        self.eat(b'{')?;
        out.push(b'[');
        if self.eat(b'}').is_some() {
            out.push(b']');
            return Some(());
        }
        loop {
            match self.rest.first()? {
                b'{' => self.write_nested(out, depth + 1)?,
                b'"' => self.write_quoted(out)?,
                _ => self.write_bare(out)?,
            }
            if self.eat(b'}').is_some() {
                out.push(b']');
                return Some(());
            }
            self.eat(self.delimiter)?;
            out.push(b',');
        }
    }

    fn write_quoted(&mut self, out: &mut Vec<u8>) -> Option<()> {
        self.eat(b'"')?;
        self.scratch.clear();
        loop {
            let at = memchr::memchr2(b'"', b'\\', self.rest)?;
            self.scratch.extend_from_slice(&self.rest[..at]);
            let found = self.rest[at];
            self.rest = &self.rest[at + 1..];
            if found == b'"' {
                break;
            }
            let (escaped, rest) = self.rest.split_first()?;
            self.scratch.push(*escaped);
            self.rest = rest;
        }
        self.element.write(&self.scratch, out);
        Some(())
    }

    fn write_bare(&mut self, out: &mut Vec<u8>) -> Option<()> {
        let ends =
            |byte: &u8| matches!(byte, b'{' | b'}' | b'"' | b'\\') || *byte == self.delimiter;
        let len = self.rest.iter().position(ends)?;
        let (text, rest) = self.rest.split_at(len);
        self.rest = rest;
        match text {
            b"" => return None,
            b"NULL" => out.extend_from_slice(b"null"),
            text => self.element.write(text, out),
        }
        Some(())
    }

    fn eat(&mut self, byte: u8) -> Option<()> {
        self.rest = self.rest.strip_prefix(&[byte])?;
        Some(())
    }
}
