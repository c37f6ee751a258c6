//! Convincing the server that we are who we say, and being convinced that it is the one that knows
//! the password (PostgreSQL, "SASL Authentication").
//!
//! What may be shown depends on who can listen, which is why the protection of the connection comes
//! in as an argument.

use std::fmt;

use postgres_protocol::authentication::md5_hash;
use postgres_protocol::authentication::sasl::{self, ScramSha256};

use crate::protocol::backend::Authentication;
use crate::protocol::{Malformed, frontend};
use crate::{ChannelBinding, ConnectInfo, Password};

const SCRAM_SHA_256: &str = "SCRAM-SHA-256";
const SCRAM_SHA_256_PLUS: &str = "SCRAM-SHA-256-PLUS";

/// What protects a connection that stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Protection {
    /// Nothing: it is local, or somebody has said that nobody listens.
    None,
    /// TLS.
    Tls {
        /// What a proof can be bound to: the hash of the server's certificate (RFC 5929,
        /// `tls-server-end-point`), where its signature has one.
        server_end_point: Option<Vec<u8>>,
    },
}

/// The conversation, up to where the server lets us in.
pub(crate) struct Authenticator {
    user: String,
    password: Option<Password>,
    channel_binding: ChannelBinding,
    protection: Protection,
    is_local: bool,
    scram: Scram,
}

enum Scram {
    /// Not asked for.
    None,
    /// Waits for: the server's challenge, then for its proof.
    Proving {
        client: Box<ScramSha256>,
        is_bound: bool,
    },
    /// The server has proved to know the password.
    Proven { is_bound: bool },
}

/// Why the conversation is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Failure {
    Malformed(Malformed),
    NoPassword,
    /// The server wants the password in clear text where others can listen.
    ClearText,
    /// It did not prove that it knows the password.
    Unproven,
    /// Its challenge breaks the rules, or asks for more work than a server can mean.
    Challenge,
    /// It offers no mechanism that is spoken here.
    NoMechanism,
    /// It offers to bind to a TLS that there is none of.
    NoTlsToBindTo,
    /// The proof was to be bound to its certificate, and cannot be.
    Unbound,
    /// It wants a method that is not spoken here.
    Method,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Malformed(error) => return error.fmt(f),
            Self::NoPassword => {
                "the server wants a password, and there is none: write it into the connection URL, or \
                 into PGPASSWORD"
            }
            Self::ClearText => {
                "the server wants the password in clear text over a network; set its pg_hba.conf to \
                 scram-sha-256, or connect with TLS"
            }
            Self::Unproven => {
                "the server did not prove that it knows the password: it may be another than the one \
                 that is meant"
            }
            Self::Challenge => {
                "the server's SCRAM challenge is not acceptable: it is no answer to ours, or asks for \
                 more than 100000 iterations (scram_iterations)"
            }
            Self::NoMechanism => "the server offers no SCRAM-SHA-256",
            Self::NoTlsToBindTo => {
                "the server offers SCRAM-SHA-256-PLUS without TLS: somebody sits in between"
            }
            Self::Unbound => {
                "channel_binding=require, and the server does not bind the password to its \
                 certificate: it needs TLS, scram-sha-256 in pg_hba.conf and a certificate signed with \
                 SHA-2"
            }
            Self::Method => {
                "the server wants an authentication that is not supported; trust, password, md5 and \
                 scram-sha-256 are"
            }
        })
    }
}

impl From<Malformed> for Failure {
    fn from(error: Malformed) -> Self {
        Self::Malformed(error)
    }
}

impl Authenticator {
    pub(crate) fn new(connect: &ConnectInfo, protection: Protection) -> Self {
        Self {
            user: connect.user.clone(),
            password: connect.password.clone(),
            channel_binding: connect.channel_binding,
            protection,
            is_local: connect.is_local(),
            scram: Scram::None,
        }
    }

    /// Answers what the server wants to see; true when it lets us in.
    pub(crate) fn handle(
        &mut self,
        wanted: Authentication,
        out: &mut Vec<u8>,
    ) -> Result<bool, Failure> {
        if self.channel_binding == ChannelBinding::Require {
            self.insist_on_binding(&wanted)?;
        }
        match wanted {
            // Whoever cannot prove to know the password is not our server.
            Authentication::Ok if matches!(self.scram, Scram::Proving { .. }) => {
                return Err(Failure::Unproven);
            }
            Authentication::Ok => return Ok(true),
            Authentication::CleartextPassword => {
                if !self.is_local && self.protection == Protection::None {
                    return Err(Failure::ClearText);
                }
                frontend::password(out, self.password()?.as_bytes());
            }
            Authentication::Md5Password { salt } => {
                let hash = md5_hash(self.user.as_bytes(), self.password()?.as_bytes(), salt);
                frontend::password(out, hash.as_bytes());
            }
            Authentication::Sasl { mechanisms } => self.begin_scram(&mechanisms, out)?,
            Authentication::SaslContinue(data) => {
                let Scram::Proving { client, .. } = &mut self.scram else {
                    return Err(Malformed::OutOfPlace("a SASL message").into());
                };
                client.update(&data).map_err(|_| Failure::Challenge)?;
                frontend::sasl_response(out, client.message());
            }
            Authentication::SaslFinal(data) => {
                let Scram::Proving { client, is_bound } = &mut self.scram else {
                    return Err(Malformed::OutOfPlace("a SASL message").into());
                };
                client.finish(&data).map_err(|_| Failure::Unproven)?;
                self.scram = Scram::Proven {
                    is_bound: *is_bound,
                };
            }
            Authentication::Other(_) => return Err(Failure::Method),
        }
        Ok(false)
    }

    /// Chooses the mechanism, and says what we could have done, so that nobody in between can take
    /// the better one out of the offer unnoticed (RFC 5802, section 6).
    fn begin_scram(&mut self, mechanisms: &[String], out: &mut Vec<u8>) -> Result<(), Failure> {
        let offers = |wanted: &str| mechanisms.iter().any(|name| name == wanted);
        let wants_binding = self.channel_binding != ChannelBinding::Disable;
        if !matches!(self.scram, Scram::None) {
            return Err(Malformed::OutOfPlace("a SASL message").into());
        }
        let (mechanism, binding) = match &self.protection {
            Protection::None if offers(SCRAM_SHA_256_PLUS) => return Err(Failure::NoTlsToBindTo),
            Protection::Tls {
                server_end_point: Some(hash),
            } if wants_binding => match offers(SCRAM_SHA_256_PLUS) {
                true => {
                    let binding = sasl::ChannelBinding::tls_server_end_point(hash.clone());
                    (SCRAM_SHA_256_PLUS, binding)
                }
                false => (SCRAM_SHA_256, sasl::ChannelBinding::unrequested()),
            },
            _ => (SCRAM_SHA_256, sasl::ChannelBinding::unsupported()),
        };
        if !offers(mechanism) {
            return Err(Failure::NoMechanism);
        }
        // Its nonce is the one place where randomness is not an argument: the crate draws it from
        // the system itself.
        let client = ScramSha256::new(self.password()?.as_bytes(), binding);
        frontend::sasl_initial(out, mechanism, client.message());
        self.scram = Scram::Proving {
            client: Box::new(client),
            is_bound: mechanism == SCRAM_SHA_256_PLUS,
        };
        Ok(())
    }

    /// Where binding is required, nothing is shown and nothing believed without it.
    fn insist_on_binding(&self, wanted: &Authentication) -> Result<(), Failure> {
        let is_well = match wanted {
            Authentication::Sasl { mechanisms } => {
                let can_bind = matches!(
                    &self.protection,
                    Protection::Tls {
                        server_end_point: Some(_)
                    }
                );
                can_bind && mechanisms.iter().any(|name| name == SCRAM_SHA_256_PLUS)
            }
            Authentication::SaslContinue(_) | Authentication::SaslFinal(_) => true,
            Authentication::Ok => match self.scram {
                Scram::None => false,
                // Said in its own words by the caller.
                Scram::Proving { .. } => true,
                Scram::Proven { is_bound } => is_bound,
            },
            _ => false,
        };
        if is_well {
            Ok(())
        } else {
            Err(Failure::Unbound)
        }
    }

    fn password(&self) -> Result<&Password, Failure> {
        self.password.as_ref().ok_or(Failure::NoPassword)
    }
}

#[cfg(test)]
mod tests;
