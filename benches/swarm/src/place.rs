//! Where a stream was: what it says when it comes back, found in what arrived.

use memchr::memmem::FinderRev;
use memchr::memrchr;

use crate::target::Resume;

/// Finds the last place in whole blocks.
#[derive(Debug)]
pub(crate) enum Places {
    /// Nobody asks for it.
    Unused,
    /// In the `id:` of the last event that has one.
    EventId,
    /// In a JSON field: these bytes come before its value.
    Field(FinderRev<'static>),
}

impl Places {
    /// What a way to resume needs.
    pub(crate) fn of(resume: &Resume) -> Self {
        match resume {
            Resume::Never => Self::Unused,
            Resume::LastEventId => Self::EventId,
            Resume::Offset { field, .. } => {
                let before = format!("\"{field}\":\"");
                Self::Field(FinderRev::new(&before).into_owned())
            }
        }
    }

    /// The last place in blocks that are whole.
    #[inline]
    pub(crate) fn last<'a>(&self, blocks: &'a [u8]) -> Option<&'a [u8]> {
        match self {
            Self::Unused => None,
            Self::EventId => last_id(blocks),
            Self::Field(before) => {
                let value = &blocks[before.rfind(blocks)? + before.needle().len()..];
                Some(&value[..memchr::memchr(b'"', value)?])
            }
        }
    }
}

/// Goes from line to line backwards: the id is at most an event away.
fn last_id(mut blocks: &[u8]) -> Option<&[u8]> {
    loop {
        let (start, before) = match memrchr(b'\n', blocks) {
            Some(line_feed) => (line_feed + 1, &blocks[..line_feed]),
            None => (0, &blocks[..0]),
        };
        if let Some(id) = blocks[start..].strip_prefix(b"id:") {
            let id = id.strip_suffix(b"\r").unwrap_or(id);
            return Some(id.strip_prefix(b" ").unwrap_or(id));
        }
        if start == 0 {
            return None;
        }
        blocks = before;
    }
}

#[cfg(test)]
mod tests {
    use super::Places;
    use crate::target::Resume;

    #[test]
    fn the_last_id_counts() {
        let last = |blocks: &'static str| Places::EventId.last(blocks.as_bytes());
        assert_eq!(
            last("id: 7\ndata: a\n\nid:8-1\nevent: x\ndata: id: 9\n\n"),
            Some(&b"8-1"[..])
        );
        assert_eq!(
            last("id: 7\r\ndata: a\r\n\r\n: comment\r\n\r\n"),
            Some(&b"7"[..])
        );
        assert_eq!(last("data: id: 9\nidle: 3\n\n"), None);
        assert_eq!(last("id:\n\n"), Some(&b""[..]));
    }

    #[test]
    fn the_last_field_counts() {
        let places = Places::of(&Resume::Offset {
            field: "next".to_owned(),
            first: "now".to_owned(),
        });
        let blocks = br#"data: {"next":"0_1"}

data: {"next":"0_22","cursor":"5"}

"#;
        assert_eq!(places.last(blocks), Some(&b"0_22"[..]));
        assert_eq!(places.last(b"data: {\"cursor\":\"5\"}\n\n"), None);
        assert_eq!(Places::of(&Resume::Never).last(blocks), None);
    }
}
