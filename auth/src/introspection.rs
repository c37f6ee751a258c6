//! Introspection: what the application answers when it is asked whose cookies these are. Any JSON
//! object will do; the configuration says where in it things stand.
//!
//! The asking is the node's business: one question for all who present the same, bounded in time and
//! length, and nobody is let in without an answer.

use std::fmt;

use serde_json::Value;

use crate::identity::{ClaimRules, Identity, id, session};
use crate::jwt::Claims;
use crate::limits::{ANSWER_BYTES_MAX, ANSWER_LASTS_MS, TIME_MS_MAX};
use crate::{Fingerprint, IdentityError, json, time};

/// Where things stand in an answer: a name, or names with dots between them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AnswerRules {
    /// The user; the first place that the answer has counts.
    pub users: Vec<String>,
    /// The id by which the session is revoked.
    pub sessions: Vec<String>,
    /// When the session ends: an ISO 8601 time, or seconds or milliseconds since 1970. Where an answer
    /// has none of them, it counts for [`ANSWER_LASTS_MS`], unless sessions may be without an end.
    pub expires: Vec<String>,
    /// The organisation that the session has chosen.
    pub organisation: Option<String>,
}

/// Why an answer names nobody.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AnswerError {
    /// The application says so.
    Nobody(IdentityError),
    /// This is no answer: nobody can be let in, and nobody told that their session is no good.
    Malformed,
}

impl Default for AnswerRules {
    /// The answers of Auth.js (`/api/auth/session`) and Better Auth (`/api/auth/get-session`).
    fn default() -> Self {
        Self {
            users: vec!["user.id".to_owned()],
            sessions: vec!["session.id".to_owned()],
            expires: vec!["expires".to_owned(), "session.expiresAt".to_owned()],
            organisation: Some("session.activeOrganizationId".to_owned()),
        }
    }
}

impl AnswerRules {
    /// Who it is, by the application's word.
    pub(crate) fn identity(
        &self,
        answer: &[u8],
        claims: &ClaimRules,
        credential: &Fingerprint,
        now_ms: u64,
    ) -> Result<Identity, AnswerError> {
        let answer = read(answer)?.ok_or(IdentityError::NoSession)?;
        let expires_ms = self.expires_ms(&answer)?;
        if expires_ms.is_some_and(|expires_ms| expires_ms <= now_ms) {
            return Err(IdentityError::NoSession.into());
        }
        // Nothing else would ever end such a session here: only the application knows of its end.
        let lasts_ms = claims
            .require_exp
            .then(|| now_ms.saturating_add(ANSWER_LASTS_MS));
        let rules = ClaimRules {
            users: self.users.clone(),
            ..claims.clone()
        };
        let Some(user) = rules.user(&answer) else {
            return Err(self.nobody(&answer).into());
        };
        let sessions: Vec<&str> = self.sessions.iter().map(String::as_str).collect();
        let organisation = self.organisation.as_ref();
        Ok(Identity {
            user,
            session: session(&answer, &sessions, || *credential),
            issued_ms: None,
            expires_ms: expires_ms.or(lasts_ms),
            active_organisation: organisation.and_then(|place| id(json::at(&answer, place)?)),
            organisations: rules.organisations(&answer),
        })
    }

    /// The end of the session, where the answer names it; one that cannot be read is no answer.
    fn expires_ms(&self, answer: &Claims) -> Result<Option<u64>, AnswerError> {
        let mut places = self.expires.iter();
        match places.find_map(|place| json::at(answer, place)) {
            None => Ok(None),
            Some(value) => milliseconds(value).map(Some).ok_or(AnswerError::Malformed),
        }
    }

    /// An answer about somebody who has no id lacks something; one about nobody says just that.
    fn nobody(&self, answer: &Claims) -> IdentityError {
        let is_about_somebody = self.users.iter().any(|place| {
            let first = place.split('.').next().unwrap_or_default();
            json::at(answer, place).is_some() || json::at(answer, first).is_some()
        });
        match is_about_somebody {
            true => IdentityError::NoUser,
            false => IdentityError::NoSession,
        }
    }
}

impl fmt::Display for AnswerError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Nobody(IdentityError::NoUser) => f.write_str(
                "the application's answer has no user id where auth.introspection.user says: let \
                 its session callback add it",
            ),
            Self::Nobody(error) => error.fmt(f),
            Self::Malformed => f.write_str(
                "the application's answer about a session is no JSON object as it was told to be: \
                 see that auth.introspection.url is the address that answers with the session",
            ),
        }
    }
}

impl std::error::Error for AnswerError {}

impl From<IdentityError> for AnswerError {
    fn from(error: IdentityError) -> Self {
        Self::Nobody(error)
    }
}

/// The answer as an object; `None` for `null` and nothing, by which applications mean nobody.
fn read(answer: &[u8]) -> Result<Option<Claims>, AnswerError> {
    if answer.len() > ANSWER_BYTES_MAX {
        return Err(AnswerError::Malformed);
    }
    match answer.trim_ascii() {
        b"" | b"null" => Ok(None),
        object => json::object(object).map(Some).ok_or(AnswerError::Malformed),
    }
}

/// A time as applications write it.
fn milliseconds(value: &Value) -> Option<u64> {
    // As seconds, this would be the year 5138; as milliseconds, it is March 1973.
    const FIRST_MS: u64 = 100_000_000_000;
    match value {
        Value::String(text) => time::milliseconds(text),
        Value::Number(number) => match number.as_u64()? {
            seconds @ 0..FIRST_MS => Some(seconds * 1_000),
            ms => (ms <= TIME_MS_MAX).then_some(ms),
        },
        _ => None,
    }
}
