//! Ordinary connections to PostgreSQL, beside the one that replicates: made in one place, so that they
//! all say who they are and wait for nothing for ever. SQL itself stands where it is used.

use std::fmt;
use std::io;
use std::time::Duration;

use replication::{ChannelBinding, ConnectInfo, Host, Tls};
use tokio_postgres::config::{self, SslMode, SslNegotiation};
use tokio_postgres::error::SqlState;
use tokio_postgres::tls::MakeTlsConnect;
use tokio_postgres::{Client, NoTls, Socket};

pub(crate) use replication::{identifier, literal};

use crate::tls::{MakeTls, NeverClearText, ServerTls, TlsError};

/// How long a connection may take.
const CONNECT_MS: u64 = 5_000;

/// How long PostgreSQL works on one statement.
const STATEMENT_MS: u64 = 5_000;

/// Connects, and serves the connection on this runtime until its client is dropped.
///
/// # Errors
///
/// Where the server cannot be reached or does not let us in.
pub(crate) async fn connect(info: &ConnectInfo) -> Result<Client, DatabaseError> {
    // We read, and a statement that hangs must not hang us.
    let options =
        format!("-c default_transaction_read_only=on -c statement_timeout={STATEMENT_MS}");
    open(info, &options).await
}

/// Connects as [`connect`] does, for statements of the node that write.
///
/// # Errors
///
/// As for [`connect`].
pub(crate) async fn connect_to_write(info: &ConnectInfo) -> Result<Client, DatabaseError> {
    open(info, &format!("-c statement_timeout={STATEMENT_MS}")).await
}

/// Connects as [`connect`] does, for statements that change the database and take their time.
///
/// # Errors
///
/// As for [`connect`].
pub(crate) async fn connect_to_change(info: &ConnectInfo) -> Result<Client, DatabaseError> {
    open(info, "-c statement_timeout=0").await
}

async fn open(info: &ConnectInfo, options: &str) -> Result<Client, DatabaseError> {
    let config = config(info, options);
    // It may read the roots, and others wait on this thread.
    let of = info.clone();
    let tls = tokio::task::spawn_blocking(move || ServerTls::new(&of));
    let connecting = async {
        match tls.await.expect("making a configuration does not panic") {
            Ok(None) if info.is_local() => establish(&config, info, NoTls).await,
            Ok(None) => establish(&config, info, NeverClearText).await,
            Ok(Some(tls)) => establish(&config, info, MakeTls(tls)).await,
            Err(error) => Err(DatabaseError::of_tls(&error, info)),
        }
    };
    tokio::time::timeout(Duration::from_millis(CONNECT_MS), connecting)
        .await
        .unwrap_or_else(|_| {
            let seconds = CONNECT_MS / 1_000;
            let message = format!("{}: no answer within {seconds} s", info.place());
            Err(DatabaseError::Unreachable(message))
        })
}

async fn establish<T>(
    config: &tokio_postgres::Config,
    info: &ConnectInfo,
    tls: T,
) -> Result<Client, DatabaseError>
where
    T: MakeTlsConnect<Socket>,
    T::Stream: Send + 'static,
{
    let connected = config.connect(tls).await;
    let (client, connection) =
        connected.map_err(|error| DatabaseError::of_connecting(error, info))?;
    // Whatever ends the connection is seen by the next statement.
    tokio::spawn(async move {
        let _ = connection.await;
    });
    Ok(client)
}

fn config(info: &ConnectInfo, options: &str) -> tokio_postgres::Config {
    let mut config = tokio_postgres::Config::new();
    match &info.host {
        Host::Tcp(host) => config.host(host),
        Host::Unix(directory) => config.host_path(directory),
    };
    config
        .port(info.port)
        .user(&info.user)
        .dbname(&info.database)
        .application_name("tailrace");
    if let Some(address) = info.address {
        config.hostaddr(address);
    }
    if let Some(password) = &info.password {
        config.password(password.reveal());
    }
    match info.tls {
        Tls::Off if info.is_local() => config.ssl_mode(SslMode::Disable),
        // What the driver takes for TLS there is the look at what the server asks for.
        Tls::Off => config
            .ssl_mode(SslMode::Require)
            .ssl_negotiation(SslNegotiation::Direct),
        Tls::On { direct: false, .. } => config.ssl_mode(SslMode::Require),
        Tls::On { direct: true, .. } => config
            .ssl_mode(SslMode::Require)
            .ssl_negotiation(SslNegotiation::Direct),
    };
    config.channel_binding(match info.channel_binding {
        ChannelBinding::Disable => config::ChannelBinding::Disable,
        ChannelBinding::Prefer => config::ChannelBinding::Prefer,
        ChannelBinding::Require => config::ChannelBinding::Require,
    });
    // Of two that contradict each other, the last counts.
    let theirs = info.options.as_deref().unwrap_or_default();
    config.options(format!("{theirs} {options}"));
    config
}

/// What PostgreSQL, or the way to it, answered.
#[derive(Debug)]
pub(crate) enum DatabaseError {
    /// It did not answer in time.
    Silent,
    /// The connection could not be made, or broke.
    Unreachable(String),
    /// It could not be encrypted as it has to be.
    Tls {
        /// Why, and how that is mended.
        message: String,
        /// Whether the same may work later.
        is_temporary: bool,
    },
    /// It answered with an error; whether the server is only starting or stopping.
    Refused {
        /// What it said.
        message: String,
        /// Whether the same may work later.
        is_temporary: bool,
        /// The lines that mend it, where they are known.
        mend: Vec<String>,
    },
}

impl DatabaseError {
    /// Sorts an error of connecting, and says how it is mended.
    fn of_connecting(error: tokio_postgres::Error, info: &ConnectInfo) -> Self {
        if let Some(source) = std::error::Error::source(&error) {
            if let Some(error) = source.downcast_ref() {
                return Self::of_tls(error, info);
            }
            if let Some(error) = source.downcast_ref::<io::Error>()
                && error.kind() == io::ErrorKind::PermissionDenied
            {
                return Self::Refused {
                    message: format!("{}: {error}", info.place()),
                    is_temporary: false,
                    mend: Vec::new(),
                };
            }
            // The driver tells these apart by words alone.
            let (kind, reason) = (error.to_string(), source.to_string());
            if reason == "server does not support TLS" {
                return Self::of_tls(&TlsError::NotSpoken, info);
            }
            if kind.starts_with("authentication error") || kind.starts_with("invalid configuration")
            {
                let mend = match reason.as_str() {
                    text if text.contains("channel binding") => {
                        "; channel_binding=require needs TLS, scram-sha-256 in pg_hba.conf and a \
                         certificate signed with SHA-2"
                    }
                    "password missing" => "; write it into database.url, or into PGPASSWORD",
                    _ => "",
                };
                return Self::Refused {
                    message: format!("{}: {reason}{mend}", info.place()),
                    is_temporary: false,
                    mend: Vec::new(),
                };
            }
        }
        let explained = error.as_db_error().map(|error| {
            let (code, message) = (error.code().code(), error.message());
            let mend = replication::mends(info, code, message);
            (replication::explain(info, code, message), mend)
        });
        match (Self::of(error), explained) {
            (Self::Refused { is_temporary, .. }, Some((message, mend))) => Self::Refused {
                message,
                is_temporary,
                mend,
            },
            // The URL may come from four places: which server it is, is half of the mend.
            (Self::Unreachable(message), _) => {
                Self::Unreachable(format!("{}: {message}", info.place()))
            }
            (other, _) => other,
        }
    }

    fn of_tls(error: &TlsError, info: &ConnectInfo) -> Self {
        Self::Tls {
            message: format!("{}: {error}", info.place()),
            is_temporary: error.is_temporary(),
        }
    }

    /// Sorts an error by whose fault it is.
    pub(crate) fn of(error: tokio_postgres::Error) -> Self {
        let Some(db) = error.as_db_error() else {
            return Self::Unreachable(with_sources(&error));
        };
        // PostgreSQL, "Error Codes": 57P0x are starting and stopping, 53xxx is want of room.
        let code = db.code();
        let is_temporary = [
            SqlState::CANNOT_CONNECT_NOW,
            SqlState::ADMIN_SHUTDOWN,
            SqlState::CRASH_SHUTDOWN,
            SqlState::QUERY_CANCELED,
        ]
        .contains(code)
            || code.code().starts_with("53");
        Self::Refused {
            message: format!("{} (SQLSTATE {})", db.message(), code.code()),
            is_temporary,
            mend: Vec::new(),
        }
    }

    /// Whether the same may work later without anybody mending anything.
    pub(crate) fn is_temporary(&self) -> bool {
        match self {
            Self::Silent | Self::Unreachable(_) => true,
            Self::Tls { is_temporary, .. } | Self::Refused { is_temporary, .. } => *is_temporary,
        }
    }
}

impl fmt::Display for DatabaseError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Silent => f.write_str("PostgreSQL does not answer"),
            Self::Tls { message, .. } => f.write_str(message),
            Self::Unreachable(message) => write!(f, "PostgreSQL cannot be reached: {message}"),
            Self::Refused { message, .. } => write!(f, "PostgreSQL says: {message}"),
        }
    }
}

impl std::error::Error for DatabaseError {}

/// The driver's errors say only "error connecting": what happened is in their sources.
fn with_sources(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        let more = error.to_string();
        if !text.contains(&more) {
            text = format!("{text}: {more}");
        }
        source = error.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use std::io::{Read as _, Write as _};
    use std::net::TcpListener;

    use super::*;

    #[tokio::test]
    async fn a_server_that_does_not_listen_is_named() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let place = listener.local_addr().unwrap().to_string();
        drop(listener);
        let info: ConnectInfo = format!("postgres://app:hunter2@{place}/x").parse().unwrap();
        let error = connect(&info).await.unwrap_err();
        let text = error.to_string();
        assert!(error.is_temporary() && text.contains(&place), "{text}");
        assert!(!text.contains("hunter2"), "{text}");
    }

    #[tokio::test]
    async fn a_password_is_not_shown_in_clear_text_over_a_network() {
        // Local in fact, and not by its name.
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let server = std::thread::spawn(move || {
            let (mut socket, _) = listener.accept().unwrap();
            let mut len = [0; 4];
            socket.read_exact(&mut len).unwrap();
            let mut startup = vec![0; u32::from_be_bytes(len) as usize - 4];
            socket.read_exact(&mut startup).unwrap();
            socket.write_all(b"R\0\0\0\x08\0\0\0\x03").unwrap();
            let mut more = Vec::new();
            let _ = socket.read_to_end(&mut more);
            more
        });
        let mut info: ConnectInfo = format!("postgres://app:hunter2@db:{port}/x?sslmode=disable")
            .parse()
            .unwrap();
        info.address = Some([127, 0, 0, 1].into());
        let error = connect(&info).await.unwrap_err();
        assert!(
            !error.is_temporary() && error.to_string().contains("scram-sha-256"),
            "{error}"
        );
        assert_eq!(server.join().unwrap(), b"");
    }
}
