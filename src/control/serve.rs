//! What the loop does for a request that arrives: it is judged by itself, and taken up or answered. Who
//! asks is found in `identify`, and let in by `seek`.

use std::net::IpAddr;
use std::sync::Arc;

use bytes::Bytes;
use driver::Forwarded;
use wire::ConnectionId;
use wire::http::{Head, Method, Refusal, RefusalCode, Request};

use super::outage::Trust;
use super::petition::{Errand, Judged, Petition};
use super::request::{Answered, Caller, Circumstances, Credentials, Wanted, judge};
use super::{Control, ROUTED_MAX, address, history, renew, router};
use crate::clock::unix_ms;
use crate::config::Stream;

impl Control {
    pub(super) fn on_request(&mut self, forwarded: Forwarded) {
        let path = forwarded.request.head.path();
        let config = Arc::clone(&self.config);
        match config.streams.iter().find(|stream| stream.path == path) {
            Some(_) if is_change(forwarded.request.head.method()) => self.serve_change(&forwarded),
            Some(stream) => self.serve_stream(&forwarded, stream),
            None if path == history::PATH => self.serve_page(&forwarded),
            None if path == renew::PATH => self.serve_renewal(&forwarded),
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

    /// Sends a refusal, in the manner in which the request wants it.
    pub(super) fn refuse(&mut self, petition: &Petition, refusal: &Refusal) {
        let jitter = self.jitter();
        let response = petition.errand.manner().refuse(refusal, jitter);
        self.answer(petition.connection, response, Some(refusal.code));
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
        self.serve_by(forwarded, |head, peer, circumstances| {
            judge(head, peer, stream, circumstances)
        });
    }

    fn serve_page(&mut self, forwarded: &Forwarded) {
        self.serve_by(forwarded, history::judge);
    }

    /// Serves what `judge` makes of a request.
    fn serve_by(
        &mut self,
        forwarded: &Forwarded,
        judge: impl FnOnce(
            &Head,
            Option<IpAddr>,
            Circumstances<'_>,
        ) -> Result<(Caller, Wanted), Answered>,
    ) {
        let (head, peer) = (&forwarded.request.head, forwarded.peer);
        let proxies = &self.config.http.trusted_proxies;
        let address = address::client_address(head, peer, proxies);
        let circumstances = Circumstances {
            closed: self.closed(address),
            jitter: self.jitter(),
            config: &self.config,
        };
        let judged = judge(head, peer, circumstances);
        self.open(forwarded.connection, address, judged);
    }

    /// Lets in whoever may, to a stream or a page, or answers.
    fn open(
        &mut self,
        connection: ConnectionId,
        address: Option<IpAddr>,
        judged: Result<(Caller, Wanted), Answered>,
    ) {
        match judged {
            Err((response, code)) => self.answer(connection, response, code),
            Ok((Caller::Service, wanted)) => self.admit_service(connection, address, wanted),
            Ok((Caller::User(credentials), wanted)) => {
                let errand = Errand::Open(Arc::new(wanted));
                self.take_up(connection, address, credentials, errand);
            }
        }
    }

    fn serve_renewal(&mut self, forwarded: &Forwarded) {
        let (peer, engines) = (forwarded.peer, self.shared.ports.len());
        let judged = renew::judge(&forwarded.request, peer, &self.config, self.boot, engines);
        match judged {
            Err((response, code)) => self.answer(forwarded.connection, response, code),
            Ok(renewal) => {
                let errand = Errand::Renew {
                    stream: renewal.stream,
                    manner: renewal.manner,
                };
                self.take_up(forwarded.connection, None, renewal.credentials, errand);
            }
        }
    }

    /// Takes up a request of a user: notes what has been applied, before anything is read, and finds
    /// out who it is.
    pub(super) fn take_up(
        &mut self,
        connection: ConnectionId,
        address: Option<IpAddr>,
        credentials: Credentials,
        errand: Errand,
    ) {
        let Some(judged) = self.judged() else {
            let refusal = Refusal::new(
                RefusalCode::NotReady,
                "the node has not caught up with PostgreSQL yet",
            );
            let jitter = self.jitter();
            let response = errand.manner().refuse(&refusal, jitter);
            return self.answer(connection, response, Some(refusal.code));
        };
        let petition = Petition::new(
            connection,
            address,
            credentials,
            errand,
            judged,
            &self.under_way,
        );
        match petition {
            Ok(petition) => self.identify(petition),
            Err((refusal, errand)) => {
                let jitter = self.jitter();
                let response = errand.manner().refuse(&refusal, jitter);
                self.answer(connection, response, Some(refusal.code));
            }
        }
    }

    /// The moment before anything is read.
    pub(super) fn judged(&self) -> Option<Judged> {
        let at_ms = unix_ms();
        let position = self.shared.feed.applied()?;
        Some(Judged { position, at_ms })
    }

    /// Why no stream can be opened for now.
    fn closed(&mut self, address: Option<IpAddr>) -> Option<Refusal> {
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
        if self.trust(now_ms) != Trust::Full {
            let message = "the node has not caught up with PostgreSQL yet";
            return Some(Refusal::new(RefusalCode::NotReady, message));
        }
        None
    }

    /// Spreads the times at which clients come back; nobody's safety hangs on it (xorshift64).
    pub(super) fn jitter(&mut self) -> u32 {
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        (self.random >> 32) as u32
    }
}

/// Whether a method on a stream path changes an open stream.
fn is_change(method: Method) -> bool {
    matches!(method, Method::Post | Method::Put | Method::Delete)
}
