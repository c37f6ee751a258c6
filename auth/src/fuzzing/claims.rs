//! Claims, in every form of a session that holds some: sealed and signed here with the secrets of the
//! tests, so that what is tried is what stands behind the cryptography. Whatever the form, the same
//! claims say the same; and what is believed of them is what another reader of JSON finds there.

use std::sync::OnceLock;

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use aws_lc_rs::cipher::{AES_256, EncryptionContext, PaddedBlockEncryptingKey, UnboundCipherKey};
use aws_lc_rs::iv::FixedLength;
use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair as _};
use aws_lc_rs::{hkdf, hmac};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::Value;

use super::{NOW_MS, SECRETS, check_identity, verifier};
use crate::cookie::Cookies;
use crate::jwks::Jwks;
use crate::limits::SKEW_MS;
use crate::{
    AUTH_JS_COOKIE, AUTH0_COOKIE, Identity, NEXT_AUTH_COOKIE, Presented, Verdict, Verifier,
};

/// More claims than in any cookie; beyond, the forms differ in what they have room for.
const CLAIMS_BYTES_MAX: usize = 16 * 1024;

/// A form in which claims come.
struct Form {
    name: &'static str,
    /// The name of the cookie; a bearer token has none.
    cookie: Option<&'static str>,
    seal: fn(&[u8]) -> String,
}

/// The forms that keep the user where the configuration says.
const FORMS: [Form; 7] = [
    Form {
        name: "a bearer token with HS256",
        cookie: None,
        seal: hs256,
    },
    Form {
        name: "a cookie with HS256",
        cookie: Some("session"),
        seal: hs256,
    },
    Form {
        name: "a token within JSON",
        cookie: Some("session"),
        seal: |claims| wrapped(&hs256(claims)),
    },
    Form {
        name: "a bearer token of an issuer",
        cookie: None,
        seal: ed25519,
    },
    Form {
        name: "NextAuth.js 4",
        cookie: Some(NEXT_AUTH_COOKIE),
        seal: |claims| gcm("", "NextAuth.js Generated Encryption Key", 0, claims),
    },
    Form {
        name: "Auth.js 5",
        cookie: Some(AUTH_JS_COOKIE),
        seal: |claims| cbc(AUTH_JS_COOKIE, &auth_js_info(), claims),
    },
    Form {
        name: "Auth.js 5 with A256GCM",
        cookie: Some(AUTH_JS_COOKIE),
        seal: |claims| gcm(AUTH_JS_COOKIE, &auth_js_info(), 1, claims),
    },
];

/// It keeps the user in a place of its own.
const AUTH0: Form = Form {
    name: "Auth0",
    cookie: Some(AUTH0_COOKIE),
    seal: |claims| gcm("", "JWE CEK", 0, claims),
};

/// Claims in every form: whatever bytes they are.
pub fn claims(input: &[u8]) {
    if input.len() > CLAIMS_BYTES_MAX {
        return;
    }
    let read: Value = serde_json::from_slice(input).unwrap_or_default();
    // Only a signed token says that its sign-in is not complete.
    let is_pending = read["sts"] == "pending";
    let first = FORMS[0].identity(input);
    for form in &FORMS {
        let identity = form.identity(input);
        if let Some(identity) = &identity {
            check(
                identity,
                &[&read["sub"], &read["id"], &read["user"]["id"]],
                &read,
            );
        }
        let is_same = identity.map(without_session) == first.clone().map(without_session);
        assert!(is_same || is_pending, "{} says otherwise", form.name);
    }
    if let Some(identity) = AUTH0.identity(input) {
        check(&identity, &[&read["user"]["sub"]], &read);
    }
}

/// Whoever is believed to be there is there, and for as long.
fn check(identity: &Identity, places: &[&Value], read: &Value) {
    check_identity(identity);
    let is_said = |value: &Value| match value {
        Value::String(text) => *text == identity.user,
        Value::Number(number) => number.to_string() == identity.user,
        _ => false,
    };
    assert!(places.iter().any(|place| is_said(place)), "{identity:?}");
    let expires_ms = identity.expires_ms.expect("an end is demanded");
    let said_ms = read["exp"].as_f64().expect("an end is a number") * 1_000.0;
    assert!((said_ms - expires_ms as f64).abs() < 1.0, "{identity:?}");
    assert!(expires_ms + SKEW_MS > NOW_MS);
}

/// A session without an id of its own goes by its credential, which every form has another of.
fn without_session(identity: Identity) -> Identity {
    Identity {
        session: String::new(),
        ..identity
    }
}

impl Form {
    /// Who presents these claims.
    fn identity(&self, claims: &[u8]) -> Option<Identity> {
        static VERIFIER: OnceLock<Verifier> = OnceLock::new();
        let verifier = VERIFIER.get_or_init(verifier);
        let token = (self.seal)(claims);
        let field = self.cookie.map(|name| format!("{name}={token}"));
        let presented = Presented {
            cookies: Cookies::new(field.as_deref()),
            bearer: field.is_none().then_some(token.as_str()),
        };
        match verifier.verify(&presented, &issuer().1, NOW_MS) {
            Ok(Verdict::Identity(identity)) => Some(identity),
            Ok(_) => panic!("{} raises a question", self.name),
            Err(_) => None,
        }
    }
}

fn auth_js_info() -> String {
    format!("Auth.js Generated Encryption Key ({AUTH_JS_COOKIE})")
}

fn encode(bytes: impl AsRef<[u8]>) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

fn hs256(claims: &[u8]) -> String {
    let signed = format!("{}.{}", encode(r#"{"alg":"HS256"}"#), encode(claims));
    let key = hmac::Key::new(hmac::HMAC_SHA256, SECRETS[3].as_bytes());
    let signature = hmac::sign(&key, signed.as_bytes());
    format!("{signed}.{}", encode(signature))
}

/// An issuer with one key, and what it publishes.
fn issuer() -> &'static (Ed25519KeyPair, [Jwks; 1]) {
    static ISSUER: OnceLock<(Ed25519KeyPair, [Jwks; 1])> = OnceLock::new();
    ISSUER.get_or_init(|| {
        let pair = Ed25519KeyPair::from_seed_unchecked(&[7; 32]).expect("a seed has 32 bytes");
        let x = encode(pair.public_key());
        let set = format!(r#"{{"keys":[{{"kty":"OKP","crv":"Ed25519","x":"{x}"}}]}}"#);
        let set = Jwks::parse(set.as_bytes()).expect("it is a set");
        (pair, [set])
    })
}

fn ed25519(claims: &[u8]) -> String {
    let signed = format!("{}.{}", encode(r#"{"alg":"EdDSA"}"#), encode(claims));
    let signature = issuer().0.sign(signed.as_bytes());
    format!("{signed}.{}", encode(signature))
}

/// As Supabase keeps a token in a cookie.
fn wrapped(token: &str) -> String {
    let json = format!(r#"{{"access_token":"{token}"}}"#);
    format!("base64-{}", encode(json))
}

/// RFC 7518, 5.3, with a key derived from the secret of this number.
fn gcm(salt: &str, info: &str, secret: usize, claims: &[u8]) -> String {
    let key = derive(salt, info, secret, 32);
    let key = UnboundKey::new(&AES_256_GCM, &key).expect("the key has 32 bytes");
    let header = encode(r#"{"alg":"dir","enc":"A256GCM"}"#);
    let (iv, mut content) = ([7; 12], claims.to_vec());
    let tag = LessSafeKey::new(key)
        .seal_in_place_separate_tag(
            Nonce::assume_unique_for_key(iv),
            Aad::from(header.as_bytes()),
            &mut content,
        )
        .expect("it encrypts");
    format!(
        "{header}..{}.{}.{}",
        encode(iv),
        encode(content),
        encode(tag)
    )
}

/// RFC 7518, 5.2.2.1.
fn cbc(salt: &str, info: &str, claims: &[u8]) -> String {
    let key = derive(salt, info, 1, 64);
    let (mac, cipher) = key.split_at(32);
    let header = encode(r#"{"alg":"dir","enc":"A256CBC-HS512"}"#);
    let (iv, mut content) = ([7; 16], claims.to_vec());
    let cipher = UnboundCipherKey::new(&AES_256, cipher).expect("the key has 32 bytes");
    PaddedBlockEncryptingKey::cbc_pkcs7(cipher)
        .and_then(|key| {
            let context = EncryptionContext::Iv128(FixedLength::from(iv));
            key.less_safe_encrypt(&mut content, context)
        })
        .expect("it encrypts");
    let mut signing = hmac::Context::with_key(&hmac::Key::new(hmac::HMAC_SHA512, mac));
    signing.update(header.as_bytes());
    signing.update(&iv);
    signing.update(&content);
    signing.update(&(header.len() as u64 * 8).to_be_bytes());
    let tag = &signing.sign().as_ref()[..32].to_vec();
    format!(
        "{header}..{}.{}.{}",
        encode(iv),
        encode(content),
        encode(tag)
    )
}

fn derive(salt: &str, info: &str, secret: usize, bytes: usize) -> Vec<u8> {
    struct Length(usize);
    impl hkdf::KeyType for Length {
        fn len(&self) -> usize {
            self.0
        }
    }
    let mut key = vec![0; bytes];
    hkdf::Salt::new(hkdf::HKDF_SHA256, salt.as_bytes())
        .extract(SECRETS[secret].as_bytes())
        .expand(&[info.as_bytes()], Length(bytes))
        .and_then(|derived| derived.fill(&mut key))
        .expect("HKDF gives up to 255 hashes");
    key
}
