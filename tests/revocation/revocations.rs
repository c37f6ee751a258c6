//! The ways in which somebody loses a right, each as the statement that an application would run, and
//! what a client must be told then.

use crate::support::session;

/// A way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Revocation {
    /// The membership's row is deleted.
    Membership,
    /// The same, while its user is disconnected.
    Absent,
    /// The same, and the user is a member again a moment later.
    Returned,
    /// The session's row is deleted: one browser signs out, the others stay.
    Session,
    /// The user's row says that they are banned.
    Ban,
    /// The role of the membership changes, and events are for the old one alone.
    Role,
    /// The organisation's row is deleted, and nothing else.
    Organisation,
}

/// Somebody who is going to lose a right.
#[derive(Clone, Debug)]
pub(crate) struct Person {
    pub(crate) user: String,
    pub(crate) organisation: String,
    /// The cookie of the session that is lost.
    pub(crate) cookie: String,
    /// That of another session of theirs, which is not.
    pub(crate) other_cookie: Option<String>,
}

impl Revocation {
    /// The word for it: in names, in what is printed.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Membership => "membership",
            Self::Absent => "absent",
            Self::Returned => "returned",
            Self::Session => "session",
            Self::Ban => "ban",
            Self::Role => "role",
            Self::Organisation => "organisation",
        }
    }

    /// The statements that make everybody who will be revoked.
    pub(crate) fn people(self, rounds: usize) -> String {
        let name = self.name();
        let last = rounds.saturating_sub(1);
        let organisation = match self {
            Self::Organisation => format!("'{name}-org-' || n"),
            _ => "'acme'".to_owned(),
        };
        let mut statements = format!(
            r#"INSERT INTO "User" SELECT '{name}-' || n, 'U', 'x' FROM generate_series(0, {last}) n;"#
        );
        if self == Self::Organisation {
            statements += &format!(
                r#"INSERT INTO "Organization" SELECT {organisation}, 'O'
                   FROM generate_series(0, {last}) n;"#
            );
        }
        statements += &format!(
            r#"INSERT INTO "OrganizationMember" (id, "organizationId", "userId", role)
               SELECT 'm-{name}-' || n, {organisation}, '{name}-' || n, 'editor'
               FROM generate_series(0, {last}) n;"#
        );
        if self.has_session_rows() {
            statements += &format!(
                r#"INSERT INTO "Session" SELECT 's-' || which || '-' || n, 'token-of-session-' || which || '-' || n,
                   '{name}-' || n, now() + interval '1 day'
                   FROM generate_series(0, {last}) n, unnest(ARRAY['lost', 'kept']) which;"#
            );
        }
        statements
    }

    /// Whether sessions are rows of a table here; else they are tokens, which no database knows.
    pub(crate) fn has_session_rows(self) -> bool {
        matches!(self, Self::Session | Self::Ban)
    }

    /// Who is revoked in a round.
    pub(crate) fn person(self, round: usize) -> Person {
        let name = self.name();
        let user = format!("{name}-{round}");
        let row = |which: &str| format!("authjs.session-token=token-of-session-{which}-{round}");
        Person {
            organisation: match self {
                Self::Organisation => format!("{name}-org-{round}"),
                _ => "acme".to_owned(),
            },
            cookie: match self.has_session_rows() {
                true => row("lost"),
                false => format!("session={}", session::token(&user)),
            },
            other_cookie: (self == Self::Session).then(|| row("kept")),
            user,
        }
    }

    /// The statement that takes the right away.
    pub(crate) fn statement(self, person: &Person, round: usize) -> String {
        let Person {
            user, organisation, ..
        } = person;
        match self {
            Self::Membership | Self::Absent | Self::Returned => {
                format!(r#"DELETE FROM "OrganizationMember" WHERE "userId" = '{user}';"#)
            }
            Self::Session => format!(r#"DELETE FROM "Session" WHERE id = 's-lost-{round}';"#),
            Self::Ban => format!(r#"UPDATE "User" SET banned = true WHERE id = '{user}';"#),
            Self::Role => format!(
                r#"UPDATE "OrganizationMember" SET role = 'viewer' WHERE "userId" = '{user}';"#
            ),
            Self::Organisation => {
                format!(r#"DELETE FROM "Organization" WHERE id = '{organisation}';"#)
            }
        }
    }

    /// The statement that gives it back, where it comes back.
    pub(crate) fn return_statement(self, person: &Person) -> Option<String> {
        let Person {
            user, organisation, ..
        } = person;
        (self == Self::Returned).then(|| {
            format!(
                r#"INSERT INTO "OrganizationMember" ("organizationId", "userId", role)
                   VALUES ('{organisation}', '{user}', 'editor');"#
            )
        })
    }

    /// The statement that makes an event which only this right admits to.
    pub(crate) fn event(self, id: &str, organisation: &str) -> String {
        match self {
            Self::Role => format!(
                r#"INSERT INTO "Activity" (id, "organizationId", verb)
                   VALUES ('{id}', '{organisation}', 'V');"#
            ),
            _ => crate::house::insert(id, organisation),
        }
    }

    /// What `bye` says.
    pub(crate) fn reason(self) -> &'static str {
        match self {
            Self::Membership | Self::Absent | Self::Returned => "membership_revoked",
            Self::Session | Self::Ban => "session_revoked",
            Self::Role => "role_changed",
            Self::Organisation => "organization_deleted",
        }
    }

    /// The status of a request that comes afterwards; `None` where it is a stream again.
    pub(crate) fn refusals(self) -> Option<&'static [u16]> {
        match self {
            Self::Membership | Self::Absent | Self::Organisation => Some(&[403]),
            Self::Session => Some(&[401]),
            Self::Ban => Some(&[401, 403]),
            Self::Role | Self::Returned => None,
        }
    }
}
