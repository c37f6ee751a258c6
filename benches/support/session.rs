//! The sessions of the readers' users, as an application's own login would have made them.

use aws_lc_rs::cipher::{AES_256, PaddedBlockEncryptingKey, UnboundCipherKey};
use aws_lc_rs::{hkdf, hmac};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

/// When the sessions end, in seconds since 1970: in the year 2100.
const EXPIRY: u64 = 4_102_444_800;

/// The cookie of Auth.js 5, from whose name its key is derived.
const AUTH_JS_COOKIE: &str = "authjs.session-token";

/// What kind of session the users of a server have.
pub(crate) enum Session {
    /// A token signed with this secret (HS256), as a bearer.
    Jwt(String),
    /// A token that Auth.js 5 has encrypted with this secret (A256CBC-HS512), in its cookie.
    AuthJs(String),
    /// A row of a table, whose token is in a cookie of this name: `token-of-session-` and the user's number.
    Row(String),
}

impl Session {
    /// What [`Self::read`] reads: one word for the kind, and the rest.
    pub(super) fn in_words(&self) -> String {
        match self {
            Self::Jwt(secret) => format!("jwt {secret}"),
            Self::AuthJs(secret) => format!("authjs {secret}"),
            Self::Row(cookie) => format!("row {cookie}"),
        }
    }

    pub(super) fn read(words: &str) -> Self {
        match words.split_once(' ') {
            Some(("jwt", secret)) => Self::Jwt(secret.to_owned()),
            Some(("authjs", secret)) => Self::AuthJs(secret.to_owned()),
            Some(("row", cookie)) => Self::Row(cookie.to_owned()),
            _ => panic!("no such session: {words:?}"),
        }
    }

    /// The field of a request of the user with this number.
    pub(super) fn field(&self, number: usize) -> String {
        match self {
            Self::Jwt(secret) => {
                let claims = claims(number);
                let claims = claims.as_object().expect("it is one");
                let token = auth::jwt::sign_hs256(claims, &auth::Secret::new(secret));
                format!("authorization: Bearer {token}\r\n")
            }
            Self::AuthJs(secret) => {
                let token = encrypted(&claims(number).to_string(), secret);
                format!("cookie: {AUTH_JS_COOKIE}={token}\r\n")
            }
            Self::Row(cookie) => format!("cookie: {cookie}=token-of-session-{number}\r\n"),
        }
    }
}

fn claims(number: usize) -> serde_json::Value {
    serde_json::json!({
        "sub": format!("u{number}"), "iat": 1_700_000_000, "exp": EXPIRY, "jti": number.to_string()
    })
}

/// A token in the manner of `@auth/core/jwt` (RFC 7516, with `dir`; RFC 7518, 5.2.5).
fn encrypted(claims: &str, secret: &str) -> String {
    struct KeyBytes;
    impl hkdf::KeyType for KeyBytes {
        fn len(&self) -> usize {
            64
        }
    }
    let salt = hkdf::Salt::new(hkdf::HKDF_SHA256, AUTH_JS_COOKIE.as_bytes());
    let info = format!("Auth.js Generated Encryption Key ({AUTH_JS_COOKIE})");
    let mut key = [0; 64];
    salt.extract(secret.as_bytes())
        .expand(&[info.as_bytes()], KeyBytes)
        .and_then(|derived| derived.fill(&mut key))
        .expect("it gives 64 bytes");
    let (mac, cipher) = key.split_at(32);
    let cipher = UnboundCipherKey::new(&AES_256, cipher).expect("the key has 32 bytes");
    let cipher = PaddedBlockEncryptingKey::cbc_pkcs7(cipher).expect("AES is a block cipher");
    let mut text = claims.as_bytes().to_vec();
    let context = cipher.encrypt(&mut text).expect("it encrypts");
    let iv: &[u8] = (&context).try_into().expect("CBC has an initial vector");
    let encode = |bytes: &[u8]| URL_SAFE_NO_PAD.encode(bytes);
    let header = encode(br#"{"alg":"dir","enc":"A256CBC-HS512"}"#);
    let bits = (header.len() as u64 * 8).to_be_bytes();
    let signed = [header.as_bytes(), iv, &text, &bits].concat();
    let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA512, mac), &signed);
    let tag = encode(&tag.as_ref()[..32]);
    format!("{header}..{}.{}.{tag}", encode(iv), encode(&text))
}
