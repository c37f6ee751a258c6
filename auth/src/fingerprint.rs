//! Hashes that stand for credentials, so that no credential itself is kept.

use std::fmt;

use aws_lc_rs::digest::{Context, SHA256, digest};

/// The SHA-256 of a credential.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Fingerprint([u8; 32]);

impl Fingerprint {
    /// The hash of this text.
    pub fn of(text: &str) -> Self {
        Self::from_digest(digest(&SHA256, text.as_bytes()).as_ref())
    }

    /// The hash of these parts, each of which ends where it ends: no two lists have the same bytes.
    pub(crate) fn of_parts<'a>(parts: impl IntoIterator<Item = &'a str>) -> Self {
        let mut context = Context::new(&SHA256);
        for part in parts {
            context.update(&(part.len() as u64).to_be_bytes());
            context.update(part.as_bytes());
        }
        Self::from_digest(context.finish().as_ref())
    }

    fn from_digest(digest: &[u8]) -> Self {
        Self(digest.try_into().expect("SHA-256 has 32 bytes"))
    }
}

impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("sha256:")?;
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}
