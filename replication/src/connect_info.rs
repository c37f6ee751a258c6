//! Where PostgreSQL is: the connection URL, parsed once.
//!
//! The forms are libpq's (PostgreSQL, "Connection Strings", Connection URIs). Parameters that other
//! tools put into their URLs are set aside, so that one URL serves the application and the node.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

/// Where and as whom to connect.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConnectInfo {
    /// The server.
    pub host: Host,
    /// The port, also part of a Unix socket's file name.
    pub port: u16,
    /// The role.
    pub user: String,
    /// The password, where one is needed.
    pub password: Option<Password>,
    /// The database.
    pub database: String,
    /// The names of parameters that mean nothing here (`schema`, `pgbouncer` …), for one log line.
    pub ignored: Vec<String>,
}

/// A server's address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Host {
    /// A name or an address, reached over TCP.
    Tcp(String),
    /// The directory of a Unix socket.
    Unix(PathBuf),
}

/// A password, which is never printed.
#[derive(Clone, PartialEq, Eq)]
pub struct Password(String);

impl Password {
    /// Takes the password.
    pub fn new(password: String) -> Self {
        Self(password)
    }

    pub(crate) fn as_bytes(&self) -> &[u8] {
        self.0.as_bytes()
    }

    /// The text, for another client of the same server.
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Password {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Password(..)")
    }
}

impl ConnectInfo {
    /// The path of the Unix socket, where it is one.
    pub fn socket_path(&self) -> Option<PathBuf> {
        match &self.host {
            Host::Tcp(_) => None,
            Host::Unix(directory) => Some(directory.join(format!(".s.PGSQL.{}", self.port))),
        }
    }

    fn set(&mut self, name: &str, value: String) -> Result<(), ConnectInfoError> {
        match name {
            "host" | "hostaddr" => self.host = host(value)?,
            "port" => self.port = port(&value)?,
            "user" => self.user = value,
            "password" => self.password = Some(Password(value)),
            "dbname" => self.database = value,
            "sslmode" => match value.as_str() {
                "disable" | "allow" | "prefer" => {}
                _ => return Err(ConnectInfoError::Tls),
            },
            _ => self.ignored.push(name.to_owned()),
        }
        Ok(())
    }
}

impl FromStr for ConnectInfo {
    type Err = ConnectInfoError;

    /// Reads `postgresql://[user[:password]@][host][:port][/database][?name=value&…]`.
    ///
    /// Left out, the host is `localhost`, the port 5432, the user `postgres` and the database named
    /// like the user.
    fn from_str(url: &str) -> Result<Self, ConnectInfoError> {
        let rest = url
            .strip_prefix("postgresql://")
            .or_else(|| url.strip_prefix("postgres://"))
            .ok_or(ConnectInfoError::Scheme)?;
        let (rest, query) = rest.split_once('?').unwrap_or((rest, ""));
        let (authority, database) = rest.split_once('/').unwrap_or((rest, ""));
        // A password may hold a raw `@`, a host may not.
        let (credentials, address) = authority.rsplit_once('@').unwrap_or(("", authority));
        let (user, password) = match credentials.split_once(':') {
            Some((user, password)) => (user, Some(Password(decode(password)?))),
            None => (credentials, None),
        };
        let (name, digits) = split_port(address)?;
        let mut info = Self {
            host: host(decode(name)?)?,
            port: if digits.is_empty() {
                5432
            } else {
                port(digits)?
            },
            user: decode(user)?,
            password,
            database: decode(database)?,
            ignored: Vec::new(),
        };
        for pair in query.split('&').filter(|pair| !pair.is_empty()) {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            info.set(&decode(name)?, decode(value)?)?;
        }
        if info.user.is_empty() {
            info.user = "postgres".to_owned();
        }
        if info.database.is_empty() {
            info.database.clone_from(&info.user);
        }
        Ok(info)
    }
}

/// Why a text is no connection URL. The text itself is never shown: it may hold a password.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ConnectInfoError {
    /// It does not begin with `postgresql://` or `postgres://`.
    Scheme,
    /// More than one host, or an address with an unclosed bracket.
    Host,
    /// The port is no number from 1 to 65535.
    Port,
    /// A `%` is not followed by two hexadecimal digits, or the result is no UTF-8 or holds a NUL.
    Encoding,
    /// The URL demands TLS.
    Tls,
}

impl fmt::Display for ConnectInfoError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Scheme => "a connection URL begins with postgresql:// or postgres://",
            Self::Host => "the connection URL must name one host, IPv6 addresses in brackets",
            Self::Port => "the port in the connection URL must be a number from 1 to 65535",
            Self::Encoding => {
                "a % in the connection URL must be followed by two hexadecimal digits (a raw % in a \
                 password is written %25)"
            }
            Self::Tls => {
                "this sslmode demands TLS, which is not supported: connect over a Unix socket, \
                 loopback or a private network with sslmode=disable"
            }
        })
    }
}

impl std::error::Error for ConnectInfoError {}

fn host(text: String) -> Result<Host, ConnectInfoError> {
    match text.as_bytes() {
        [] => Ok(Host::Tcp("localhost".to_owned())),
        [b'/', ..] => Ok(Host::Unix(PathBuf::from(text))),
        bytes if bytes.contains(&b',') => Err(ConnectInfoError::Host),
        _ => Ok(Host::Tcp(text)),
    }
}

fn port(digits: &str) -> Result<u16, ConnectInfoError> {
    match digits.parse() {
        Ok(port) if port != 0 => Ok(port),
        _ => Err(ConnectInfoError::Port),
    }
}

/// Splits `host:port`, where an IPv6 address stands in brackets.
fn split_port(address: &str) -> Result<(&str, &str), ConnectInfoError> {
    if let Some(rest) = address.strip_prefix('[') {
        let (host, port) = rest.split_once(']').ok_or(ConnectInfoError::Host)?;
        return match port.strip_prefix(':') {
            Some(port) => Ok((host, port)),
            None if port.is_empty() => Ok((host, "")),
            None => Err(ConnectInfoError::Host),
        };
    }
    Ok(address.split_once(':').unwrap_or((address, "")))
}

/// Undoes percent-encoding (RFC 3986, 2.1).
fn decode(text: &str) -> Result<String, ConnectInfoError> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&byte, tail)) = rest.split_first() {
        rest = tail;
        if byte != b'%' {
            bytes.push(byte);
            continue;
        }
        let digit = |at: usize| {
            tail.get(at)
                .and_then(|digit| char::from(*digit).to_digit(16))
        };
        match (digit(0), digit(1)) {
            // Two digits make less than 256.
            (Some(high), Some(low)) => bytes.push((high << 4 | low) as u8),
            _ => return Err(ConnectInfoError::Encoding),
        }
        rest = &tail[2..];
    }
    match String::from_utf8(bytes) {
        Ok(text) if !text.contains('\0') => Ok(text),
        _ => Err(ConnectInfoError::Encoding),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(url: &str) -> ConnectInfo {
        url.parse().unwrap()
    }

    #[test]
    fn a_full_url_gives_every_part() {
        let info =
            parsed("postgresql://app:p%40ss:w@db.example:5433/shop?schema=public&pgbouncer=1");
        assert_eq!(info.host, Host::Tcp("db.example".to_owned()));
        assert_eq!(
            (info.port, info.user.as_str(), info.database.as_str()),
            (5433, "app", "shop")
        );
        assert_eq!(info.password.as_ref().map(Password::reveal), Some("p@ss:w"));
        assert_eq!(info.ignored, ["schema", "pgbouncer"]);
    }

    #[test]
    fn a_raw_at_sign_belongs_to_the_password() {
        let info = parsed("postgres://app:p@ss@db/shop");
        assert_eq!(info.password.as_ref().map(Password::reveal), Some("p@ss"));
        assert_eq!(info.host, Host::Tcp("db".to_owned()));
    }

    #[test]
    fn a_unix_socket_is_a_directory() {
        for url in [
            "postgresql://app@%2Frun%2Fpg:6000/shop",
            "postgresql://app@:6000/shop?host=/run/pg",
        ] {
            let info = parsed(url);
            assert_eq!(
                info.socket_path(),
                Some(PathBuf::from("/run/pg/.s.PGSQL.6000")),
                "{url}"
            );
        }
    }

    #[test]
    fn what_is_left_out_has_a_default() {
        let info = parsed("postgresql://");
        assert_eq!(info.host, Host::Tcp("localhost".to_owned()));
        assert_eq!(
            (info.port, info.user.as_str(), info.database.as_str()),
            (5432, "postgres", "postgres")
        );
        assert_eq!(
            parsed("postgres://[::1]:7/x").host,
            Host::Tcp("::1".to_owned())
        );
        assert_eq!(parsed("postgres://app@h").database, "app");
    }

    #[test]
    fn what_cannot_be_meant_is_refused_by_name() {
        let error = |url: &str| url.parse::<ConnectInfo>().unwrap_err();
        assert_eq!(error("mysql://h/x"), ConnectInfoError::Scheme);
        assert_eq!(error("postgres://h:0/x"), ConnectInfoError::Port);
        assert_eq!(error("postgres://h:x/x"), ConnectInfoError::Port);
        assert_eq!(error("postgres://a,b/x"), ConnectInfoError::Host);
        assert_eq!(error("postgres://[::1/x"), ConnectInfoError::Host);
        for url in [
            "postgres://a:%@h",
            "postgres://a:%4@h",
            "postgres://a:%zz@h",
            "postgres://a%00@h",
        ] {
            assert_eq!(error(url), ConnectInfoError::Encoding, "{url}");
        }
        assert_eq!(
            error("postgres://h/x?sslmode=require"),
            ConnectInfoError::Tls
        );
    }

    #[test]
    fn the_password_is_never_printed() {
        let text = format!(
            "{:?}",
            parsed("postgres://app:hunter2@h/x?password=hunter3")
        );
        assert!(!text.contains("hunter"), "{text}");
    }
}
