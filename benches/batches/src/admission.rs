//! Admission: every stream is let into the organisation that its query names. Nobody is asked for a
//! session.

use std::sync::mpsc::{Receiver, SyncSender};

use bytes::Bytes;
use driver::{Forwarded, Port};
use engine::{Notice, Overloaded};
use wire::http::{Query, Refusal, RefusalCode};
use wire::{Batch, Filter, Format, Grant, Keys, Purpose, Resume, Scope};

/// Hands an engine's requests to [`run`].
pub(crate) struct Uplink(pub(crate) SyncSender<Forwarded>);

impl driver::Uplink for Uplink {
    fn forward(&mut self, request: Forwarded) -> Result<(), Overloaded> {
        self.0.try_send(request).map_err(|_| Overloaded)
    }

    fn notify(&mut self, _: Notice) {}
}

/// The keys of everybody's names, here and among the commits.
pub(crate) fn keys() -> Keys {
    Keys::new([9; 16])
}

/// Lets in whoever comes.
pub(crate) fn run(ports: &[Port], requests: &Receiver<Forwarded>) {
    let keys = keys();
    while let Ok(forwarded) = requests.recv() {
        let connection = forwarded.connection;
        let port = &ports[usize::from(connection.engine)..][..1];
        if let Some(grant) = grant(&keys, &forwarded) {
            crate::hand_over(port, &Batch::Grant(Box::new(grant)));
            continue;
        }
        let message = "a stream is asked for by organizationId and user";
        let refusal = Refusal::new(RefusalCode::InvalidParameter, message);
        let response = refusal.response("");
        let command = engine::Command::Respond {
            connection,
            response,
        };
        // Where the engine has no room for it, the request ends by its own deadline.
        let _ = port[0].try_command(command);
    }
}

fn grant(keys: &Keys, forwarded: &Forwarded) -> Option<Grant> {
    let head = &forwarded.request.head;
    let query = Query::parse(head.query()).ok()?;
    let value = |name| query.text(name).ok().flatten();
    let (organisation, user) = (value("organizationId")?, value("user")?);
    let resume = match head.field("last-event-id").map(str::parse) {
        None => Resume::Live,
        Some(Ok(id)) => Resume::After(id),
        Some(Err(_)) => Resume::Unknown,
    };
    let about = format!("\"userId\":\"{user}\",\"organizationId\":\"{organisation}\"");
    Some(Grant {
        connection: forwarded.connection,
        scope: Scope::Organisation(keys.organisation(organisation)),
        user: Some(keys.user(user)),
        session: Some(keys.session(user)),
        filter: Filter::default(),
        format: Format::Event,
        expires_ms: None,
        since: None,
        resume,
        head: wire::http::stream_head(""),
        about: Bytes::from(about),
        purpose: Purpose::Stream,
    })
}
