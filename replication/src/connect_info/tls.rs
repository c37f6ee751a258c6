//! How a connection is protected: `sslmode`, `sslrootcert`, `sslnegotiation` and `channel_binding`
//! (PostgreSQL, "SSL Support"). What is done about it is the node's business.

use std::path::PathBuf;

use super::{ConnectInfoError, Host};

/// Whether a connection is encrypted, and whom it trusts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Tls {
    /// It is not: nobody else can listen, or somebody has said that nobody does.
    Off,
    /// It is, or it is not made.
    On {
        /// What is asked of the server's certificate.
        verify: Verify,
        /// Who may have signed it.
        roots: Roots,
        /// Whether TLS begins at once, without asking for it (`sslnegotiation=direct`; PostgreSQL 17).
        direct: bool,
    },
}

/// What is asked of the server's certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verify {
    /// Nothing: whoever sits in between can read along (`sslmode=require`).
    Nothing,
    /// That one of the roots has signed it (`verify-ca`).
    Authority,
    /// The same, and that it is the host's (`verify-full`).
    Host,
}

/// The certificates of the authorities that are trusted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Roots {
    /// The system's.
    System,
    /// Those of a file in PEM, and no others.
    File(PathBuf),
}

/// Whether the password's proof is bound to the server's certificate (SCRAM-SHA-256-PLUS).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ChannelBinding {
    /// Never.
    Disable,
    /// Where the server offers it.
    #[default]
    Prefer,
    /// Always, or there is no connection.
    Require,
}

impl ChannelBinding {
    pub(super) fn parse(text: Option<&str>) -> Result<Self, ConnectInfoError> {
        match text {
            None | Some("prefer") => Ok(Self::Prefer),
            Some("disable") => Ok(Self::Disable),
            Some("require") => Ok(Self::Require),
            Some(_) => Err(ConnectInfoError::ChannelBinding),
        }
    }
}

impl Tls {
    /// Puts the parameters together. A host that is not local is verified in full by default.
    pub(super) fn parse(
        host: &Host,
        mode: Option<&str>,
        roots: Option<&str>,
        negotiation: Option<&str>,
    ) -> Result<Self, ConnectInfoError> {
        // A Unix socket never has TLS, and libpq ignores the modes there, too.
        if matches!(host, Host::Unix(_)) {
            return Ok(Self::Off);
        }
        let direct = match negotiation {
            None | Some("postgres") => false,
            Some("direct") => true,
            Some(_) => return Err(ConnectInfoError::Negotiation),
        };
        let names_roots = matches!(roots, Some(path) if path != "system");
        let verify = match mode {
            None if host.is_local() && roots.is_none() && !direct => return Ok(Self::Off),
            None | Some("verify-full") => Verify::Host,
            Some("disable") if direct => return Err(ConnectInfoError::Negotiation),
            Some("disable") => return Ok(Self::Off),
            // Nobody listens there, and what is preferred cannot be relied on.
            Some("allow" | "prefer") if host.is_local() && !direct => return Ok(Self::Off),
            Some("allow" | "prefer") => return Err(ConnectInfoError::WeakMode),
            Some("verify-ca") => Verify::Authority,
            // As libpq has it: who names an authority means it.
            Some("require") if names_roots => Verify::Authority,
            // `no-verify` is node-postgres' word for what libpq calls `require`.
            Some("require" | "no-verify") => Verify::Nothing,
            Some(_) => return Err(ConnectInfoError::Mode),
        };
        let roots = match roots {
            // Any authority of the system signs for anybody, so that a name must be checked.
            None if verify == Verify::Authority => return Err(ConnectInfoError::SystemRoots),
            Some("system") if verify != Verify::Host => return Err(ConnectInfoError::SystemRoots),
            None | Some("system") => Roots::System,
            Some(path) => Roots::File(PathBuf::from(path)),
        };
        Ok(Self::On {
            verify,
            roots,
            direct,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::super::ConnectInfo;
    use super::*;

    fn tls(url: &str) -> Result<Tls, ConnectInfoError> {
        url.parse::<ConnectInfo>().map(|info| info.tls)
    }

    fn on(verify: Verify, roots: Roots, direct: bool) -> Result<Tls, ConnectInfoError> {
        Ok(Tls::On {
            verify,
            roots,
            direct,
        })
    }

    #[test]
    fn a_host_that_is_not_local_is_verified_in_full() {
        let full = on(Verify::Host, Roots::System, false);
        assert_eq!(tls("postgres://db.example/x"), full);
        assert_eq!(tls("postgres://10.0.0.5/x"), full);
        assert_eq!(tls("postgres://localhost.example/x"), full);
        for local in [
            "localhost",
            "127.0.0.1",
            "127.9.9.9",
            "[::1]",
            "%2Frun%2Fpg",
        ] {
            assert_eq!(
                tls(&format!("postgres://{local}/x")),
                Ok(Tls::Off),
                "{local}"
            );
        }
        assert_eq!(tls("postgres:///x?host=localhost&hostaddr=10.0.0.5"), full);
    }

    #[test]
    fn every_mode_is_what_libpq_makes_of_it() {
        let mode = |more: &str| tls(&format!("postgres://db/x?sslmode={more}"));
        let file = || Roots::File(PathBuf::from("/ca.pem"));
        assert_eq!(mode("disable"), Ok(Tls::Off));
        assert_eq!(mode("require"), on(Verify::Nothing, Roots::System, false));
        assert_eq!(mode("no-verify"), on(Verify::Nothing, Roots::System, false));
        assert_eq!(
            mode("require&sslrootcert=/ca.pem"),
            on(Verify::Authority, file(), false)
        );
        assert_eq!(
            mode("verify-ca&sslrootcert=/ca.pem"),
            on(Verify::Authority, file(), false)
        );
        assert_eq!(
            mode("verify-full&sslrootcert=/ca.pem&sslnegotiation=direct"),
            on(Verify::Host, file(), true)
        );
        assert_eq!(
            mode("verify-full&sslrootcert=system"),
            on(Verify::Host, Roots::System, false)
        );
        let local = tls("postgres://localhost/x?sslrootcert=/ca.pem");
        assert_eq!(local, on(Verify::Host, file(), false));
        assert_eq!(tls("postgres://localhost/x?sslmode=prefer"), Ok(Tls::Off));
        assert_eq!(
            tls("postgres:///x?host=/run/pg&sslmode=verify-full"),
            Ok(Tls::Off)
        );
    }

    #[test]
    fn what_protects_nothing_is_refused() {
        let mode = |more: &str| tls(&format!("postgres://db/x?sslmode={more}")).unwrap_err();
        assert_eq!(mode("prefer"), ConnectInfoError::WeakMode);
        assert_eq!(mode("allow"), ConnectInfoError::WeakMode);
        assert_eq!(mode("full"), ConnectInfoError::Mode);
        for anybody in ["verify-ca", "verify-ca&sslrootcert=system"] {
            assert_eq!(mode(anybody), ConnectInfoError::SystemRoots, "{anybody}");
        }
        assert_eq!(
            mode("disable&sslnegotiation=direct"),
            ConnectInfoError::Negotiation
        );
        assert_eq!(
            mode("require&sslnegotiation=fast"),
            ConnectInfoError::Negotiation
        );
        assert_eq!(
            mode("require&channel_binding=yes"),
            ConnectInfoError::ChannelBinding
        );
    }
}
