//! Connection URLs: no password is ever told, and what is read is what another way of reading finds.

use crate::{ConnectInfo, Host, Password};

/// Shorter passwords are found in words that have nothing to do with them.
const PASSWORD_BYTES_MIN: usize = 8;

/// Reads the bytes as a connection URL.
pub fn connect_info(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else {
        return;
    };
    let info = match text.parse::<ConnectInfo>() {
        Ok(info) => info,
        Err(error) => {
            let said = format!("{error} {error:?}");
            let password = password(text).filter(|it| it.len() >= PASSWORD_BYTES_MIN);
            // One that stands in another place as well may be told as what stands there.
            let password = password.filter(|it| text.matches(it).count() == 1);
            // And one may be a word of ours: it is told whatever the password is.
            let is_told = |password: &str| {
                let other = text.replace(password, &"#".repeat(password.len()));
                let error = other.parse::<ConnectInfo>().err();
                let of_other = error.map(|error| format!("{error} {error:?}"));
                said.contains(password) && !of_other.is_some_and(|it| it.contains(password))
            };
            assert!(!password.is_some_and(is_told), "{said}");
            return;
        }
    };
    let with = |password: Option<&str>| ConnectInfo {
        password: password.map(|it| Password::new(it.to_owned())),
        ..info.clone()
    };
    let said = format!("{:?} {}", with(Some("one")), info.place());
    assert_eq!(
        said,
        format!("{:?} {}", with(Some("another")), info.place())
    );
    if let Some(parts) = Parts::of(text) {
        let host = match info.host {
            Host::Tcp(name) => name,
            Host::Unix(directory) => directory.display().to_string(),
        };
        let read = Parts {
            user: info.user,
            password: info.password.map(|it| it.reveal().to_owned()),
            host,
            port: info.port,
            database: info.database,
        };
        assert_eq!(read, parts);
    }
}

/// What stands between the first colon behind the scheme and the last at sign, in whatever is no URL.
fn password(text: &str) -> Option<&str> {
    let (_, rest) = text.split_once("://")?;
    let (before, _) = rest.rsplit_once('@')?;
    before.split_once(':').map(|(_, password)| password)
}

/// The parts of a URL.
#[derive(Debug, PartialEq)]
struct Parts {
    user: String,
    password: Option<String>,
    host: String,
    port: u16,
    database: String,
}

impl Parts {
    /// Reads one that was accepted. `None` where it has parameters, which may say otherwise.
    fn of(url: &str) -> Option<Self> {
        let (_, rest) = url.split_once("://").filter(|(_, it)| !it.contains('?'))?;
        let (authority, database) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
        let host_at = authority.rfind('@').map_or(0, |at| at + 1);
        let (credentials, address) = authority.split_at(host_at);
        let credentials = credentials.strip_suffix('@').unwrap_or_default();
        let colon = credentials.find(':');
        let (user, password) = credentials.split_at(colon.unwrap_or(credentials.len()));
        let port_at = address.find(']').map_or(0, |at| at + 1);
        let port_at = address[port_at..]
            .find(':')
            .map_or(address.len(), |at| port_at + at);
        let (host, port) = address.split_at(port_at);
        // An address of IPv6 stands in brackets.
        let bare = host.strip_prefix('[').and_then(|it| it.strip_suffix(']'));
        let bare = bare.unwrap_or(host);
        let or = |text: &str, default: &str| match text {
            "" => default.to_owned(),
            text => decoded(text),
        };
        let user = or(user, "postgres");
        Some(Self {
            password: colon.map(|_| decoded(&password[1..])),
            host: or(bare, "localhost"),
            port: or(port.strip_prefix(':').unwrap_or_default(), "5432")
                .parse()
                .ok()?,
            database: or(database.strip_prefix('/').unwrap_or_default(), &user),
            user,
        })
    }
}

/// A part without its percent signs.
fn decoded(part: &str) -> String {
    let mut pieces = part.split('%');
    let mut bytes = Vec::from(pieces.next().unwrap_or_default());
    for piece in pieces {
        bytes.push(u8::from_str_radix(&piece[..2], 16).expect("it was accepted"));
        bytes.extend_from_slice(&piece.as_bytes()[2..]);
    }
    String::from_utf8(bytes).expect("it was accepted")
}
