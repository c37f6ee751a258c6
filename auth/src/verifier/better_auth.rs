//! Better Auth: a cookie with the token of a session's row and its signature. The signature only saves
//! the look-up of what cannot be a session; the row is what counts.
//!
//! The library's cookie cache (`session_data`) is not looked at: it says for minutes after the
//! sign-out that all is well, and the row has to be read in any case.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::cookie::{CookieNames, percent_decoded};
use crate::secret::is_equal;
use crate::{IdentityError, Secret, TokenError};

use super::{RowQuestion, RowSource, Verdict, row_token};

/// How long the signature is: 32 bytes in base64 with its padding.
const SIGNATURE_BYTES: usize = 44;

/// A signed cookie.
pub(super) struct BetterAuth {
    /// Where it is looked for.
    pub(super) cookies: CookieNames,
    secrets: Vec<Secret>,
}

impl BetterAuth {
    /// Only the first secret signs cookies; the library takes none that an older one has signed.
    pub(super) fn new(
        mut secrets: Vec<Secret>,
        cookies: CookieNames,
        accept_previous_secrets: bool,
    ) -> Self {
        if !accept_previous_secrets {
            secrets.truncate(1);
        }
        Self { cookies, secrets }
    }

    /// Verifies the value of the cookie.
    pub(super) fn verify(&self, value: &str) -> Result<Verdict, IdentityError> {
        let value = percent_decoded(value).ok_or(TokenError::Malformed)?;
        let (token, signature) = value.rsplit_once('.').ok_or(TokenError::Malformed)?;
        let token = row_token(token).ok_or(TokenError::Malformed)?;
        if signature.len() != SIGNATURE_BYTES {
            return Err(TokenError::Signature.into());
        }
        let signature = STANDARD
            .decode(signature)
            .map_err(|_| TokenError::Signature)?;
        let is_signed = self.secrets.iter().fold(false, |found, secret| {
            is_equal(&secret.hmac_sha256(token.as_bytes()), &signature) | found
        });
        if !is_signed {
            return Err(TokenError::Signature.into());
        }
        Ok(Verdict::Row(RowQuestion {
            source: RowSource::BetterAuth,
            token: Secret::new(token),
        }))
    }
}
