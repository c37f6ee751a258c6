//! Sets of public keys (RFC 7517) and the tokens that they verify: RS256, ES256, EdDSA.
//!
//! The algorithm is the key's. Keys for other purposes, of other kinds, or that are no keys are
//! passed over, as RFC 7517 wants it; a symmetric key in a published set is nobody's secret, and is
//! passed over too. When a set is fetched is decided in `refresh.rs`.

mod refresh;

use std::fmt;

use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED, ED25519, ParsedPublicKey, RSA_PKCS1_2048_8192_SHA256,
    RsaPublicKeyComponents,
};
use serde_json::{Map, Value};

use crate::jwt::{Jws, bytes};
use crate::limits::{JWKS_BYTES_MAX, JWKS_KEYS_MAX};
use crate::{TokenError, json};

pub use refresh::{Refresh, UnknownKey};

/// A set of public keys. An empty one verifies nothing.
#[derive(Default)]
pub struct Jwks {
    keys: Vec<PublicKey>,
}

/// Why a text is no set of keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum JwksError {
    /// Longer than [`JWKS_BYTES_MAX`].
    TooLong,
    /// More than [`JWKS_KEYS_MAX`] keys.
    TooMany,
    /// Not an object with the member `keys`, a list.
    Malformed,
    /// Not one of the keys can be used here.
    NoKey,
}

struct PublicKey {
    kid: Option<String>,
    algorithm: Algorithm,
    key: ParsedPublicKey,
}

/// What a key signs with.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Algorithm {
    Rs256,
    Es256,
    EdDsa,
}

impl Jwks {
    /// Reads a set.
    ///
    /// # Errors
    ///
    /// As [`JwksError`] says. A single key that cannot be used is no error.
    pub fn parse(text: &[u8]) -> Result<Self, JwksError> {
        if text.len() > JWKS_BYTES_MAX {
            return Err(JwksError::TooLong);
        }
        let set = json::object(text).ok_or(JwksError::Malformed)?;
        let entries = set.get("keys").and_then(Value::as_array);
        let entries = entries.ok_or(JwksError::Malformed)?;
        if entries.len() > JWKS_KEYS_MAX {
            return Err(JwksError::TooMany);
        }
        let objects = entries.iter().filter_map(Value::as_object);
        let keys: Vec<_> = objects.filter_map(PublicKey::parse).collect();
        match keys.is_empty() {
            true => Err(JwksError::NoKey),
            false => Ok(Self { keys }),
        }
    }

    /// How many keys can be used.
    pub fn len(&self) -> usize {
        self.keys.len()
    }

    /// Whether there are none: the set was never fetched.
    pub fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }

    /// Checks the signature of a token.
    ///
    /// `UnknownKey` says that a newer set may know better; every other error is final.
    pub(crate) fn check(&self, token: &Jws<'_>) -> Result<(), TokenError> {
        let algorithm = Algorithm::named(&token.algorithm).ok_or(TokenError::Algorithm)?;
        let key = match &token.kid {
            Some(kid) => self.named(kid, algorithm)?,
            None => self.only(algorithm)?,
        };
        key.key
            .verify_sig(token.signed.as_bytes(), &token.signature)
            .map_err(|_| TokenError::Signature)
    }

    /// The key of this name. The same name may be a key of each kind (RFC 7517, 4.5).
    fn named(&self, kid: &str, algorithm: Algorithm) -> Result<&PublicKey, TokenError> {
        let mut is_known = false;
        for key in &self.keys {
            if key.kid.as_deref() == Some(kid) {
                if key.algorithm == algorithm {
                    return Ok(key);
                }
                is_known = true;
            }
        }
        Err(match is_known {
            true => TokenError::Algorithm,
            false => TokenError::UnknownKey,
        })
    }

    /// The key of a token that names none: there must not be a choice.
    fn only(&self, algorithm: Algorithm) -> Result<&PublicKey, TokenError> {
        let mut keys = self.keys.iter().filter(|key| key.algorithm == algorithm);
        match (keys.next(), keys.next()) {
            (Some(key), None) => Ok(key),
            _ => Err(TokenError::UnknownKey),
        }
    }
}

impl PublicKey {
    /// Reads a key that signs tokens; `None` for any other.
    fn parse(object: &Map<String, Value>) -> Option<Self> {
        let text = |name| object.get(name).and_then(Value::as_str);
        let is_for_signatures = match object.get("use") {
            None => true,
            Some(purpose) => purpose == "sig",
        };
        let is_for_verifying = match object.get("key_ops") {
            None => true,
            Some(purposes) => purposes.as_array()?.iter().any(|one| one == "verify"),
        };
        if !is_for_signatures || !is_for_verifying {
            return None;
        }
        let member = |name| bytes(text(name)?).ok();
        let (algorithm, key) = match (text("kty")?, text("crv")) {
            ("RSA", _) => (Algorithm::Rs256, rsa(&member("n")?, &member("e")?)?),
            ("EC", Some("P-256")) => (Algorithm::Es256, p256(&member("x")?, &member("y")?)?),
            ("OKP", Some("Ed25519")) => (Algorithm::EdDsa, ed25519(&member("x")?)?),
            _ => return None,
        };
        let is_agreed = match object.get("alg") {
            None => true,
            Some(named) => named.as_str().and_then(Algorithm::named) == Some(algorithm),
        };
        let kid = match object.get("kid") {
            None => None,
            Some(kid) => Some(kid.as_str()?.to_owned()),
        };
        is_agreed.then_some(Self {
            kid,
            algorithm,
            key,
        })
    }
}

impl Algorithm {
    fn named(name: &str) -> Option<Self> {
        match name {
            "RS256" => Some(Self::Rs256),
            "ES256" => Some(Self::Es256),
            // The name by which RFC 9864 tells one curve from the other.
            "EdDSA" | "Ed25519" => Some(Self::EdDsa),
            _ => None,
        }
    }
}

impl fmt::Display for JwksError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooLong => write!(f, "the set of keys is longer than {JWKS_BYTES_MAX} bytes"),
            Self::TooMany => write!(f, "the set has more than {JWKS_KEYS_MAX} keys"),
            Self::Malformed => f.write_str(
                "this is no set of keys: it must be a JSON object whose member \"keys\" is a list",
            ),
            Self::NoKey => f.write_str(
                "the set has no key for RS256, ES256 or EdDSA signatures; is this the address of \
                 the issuer's JWKS?",
            ),
        }
    }
}

impl std::error::Error for JwksError {}

fn rsa(modulus: &[u8], exponent: &[u8]) -> Option<ParsedPublicKey> {
    // The least and the greatest that the verification takes (RFC 7518, 3.3 wants 2048 bits).
    if !(256..=1024).contains(&modulus.len()) || exponent.len() > 4 {
        return None;
    }
    let components = RsaPublicKeyComponents {
        n: modulus,
        e: exponent,
    };
    components
        .to_parsed_public_key(&RSA_PKCS1_2048_8192_SHA256)
        .ok()
}

fn p256(x: &[u8], y: &[u8]) -> Option<ParsedPublicKey> {
    if x.len() != 32 || y.len() != 32 {
        return None;
    }
    let point = [&[4], x, y].concat();
    ParsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, point).ok()
}

fn ed25519(x: &[u8]) -> Option<ParsedPublicKey> {
    (x.len() == 32)
        .then(|| ParsedPublicKey::new(&ED25519, x).ok())
        .flatten()
}
