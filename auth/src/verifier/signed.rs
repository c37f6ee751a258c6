//! Signed tokens: with a secret that the node shares with the application, or with a key that an
//! issuer publishes.

use std::borrow::Cow;

use aws_lc_rs::hmac;
use serde_json::Value;

use crate::cookie::CookieNames;
use crate::jwt::{self, Claims, Jws};
use crate::token_rules::TokenRules;
use crate::{Fingerprint, IdentityError, TokenError};

use super::{Circumstances, Verdict};

/// Tokens with HS256.
pub(super) struct Signed {
    pub(super) keys: Vec<hmac::Key>,
    pub(super) cookies: Option<CookieNames>,
    pub(super) rules: TokenRules,
}

/// Tokens of one issuer.
pub(super) struct Issuer {
    /// Which of the sets of keys is its.
    pub(super) issuer: usize,
    pub(super) cookies: Option<CookieNames>,
    pub(super) rules: TokenRules,
}

impl Signed {
    /// Verifies a token, or a cookie around one.
    pub(super) fn verify(
        &self,
        value: &str,
        circumstances: &Circumstances<'_>,
    ) -> Result<Verdict, IdentityError> {
        let token = unwrapped(value)?;
        let signed = Jws::parse(&token)?;
        signed.check_hs256(&self.keys)?;
        accept(&token, &signed.claims()?, &self.rules, circumstances)
    }
}

impl Issuer {
    /// Verifies a token, or a cookie around one.
    pub(super) fn verify(
        &self,
        value: &str,
        circumstances: &Circumstances<'_>,
    ) -> Result<Verdict, IdentityError> {
        let token = unwrapped(value)?;
        let signed = Jws::parse(&token)?;
        let checked = match circumstances.keys.get(self.issuer) {
            Some(keys) => keys.check(&signed),
            None => Err(TokenError::UnknownKey),
        };
        let claims = signed.claims()?;
        match checked {
            Ok(()) => accept(&token, &claims, &self.rules, circumstances),
            // Only for a token that would be accepted is it worth asking for new keys.
            Err(TokenError::UnknownKey) => {
                self.rules.check(&claims)?;
                jwt::check_times(
                    &claims,
                    circumstances.now_ms,
                    circumstances.claims.require_exp,
                )?;
                Ok(Verdict::KeysNeeded(self.issuer))
            }
            Err(error) => Err(error.into()),
        }
    }
}

/// Who it is, by the claims of a token whose signature is right.
fn accept(
    token: &str,
    claims: &Claims,
    rules: &TokenRules,
    circumstances: &Circumstances<'_>,
) -> Result<Verdict, IdentityError> {
    rules.check(claims)?;
    let credential = || Fingerprint::of(token);
    let identity = circumstances
        .claims
        .identity(claims, credential, circumstances.now_ms)?;
    Ok(Verdict::Identity(identity))
}

/// The token in a cookie. Supabase keeps it in JSON in base64url; the prefix cannot be mistaken for a
/// token, whose header is JSON.
fn unwrapped(value: &str) -> Result<Cow<'_, str>, TokenError> {
    let Some(encoded) = value.strip_prefix("base64-") else {
        return Ok(Cow::Borrowed(value));
    };
    let session = jwt::object(encoded)?;
    match session.get("access_token") {
        Some(Value::String(token)) => Ok(Cow::Owned(token.clone())),
        _ => Err(TokenError::Malformed),
    }
}
