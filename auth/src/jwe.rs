//! JSON web encryption with a shared key (RFC 7516; `alg` `dir`), strictly: the sessions of Auth.js
//! and its kin. Keys are derived from the application's secret once, when the node starts.
//!
//! Nothing of a token is decrypted before its authentication tag was found right.

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use aws_lc_rs::cipher::{AES_256, DecryptionContext, PaddedBlockDecryptingKey, UnboundCipherKey};
use aws_lc_rs::iv::FixedLength;
use aws_lc_rs::{digest, hkdf, hmac};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use zeroize::Zeroizing;

use crate::jwt::{Claims, bytes, check_extensions, object, text};
use crate::limits::TOKEN_BYTES_MAX;
use crate::secret::is_equal;
use crate::{Secret, TokenError, json};

/// How the content of a token is encrypted (RFC 7518, 5).
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Encryption {
    /// AES-GCM with a key of 256 bits.
    A256Gcm,
    /// AES-CBC with a key of 256 bits, and HMAC-SHA512 with another.
    A256CbcHs512,
}

/// A key that opens tokens.
pub(crate) struct ContentKey {
    /// Its thumbprint (RFC 7638), by which a token may name it.
    kid: String,
    key: Key,
}

enum Key {
    A256Gcm(Box<LessSafeKey>),
    A256CbcHs512(Box<CbcKey>),
}

/// Two keys in one: of the authentication and of the encryption.
struct CbcKey {
    mac: hmac::Key,
    cipher: PaddedBlockDecryptingKey,
}

/// A token in its parts.
struct Sealed<'a> {
    header: &'a str,
    iv: Vec<u8>,
    ciphertext: Vec<u8>,
    tag: Vec<u8>,
}

impl ContentKey {
    /// Derives a key from a secret (RFC 5869, with SHA-256).
    pub(crate) fn derive(secret: &Secret, salt: &str, info: &str, encryption: Encryption) -> Self {
        let extracted = hkdf::Salt::new(hkdf::HKDF_SHA256, salt.as_bytes()).extract(secret.bytes());
        let mut bytes = Zeroizing::new(vec![0; encryption.key_bytes()]);
        extracted
            .expand(&[info.as_bytes()], Length(bytes.len()))
            .and_then(|derived| derived.fill(&mut bytes))
            .expect("HKDF gives up to 255 hashes");
        let (first, last) = bytes.split_at(encryption.key_bytes() - 32);
        let key = match encryption {
            Encryption::A256Gcm => {
                let key = UnboundKey::new(&AES_256_GCM, last).expect("the key has 32 bytes");
                Key::A256Gcm(Box::new(LessSafeKey::new(key)))
            }
            Encryption::A256CbcHs512 => {
                let key = UnboundCipherKey::new(&AES_256, last).expect("the key has 32 bytes");
                let cipher = PaddedBlockDecryptingKey::cbc_pkcs7(key);
                Key::A256CbcHs512(Box::new(CbcKey {
                    mac: hmac::Key::new(hmac::HMAC_SHA512, first),
                    cipher: cipher.expect("AES is a block cipher"),
                }))
            }
        };
        Self {
            kid: thumbprint(&bytes, encryption),
            key,
        }
    }

    fn encryption(&self) -> Encryption {
        match self.key {
            Key::A256Gcm(_) => Encryption::A256Gcm,
            Key::A256CbcHs512(_) => Encryption::A256CbcHs512,
        }
    }

    /// Opens a token, if this key closed it.
    fn open(&self, sealed: &Sealed<'_>) -> Option<Zeroizing<Vec<u8>>> {
        match &self.key {
            Key::A256Gcm(key) => open_gcm(key, sealed),
            Key::A256CbcHs512(key) => open_cbc(key, sealed),
        }
    }
}

impl Encryption {
    /// How long its key is.
    fn key_bytes(self) -> usize {
        match self {
            Self::A256Gcm => 32,
            Self::A256CbcHs512 => 64,
        }
    }
}

/// Opens a token with whichever of the keys closed it, and gives its claims. Nothing else about them
/// has been checked.
pub(crate) fn open<'k>(
    token: &str,
    keys: impl IntoIterator<Item = &'k ContentKey>,
) -> Result<Claims, TokenError> {
    if token.len() > TOKEN_BYTES_MAX {
        return Err(TokenError::Malformed);
    }
    let mut parts = token.split('.');
    let mut part = || parts.next().ok_or(TokenError::Malformed);
    let (header, wrapped_key) = (part()?, part()?);
    let (iv, ciphertext, tag) = (part()?, part()?, part()?);
    // With `dir` the key is ours, so none is sent (RFC 7516, 5.2).
    if parts.next().is_some() || !wrapped_key.is_empty() {
        return Err(TokenError::Malformed);
    }
    let (encryption, kid) = check_header(header)?;
    let sealed = Sealed {
        header,
        iv: bytes(iv)?,
        ciphertext: bytes(ciphertext)?,
        tag: bytes(tag)?,
    };
    let mut fitting = keys.into_iter().filter(|key| {
        key.encryption() == encryption && kid.as_ref().is_none_or(|kid| *kid == key.kid)
    });
    let content = fitting
        .find_map(|key| key.open(&sealed))
        .ok_or(TokenError::Signature)?;
    json::object(&content).ok_or(TokenError::Malformed)
}

/// Whether the text has the form of such a token: five parts, of which the second is empty.
pub(crate) fn is_sealed(text: &str) -> bool {
    text.bytes().filter(|byte| *byte == b'.').count() == 4
}

fn check_header(header: &str) -> Result<(Encryption, Option<String>), TokenError> {
    let header = object(header)?;
    check_extensions(&header)?;
    // Compressed content could grow without bound, and no library of the field compresses.
    if header.contains_key("zip") || text(&header, "alg")?.as_deref() != Some("dir") {
        return Err(TokenError::Algorithm);
    }
    let encryption = match text(&header, "enc")?.as_deref() {
        Some("A256GCM") => Encryption::A256Gcm,
        Some("A256CBC-HS512") => Encryption::A256CbcHs512,
        _ => return Err(TokenError::Algorithm),
    };
    Ok((encryption, text(&header, "kid")?))
}

/// RFC 7518, 5.3: 96 bits of nonce and 128 of tag, no fewer.
fn open_gcm(key: &LessSafeKey, sealed: &Sealed<'_>) -> Option<Zeroizing<Vec<u8>>> {
    let nonce = Nonce::try_assume_unique_for_key(&sealed.iv).ok()?;
    if sealed.tag.len() != AES_256_GCM.tag_len() {
        return None;
    }
    let mut content = Zeroizing::new([&sealed.ciphertext[..], &sealed.tag].concat());
    let additional = Aad::from(sealed.header.as_bytes());
    let bytes = key
        .open_in_place(nonce, additional, &mut content)
        .ok()?
        .len();
    content.truncate(bytes);
    Some(content)
}

/// RFC 7518, 5.2.2.2: the tag is half of an HMAC over everything, and is looked at first.
fn open_cbc(key: &CbcKey, sealed: &Sealed<'_>) -> Option<Zeroizing<Vec<u8>>> {
    let iv: [u8; 16] = sealed.iv.as_slice().try_into().ok()?;
    let header_bits = sealed.header.len() as u64 * 8;
    let mut signing = hmac::Context::with_key(&key.mac);
    signing.update(sealed.header.as_bytes());
    signing.update(&iv);
    signing.update(&sealed.ciphertext);
    signing.update(&header_bits.to_be_bytes());
    if !is_equal(&signing.sign().as_ref()[..32], &sealed.tag) {
        return None;
    }
    let mut content = Zeroizing::new(sealed.ciphertext.clone());
    let context = DecryptionContext::Iv128(FixedLength::from(iv));
    let bytes = key.cipher.decrypt(&mut content, context).ok()?.len();
    content.truncate(bytes);
    Some(content)
}

/// The thumbprint of a shared key (RFC 7638), with the hash of the key's own length, as Auth.js does.
fn thumbprint(key: &[u8], encryption: Encryption) -> String {
    let algorithm = match encryption {
        Encryption::A256Gcm => &digest::SHA256,
        Encryption::A256CbcHs512 => &digest::SHA512,
    };
    let encoded = Zeroizing::new(URL_SAFE_NO_PAD.encode(key));
    let json = Zeroizing::new(format!(r#"{{"k":"{}","kty":"oct"}}"#, *encoded));
    URL_SAFE_NO_PAD.encode(digest::digest(algorithm, json.as_bytes()))
}

/// The length of what HKDF gives.
struct Length(usize);

impl hkdf::KeyType for Length {
    fn len(&self) -> usize {
        self.0
    }
}
