//! Secrets: text that proves something. They have no `Debug` and no `Display`, so that none of them
//! can reach a log by mistake.

use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;

/// A secret: the key of a signature, or a bearer key.
///
/// It is used as the UTF-8 text it is, as the libraries of the field do: text that looks like base64
/// is not decoded.
#[derive(Clone)]
pub struct Secret(Box<[u8]>);

impl Secret {
    /// Takes the secret.
    pub fn new(text: &str) -> Self {
        Self(text.as_bytes().into())
    }

    /// Whether the presented text is the secret, in a time that tells nothing about either.
    pub fn matches(&self, presented: &str) -> bool {
        // Both are hashed under the secret itself, so that the comparison of the two hashes takes
        // the same time whatever the presented text has in common with it, its length included.
        let ours = self.hmac_sha256(&self.0);
        let theirs = self.hmac_sha256(presented.as_bytes());
        is_equal(&ours, &theirs)
    }

    /// The text, for a client of ours that has to present it. Never for a log.
    pub fn reveal(&self) -> &str {
        std::str::from_utf8(&self.0).expect("a secret is made from text")
    }

    /// HMAC-SHA256 under this secret (RFC 2104).
    pub(crate) fn hmac_sha256(&self, message: &[u8]) -> [u8; 32] {
        let mut mac =
            Hmac::<Sha256>::new_from_slice(&self.0).expect("HMAC takes keys of any length");
        mac.update(message);
        mac.finalize().into_bytes().into()
    }
}

/// Compares without leaving early.
pub(crate) fn is_equal(one: &[u8; 32], two: &[u8]) -> bool {
    if two.len() != one.len() {
        return false;
    }
    let differences = one.iter().zip(two).fold(0, |all, (a, b)| all | (a ^ b));
    std::hint::black_box(differences) == 0
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
