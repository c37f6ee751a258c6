//! What the loop does for a change to an open stream: its user is found and judged like one who wants
//! in, and the engine carries it out where the stream stands. The decisions are in `subscription`.

use driver::Forwarded;
use engine::Command;
use replication::Wanted as Organisation;
use wire::http::Refusal;
use wire::{CloseReason, ConnectionId, Key};

use super::Control;
use super::admission::{Admit, Wish};
use super::petition::{Errand, Known, Petition};
use super::request::Caller;
use super::seek::Admitting;
use super::subscription::{self, Action, StreamChange};

impl Control {
    pub(super) fn serve_change(&mut self, forwarded: &Forwarded) {
        let (peer, engines) = (forwarded.peer, self.shared.ports.len());
        let connection = forwarded.connection;
        let judged =
            subscription::judge(&forwarded.request, peer, &self.config, self.boot, engines);
        match judged {
            Err((response, code)) => self.answer(connection, response, code),
            Ok((Caller::Service, change)) => self.change(connection, None, &change),
            Ok((Caller::User(credentials), change)) => {
                let errand = Errand::Change(Box::new(change));
                self.take_up(connection, None, credentials, errand);
            }
        }
    }

    /// Asks whether the user may still come in, and how the tables spell it.
    pub(super) fn admit_change(&mut self, petition: Petition, known: Known) {
        if let Err(refusal) = self.room() {
            return self.refuse(&petition, &refusal);
        }
        let admit = Admit {
            asker: petition.connection,
            question: Some(self.question(&known, Organisation::Anywhere)),
            wish: Wish::Identify,
        };
        self.order(admit, Admitting::of(petition, known));
    }

    /// The user is this one.
    pub(super) fn on_identified(&mut self, petition: &Petition, user: Key) {
        let Errand::Change(change) = &petition.errand else {
            unreachable!("only whoever changes a stream is asked after alone")
        };
        self.change(petition.connection, Some(user), change);
    }

    fn change(&mut self, connection: ConnectionId, owner: Option<Key>, change: &StreamChange) {
        let stream = change.stream;
        let done = serde_json::json!({ "connectionId": stream.to_string() });
        let (fields, now_ms) = (change.manner.fields.clone(), self.monotonic_ms());
        let done = done.to_string().into_bytes();
        let ticket = match self.tickets.open(connection, fields, done, now_ms) {
            Ok(ticket) => ticket,
            Err(refusal) => return self.refuse_change(connection, change, &refusal),
        };
        let command = match &change.action {
            Action::Subscribe(change) => Command::Subscribe {
                ticket,
                connection: stream,
                owner,
                change: change.clone(),
            },
            Action::Close => Command::End {
                ticket,
                connection: stream,
                owner,
                reason: CloseReason::Done,
            },
        };
        self.outbox.command(stream.engine, command);
    }

    fn refuse_change(
        &mut self,
        connection: ConnectionId,
        change: &StreamChange,
        refusal: &Refusal,
    ) {
        let jitter = self.jitter();
        let response = change.manner.refuse(refusal, jitter);
        self.answer(connection, response, Some(refusal.code));
    }
}
