//! JSON web tokens: compact JWS (RFC 7515, RFC 7519), strictly, and the times in their claims.
//!
//! Accepted is one spelling only: three parts of base64url without padding and without stray bits.
//! The algorithm is the key's to name, never the token's: what the header says about it must agree,
//! and whatever else it says about keys (`jwk`, `jku`, `x5u`, `x5c`) is not looked at. Keys in sets
//! are in `jwks.rs`; which claim is the user is decided in `identity.rs`.

use std::borrow::Cow;

use aws_lc_rs::hmac;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Map, Value};

use crate::limits::{SKEW_MS, TIME_MS_MAX, TOKEN_BYTES_MAX};
use crate::secret::is_equal;
use crate::{Secret, TokenError, json};

/// The headers that nearly every token with HS256 has, as they are sent: `{"alg":"HS256","typ":"JWT"}` and
/// `{"alg":"HS256"}`. They say what is read from them, and need not be read.
const USUAL_HEADERS: [&str; 2] = [
    "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9",
    "eyJhbGciOiJIUzI1NiJ9",
];

/// The claims of a token whose signature is right. Nothing else about them has been checked.
pub type Claims = Map<String, Value>;

/// A token that is well formed; nothing about it is proved.
pub(crate) struct Jws<'a> {
    /// The algorithm that its header names.
    pub(crate) algorithm: Cow<'static, str>,
    /// The key that its header names.
    pub(crate) kid: Option<String>,
    /// What is signed: the header and the payload as they came.
    pub(crate) signed: &'a str,
    /// The signature.
    pub(crate) signature: Vec<u8>,
    payload: &'a str,
}

impl<'a> Jws<'a> {
    /// Reads a token.
    pub(crate) fn parse(token: &'a str) -> Result<Self, TokenError> {
        if token.len() > TOKEN_BYTES_MAX {
            return Err(TokenError::Malformed);
        }
        let (signed, signature) = token.rsplit_once('.').ok_or(TokenError::Malformed)?;
        let (header, payload) = signed.split_once('.').ok_or(TokenError::Malformed)?;
        if payload.contains('.') {
            return Err(TokenError::Malformed);
        }
        let (algorithm, kid) = read_header(header)?;
        Ok(Self {
            algorithm,
            kid,
            signed,
            signature: bytes(signature)?,
            payload,
        })
    }

    /// The claims, for whoever has checked the signature, or only wants to know whether that is worth
    /// the trouble.
    pub(crate) fn claims(&self) -> Result<Claims, TokenError> {
        object(self.payload)
    }

    /// Checks that the signature was made with one of these keys, with HS256.
    pub(crate) fn check_hs256(&self, keys: &[hmac::Key]) -> Result<(), TokenError> {
        if self.algorithm != "HS256" {
            return Err(TokenError::Algorithm);
        }
        // Every key is tried, so that the time says nothing about which of them it was.
        let is_signed = keys.iter().fold(false, |found, key| {
            let tag = hmac::sign(key, self.signed.as_bytes());
            is_equal(tag.as_ref(), &self.signature) | found
        });
        is_signed.then_some(()).ok_or(TokenError::Signature)
    }
}

/// Checks the form and the signature of a token against each secret, and gives its claims.
///
/// # Errors
///
/// As [`TokenError`] says; the claims are not looked at.
pub fn verify_hs256(token: &str, secrets: &[Secret]) -> Result<Claims, TokenError> {
    let token = Jws::parse(token)?;
    let keys: Vec<hmac::Key> = secrets.iter().map(Secret::hmac_key).collect();
    token.check_hs256(&keys)?;
    token.claims()
}

/// When a token was issued and when it ends, in milliseconds since 1970, where it says so.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Times {
    /// `iat`.
    pub issued_ms: Option<u64>,
    /// `exp`.
    pub expires_ms: Option<u64>,
}

/// Checks `exp`, `nbf` and `iat` (RFC 7519, 4.1) with [`SKEW_MS`].
///
/// # Errors
///
/// `Expired`, `NoExpiry`, `NotYet` or `Issued`.
pub fn check_times(claims: &Claims, now_ms: u64, require_exp: bool) -> Result<Times, TokenError> {
    let latest_ms = now_ms.saturating_add(SKEW_MS);
    let not_later = |name: &str, error: TokenError| match claims.get(name) {
        None => Ok(None),
        Some(value) => match milliseconds(value) {
            Some(ms) if ms <= latest_ms => Ok(Some(ms)),
            _ => Err(error),
        },
    };
    not_later("nbf", TokenError::NotYet)?;
    let issued_ms = not_later("iat", TokenError::Issued)?;
    let expires_ms = match claims.get("exp") {
        None if require_exp => return Err(TokenError::NoExpiry),
        None => None,
        Some(value) => {
            let ms = milliseconds(value).ok_or(TokenError::Expired)?;
            if ms.saturating_add(SKEW_MS) <= now_ms {
                return Err(TokenError::Expired);
            }
            Some(ms)
        }
    };
    Ok(Times {
        issued_ms,
        expires_ms,
    })
}

/// Makes a token: these claims, signed.
pub fn sign_hs256(claims: &Claims, secret: &Secret) -> String {
    let header = URL_SAFE_NO_PAD.encode(br#"{"alg":"HS256","typ":"JWT"}"#);
    let payload = serde_json::to_vec(claims).expect("a map of JSON values is JSON");
    let signed = format!("{header}.{}", URL_SAFE_NO_PAD.encode(payload));
    let signature = URL_SAFE_NO_PAD.encode(secret.hmac_sha256(signed.as_bytes()));
    format!("{signed}.{signature}")
}

/// The algorithm and the key that a header names.
fn read_header(header: &str) -> Result<(Cow<'static, str>, Option<String>), TokenError> {
    if USUAL_HEADERS.contains(&header) {
        return Ok((Cow::Borrowed("HS256"), None));
    }
    let header = object(header)?;
    check_extensions(&header)?;
    let algorithm = text(&header, "alg")?.ok_or(TokenError::Algorithm)?;
    Ok((Cow::Owned(algorithm), text(&header, "kid")?))
}

/// An extension that must be understood is not (RFC 7515, 4.1.11): there is none that we know.
pub(crate) fn check_extensions(header: &Map<String, Value>) -> Result<(), TokenError> {
    match header.contains_key("crit") {
        true => Err(TokenError::Critical),
        false => Ok(()),
    }
}

/// A member of a header that is text, if it is there.
pub(crate) fn text(header: &Map<String, Value>, name: &str) -> Result<Option<String>, TokenError> {
    match header.get(name) {
        None => Ok(None),
        Some(Value::String(text)) => Ok(Some(text.clone())),
        Some(_) => Err(TokenError::Malformed),
    }
}

/// Decodes a part that is an object.
pub(crate) fn object(part: &str) -> Result<Map<String, Value>, TokenError> {
    json::object(&bytes(part)?).ok_or(TokenError::Malformed)
}

/// Decodes a part. The decoder refuses padding and stray bits: a token has one spelling.
pub(crate) fn bytes(part: &str) -> Result<Vec<u8>, TokenError> {
    URL_SAFE_NO_PAD
        .decode(part)
        .map_err(|_| TokenError::Malformed)
}

/// A `NumericDate` (RFC 7519, 2): seconds since 1970, possibly with a fraction.
fn milliseconds(value: &Value) -> Option<u64> {
    let ms = value.as_f64()? * 1_000.0;
    // The cast drops a fraction of a millisecond and nothing else within these bounds.
    (0.0..=TIME_MS_MAX as f64)
        .contains(&ms)
        .then_some(ms as u64)
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
        assert_eq!(verify_hs256(&token, &[new]), Err(TokenError::Signature));
        assert_eq!(verify_hs256(&token, &[]), Err(TokenError::Signature));
    }

    #[test]
    fn the_usual_headers_are_what_reading_them_gives() {
        for header in USUAL_HEADERS {
            let read = object(header).unwrap();
            assert_eq!(text(&read, "alg"), Ok(Some("HS256".to_owned())));
            assert!(read.keys().all(|name| name == "alg" || name == "typ"));
            assert_eq!(read_header(header), Ok((Cow::Borrowed("HS256"), None)));
        }
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
            let json = format!(r#"{{"{name}":{}}}"#, at(offset_s));
            let times = check_times(&claims(&json), NOW_MS, false)?;
            Ok((times.issued_ms, times.expires_ms))
        };
        assert_eq!(check("exp", 60), Ok((None, Some(NOW_MS + 60_000))));
        assert_eq!(check("exp", -14), Ok((None, Some(NOW_MS - 14_000))));
        assert_eq!(check("exp", -15), Err(TokenError::Expired));
        assert_eq!(check("nbf", 15), Ok((None, None)));
        assert_eq!(check("nbf", 16), Err(TokenError::NotYet));
        assert_eq!(check("iat", 15), Ok((Some(NOW_MS + 15_000), None)));
        assert_eq!(check("iat", 16), Err(TokenError::Issued));
    }

    #[test]
    fn times_of_another_type_are_refused() {
        for text in [
            r#""4102444800""#,
            "null",
            "true",
            "-1",
            "[]",
            "1e300",
            "253402300800",
            "9007199254740991",
        ] {
            for (name, error) in [
                ("exp", TokenError::Expired),
                ("nbf", TokenError::NotYet),
                ("iat", TokenError::Issued),
            ] {
                let claims = claims(&format!(r#"{{"{name}":{text}}}"#));
                let checked = check_times(&claims, NOW_MS, false);
                assert_eq!(checked, Err(error), "{name} {text}");
            }
        }
    }
}
