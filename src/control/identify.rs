//! Who asks: from credentials to an identity, by the shortest way there is. What was verified a moment
//! ago is remembered; a token is verified here; a session's row, a user's row, the application and an
//! issuer's keys are asked for, in batches, and the request waits meanwhile.
//!
//! Whatever is found, it is found under the moment that was noted before anybody looked: the owner of
//! the memberships asks for what was revoked since.

use auth::cookie::Cookies;
use auth::introspection::AnswerError;
use auth::limits::CACHE_MS_MAX;
use auth::{Identity, IdentityError, Presented, TokenError, Verdict};
use wire::http::{Refusal, RefusalCode};

use super::Control;
use super::introspections::{Answer, Arrived, Landed};
use super::keysets::{Fetched, Unknown};
use super::petition::{Known, Petition};
use super::request::Credentials;
use super::rows::{SessionIds, Sessions, Users};
use crate::clock::unix_ms;
use crate::database::DatabaseError;
use crate::metrics::{Verified, VerifiedBy};

/// Somebody whose credential holds, and whose rows are looked up.
pub(super) struct Candidate {
    petition: Petition,
    known: Known,
    by: VerifiedBy,
    lasts_ms: u64,
}

impl Credentials {
    fn presented(&self) -> Presented<'_> {
        Presented {
            cookies: Cookies::new([self.cookies.as_str()]),
            bearer: self.bearer.as_deref(),
        }
    }
}

impl Control {
    /// Finds out who asks, and goes on with [`Control::on_known`] or a refusal, now or later.
    pub(super) fn identify(&mut self, mut petition: Petition) {
        let now_ms = unix_ms();
        if petition.fingerprint.is_none() {
            let presented = petition.credentials.presented();
            petition.fingerprint = self.verifier.fingerprint(&presented);
        }
        let presented = petition.credentials.presented();
        if let Some(credential) = petition.fingerprint {
            if petition.attempts > 0 {
                // What is remembered was found to be out of date.
                self.cache.forget(&credential);
            }
            if let Some((identity, judged)) = self.cache.get(&credential, now_ms) {
                self.shared.identity.remembered();
                return self.on_known(petition, Known { identity, judged });
            }
        }
        let (sets, answered) = (self.keysets.sets(), petition.answered);
        let verdict = self
            .verifier
            .verify_beyond(&presented, sets, now_ms, answered);
        match verdict {
            Ok(Verdict::Identity(identity)) => {
                self.on_identity(petition, identity, VerifiedBy::Token, CACHE_MS_MAX);
            }
            Ok(Verdict::Row(question)) => {
                let token = question.token.reveal().to_owned();
                self.sessions.push(token, petition, self.monotonic_ms());
            }
            Ok(Verdict::Introspect(question)) => self.introspections.push(question, petition),
            Ok(Verdict::KeysNeeded(issuer)) => self.on_keys_needed(issuer, petition),
            Err(error) => self.nobody(petition, VerifiedBy::Token, error),
        }
    }

    /// What was asked was asked in vain. Another method may know the credential; where none is left, it
    /// is nobody's.
    fn identify_beyond(&mut self, petition: Petition, by: VerifiedBy, error: IdentityError) {
        let presented = petition.credentials.presented();
        let (sets, answered) = (self.keysets.sets(), petition.answered);
        let verdict = self
            .verifier
            .verify_beyond(&presented, sets, unix_ms(), answered);
        match verdict {
            Ok(_) => self.identify(petition),
            Err(_) => self.nobody(petition, by, error),
        }
    }

    /// The statement about sessions has come back.
    pub(super) fn on_sessions(&mut self, sessions: Result<Sessions, DatabaseError>) {
        for (token, petitions) in self.sessions.finish() {
            let row = sessions.as_ref().map(|sessions| sessions.get(&token));
            for mut petition in petitions {
                let by = VerifiedBy::Row;
                petition.answered.rows = true;
                match row {
                    Err(_) => {
                        self.unavailable(petition, by, "sessions cannot be looked up for now")
                    }
                    Ok(None) => self.identify_beyond(petition, by, IdentityError::NoSession),
                    Ok(Some(row)) => match row.clone().identity(unix_ms()) {
                        // The same statement has looked at the user's row.
                        Ok(identity) => {
                            let known = Known {
                                identity,
                                judged: petition.judged,
                            };
                            self.welcome(Candidate {
                                petition,
                                known,
                                by,
                                lasts_ms: CACHE_MS_MAX,
                            });
                        }
                        Err(error) => self.identify_beyond(petition, by, error),
                    },
                }
            }
        }
    }

    /// The statement about the rows of tokens' sessions has come back.
    pub(super) fn on_session_ids(&mut self, ids: Result<SessionIds, DatabaseError>) {
        for (session, candidates) in self.session_ids.finish() {
            for candidate in candidates {
                match &ids {
                    Ok(ids) if ids.contains(&session) => self.look_up_user(candidate),
                    Ok(_) => {
                        self.nobody(candidate.petition, candidate.by, IdentityError::NoSession)
                    }
                    Err(_) => {
                        let message = "sessions cannot be looked up for now";
                        self.unavailable(candidate.petition, candidate.by, message);
                    }
                }
            }
        }
    }

    /// The statement about users has come back.
    pub(super) fn on_users(&mut self, users: Result<Users, DatabaseError>) {
        for (user, candidates) in self.users.finish() {
            for candidate in candidates {
                let Candidate { petition, by, .. } = candidate;
                match &users {
                    Ok(users) if users.contains(&user) => self.welcome(Candidate {
                        petition,
                        ..candidate
                    }),
                    Ok(_) => self.nobody(petition, by, IdentityError::NoSession),
                    Err(_) => self.unavailable(petition, by, "users cannot be looked up for now"),
                }
            }
        }
    }

    /// The application has answered, or has not.
    pub(super) fn on_introspected(&mut self, arrived: Arrived) {
        let now_ms = self.monotonic_ms();
        let (question, waiting, judged, answer) =
            match self.introspections.on_arrived(arrived, now_ms) {
                Landed::Answered {
                    question,
                    waiting,
                    judged,
                    answer,
                } => (question, waiting, judged, answer),
                Landed::Looked(seen) => return self.on_application(seen),
            };
        let by = VerifiedBy::Introspection;
        let read = match &answer {
            Answer::Session(body) => self.verifier.read_answer(&question, body, unix_ms()),
            Answer::Nobody => Err(AnswerError::Nobody(IdentityError::NoSession)),
            Answer::Nothing(_) => Err(AnswerError::Malformed),
        };
        if let Err(AnswerError::Malformed) = read {
            let why = match answer {
                Answer::Nothing(why) => why,
                _ => AnswerError::Malformed.to_string(),
            };
            self.say_at_times(&format!("the application could not be asked: {why}"));
        }
        if let Err(error @ AnswerError::Nobody(IdentityError::NoUser)) = read {
            // Whoever set the application up has to hear it; its visitors cannot help it.
            self.say_at_times(&error.to_string());
        }
        for mut petition in waiting {
            // Nobody is judged by a later moment than the one before the question.
            petition.judged = judged;
            match &read {
                Ok(identity) => {
                    let lasts_ms = self.introspections.lasts_ms();
                    self.on_identity(petition, identity.clone(), by, lasts_ms);
                }
                Err(AnswerError::Nobody(error)) => self.nobody(petition, by, *error),
                Err(AnswerError::Malformed) => {
                    self.unavailable(petition, by, "the application cannot be asked for now");
                }
            }
        }
    }

    /// An issuer's keys have come, or have not: those who waited are looked at again.
    pub(super) fn on_keys(&mut self, fetched: Fetched) {
        let now_ms = self.monotonic_ms();
        for petition in self.keysets.on_fetched(fetched, now_ms) {
            self.identify(petition);
        }
    }

    fn on_keys_needed(&mut self, issuer: usize, petition: Petition) {
        let now_ms = self.monotonic_ms();
        match self.keysets.on_unknown_key(issuer, petition, now_ms) {
            Unknown::Waits => {}
            Unknown::Refused(mut petition) => {
                let error = IdentityError::Token(TokenError::UnknownKey);
                petition.answered.keys = true;
                self.identify_beyond(petition, VerifiedBy::Token, error);
            }
            Unknown::Unavailable(petition) => {
                let message = "the keys of the session's issuer cannot be fetched for now";
                self.unavailable(petition, VerifiedBy::Token, message);
            }
        }
    }

    /// The credential holds. Where the sessions of tokens have rows, the row has to be there: a token does
    /// not know that its session was ended.
    fn on_identity(
        &mut self,
        petition: Petition,
        identity: Identity,
        by: VerifiedBy,
        lasts_ms: u64,
    ) {
        let known = Known {
            identity,
            judged: petition.judged,
        };
        let candidate = Candidate {
            petition,
            known,
            by,
            lasts_ms,
        };
        match self.has_session_ids && by == VerifiedBy::Token {
            true => {
                let session = candidate.known.identity.session.clone();
                self.session_ids
                    .push(session, candidate, self.monotonic_ms());
            }
            false => self.look_up_user(candidate),
        }
    }

    /// Where users are looked up, the user has to be there, and welcome.
    fn look_up_user(&mut self, candidate: Candidate) {
        let user = candidate.known.identity.user.clone();
        match self.config.identity.user {
            Some(_) => self.users.push(user, candidate, self.monotonic_ms()),
            None => self.welcome(candidate),
        }
    }

    /// Everything holds: it is remembered, and the errand goes on.
    fn welcome(&mut self, candidate: Candidate) {
        let Candidate {
            petition,
            known,
            by,
            lasts_ms,
        } = candidate;
        self.shared.identity.verified(by, Verified::Accepted);
        if let Some(credential) = petition.fingerprint {
            let Known { identity, judged } = &known;
            self.cache
                .put(credential, identity, *judged, unix_ms(), lasts_ms);
        }
        self.on_known(petition, known);
    }

    /// The credentials are nobody's.
    fn nobody(&mut self, petition: Petition, by: VerifiedBy, error: IdentityError) {
        self.shared.identity.verified(by, Verified::Refused);
        let message = match error {
            IdentityError::Missing => self.verifier.missing(),
            error => error.to_string(),
        };
        let refusal = Refusal::new(RefusalCode::Unauthenticated, message);
        self.refuse(&petition, &refusal);
    }

    /// Whoever knows whose they are does not say. What is wrong there is the operator's business, not
    /// the client's.
    fn unavailable(&mut self, petition: Petition, by: VerifiedBy, message: &'static str) {
        self.shared.identity.verified(by, Verified::Unavailable);
        let refusal = Refusal::new(RefusalCode::Unavailable, message);
        self.refuse(&petition, &refusal);
    }
}
