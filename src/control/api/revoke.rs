//! `POST /api/realtime/revoke`: closes the streams of a user, a session or an organisation on every node,
//! and keeps them out until a time. It is a row, which every node finds at its place in the log, so
//! that no event after it reaches them.

use std::sync::Arc;

use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::Response;
use serde::Deserialize;
use tokio::sync::oneshot;
use tokio::time::{Instant, timeout_at};
use wire::http::{Refusal, RefusalCode};

use super::writer::{Failure, Job, Revoked};
use super::{ANSWER_WITHIN, Api, Refused, check_content, json};

/// Whose streams are closed, and for how long they stay so.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Revocation {
    #[serde(rename = "userId", alias = "user")]
    pub(super) user: Option<String>,
    #[serde(alias = "sessionId")]
    pub(super) session: Option<String>,
    #[serde(rename = "organizationId", alias = "organization", alias = "tenantId")]
    pub(super) organization: Option<String>,
    /// Only sessions that were issued before this time; without it all.
    #[serde(rename = "issuedBefore", default)]
    pub(super) issued_before: Moment,
    pub(super) until: Moment,
}

/// A time: milliseconds since 1970, or an ISO 8601 text.
#[derive(Debug, Default, Deserialize)]
#[serde(untagged)]
pub(super) enum Moment {
    Milliseconds(i64),
    Text(String),
    #[default]
    None,
}

pub(super) async fn revoke(
    State(api): State<Arc<Api>>,
    fields: HeaderMap,
    body: Bytes,
) -> Response {
    let revoked = api.revoke(&fields, &body).await;
    revoked.unwrap_or_else(Response::from)
}

impl Api {
    async fn revoke(&self, fields: &HeaderMap, body: &[u8]) -> Result<Response, Refused> {
        self.authorize(fields, "publish", |rights| rights.publish)?;
        check_content(fields)?;
        let revocation = Box::new(Revocation::parse(body)?);
        let _place = self.place()?;
        let until = Instant::now() + ANSWER_WITHIN;
        let (reply, written) = oneshot::channel();
        self.write(Job::Revoke { revocation, reply })?;
        let written = match timeout_at(until, written).await {
            Ok(Ok(written)) => written,
            Ok(Err(_)) | Err(_) => Err(Failure::Unknown),
        };
        let Revoked { id, end } = written.map_err(refused)?;
        let shown = self.shared.feed.await_position(end);
        let answer = match timeout_at(until, shown).await {
            Ok(Ok(_)) => serde_json::json!({ "id": id.to_string() }),
            _ => serde_json::json!({ "id": id.to_string(), "pending": true }),
        };
        Ok(json(202, Body::from(answer.to_string())))
    }
}

impl Revocation {
    fn parse(body: &[u8]) -> Result<Self, Refused> {
        let said: Self = serde_json::from_slice(body).map_err(|error| {
            Refusal::new(RefusalCode::InvalidParameter, format!("the body: {error}"))
        })?;
        said.check().map_err(|message| {
            Refused::from(Refusal::new(RefusalCode::InvalidParameter, message))
        })?;
        Ok(said)
    }

    fn check(&self) -> Result<(), &'static str> {
        let names = [&self.user, &self.session, &self.organization];
        // Of PostgreSQL's texts none has this one.
        let is_name = |name: &String| !name.is_empty() && !name.contains('\0');
        if !names.into_iter().flatten().all(is_name) {
            return Err("a name is empty, or has a character that no name has");
        }
        match (&self.user, &self.session, &self.organization) {
            (Some(_), None, _) | (None, Some(_), None) | (None, None, Some(_)) => {}
            _ => {
                return Err(
                    "say whose streams: \"userId\", \"session\" or \"organizationId\"; of these \
                     \"userId\" and \"organizationId\" may stand together",
                );
            }
        }
        if matches!(self.until, Moment::None) {
            return Err("\"until\" is missing: until when they are kept out");
        }
        match self.until.is_time() && self.issued_before.is_time() {
            true => Ok(()),
            false => Err("a time is milliseconds since 1970, or like \"2026-01-31T12:00:00Z\""),
        }
    }
}

impl Moment {
    /// As text or as milliseconds.
    pub(super) fn parts(&self) -> (Option<&str>, Option<i64>) {
        match self {
            Self::Milliseconds(ms) => (None, Some(*ms)),
            Self::Text(text) => (Some(text), None),
            Self::None => (None, None),
        }
    }

    /// Whether it looks like a time: PostgreSQL would take words, such as `tomorrow`, too.
    fn is_time(&self) -> bool {
        /// Later than this is later than anybody means: the year 9999.
        const MS_MAX: i64 = 253_402_300_799_000;
        match self {
            Self::Milliseconds(ms) => (0..=MS_MAX).contains(ms),
            Self::Text(text) => {
                let of_a_time = |byte: u8| byte.is_ascii_digit() || b"TtZz:.+- ".contains(&byte);
                text.len() <= 40
                    && text.starts_with(|c: char| c.is_ascii_digit())
                    && text.bytes().all(of_a_time)
            }
            Self::None => true,
        }
    }
}

fn refused(failure: Failure) -> Refused {
    let (code, message) = match failure {
        Failure::Before(error) => (
            RefusalCode::Unavailable,
            format!("nothing was revoked: {error}"),
        ),
        Failure::Unknown => (
            RefusalCode::OutcomeUnknown,
            "PostgreSQL was lost while it wrote: send it again, twice does no harm".to_owned(),
        ),
        Failure::NotSetUp(mend) => (RefusalCode::NotImplemented, mend.to_owned()),
        Failure::NoTime(error) => (RefusalCode::InvalidParameter, error),
    };
    Refusal::new(code, message).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is_taken(body: &str) -> bool {
        Revocation::parse(body.as_bytes()).is_ok()
    }

    #[test]
    fn it_says_whose_streams_and_until_when() {
        for body in [
            r#"{"userId":"ada","until":1900000000000}"#,
            r#"{"user":"ada","tenantId":"acme","until":"2030-01-31T12:00:00.5+01:00"}"#,
            r#"{"session":"s1","until":"2030-01-31","issuedBefore":1}"#,
            r#"{"organization":"acme","until":0}"#,
        ] {
            assert!(is_taken(body), "{body}");
        }
        for body in [
            "",
            "[]",
            r#"{"until":1900000000000}"#,
            r#"{"userId":"ada"}"#,
            r#"{"userId":"ada","until":null}"#,
            r#"{"userId":"","until":1}"#,
            r#"{"userId":"a\u0000","until":1}"#,
            r#"{"userId":"ada","session":"s1","until":1}"#,
            r#"{"userId":"ada","until":"tomorrow"}"#,
            r#"{"userId":"ada","until":"infinity"}"#,
            r#"{"userId":"ada","until":-1}"#,
            r#"{"userId":"ada","until":1,"extra":1}"#,
        ] {
            assert!(!is_taken(body), "{body}");
        }
    }
}
