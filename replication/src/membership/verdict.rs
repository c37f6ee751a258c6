//! The verdict on a newcomer, by what is known at this moment.

use std::borrow::Cow;

use wire::{EventId, Key};

use super::kept::Target;
use super::rights::Rights;
use super::ring::Mark;
use super::{Admission, Claim, MembershipSource, Place, Question, Wanted};
use crate::planted;

/// When somebody asks, on both clocks and in the log.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Moment {
    /// The clock of the reader.
    pub(crate) now_ms: u64,
    /// Milliseconds since 1970, by the node's own clock.
    pub(crate) now_unix_ms: u64,
    /// What was changed here or later is known, and what was written before it is not handed over yet;
    /// `None` where everything that is known was.
    pub(crate) pending: Option<EventId>,
    /// Everything up to here is known.
    pub(crate) known: EventId,
}

/// What is to be known of the user whoever they belong to.
struct Asked<'a> {
    question: &'a Question,
    moment: Moment,
    user: Cow<'a, str>,
    user_key: Key,
}

impl Rights {
    /// Whether somebody may be let in.
    pub(crate) fn admit(&self, question: &Question, moment: Moment) -> Admission {
        if !self.is_ready() || self.kept.is_full(moment.now_unix_ms) {
            return Admission::NotReady;
        }
        let user = self.spelling.user(&question.user);
        let asked = Asked {
            question,
            moment,
            user_key: self.keys.user(&user),
            user,
        };
        if self.is_stale(&asked) {
            return Admission::JudgeAgain;
        }
        let user = Target::User(asked.user_key);
        let session = Target::Session(question.session);
        if self.keeps_out(&asked, user) || self.keeps_out(&asked, session) {
            return Admission::Revoked;
        }
        match (&self.identity.membership, &question.organisation) {
            // Whoever is let in nowhere sees nothing.
            (_, Wanted::Anywhere) => asked.place(None, None, None, self.session_ends_ms(&asked)),
            (MembershipSource::None, Wanted::Named(_)) => Admission::NotAMember,
            (MembershipSource::None, Wanted::Preferred(_) | Wanted::Only) => {
                self.place(&asked, None, None, None)
            }
            (MembershipSource::Claim, wanted) => self.claimed(&asked, wanted),
            (MembershipSource::Table(_), wanted) => self.listed(&asked, wanted),
        }
    }

    /// Whether something was revoked since the credential was judged that may concern it, or the stream has last
    /// said that its session's end has passed, or that its user is banned.
    fn is_stale(&self, asked: &Asked<'_>) -> bool {
        let (judged, session) = (asked.judged(), asked.question.session);
        // Whoever sees another end than one that has passed is ahead of the stream, or of a commit behind it.
        let now_unix_ms = asked.moment.now_unix_ms;
        let is_over = |ends_ms: u64| ends_ms <= now_unix_ms;
        // So is whoever sees that a user is not banned of whom the stream says otherwise.
        let is_banned = self.bans.holds(asked.user_key, now_unix_ms);
        self.ring.is_stale(judged, asked.user_key, session)
            || (is_banned && !planted::JUDGED_AFTER_READ)
            || self.ends.has_forgotten(judged)
            || self.session_ends_ms(asked).is_some_and(is_over)
    }

    /// When the session ends, as the stream has last said it.
    fn session_ends_ms(&self, asked: &Asked<'_>) -> Option<u64> {
        self.ends.of(asked.question.session, asked.user_key)
    }

    fn keeps_out(&self, asked: &Asked<'_>, target: Target) -> bool {
        let issued_ms = asked.question.issued_ms;
        self.kept
            .keeps_out(target, issued_ms, asked.moment.now_unix_ms)
    }

    /// Whether an organisation is one that the user is kept out of.
    fn keeps_out_of(&self, asked: &Asked<'_>, organisation: Key) -> bool {
        let member = Target::Member(asked.user_key, organisation);
        self.keeps_out(asked, Target::Organisation(organisation)) || self.keeps_out(asked, member)
    }

    /// The verdict by the table.
    fn listed(&self, asked: &Asked<'_>, wanted: &Wanted) -> Admission {
        match wanted {
            Wanted::Named(name) => {
                let is_listed = self.listed_in(asked, &self.spelling.organisation(name));
                is_listed.unwrap_or_else(|| self.not_listed())
            }
            Wanted::Preferred(name) => {
                let is_listed = self.listed_in(asked, &self.spelling.organisation(name));
                is_listed.unwrap_or_else(|| self.listed_once(asked))
            }
            Wanted::Only => self.listed_once(asked),
            Wanted::Anywhere => unreachable!("it is no question of organisations"),
        }
    }

    /// Who is not found is no member, unless some were left out.
    fn not_listed(&self) -> Admission {
        if self.map.is_full() {
            Admission::NotReady
        } else {
            Admission::NotAMember
        }
    }

    fn listed_once(&self, asked: &Asked<'_>) -> Admission {
        if self.map.is_full() {
            return Admission::NotReady;
        }
        let mut organisations = self.map.organisations(asked.user_key);
        match (organisations.next(), organisations.next()) {
            (None, _) => Admission::NotAMember,
            (Some(_), Some(_)) => Admission::SeveralOrganisations,
            (Some(only), None) => {
                let name = self
                    .map
                    .name(only)
                    .expect("a row's organisation has its name");
                let is_listed = self.listed_by(asked, name, only);
                is_listed.expect("there is a row")
            }
        }
    }

    /// The verdict on one organisation; `None` where the user does not belong to it.
    fn listed_in(&self, asked: &Asked<'_>, organisation: &str) -> Option<Admission> {
        let key = self.keys.organisation(organisation);
        self.listed_by(asked, organisation, key)
    }

    /// The same, where the organisation's key is known.
    fn listed_by(&self, asked: &Asked<'_>, organisation: &str, key: Key) -> Option<Admission> {
        let membership = self.map.membership(asked.user_key, key)?;
        if self.keeps_out_of(asked, key) {
            return Some(Admission::Revoked);
        }
        let since = membership.since.max(self.unfollowed);
        Some(self.place(asked, Some(organisation), membership.role(), since))
    }

    /// Where somebody is let in who has been a member since a position; not before everything is handed over
    /// that is not for them.
    fn place(
        &self,
        asked: &Asked<'_>,
        organisation: Option<&str>,
        role: Option<String>,
        since: Option<EventId>,
    ) -> Admission {
        let Moment {
            now_unix_ms,
            pending,
            known,
            ..
        } = asked.moment;
        let user = asked.user_key;
        let session = Target::Session(asked.question.session);
        let mut who = vec![Target::User(user), session];
        if let Some(organisation) = organisation.map(|it| self.keys.organisation(it)) {
            who.push(Target::Organisation(organisation));
            who.push(Target::Member(user, organisation));
        }
        let since = since.max(self.absences.since(&who, now_unix_ms, known));
        let is_just_back = self.bans.is_just_over(user, now_unix_ms);
        let since = since.max(is_just_back.then_some(known));
        // Before what let them in, there may be something to hand over that is not for them.
        let is_early = |since| pending.is_some_and(|pending| since >= pending);
        if since.is_some_and(is_early) {
            return Admission::NotReady;
        }
        asked.place(organisation, role, since, self.session_ends_ms(asked))
    }

    /// The verdict by what the session claims.
    fn claimed(&self, asked: &Asked<'_>, wanted: &Wanted) -> Admission {
        let claims = asked.question.claims.as_deref().unwrap_or_default();
        let in_ = |organisation: &str| {
            let mut of = claims
                .iter()
                .filter(|claim| claim.organisation == organisation)
                .peekable();
            of.peek()?;
            if self.keeps_out_of(asked, self.keys.organisation(organisation)) {
                return Some(Admission::Revoked);
            }
            let roles: Vec<&str> = of.filter_map(|claim| claim.role.as_deref()).collect();
            let role = (!roles.is_empty()).then(|| roles.join(","));
            Some(self.place(asked, Some(organisation), role, None))
        };
        let only = || match claims {
            [] => Admission::NotAMember,
            [Claim { organisation, .. }, rest @ ..]
                if rest.iter().all(|it| it.organisation == *organisation) =>
            {
                in_(organisation).expect("it is one of the claims")
            }
            _ => Admission::SeveralOrganisations,
        };
        match wanted {
            Wanted::Named(name) => in_(name).unwrap_or(Admission::NotAMember),
            Wanted::Preferred(name) => in_(name).unwrap_or_else(only),
            Wanted::Only => only(),
            Wanted::Anywhere => unreachable!("it is no question of organisations"),
        }
    }
}

impl Asked<'_> {
    /// When the credential was judged, in the log and by the clock of the reader.
    fn judged(&self) -> Mark {
        let Self {
            question, moment, ..
        } = self;
        let age_ms = moment.now_unix_ms.saturating_sub(question.judged_ms);
        Mark {
            position: question.judged,
            at_ms: moment.now_ms.saturating_sub(age_ms),
        }
    }

    fn place(
        &self,
        organisation: Option<&str>,
        role: Option<String>,
        since: Option<EventId>,
        session_ends_ms: Option<u64>,
    ) -> Admission {
        Admission::Admitted(Place {
            user: self.user.clone().into_owned(),
            organisation: organisation.map(str::to_owned),
            role,
            since,
            session_ends_ms,
        })
    }
}
