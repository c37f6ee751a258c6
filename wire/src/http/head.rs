//! Request heads: what a client asked, read strictly and once.
//!
//! `head/scan.rs` finds where a head ends and holds the limits, `head/line.rs` reads the request
//! line, `head/framing.rs` decides what may follow it, `head/error.rs` says what was wrong. The
//! fields between are cut by `httparse`. What a path or a field means is not known here.
//!
//! We are stricter than RFC 9112 asks wherever a proxy before us could read the same bytes
//! otherwise than we do: such a request is refused, and its connection closed.

mod error;
mod framing;
mod line;
mod scan;

use std::fmt;
use std::ops::Range;

use bytes::Bytes;

pub use error::HeadError;
use line::RequestLine;
pub use scan::HeadScan;

/// The longest request line, in bytes, without its line end.
pub const REQUEST_LINE_BYTES_MAX: usize = 8 * 1024;

/// The longest head, in bytes, not counting its `Cookie` fields.
pub const HEAD_BYTES_MAX: usize = 16 * 1024;

/// The longest head with its `Cookie` fields, in bytes: browsers send up to 4 KiB a cookie, and an
/// application's cookies all come to us.
pub const HEAD_WITH_COOKIES_BYTES_MAX: usize = 64 * 1024;

/// The most fields of a head.
pub const FIELDS_MAX: usize = 64;

/// The longest body, in bytes.
pub const BODY_BYTES_MAX: usize = 64 * 1024;

/// A request: its head, and its body, whole.
#[derive(Clone)]
pub struct Request {
    /// The head.
    pub head: Head,
    /// The body, empty where there is none.
    pub body: Bytes,
}

impl fmt::Debug for Request {
    /// The length of the body and not its content, which is the application's.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let body = format_args!("{} bytes", self.body.len());
        f.debug_struct("Request")
            .field("head", &self.head)
            .field("body", &body)
            .finish()
    }
}

/// A request head that obeys the strict grammar.
#[derive(Clone)]
pub struct Head {
    bytes: Bytes,
    line: RequestLine,
    fields: Box<[Field]>,
    body_bytes: u32,
}

/// Where a field lies in the bytes of its head.
#[derive(Clone, Copy, Debug)]
struct Field {
    name: Span,
    value: Span,
}

/// A range of bytes in a head, which is at most 64 KiB.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Span {
    start: u32,
    end: u32,
}

const _: () = assert!(HEAD_WITH_COOKIES_BYTES_MAX <= u32::MAX as usize);

impl Span {
    fn new(range: Range<usize>) -> Self {
        let offset = |at: usize| u32::try_from(at).expect("a head is at most 64 KiB");
        Self {
            start: offset(range.start),
            end: offset(range.end),
        }
    }

    fn range(self) -> Range<usize> {
        self.start as usize..self.end as usize
    }
}

impl Head {
    /// Reads a head from the beginning of what arrived, `None` where more is needed. The verdict is
    /// the same for every way of cutting the input.
    ///
    /// Where a head arrives in many pieces, [`HeadScan`] looks at each byte once.
    ///
    /// # Errors
    ///
    /// Where the input cannot become an acceptable head.
    pub fn parse(bytes: &[u8]) -> Result<Option<Self>, HeadError> {
        HeadScan::default().advance(bytes)
    }

    /// How many bytes of the input the head took, with its blank line.
    pub fn len_bytes(&self) -> usize {
        self.bytes.len()
    }

    /// The method.
    pub fn method(&self) -> Method {
        self.line.method
    }

    /// The path as it was sent, without the query, not decoded; `*` for `OPTIONS *`.
    pub fn path(&self) -> &str {
        match self.text(self.line.path) {
            // `GET http://host HTTP/1.1` (RFC 9112, section 3.2.1).
            "" => "/",
            path => path,
        }
    }

    /// The query, without its question mark; empty where there is none.
    pub fn query(&self) -> &str {
        self.text(self.line.query)
    }

    /// The version.
    pub fn version(&self) -> Version {
        self.line.version
    }

    /// The value of a field, by its lower-case name; the first where it is repeated.
    ///
    /// Values hold no control character but tabs. One that is not UTF-8 has a question mark for
    /// each of its bytes that is not ASCII.
    pub fn field(&self, name: &str) -> Option<&str> {
        self.fields(name).next()
    }

    /// All values of a field, by its lower-case name, in the order in which they were sent.
    pub fn fields<'a>(&'a self, name: &str) -> impl Iterator<Item = &'a str> {
        // Bytes are compared: what is only looked for is not worth being read as text.
        let is_named = move |field: &&Field| {
            self.bytes[field.name.range()].eq_ignore_ascii_case(name.as_bytes())
        };
        self.fields
            .iter()
            .filter(is_named)
            .map(|field| self.text(field.value))
    }

    /// Every field, its name as it was sent and its value.
    pub fn all_fields(&self) -> impl Iterator<Item = (&str, &str)> {
        self.fields
            .iter()
            .map(|field| (self.text(field.name), self.text(field.value)))
    }

    /// The length of the body that follows, 0 where there is none.
    pub fn body_bytes(&self) -> usize {
        self.body_bytes as usize
    }

    /// Whether the client waits for `100 Continue` before it sends its body (RFC 9110, section
    /// 10.1.1).
    pub fn expects_continue(&self) -> bool {
        let is_asked = |value: &str| value.eq_ignore_ascii_case("100-continue");
        self.version() == Version::Http11
            && self.body_bytes > 0
            && self.field("expect").is_some_and(is_asked)
    }

    /// Reads a whole head, whose line ends and limits were checked by the scan.
    fn build(bytes: &[u8], line: RequestLine, fields_start: usize) -> Result<Self, HeadError> {
        let mut parsed = [httparse::EMPTY_HEADER; FIELDS_MAX];
        let parsed = match httparse::parse_headers(&bytes[fields_start..], &mut parsed) {
            Ok(httparse::Status::Complete((_, fields))) => fields,
            // The scan saw the blank line, so a partial answer is a disagreement about line ends.
            Ok(httparse::Status::Partial) | Err(_) => return Err(HeadError::FieldMalformed),
        };
        let span = |part: &[u8]| {
            let start = part.as_ptr().addr() - bytes.as_ptr().addr();
            Span::new(start..start + part.len())
        };
        let fields: Box<[Field]> = parsed
            .iter()
            .map(|field| Field {
                name: span(field.name.as_bytes()),
                value: span(field.value),
            })
            .collect();
        let bytes = readable(bytes, &fields);
        let mut head = Self {
            bytes,
            line,
            fields,
            body_bytes: 0,
        };
        framing::check_repeats(&head)?;
        framing::check_host(&head)?;
        head.body_bytes = framing::body_bytes(&head)?;
        Ok(head)
    }

    fn authority(&self) -> Option<&str> {
        self.line.authority.map(|span| self.text(span))
    }

    fn text(&self, span: Span) -> &str {
        std::str::from_utf8(&self.bytes[span.range()]).expect("made readable when it was built")
    }
}

impl fmt::Debug for Head {
    /// What was asked, and of whom; nothing that may be a secret.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Head")
            .field("method", &self.method())
            .field("path", &self.path())
            .field("host", &self.field("host"))
            .finish_non_exhaustive()
    }
}

/// Request methods that some resource may serve; all others are refused with 501.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Method {
    /// `GET`
    Get,
    /// `HEAD`
    Head,
    /// `POST`
    Post,
    /// `PUT`
    Put,
    /// `DELETE`
    Delete,
    /// `OPTIONS`
    Options,
    /// `PATCH`
    Patch,
}

impl Method {
    /// The method as the request line has it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Get => "GET",
            Self::Head => "HEAD",
            Self::Post => "POST",
            Self::Put => "PUT",
            Self::Delete => "DELETE",
            Self::Options => "OPTIONS",
            Self::Patch => "PATCH",
        }
    }
}

/// The versions of HTTP that are served, and served alike.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Version {
    /// HTTP/1.0, as a bare nginx `proxy_pass` speaks it.
    Http10,
    /// HTTP/1.1
    Http11,
}

/// The head's own copy of its bytes, in which every value is UTF-8.
///
/// Field values may be any bytes from 0x80 up (RFC 9110, section 5.5), and some proxies add Latin-1
/// there. To refuse them would lock people out for a field we do not read; to skip them would make
/// a broken `Last-Event-ID` a missing one.
fn readable(bytes: &[u8], fields: &[Field]) -> Bytes {
    if std::str::from_utf8(bytes).is_ok() {
        return Bytes::copy_from_slice(bytes);
    }
    let mut copy = bytes.to_vec();
    for field in fields {
        let value = &mut copy[field.value.range()];
        if std::str::from_utf8(value).is_err() {
            for byte in value.iter_mut().filter(|byte| !byte.is_ascii()) {
                *byte = b'?';
            }
        }
    }
    Bytes::from(copy)
}

#[cfg(test)]
mod tests;
