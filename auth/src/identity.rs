//! From a credential to who presents it.

use std::fmt;

use serde_json::Value;
use sha2::{Digest as _, Sha256};

use crate::Secret;
use crate::jwt::{self, JwtError};

/// The longest name of a user.
const USER_BYTES_MAX: usize = 512;

/// Which sessions are accepted.
#[derive(Clone)]
pub struct Policy {
    /// The secrets of HS256, each tried in turn.
    pub secrets: Vec<Secret>,
    /// The claim that names the user, usually `sub`.
    pub user_claim: String,
    /// Whether a session without an end is refused.
    pub require_exp: bool,
}

/// Who presents a credential.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// The user's id, as the application has it.
    pub user: String,
    /// By what the session is revoked: the token's `jti`, or a hash of the credential.
    pub session: String,
    /// When the session ends, in milliseconds since 1970.
    pub expires_ms: Option<u64>,
}

/// Why a credential names nobody.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IdentityError {
    /// The token is not accepted.
    Token(JwtError),
    /// The token has no such claim, or it is no text: the existence of a token alone proves nothing.
    NoUser,
}

impl Policy {
    /// Who presents this token.
    ///
    /// # Errors
    ///
    /// Where the token is not accepted, or names nobody.
    pub fn identify(&self, token: &str, now_ms: u64) -> Result<Identity, IdentityError> {
        let claims = jwt::verify_hs256(token, &self.secrets).map_err(IdentityError::Token)?;
        let expires_ms =
            jwt::check_times(&claims, now_ms, self.require_exp).map_err(IdentityError::Token)?;
        let user = claims.get(&self.user_claim).and_then(Value::as_str);
        let user = user.filter(|user| !user.is_empty() && user.len() <= USER_BYTES_MAX);
        Ok(Identity {
            user: user.ok_or(IdentityError::NoUser)?.to_owned(),
            session: match claims.get("jti").and_then(Value::as_str) {
                Some(jti) => jti.to_owned(),
                None => fingerprint(token),
            },
            expires_ms,
        })
    }
}

impl fmt::Display for IdentityError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Token(error) => error.fmt(f),
            Self::NoUser => f.write_str("the session names no user"),
        }
    }
}

impl std::error::Error for IdentityError {}

/// A hash that stands for a credential, so that the credential itself is not kept.
fn fingerprint(token: &str) -> String {
    let hash = Sha256::digest(token.as_bytes());
    hash.iter().fold(String::from("sha256:"), |mut text, byte| {
        text.push_str(&format!("{byte:02x}"));
        text
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW_MS: u64 = 1_800_000_000_000;

    fn policy(user_claim: &str) -> Policy {
        Policy {
            secrets: vec![Secret::new("secret")],
            user_claim: user_claim.to_owned(),
            require_exp: false,
        }
    }

    fn identify(claims: &str, user_claim: &str) -> Result<Identity, IdentityError> {
        let policy = policy(user_claim);
        let claims = serde_json::from_str(claims).unwrap();
        policy.identify(&jwt::sign_hs256(&claims, &policy.secrets[0]), NOW_MS)
    }

    #[test]
    fn the_session_is_the_jti_or_a_hash_of_the_credential() {
        let named = identify(r#"{"sub":"ada","jti":"s1","exp":1900000000}"#, "sub").unwrap();
        let expires_ms = Some(1_900_000_000_000);
        assert_eq!(
            named,
            Identity {
                user: "ada".into(),
                session: "s1".into(),
                expires_ms
            }
        );
        let hashed = identify(r#"{"sub":"ada"}"#, "sub").unwrap();
        assert!(hashed.session.starts_with("sha256:") && hashed.session.len() == 7 + 64);
        assert_eq!(hashed, identify(r#"{"sub":"ada"}"#, "sub").unwrap());
    }

    #[test]
    fn a_token_that_names_nobody_is_nobody() {
        let long = format!(r#"{{"sub":"{}"}}"#, "a".repeat(USER_BYTES_MAX + 1));
        for claims in [
            "{}",
            r#"{"sub":42}"#,
            r#"{"sub":""}"#,
            r#"{"sub":null}"#,
            &long,
        ] {
            assert_eq!(
                identify(claims, "sub"),
                Err(IdentityError::NoUser),
                "{claims}"
            );
        }
        assert_eq!(
            identify(r#"{"userId":"bob"}"#, "userId").unwrap().user,
            "bob"
        );
        assert_eq!(
            identify(r#"{"sub":"bob"}"#, "userId"),
            Err(IdentityError::NoUser)
        );
    }
}
