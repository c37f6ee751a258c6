//! The rights of users: what is known of them, and the verdict on a newcomer.

use wire::{EventId, Key, Keys, Revocation};

use super::ring::{Mark, Ring};
use super::{
    Admission, Claim, Identity, MembershipSource, MembershipStatus, Place, Question, Wanted,
};

/// What is known of who may have a stream.
pub(crate) struct Rights {
    identity: Identity,
    keys: Keys,
    ring: Ring,
    /// Whether the memberships are known.
    is_loaded: bool,
    revocations: u64,
    now_ms: u64,
}

/// The time of a verdict, on both clocks.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Moment {
    /// The clock of the reader.
    pub(crate) now_ms: u64,
    /// Milliseconds since 1970, by the node's own clock.
    pub(crate) now_unix_ms: u64,
}

impl Rights {
    /// Nothing is known yet.
    pub(crate) fn new(identity: Identity, keys: Keys) -> Self {
        Self {
            is_loaded: identity.members().is_none(),
            identity,
            keys,
            ring: Ring::default(),
            revocations: 0,
            now_ms: 0,
        }
    }

    /// Positions begin anew here.
    pub(crate) fn begin(&mut self, position: EventId) {
        self.ring.begin(position);
    }

    /// What the time is, until it is said again.
    pub(crate) fn handle_timeout(&mut self, now_ms: u64) {
        self.now_ms = now_ms;
    }

    /// Somebody loses a right at this position.
    pub(crate) fn on_revoked(&mut self, revocation: &Revocation, position: EventId) {
        let at_ms = self.now_ms;
        self.revocations += 1;
        self.ring.push(revocation.scope, Mark { position, at_ms });
    }

    /// The verdict on a newcomer.
    pub(crate) fn admit(&self, question: &Question, moment: Moment) -> Admission {
        if !self.is_loaded {
            return Admission::NotReady;
        }
        if self.is_stale(question, moment) {
            return Admission::JudgeAgain;
        }
        match &self.identity.membership {
            MembershipSource::None => match &question.organisation {
                Wanted::Named(_) => Admission::NotAMember,
                Wanted::Preferred(_) | Wanted::Only => Admission::Admitted(Place {
                    user: question.user.clone(),
                    organisation: None,
                    role: None,
                    since: None,
                }),
            },
            MembershipSource::Claim => claimed(question),
            MembershipSource::Table(_) => Admission::NotReady,
        }
    }

    pub(crate) fn status(&self) -> MembershipStatus {
        MembershipStatus {
            ready: self.is_loaded,
            revocations: self.revocations,
            ..MembershipStatus::default()
        }
    }

    /// Whether something was revoked since the credential was judged that may concern it.
    fn is_stale(&self, question: &Question, moment: Moment) -> bool {
        let age_ms = moment.now_unix_ms.saturating_sub(question.judged_ms);
        let judged = Mark {
            position: question.judged,
            at_ms: moment.now_ms.saturating_sub(age_ms),
        };
        let user = self.user(&question.user);
        self.ring.is_stale(judged, user, question.session)
    }

    fn user(&self, user: &str) -> Key {
        self.keys.user(user)
    }
}

/// The verdict by what the session claims.
fn claimed(question: &Question) -> Admission {
    let claims = question.claims.as_deref().unwrap_or_default();
    let of = |organisation: &str| {
        let roles = claims
            .iter()
            .filter(|claim| claim.organisation == organisation)
            .map(|claim| claim.role.as_deref());
        let roles: Vec<Option<&str>> = roles.collect();
        let named: Vec<&str> = roles.iter().copied().flatten().collect();
        (!roles.is_empty()).then(|| {
            Admission::Admitted(Place {
                user: question.user.clone(),
                organisation: Some(organisation.to_owned()),
                role: (!named.is_empty()).then(|| named.join(",")),
                since: None,
            })
        })
    };
    let only = || match claims {
        [] => Admission::NotAMember,
        [Claim { organisation, .. }, rest @ ..]
            if rest.iter().all(|it| it.organisation == *organisation) =>
        {
            of(organisation).expect("it is one of the claims")
        }
        _ => Admission::SeveralOrganisations,
    };
    match &question.organisation {
        Wanted::Named(name) => of(name).unwrap_or(Admission::NotAMember),
        Wanted::Preferred(name) => of(name).unwrap_or_else(only),
        Wanted::Only => only(),
    }
}

impl std::fmt::Debug for Rights {
    /// Without the keys, which are a secret of the boot.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Rights")
            .field("status", &self.status())
            .finish_non_exhaustive()
    }
}
