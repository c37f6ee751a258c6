//! JSON web tokens: compact JWS with HS256 (RFC 7515, RFC 7519), strictly.
//!
//! Accepted is one spelling only: three parts of base64url without padding and without stray bits.
//! The algorithm is ours to name; whatever else a header says about keys is not looked at. Which
//! claim is the user is decided in `identity`.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Map, Value};

use crate::Secret;
use crate::secret::is_equal;

/// The longest token that is looked at.
pub const TOKEN_BYTES_MAX: usize = 16 * 1024;

/// How far the clocks of the application and of this node may differ, in milliseconds: what Auth.js,
/// Better Auth and Auth0 allow.
pub const SKEW_MS: u64 = 15_000;

/// The claims of a token whose signature is right. Nothing else about them has been checked.
pub type Claims = Map<String, Value>;

/// Why a token is not accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum JwtError {
    /// Not three parts of canonical base64url, of which the first two are JSON objects, or too long.
    Malformed,
    /// Another algorithm than HS256.
    Algorithm,
    /// The header demands an extension that is not known here (RFC 7515, 4.1.11).
    Critical,
    /// No secret made this signature.
    Signature,
    /// The token has ended, or its end is no number.
    Expired,
    /// The token has no end, and one is required.
    NoExpiry,
    /// The token is not valid yet, or its beginning is no number.
    NotYet,
}

/// Checks the form and the signature of a token against each secret, and gives its claims.
///
/// # Errors
///
/// As [`JwtError`] says; the claims are not looked at.
pub fn verify_hs256(token: &str, secrets: &[Secret]) -> Result<Claims, JwtError> {
    if token.len() > TOKEN_BYTES_MAX {
        return Err(JwtError::Malformed);
    }
    let (signed, signature) = token.rsplit_once('.').ok_or(JwtError::Malformed)?;
    let (header, payload) = signed.split_once('.').ok_or(JwtError::Malformed)?;
    if payload.contains('.') {
        return Err(JwtError::Malformed);
    }
    check_header(&object(header)?)?;
    let signature = URL_SAFE_NO_PAD
        .decode(signature)
        .map_err(|_| JwtError::Malformed)?;
    // Every secret is tried, so that the time says nothing about which of them it was.
    let is_signed = secrets.iter().fold(false, |found, secret| {
        is_equal(&secret.hmac_sha256(signed.as_bytes()), &signature) | found
    });
    if is_signed {
        object(payload)
    } else {
        Err(JwtError::Signature)
    }
}

/// Checks `exp` and `nbf` (RFC 7519, 4.1) with [`SKEW_MS`], and gives the end, in milliseconds since
/// 1970; `None` for a token that has none, where that is allowed.
///
/// # Errors
///
/// `Expired`, `NoExpiry` or `NotYet`.
pub fn check_times(
    claims: &Claims,
    now_ms: u64,
    require_exp: bool,
) -> Result<Option<u64>, JwtError> {
    if let Some(not_before) = claims.get("nbf") {
        let not_before_ms = milliseconds(not_before).ok_or(JwtError::NotYet)?;
        if not_before_ms > now_ms.saturating_add(SKEW_MS) {
            return Err(JwtError::NotYet);
        }
    }
    let Some(expiry) = claims.get("exp") else {
        return if require_exp {
            Err(JwtError::NoExpiry)
        } else {
            Ok(None)
        };
    };
    let expiry_ms = milliseconds(expiry).ok_or(JwtError::Expired)?;
    if expiry_ms.saturating_add(SKEW_MS) <= now_ms {
        return Err(JwtError::Expired);
    }
    Ok(Some(expiry_ms))
}

/// Makes a token: these claims, signed.
pub fn sign_hs256(claims: &Claims, secret: &Secret) -> String {
    let header = URL_SAFE_NO_PAD.encode(br#"{"alg":"HS256","typ":"JWT"}"#);
    let payload = serde_json::to_vec(claims).expect("a map of JSON values is JSON");
    let signed = format!("{header}.{}", URL_SAFE_NO_PAD.encode(payload));
    let signature = URL_SAFE_NO_PAD.encode(secret.hmac_sha256(signed.as_bytes()));
    format!("{signed}.{signature}")
}

impl fmt::Display for JwtError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Malformed => "the session is no token as this server reads it",
            Self::Algorithm => "the session's token is signed with an algorithm other than HS256",
            Self::Critical => "the session's token demands an extension that is not known",
            Self::Signature => "the session's token was not signed with a secret of this server",
            Self::Expired => "the session has ended",
            Self::NoExpiry => "the session's token has no end (exp)",
            Self::NotYet => "the session is not valid yet",
        })
    }
}

impl std::error::Error for JwtError {}

fn check_header(header: &Map<String, Value>) -> Result<(), JwtError> {
    if header.contains_key("crit") {
        return Err(JwtError::Critical);
    }
    match header.get("alg").and_then(Value::as_str) {
        Some("HS256") => Ok(()),
        _ => Err(JwtError::Algorithm),
    }
}

/// Decodes a part. The decoder refuses padding and stray bits: a token has one spelling.
fn object(part: &str) -> Result<Map<String, Value>, JwtError> {
    let json = URL_SAFE_NO_PAD
        .decode(part)
        .map_err(|_| JwtError::Malformed)?;
    serde_json::from_slice(&json).map_err(|_| JwtError::Malformed)
}

/// A `NumericDate` (RFC 7519, 2): seconds since 1970, possibly with a fraction.
fn milliseconds(value: &Value) -> Option<u64> {
    let ms = value.as_f64()? * 1_000.0;
    // The cast saturates, which for a time beyond all times is as good.
    (ms >= 0.0).then_some(ms as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW_MS: u64 = 1_800_000_000_000;

    fn claims(json: &str) -> Claims {
        serde_json::from_str(json).unwrap()
    }

    #[test]
    fn what_is_signed_is_verified_by_any_secret_of_the_list() {
        let (old, new) = (Secret::new("old secret"), Secret::new("new secret"));
        let claims = claims(r#"{"sub":"ada","exp":1}"#);
        let token = sign_hs256(&claims, &old);
        assert_eq!(verify_hs256(&token, &[new.clone(), old]), Ok(claims));
        assert_eq!(verify_hs256(&token, &[new]), Err(JwtError::Signature));
        assert_eq!(verify_hs256(&token, &[]), Err(JwtError::Signature));
    }

    #[test]
    fn every_single_change_of_a_token_is_refused() {
        let secret = [Secret::new("secret")];
        let token = sign_hs256(&claims(r#"{"sub":"ada"}"#), &secret[0]);
        for at in 0..token.len() {
            for byte in [b'A', b'.', b'=', b'_', b' '] {
                let mut bytes = token.clone().into_bytes();
                if bytes[at] != byte {
                    bytes[at] = byte;
                    let changed = String::from_utf8(bytes).unwrap();
                    assert!(verify_hs256(&changed, &secret).is_err(), "{changed}");
                }
            }
            assert!(verify_hs256(&token[..at], &secret).is_err());
        }
    }

    #[test]
    fn what_is_no_token_is_refused() {
        let secret = [Secret::new("secret")];
        let long = "a".repeat(TOKEN_BYTES_MAX + 1);
        for text in [
            "",
            ".",
            "..",
            "...",
            "a.b",
            "é.é.é",
            "e30.e30.",
            "bnVsbA.e30.AA",
            &long,
        ] {
            assert!(verify_hs256(text, &secret).is_err(), "{text:?}");
        }
    }

    #[test]
    fn times_are_heeded_with_a_skew() {
        let at = |offset_s: i64| NOW_MS as i64 / 1_000 + offset_s;
        let check = |name: &str, offset_s: i64| {
            check_times(
                &claims(&format!(r#"{{"{name}":{}}}"#, at(offset_s))),
                NOW_MS,
                false,
            )
        };
        assert_eq!(check("exp", 60), Ok(Some(NOW_MS + 60_000)));
        assert_eq!(check("exp", -14), Ok(Some(NOW_MS - 14_000)));
        assert_eq!(check("exp", -15), Err(JwtError::Expired));
        assert_eq!(check("nbf", 15), Ok(None));
        assert_eq!(check("nbf", 16), Err(JwtError::NotYet));
    }

    #[test]
    fn times_of_another_type_are_refused() {
        for text in [r#""4102444800""#, "null", "true", "-1", "[]"] {
            let exp = claims(&format!(r#"{{"exp":{text}}}"#));
            assert_eq!(
                check_times(&exp, NOW_MS, false),
                Err(JwtError::Expired),
                "{text}"
            );
            let nbf = claims(&format!(r#"{{"nbf":{text}}}"#));
            assert_eq!(
                check_times(&nbf, NOW_MS, false),
                Err(JwtError::NotYet),
                "{text}"
            );
        }
        let endless = claims(r#"{"exp":1e300}"#);
        assert_eq!(check_times(&endless, NOW_MS, true), Ok(Some(u64::MAX)));
    }
}
