//! Why TLS with PostgreSQL did not come about, and how that is mended.

use std::fmt;
use std::io::{self, ErrorKind};
use std::path::PathBuf;

use rustls::{AlertDescription, CertificateError, Error};

/// A connection that was to be encrypted, and is not made.
#[derive(Debug)]
pub(crate) enum TlsError {
    /// The host is no name that a handshake can say.
    Name,
    /// `sslrootcert` cannot be used.
    Roots {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        why: String,
    },
    /// The system trusts nobody.
    NoSystemRoots,
    /// The server answered that it has no TLS.
    NotSpoken,
    /// It answered something else.
    Answer,
    /// It sent more than its answer before TLS began: whoever sits in between wants us to take it for
    /// the server's (CVE-2021-23222).
    EarlyBytes,
    /// It does not take TLS directly.
    NotDirect,
    /// The connection ended or failed.
    Broken(io::Error),
    /// The handshake failed.
    Handshake(Error),
}

impl TlsError {
    /// What a failure of reading or writing during the handshake means.
    pub(super) fn of(error: io::Error, direct: bool) -> Self {
        let inner = error
            .get_ref()
            .and_then(|inner| inner.downcast_ref::<Error>());
        match inner {
            // A server that knows nothing of it answers in its own protocol.
            Some(Error::InvalidMessage(_)) if direct => Self::NotDirect,
            Some(tls) => Self::Handshake(tls.clone()),
            None if direct && is_end(error.kind()) => Self::NotDirect,
            None => Self::Broken(error),
        }
    }

    /// Whether the same may work later without anybody mending anything.
    pub(crate) fn is_temporary(&self) -> bool {
        matches!(self, Self::Broken(_))
    }
}

impl fmt::Display for TlsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Name => "the host is no name that a certificate can have",
            Self::Roots { path, why } => {
                return write!(f, "sslrootcert {} cannot be used: {why}", path.display());
            }
            Self::NoSystemRoots => {
                "this system trusts no authority: install its certificates (ca-certificates), or name \
                 the server's with sslrootcert=/path/to/ca.pem"
            }
            Self::NotSpoken => {
                "the server has no TLS: turn it on there (ssl = on, with a certificate), or say \
                 sslmode=disable where the network between is private"
            }
            Self::Answer => "what answers is no PostgreSQL, or one that takes no connections",
            Self::EarlyBytes => {
                "bytes came before TLS began: somebody sits in between, or what answers is no \
                 PostgreSQL"
            }
            Self::NotDirect => {
                "the server does not take TLS directly, which needs PostgreSQL 17 with ssl = on: leave \
                 sslnegotiation=direct out"
            }
            Self::Broken(error) if is_end(error.kind()) => {
                "the server closed the connection during the TLS handshake"
            }
            Self::Broken(error) => return write!(f, "the TLS handshake broke: {error}"),
            Self::Handshake(error) => return handshake(error, f),
        })
    }
}

impl std::error::Error for TlsError {}

fn is_end(kind: ErrorKind) -> bool {
    matches!(
        kind,
        ErrorKind::UnexpectedEof | ErrorKind::ConnectionReset | ErrorKind::BrokenPipe
    )
}

fn handshake(error: &Error, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    let mend = match error {
        // The second where an authority of the same name was made anew, with another key.
        Error::InvalidCertificate(
            CertificateError::UnknownIssuer | CertificateError::BadSignature,
        ) => {
            "name its authority with sslrootcert=/path/to/ca.pem; sslmode=require would encrypt without \
             knowing for whom"
        }
        Error::InvalidCertificate(
            CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. },
        ) => {
            "connect by a name that stands in the certificate (as subjectAltName), or say \
             sslmode=verify-ca, which does not look at it"
        }
        Error::InvalidCertificate(
            CertificateError::Expired | CertificateError::ExpiredContext { .. },
        ) => "renew it on the server, or set the clock here right",
        Error::AlertReceived(AlertDescription::ProtocolVersion) | Error::PeerIncompatible(_) => {
            "the server has to speak TLS 1.2 or later (ssl_min_protocol_version)"
        }
        Error::AlertReceived(
            AlertDescription::CertificateRequired | AlertDescription::HandshakeFailure,
        ) => "a certificate of the client's is not supported; take clientcert out of pg_hba.conf",
        _ => return write!(f, "no TLS with the server: {error}"),
    };
    match error {
        Error::InvalidCertificate(reason) => {
            write!(
                f,
                "the server's certificate is not trusted: {reason}; {mend}"
            )
        }
        _ => write!(f, "no TLS with the server: {error}; {mend}"),
    }
}
