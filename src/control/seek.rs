//! What the loop does for somebody who is known: counts them in, asks the owner of the memberships, and
//! carries out the answer. The decisions themselves are in `counts`, `admission` and `verdict`.

use std::net::IpAddr;
use std::sync::Arc;

use engine::Command;
use replication::{Admission, Claim, Question, Wanted as Organisation};
use wire::http::{Refusal, RefusalCode};
use wire::{CloseReason, ConnectionId, Key, Scope};

use super::admission::{Admit, Answer, Draft, Granted, Order, Wish};
use super::counts::{Full, Holder};
use super::outage::Trust;
use super::petition::{Errand, Known, Petition};
use super::request::Wanted;
use super::{Control, verdict};
use crate::clock::unix_ms;

/// How often somebody is judged again who may have been revoked meanwhile.
const ATTEMPTS_MAX: u8 = 3;

/// The pause before that, where it was judged a moment ago: what was committed is seen by other
/// connections a little later than the stream has it.
const AGAIN_MS: u64 = 400;

/// What was judged longer ago than this is judged again at once.
const FRESH_MS: u64 = 1_500;

/// A user who waits for a place, and where.
pub(super) type Newcomer = (Petition, Known, Organisation);

/// Somebody about whom the owner of the memberships is asked.
pub(super) struct Admitting {
    /// `None` for a service key.
    seeker: Option<(Petition, Known)>,
    /// What was counted in; a page that is answered at once is not.
    holder: Option<Holder>,
    /// Of a renewal.
    ticket: Option<u64>,
}

impl Admitting {
    /// A user of whom nothing is counted.
    pub(super) fn of(petition: Petition, known: Known) -> Self {
        Self {
            seeker: Some((petition, known)),
            holder: None,
            ticket: None,
        }
    }
}

impl Control {
    /// Who asks is known: the errand goes on.
    pub(super) fn on_known(&mut self, petition: Petition, known: Known) {
        match &petition.errand {
            Errand::Open(wanted) => {
                let wanted = Arc::clone(wanted);
                let identity = &known.identity;
                let organisation = match (&wanted.organization, &identity.active_organisation) {
                    (Some(named), _) => Organisation::Named(named.clone()),
                    (None, Some(active)) => Organisation::Preferred(active.clone()),
                    (None, None) => Organisation::Only,
                };
                // Where organisations are counted it has to be known which, before the stream is, and that
                // the user belongs to it: nobody else takes its room, or is told that there is none.
                let is_counted = self.config.limits.connections_per_organization > 0;
                if is_counted && wanted.purpose.is_counted() {
                    return self.ask_organisation(petition, known, organisation);
                }
                self.seek(petition, known, organisation);
            }
            Errand::Change(_) => self.admit_change(petition, known),
            Errand::Renew { .. } => self.admit_renewal(petition, known),
        }
    }

    /// The owner of the memberships has answered.
    pub(super) fn on_admission(&mut self, answer: Answer) {
        match answer {
            Answer::Granted(granted) => self.on_granted(&granted),
            Answer::Organisation {
                asker,
                organisation,
            } => {
                let admitting = self.admitting.remove(&asker);
                let seeker = admitting.and_then(|admitting| admitting.seeker);
                let (petition, known) = seeker.expect("only users are asked where they belong");
                let organisation = organisation.map_or(Organisation::Only, Organisation::Named);
                self.seek(petition, known, organisation);
            }
            Answer::Identified { asker, user } => {
                let admitting = self.admitting.remove(&asker);
                let seeker = admitting.and_then(|admitting| admitting.seeker);
                let (petition, _) = seeker.expect("only users are asked after");
                self.on_identified(&petition, user);
            }
            Answer::Renewed { asker } => {
                self.admitting.remove(&asker);
            }
            Answer::Refused { asker, why } => self.on_refused(asker, why),
        }
    }

    /// Counts a user in, and asks the owner of the memberships.
    fn seek(&mut self, petition: Petition, known: Known, organisation: Organisation) {
        let Errand::Open(wanted) = &petition.errand else {
            unreachable!("only who wants a stream or a page is counted")
        };
        // By the names under which it will be granted, or one limit would be as many as there are
        // spellings.
        let spelling = self.shared.feed.spelling();
        let user = spelling.user(&known.identity.user);
        let holder = Holder {
            connection: petition.connection,
            user: Some(self.keys.user(&user)),
            scope: match &organisation {
                Organisation::Named(name) => {
                    let name = spelling.organisation(name);
                    Scope::Organisation(self.keys.organisation(&name))
                }
                _ => Scope::Nothing,
            },
            address: petition.address,
        };
        let holder = match self.take(&holder, wanted) {
            Ok(holder) => holder,
            Err(Full::User(refusal)) => {
                return self.wait_for_place(petition, known, organisation, &holder, &refusal);
            }
            Err(full) => return self.refuse(&petition, &full.refusal()),
        };
        let draft = Draft {
            wanted: Arc::clone(wanted),
            organisation: None,
            session: Some(self.keys.session(&known.identity.session)),
            expires_ms: known.identity.expires_ms,
        };
        let admit = Admit {
            asker: petition.connection,
            question: Some(self.question(&known, organisation)),
            wish: Wish::Open(draft),
        };
        self.order(
            admit,
            Admitting {
                seeker: Some((petition, known)),
                holder,
                ticket: None,
            },
        );
    }

    fn ask_organisation(&mut self, petition: Petition, known: Known, organisation: Organisation) {
        if let Err(refusal) = self.room() {
            return self.refuse(&petition, &refusal);
        }
        let admit = Admit {
            asker: petition.connection,
            question: Some(self.question(&known, organisation)),
            wish: Wish::Organisation,
        };
        self.order(admit, Admitting::of(petition, known));
    }

    pub(super) fn admit_service(
        &mut self,
        connection: ConnectionId,
        address: Option<IpAddr>,
        wanted: Wanted,
    ) {
        let manner = wanted.manner.clone();
        let organisation = wanted.organization.clone();
        let scope = verdict::service_scope(organisation.as_deref(), &self.keys);
        let holder = Holder {
            connection,
            user: None,
            scope,
            address,
        };
        let counted = match organisation {
            None => {
                let message = "name the organisation: ?organizationId=…, or * for all";
                let code = RefusalCode::OrganizationRequired;
                Err(Refusal::new(code, message))
            }
            Some(_) => self.take(&holder, &wanted).map_err(Full::refusal),
        };
        let holder = match counted {
            Ok(holder) => holder,
            Err(refusal) => {
                let jitter = self.jitter();
                let response = manner.refuse(&refusal, jitter);
                return self.answer(connection, response, Some(refusal.code));
            }
        };
        let draft = Draft {
            wanted: Arc::new(wanted),
            organisation,
            session: None,
            expires_ms: None,
        };
        let admit = Admit {
            asker: connection,
            question: None,
            wish: Wish::Open(draft),
        };
        self.order(
            admit,
            Admitting {
                seeker: None,
                holder,
                ticket: None,
            },
        );
    }

    fn admit_renewal(&mut self, petition: Petition, known: Known) {
        let Errand::Renew { stream, manner } = &petition.errand else {
            unreachable!("another errand")
        };
        let identity = &known.identity;
        let done = serde_json::json!({ "expiresAt": identity.expires_ms });
        let ticket = self.room().and_then(|()| {
            let (fields, now_ms) = (manner.fields.clone(), self.monotonic_ms());
            let done = done.to_string().into_bytes();
            self.tickets.open(petition.connection, fields, done, now_ms)
        });
        let ticket = match ticket {
            Ok(ticket) => ticket,
            Err(refusal) => return self.refuse(&petition, &refusal),
        };
        let renewal = wire::Renewal {
            connection: *stream,
            ticket,
            user: self.keys.user(&identity.user),
            session: self.keys.session(&identity.session),
            expires_ms: identity.expires_ms,
            claims: identity
                .organisations
                .as_ref()
                .map(|claims| verdict::claimed(claims, &self.keys)),
        };
        let admit = Admit {
            asker: petition.connection,
            question: Some(self.question(&known, Organisation::Anywhere)),
            wish: Wish::Renew(renewal),
        };
        self.order(
            admit,
            Admitting {
                seeker: Some((petition, known)),
                holder: None,
                ticket: Some(ticket),
            },
        );
    }

    pub(super) fn order(&mut self, admit: Admit, admitting: Admitting) {
        let before = self.admitting.insert(admit.asker, admitting);
        assert!(
            before.is_none(),
            "a connection asks for one thing at a time"
        );
        self.outbox.order(Order::Admit(Box::new(admit)));
    }

    pub(super) fn question(&self, known: &Known, organisation: Organisation) -> Question {
        let Known { identity, judged } = known;
        let claim = |claim: &auth::OrganisationClaim| Claim {
            organisation: claim.organisation.clone(),
            role: claim.role.clone(),
        };
        let claims = identity.organisations.as_ref();
        Question {
            user: identity.user.clone(),
            session: self.keys.session(&identity.session),
            issued_ms: identity.issued_ms,
            organisation,
            judged: judged.position,
            judged_ms: judged.at_ms,
            claims: claims.map(|claims| claims.iter().map(claim).collect()),
        }
    }

    /// Counts it in, if there is room everywhere, and gives what was counted.
    fn take(&mut self, holder: &Holder, wanted: &Wanted) -> Result<Option<Holder>, Full> {
        self.room().map_err(Full::Other)?;
        if !wanted.purpose.is_counted() {
            return Ok(None);
        }
        self.counts.take(holder)?;
        Ok(Some(*holder))
    }

    /// Whether anybody can be let in at all by now: a look at a database takes its time.
    pub(super) fn room(&self) -> Result<(), Refusal> {
        if self.shared.is_draining() {
            let message = "the node is about to stop";
            return Err(Refusal::new(RefusalCode::Draining, message));
        }
        if self.trust(self.monotonic_ms()) == Trust::Lost {
            // A place may be free because everybody had to leave it.
            let message = "nobody has vouched for anybody's rights for too long";
            return Err(Refusal::new(RefusalCode::NotReady, message));
        }
        if !self.outbox.has_room() {
            let message = "too many streams are being opened at a time";
            return Err(Refusal::new(RefusalCode::Overloaded, message));
        }
        Ok(())
    }

    /// The user has as many streams as may be. One may end in a moment, or is made to.
    fn wait_for_place(
        &mut self,
        petition: Petition,
        known: Known,
        organisation: Organisation,
        holder: &Holder,
        refusal: &Refusal,
    ) {
        let (Some(user), Errand::Open(wanted)) = (holder.user, &petition.errand) else {
            unreachable!("the limit is a user's, for streams and pages")
        };
        if wanted.takes_oldest
            && let Some(connection) = self.seniority.take_oldest(user)
        {
            let reason = CloseReason::Replaced;
            let engine = connection.engine;
            let close = Command::Close { connection, reason };
            self.outbox.command(engine, close);
        }
        let now_ms = self.monotonic_ms();
        let newcomer = (petition, known, organisation);
        if let Err((petition, ..)) = self.places.wait(user, newcomer, now_ms) {
            self.refuse(&petition, refusal);
        }
    }

    /// A stream of this user has ended: there is a place.
    pub(super) fn on_place(&mut self, user: Key) {
        if let Some((petition, known, organisation)) = self.places.next_of(user) {
            self.seek(petition, known, organisation);
        }
    }

    /// Who has waited for a place in vain is refused, and who is to be judged again is.
    pub(super) fn on_time(&mut self, now_ms: u64) {
        while let Some((petition, ..)) = self.places.overdue(now_ms) {
            let message = format!(
                "the user has {} streams open, as many as limits.connections_per_user allows",
                self.config.limits.connections_per_user
            );
            let refusal = Refusal::new(RefusalCode::TooManyConnections, message);
            self.refuse(&petition, &refusal);
        }
        while let Some((due_ms, _)) = self.again.front()
            && *due_ms <= now_ms
        {
            let (_, petition) = self.again.pop_front().expect("it was just looked at");
            self.judge_again(petition);
        }
        while let Some(holder) = self.tickets.overdue(now_ms) {
            let (response, code) = holder.unknown();
            self.answer(holder.connection, response, code);
        }
    }

    fn on_granted(&mut self, granted: &Granted) {
        let connection = granted.connection;
        let admitting = self.admitting.remove(&connection);
        let admitting = admitting.expect("what is answered was asked");
        let Some(holder) = admitting.holder else {
            return;
        };
        self.counts.settle(&holder, granted.user_key, granted.scope);
        self.seniority.join(granted.user_key, connection);
        if !granted.is_page {
            let user = granted.user.as_deref();
            let organisation = granted.organisation.as_deref().unwrap_or("-");
            self.log
                .connected(unix_ms(), connection, user, organisation);
        }
        let streams = u64::from(self.counts.all());
        if let Some(address) = holder.address
            && let Some(address) = self.crowd.observe(address, streams)
        {
            tracing::warn!(
                "nine tenths of the streams come from one address, {address}: if a proxy stands \
                 there, name it in http.trusted_proxies, or limits per address are the proxy's"
            );
        }
    }

    fn on_refused(&mut self, asker: ConnectionId, why: Admission) {
        let admitting = self.admitting.remove(&asker);
        let admitting = admitting.expect("what is answered was asked");
        if let Some(holder) = admitting.holder {
            self.give_back(holder.connection, holder.user, holder.scope);
        }
        if let Some(ticket) = admitting.ticket {
            self.tickets.close(ticket);
        }
        let (petition, known) = admitting.seeker.expect("a service key is not judged");
        let (code, message) = match why {
            Admission::Admitted(_) => unreachable!("whoever is let in is not refused"),
            Admission::JudgeAgain => return self.on_judge_again(petition, &known),
            // The same words whether there is such an organisation or not.
            Admission::NotAMember => (
                RefusalCode::NotAMember,
                "the user is not a member of this organisation, or there is none",
            ),
            Admission::SeveralOrganisations => (
                RefusalCode::OrganizationRequired,
                "the user has several organisations: name one, ?organizationId=…",
            ),
            Admission::Revoked => (
                RefusalCode::Unauthenticated,
                "the session was ended, or its user may not come in",
            ),
            Admission::NotReady => (
                RefusalCode::NotReady,
                "the node does not know the memberships yet",
            ),
        };
        self.refuse(&petition, &Refusal::new(code, message));
    }

    fn on_judge_again(&mut self, mut petition: Petition, known: &Known) {
        self.shared.identity.judged_again();
        if petition.attempts >= ATTEMPTS_MAX {
            let message = "rights change faster than they can be looked up; come back in a moment";
            let refusal = Refusal::new(RefusalCode::Unavailable, message);
            return self.refuse(&petition, &refusal);
        }
        petition.attempts += 1;
        if unix_ms().saturating_sub(known.judged.at_ms) > FRESH_MS {
            return self.judge_again(petition);
        }
        self.again
            .push_back((self.monotonic_ms() + AGAIN_MS, petition));
    }

    /// Judges somebody again, by what can be read now.
    fn judge_again(&mut self, mut petition: Petition) {
        petition.answered = auth::Answered::default();
        // Once there was a position, there always is.
        if let Some(judged) = self.judged() {
            petition.judged = judged;
        }
        self.identify(petition);
    }
}
