//! Where PostgreSQL is and how to get there: the connection URL and the `PG…` variables, read once.
//!
//! The names and forms are libpq's (PostgreSQL, "Connection Strings", "Environment Variables").
//! Parameters that other tools put into their URLs are set aside, so that one URL serves the
//! application and the node.

mod error;
mod pooler;
mod tls;
mod url;

use std::collections::BTreeMap;
use std::fmt;
use std::net::IpAddr;
use std::path::PathBuf;
use std::str::FromStr;

pub use error::ConnectInfoError;
pub use tls::{ChannelBinding, Roots, Tls, Verify};

/// The parameters that count here, and the variables that give them where the URL does not.
const PARAMETERS: [(&str, &str); 11] = [
    ("host", "PGHOST"),
    ("hostaddr", "PGHOSTADDR"),
    ("port", "PGPORT"),
    ("user", "PGUSER"),
    ("password", "PGPASSWORD"),
    ("dbname", "PGDATABASE"),
    ("sslmode", "PGSSLMODE"),
    ("sslrootcert", "PGSSLROOTCERT"),
    ("sslnegotiation", "PGSSLNEGOTIATION"),
    ("channel_binding", "PGCHANNELBINDING"),
    ("options", "PGOPTIONS"),
];

/// Parameters of libpq's without which a connection would be less strict than its owner meant.
const STRICTER: [&str; 3] = ["require_auth", "sslcrl", "sslcrldir"];

/// The variables that say by themselves that a database is meant.
const NAMING_VARIABLES: [&str; 3] = ["PGHOST", "PGHOSTADDR", "PGDATABASE"];

/// Where and as whom to connect.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConnectInfo {
    /// The server.
    pub host: Host,
    /// The address of the host, where it is not to be looked up (`hostaddr`).
    pub address: Option<IpAddr>,
    /// The port, also part of a Unix socket's file name.
    pub port: u16,
    /// The role.
    pub user: String,
    /// The password, where one is needed.
    pub password: Option<Password>,
    /// The database.
    pub database: String,
    /// Whether the connection is encrypted, and whom it trusts.
    pub tls: Tls,
    /// Whether the password's proof is bound to the server's certificate.
    pub channel_binding: ChannelBinding,
    /// Options for the server's start (`options`), such as the endpoint that Neon is told.
    pub options: Option<String>,
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

impl Host {
    /// Whether nobody on a network can listen in: a Unix socket or the loopback interface.
    pub fn is_local(&self) -> bool {
        match self {
            Self::Unix(_) => true,
            Self::Tcp(name) if name == "localhost" => true,
            Self::Tcp(name) => name
                .parse()
                .is_ok_and(|address: IpAddr| address.is_loopback()),
        }
    }
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
    /// Reads a URL, and what it leaves out from libpq's variables; `variable` gives their values. It
    /// is `None` where there is neither: no URL, and no variable that names a server or a database.
    ///
    /// What both leave out is `localhost`, the port 5432, the user `postgres`, the database named
    /// like the user, and TLS with everything verified where the host is not local.
    ///
    /// # Errors
    ///
    /// What cannot be meant, or cannot work.
    pub fn read(
        url: Option<&str>,
        variable: impl Fn(&str) -> Option<String>,
    ) -> Result<Option<Self>, ConnectInfoError> {
        let variable = |name: &str| variable(name).filter(|value| !value.is_empty());
        if url.is_none() && NAMING_VARIABLES.iter().all(|name| variable(name).is_none()) {
            return Ok(None);
        }
        let mut texts = BTreeMap::new();
        let mut ignored = Vec::new();
        for (name, value) in url.map_or_else(|| Ok(Vec::new()), url::parameters)? {
            let known = PARAMETERS.iter().find(|(known, _)| *known == name);
            match known {
                Some((name, _)) => drop(texts.insert(*name, value)),
                // JDBC's word, which libpq knows as well; nothing says that it means less.
                None if name == "ssl" && value == "true" => {
                    texts
                        .entry("sslmode")
                        .or_insert_with(|| "verify-full".to_owned());
                }
                None => match STRICTER.into_iter().find(|known| *known == name) {
                    Some(name) => return Err(ConnectInfoError::Unsupported(name)),
                    None => ignored.push(name),
                },
            }
        }
        let has_host = texts.contains_key("host") || texts.contains_key("hostaddr");
        for (name, fallback) in PARAMETERS {
            // The address of another host than the URL's would be connected to.
            if name == "hostaddr" && has_host {
                continue;
            }
            if !texts.contains_key(name)
                && let Some(value) = variable(fallback)
            {
                texts.insert(name, value);
            }
        }
        Self::of(texts, ignored).map(Some)
    }

    /// Whether nobody on a network can listen in, wherever the host's name leads.
    pub fn is_local(&self) -> bool {
        let is_here = |address: IpAddr| address.is_loopback();
        self.host.is_local() && self.address.is_none_or(is_here)
    }

    /// The place, for a person: `host:port`, or the path of the Unix socket.
    pub fn place(&self) -> String {
        match (&self.host, self.socket_path()) {
            (Host::Tcp(name), _) => format!("{name}:{}", self.port),
            (Host::Unix(directory), path) => {
                path.as_ref().unwrap_or(directory).display().to_string()
            }
        }
    }

    /// The path of the Unix socket, where it is one.
    pub fn socket_path(&self) -> Option<PathBuf> {
        match &self.host {
            Host::Tcp(_) => None,
            Host::Unix(directory) => Some(directory.join(format!(".s.PGSQL.{}", self.port))),
        }
    }

    fn of(
        mut texts: BTreeMap<&'static str, String>,
        ignored: Vec<String>,
    ) -> Result<Self, ConnectInfoError> {
        // An empty value is as good as none, but for a password.
        texts.retain(|name, text| *name == "password" || !text.is_empty());
        let mut take = |name: &str| texts.remove(name);
        let address = take("hostaddr").map(|text| text.parse());
        let address: Option<IpAddr> = address.transpose().map_err(|_| ConnectInfoError::Host)?;
        let host = match (take("host"), address) {
            (Some(text), _) => host(text)?,
            (None, Some(address)) => Host::Tcp(address.to_string()),
            (None, None) => Host::Tcp("localhost".to_owned()),
        };
        let port = take("port").map_or(Ok(5432), |digits| port(&digits))?;
        let user = take("user").unwrap_or_else(|| "postgres".to_owned());
        if let Host::Tcp(name) = &host
            && let Some(direct) = pooler::direct(name, port, &user)
        {
            let host = format!("{name}:{port}");
            return Err(ConnectInfoError::Pooled { host, direct });
        }
        // Where it really goes decides whether anybody can listen.
        let reached = address.map_or_else(|| host.clone(), |it| Host::Tcp(it.to_string()));
        let (mode, roots, negotiation) =
            (take("sslmode"), take("sslrootcert"), take("sslnegotiation"));
        Ok(Self {
            tls: Tls::parse(
                &reached,
                mode.as_deref(),
                roots.as_deref(),
                negotiation.as_deref(),
            )?,
            host,
            address,
            port,
            password: take("password").map(Password),
            database: take("dbname").unwrap_or_else(|| user.clone()),
            user,
            channel_binding: ChannelBinding::parse(take("channel_binding").as_deref())?,
            options: take("options"),
            ignored,
        })
    }
}

impl FromStr for ConnectInfo {
    type Err = ConnectInfoError;

    /// Reads a URL alone; see [`Self::read`].
    fn from_str(url: &str) -> Result<Self, ConnectInfoError> {
        Self::read(Some(url), |_| None).map(|info| info.expect("there is a URL"))
    }
}

fn host(text: String) -> Result<Host, ConnectInfoError> {
    match text.as_bytes() {
        [b'/', ..] => Ok(Host::Unix(PathBuf::from(text))),
        bytes if bytes.contains(&b',') => Err(ConnectInfoError::Host),
        // No name has one: it is what a password's raw `?host=` made of the rest, and a host is shown.
        bytes if bytes.contains(&b'@') => Err(ConnectInfoError::Reserved),
        _ => Ok(Host::Tcp(text)),
    }
}

fn port(digits: &str) -> Result<u16, ConnectInfoError> {
    match digits.parse() {
        Ok(port) if port != 0 => Ok(port),
        _ => Err(ConnectInfoError::Port),
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
    fn a_raw_slash_or_question_mark_shows_nothing_of_the_password() {
        for password in ["12/hunter2", "?hunter2", "12?a&hunter2", "?host=hunter2"] {
            let url = format!("postgres://app:{password}@db/shop");
            let read = url.parse::<ConnectInfo>();
            assert_eq!(read, Err(ConnectInfoError::Reserved), "{password}");
        }
        let info = parsed("postgres://app@db/sh%40p?user=a@b");
        assert_eq!(
            (info.database.as_str(), info.user.as_str()),
            ("sh@p", "a@b")
        );
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
        for several in [
            "postgres://a,b/x",
            "postgres://a:1,b:2/x",
            "postgres:///x?host=a,b",
        ] {
            assert_eq!(error(several), ConnectInfoError::Host, "{several}");
        }
        assert_eq!(error("postgres://[::1/x"), ConnectInfoError::Host);
        for url in [
            "postgres://a:%@h",
            "postgres://a:%4@h",
            "postgres://a:%zz@h",
            "postgres://a%00@h",
        ] {
            assert_eq!(error(url), ConnectInfoError::Encoding, "{url}");
        }
        assert_eq!(error("postgres:///x?hostaddr=h"), ConnectInfoError::Host);
        assert_eq!(
            error("postgres://h/x?require_auth=scram-sha-256"),
            ConnectInfoError::Unsupported("require_auth")
        );
    }

    #[test]
    fn variables_give_what_the_url_leaves_out() {
        let variables = |pairs: &'static [(&str, &str)]| {
            move |name: &str| {
                let found = pairs.iter().find(|(known, _)| *known == name);
                found.map(|(_, value)| (*value).to_owned())
            }
        };
        let all = variables(&[
            ("PGHOST", "db.example"),
            ("PGHOSTADDR", "10.0.0.5"),
            ("PGPORT", "5433"),
            ("PGUSER", "app"),
            ("PGPASSWORD", "hunter2"),
            ("PGDATABASE", "shop"),
            ("PGSSLMODE", "verify-ca"),
            ("PGSSLROOTCERT", "/ca.pem"),
            ("PGOPTIONS", ""),
        ]);
        let alone = ConnectInfo::read(None, all).unwrap().unwrap();
        let spelt = "postgres://app:hunter2@db.example:5433/shop?hostaddr=10.0.0.5&\
                     sslmode=verify-ca&sslrootcert=/ca.pem";
        assert_eq!(alone, parsed(spelt));
        let both = ConnectInfo::read(Some("postgres://me@other/x"), all);
        let both = both.unwrap().unwrap();
        // The address is that of the host beside it, not of the URL's.
        assert_eq!((both.address, both.user.as_str()), (None, "me"));
        assert_eq!(
            both.password.as_ref().map(Password::reveal),
            Some("hunter2")
        );
        assert_eq!(
            (both.host, both.port),
            (Host::Tcp("other".to_owned()), 5433)
        );
        assert_eq!(ConnectInfo::read(None, |_| None), Ok(None));
        let only = ConnectInfo::read(None, variables(&[("PGPASSWORD", "x")]));
        assert_eq!(only, Ok(None), "a password alone names no database");
    }

    #[test]
    fn options_and_channel_binding_are_kept() {
        let url = "postgres://a@h/x?options=endpoint%3Dep-red-1&channel_binding=require";
        let info = parsed(url);
        assert_eq!(info.options.as_deref(), Some("endpoint=ep-red-1"));
        assert_eq!(info.channel_binding, ChannelBinding::Require);
        assert_eq!(info.ignored, Vec::<String>::new());
        assert_eq!(
            parsed("postgres://h/x?target_session_attrs=any")
                .ignored
                .len(),
            1
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
