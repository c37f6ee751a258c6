//! The sessions of one application that signs them with HS256, without the rest of the methods.

use crate::identity::ClaimRules;
use crate::{Fingerprint, Identity, IdentityError, Secret, jwt};

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

impl Policy {
    /// Who presents this token.
    ///
    /// # Errors
    ///
    /// Where the token is not accepted, or names nobody.
    pub fn identify(&self, token: &str, now_ms: u64) -> Result<Identity, IdentityError> {
        let claims = jwt::verify_hs256(token, &self.secrets)?;
        let rules = ClaimRules {
            users: vec![self.user_claim.clone()],
            require_exp: self.require_exp,
            ..ClaimRules::default()
        };
        rules.identity(&claims, &Fingerprint::of(token), now_ms)
    }
}
