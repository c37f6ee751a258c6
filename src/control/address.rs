//! Who asks, and for which site, when a proxy asks on somebody's behalf. Only a proxy that is
//! configured is believed; everybody else could write what they like.

use std::net::{IpAddr, SocketAddr};

use wire::http::Head;

use crate::config::Network;

/// The client's address: the last one that is no trusted proxy's, of the peer and of those that
/// `Forwarded` (RFC 7239) or `X-Forwarded-For` name.
pub(super) fn client_address(
    head: &Head,
    peer: Option<IpAddr>,
    proxies: &[Network],
) -> Option<IpAddr> {
    let mut client = peer?;
    let hops: Vec<&str> = match head.field("forwarded") {
        Some(_) => head
            .fields("forwarded")
            .flat_map(|value| value.split(','))
            .collect(),
        None => head
            .fields("x-forwarded-for")
            .flat_map(|value| value.split(','))
            .collect(),
    };
    for hop in hops.iter().rev() {
        if !is_trusted(client, proxies) {
            break;
        }
        // What cannot be read ends the chain: nobody vouches for what stands before it.
        let Some(address) = hop_address(hop) else {
            break;
        };
        client = address;
    }
    Some(client.to_canonical())
}

/// The host that the peer was asked for, where the peer is a trusted proxy.
pub(super) fn forwarded_host<'a>(
    head: &'a Head,
    peer: Option<IpAddr>,
    proxies: &[Network],
) -> Option<&'a str> {
    peer.filter(|peer| is_trusted(*peer, proxies))?;
    head.field("x-forwarded-host")
}

fn is_trusted(address: IpAddr, proxies: &[Network]) -> bool {
    proxies.iter().any(|network| network.contains(address))
}

/// Reads `for="[2001:db8::1]:4711";proto=https`, or an address with or without a port.
fn hop_address(hop: &str) -> Option<IpAddr> {
    let mut parameters = hop.split(';').filter_map(|parameter| {
        let (name, value) = parameter.split_once('=')?;
        name.trim().eq_ignore_ascii_case("for").then_some(value)
    });
    let node = parameters.next().unwrap_or(hop).trim().trim_matches('"');
    let bare = node
        .strip_prefix('[')
        .and_then(|rest| rest.strip_suffix(']'))
        .unwrap_or(node);
    let with_port = || node.parse::<SocketAddr>().ok().map(|address| address.ip());
    bare.parse().ok().or_else(with_port)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn head(fields: &str) -> Head {
        let text = format!("GET / HTTP/1.1\r\nHost: a\r\n{fields}\r\n");
        Head::parse(text.as_bytes()).unwrap().unwrap()
    }

    fn client(fields: &str, proxies: &[&str]) -> String {
        let proxies: Vec<Network> = proxies.iter().map(|text| text.parse().unwrap()).collect();
        let peer = Some(IpAddr::from([10, 0, 0, 1]));
        client_address(&head(fields), peer, &proxies)
            .unwrap()
            .to_string()
    }

    #[test]
    fn only_a_trusted_proxy_is_believed() {
        let fields = "X-Forwarded-For: 1.2.3.4\r\n";
        assert_eq!(client(fields, &[]), "10.0.0.1");
        assert_eq!(client(fields, &["10.0.0.0/8"]), "1.2.3.4");
        assert_eq!(client("", &["10.0.0.0/8"]), "10.0.0.1");
    }

    #[test]
    fn the_client_is_the_last_that_is_no_proxy() {
        let proxies = ["10.0.0.0/8", "192.168.0.0/16"];
        let forged = "X-Forwarded-For: 9.9.9.9, 1.2.3.4, 192.168.0.7\r\n";
        assert_eq!(client(forged, &proxies), "1.2.3.4");
        let split = "X-Forwarded-For: 1.2.3.4\r\nX-Forwarded-For: 192.168.0.7\r\n";
        assert_eq!(client(split, &proxies), "1.2.3.4");
        assert_eq!(
            client("X-Forwarded-For: 1.2.3.4, unknown\r\n", &proxies),
            "10.0.0.1"
        );
        let all = "X-Forwarded-For: 10.1.1.1, 192.168.0.7\r\n";
        assert_eq!(client(all, &proxies), "10.1.1.1");
    }

    #[test]
    fn the_standard_field_counts_more() {
        let fields = "Forwarded: for=\"[2001:db8::1]:4711\";proto=https, for=10.2.2.2:80\r\n\
                      X-Forwarded-For: 9.9.9.9\r\n";
        assert_eq!(client(fields, &["10.0.0.0/8"]), "2001:db8::1");
    }

    #[test]
    fn the_host_is_taken_from_a_trusted_proxy_only() {
        let head = head("X-Forwarded-Host: app.example\r\n");
        let peer = Some(IpAddr::from([10, 0, 0, 1]));
        let proxies = ["10.0.0.0/8".parse().unwrap()];
        assert_eq!(forwarded_host(&head, peer, &proxies), Some("app.example"));
        assert_eq!(forwarded_host(&head, peer, &[]), None);
        assert_eq!(forwarded_host(&head, None, &proxies), None);
    }
}
