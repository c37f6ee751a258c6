//! Tokens as an issuer makes them, and as attackers do.

use auth::jwks::Jwks;
use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair as _,
};
use aws_lc_rs::{hkdf, hmac, rand};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

pub(crate) fn encode(bytes: impl AsRef<[u8]>) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

/// What is signed: the header and the claims.
pub(crate) fn unsigned(header: &str, claims: &str) -> String {
    format!("{}.{}", encode(header), encode(claims))
}

/// A token with HS256 under any key, whatever its header says.
pub(crate) fn with_hmac(header: &str, claims: &str, key: &[u8]) -> String {
    let signed = unsigned(header, claims);
    let key = hmac::Key::new(hmac::HMAC_SHA256, key);
    let signature = hmac::sign(&key, signed.as_bytes());
    format!("{signed}.{}", encode(signature))
}

/// An issuer with a key on the curve P-256.
pub(crate) struct Issuer(EcdsaKeyPair);

impl Issuer {
    pub(crate) fn new() -> Self {
        let key = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING);
        Self(key.expect("a key can be made"))
    }

    /// The public key, with these members beside it.
    pub(crate) fn jwk(&self, members: &str) -> String {
        let point = self.point();
        let (x, y) = (encode(&point[1..33]), encode(&point[33..]));
        format!(r#"{{"kty":"EC","crv":"P-256","x":"{x}","y":"{y}"{members}}}"#)
    }

    /// The public key as a point of the curve.
    pub(crate) fn point(&self) -> &[u8] {
        self.0.public_key().as_ref()
    }

    pub(crate) fn sign(&self, header: &str, claims: &str) -> String {
        let signed = unsigned(header, claims);
        let signature = self.0.sign(&rand::SystemRandom::new(), signed.as_bytes());
        format!("{signed}.{}", encode(signature.expect("it signs")))
    }
}

/// An Ed25519 key, and its public half.
pub(crate) fn ed25519(members: &str) -> (Ed25519KeyPair, String) {
    let key = Ed25519KeyPair::generate().expect("a key can be made");
    let x = encode(key.public_key());
    let jwk = format!(r#"{{"kty":"OKP","crv":"Ed25519","x":"{x}"{members}}}"#);
    (key, jwk)
}

/// A set of these keys.
pub(crate) fn set(keys: &[&str]) -> [Jwks; 1] {
    [Jwks::parse(format!(r#"{{"keys":[{}]}}"#, keys.join(",")).as_bytes()).expect("it is a set")]
}

/// An encrypted session as NextAuth.js 4 makes it, with any header and any content.
pub(crate) fn next_auth(header: &str, content: &str, secret: &str) -> String {
    let prk = hkdf::Salt::new(hkdf::HKDF_SHA256, b"").extract(secret.as_bytes());
    let info = [b"NextAuth.js Generated Encryption Key".as_slice()];
    let okm = prk.expand(&info, &AES_256_GCM).expect("it has 32 bytes");
    let key = LessSafeKey::new(UnboundKey::from(okm));
    let iv = [7; 12];
    let header = encode(header);
    let mut bytes = content.as_bytes().to_vec();
    let nonce = Nonce::assume_unique_for_key(iv);
    let tag = key
        .seal_in_place_separate_tag(nonce, Aad::from(header.as_bytes()), &mut bytes)
        .expect("it encrypts");
    format!("{header}..{}.{}.{}", encode(iv), encode(bytes), encode(tag))
}
