//! The request line: method, target and version (RFC 9112, section 3).

use std::ops::Range;

use super::{HeadError, Method, Span, Version};

/// A request line, with the places of its parts in the head.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct RequestLine {
    pub(super) method: Method,
    pub(super) version: Version,
    /// Empty for an absolute target that has none.
    pub(super) path: Span,
    pub(super) query: Span,
    /// Of an absolute target only.
    pub(super) authority: Option<Span>,
}

impl RequestLine {
    /// Reads the first line of a head, without its line end.
    ///
    /// What speaks another version is told so whatever its method: `PRI * HTTP/2.0` is no unknown
    /// method.
    pub(super) fn read(line: &[u8]) -> Result<Self, HeadError> {
        let mut parts = line.splitn(3, |byte| *byte == b' ');
        let (method, target) = (
            parts.next().unwrap_or_default(),
            parts.next().unwrap_or_default(),
        );
        if method.is_empty() || !method.iter().all(|byte| is_token(*byte)) || target.is_empty() {
            return Err(HeadError::LineMalformed);
        }
        let version = match parts.next() {
            Some(version) => read_version(version)?,
            // The whole of a request in HTTP/0.9 is `GET /path`.
            None => return Err(HeadError::VersionUnknown),
        };
        let target_start = method.len() + 1;
        let method = read_method(method)?;
        let target = Target::read(target, method).ok_or(HeadError::TargetMalformed)?;
        let span =
            |part: Range<usize>| Span::new(target_start + part.start..target_start + part.end);
        Ok(Self {
            method,
            version,
            path: span(target.path),
            query: span(target.query),
            authority: target.authority.map(span),
        })
    }
}

/// The parts of a request target, as ranges of it.
struct Target {
    authority: Option<Range<usize>>,
    path: Range<usize>,
    query: Range<usize>,
}

impl Target {
    /// Tells the forms of a target apart (RFC 9112, section 3.2). The authority form belongs to
    /// `CONNECT`, which is not served.
    fn read(target: &[u8], method: Method) -> Option<Self> {
        if !target.iter().all(|byte| is_target(*byte)) {
            return None;
        }
        let authority = match target {
            [b'/', ..] => None,
            b"*" if method == Method::Options => None,
            _ => Some(read_authority(target)?),
        };
        let path_start = authority.as_ref().map_or(0, |authority| authority.end);
        let question_mark = target.iter().position(|byte| *byte == b'?');
        let path = path_start..question_mark.unwrap_or(target.len());
        // A backslash is a slash to some readers, and a character to others.
        if target[path.clone()].contains(&b'\\') {
            return None;
        }
        let query = question_mark.map_or(target.len(), |at| at + 1)..target.len();
        Some(Self {
            authority,
            path,
            query,
        })
    }
}

fn read_version(version: &[u8]) -> Result<Version, HeadError> {
    match version {
        b"HTTP/1.1" => Ok(Version::Http11),
        b"HTTP/1.0" => Ok(Version::Http10),
        [b'H', b'T', b'T', b'P', b'/', major, b'.', minor]
            if major.is_ascii_digit() && minor.is_ascii_digit() =>
        {
            Err(HeadError::VersionUnknown)
        }
        _ => Err(HeadError::LineMalformed),
    }
}

/// Methods are case-sensitive (RFC 9110, section 9.1).
fn read_method(method: &[u8]) -> Result<Method, HeadError> {
    match method {
        b"GET" => Ok(Method::Get),
        b"HEAD" => Ok(Method::Head),
        b"POST" => Ok(Method::Post),
        b"PUT" => Ok(Method::Put),
        b"DELETE" => Ok(Method::Delete),
        b"OPTIONS" => Ok(Method::Options),
        b"PATCH" => Ok(Method::Patch),
        _ => Err(HeadError::MethodUnknown),
    }
}

/// Where the authority of an absolute target lies.
fn read_authority(target: &[u8]) -> Option<Range<usize>> {
    let scheme = ["http://", "https://"].into_iter().find(|scheme| {
        let beginning = target.get(..scheme.len());
        beginning.is_some_and(|text| text.eq_ignore_ascii_case(scheme.as_bytes()))
    })?;
    let start = scheme.len();
    let is_end = |byte: &u8| matches!(byte, b'/' | b'?');
    let end = target[start..]
        .iter()
        .position(is_end)
        .map_or(target.len(), |at| start + at);
    (start < end).then_some(start..end)
}

/// The characters of a token (RFC 9110, section 5.6.2).
fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

/// What browsers leave unescaped in a URL (WHATWG URL, query percent-encode set): all visible ASCII
/// but quotation marks and angle brackets. A fragment is never sent.
fn is_target(byte: u8) -> bool {
    byte.is_ascii_graphic() && !matches!(byte, b'"' | b'<' | b'>' | b'#')
}
