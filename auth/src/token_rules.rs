//! What is demanded of a token beside its signature and its times.

use serde_json::Value;

use crate::TokenError;
use crate::jwt::Claims;

/// What is demanded of a token beside its signature and its times.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TokenRules {
    /// The issuer, byte for byte (RFC 7519, 4.1.1).
    pub issuer: Option<String>,
    /// The audiences, one of which the token must name; none for any.
    pub audiences: Vec<String>,
    /// The pages for which a token may have been made (`azp`); none for any.
    pub authorized_parties: Vec<String>,
}

impl TokenRules {
    /// Checks the claims.
    pub(crate) fn check(&self, claims: &Claims) -> Result<(), TokenError> {
        let claim = |name: &str| claims.get(name).and_then(Value::as_str);
        if let Some(issuer) = &self.issuer
            && claim("iss") != Some(issuer)
        {
            return Err(TokenError::Issuer);
        }
        if !self.audiences.is_empty() && !self.is_audience(claims.get("aud")) {
            return Err(TokenError::Audience);
        }
        let is_party = |party: &str| self.authorized_parties.iter().any(|one| one == party);
        if !self.authorized_parties.is_empty() && !claim("azp").is_some_and(is_party) {
            return Err(TokenError::Party);
        }
        // Clerk: the user still has to choose an organisation or prove a second factor.
        if claims.get("sts").is_some_and(|status| status == "pending") {
            return Err(TokenError::Pending);
        }
        Ok(())
    }

    /// Whether the claim, text or a list of texts (RFC 7519, 4.1.3), names one of the audiences.
    fn is_audience(&self, claim: Option<&Value>) -> bool {
        let is_ours = |value: &Value| {
            let named = value.as_str();
            self.audiences.iter().any(|ours| named == Some(ours))
        };
        match claim {
            Some(Value::Array(all)) => all.iter().any(is_ours),
            Some(one) => is_ours(one),
            None => false,
        }
    }
}
