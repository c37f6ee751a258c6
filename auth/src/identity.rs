//! Who presents a credential, and how that is read from the claims of a token or a session's row.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::jwt::{self, Claims};
use crate::limits::{NAME_BYTES_MAX, ORGANISATIONS_MAX};
use crate::{Fingerprint, IdentityError, json};

/// Who presents a credential.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Identity {
    /// The user's id, as the application has it.
    pub user: String,
    /// By what the session is revoked: the id of its row, the `sid`, `session_id` or `jti` of its
    /// token, or a hash of the credential.
    pub session: String,
    /// When the session was issued, in milliseconds since 1970.
    pub issued_ms: Option<u64>,
    /// When the session ends, in milliseconds since 1970.
    pub expires_ms: Option<u64>,
    /// The organisation that the session has chosen: a hint, which proves nothing.
    pub active_organisation: Option<String>,
    /// The organisations that the session itself claims; `None` where no claim of that kind is
    /// configured.
    pub organisations: Option<Vec<OrganisationClaim>>,
}

/// A membership that stands in the session.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OrganisationClaim {
    /// The organisation.
    pub organisation: String,
    /// The role in it.
    pub role: Option<String>,
}

/// The row of a session, as the database has it now.
#[derive(Clone, Debug)]
pub struct SessionRow {
    /// The id of the row.
    pub id: String,
    /// The user.
    pub user: String,
    /// When it ends, in milliseconds since 1970; `None` where the table has no such column.
    pub expires_ms: Option<u64>,
    /// The organisation that the session has chosen.
    pub active_organisation: Option<String>,
}

/// What is read from claims, and what is demanded of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClaimRules {
    /// The places that may name the user; the first that a session has counts. Usually `sub`.
    pub users: Vec<String>,
    /// Whether a session without an end is refused; one that the application vouches for is not, but
    /// does not last.
    pub require_exp: bool,
    /// The place of the organisations, where membership is a claim of the session.
    pub organisations: Option<String>,
    /// The place of the role, where the organisations' place names but one and no role.
    pub role: Option<String>,
}

impl Default for ClaimRules {
    fn default() -> Self {
        Self {
            users: vec!["sub".to_owned()],
            require_exp: true,
            organisations: None,
            role: None,
        }
    }
}

impl SessionRow {
    /// Who presents the session of this row.
    ///
    /// # Errors
    ///
    /// Where the session has ended, or names nobody.
    pub fn identity(self, now_ms: u64) -> Result<Identity, IdentityError> {
        if self
            .expires_ms
            .is_some_and(|expires_ms| expires_ms <= now_ms)
        {
            return Err(IdentityError::NoSession);
        }
        Ok(Identity {
            user: Some(self.user)
                .filter(|user| is_id(user))
                .ok_or(IdentityError::NoUser)?,
            session: self.id,
            issued_ms: None,
            expires_ms: self.expires_ms,
            active_organisation: self.active_organisation.filter(|id| is_id(id)),
            organisations: None,
        })
    }
}

impl ClaimRules {
    /// Who presents a token with these claims, whose signature is right.
    pub(crate) fn identity(
        &self,
        claims: &Claims,
        credential: impl FnOnce() -> Fingerprint,
        now_ms: u64,
    ) -> Result<Identity, IdentityError> {
        let times = jwt::check_times(claims, now_ms, self.require_exp)?;
        Ok(Identity {
            user: self.user(claims).ok_or(IdentityError::NoUser)?,
            session: session(claims, &["sid", "session_id", "jti"], credential),
            issued_ms: times.issued_ms,
            expires_ms: times.expires_ms,
            active_organisation: None,
            organisations: self.organisations(claims),
        })
    }

    /// The user that the first of the places names.
    pub(crate) fn user(&self, claims: &Claims) -> Option<String> {
        let mut places = self.users.iter();
        let (place, value) =
            places.find_map(|place| json::at(claims, place).map(|value| (place, value)))?;
        // `sub` is text by its definition (RFC 7519, 4.1.2); a number there is somebody's mistake.
        match place == "sub" || place.ends_with(".sub") {
            true => value.as_str().filter(|text| is_id(text)).map(str::to_owned),
            false => id(value),
        }
    }

    /// The organisations that the session claims. A claim that is not there claims none.
    pub(crate) fn organisations(&self, claims: &Claims) -> Option<Vec<OrganisationClaim>> {
        let place = self.organisations.as_ref()?;
        let role = self.role.as_ref().and_then(|role| json::at(claims, role));
        Some(match json::at(claims, place) {
            None => Vec::new(),
            Some(Value::Array(entries)) => entries
                .iter()
                .take(ORGANISATIONS_MAX)
                .filter_map(|entry| organisation(entry, None))
                .collect(),
            Some(entry) => organisation(entry, role).into_iter().collect(),
        })
    }
}

/// By what the session is revoked: what the first of the places names, else the credential's hash.
pub(crate) fn session(
    claims: &Claims,
    places: &[&str],
    credential: impl FnOnce() -> Fingerprint,
) -> String {
    let mut named = places.iter().filter_map(|place| json::at(claims, place));
    named
        .find_map(id)
        .unwrap_or_else(|| credential().to_string())
}

/// A name: text, or an integer in its decimal digits.
pub(crate) fn id(value: &Value) -> Option<String> {
    let text = match value {
        Value::String(text) => text.clone(),
        Value::Number(number) if number.is_u64() || number.is_i64() => number.to_string(),
        _ => return None,
    };
    is_id(&text).then_some(text)
}

fn is_id(text: &str) -> bool {
    !text.is_empty() && text.len() <= NAME_BYTES_MAX
}

/// An organisation as the libraries write one: its id, or an object with the id and the role in it
/// (Clerk's `o` has `id` and `rol`).
fn organisation(entry: &Value, role: Option<&Value>) -> Option<OrganisationClaim> {
    let member = |names: &[&str]| {
        let object = entry.as_object()?;
        names.iter().find_map(|name| object.get(*name))
    };
    let organisation = match entry {
        Value::Object(_) => id(member(&[
            "id",
            "organizationId",
            "organization_id",
            "tenantId",
        ])?)?,
        _ => id(entry)?,
    };
    let role = member(&["role", "rol"]).or(role).and_then(id);
    Some(OrganisationClaim { organisation, role })
}
