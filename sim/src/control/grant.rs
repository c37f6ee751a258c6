//! How a verdict becomes a grant, whose types are the product's own. Who is let in is decided next door.

use bytes::Bytes;
use replication::Place;
use wire::http::stream_head;
use wire::{Filter, Format, Grant, Keys, Name, Purpose, Scope, json};

use super::Task;

/// The grant for somebody who is let in, as the control thread of the product makes it.
pub fn grant(task: &Task, place: &Place, keys: &Keys) -> Grant {
    let known = task.known.as_ref().expect("who asks is known");
    let wanted = &task.wanted;
    let roles: Vec<Name> = place
        .role
        .as_deref()
        .unwrap_or_default()
        .split(',')
        .filter_map(|role| Name::new(role.trim()).ok())
        .collect();
    Grant {
        connection: task.asker,
        scope: match &place.organisation {
            Some(name) => Scope::Organisation(keys.organisation(name)),
            None => Scope::Nothing,
        },
        user: Some(keys.user(&place.user)),
        session: Some(keys.session(&known.row.id)),
        filter: Filter::new(wanted.channels.clone(), wanted.types.clone(), roles),
        format: Format::Event,
        expires_ms: Some(
            place
                .session_ends_ms
                .map_or(known.row.expires_ms, |ends_ms| {
                    ends_ms.min(known.row.expires_ms)
                }),
        ),
        since: place.since,
        resume: wanted.resume,
        head: stream_head(""),
        about: about(place),
        purpose: Purpose::Stream,
    }
}

/// What is known here of the `connected` event.
fn about(place: &Place) -> Bytes {
    let mut out = Vec::with_capacity(128);
    out.extend_from_slice(b"\"userId\":");
    json::escape_into(&mut out, &place.user);
    for (name, text) in [
        ("organizationId", &place.organisation),
        ("role", &place.role),
    ] {
        out.extend_from_slice(b",\"");
        out.extend_from_slice(name.as_bytes());
        out.extend_from_slice(b"\":");
        match text {
            Some(text) => json::escape_into(&mut out, text),
            None => out.extend_from_slice(b"null"),
        }
    }
    Bytes::from(out)
}
