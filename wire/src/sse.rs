//! Server-Sent Events: the encoding (WHATWG HTML, section 9.2), such that no value can break a
//! block. Data events are not written here: a `Frame` is a block already.

use crate::EventId;

/// Appends `retry: <ms>` and a blank line.
pub fn retry(out: &mut Vec<u8>, ms: u32) {
    out.extend_from_slice(b"retry: ");
    out.extend_from_slice(itoa::Buffer::new().format(ms).as_bytes());
    out.extend_from_slice(b"\n\n");
}

/// Appends an event block: `event:` where a name is given, `id:`, and the data, one `data:` line for
/// each of its lines. Lines end at CR, LF or CRLF, as every reader of the format has it; a reader
/// gives them back with LF between them.
///
/// # Panics
///
/// Where the name is empty or has a line end. Names are ours, or a [`crate::Name`].
pub fn event(out: &mut Vec<u8>, name: Option<&str>, id: Option<EventId>, data: &str) {
    if let Some(name) = name {
        let is_line = !name.is_empty() && !name.contains(['\r', '\n']);
        assert!(is_line, "the name of an event is one line");
        out.extend_from_slice(b"event: ");
        out.extend_from_slice(name.as_bytes());
        out.push(b'\n');
    }
    if let Some(id) = id {
        out.extend_from_slice(b"id: ");
        id.write(out);
        out.push(b'\n');
    }
    let mut rest = data.as_bytes();
    while let Some(end) = memchr::memchr2(b'\r', b'\n', rest) {
        data_line(out, &rest[..end]);
        let is_pair = rest[end..].starts_with(b"\r\n");
        rest = &rest[end + if is_pair { 2 } else { 1 }..];
    }
    data_line(out, rest);
    out.push(b'\n');
}

fn data_line(out: &mut Vec<u8>, line: &[u8]) {
    out.extend_from_slice(b"data: ");
    out.extend_from_slice(line);
    out.push(b'\n');
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(name: Option<&str>, id: Option<EventId>, data: &str) -> String {
        let mut out = Vec::new();
        event(&mut out, name, id, data);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn writes_the_fields_that_are_given() {
        let id = "ab.1.90002e8.1".parse().ok();
        assert_eq!(
            written(Some("bye"), id, "{}"),
            "event: bye\nid: ab.1.90002e8.1\ndata: {}\n\n"
        );
        assert_eq!(written(None, None, ""), "data: \n\n");
        let mut out = Vec::new();
        retry(&mut out, 2_500);
        assert_eq!(out, b"retry: 2500\n\n");
    }

    #[test]
    fn every_line_end_begins_a_data_line() {
        let data = "a\nb\rc\r\nd\n\re\r\r\n\n";
        assert_eq!(
            written(None, None, data),
            "data: a\ndata: b\ndata: c\ndata: d\ndata: \ndata: e\ndata: \ndata: \ndata: \n\n"
        );
        assert_eq!(
            written(None, None, "x\n\nevent: reset\ndata: y"),
            "data: x\ndata: \ndata: event: reset\ndata: data: y\n\n"
        );
    }

    #[test]
    fn a_name_with_a_line_end_is_a_mistake_of_ours() {
        for name in ["", "a\nb", "a\rdata: x"] {
            assert!(std::panic::catch_unwind(|| written(Some(name), None, "")).is_err());
        }
    }
}
