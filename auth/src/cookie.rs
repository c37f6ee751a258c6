//! The `Cookie` header of a request (RFC 6265, 5.4): one cookie by its exact name, and the pieces of
//! one that was too long for a browser. What a value means is its verifier's business.
//!
//! HTTP/2 proxies split the header into several fields (RFC 9113, 8.2.3), so all of them count as one.
//! Where a name is repeated, the first counts, as in the libraries that set these cookies.

use std::borrow::Cow;

use crate::limits::{COOKIES_BYTES_MAX, PIECES_MAX};

/// The prefixes with which browsers protect a cookie (RFC 6265bis, 4.1.3), the strongest evidence
/// first: only this very host can have set the one, and only a page over TLS the other.
const PREFIXES: [&str; 2] = ["__Host-", "__Secure-"];

/// The cookies of a request, in their order.
#[derive(Clone, Default)]
pub struct Cookies<'a> {
    pairs: Vec<(&'a str, &'a str)>,
}

impl<'a> Cookies<'a> {
    /// Reads the fields of a request, in their order.
    ///
    /// A value in quotation marks is taken without them (RFC 6265, 4.1.1). Nothing is percent-decoded.
    pub fn new(fields: impl IntoIterator<Item = &'a str>) -> Self {
        let mut pairs = Vec::new();
        let mut bytes = 0;
        for field in fields {
            bytes += field.len();
            if bytes > COOKIES_BYTES_MAX {
                return Self::default();
            }
            pairs.extend(field.split(';').filter_map(pair));
        }
        Self { pairs }
    }

    /// The value of the cookie with exactly this name.
    pub fn find(&self, name: &str) -> Option<&'a str> {
        self.iter()
            .find_map(|(key, value)| (key == name).then_some(value))
    }

    /// The cookies and their values.
    pub fn iter(&self) -> impl Iterator<Item = (&'a str, &'a str)> {
        self.written().map(|(key, value)| (key, unquoted(value)))
    }

    /// The cookies and their values as the browser wrote them: to whoever reads them, quotation marks
    /// may say how.
    pub(crate) fn written(&self) -> impl Iterator<Item = (&'a str, &'a str)> {
        self.pairs.iter().copied()
    }

    /// The pieces of the cookie `name`, put together by their numbers; `None` where there are none.
    /// What is missing among them is left to the signature to find.
    fn join(&self, name: &str, separator: &str) -> Option<String> {
        let mut pieces = [None; PIECES_MAX];
        for (key, value) in self.iter() {
            if let Some(number) = piece(key, name, separator) {
                pieces[number].get_or_insert(value);
            }
        }
        let joined: String = pieces.into_iter().flatten().collect();
        (!joined.is_empty()).then_some(joined)
    }
}

/// The names under which a session's cookie is looked for, the most trustworthy first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CookieNames {
    names: Vec<String>,
    separator: &'static str,
}

impl CookieNames {
    /// The cookie of this name, with `__Secure-` and `__Host-` before it, and without: behind a proxy
    /// only the application knows whether its site is HTTPS. A name that begins with such a prefix
    /// stands for itself. `None` where the text cannot be a cookie's name.
    pub fn new(name: &str) -> Option<Self> {
        Self::several([name])
    }

    /// The cookies of these names, in this order.
    pub fn several<'a>(names: impl IntoIterator<Item = &'a str>) -> Option<Self> {
        let mut all = Vec::new();
        for name in names {
            if !is_name(name) {
                return None;
            }
            if !PREFIXES.iter().any(|prefix| name.starts_with(prefix)) {
                all.extend(PREFIXES.map(|prefix| format!("{prefix}{name}")));
            }
            all.push(name.to_owned());
        }
        (!all.is_empty()).then_some(Self {
            names: all,
            separator: ".",
        })
    }

    /// The same, with pieces that are called `<name>__0` and not `<name>.0`.
    #[must_use]
    pub fn with_underscores(self) -> Self {
        Self {
            separator: "__",
            ..self
        }
    }

    /// The names, in the order in which they are looked for.
    pub fn iter(&self) -> impl Iterator<Item = &str> {
        self.names.iter().map(String::as_str)
    }

    /// Whether a cookie of this name is one of these, or a piece of one.
    pub(crate) fn covers(&self, key: &str) -> bool {
        self.iter()
            .any(|name| key == name || piece(key, name, self.separator).is_some())
    }

    /// What a request has under these names: of each name, the cookie itself before its pieces.
    pub(crate) fn find<'a>(
        &'a self,
        cookies: &'a Cookies<'a>,
    ) -> impl Iterator<Item = Found<'a>> + 'a {
        self.names
            .iter()
            .enumerate()
            .flat_map(move |(index, name)| {
                let whole = cookies.find(name).map(Cow::Borrowed);
                let joined = cookies.join(name, self.separator).map(Cow::Owned);
                let values = whole.into_iter().chain(joined);
                values.map(move |value| Found { index, value })
            })
    }
}

/// A cookie that was found.
pub(crate) struct Found<'a> {
    /// Which of the names it has.
    pub(crate) index: usize,
    /// Its value.
    pub(crate) value: Cow<'a, str>,
}

/// The value of the cookie with exactly this name, in the fields of a request in their order.
pub fn find<'a>(fields: impl IntoIterator<Item = &'a str>, name: &str) -> Option<&'a str> {
    Cookies::new(fields).find(name)
}

/// Whether the text can be the name of a cookie: a token (RFC 9110, 5.6.2).
pub fn is_name(text: &str) -> bool {
    let is_token = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    !text.is_empty() && text.bytes().all(is_token)
}

/// Percent-decoding and nothing else (RFC 3986, 2.1): a plus sign stays one. `None` for what is not
/// well formed.
pub(crate) fn percent_decoded(text: &str) -> Option<Cow<'_, str>> {
    if !text.contains('%') {
        return Some(Cow::Borrowed(text));
    }
    let mut parts = text.split('%');
    let mut bytes = parts.next().unwrap_or_default().as_bytes().to_vec();
    for part in parts {
        let (digits, rest) = part.split_at_checked(2)?;
        if !digits.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return None;
        }
        bytes.push(u8::from_str_radix(digits, 16).ok()?);
        bytes.extend_from_slice(rest.as_bytes());
    }
    String::from_utf8(bytes).ok().map(Cow::Owned)
}

fn pair(text: &str) -> Option<(&str, &str)> {
    let (key, value) = text.split_once('=')?;
    Some((trimmed(key), trimmed(value)))
}

fn unquoted(value: &str) -> &str {
    let quoted = value
        .strip_prefix('"')
        .and_then(|rest| rest.strip_suffix('"'));
    quoted.unwrap_or(value)
}

/// Which piece of the cookie `name` this key is: exactly the name, the separator and a number as it
/// is written, so that a cookie whose name only begins alike is none of them.
fn piece(key: &str, name: &str, separator: &str) -> Option<usize> {
    let number = key.strip_prefix(name)?.strip_prefix(separator)?;
    let is_canonical = number == "0" || !number.starts_with('0');
    let is_number = !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit());
    let number = (is_canonical && is_number).then(|| number.parse().ok())??;
    (number < PIECES_MAX).then_some(number)
}

/// Without the optional white space of the header: spaces and tabs, nothing else.
fn trimmed(text: &str) -> &str {
    text.trim_matches([' ', '\t'])
}

#[cfg(test)]
mod tests;
