//! The scan for the end of a head, which looks at each byte once however the input is cut.
//!
//! It goes from byte to byte and decides at the first one that settles the matter, so that a longer
//! input never changes a verdict. What needs the whole head is decided when the whole head is there.

use super::{
    FIELDS_MAX, HEAD_BYTES_MAX, HEAD_WITH_COOKIES_BYTES_MAX, Head, HeadError,
    REQUEST_LINE_BYTES_MAX, RequestLine,
};
use crate::scan;

/// What a line of cookies begins with; its bytes have a limit of their own.
const COOKIE: &[u8] = b"cookie:";

/// How far the scan of one head has come.
///
/// ```
/// use wire::http::HeadScan;
/// let mut scan = HeadScan::default();
/// assert!(scan.advance(b"GET / HTTP/1.1\r\nHost: a").unwrap().is_none());
/// let head = scan.advance(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n").unwrap().unwrap();
/// assert_eq!(head.field("host"), Some("a"));
/// ```
#[derive(Clone, Debug, Default)]
pub struct HeadScan {
    /// The request line, once it was read, and where the fields begin.
    line: Option<(RequestLine, usize)>,
    /// Where the line begins that is being scanned.
    line_start: usize,
    /// Everything before is known to be in order.
    scanned: usize,
    /// The length of the lines before this one, without those of cookies.
    counted_bytes: usize,
    fields: usize,
}

impl HeadScan {
    /// Goes on with everything that arrived so far, from the first byte of the head; `None` where
    /// more is needed. After an error the same error is returned again.
    ///
    /// # Errors
    ///
    /// Where the input cannot become an acceptable head.
    pub fn advance(&mut self, bytes: &[u8]) -> Result<Option<Head>, HeadError> {
        assert!(
            bytes.len() >= self.scanned,
            "the input of a scan only grows"
        );
        // The first byte of a TLS record that holds a handshake (RFC 8446, section 5.1).
        if bytes.first() == Some(&0x16) {
            return Err(HeadError::Tls);
        }
        while let Some(line_end) = self.find_line_end(bytes)? {
            let line = &bytes[self.line_start..line_end];
            let next = line_end + 2;
            match self.line {
                None => {
                    self.line = Some((RequestLine::read(line)?, next));
                    self.counted_bytes = next;
                }
                Some((request, start)) if line.is_empty() => {
                    return Head::build(&bytes[..next], request, start).map(Some);
                }
                Some(_) => self.count_field(line)?,
            }
            self.line_start = next;
            self.scanned = next;
        }
        Ok(None)
    }

    /// Where the carriage return of the current line is, once its line feed is there too.
    fn find_line_end(&mut self, bytes: &[u8]) -> Result<Option<usize>, HeadError> {
        let found = scan::position(&bytes[self.scanned..], is_control);
        let plain_end = found.map_or(bytes.len(), |at| self.scanned + at);
        self.check_size(&bytes[self.line_start..plain_end])?;
        self.scanned = plain_end;
        match &bytes[plain_end..] {
            [] | [b'\r'] => Ok(None),
            [b'\r', b'\n', ..] => Ok(Some(plain_end)),
            [b'\r', ..] => Err(HeadError::BareCarriageReturn),
            [b'\n', ..] => Err(HeadError::BareLineFeed),
            [_, ..] => Err(HeadError::ControlByte),
        }
    }

    /// Holds the limits while a line is still growing. What a line shorter than `Cookie:` counts
    /// for is not known before it ends.
    fn check_size(&self, line: &[u8]) -> Result<(), HeadError> {
        if self.line.is_none() {
            return match line.len() <= REQUEST_LINE_BYTES_MAX {
                true => Ok(()),
                false => Err(HeadError::LineTooLong),
            };
        }
        let is_known = line.len() >= COOKIE.len();
        let counted_bytes = self.counted_bytes + line.len();
        let is_over = is_known && !is_cookie(line) && counted_bytes > HEAD_BYTES_MAX;
        match is_over || self.line_start + line.len() > HEAD_WITH_COOKIES_BYTES_MAX {
            true => Err(HeadError::TooLarge),
            false => Ok(()),
        }
    }

    /// Counts a whole line of a field.
    fn count_field(&mut self, line: &[u8]) -> Result<(), HeadError> {
        if matches!(line, [b' ' | b'\t', ..]) {
            return Err(HeadError::FoldedField);
        }
        self.fields += 1;
        if self.fields > FIELDS_MAX {
            return Err(HeadError::TooManyFields);
        }
        if !is_cookie(line) {
            self.counted_bytes += line.len() + 2;
        }
        match self.counted_bytes <= HEAD_BYTES_MAX {
            true => Ok(()),
            false => Err(HeadError::TooLarge),
        }
    }
}

fn is_cookie(line: &[u8]) -> bool {
    line.get(..COOKIE.len())
        .is_some_and(|name| name.eq_ignore_ascii_case(COOKIE))
}

/// Control bytes but the tab, which may stand between words of a value.
fn is_control(byte: u8) -> bool {
    (byte < 0x20 && byte != b'\t') || byte == 0x7f
}
