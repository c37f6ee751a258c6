//! Hosts with an optional port, as `Host` and origins have them.

/// A host name or address, and a port where one is given.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Authority<'a> {
    host: &'a str,
    port: Option<u16>,
}

impl<'a> Authority<'a> {
    /// Reads `host`, `host:port` or `[address]:port`.
    ///
    /// Narrower than RFC 3986 (section 3.2): a name has letters, digits and `-._~` only, which is
    /// what DNS names, `localhost` and the upstream names of proxies have. A comma or an at sign in
    /// a `Host` serves attacks only.
    pub(crate) fn parse(text: &'a str) -> Option<Self> {
        let host_end = match text.starts_with('[') {
            true => text.find(']')? + 1,
            false => text.find(':').unwrap_or(text.len()),
        };
        let (host, port) = text.split_at(host_end);
        if !is_host(host) {
            return None;
        }
        let port = match port.strip_prefix(':') {
            Some(digits) => Some(read_port(digits)?),
            None if port.is_empty() => None,
            None => return None,
        };
        Some(Self { host, port })
    }

    /// Whether both name the same place when each is reached by its scheme's port.
    pub(crate) fn is_same(&self, other: &Authority<'_>, default_port: u16) -> bool {
        let port = |port: Option<u16>| port.unwrap_or(default_port);
        self.host.eq_ignore_ascii_case(other.host) && port(self.port) == port(other.port)
    }

    /// The host, as it was written.
    pub(crate) fn host(&self) -> &'a str {
        self.host
    }
}

fn is_host(host: &str) -> bool {
    match host
        .strip_prefix('[')
        .and_then(|host| host.strip_suffix(']'))
    {
        Some(address) => address.parse::<std::net::Ipv6Addr>().is_ok(),
        None => {
            let is_allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
            !host.is_empty() && host.bytes().all(is_allowed)
        }
    }
}

fn read_port(digits: &str) -> Option<u16> {
    let is_number = (1..=5).contains(&digits.len()) && digits.bytes().all(|b| b.is_ascii_digit());
    is_number.then(|| digits.parse().ok()).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_hosts_and_ports() {
        let good = [
            "a",
            "app.example",
            "localhost:4000",
            "my_upstream",
            "127.0.0.1:80",
            "[::1]",
            "[::1]:1",
        ];
        for text in good {
            assert!(Authority::parse(text).is_some(), "{text:?}");
        }
        let bad = [
            "", ":", ":80", "a:", "a:x", "a:+1", "a:65536", "a:000080", "a:1:2", "a b", "a,b",
            "a@b", "a/b", "a?b", "[", "[]", "[::1", "[::1]x", "[::1]:", "[a]", "ü", "a%00",
        ];
        for text in bad {
            assert!(Authority::parse(text).is_none(), "{text:?}");
        }
    }

    #[test]
    fn a_missing_port_is_that_of_the_scheme() {
        let read = |text| Authority::parse(text).unwrap();
        assert!(read("App.example").is_same(&read("app.example:443"), 443));
        assert!(!read("app.example").is_same(&read("app.example:443"), 80));
        assert!(!read("app.example").is_same(&read("app.example.evil"), 80));
    }
}
