//! Verdicts: from who asks, what is wanted and what the database says, to a grant or a refusal. Pure.

use bytes::Bytes;
use wire::http::{Refusal, RefusalCode, stream_head};
use wire::{ConnectionId, Grant, Key, Keys, Name, Scope, json};

use super::membership::Member;
use super::request::Wanted;

/// Lets somebody in: everything about a grant but the connection.
#[derive(Debug)]
pub(super) struct Admission {
    /// The user, as the log names it; `None` for a service key.
    pub(super) user: Option<String>,
    /// The organisation, as the log names it.
    pub(super) organization: String,
    pub(super) user_key: Option<Key>,
    pub(super) scope: Scope,
    session: Option<Key>,
    expires_ms: Option<u64>,
    role: Option<String>,
}

impl Admission {
    /// A service key may read any organisation, or with `*` all.
    ///
    /// # Errors
    ///
    /// The refusal, where none is named.
    pub(super) fn of_service(organization: Option<&str>, keys: &Keys) -> Result<Self, Refusal> {
        let Some(organization) = organization else {
            let message = "name the organisation: ?organizationId=…, or * for all";
            return Err(Refusal::new(RefusalCode::OrganizationRequired, message));
        };
        Ok(Self {
            user: None,
            organization: organization.to_owned(),
            user_key: None,
            scope: match organization {
                "*" => Scope::Everything,
                name => Scope::Organisation(keys.organisation(name)),
            },
            session: None,
            expires_ms: None,
            role: None,
        })
    }

    /// A user may read the organisations that it is a member of. `members` are the rows that answer
    /// the question; several rows of one organisation are several roles.
    ///
    /// # Errors
    ///
    /// The refusal, where there is no row, or no organisation was named and there are several.
    pub(super) fn of_user(
        identity: &auth::Identity,
        members: &[Member],
        keys: &Keys,
    ) -> Result<Self, Refusal> {
        let Some(first) = members.first() else {
            let message = "the user is not a member of this organisation, or there is none";
            return Err(Refusal::new(RefusalCode::NotAMember, message));
        };
        if members
            .iter()
            .any(|member| member.organization != first.organization)
        {
            let message = "the user has several organisations: name one, ?organizationId=…";
            return Err(Refusal::new(RefusalCode::OrganizationRequired, message));
        }
        let roles: Vec<&str> = members
            .iter()
            .filter_map(|member| member.role.as_deref())
            .collect();
        Ok(Self {
            // As the database spells them: rows are routed by the same text.
            user: Some(first.user.clone()),
            organization: first.organization.clone(),
            user_key: Some(keys.user(&first.user)),
            scope: Scope::Organisation(keys.organisation(&first.organization)),
            session: Some(keys.session(&identity.session)),
            expires_ms: identity.expires_ms,
            role: (!roles.is_empty()).then(|| roles.join(",")),
        })
    }

    /// The grant for a connection.
    pub(super) fn grant(&self, connection: ConnectionId, wanted: &Wanted) -> Grant {
        let filter = match &self.user {
            None => wanted.filter(Vec::new()).with_every_role(),
            Some(_) => wanted.filter(self.roles()),
        };
        Grant {
            connection,
            scope: self.scope,
            user: self.user_key,
            session: self.session,
            about: self.about(filter.channels()),
            filter,
            format: wanted.manner.format,
            expires_ms: self.expires_ms,
            since: None,
            resume: wanted.resume,
            head: stream_head(wanted.manner.fields.as_str()),
            purpose: wire::Purpose::Stream,
        }
    }

    /// A role that is no name cannot stand in a route either.
    fn roles(&self) -> Vec<Name> {
        let role = self.role.as_deref().unwrap_or_default();
        role.split(',')
            .filter_map(|role| Name::new(role.trim()).ok())
            .collect()
    }

    /// The members of the `connected` event that control knows (architecture, HTTP surface).
    fn about(&self, channels: &[Name]) -> Bytes {
        let mut out = Vec::with_capacity(256);
        let mut put = |literal: &str, text: Option<&str>| {
            out.extend_from_slice(literal.as_bytes());
            match text {
                Some(text) => json::escape_into(&mut out, text),
                None => out.extend_from_slice(b"null"),
            }
        };
        put("\"userId\":", self.user.as_deref());
        put(",\"organizationId\":", Some(&self.organization));
        put(",\"organization\":{\"id\":", Some(&self.organization));
        put(",\"role\":", self.role.as_deref());
        out.extend_from_slice(b"},\"channels\":[");
        for (at, channel) in channels.iter().enumerate() {
            out.extend_from_slice(if at == 0 { b"" } else { b"," });
            json::escape_into(&mut out, channel.as_str());
        }
        out.push(b']');
        Bytes::from(out)
    }
}

#[cfg(test)]
mod tests {
    use wire::http::Fields;
    use wire::{Filter, Resume};

    use super::super::request::{Caller, Manner};
    use super::*;

    fn keys() -> Keys {
        Keys::new([3; 16])
    }

    fn wanted(channels: &[&str]) -> Wanted {
        Wanted {
            caller: Caller::Service,
            organization: None,
            channels: channels
                .iter()
                .map(|name| Name::new(name).unwrap())
                .collect(),
            types: Vec::new(),
            resume: Resume::Live,
            manner: Manner {
                fields: Fields::new(),
                format: wire::Format::Event,
                is_soft: true,
                last_event_id: None,
            },
        }
    }

    fn identity() -> auth::Identity {
        auth::Identity {
            user: "ADA".into(),
            session: "s1".into(),
            expires_ms: Some(7),
            issued_ms: None,
            active_organisation: None,
            organisations: None,
        }
    }

    fn member(organization: &str, role: Option<&str>) -> Member {
        let role = role.map(str::to_owned);
        Member {
            user: "ada".into(),
            organization: organization.into(),
            role,
        }
    }

    const CONNECTION: ConnectionId = ConnectionId {
        boot: 1,
        engine: 2,
        slot: 3,
        generation: 4,
    };

    #[test]
    fn a_member_is_let_into_its_organisation_with_its_roles() {
        let members = [
            member("ac\"me", Some("owner, admin")),
            member("ac\"me", Some("x")),
        ];
        let admission = Admission::of_user(&identity(), &members, &keys()).unwrap();
        let grant = admission.grant(CONNECTION, &wanted(&["b", "a"]));
        assert_eq!(
            grant.scope,
            Scope::Organisation(keys().organisation("ac\"me"))
        );
        assert_eq!(
            grant.user,
            Some(keys().user("ada")),
            "as the database spells it"
        );
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
    fn nobody_is_let_in_without_a_row() {
        let refusal = Admission::of_user(&identity(), &[], &keys()).unwrap_err();
        assert_eq!(refusal.code, RefusalCode::NotAMember);
        let two = [member("acme", None), member("globex", None)];
        let refusal = Admission::of_user(&identity(), &two, &keys()).unwrap_err();
        assert_eq!(refusal.code, RefusalCode::OrganizationRequired);
    }

    #[test]
    fn a_service_key_names_its_organisation_or_all() {
        let refusal = Admission::of_service(None, &keys()).unwrap_err();
        assert_eq!(refusal.code, RefusalCode::OrganizationRequired);
        let all = Admission::of_service(Some("*"), &keys()).unwrap();
        assert_eq!(all.scope, Scope::Everything);
        let grant = all.grant(CONNECTION, &wanted(&[]));
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
