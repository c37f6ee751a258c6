//! Grants: from what was wanted and where the user belongs to what an engine is told. Pure.

use std::collections::BTreeMap;

use bytes::Bytes;
use replication::Place;
use wire::http::stream_head;
use wire::{Claimed, ConnectionId, Filter, Grant, Key, Keys, Name, Purpose, Scope, json};

use super::admission::Draft;

/// The grant of a draft. A user has a place; a service key has none, and may read any organisation, or
/// with `*` all.
pub(super) fn grant(
    connection: ConnectionId,
    draft: &Draft,
    place: Option<&Place>,
    keys: &Keys,
) -> Grant {
    let wanted = &draft.wanted;
    let role = place.and_then(|place| place.role.as_deref());
    let filter = match place {
        None => wanted.filter(Vec::new()).with_every_role(),
        Some(_) => wanted.filter(roles(role)),
    };
    let about = match (wanted.purpose, place) {
        (Purpose::Page(_), _) => Bytes::new(),
        (Purpose::Stream, None) => about(None, draft.organisation.as_deref(), None, &filter),
        (Purpose::Stream, Some(place)) => about(
            Some(&place.user),
            place.organisation.as_deref(),
            role,
            &filter,
        ),
    };
    Grant {
        connection,
        scope: match (place, &draft.organisation) {
            (Some(place), _) => match &place.organisation {
                Some(name) => Scope::Organisation(keys.organisation(name)),
                None => Scope::Nothing,
            },
            (None, organisation) => service_scope(organisation.as_deref(), keys),
        },
        // As the database spells it: rows are routed by the same text.
        user: place.map(|place| keys.user(&place.user)),
        session: draft.session,
        about,
        filter,
        format: wanted.manner.format,
        expires_ms: earliest(place, draft.expires_ms),
        since: place.and_then(|place| place.since),
        resume: wanted.resume,
        head: match wanted.purpose {
            Purpose::Stream => stream_head(wanted.manner.fields.as_str()),
            Purpose::Page(_) => Bytes::copy_from_slice(wanted.manner.fields.as_str().as_bytes()),
        },
        purpose: wanted.purpose,
    }
}

/// When a session ends: as was known when it was judged, or earlier, where the stream has said so since. That it ends
/// later the stream says to its engine.
pub(super) fn earliest(place: Option<&Place>, known_ms: Option<u64>) -> Option<u64> {
    let said_ms = place.and_then(|place| place.session_ends_ms);
    said_ms.into_iter().chain(known_ms).min()
}

/// What a service key reads that names this organisation.
pub(super) fn service_scope(organisation: Option<&str>, keys: &Keys) -> Scope {
    match organisation {
        None => Scope::Nothing,
        Some("*") => Scope::Everything,
        Some(name) => Scope::Organisation(keys.organisation(name)),
    }
}

/// What a session claims, as an engine compares it: each organisation once, with all its roles.
pub(super) fn claimed(claims: &[auth::OrganisationClaim], keys: &Keys) -> Vec<Claimed> {
    let mut all = BTreeMap::<Key, Vec<Name>>::new();
    for claim in claims {
        let organisation = keys.organisation(&claim.organisation);
        let known = all.entry(organisation).or_default();
        known.extend(roles(claim.role.as_deref()));
    }
    all.into_iter()
        .map(|(organisation, roles)| Claimed {
            organisation,
            roles,
        })
        .collect()
}

/// A role that is no name cannot stand in a route either.
fn roles(role: Option<&str>) -> Vec<Name> {
    role.unwrap_or_default()
        .split(',')
        .filter_map(|role| Name::new(role.trim()).ok())
        .collect()
}

/// The members of the `connected` event that are known here (architecture, HTTP surface).
fn about(
    user: Option<&str>,
    organisation: Option<&str>,
    role: Option<&str>,
    filter: &Filter,
) -> Bytes {
    let mut out = Vec::with_capacity(256);
    let mut put = |literal: &str, text: Option<&str>| {
        out.extend_from_slice(literal.as_bytes());
        match text {
            Some(text) => json::escape_into(&mut out, text),
            None => out.extend_from_slice(b"null"),
        }
    };
    put("\"userId\":", user);
    put(",\"organizationId\":", organisation);
    match organisation {
        None => out.extend_from_slice(b",\"organization\":null"),
        Some(_) => {
            put(",\"organization\":{\"id\":", organisation);
            put(",\"role\":", role);
            out.push(b'}');
        }
    }
    out.extend_from_slice(b",\"channels\":[");
    for (at, channel) in filter.channels().iter().enumerate() {
        out.extend_from_slice(if at == 0 { b"" } else { b"," });
        json::escape_into(&mut out, channel.as_str());
    }
    out.push(b']');
    Bytes::from(out)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use wire::Resume;
    use wire::http::Fields;

    use super::super::request::{Manner, Wanted};
    use super::*;

    fn keys() -> Keys {
        Keys::new([3; 16])
    }

    fn draft(channels: &[&str], organisation: Option<&str>) -> Draft {
        let manner = Manner {
            fields: Fields::new(),
            format: wire::Format::Event,
            is_soft: true,
            last_event_id: None,
        };
        let wanted = Wanted {
            organization: None,
            channels: channels
                .iter()
                .map(|name| Name::new(name).unwrap())
                .collect(),
            types: Vec::new(),
            resume: Resume::Live,
            purpose: Purpose::Stream,
            takes_oldest: false,
            manner,
        };
        Draft {
            wanted: Arc::new(wanted),
            organisation: organisation.map(str::to_owned),
            session: Some(keys().session("s1")),
            expires_ms: Some(7),
        }
    }

    fn place(organisation: Option<&str>, role: Option<&str>) -> Place {
        Place {
            user: "ada".into(),
            organisation: organisation.map(str::to_owned),
            role: role.map(str::to_owned),
            since: None,
            session_ends_ms: None,
        }
    }

    const CONNECTION: ConnectionId = ConnectionId {
        boot: 1,
        engine: 2,
        slot: 3,
        generation: 4,
    };

    #[test]
    fn a_renewed_stream_is_compared_with_all_roles_that_are_claimed() {
        let claim = |organisation: &str, role: Option<&str>| auth::OrganisationClaim {
            organisation: organisation.to_owned(),
            role: role.map(str::to_owned),
        };
        let claims = [
            claim("acme", Some("owner")),
            claim("globex", None),
            claim("acme", Some("admin, billing")),
        ];
        let all = claimed(&claims, &keys());
        let of = |name: &str| {
            let organisation = keys().organisation(name);
            all.iter()
                .find(|claimed| claimed.organisation == organisation)
                .unwrap()
        };
        let granted = |role| draft(&["c"], None).wanted.filter(roles(role));
        assert_eq!(all.len(), 2);
        // As a session that claims the same is granted it.
        assert!(granted(Some("owner,admin, billing")).is_of_roles(&of("acme").roles));
        assert!(granted(None).is_of_roles(&of("globex").roles));
        assert!(!granted(Some("owner")).is_of_roles(&of("acme").roles));
        assert!(!granted(None).with_every_role().is_of_roles(&[]));
    }

    #[test]
    fn a_member_is_let_into_its_organisation_with_its_roles() {
        let place = place(Some("ac\"me"), Some("owner, admin,x"));
        let grant = grant(CONNECTION, &draft(&["b", "a"], None), Some(&place), &keys());
        let scope = Scope::Organisation(keys().organisation("ac\"me"));
        assert_eq!(grant.scope, scope);
        assert_eq!(grant.user, Some(keys().user("ada")));
        assert_eq!(
            (grant.session, grant.expires_ms),
            (Some(keys().session("s1")), Some(7))
        );
        let roles = ["owner", "admin", "x"].map(|role| Name::new(role).unwrap());
        let channels = ["a", "b"].map(|name| Name::new(name).unwrap());
        assert_eq!(
            grant.filter,
            Filter::new(channels.into(), Vec::new(), roles.into())
        );
        assert_eq!(
            grant.about,
            "\"userId\":\"ada\",\"organizationId\":\"ac\\\"me\",\"organization\":\
             {\"id\":\"ac\\\"me\",\"role\":\"owner, admin,x\"},\"channels\":[\"a\",\"b\"]"
        );
    }

    #[test]
    fn an_earlier_end_of_the_session_that_was_said_since_it_was_read_counts() {
        let granted = |session_ends_ms| {
            let place = Place {
                session_ends_ms,
                ..place(Some("acme"), None)
            };
            grant(CONNECTION, &draft(&[], None), Some(&place), &keys()).expires_ms
        };
        assert_eq!(granted(Some(5)), Some(5));
        // A token ends when it says so, however long its row lasts.
        assert_eq!((granted(Some(9)), granted(None)), (Some(7), Some(7)));
    }

    #[test]
    fn who_belongs_nowhere_has_the_own_topic_and_the_global_one() {
        let place = place(None, None);
        let grant = grant(CONNECTION, &draft(&[], None), Some(&place), &keys());
        assert_eq!(grant.scope, Scope::Nothing);
        assert_eq!(grant.user, Some(keys().user("ada")));
        let about = "\"userId\":\"ada\",\"organizationId\":null,\"organization\":null,\
                     \"channels\":[]";
        assert_eq!(grant.about, about);
    }

    #[test]
    fn a_service_key_names_its_organisation_or_all() {
        let service = Draft {
            session: None,
            expires_ms: None,
            ..draft(&[], Some("*"))
        };
        let grant = grant(CONNECTION, &service, None, &keys());
        assert_eq!(grant.scope, Scope::Everything);
        assert_eq!(
            (grant.user, grant.session, grant.expires_ms),
            (None, None, None)
        );
        let every_role = Filter::default().with_every_role();
        assert_eq!(grant.filter, every_role);
        let about = "\"userId\":null,\"organizationId\":\"*\",\"organization\":{\"id\":\"*\",\
                     \"role\":null},\"channels\":[]";
        assert_eq!(grant.about, about);
    }
}
