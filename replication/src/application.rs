//! Application messages: what `pg_logical_emit_message` brings, checked.
//!
//! Any role of the database may emit one, so the prefix is an address and no proof. What is not
//! addressed to us is none of our business; what is, but cannot be meant, is refused and counted.

use std::borrow::Cow;

use serde::Deserialize;
use serde_json::value::RawValue;
use wire::{Audience, Keys, Name, Topic};

use crate::event_types::is_reserved;
use crate::limits::{APPLICATION_BYTES_MAX, NAME_BYTES_MAX};
use crate::routing::Destination;

/// The prefix of messages that are meant for us.
pub(crate) const PREFIX: &str = "tailrace";

/// An event as the application says it.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Said<'a> {
    #[serde(rename = "type", borrow)]
    event_type: Cow<'a, str>,
    #[serde(borrow)]
    channel: Option<Cow<'a, str>>,
    #[serde(rename = "organizationId", borrow)]
    organisation: Option<Cow<'a, str>>,
    #[serde(rename = "userId", borrow)]
    user: Option<Cow<'a, str>>,
    /// Everybody, which nobody may mean by leaving something out.
    #[serde(default)]
    global: bool,
    #[serde(borrow)]
    data: Option<&'a RawValue>,
}

/// An event of the application's own.
#[derive(Debug)]
pub(crate) struct Application<'a> {
    pub(crate) event_type: Name,
    pub(crate) channel: Name,
    pub(crate) destination: Destination<'a>,
    /// JSON.
    pub(crate) data: &'a str,
}

/// Why a message is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Refused {
    /// It is addressed to somebody else.
    Prefix,
    /// It would survive a rollback.
    NotTransactional,
    /// It is longer than [`APPLICATION_BYTES_MAX`].
    TooLong,
    /// It is no JSON object with the members of an event and no others.
    Malformed,
    /// Its type or channel is no name, or a word of the stream itself.
    Name,
    /// It says neither an organisation nor a user nor `"global": true`, or a name that nobody has.
    Nobody,
}

impl Refused {
    /// The word for it in logs and metrics.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Prefix => "prefix",
            Self::NotTransactional => "not_transactional",
            Self::TooLong => "too_long",
            Self::Malformed => "malformed",
            Self::Name => "name",
            Self::Nobody => "nobody",
        }
    }
}

impl<'a> Application<'a> {
    /// Reads the content of a message with our prefix.
    pub(crate) fn parse(content: &'a [u8]) -> Result<Self, Refused> {
        if content.len() > APPLICATION_BYTES_MAX {
            return Err(Refused::TooLong);
        }
        let said: Said<'a> = serde_json::from_slice(content).map_err(|_| Refused::Malformed)?;
        let name = |text: &str| Name::new(text).map_err(|_| Refused::Name);
        let event_type = name(&said.event_type)?;
        if is_reserved(event_type.as_str()) {
            return Err(Refused::Name);
        }
        let channel = match &said.channel {
            Some(channel) => name(channel)?,
            // `property.viewed` and `property:viewed` belong to `property`.
            None => name(said.event_type.split(['.', ':']).next().unwrap_or_default())?,
        };
        let is_too_long = |text: &Option<Cow<'_, str>>| {
            text.as_ref()
                .is_some_and(|text| text.len() > NAME_BYTES_MAX)
        };
        if is_too_long(&said.organisation) || is_too_long(&said.user) {
            return Err(Refused::Nobody);
        }
        let somebody = |text: &Cow<'_, str>| !text.is_empty();
        let destination = Destination {
            organisation: said.organisation.filter(somebody),
            user: said.user.filter(somebody),
        };
        let addressed = destination.organisation.is_some() || destination.user.is_some();
        if addressed == said.global {
            return Err(Refused::Nobody);
        }
        let data = said.data.map_or("null", RawValue::get);
        Ok(Self {
            event_type,
            channel,
            destination,
            data,
        })
    }

    /// Who receives it.
    pub(crate) fn audience(&self, keys: &Keys) -> Audience {
        let within = self
            .destination
            .organisation
            .as_ref()
            .map(|name| keys.organisation(name));
        match (&self.destination.user, within) {
            (Some(user), within) => Audience {
                topic: Topic::User(keys.user(user)),
                within,
                roles: None,
            },
            (None, Some(organisation)) => Audience::of(Topic::Organisation(organisation)),
            (None, None) => Audience::of(Topic::Global),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(content: &str) -> Result<Application<'_>, Refused> {
        Application::parse(content.as_bytes())
    }

    #[test]
    fn an_event_says_its_type_and_to_whom() {
        let said = parsed(r#"{"type":"property.viewed","organizationId":"acme","data":{"a": 1}}"#);
        let said = said.unwrap();
        assert_eq!(
            (said.event_type.as_str(), said.channel.as_str()),
            ("property.viewed", "property")
        );
        assert_eq!(said.data, r#"{"a": 1}"#);
        let keys = Keys::new([1; 16]);
        let audience = said.audience(&keys);
        assert_eq!(
            audience.topic,
            Topic::Organisation(keys.organisation("acme"))
        );
    }

    #[test]
    fn a_user_may_be_reached_within_an_organisation_or_everywhere() {
        let keys = Keys::new([1; 16]);
        let everywhere = parsed(r#"{"type":"hello","channel":"c","userId":"al\"ice"}"#).unwrap();
        assert_eq!(
            everywhere.audience(&keys).topic,
            Topic::User(keys.user("al\"ice"))
        );
        assert_eq!(
            (everywhere.audience(&keys).within, everywhere.data),
            (None, "null")
        );
        let within = parsed(r#"{"type":"hello","userId":"a","organizationId":"o"}"#).unwrap();
        assert_eq!(within.audience(&keys).within, Some(keys.organisation("o")));
    }

    #[test]
    fn everybody_has_to_be_said() {
        assert_eq!(
            parsed(r#"{"type":"a","data":1}"#).unwrap_err(),
            Refused::Nobody
        );
        assert_eq!(
            parsed(r#"{"type":"a","organizationId":""}"#).unwrap_err(),
            Refused::Nobody
        );
        let both = r#"{"type":"a","organizationId":"o","global":true}"#;
        assert_eq!(parsed(both).unwrap_err(), Refused::Nobody);
        let global = parsed(r#"{"type":"a","global":true}"#).unwrap();
        assert_eq!(global.audience(&Keys::new([1; 16])).topic, Topic::Global);
    }

    #[test]
    fn what_cannot_be_meant_is_refused() {
        for text in [
            "",
            "{",
            "[]",
            "null",
            r#"{"data":1}"#,
            r#"{"type":1}"#,
            r#"{"type":"a","organizationId":7}"#,
            // A name that is nearly right must not widen the audience to all of a user's streams.
            r#"{"type":"a","organisationId":"o","userId":"u"}"#,
            "{\"type\":\"a\"}x",
        ] {
            assert_eq!(parsed(text).unwrap_err(), Refused::Malformed, "{text}");
        }
        for text in ["connected", "a,b", "", ".x"] {
            let content = format!(r#"{{"type":"{text}","organizationId":"o"}}"#);
            assert_eq!(parsed(&content).unwrap_err(), Refused::Name, "{text}");
        }
        let long = vec![b' '; APPLICATION_BYTES_MAX + 1];
        assert_eq!(Application::parse(&long).unwrap_err(), Refused::TooLong);
        let name = "x".repeat(NAME_BYTES_MAX + 1);
        let content = format!(r#"{{"type":"a","organizationId":"{name}"}}"#);
        assert_eq!(parsed(&content).unwrap_err(), Refused::Nobody);
    }
}
