//! The `Cookie` header of a request (RFC 6265, 5.4): finding one cookie by its exact name.
//!
//! HTTP/2 proxies split the header into several fields (RFC 9113, 8.2.3), so all of them count as one.
//! Where a name is repeated, the first counts, as in the libraries that set these cookies.

/// The most bytes of cookies that are looked at, all fields of a request together: a chunked session
/// of several libraries fits, a larger header is treated as if it had no cookies.
pub const COOKIES_BYTES_MAX: usize = 64 * 1024;

/// The value of the cookie with exactly this name, in the fields of a request in their order.
///
/// A value in quotation marks is given without them (RFC 6265, 4.1.1). Nothing is percent-decoded:
/// what a value means is its verifier's business.
pub fn find<'a>(fields: impl IntoIterator<Item = &'a str> + Clone, name: &str) -> Option<&'a str> {
    let bytes: usize = fields.clone().into_iter().map(str::len).sum();
    if bytes > COOKIES_BYTES_MAX {
        return None;
    }
    let mut pairs = fields.into_iter().flat_map(|field| field.split(';'));
    let value = pairs.find_map(|pair| {
        let (key, value) = pair.split_once('=')?;
        (trimmed(key) == name).then(|| trimmed(value))
    })?;
    Some(
        value
            .strip_prefix('"')
            .and_then(|rest| rest.strip_suffix('"'))
            .unwrap_or(value),
    )
}

/// Whether the text can be the name of a cookie: a token (RFC 9110, 5.6.2).
pub fn is_name(text: &str) -> bool {
    let is_token = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    !text.is_empty() && text.bytes().all(is_token)
}

/// Without the optional white space of the header: spaces and tabs, nothing else.
fn trimmed(text: &str) -> &str {
    text.trim_matches([' ', '\t'])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_a_cookie_by_its_exact_name() {
        let fields = ["a=1; session=abc.def; b=2"];
        assert_eq!(find(fields, "session"), Some("abc.def"));
        assert_eq!(find(fields, "sess"), None);
        assert_eq!(find(fields, "Session"), None);
        assert_eq!(find(["session_multi-x=1; xsession=2"], "session"), None);
        assert_eq!(find(["session"], "session"), None);
        assert_eq!(find([], "session"), None);
    }

    #[test]
    fn all_fields_are_one_and_the_first_of_a_name_counts() {
        assert_eq!(
            find(["a=1", "session=x", "session=y"], "session"),
            Some("x")
        );
        assert_eq!(find(["session=x; session=y"], "session"), Some("x"));
    }

    #[test]
    fn white_space_and_quotation_marks_are_no_part_of_a_value() {
        assert_eq!(find(["a=1;session=x"], "session"), Some("x"));
        assert_eq!(find([" session = \"x\" "], "session"), Some("x"));
        assert_eq!(find(["session=\""], "session"), Some("\""));
        assert_eq!(find(["session=\"x"], "session"), Some("\"x"));
        assert_eq!(find(["session=x=y=="], "session"), Some("x=y=="));
    }

    #[test]
    fn too_many_bytes_of_cookies_are_none() {
        let padding = "a".repeat(COOKIES_BYTES_MAX - 10);
        assert_eq!(find([padding.as_str(), "session=x"], "session"), Some("x"));
        assert_eq!(find([padding.as_str(), "session=x; y"], "session"), None);
    }

    #[test]
    fn names_are_tokens() {
        assert!(is_name("__Secure-next-auth.session-token"));
        for text in ["", "a b", "a=b", "a;b", "é"] {
            assert!(!is_name(text), "{text:?}");
        }
    }
}
