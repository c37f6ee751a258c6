//! Origins: which pages may read what we answer (WHATWG Fetch, CORS protocol), decided and written.
//!
//! The decision comes before any look at a session: a page from elsewhere must not even learn
//! whether there is one.

use std::fmt;

use super::authority::Authority;
use super::response::Fields;
use super::{Head, Refusal, RefusalCode};

/// How long a browser may remember the answer to a preflight, in seconds: the most that any heeds.
const PREFLIGHT_SECONDS: &str = "7200";

/// The longest origin that a refusal repeats, in bytes: a host name has at most 253.
const ORIGIN_SHOWN_BYTES_MAX: usize = 300;

/// Which origins may read the answers.
#[derive(Clone, Debug, Default)]
pub struct OriginPolicy {
    allowed: Vec<Site>,
    public: Vec<Site>,
}

impl OriginPolicy {
    /// A policy that allows these origins besides our own, each `scheme://host[:port]`, where `*`
    /// as port is any. `public_urls` are the URLs under which browsers reach us; with none of them,
    /// it is the host that a request names.
    ///
    /// # Errors
    ///
    /// Where one of them is no origin.
    pub fn new(allowed: &[String], public_urls: &[String]) -> Result<Self, OriginError> {
        let read = |entry: &String, text: &str| {
            Site::parse(text).ok_or_else(|| OriginError {
                entry: entry.clone(),
            })
        };
        let allowed = allowed
            .iter()
            .map(|entry| read(entry, entry.trim_end_matches('/')));
        let public = public_urls
            .iter()
            .map(|entry| read(entry, without_path(entry)));
        Ok(Self {
            allowed: allowed.collect::<Result<_, _>>()?,
            public: public.collect::<Result<_, _>>()?,
        })
    }

    /// Judges a request. `forwarded_host` is the host that a trusted proxy was asked for.
    pub fn judge<'a>(&self, head: &'a Head, forwarded_host: Option<&str>) -> OriginVerdict<'a> {
        let site = head.field("sec-fetch-site");
        let Some(origin) = head.field("origin") else {
            // A browser leaves it out where nothing of another origin is involved, and where a page
            // asks for what it may not read: an image, a link, a fetch without CORS. Those carry the
            // cookie too, and would take the streams that the user may have. Whatever is no browser
            // may say what it likes, and has no cookie of somebody else.
            return match site {
                None | Some("same-origin" | "none") => OriginVerdict::SameOrigin,
                Some(_) => OriginVerdict::Refused(""),
            };
        };
        if site == Some("same-origin") {
            return OriginVerdict::SameOrigin;
        }
        // `null`, the origin of sandboxed pages and of files, has no host and is never allowed.
        let Some(parsed) = Origin::parse(origin) else {
            return OriginVerdict::Refused(origin);
        };
        if self.allowed.iter().any(|site| site.is(&parsed)) {
            return OriginVerdict::Allowed(origin);
        }
        let is_own = match self.public.as_slice() {
            [] => {
                let host = forwarded_host
                    .or(head.field("host"))
                    .and_then(Authority::parse);
                host.is_some_and(|host| host.is_same(&parsed.authority, parsed.default_port()))
            }
            public => public.iter().any(|site| site.is(&parsed)),
        };
        if is_own {
            OriginVerdict::SameOrigin
        } else {
            OriginVerdict::Refused(origin)
        }
    }
}

/// What became of an origin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OriginVerdict<'a> {
    /// Our own pages, or no browser at all.
    SameOrigin,
    /// A page of this origin, which is allowed.
    Allowed(&'a str),
    /// A page of this origin, which is not; empty where the request does not name it.
    Refused(&'a str),
}

impl OriginVerdict<'_> {
    /// The response fields that let the page read the answer; empty for our own pages and for
    /// refused ones.
    ///
    /// [`super::stream_head`] and [`Refusal::response`] say on what they depend; another response
    /// with these fields must say `vary: origin` itself.
    pub fn fields(&self) -> Fields {
        let mut fields = Fields::new();
        if let Self::Allowed(origin) = self {
            fields.push("access-control-allow-origin", origin);
            fields.push("access-control-allow-credentials", "true");
            fields.push(
                "access-control-expose-headers",
                "x-tailrace-resume, x-tailrace-position",
            );
        }
        fields
    }

    /// The response fields that answer a preflight, for a response 204 without a body.
    pub fn preflight_fields(&self) -> Fields {
        let mut fields = Fields::new();
        if let Self::Allowed(origin) = self {
            fields.push("access-control-allow-origin", origin);
            fields.push("access-control-allow-credentials", "true");
            fields.push(
                "access-control-allow-methods",
                "GET, POST, PUT, DELETE, OPTIONS",
            );
            fields.push(
                "access-control-allow-headers",
                "authorization, content-type, last-event-id, x-tailrace-client",
            );
            fields.push("access-control-max-age", PREFLIGHT_SECONDS);
        }
        fields.push(
            "vary",
            "origin, access-control-request-method, access-control-request-headers",
        );
        fields
    }

    /// The refusal of an origin that is not allowed, which names the key that admits it.
    pub fn refusal(&self) -> Option<Refusal> {
        let Self::Refused(origin) = self else {
            return None;
        };
        // Only what could be such an entry is worth repeating.
        let message = match Origin::parse(origin).filter(|_| origin.len() <= ORIGIN_SHOWN_BYTES_MAX)
        {
            Some(_) => format!(
                "pages of {origin} may not read this: to admit them, add \"{origin}\" to \
                 http.allowed_origins"
            ),
            None => "pages of this origin may not read this, and no entry of http.allowed_origins \
                     can admit them: `null` is sent by sandboxed frames and local files"
                .to_owned(),
        };
        Some(Refusal::new(RefusalCode::OriginNotAllowed, message))
    }
}

/// An entry of the configuration is no origin.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OriginError {
    /// The entry.
    pub entry: String,
}

impl fmt::Display for OriginError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{:?} is no origin: write scheme, host and, where it is not the scheme's own, port, such \
             as \"https://app.example\" or \"http://localhost:3000\"",
            self.entry
        )
    }
}

impl std::error::Error for OriginError {}

/// An origin as a browser sends it (RFC 6454, section 6.2).
#[derive(Debug)]
struct Origin<'a> {
    scheme: &'a str,
    authority: Authority<'a>,
}

impl<'a> Origin<'a> {
    fn parse(text: &'a str) -> Option<Self> {
        let (scheme, authority) = text.split_once("://")?;
        let is_allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"+-.".contains(&byte);
        let is_scheme = !scheme.is_empty() && scheme.bytes().all(is_allowed);
        is_scheme.then_some(())?;
        Some(Self {
            scheme,
            authority: Authority::parse(authority)?,
        })
    }

    /// The port of the scheme; 0, which is nobody's, for one that has none, such as those of apps.
    fn default_port(&self) -> u16 {
        match self.scheme {
            scheme if scheme.eq_ignore_ascii_case("http") => 80,
            scheme if scheme.eq_ignore_ascii_case("https") => 443,
            _ => 0,
        }
    }
}

/// An origin of the configuration.
#[derive(Clone, Debug)]
struct Site {
    text: String,
    any_port: bool,
}

impl Site {
    fn parse(text: &str) -> Option<Self> {
        let without_port = text.strip_suffix(":*");
        let site = Self {
            text: without_port.unwrap_or(text).to_owned(),
            any_port: without_port.is_some(),
        };
        Origin::parse(&site.text)?;
        Some(site)
    }

    fn is(&self, origin: &Origin<'_>) -> bool {
        let own = Origin::parse(&self.text).expect("checked when it was configured");
        let is_host = match self.any_port {
            true => own
                .authority
                .host()
                .eq_ignore_ascii_case(origin.authority.host()),
            false => own.authority.is_same(&origin.authority, own.default_port()),
        };
        own.scheme.eq_ignore_ascii_case(origin.scheme) && is_host
    }
}

/// A URL up to the end of its authority.
fn without_path(url: &str) -> &str {
    let start = url.find("://").map_or(0, |at| at + "://".len());
    url[start..].find('/').map_or(url, |at| &url[..start + at])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn policy(allowed: &[&str], public: &[&str]) -> OriginPolicy {
        let owned = |list: &[&str]| {
            list.iter()
                .map(|text| (*text).to_owned())
                .collect::<Vec<_>>()
        };
        OriginPolicy::new(&owned(allowed), &owned(public)).unwrap()
    }

    fn head(fields: &str) -> Head {
        let text = format!("GET / HTTP/1.1\r\n{fields}\r\n");
        Head::parse(text.as_bytes()).unwrap().unwrap()
    }

    /// S, A or R for a request with this origin to `app.example`.
    fn verdict(policy: &OriginPolicy, origin: &str) -> char {
        let head = head(&format!("Host: app.example\r\nOrigin: {origin}\r\n"));
        match policy.judge(&head, None) {
            OriginVerdict::SameOrigin => 'S',
            OriginVerdict::Allowed(_) => 'A',
            OriginVerdict::Refused(_) => 'R',
        }
    }

    #[test]
    fn only_exact_origins_are_allowed() {
        let policy = policy(&["https://good.example", "http://plain.example:8080/"], &[]);
        for origin in [
            "https://good.example",
            "https://good.example:443",
            "http://plain.example:8080",
        ] {
            assert_eq!(verdict(&policy, origin), 'A', "{origin}");
        }
        let refused = [
            "http://good.example",
            "https://good.example:8443",
            "https://good.example.evil.example",
            "https://evil-good.example",
            "https://sub.good.example",
            "https://good.example/",
            "https://good.example@evil.example",
            "null",
            "",
            "good.example",
            "://good.example",
            "http://plain.example",
            "https://evil.example, https://good.example",
            "file://",
        ];
        for origin in refused {
            assert_eq!(verdict(&policy, origin), 'R', "{origin}");
        }
    }

    #[test]
    fn any_port_of_one_host_may_be_allowed() {
        let policy = policy(&["http://localhost:*"], &[]);
        assert_eq!(verdict(&policy, "http://localhost:3000"), 'A');
        assert_eq!(verdict(&policy, "http://localhost"), 'A');
        for origin in [
            "https://localhost:3000",
            "http://localhost.evil:1",
            "http://localhost:*",
        ] {
            assert_eq!(verdict(&policy, origin), 'R', "{origin}");
        }
    }

    #[test]
    fn our_own_host_is_no_stranger() {
        let none = policy(&[], &[]);
        for origin in [
            "https://app.example",
            "http://app.example",
            "https://App.Example:443",
        ] {
            assert_eq!(verdict(&none, origin), 'S', "{origin}");
        }
        assert_eq!(verdict(&none, "https://app.example:8443"), 'R');
        assert_eq!(
            none.judge(&head("Host: a\r\n"), None),
            OriginVerdict::SameOrigin
        );
        let fetched = head("Host: a\r\nOrigin: https://b\r\nSec-Fetch-Site: same-origin\r\n");
        assert_eq!(none.judge(&fetched, None), OriginVerdict::SameOrigin);
        let foreign = head("Host: a\r\nOrigin: https://b\r\nSec-Fetch-Site: same-site\r\n");
        assert_eq!(
            none.judge(&foreign, None),
            OriginVerdict::Refused("https://b")
        );
        assert_eq!(none.judge(&foreign, Some("b")), OriginVerdict::SameOrigin);
    }

    #[test]
    fn a_request_without_an_origin_is_ours_unless_the_browser_says_otherwise() {
        let policy = policy(&["https://b.example"], &[]);
        for (fields, expected) in [
            ("", OriginVerdict::SameOrigin),
            ("Sec-Fetch-Site: same-origin\r\n", OriginVerdict::SameOrigin),
            ("Sec-Fetch-Site: none\r\n", OriginVerdict::SameOrigin),
            ("Sec-Fetch-Site: same-site\r\n", OriginVerdict::Refused("")),
            ("Sec-Fetch-Site: cross-site\r\n", OriginVerdict::Refused("")),
        ] {
            let asked = head(&format!("Host: a\r\n{fields}"));
            assert_eq!(policy.judge(&asked, None), expected, "{fields}");
        }
    }

    #[test]
    fn a_public_url_says_it_outright() {
        let policy = policy(&[], &["https://site.example/app"]);
        assert_eq!(verdict(&policy, "https://site.example"), 'S');
        assert_eq!(verdict(&policy, "http://site.example"), 'R');
        assert_eq!(verdict(&policy, "https://app.example"), 'R');
    }

    #[test]
    fn an_entry_that_is_no_origin_is_named() {
        for entry in [
            "*",
            "app.example",
            "https://",
            "https://*.example",
            "https://a/b",
            "null",
        ] {
            let error = OriginPolicy::new(&[entry.to_owned()], &[]).unwrap_err();
            assert_eq!(error.entry, entry);
        }
    }

    #[test]
    fn an_allowed_origin_may_read_and_a_refused_one_learns_which_key_admits_it() {
        let allowed = OriginVerdict::Allowed("https://a.example");
        assert_eq!(
            allowed.fields().as_str(),
            "access-control-allow-origin: https://a.example\r\n\
             access-control-allow-credentials: true\r\n\
             access-control-expose-headers: x-tailrace-resume, x-tailrace-position\r\n"
        );
        assert!(
            allowed
                .preflight_fields()
                .as_str()
                .contains("last-event-id")
        );
        assert!(allowed.refusal().is_none());
        let refused = OriginVerdict::Refused("https://b.example");
        assert_eq!(refused.fields().as_str(), "");
        assert!(!refused.preflight_fields().as_str().contains("allow"));
        let refusal = refused.refusal().unwrap();
        assert_eq!(refusal.code, RefusalCode::OriginNotAllowed);
        let advice = "add \"https://b.example\" to http.allowed_origins";
        assert!(refusal.message.ends_with(advice), "{}", refusal.message);
    }

    #[test]
    fn a_refusal_repeats_nothing_that_is_no_origin() {
        let long = format!("https://{}", "b".repeat(ORIGIN_SHOWN_BYTES_MAX));
        for origin in ["null", "<script>", "", &long] {
            let refusal = OriginVerdict::Refused(origin).refusal().unwrap();
            assert!(
                refusal.message.starts_with("pages of this origin"),
                "{}",
                refusal.message
            );
        }
    }
}
