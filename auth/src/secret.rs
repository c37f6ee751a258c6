//! Secrets: text that proves something. They have no `Debug` and no `Display`, so that none of them
//! can reach a log by mistake, and they are overwritten when they are dropped.

use aws_lc_rs::{constant_time, hmac};
use zeroize::Zeroizing;

/// A secret: the key of a signature, a bearer key, or a credential on its way to its verifier.
///
/// It is used as the UTF-8 text it is, as the libraries of the field do: text that looks like base64
/// is not decoded.
#[derive(Clone)]
pub struct Secret(Zeroizing<String>);

impl Secret {
    /// Takes the secret.
    pub fn new(text: &str) -> Self {
        Self(Zeroizing::new(text.to_owned()))
    }

    /// Whether the presented text is the secret, in a time that tells nothing about either.
    pub fn matches(&self, presented: &str) -> bool {
        // Both are hashed under the secret itself, so that the comparison of the two hashes takes
        // the same time whatever the presented text has in common with it, its length included.
        let ours = self.hmac_sha256(self.bytes());
        let theirs = self.hmac_sha256(presented.as_bytes());
        is_equal(&ours, &theirs)
    }

    /// The text, for a client of ours that has to present it. Never for a log.
    pub fn reveal(&self) -> &str {
        &self.0
    }

    /// How many bytes it has; nothing else about a secret may be told.
    pub fn len_bytes(&self) -> usize {
        self.0.len()
    }

    /// The text as a key.
    pub(crate) fn bytes(&self) -> &[u8] {
        self.0.as_bytes()
    }

    /// HMAC-SHA256 under this secret (RFC 2104).
    pub(crate) fn hmac_sha256(&self, message: &[u8]) -> [u8; 32] {
        let tag = hmac::sign(&self.hmac_key(), message);
        tag.as_ref().try_into().expect("SHA-256 has 32 bytes")
    }

    /// The key of [`Self::hmac_sha256`], for whoever needs it again and again: it costs half as much as a
    /// short message.
    pub(crate) fn hmac_key(&self) -> hmac::Key {
        hmac::Key::new(hmac::HMAC_SHA256, self.bytes())
    }
}

/// Compares without leaving early; of texts of different lengths, only the lengths are compared.
pub(crate) fn is_equal(one: &[u8], two: &[u8]) -> bool {
    constant_time::verify_slices_are_equal(one, two).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_secret_itself_matches() {
        let secret = Secret::new("correct horse");
        assert!(secret.matches("correct horse"));
        for text in [
            "",
            "correct hors",
            "correct horsf",
            "correct horse ",
            "Correct horse",
        ] {
            assert!(!secret.matches(text), "{text:?}");
        }
    }

    #[test]
    fn the_hmac_is_that_of_rfc_4231() {
        // RFC 4231, 4.3.
        let mac = Secret::new("Jefe").hmac_sha256(b"what do ya want for nothing?");
        let hex: String = mac.iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(
            hex,
            "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843"
        );
    }
}
