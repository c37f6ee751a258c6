//! Why something is no connection URL, with the mend.

use std::fmt;

/// Why a text is no connection URL. The text itself is never shown: it may hold a password.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ConnectInfoError {
    /// It does not begin with `postgresql://` or `postgres://`.
    Scheme,
    /// More than one host, or an address with an unclosed bracket.
    Host,
    /// The port is no number from 1 to 65535.
    Port,
    /// A `%` is not followed by two hexadecimal digits, or the result is no UTF-8 or holds a NUL.
    Encoding,
    /// An `@` behind the host, which was none: the password holds a raw `/` or `?`.
    Reserved,
    /// The host is a connection pooler.
    Pooled {
        /// The host and the port.
        host: String,
        /// The direct connection, as far as it can be told.
        direct: String,
    },
    /// `sslmode` is no mode.
    Mode,
    /// `sslmode` leaves it to chance whether the connection is encrypted.
    WeakMode,
    /// The system's authorities with a mode that does not look at the host's name.
    SystemRoots,
    /// `sslnegotiation` is neither `postgres` nor `direct`, or direct without TLS.
    Negotiation,
    /// A parameter of libpq's that makes the connection stricter, and is not heeded here.
    Unsupported(&'static str),
    /// `channel_binding` is none of its values.
    ChannelBinding,
}

impl fmt::Display for ConnectInfoError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Scheme => "a connection URL begins with postgresql:// or postgres://",
            Self::Host => {
                "the connection URL must name one host, the primary's, and an IPv6 address in \
                 brackets; hostaddr is an address"
            }
            Self::Port => "the port in the connection URL must be a number from 1 to 65535",
            Self::Encoding => {
                "a % in the connection URL must be followed by two hexadecimal digits (a raw % in a \
                 password is written %25)"
            }
            Self::Reserved => {
                "a raw / or ? in the user or the password of the connection URL ends it: write %2F or \
                 %3F (and %40 for an @ behind the host)"
            }
            Self::Pooled { host, direct } => {
                return write!(
                    f,
                    "{host} is a connection pooler, which carries no replication: put the URL of the \
                     direct connection (host {direct}) into TAILRACE_DATABASE_URL, or into DIRECT_URL \
                     beside DATABASE_URL"
                );
            }
            Self::Mode => "sslmode must be disable, require, verify-ca or verify-full",
            Self::WeakMode => {
                "sslmode=allow and sslmode=prefer leave it to whoever is in between whether the \
                 connection is encrypted: write verify-full, or require, or disable where the network \
                 is private"
            }
            Self::SystemRoots => {
                "the system's authorities sign for anybody, so that the host's name must be looked \
                 at: say sslmode=verify-full, or name the server's authority with \
                 sslrootcert=/path/to/ca.pem"
            }
            Self::Negotiation => {
                "sslnegotiation must be postgres or direct, and direct needs an sslmode of require, \
                 verify-ca or verify-full"
            }
            Self::Unsupported(name) => {
                return write!(
                    f,
                    "{name} is not heeded, so what it is to keep out would not be kept out: leave it \
                     out of the connection URL"
                );
            }
            Self::ChannelBinding => "channel_binding must be disable, prefer or require",
        })
    }
}

impl std::error::Error for ConnectInfoError {}
