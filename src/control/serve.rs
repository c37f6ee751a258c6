//! What the loop does for a request, step by step; the decisions themselves are in `request` and
//! `verdict`.

use std::sync::Arc;

use bytes::Bytes;
use driver::Forwarded;
use wire::ConnectionId;
use wire::http::{Refusal, RefusalCode, Request};

use super::counts::Holder;
use super::membership::{Answers, Question, Waiter};
use super::request::{Caller, Circumstances, Judged, Wanted, judge};
use super::verdict::Admission;
use super::{Control, FEED_AGE_MS, ROUTED_MAX, TICK_MS, address, router, wall_ms};
use crate::audience;
use crate::config::Stream;
use crate::database::DatabaseError;

impl Control {
    pub(super) fn on_request(&mut self, forwarded: Forwarded) {
        let path = forwarded.request.head.path();
        let config = Arc::clone(&self.config);
        match config.streams.iter().find(|stream| stream.path == path) {
            Some(stream) => self.serve_stream(&forwarded, stream),
            None => self.route(forwarded.connection, forwarded.request),
        }
    }

    /// Sends an answer, and counts it where it is a refusal.
    pub(super) fn answer(
        &mut self,
        connection: ConnectionId,
        response: Bytes,
        code: Option<RefusalCode>,
    ) {
        if let Some(code) = code {
            self.shared.count_refusal(code);
        }
        self.outbox.respond(connection, response);
    }

    /// The statement about the memberships has come back.
    pub(super) fn on_answers(&mut self, answers: Result<Answers, DatabaseError>) {
        for (question, waiters) in self.questions.finish() {
            for waiter in waiters {
                let admission = match &answers {
                    Ok(answers) => {
                        let members = answers.get(&question).map_or(&[][..], Vec::as_slice);
                        Admission::of_user(&waiter.identity, members, &self.keys)
                    }
                    // What the database says is the operator's business, not the client's.
                    Err(_) => Err(Refusal::new(
                        RefusalCode::Unavailable,
                        "memberships cannot be looked up for now",
                    )),
                };
                let Waiter {
                    connection,
                    address,
                    wanted,
                    ..
                } = waiter;
                self.conclude(connection, address, &wanted, admission);
            }
        }
    }

    fn route(&mut self, connection: ConnectionId, request: Request) {
        if self.routed.len() >= ROUTED_MAX {
            let refusal = Refusal::new(RefusalCode::Overloaded, "too many requests at a time");
            return self.answer(connection, refusal.response(""), Some(refusal.code));
        }
        let router = self.router.clone();
        self.routed.spawn(async move {
            let (response, code) = router::answer(router, request).await;
            (connection, response, code)
        });
    }

    fn serve_stream(&mut self, forwarded: &Forwarded, stream: &Stream) {
        let Forwarded {
            connection,
            peer,
            request,
        } = forwarded;
        let proxies = &self.config.http.trusted_proxies;
        let address = address::client_address(&request.head, *peer, proxies);
        let circumstances = Circumstances {
            closed: self.closed(address),
            now_ms: wall_ms(),
            jitter: self.jitter(),
            config: &self.config,
        };
        let wanted = match judge(&request.head, *peer, stream, circumstances) {
            Judged::Wanted(wanted) => *wanted,
            Judged::Answer(response, code) => return self.answer(*connection, response, code),
        };
        match &wanted.caller {
            Caller::Service => {
                let organization = wanted.organization.as_deref();
                let admission = Admission::of_service(organization, &self.keys);
                self.conclude(*connection, address, &wanted, admission);
            }
            Caller::User(identity) => {
                let question = Question {
                    user: identity.user.clone(),
                    organization: wanted.organization.clone(),
                };
                let identity = identity.clone();
                let waiter = Waiter {
                    connection: *connection,
                    address,
                    identity,
                    wanted: Box::new(wanted),
                };
                if let Err(waiter) = self.questions.push(question, waiter) {
                    let message = "too many wait for their memberships to be looked up";
                    let refusal = Refusal::new(RefusalCode::Overloaded, message);
                    self.conclude(*connection, address, &waiter.wanted, Err(refusal));
                }
            }
        }
    }

    /// Why no stream can be opened for now, if so.
    fn closed(&mut self, address: Option<std::net::IpAddr>) -> Option<Refusal> {
        if self.shared.is_draining() {
            return Some(Refusal::new(
                RefusalCode::Draining,
                "the node is about to stop",
            ));
        }
        let now_ms = self.monotonic_ms();
        if address.is_some_and(|address| !self.rate.admit(address, now_ms)) {
            let message = "too many requests from this address (limits.connects_per_second)";
            return Some(Refusal::new(RefusalCode::RateLimited, message));
        }
        if !self.is_fed(now_ms) {
            let message = "the node has not caught up with PostgreSQL yet";
            return Some(Refusal::new(RefusalCode::NotReady, message));
        }
        None
    }

    /// Whether changes are being received, or were a moment ago: while PostgreSQL restarts, streams
    /// stay open and new ones are opened.
    fn is_fed(&mut self, now_ms: u64) -> bool {
        if self.fed_at_ms.is_none_or(|at_ms| now_ms > at_ms + TICK_MS) {
            self.look_at_feed(now_ms);
        }
        self.fed_at_ms
            .is_some_and(|at_ms| now_ms <= at_ms + FEED_AGE_MS)
    }

    /// Ends a request for a stream: with a grant, counted, or with a refusal.
    fn conclude(
        &mut self,
        connection: ConnectionId,
        address: Option<std::net::IpAddr>,
        wanted: &Wanted,
        admission: Result<Admission, Refusal>,
    ) {
        let admitted = admission.and_then(|admission| {
            // It may have begun to drain while the database was asked.
            if self.shared.is_draining() {
                return Err(Refusal::new(
                    RefusalCode::Draining,
                    "the node is about to stop",
                ));
            }
            if !self.outbox.has_room() {
                let message = "too many streams are being opened at a time";
                return Err(Refusal::new(RefusalCode::Overloaded, message));
            }
            let (user, scope) = (admission.user_key, admission.scope);
            self.counts.take(&Holder {
                connection,
                user,
                scope,
                address,
            })?;
            Ok(admission)
        });
        match admitted {
            Ok(admission) => {
                let (user, organization) = (admission.user.as_deref(), &admission.organization);
                self.log
                    .connected(wall_ms(), connection, user, organization);
                let grant = admission.grant(connection, wanted);
                audience::join(&grant);
                self.outbox.grant(grant);
            }
            Err(refusal) => {
                let jitter = self.jitter();
                let response = wanted.manner.refuse(&refusal, jitter);
                self.answer(connection, response, Some(refusal.code));
            }
        }
    }

    /// Spreads the times at which clients come back; nobody's safety hangs on it (xorshift64).
    fn jitter(&mut self) -> u32 {
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        (self.random >> 32) as u32
    }
}
