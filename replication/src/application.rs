//! Application messages: what `pg_logical_emit_message` brings, checked. The publish endpoint reads its
//! entries by the same rules before they are written, so that nothing is taken that would be dropped.
//!
//! Any role of the database may emit one, so the prefix is an address and no proof. What is not
//! addressed to us is none of our business; what is, but cannot be meant, is refused and counted.

use std::borrow::Cow;

use serde::Deserialize;
use serde_json::value::RawValue;
use wire::{Audience, Key, Keys, Name, NameError, Topic};

use crate::event_types::is_reserved;
use crate::limits::{APPLICATION_BYTES_MAX, ID_BYTES_MAX, NAME_BYTES_MAX};
use crate::routing::Destination;

/// The prefix of messages that are meant for us.
pub(crate) const PREFIX: &str = "tailrace";

/// The channel of an event for everybody, where its publisher names none.
const GLOBAL_CHANNEL: &str = "global";

/// An event as the application says it.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Said<'a> {
    /// Of two messages with one id, for the same audience within the window, the first counts.
    #[serde(borrow)]
    id: Option<Cow<'a, str>>,
    #[serde(rename = "type", borrow)]
    event_type: Cow<'a, str>,
    #[serde(borrow)]
    channel: Option<Cow<'a, str>>,
    #[serde(rename = "organizationId", alias = "tenantId", borrow)]
    organisation: Option<Cow<'a, str>>,
    #[serde(rename = "userId", borrow)]
    user: Option<Cow<'a, str>>,
    /// Everybody, which nobody may mean by leaving something out.
    #[serde(default)]
    global: bool,
    #[serde(alias = "payload", borrow)]
    data: Option<&'a RawValue>,
}

/// An event of the application's own.
#[derive(Debug)]
pub(crate) struct Application<'a> {
    pub(crate) id: Option<Cow<'a, str>>,
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
    /// Its id is empty or too long.
    Id,
    /// One with its id was seen within the window.
    Repeated,
}

/// A refusal with its words, for the person who wrote the message.
#[derive(Debug)]
pub(crate) struct Objection {
    pub(crate) reason: Refused,
    pub(crate) message: String,
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
            Self::Id => "id",
            Self::Repeated => "repeated",
        }
    }

    fn because(self, message: impl Into<String>) -> Objection {
        let message = message.into();
        Objection {
            reason: self,
            message,
        }
    }
}

impl<'a> Application<'a> {
    /// Reads the content of a message with our prefix.
    pub(crate) fn parse(content: &'a [u8]) -> Result<Self, Objection> {
        if content.len() > APPLICATION_BYTES_MAX {
            let message = format!("longer than {APPLICATION_BYTES_MAX} bytes");
            return Err(Refused::TooLong.because(message));
        }
        let said: Said<'a> = serde_json::from_slice(content)
            .map_err(|error| Refused::Malformed.because(error.to_string()))?;
        let event_type = name_of("type", &said.event_type)?;
        if is_reserved(event_type.as_str()) {
            let message = format!(
                "\"type\": {:?} is an event of the stream itself; choose another type",
                event_type.as_str()
            );
            return Err(Refused::Name.because(message));
        }
        let is_id = |id: &Cow<'_, str>| (1..=ID_BYTES_MAX).contains(&id.len());
        if !said.id.as_ref().is_none_or(is_id) {
            let message = format!("\"id\": write 1 to {ID_BYTES_MAX} bytes, or leave it out");
            return Err(Refused::Id.because(message));
        }
        let channel = said.channel(&event_type)?;
        let destination = Destination {
            organisation: somebody("organizationId", said.organisation)?,
            user: somebody("userId", said.user)?,
        };
        let addressed = destination.organisation.is_some() || destination.user.is_some();
        if addressed == said.global {
            let message = match addressed {
                true => "\"global\" is everybody: leave out \"organizationId\" and \"userId\"",
                false => {
                    "nobody is addressed: say \"organizationId\", \"userId\" or \"global\": true"
                }
            };
            return Err(Refused::Nobody.because(message));
        }
        Ok(Self {
            id: said.id,
            event_type,
            channel,
            destination,
            data: said.data.map_or("null", RawValue::get),
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

    /// What a message that is sent again has in common with the first: its id and its audience. Two
    /// organisations may use one id.
    pub(crate) fn key(&self, keys: &Keys) -> Option<Key> {
        self.id.as_deref().map(|id| self.key_of(keys, id))
    }

    /// The key of something that is named within the audience.
    pub(crate) fn key_of(&self, keys: &Keys, text: &str) -> Key {
        let Destination { organisation, user } = &self.destination;
        keys.message(organisation.as_deref(), user.as_deref(), text)
    }
}

impl Said<'_> {
    fn channel(&self, event_type: &Name) -> Result<Name, Objection> {
        match (&self.channel, &self.user) {
            (Some(channel), user) => {
                let channel = name_of("channel", channel)?;
                let whose = channel.user_of_channel();
                if whose.is_some() && whose != user.as_deref() {
                    // Whoever says so means that nobody else is shown it.
                    let message = format!(
                        "\"channel\": {:?} is that user's own, and the event is for somebody else: \
                         address them by \"userId\"",
                        channel.as_str()
                    );
                    return Err(Refused::Nobody.because(message));
                }
                Ok(channel)
            }
            (None, Some(user)) => Ok(Name::channel_of_user(user)),
            (None, None) if self.global => name_of("channel", GLOBAL_CHANNEL),
            // `property.viewed` and `property:viewed` belong to `property`.
            (None, None) => {
                let channel = event_type.as_str().split(['.', ':']).next();
                name_of("type", channel.unwrap_or_default())
            }
        }
    }
}

fn name_of(member: &str, text: &str) -> Result<Name, Objection> {
    let said = |error: NameError| Refused::Name.because(format!("{member:?}: {error}"));
    Name::new(text).map_err(said)
}

/// A name of a user or an organisation. One that is empty is a mistake: taken for nobody's, it would
/// widen the audience.
fn somebody<'a>(
    member: &str,
    name: Option<Cow<'a, str>>,
) -> Result<Option<Cow<'a, str>>, Objection> {
    match &name {
        Some(text) if text.is_empty() || text.len() > NAME_BYTES_MAX => {
            let message = format!("{member:?}: write 1 to {NAME_BYTES_MAX} bytes");
            Err(Refused::Nobody.because(message))
        }
        _ => Ok(name),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(content: &str) -> Result<Application<'_>, Refused> {
        Application::parse(content.as_bytes()).map_err(|objection| objection.reason)
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
    fn the_channel_is_that_of_whom_it_is_for_unless_it_is_named() {
        for (members, channel) in [
            (r#""organizationId":"o""#, "horse"),
            (r#""tenantId":"o""#, "horse"),
            (r#""userId":"42""#, "user:42"),
            (r#""userId":"42","organizationId":"o""#, "user:42"),
            (r#""userId":"4,2""#, "user"),
            (r#""global":true"#, "global"),
            (r#""global":true,"channel":"news""#, "news"),
            (r#""userId":"42","channel":"horses""#, "horses"),
        ] {
            let content = format!(r#"{{"type":"horse:shared:twice",{members}}}"#);
            assert_eq!(parsed(&content).unwrap().channel.as_str(), channel);
        }
    }

    #[test]
    fn the_channel_of_a_user_is_for_that_user_alone() {
        for (channel, members, is_taken) in [
            ("user:42", r#""userId":"42""#, true),
            ("user:42", r#""userId":"42","organizationId":"o""#, true),
            ("user:42", r#""organizationId":"o""#, false),
            ("user:42", r#""userId":"7""#, false),
            ("user:", r#""global":true"#, false),
            (r"\u0075ser:42", r#""global":true"#, false),
            ("user", r#""organizationId":"o""#, true),
            ("users:42", r#""organizationId":"o""#, true),
        ] {
            let content = format!(r#"{{"type":"a","channel":"{channel}",{members}}}"#);
            let refused = parsed(&content).err();
            let expected = (!is_taken).then_some(Refused::Nobody);
            assert_eq!(refused, expected, "{content}");
        }
    }

    #[test]
    fn an_id_is_one_among_those_for_the_same_audience() {
        let keys = Keys::new([1; 16]);
        let key = |members: &str| {
            let content = format!(r#"{{"type":"a",{members}}}"#);
            parsed(&content).unwrap().key(&keys)
        };
        let one = key(r#""id":"1","organizationId":"o""#);
        assert!(one.is_some());
        assert_eq!(one, key(r#""tenantId":"o","payload":7,"id":"1""#));
        assert_ne!(one, key(r#""id":"1","organizationId":"p""#));
        assert_ne!(one, key(r#""id":"1","organizationId":"o","userId":"u""#));
        assert_eq!(key(r#""organizationId":"o""#), None);
        for id in [String::new(), "x".repeat(ID_BYTES_MAX + 1)] {
            let content = format!(r#"{{"type":"a","organizationId":"o","id":"{id}"}}"#);
            assert_eq!(parsed(&content).unwrap_err(), Refused::Id);
        }
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
        // Not everywhere, where the organisation's name is lost.
        assert_eq!(
            parsed(r#"{"type":"a","organizationId":"","userId":"u"}"#).unwrap_err(),
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
            r#"{"type":"a","organizationId":"o","tenantId":"o"}"#,
            r#"{"type":"a","organizationId":"o","data":1,"payload":1}"#,
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
        let refused = Application::parse(&long).unwrap_err();
        assert_eq!(refused.reason, Refused::TooLong);
        let name = "x".repeat(NAME_BYTES_MAX + 1);
        let content = format!(r#"{{"type":"a","organizationId":"{name}"}}"#);
        assert_eq!(parsed(&content).unwrap_err(), Refused::Nobody);
    }
}
